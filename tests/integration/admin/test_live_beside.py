"""Changes from elsewhere that open pages see: of who works, of rights, of what is there at all."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from builds import context_processors, queue, services
from builds.deletion_models import Deletion
from builds.models import Build
from builds.planning import Dependencies, Options
from builds.workers import WorkerIdentity
from jobs.models import Job
from tests.integration.admin.test_live import first_load, refresh
from tests.support.jobs import use_config
from tests.support.pages import page_of, text

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
jobs:
  - {id: first, function: "tests.support.odd_jobs:value"}
  - {id: second, function: "tests.support.odd_jobs:value", dependencies: [first]}
  - {id: heavy, function: "tests.support.odd_jobs:value", queue: heavy}
"""


@pytest.fixture(autouse=True)
def config(transactional_db, monkeypatch):
    monkeypatch.setattr(queue, "wake", lambda times=1, queue="default": True)
    context_processors.forget()
    use_config(CONFIG)
    yield
    context_processors.forget()


def cluster(name: str, number: int) -> None:
    """Let a cluster of one worker say that it lives."""
    me = WorkerIdentity.current()
    identity = WorkerIdentity(me.host, me.host_id, number, "1")
    services.beat_cluster(worker=identity, workers=1, queues=[name])
    context_processors.forget()


def test_a_job_s_page_follows_who_serves_its_queue(viewer):
    cluster("default", 1)
    address = reverse("admin:jobs_job_change", args=["heavy"])
    nobody = "No live cluster serves the queue"
    assert nobody in text(viewer.get(address))
    stamp = first_load(viewer, address)
    assert refresh(viewer, address, stamp).status_code == 204
    cluster("heavy", 2)
    answer = refresh(viewer, address, stamp)
    assert answer.status_code == 200
    assert nobody not in text(answer)


def test_a_plan_s_page_follows_what_its_queued_builds_wait_for(staff):
    reader = staff("jobs.view_job", "builds.view_build", "builds.view_plan")
    cluster("default", 1)
    options = Options(dependencies=Dependencies.ALL)
    made = services.request_build(job=Job.objects.get(pk="second"), trigger="cli", options=options)
    address = reverse("admin:builds_plan_change", args=[made.plan.pk])
    assert "is free for the next in line" in text(reader.get(address))
    stamp = first_load(reader, address)
    assert refresh(reader, address, stamp).status_code == 204
    Build.objects.create(job_id="first", status="RUNNING", queue="default")
    answer = refresh(reader, address, stamp)
    assert answer.status_code == 200
    assert "the only worker is busy" in text(answer)


def test_the_grid_follows_a_deletion_beside_a_newer_one(staff):
    reader = staff("jobs.view_job", "builds.view_build")
    older = Deletion.objects.create(job_id="first", build_number=1)
    Deletion.objects.create(job_id="first", build_number=2)
    address = reverse("admin:jobs_grid")
    stamp = first_load(reader, address)
    assert refresh(reader, address, stamp).status_code == 204
    Deletion.objects.filter(pk=older.pk).update(state="DONE")
    assert refresh(reader, address, stamp).status_code == 200


def test_an_open_page_follows_what_its_reader_may_do(staff):
    reader = staff("jobs.view_job")
    address = reverse("admin:jobs_job_change", args=["first"])
    stamp = first_load(reader, address)
    assert refresh(reader, address, stamp).status_code == 204
    reader.user.user_permissions.add(Permission.objects.get(codename="view_build"))
    answer = refresh(reader, address, stamp)
    assert answer.status_code == 200
    assert "Not built yet." in text(answer)


def test_the_words_of_a_deletion_are_for_the_page_and_not_for_the_refresh(staff):
    reader = staff("jobs.view_job", "builds.view_build", "builds.view_deletion")
    made = Build.objects.create(job_id="first", status="SUCCESSFUL")
    address, number = page_of(made), made.pk
    Deletion.objects.create(job_id="first", build_number=number, state="DONE")
    made.delete()
    assert refresh(reader, address, "old").status_code == 404
    page = reader.get(address, follow=True)
    assert [f"#{number}" in str(one) for one in page.context["messages"]] == [True]
