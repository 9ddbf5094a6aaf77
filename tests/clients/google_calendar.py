"""Google's own client libraries against the simulated Google, played by tests/scenarios/clients.rs.

    python google_calendar.py <address of the simulator> <discovery document>

All of it twice: by the discovery document that the simulator holds requests against, and by the one that the library
brings along.
"""

import json
import os
import sys

# The address that a person is sent back to is nobody's, and plain.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.oauth2.credentials import Credentials
from google_auth_oauthlib.flow import Flow
from googleapiclient.discovery import build, build_from_document
from googleapiclient.errors import HttpError

from common import Listener, Simulator, sent_to

BASE, DOCUMENT = sys.argv[1:]
GOOGLE = Simulator(BASE)
SCOPES = ["https://www.googleapis.com/auth/calendar"]
REDIRECT = "http://localhost/callback"
APP = {
    "client_id": "123.apps.googleusercontent.com",
    "client_secret": "simulated-google-client-secret",
    "auth_uri": f"{BASE}/o/oauth2/v2/auth",
    "token_uri": f"{BASE}/token",
}


def settings(**changed):
    GOOGLE.control("POST", "settings", changed)


def refused(request, status, reason):
    try:
        request.execute()
    except HttpError as error:
        assert error.status_code == status, error
        assert error.error_details[0]["reason"] == reason, error.error_details
        return
    raise AssertionError(f"not refused with {status} {reason}")


def dead(credentials):
    """A refresh token that is good no more."""
    try:
        credentials.refresh(Request())
    except RefreshError as error:
        assert error.args[1]["error"] == "invalid_grant", error.args
        return
    raise AssertionError("a dead refresh token works")


def connect(user):
    flow = Flow.from_client_config({"web": APP}, SCOPES, redirect_uri=REDIRECT, autogenerate_code_verifier=True)
    url, state = flow.authorization_url(access_type="offline", prompt="consent", login_hint=user)
    assert "code_challenge_method=S256" in url, url
    back = sent_to(url)
    assert f"state={state}" in back, back
    verifier, flow.code_verifier = flow.code_verifier, "x" * 64
    try:
        flow.fetch_token(authorization_response=back)
        raise AssertionError("another's verifier was taken")
    except Exception as error:
        assert "invalid_grant" in str(error), error
    flow.code_verifier = None
    url, state = flow.authorization_url(access_type="offline", prompt="consent", login_hint=user)
    flow.fetch_token(authorization_response=sent_to(url))
    assert flow.code_verifier != verifier
    return flow.credentials


def rotate(credentials):
    """Refresh tokens as Google keeps them, and as others exchange them."""
    first, kept = credentials.token, credentials.refresh_token
    credentials.refresh(Request())
    assert credentials.token != first and credentials.refresh_token == kept
    settings(refresh_rotation="revoke_old")
    credentials.refresh(Request())
    assert credentials.refresh_token != kept
    dead(Credentials(None, refresh_token=kept, **{name: APP[name] for name in ("token_uri", "client_id", "client_secret")}))
    credentials.refresh(Request())
    settings(refresh_rotation="none")


def sync(events, token=None, page_size=3):
    """All items of a list or of an increment, how many pages they were on, and the next sync token."""
    start = {"syncToken": token} if token else {"timeMin": "2025-03-01T00:00:00Z"}
    request = events.list(calendarId="primary", maxResults=page_size, **start)
    items, pages = [], 0
    while request is not None:
        page = request.execute()
        items += page["items"]
        pages += 1
        request = events.list_next(request, page)
    return items, pages, page["nextSyncToken"]


def write(service, number):
    events = service.events()
    assert service.calendarList().list().execute()["items"][0]["primary"]
    assert service.calendars().get(calendarId="primary").execute()["timeZone"] == "Europe/Berlin"
    at = lambda hour: {"dateTime": f"2026-03-09T{hour}:00:00", "timeZone": "Europe/Berlin"}
    series = {
        "id": f"abcde0123{number}",
        "summary": "A",
        "start": at(10),
        "end": at(11),
        "recurrence": ["RRULE:FREQ=WEEKLY;COUNT=5"],
        "attendees": [{"email": "guest@else.example"}],
        "extendedProperties": {"private": {"crmId": "1"}, "shared": {"crmKind": "Meeting"}},
    }
    insert = lambda body: events.insert(calendarId="primary", sendUpdates="none", body=body)
    insert(series).execute()
    refused(insert(series), 409, "duplicate")
    for day in range(10, 17):
        insert({"start": {"date": f"2026-03-{day}"}, "end": {"date": f"2026-03-{day + 1}"}}).execute()
    items, pages, token = sync(events)
    assert (len(items), pages) == (8, 3), items

    instances = events.instances(calendarId="primary", eventId=series["id"]).execute()["items"]
    assert len(instances) == 5 and all(it["recurringEventId"] == series["id"] for it in instances)
    one = lambda event: {"calendarId": "primary", "eventId": event["id"], "sendUpdates": "none"}
    events.patch(**one(instances[1]), body={"summary": "moved"}).execute()
    events.delete(**one(instances[2])).execute()
    refused(events.delete(**one(instances[2])), 410, "deleted")
    master = events.get(calendarId="primary", eventId=series["id"]).execute()
    master["location"] = "Room"
    for expected in (None, 412):
        update = events.update(**one(master), body=master)
        update.headers["If-Match"] = master["etag"]
        if expected:
            refused(update, expected, "conditionNotMet")
        else:
            assert update.execute()["etag"] != master["etag"]
    items, _, token = sync(events, token)
    assert [item["status"] for item in items] == ["confirmed", "cancelled", "confirmed"], items
    refused(events.list(calendarId="primary", syncToken=token, q="x"), 400, "badRequest")
    for query, found in ({"privateExtendedProperty": "crmId=1"}, True), ({"privateExtendedProperty": "crmId=2"}, False):
        ids = [item["id"] for item in events.list(calendarId="primary", **query).execute()["items"]]
        assert (series["id"] in ids) == found, ids
    return token


def expire(service, token):
    """Sync tokens that end, at once and in the middle of a list."""
    events = service.events()
    settings(expire_sync_tokens=True)
    refused(events.list(calendarId="primary", syncToken=token), 410, "fullSyncRequired")
    items, pages, token = sync(events, page_size=2)
    assert pages > 2
    for event in items[:3]:
        events.patch(calendarId="primary", eventId=event["id"], sendUpdates="none", body={"location": "B"}).execute()
    settings(expire_at_page=2)
    first = events.list(calendarId="primary", syncToken=token, maxResults=1)
    second = events.list_next(first, first.execute())
    refused(second, 410, "fullSyncRequired")
    assert len(sync(events)[0]) == len(items)


def throttle(service):
    """What the library sends again by itself, and what it does not."""
    events = service.events()
    for status, reason in (403, "rateLimitExceeded"), (429, "rateLimitExceeded"), (503, "backendError"):
        forced = {"operation": "calendar.events.list", "status": status, "reason": reason, "times": 1}
        settings(errors=[forced])
        before = GOOGLE.count("calendar.events.list")
        events.list(calendarId="primary").execute(num_retries=3)
        assert GOOGLE.count("calendar.events.list") == before + 2, status
        settings(errors=[forced])
        refused(events.list(calendarId="primary"), status, reason)
    settings(end_access_tokens=True)
    before = GOOGLE.count("oauth.token.refresh_token")
    events.list(calendarId="primary").execute()
    assert GOOGLE.count("oauth.token.refresh_token") == before + 1, "a refused token is exchanged"


def watch(service, number):
    events, listener = service.events(), Listener()
    channel = {"id": f"channel-{number}", "type": "web_hook", "address": listener.url, "token": "secret"}
    made = events.watch(calendarId="primary", body=channel).execute()
    refused(events.watch(calendarId="primary", body=channel), 400, "channelIdNotUnique")
    GOOGLE.deliver()
    events.insert(calendarId="primary", body={"start": {"date": "2026-04-01"}, "end": {"date": "2026-04-02"}}).execute()
    GOOGLE.deliver()
    told = [(headers["X-Goog-Resource-State"], headers["X-Goog-Channel-Token"]) for headers, _ in listener.got]
    assert told == [("sync", "secret"), ("exists", "secret")], told
    stop = {"id": made["id"], "resourceId": made["resourceId"]}
    service.channels().stop(body=stop).execute()
    refused(service.channels().stop(body=stop), 404, "notFound")


def main():
    with open(DOCUMENT) as file:
        # Pruned to what is simulated, which has no address.
        document = {"rootUrl": "https://www.googleapis.com/", **json.load(file)}
    endpoint = {"api_endpoint": f"{BASE}/calendar/v3/"}
    services = (
        lambda credentials: build_from_document(document, credentials=credentials, client_options=endpoint),
        lambda credentials: build("calendar", "v3", credentials=credentials, static_discovery=True, client_options=endpoint),
    )
    for number, (user, service) in enumerate(zip(("anna@kanzlei.example", "bernd@kanzlei.example"), services)):
        credentials = connect(user)
        rotate(credentials)
        service = service(credentials)
        expire(service, write(service, number))
        throttle(service)
        watch(service, number)
    credentials.refresh(Request())
    GOOGLE.control("POST", "settings", {"withdraw_access": user})
    dead(credentials)
    print("all calls behaved")


main()
