"""`DELETE /api/build/{id}`, and what became of it."""

import pytest
from django.contrib.admin.models import LogEntry

from builds.api import schemas
from builds.deletion import run_next
from builds.deletion_models import Deletion
from builds.models import Build, BuildDependency
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
jobs:
  - id: plain
    function: tests.support.odd_jobs:value
  - id: tidy
    function: tests.support.odd_jobs:value
    cleanup: tests.integration.api.test_deletions:tidy_up
  - id: sticky
    function: tests.support.odd_jobs:value
    cleanup: tests.integration.api.test_deletions:fail_to_tidy_up
"""
cleaned = []


def tidy_up(build):
    cleaned.append(build.id)
    print("swept")


def fail_to_tidy_up(build):
    raise OSError("disk on fire")


@pytest.fixture(autouse=True)
def jobs(transactional_db):
    cleaned.clear()
    use_config(CONFIG)


def asked(reply):
    assert reply.status_code == 202, reply.content
    assert reply["Location"] == f"/api/deletion/{reply.json()['id']}"
    return reply.json()


def test_a_worker_deletes_and_the_outcome_can_be_read(manager):
    made = build("tidy")
    deletion = asked(manager.delete(f"build/{made.pk}"))
    assert set(deletion) == set(schemas.Deletion.model_fields)
    assert (deletion["build_id"], deletion["job_id"]) == (made.pk, "tidy")
    assert (deletion["state"], deletion["outcome"]) == ("WAITING", None)
    assert deletion["requested_by"] == manager.user.username
    assert cleaned == []
    assert Build.objects.filter(pk=made.pk, deleting=True).exists()
    run_next()
    ended = manager.get(f"deletion/{deletion['id']}").json()
    assert (ended["state"], ended["outcome"]) == ("DONE", "done")
    assert "swept" in ended["log"]
    assert ended["ended"]
    assert cleaned == [made.pk]
    assert manager.get(f"build/{made.pk}").status_code == 404
    (entry,) = LogEntry.objects.all()
    assert (entry.user, entry.object_id) == (manager.user, str(made.pk))


def test_a_failed_cleanup_is_told_and_the_build_can_be_deleted_without(manager):
    made = build("sticky")
    first = asked(manager.delete(f"build/{made.pk}?cleanup=true"))
    run_next()
    ended = manager.get(f"deletion/{first['id']}").json()
    assert (ended["state"], ended["outcome"]) == ("FAILED", "failed")
    assert "disk on fire" in ended["exception"]
    assert manager.get(f"build/{made.pk}").status_code == 200
    second = asked(manager.delete(f"build/{made.pk}?cleanup=false"))
    assert second["cleanup"] is False
    run_next()
    assert manager.get(f"deletion/{second['id']}").json()["outcome"] == "skipped"
    assert not Build.objects.exists()
    assert "without cleanup" in LogEntry.objects.first().change_message


def test_a_build_in_use_is_not_deleted(manager):
    made = build("plain")
    user = Build.objects.create(job_id="tidy", status="QUEUED")
    BuildDependency.objects.create(
        build=user, job_id="plain", dep_build=made, dep_build_number=made.pk
    )
    reply = manager.delete(f"build/{made.pk}")
    assert reply.status_code == 409
    assert f"unfinished builds need it (#{user.pk})" in reply.json()["detail"]
    running = Build.objects.create(job_id="tidy", status="RUNNING")
    assert "is running" in manager.delete(f"build/{running.pk}").json()["detail"]
    assert not Deletion.objects.exists()


def test_a_build_is_deleted_once(manager):
    made = build("plain")
    asked(manager.delete(f"build/{made.pk}"))
    reply = manager.delete(f"build/{made.pk}")
    assert reply.status_code == 409
    assert "is being deleted already" in reply.json()["detail"]


@pytest.mark.parametrize("number", [0, 999, 2**63, 10**30])
def test_what_is_not_there_is_not_deleted(manager, number):
    assert manager.delete(f"build/{number}").status_code == 404
    reply = manager.get(f"deletion/{number}")
    assert reply.status_code == 404
    assert reply.json()["detail"] == f"there is no deletion {number}"


def test_cleanup_is_a_yes_or_a_no(manager):
    made = build("plain")
    assert manager.delete(f"build/{made.pk}?cleanup=perhaps").status_code == 422
    assert not Deletion.objects.exists()
