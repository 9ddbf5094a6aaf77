"""Microsoft's own client libraries (MSAL, Graph SDK) against the simulated Microsoft, played by
tests/scenarios/clients.rs.

    python microsoft_graph.py <address of the simulator>
"""

import asyncio
import datetime
import sys
import time
import urllib.parse

import msal
import requests
from kiota_abstractions.api_error import APIError
from kiota_abstractions.authentication import (
    AccessTokenProvider,
    AllowedHostsValidator,
    BaseBearerTokenAuthenticationProvider,
)
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.models.attendee import Attendee
from msgraph.generated.models.body_type import BodyType
from msgraph.generated.models.date_time_time_zone import DateTimeTimeZone
from msgraph.generated.models.day_of_week import DayOfWeek
from msgraph.generated.models.email_address import EmailAddress
from msgraph.generated.models.event import Event
from msgraph.generated.models.free_busy_status import FreeBusyStatus
from msgraph.generated.models.item_body import ItemBody
from msgraph.generated.models.patterned_recurrence import PatternedRecurrence
from msgraph.generated.models.recurrence_pattern import RecurrencePattern
from msgraph.generated.models.recurrence_pattern_type import RecurrencePatternType
from msgraph.generated.models.recurrence_range import RecurrenceRange
from msgraph.generated.models.recurrence_range_type import RecurrenceRangeType
from msgraph.generated.models.single_value_legacy_extended_property import SingleValueLegacyExtendedProperty
from msgraph.generated.models.subscription import Subscription
from msgraph.generated.users.item.calendar_view.delta.delta_request_builder import DeltaRequestBuilder
from msgraph.generated.users.item.events.events_request_builder import EventsRequestBuilder
from msgraph.generated.users.item.events.item.instances.instances_request_builder import InstancesRequestBuilder
from msgraph_core.requests.batch_request_builder import BatchRequestBuilder
from msgraph_core.requests.batch_request_content import BatchRequestContent
from msgraph_core.requests.batch_request_item import BatchRequestItem

from common import Listener, Simulator, sent_to

BASE = sys.argv[1]
MICROSOFT = Simulator(BASE)
TENANT = "84bd8158-6d4d-4958-8b9f-9d6445542f95"
CLIENT = "00001111-aaaa-2222-bbbb-3333cccc4444"
SECRET = "simulated~secret+with/odd=signs"
AUTHORITY = "https://login.microsoftonline.com"
REDIRECT = "https://sync.example/connect/microsoft/callback"
GRAPH = "https://graph.microsoft.com/"
SCOPES = [GRAPH + name for name in ("User.Read", "Calendars.ReadWrite", "MailboxSettings.Read")]
ANNA = "anna@kanzlei.example"
TOKENS = f"POST /{TENANT}/oauth2/v2.0/token"
ZONE = "W. Europe Standard Time"
CRM_ID = "String {66f5a359-4659-4638-81a3-d1d2b2f5c5b4} Name CrmId"


class Answer:
    """The parts of an answer that MSAL reads."""

    def __init__(self, answer):
        self.status_code, self.headers = answer.status_code, answer.headers
        self.text = answer.text.replace(BASE, AUTHORITY)
        self.raise_for_status = answer.raise_for_status


class Wire:
    """MSAL takes nothing but https: what it sends to the vendor's address arrives at the simulator."""

    def __init__(self):
        self.session = requests.Session()

    def get(self, url, **kwargs):
        return Answer(self.session.get(url.replace(AUTHORITY, BASE), **kwargs))

    def post(self, url, **kwargs):
        return Answer(self.session.post(url.replace(AUTHORITY, BASE), **kwargs))

    def close(self):
        self.session.close()


def application(secret=SECRET):
    return msal.ConfidentialClientApplication(
        CLIENT, secret, f"{AUTHORITY}/{TENANT}", instance_discovery=False, http_client=Wire()
    )


def granted(answer):
    assert "access_token" in answer, answer
    return answer


def refresh_token(app):
    return next(app.token_cache.search(msal.TokenCache.CredentialType.REFRESH_TOKEN))["secret"]


def token_requests():
    return MICROSOFT.control("GET", "token-requests")


def sign_in():
    """The code flow with PKCE; a rotated refresh token, and a revoked one."""
    MICROSOFT.control("POST", "identity/consent", {"as": ANNA})
    app = application()
    flow = app.initiate_auth_code_flow(SCOPES, redirect_uri=REDIRECT)
    assert "code_challenge_method=S256" in flow["auth_uri"], flow
    back = sent_to(flow["auth_uri"].replace(AUTHORITY, BASE))
    answer = dict(urllib.parse.parse_qsl(urllib.parse.urlparse(back).query))
    first = granted(app.acquire_token_by_auth_code_flow(flow, answer))
    assert first["id_token_claims"]["preferred_username"] == ANNA, first["id_token_claims"]
    assert "Calendars.ReadWrite" in first["scope"], first["scope"]
    again = app.acquire_token_by_auth_code_flow(flow, answer)
    assert 54005 in again["error_codes"], again

    account = app.get_accounts()[0]
    kept = granted(app.acquire_token_silent(SCOPES, account))
    assert kept["access_token"] == first["access_token"], "asked for although it is good"
    before = refresh_token(app)
    second = granted(app.acquire_token_silent(SCOPES, account, force_refresh=True))
    assert second["access_token"] != first["access_token"] and refresh_token(app) != before
    assert token_requests()["refresh_token"] == 1
    granted(application().acquire_token_by_refresh_token(before, SCOPES))

    granted(application().acquire_token_for_client([GRAPH + ".default"]))
    wrong = application("wrong").acquire_token_for_client([GRAPH + ".default"])
    assert wrong["error"] == "invalid_client" and 7000215 in wrong["error_codes"], wrong
    return app, account


def throttled_sign_in(app, account):
    """A refusal for now is kept for a while by MSAL itself, which asks no more; the grant stays."""
    body = {"error": "temporarily_unavailable", "code": 90033, "status": 429, "times": 1}
    MICROSOFT.control("POST", "identity/errors", body)
    before = token_requests()["refresh_token"]
    for _ in range(3):
        answer = app.acquire_token_silent_with_error(SCOPES, account, force_refresh=True)
        assert answer["error"] == "temporarily_unavailable", answer
    assert token_requests()["refresh_token"] == before + 1
    granted(application().acquire_token_by_refresh_token(refresh_token(app), SCOPES))


class Tokens(AccessTokenProvider):
    def __init__(self, app, account):
        self.app, self.account = app, account
        self.force = False

    async def get_authorization_token(self, uri, additional_authentication_context={}):
        answer = self.app.acquire_token_silent(SCOPES, self.account, force_refresh=self.force)
        self.force = False
        return granted(answer)["access_token"]

    def get_allowed_hosts_validator(self):
        return AllowedHostsValidator([])


def configured(parameters=None, **headers):
    configuration = RequestConfiguration(query_parameters=parameters)
    for name, value in headers.items():
        configuration.headers.add(name.replace("_", "-"), value)
    return configuration


def preferring(parameters=None):
    configuration = configured(parameters, Prefer='IdType="ImmutableId"')
    configuration.headers.add("Prefer", "odata.maxpagesize=2")
    return configuration


async def refused(call, status, code):
    try:
        await call
    except APIError as error:
        assert (error.response_status_code, error.error.code) == (status, code), error
        return error
    raise AssertionError(f"not refused with {status} {code}")


def event(subject, hour, **more):
    at = lambda hour: DateTimeTimeZone(date_time=f"2026-03-09T{hour}:00:00", time_zone=ZONE)
    return Event(subject=subject, start=at(hour), end=at(hour + 1), **more)


def weekly():
    pattern = RecurrencePattern(type=RecurrencePatternType.Weekly, interval=1, days_of_week=[DayOfWeek.Monday])
    end = RecurrenceRange(type=RecurrenceRangeType.NoEnd, start_date=datetime.date(2026, 3, 9))
    return PatternedRecurrence(pattern=pattern, range=end)


def etag(item):
    return item.additional_data["@odata.etag"]


async def write(graph):
    events = graph.me.events
    assert (await graph.me.get()).user_principal_name == ANNA
    assert len((await graph.me.calendars.get()).value) == 1
    assert (await graph.me.mailbox_settings.get()).time_zone == ZONE
    assert len((await graph.me.outlook.supported_time_zones.get()).value) > 100
    meeting = event(
        "SDK",
        10,
        body=ItemBody(content_type=BodyType.Text, content="hello"),
        show_as=FreeBusyStatus.Oof,
        transaction_id="t1",
        attendees=[Attendee(email_address=EmailAddress(address="bernd@kanzlei.example", name="B"))],
        single_value_extended_properties=[SingleValueLegacyExtendedProperty(id=CRM_ID, value="77")],
    )
    made = await events.post(meeting)
    assert (await events.post(meeting)).id == made.id, "the same transaction"
    assert (made.start.date_time, made.start.time_zone) == ("2026-03-09T09:00:00.0000000", "UTC"), made.start
    assert made.show_as == FreeBusyStatus.Oof
    series = await events.post(event("series", 12, recurrence=weekly()))
    assert series.recurrence.range.start_date == datetime.date(2026, 3, 9)
    for number in range(3):
        await events.post(event(f"single {number}", 14 + number))

    stale = etag(made)
    patched = await events.by_event_id(made.id).patch(Event(subject="SDK2"), configured(If_Match=stale))
    assert patched.subject == "SDK2" and etag(patched) != stale
    clash = events.by_event_id(made.id).patch(Event(subject="SDK3"), configured(If_Match=stale))
    await refused(clash, 412, "ErrorIrresolvableConflict")
    found = await events.get(
        configured(
            EventsRequestBuilder.EventsRequestBuilderGetQueryParameters(
                filter=f"singleValueExtendedProperties/Any(ep: ep/id eq '{CRM_ID}' and ep/value eq '77')",
                expand=[f"singleValueExtendedProperties($filter=id eq '{CRM_ID}')"],
                top=5,
            )
        )
    )
    assert [(it.id, it.single_value_extended_properties[0].value) for it in found.value] == [(made.id, "77")]
    return made, series


async def round_of(builder, page):
    """What one round shows, on how many pages, and the link of the next one."""
    items, pages = list(page.value), 1
    while not page.odata_delta_link:
        # The library does not repeat preferences by itself.
        page = await builder.with_url(page.odata_next_link).get(preferring())
        items += page.value
        pages += 1
    return items, pages, page.odata_delta_link


async def follow(graph, made, series):
    builder = graph.me.calendar_view.delta
    window = DeltaRequestBuilder.DeltaRequestBuilderGetQueryParameters(
        start_date_time="2026-03-01T00:00:00Z", end_date_time="2026-04-01T00:00:00Z"
    )
    start = lambda: builder.get(preferring(window))
    items, pages, link = await round_of(builder, await start())
    kinds = sorted(it.type.value for it in items)
    assert kinds == ["occurrence"] * 4 + ["seriesMaster"] + ["singleInstance"] * 4 and pages > 1, (kinds, pages)

    span = InstancesRequestBuilder.InstancesRequestBuilderGetQueryParameters(
        start_date_time="2026-03-01T00:00:00Z", end_date_time="2026-04-01T00:00:00Z"
    )
    instances = (await graph.me.events.by_event_id(series.id).instances.get(configured(span))).value
    assert len(instances) == 4 and instances[0].series_master_id == series.id
    await graph.me.events.by_event_id(instances[1].id).delete()
    await graph.me.events.by_event_id(instances[2].id).patch(Event(subject="moved"))
    gone = graph.me.events.by_event_id(made.id)
    await gone.delete()
    await refused(gone.get(), 404, "ErrorItemNotFound")
    items, _, link = await round_of(builder, await builder.with_url(link).get(preferring()))
    removed = [it.id for it in items if "@removed" in (it.additional_data or {})]
    assert removed, "the deleted ones are told"
    assert "moved" in [it.subject for it in items]
    assert not (await round_of(builder, await builder.with_url(link).get(preferring())))[0]

    for death, status, code in ("gone", 410, "SyncStateNotFound"), ("resync_required", 410, "resyncRequired"):
        MICROSOFT.control("POST", "delta/expire", {"mailbox": ANNA, "death": death})
        await refused(builder.with_url(link).get(preferring()), status, code)
        first = await start()
        MICROSOFT.control("POST", "delta/expire", {"mailbox": ANNA, "death": death, "after_requests": 0})
        await refused(builder.with_url(first.odata_next_link).get(preferring()), status, code)
        items, _, link = await round_of(builder, await start())
        assert sorted(it.type.value for it in items).count("singleInstance") == 3


class Item(BatchRequestItem):
    """msgraph-core 1.5 writes `depends_on` and whole addresses; the vendor's description has `dependsOn` and relative
    ones."""

    def __init__(self, adapter, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.url = self.url.removeprefix(adapter.base_url)

    def serialize(self, writer):
        super().serialize(writer)
        needed = writer.writer.pop("depends_on")
        if needed:
            writer.writer["dependsOn"] = needed


async def batch(adapter, graph, gone, series):
    content = BatchRequestContent()
    asked = [graph.me.events.by_event_id(series.id), graph.me.events.by_event_id(gone.id)]
    items = [Item(adapter, it.to_get_request_information(), id=str(n)) for n, it in enumerate(asked)]
    patch = graph.me.events.by_event_id(series.id).to_patch_request_information(Event(subject="in a batch"))
    items.append(Item(adapter, patch, id="2", depends_on=["0"]))
    for item in items:
        content.add_request(item.id, item)
    answer = await BatchRequestBuilder(adapter).post(content)
    assert answer.get_response_status_codes() == {"0": 200, "1": 404, "2": 200}, answer.get_response_status_codes()
    assert (await graph.me.events.by_event_id(series.id).get()).subject == "in a batch"


async def throttle(graph, tokens):
    """What the library sends again by itself, and a token that is refused."""
    for status in ("throttled", 503):
        fault = {"kind": "throttled", "retry_after": "1"} if status == "throttled" else {"kind": "status", "status": 503}
        MICROSOFT.control("POST", "faults", {"method": "GET", "path": "/v1.0/me/calendars", "times": 1, "fault": fault})
        before, began = MICROSOFT.control("GET", "counters"), time.monotonic()
        await graph.me.calendars.get()
        after = MICROSOFT.control("GET", "counters")
        more = {name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)}
        assert list(more.values()) == [2], more
        assert status == 503 or time.monotonic() - began >= 1, "Retry-After is kept"
    MICROSOFT.control("POST", "identity/expire-access", {"mailbox": ANNA})
    await refused(graph.me.get(), 401, "InvalidAuthenticationToken")
    tokens.force = True
    await graph.me.get()


async def subscribe(graph):
    listener = Listener()
    now = datetime.datetime.now(datetime.timezone.utc)
    body = Subscription(
        change_type="created,updated,deleted",
        notification_url=listener.url,
        lifecycle_notification_url=listener.url,
        resource="me/events",
        expiration_date_time=now + datetime.timedelta(days=2),
        client_state="secret",
    )
    made = await graph.subscriptions.post(body)
    assert listener.handshakes == 2 and made.client_state == "secret"
    one = graph.subscriptions.by_subscription_id(made.id)
    renewed = await one.patch(Subscription(expiration_date_time=now + datetime.timedelta(days=4)))
    assert renewed.expiration_date_time > made.expiration_date_time
    assert [it.id for it in (await graph.subscriptions.get()).value] == [made.id]
    await graph.me.events.post(event("told", 20))
    MICROSOFT.deliver()
    assert any(b'"created"' in body and b'"secret"' in body for _, body in listener.got), listener.got
    await one.delete()
    await refused(one.get(), 404, "ResourceNotFound")


async def main():
    app, account = sign_in()
    tokens = Tokens(app, account)
    adapter = GraphRequestAdapter(BaseBearerTokenAuthenticationProvider(tokens))
    adapter.base_url = f"{BASE}/v1.0"
    graph = GraphServiceClient(request_adapter=adapter)
    made, series = await write(graph)
    await follow(graph, made, series)
    await batch(adapter, graph, made, series)
    await throttle(graph, tokens)
    await subscribe(graph)
    throttled_sign_in(app, account)
    MICROSOFT.control("POST", "identity/revoke", {"mailbox": ANNA})
    over = application().acquire_token_by_refresh_token(refresh_token(app), SCOPES)
    assert over["error"] == "invalid_grant" and over["suberror"] == "bad_token", over
    print("all calls behaved")


asyncio.run(main())
