"""Schedules on the pages: next runs, what became of the last ones, pause and resume."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.utils import timezone

from builds import queue, services
from builds.models import Build
from builds.schedule_models import ScheduledRun, SchedulePause
from jobs.models import Job
from tests.support.clocks import Clock, tick
from tests.support.jobs import use_config

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
secret: {key: hush-hush-hush}
jobs:
  - id: timed/1
    function: "tests.support.odd_jobs:value"
    schedule:
      - {cron: "30 3 * * *", timezone: Australia/Lord_Howe, args: [!secret key]}
      - every 2h
  - {id: plain, function: "tests.support.odd_jobs:value"}
"""
PAGE = "/admin/jobs/job/timed_2F1/change/"
BUTTON = "/admin/jobs/job/timed_2F1/schedule/"


@pytest.fixture(autouse=True)
def config(transactional_db, monkeypatch):
    monkeypatch.setattr(queue, "wake", lambda *_, **__: True)
    use_config(CONFIG)


def page(client, address=PAGE):
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def test_a_page_shows_entries_and_the_next_five_runs(builder):
    response = builder.get(PAGE)
    found = response.context["schedule"]
    times = [line["due"] for line in found["next_runs"]]
    assert len(times) == 5
    assert times == sorted(times)
    assert times[0] > timezone.now()
    text = response.content.decode()
    assert "30 3 * * *" in text
    assert "every 2h" in text
    assert "hush" not in text
    there = [line["there"] for line in found["next_runs"] if line["entry"].cron]
    assert all(one.startswith("03:30 +") for one in there)
    assert "Pause the schedule" in text


def test_a_protected_job_starts_by_its_schedule_too(staff):
    use_config(CONFIG.replace("- id: timed/1", "- id: timed/1\n    protected: true"))
    reader = staff("jobs.view_job", "builds.run_build")
    assert "besides its schedule, it starts only when" in page(reader)
    services.pause_schedule(job=Job.objects.get(pk="timed/1"))
    assert "besides its schedule" not in page(reader)


def test_a_page_shows_what_became_of_the_last_times(builder, monkeypatch):
    clock = Clock(monkeypatch)
    tick()
    pointer = ScheduledRun.objects.order_by("due").first()
    clock.now = pointer.due
    tick()
    clock.now += timedelta(hours=2)
    tick()
    text = page(builder)
    made = Build.objects.get()
    assert f'<a href="/admin/builds/build/{made.pk}/change/">#{made.pk}</a>' in text
    assert f"build #{made.pk} had not ended." in text
    assert "jc-run-started" in text
    assert "jc-run-skipped" in text
    assert "jc-run-planned" not in text


def test_no_section_where_there_is_no_schedule(builder):
    assert "schedule-heading" not in page(builder, "/admin/jobs/job/plain/change/")


def test_pause_and_resume_with_their_line_in_the_history(builder):
    answer = builder.post(BUTTON, {"schedule": "pause"}, follow=True)
    assert answer.redirect_chain == [(PAGE, 302)]
    assert SchedulePause.objects.get().paused_by == builder.user
    text = answer.content.decode()
    assert "Resume the schedule" in text
    assert "Next runs" not in text
    assert builder.user.get_username() in text
    builder.post(BUTTON, {"schedule": "pause"})
    builder.post(BUTTON, {"schedule": "resume"})
    builder.post(BUTTON, {"schedule": "resume"})
    assert not SchedulePause.objects.exists()
    lines = LogEntry.objects.order_by("pk").values_list("object_id", "change_message")
    assert list(lines) == [
        ("timed/1", "Paused its schedule."), ("timed/1", "Let its schedule go on."),
    ]  # fmt: skip


def test_who_may_not_start_builds_may_not_pause(viewer):
    assert "Pause the schedule" not in page(viewer)
    assert viewer.post(BUTTON, {"schedule": "pause"}).status_code == 403
    assert not SchedulePause.objects.exists()


def test_a_job_without_a_schedule_says_so(builder):
    answer = builder.post("/admin/jobs/job/plain/schedule/", {"schedule": "pause"}, follow=True)
    assert "has no schedule in the configuration file" in answer.content.decode()


def test_the_list_of_jobs_says_when_each_runs_next(viewer):
    rows = viewer.get("/admin/jobs/job/").context["cl"].result_list
    assert [job.row.next_run is None for job in rows] == [False, True]
    services.pause_schedule(job=Job.objects.get(pk="timed/1"))
    text = page(viewer, "/admin/jobs/job/")
    assert 'data-label="next run"' in text.lower()
    assert ">paused<" in text


def test_the_list_of_times_is_filtered_and_searched(staff):
    entry = Job.objects.get(pk="timed/1").schedules[0]["key"]
    start = datetime(2026, 11, 1, tzinfo=timezone.get_default_timezone())
    ScheduledRun.objects.bulk_create(
        ScheduledRun(job_id="timed/1", entry=entry, due=start + timedelta(hours=n), state=state)
        for n, state in enumerate(["STARTED", "MISSED", "MISSED", "PLANNED"])
    )
    reader = staff("jobs.view_job", "builds.view_scheduledrun")
    for query, count in (("", 4), ("?state__exact=MISSED", 2), ("?q=timed", 4), ("?q=no", 0),
                         ("?job__id__exact=plain", 0), ("?job__id__exact=timed/1", 4)):  # fmt: skip
        response = reader.get(f"/admin/builds/scheduledrun/{query}")
        assert response.context["cl"].result_count == count, query
    ScheduledRun.objects.filter(state="STARTED").update(build_number=771)
    for query, count in (("771", 1), ("%23771", 1), ("timed+771", 1), ("plain+771", 0), ("77", 0)):
        response = reader.get(f"/admin/builds/scheduledrun/?q={query}")
        assert response.context["cl"].result_count == count, query
    text = page(reader, "/admin/builds/scheduledrun/")
    assert text.count("<code>30 3 * * *</code>") == 4
    ScheduledRun.objects.filter(state="MISSED").update(entry="gone from the file")
    assert page(reader, "/admin/builds/scheduledrun/").count("<code>30 3 * * *</code>") == 2
    one = ScheduledRun.objects.first()
    assert reader.get(f"/admin/builds/scheduledrun/{one.pk}/change/").status_code == 200


def test_show_job_tells_the_next_runs(capsys):
    call_command("show_job", "timed/1")
    assert "Next runs" in capsys.readouterr().out
    services.pause_schedule(job=Job.objects.get(pk="timed/1"))
    call_command("show_job", "timed/1")
    assert "paused" in capsys.readouterr().out
