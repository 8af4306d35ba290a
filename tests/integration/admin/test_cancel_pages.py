"""Cancelling from the pages, the API and the command line; attempts shown as one group."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.utils import timezone

from builds import runner, services
from builds.models import Build
from jobs.models import Job
from tests.support.commands import run, run_json
from tests.support.jobs import build, messages, use_config
from tests.support.pages import text

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
jobs:
  - {id: good, function: "tests.support.odd_jobs:value"}
  - {id: bad, function: "tests.support.endless_jobs:fail", retries: {count: 2, delay: 1h},
     timeout: 90s}
"""


@pytest.fixture(autouse=True)
def config(transactional_db):
    use_config(CONFIG)


def asked(name: str = "good", status: str | None = None) -> Build:
    made = services.request_build(job=Job.objects.get(pk=name), trigger="quick")
    if status:
        Build.objects.filter(pk=made.pk).update(status=status, start_time=timezone.now())
        made.refresh_from_db()
    return made


def page_of(made: Build) -> str:
    return reverse("admin:builds_build_change", args=[made.pk])


def cancel(client, made: Build):
    return client.post(reverse("admin:builds_build_cancel", args=[made.pk]), follow=True)


# --- One build ------------------------------------------------------------------------------------


def test_a_waiting_build_is_cancelled_by_a_click_that_names_who_did_it(builder):
    made = asked()
    assert "Cancel this build" in text(builder.get(page_of(made)))
    shown = text(cancel(builder, made))
    made.refresh_from_db()
    assert (made.status, made.cancel_requested_by) == ("CANCELLED", builder.user)
    assert "Cancel this build" not in shown
    assert f"by {builder.user.username}" in shown
    assert LogEntry.objects.get().change_message == "Asked to cancel it."


def test_a_running_build_says_that_it_is_told_to_stop(builder):
    made = asked(status="RUNNING")
    shown = text(cancel(builder, made))
    made.refresh_from_db()
    assert made.status == "RUNNING"
    assert "It is told to stop: asked for" in shown
    assert f"by {builder.user.username}" in shown
    assert "Cancel this build" not in shown


def test_what_has_ended_can_not_be_cancelled_and_says_so(builder):
    made = build("good")
    assert "Cancel this build" not in text(builder.get(page_of(made)))
    shown = text(cancel(builder, made))
    assert f"Build #{made.pk} is successful already" in shown
    assert not LogEntry.objects.exists()


def test_a_viewer_can_not_cancel(viewer):
    made = asked()
    assert "Cancel this build" not in text(viewer.get(page_of(made)))
    assert cancel(viewer, made).status_code == 403
    made.refresh_from_db()
    assert made.status == "QUEUED"


# --- Many -----------------------------------------------------------------------------------------


def test_several_are_cancelled_from_the_list(builder, monkeypatch):
    monkeypatch.setattr("builds.services.cancels.CHUNK", 2)
    waiting = [asked() for _ in range(5)]
    running, done = asked(status="RUNNING"), build("good")
    every = [one.pk for one in (*waiting, running, done)]
    data = {"action": "cancel_selected", "_selected_action": every}
    shown = text(builder.post(reverse("admin:builds_build_changelist"), data, follow=True))
    assert "Cancelled, or told to stop: 6 builds." in shown
    states = set(Build.objects.filter(pk__in=every[:5]).values_list("status", flat=True))
    assert states == {"CANCELLED"}
    running.refresh_from_db()
    assert running.cancel_requested_by == builder.user
    assert LogEntry.objects.count() == 6


def test_a_selection_of_ended_builds_cancels_nothing(builder):
    data = {"action": "cancel_selected", "_selected_action": [build("good").pk]}
    shown = text(builder.post(reverse("admin:builds_build_changelist"), data, follow=True))
    assert "None of these builds waits or runs" in shown


def test_viewers_are_not_offered_the_action(viewer):
    asked()
    assert "Cancel selected builds" not in text(
        viewer.get(reverse("admin:builds_build_changelist"))
    )


# --- Attempts -------------------------------------------------------------------------------------


def test_all_attempts_stand_on_the_page_of_each(builder):
    first = asked("bad")
    runner.run_next()
    again = Build.objects.get(retry_of=first)
    for one in (first, again):
        shown = text(builder.get(page_of(one)))
        assert f"Attempts #{first.pk} FAILED #{again.pk} QUEUED" in shown
    assert "This build waits until" in shown
    assert "May run for 1 min 30 s" in shown
    rows = text(builder.get(reverse("admin:builds_build_changelist")))
    assert f"retry of #{first.pk}" in rows


def test_a_build_without_retries_shows_no_attempts(builder):
    assert "Attempts" not in text(builder.get(page_of(build("good"))))


def test_a_retry_can_be_cancelled_while_it_waits(builder):
    asked("bad")
    runner.run_next()
    again = Build.objects.get(attempt=2)
    cancel(builder, again)
    Build.objects.filter(pk=again.pk).update(not_before=timezone.now() - timedelta(hours=1))
    assert runner.run_next() is None


# --- The command line -----------------------------------------------------------------------------


def test_the_command_cancels_what_it_can_and_says_what_it_can_not():
    waiting, running, done = asked(), asked(status="RUNNING"), build("good")
    result = run("cancel_build", waiting.pk, running.pk, done.pk)
    assert result.code == 2
    assert f"Build #{waiting.pk} of good is cancelled." in result.out
    assert f"Build #{running.pk} of good runs; it is told to stop." in result.out
    assert f"build #{done.pk} is successful already" in result.err
    assert messages(waiting)[-1] == "Build cancelled before it began."


def test_the_command_answers_programs():
    made = asked()
    (row,) = run_json("cancel_build", made.pk)
    assert row == {"id": made.pk, "job_id": "good", "status": "CANCELLED", "cancelled": True}
    found = run_json("get_build", made.pk)
    assert (found["status"], found["finished"], found["attempt"]) == ("CANCELLED", True, 1)
    assert found["cancel_requested"] is not None
    assert found["retry_of"] is None
    assert run("cancel_build", 10**6).code == 2
