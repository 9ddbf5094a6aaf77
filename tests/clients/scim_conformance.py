"""Checks a SCIM service by the conformance client: argument 1 is its address, 2 the token."""

import collections
import sys

import httpx2
import scim2_client.engines.httpx2
import scim2_tester

address, token = sys.argv[1:]
headers = {"Authorization": f"Bearer {token}"}
# Not asked through a proxy.
http = httpx2.Client(base_url=address, headers=headers, trust_env=False)
client = scim2_client.engines.httpx2.SyncSCIMClient(http)

results = scim2_tester.check_server(client)
# A check that was left out proves nothing.
complaints = [it for it in results if it.status is not scim2_tester.Status.SUCCESS]
for complaint in complaints:
    print(complaint.status.name, complaint.resource_type, complaint.title, complaint.reason)
assert not complaints, f"{len(complaints)} of {len(results)} checks"

counts = collections.Counter(it.title for it in results)
# By each attribute of the schemas: where those say little, little is checked.
for check, least in {
    "access_schema_by_id": 3,
    "check_add_attribute": 20,
    "check_remove_attribute": 20,
    "check_replace_attribute": 20,
    "object_replacement": 2,
    "search_with_attributes": 4,
}.items():
    assert counts[check] >= least, counts
print("all calls behaved")
