"""The vendor's own client libraries against the simulated Google.

Needs google-api-python-client and google-auth-oauthlib from PyPI, and a simulator with `consent` set to `at_once` and
`http://localhost/callback` among its `redirect_uris`:

    python google_calendar.py http://127.0.0.1:8181
"""

import os
import sys
import urllib.error
import urllib.request

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

from google.auth.transport.requests import Request
from google_auth_oauthlib.flow import Flow
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

BASE = sys.argv[1]
SCOPES = ["https://www.googleapis.com/auth/calendar"]
REDIRECT = "http://localhost/callback"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def sent_to(url):
    """Where the browser is sent."""
    try:
        urllib.request.build_opener(NoRedirect).open(url)
    except urllib.error.HTTPError as answer:
        return answer.headers["Location"]
    raise AssertionError("no redirect")


def refused(request, status, reason):
    try:
        request.execute()
    except HttpError as error:
        assert error.status_code == status, error
        assert error.error_details[0]["reason"] == reason, error.error_details
        return
    raise AssertionError(f"not refused with {status} {reason}")


def connect():
    app = {
        "client_id": "123.apps.googleusercontent.com",
        "client_secret": "simulated-google-client-secret",
        "auth_uri": f"{BASE}/o/oauth2/v2/auth",
        "token_uri": f"{BASE}/token",
    }
    flow = Flow.from_client_config({"web": app}, SCOPES, redirect_uri=REDIRECT)
    url, _ = flow.authorization_url(access_type="offline", prompt="consent", include_granted_scopes="true")
    flow.fetch_token(authorization_response=sent_to(url))
    credentials = flow.credentials
    first = credentials.token
    assert credentials.refresh_token
    credentials.refresh(Request())
    assert credentials.token != first
    return credentials


def sync(events, token=None):
    """All items of a list or of an increment, and the next sync token."""
    start = {"syncToken": token} if token else {"timeMin": "2025-03-01T00:00:00Z"}
    request = events.list(calendarId="primary", maxResults=3, **start)
    items = []
    while request is not None:
        page = request.execute()
        items += page["items"]
        request = events.list_next(request, page)
    return items, page["nextSyncToken"]


def main():
    service = build(
        "calendar", "v3", credentials=connect(), client_options={"api_endpoint": f"{BASE}/calendar/v3/"}
    )
    events = service.events()
    assert service.calendarList().list().execute()["items"][0]["primary"]
    at = lambda hour: {"dateTime": f"2026-03-09T{hour}:00:00", "timeZone": "Europe/Berlin"}
    series = {
        "id": "abcde01234",
        "summary": "A",
        "start": at(10),
        "end": at(11),
        "recurrence": ["RRULE:FREQ=WEEKLY;COUNT=5"],
        "attendees": [{"email": "guest@else.example"}],
        "extendedProperties": {"private": {"crmId": "1"}},
    }
    insert = lambda body: events.insert(calendarId="primary", sendUpdates="none", body=body)
    insert(series).execute()
    refused(insert(series), 409, "duplicate")
    for day in range(10, 17):
        insert({"start": {"date": f"2026-03-{day}"}, "end": {"date": f"2026-03-{day + 1}"}}).execute()
    items, token = sync(events)
    assert len(items) == 8, items

    instances = events.instances(calendarId="primary", eventId="abcde01234").execute()["items"]
    assert len(instances) == 5
    one = lambda event: {"calendarId": "primary", "eventId": event["id"], "sendUpdates": "none"}
    events.patch(**one(instances[1]), body={"summary": "moved"}).execute()
    events.delete(**one(instances[2])).execute()
    refused(events.delete(**one(instances[2])), 410, "deleted")
    master = events.get(calendarId="primary", eventId="abcde01234").execute()
    master["location"] = "Room"
    for expected in (None, 412):
        update = events.update(**one(master), body=master)
        update.headers["If-Match"] = master["etag"]
        if expected:
            refused(update, expected, "conditionNotMet")
        else:
            update.execute()
    items, token = sync(events, token)
    assert [item["status"] for item in items] == ["confirmed", "cancelled", "confirmed"], items
    refused(events.list(calendarId="primary", syncToken=token, q="x"), 400, "badRequest")
    found = events.list(calendarId="primary", privateExtendedProperty="crmId=1").execute()["items"]
    assert "abcde01234" in [item["id"] for item in found]

    channel = {"id": "channel-1", "type": "web_hook", "address": "https://sync.example/hooks/google", "token": "t"}
    made = events.watch(calendarId="primary", body=channel).execute()
    stop = {"id": made["id"], "resourceId": made["resourceId"]}
    service.channels().stop(body=stop).execute()
    refused(service.channels().stop(body=stop), 404, "notFound")
    print("all calls behaved")


main()
