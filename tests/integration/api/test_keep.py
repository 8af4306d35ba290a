"""`PUT` and `DELETE /api/build/{id}/keep`."""

import pytest
from django.contrib.admin.models import LogEntry

from builds.api import schemas
from builds.models import Build
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def jobs(transactional_db):
    use_config("jobs: [{id: plain, function: 'tests.support.odd_jobs:value'}]")


def test_a_build_is_marked_and_unmarked(operator):
    made = build("plain")
    url = f"build/{made.pk}/keep"
    for _ in range(2):
        reply = operator.put(url)
        assert reply.status_code == 200
        assert reply.json() == {"id": made.pk, "job_id": "plain", "keep": True}
    assert set(reply.json()) == set(schemas.KeptBuild.model_fields)
    assert [row["id"] for row in operator.get("build/?kept=true").json()] == [made.pk]
    assert operator.delete(url).json()["keep"] is False
    assert operator.get("build/?kept=true").json() == []
    assert not Build.objects.get().keep
    notes = LogEntry.objects.filter(object_id=str(made.pk)).order_by("pk")
    assert [note.change_message for note in notes] == [
        "Marked it to be kept.",
        "Took the mark away that kept it.",
    ]


def test_it_is_for_those_who_may_start_builds(viewer, stranger, operator):
    made = build("plain")
    url = f"build/{made.pk}/keep"
    for client, status in ((viewer, 403), (stranger, 401)):
        assert client.put(url).status_code == client.delete(url).status_code == status
    assert not Build.objects.get().keep
    assert operator.put("build/999999/keep").status_code == 404
    Build.objects.update(deleting=True)
    reply = operator.put(url)
    assert (reply.status_code, "being deleted" in reply.json()["detail"]) == (409, True)
