"""Jobs that start by themselves when they are due, under a clock that the tests move."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import DataError, connection
from django.utils import timezone

from builds import queue, services
from builds import schedules as fired
from builds.models import Build
from builds.schedule_models import ScheduledRun, SchedulePause
from builds.schedules import Schedules
from builds.services import nights
from builds.services import schedules as firing
from jobcontrol.exceptions import InvalidRequest
from jobs import registry
from jobs.models import Job
from tests.support.clocks import Clock, tick
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)

FUNCTION = "tests.support.odd_jobs:echo"
SAME = '{{id: job{}, function: "tests.support.odd_jobs:echo", schedule: "30 * * * *"}}'


@pytest.fixture(autouse=True)
def no_wakes(monkeypatch, transactional_db):
    monkeypatch.setattr(queue, "wake", lambda *_, **__: True)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def job(schedule: str, more: str = "", name: str = "job") -> str:
    return f'jobs:\n  - id: {name}\n    function: "{FUNCTION}"\n    schedule: {schedule}\n{more}'


def runs(name: str = "job") -> list[tuple[str, str]]:
    """Return the decided times of a job, as hour and minute in UTC, with what became of them."""
    found = ScheduledRun.objects.filter(job=name).exclude(state="PLANNED").order_by("due", "pk")
    return [(f"{run.due:%H:%M}", run.state) for run in found]


def pointers(name: str = "job") -> list[str]:
    found = ScheduledRun.objects.filter(job=name, state="PLANNED").order_by("due")
    return [f"{run.due:%Y-%m-%d %H:%M}" for run in found]


def reasons(name: str = "job") -> list[str]:
    found = ScheduledRun.objects.filter(job=name).exclude(reason="").order_by("due", "pk")
    return list(found.values_list("reason", flat=True))


def end_all() -> None:
    Build.objects.unstarted().update(status="SUCCESSFUL")


def test_a_time_that_is_due_makes_one_build_and_plans_the_next(clock):
    use_config(job('{cron: "30 * * * *", args: [1, [2]], kwargs: {x: 3}}'))
    tick()
    assert (pointers(), runs()) == (["2026-11-24 12:30"], [])
    clock.set("2026-11-24 12:29:59")
    tick(3)
    assert not Build.objects.exists()
    clock.set("2026-11-24 12:30:00")
    tick(3)
    made = Build.objects.get()
    assert (made.job_id, made.status, made.trigger) == ("job", "QUEUED", "schedule")
    assert (made.payload.config["args"], made.payload.config["kwargs"]) == ([1, [2]], {"x": 3})
    run = ScheduledRun.objects.get(state="STARTED")
    assert (run.build, run.build_number, run.decided) == (made, made.pk, clock.now)
    assert pointers() == ["2026-11-24 13:30"]


def test_nothing_is_looked_at_twice_while_nothing_is_due(clock, django_assert_num_queries):
    use_config(job("every 10m"))
    supervisor = Schedules()
    supervisor.step()
    with django_assert_num_queries(1):
        supervisor.step()


DAYS = {
    "Europe/Rome": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-10-04", "2026-04-05"),
}
# Where the clock goes forward, then where it goes back: hour and minute on the wall, with offset.
CHANGES = {
    ("Europe/Rome", "30 2 * * *"): (["03:00 +0200"], ["02:30 +0200"]),
    ("America/New_York", "30 1,2 * * *"): (
        ["01:30 -0500", "03:00 -0400"],
        ["01:30 -0400", "02:30 -0500"],
    ),
    ("Australia/Lord_Howe", "15 2 * * *"): (["02:30 +1100"], ["02:15 +1030"]),
    ("Australia/Lord_Howe", "45 1 * * *"): (["01:45 +1030"], ["01:45 +1100"]),
    ("Europe/Rome", "*/30 2 * * *"): (
        [],
        ["02:00 +0200", "02:30 +0200", "02:00 +0100", "02:30 +0100"],
    ),
    ("America/New_York", "*/20 1 * * *"): (
        ["01:00 -0500", "01:20 -0500", "01:40 -0500"],
        ["01:00 -0400", "01:20 -0400", "01:40 -0400"]
        + ["01:00 -0500", "01:20 -0500", "01:40 -0500"],
    ),
    ("Australia/Lord_Howe", "*/15 1,2 * * *"): (
        ["01:00 +1030", "01:15 +1030", "01:30 +1030", "01:45 +1030", "02:30 +1100", "02:45 +1100"],
        ["01:00 +1100", "01:15 +1100", "01:30 +1100", "01:45 +1100", "01:30 +1030", "01:45 +1030"]
        + ["02:00 +1030", "02:15 +1030", "02:30 +1030", "02:45 +1030"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("zone", "cron"), CHANGES, ids=" ".join)
@pytest.mark.parametrize("change", [0, 1], ids=["forward", "back"])
def test_a_day_on_which_the_clock_is_changed(clock, zone, cron, change):
    """With a supervisor that starts anew at each tick, as after so many crashes."""
    day, wanted = DAYS[zone][change], CHANGES[zone, cron][change]
    use_config(job(f'{{cron: "{cron}", timezone: {zone}, overlap: allow}}'))
    clock.set(f"{day} 00:00", zone)
    for _ in range(6 * 12):  # six hours, in steps of five minutes
        tick()
        clock.now += firing.ON_TIME * 5
    started = ScheduledRun.objects.filter(state="STARTED").order_by("due")
    assert [f"{run.due.astimezone(ZoneInfo(zone)):%H:%M %z}" for run in started] == wanted
    assert Build.objects.count() == len(wanted)
    assert not ScheduledRun.objects.exclude(state__in=("STARTED", "PLANNED")).exists()


def test_every_counts_on_across_restarts_and_changes_of_the_clock(clock):
    use_config(job("{every: 90m, timezone: Europe/Rome, overlap: allow}"))
    clock.set("2026-03-28 22:59", "UTC")
    clock.run("2026-03-29 05:00", step=60.0)
    # 2001-01-01 00:00 in Rome, and then every ninety minutes.
    assert [at for at, _ in runs()] == ["23:00", "00:30", "02:00", "03:30", "05:00"]


LATE = {
    # (catch_up, overlap): after three missed hours, with no build in the way, then as builds end
    ("none", "skip"): [("09:30", "MISSED")],
    ("none", "queue"): [("09:30", "MISSED")],
    ("none", "allow"): [("09:30", "MISSED")],
    ("last", "skip"): [("09:30", "MISSED"), ("11:30", "STARTED")],
    ("last", "queue"): [("09:30", "MISSED"), ("11:30", "STARTED")],
    ("last", "allow"): [("09:30", "MISSED"), ("11:30", "STARTED")],
    ("all", "skip"): [("09:30", "STARTED"), ("10:30", "SKIPPED"), ("11:30", "SKIPPED")],
    ("all", "queue"): [("09:30", "STARTED"), ("10:30", "WAITING"), ("11:30", "WAITING")],
    ("all", "allow"): [("09:30", "STARTED"), ("10:30", "STARTED"), ("11:30", "STARTED")],
}


@pytest.mark.parametrize(("catch_up", "overlap"), LATE, ids=" ".join)
def test_times_that_passed_while_no_cluster_was_there(clock, catch_up, overlap):
    use_config(job(f'{{cron: "30 * * * *", catch_up: {catch_up}, overlap: {overlap}}}'))
    clock.set("2026-11-24 09:00")
    tick()
    clock.set("2026-11-24 12:10")
    tick(3)
    assert runs() == LATE[catch_up, overlap]
    assert pointers() == ["2026-11-24 12:30"]
    if catch_up == "none":
        text = "no cluster was there to start it in time. With it 2 more, the last due at "
        assert reasons() == [text + "2026-11-24 11:30:00 UTC."]
    if overlap == "queue" and catch_up == "all":
        started = []
        for _ in range(4):
            tick(2)
            started.append(Build.objects.count())
            end_all()
        assert started == [1, 2, 3, 3]
        assert {state for _, state in runs()} == {"STARTED"}


@pytest.mark.parametrize("overlap", ["skip", "queue", "allow"])
@pytest.mark.parametrize("catch_up", ["none", "last", "all"])
def test_a_time_that_comes_while_a_build_runs(clock, catch_up, overlap):
    use_config(job(f'{{cron: "30 * * * *", catch_up: {catch_up}, overlap: {overlap}}}'))
    tick()
    before = services.request_build(job=Job.objects.get(), trigger="python")
    clock.set("2026-11-24 12:30:10")
    tick(2)
    states = {"skip": "SKIPPED", "queue": "WAITING", "allow": "STARTED"}
    assert runs() == [("12:30", states[overlap])]
    assert Build.objects.count() == (2 if overlap == "allow" else 1)
    if overlap == "skip":
        assert reasons() == [f"build #{before.pk} had not ended."]
    end_all()
    tick(2)
    assert Build.objects.count() == (1 if overlap == "skip" else 2)


def test_a_time_within_a_minute_is_on_time(clock):
    use_config(job("{every: 10s, overlap: allow}"))
    clock.set("2026-11-24 12:00:01")
    tick()
    clock.set("2026-11-24 12:01:05")
    tick()
    assert [state for _, state in runs()] == ["STARTED"] * 6


def test_newest_missed_time_counts_when_one_is_due_right_now(clock):
    use_config(job('{cron: "0 * * * *", catch_up: last}'))
    clock.set("2026-11-24 09:30")
    tick()
    clock.set("2026-11-24 12:00:20")
    tick()
    assert runs() == [("10:00", "MISSED"), ("12:00", "STARTED")]


def test_very_many_missed_times_are_one_row(clock):
    use_config(job("{every: 1s, catch_up: last}"))
    tick()
    clock.set("2026-11-26 12:00:00")
    tick()
    assert [state for _, state in runs()] == ["MISSED", "STARTED"]
    assert "With it over 1,000 more, the last due at 2026-11-26 11:59:59 UTC." in reasons()[0]


def test_very_many_times_to_catch_up_come_bit_by_bit(clock, monkeypatch):
    monkeypatch.setattr(firing, "RUNS_AT_ONCE", 5)
    use_config(job("{every: 1h, catch_up: all, overlap: allow}"))
    clock.set("2026-11-24 00:30")
    tick()
    clock.set("2026-11-24 12:30")
    counts = []
    for _ in range(4):
        tick()
        counts.append(Build.objects.count())
    assert counts == [5, 10, 12, 12]


def test_runs_that_wait_are_bounded(clock, monkeypatch):
    monkeypatch.setattr(firing, "MAX_WAITING", 2)
    use_config(job("{every: 1h, overlap: queue}"))
    tick()
    clock.run("2026-11-24 17:00")
    states = [state for _, state in runs()]
    assert states == ["STARTED", "WAITING", "WAITING", "SKIPPED", "SKIPPED"]
    assert reasons()[0] == "2 runs before it still waited."


def test_a_protected_job_is_armed_by_the_schedule_of_the_file(clock):
    use_config(job('"30 * * * *"', "    protect: true\n"))
    tick()
    clock.set("2026-11-24 12:30")
    tick()
    assert Build.objects.get().armed
    assert runs() == [("12:30", "STARTED")]


def test_what_can_not_be_built_is_refused_with_the_reason(clock):
    use_config(
        job('[{cron: "30 * * * *"}, {cron: "31 * * * *", args: [!retval other]}]',
            "    dependencies: [other]\n"
            f'  - {{id: other, function: "{FUNCTION}"}}\n')
    )  # fmt: skip
    tick()
    clock.set("2026-11-24 12:30:30")
    tick()
    assert runs() == [("12:30", "REFUSED")]
    assert "'other'" in reasons()[0]
    number = build("other").pk
    clock.set("2026-11-24 12:31")
    tick()
    assert runs()[1] == ("12:31", "STARTED")
    made = Build.objects.get(job="job")
    assert made.payload.config["args"] == [{"!retval": "other"}]
    assert made.inputs.get().dep_build_number == number


def test_secrets_in_arguments_are_stored_as_references(clock):
    text = job('{cron: "30 * * * *", args: [!secret key, "key=hush-hush-hush"]}')
    use_config("secret: {key: hush-hush-hush}\n" + text)
    tick()
    clock.set("2026-11-24 12:30")
    tick()
    entry = Job.objects.get().schedules[0]
    assert entry["args"][0] == {"!secret": "key", "form": "raw"}
    assert "hush" not in str(entry)
    payload = Build.objects.get().payload
    assert "hush" not in str(payload.config) + payload.config_text


def test_entries_that_leave_the_file_or_change_take_their_open_rows_along(clock):
    use_config(job('[{cron: "30 * * * *", overlap: queue}, "45 * * * *"]'))
    tick()
    services.request_build(job=Job.objects.get(), trigger="python")
    clock.set("2026-11-24 12:30")
    tick()
    assert runs() == [("12:30", "WAITING")]
    clock.set("2026-11-24 12:40")
    use_config(job('["0 * * * *", "35 * * * *"]'))
    tick()
    assert (runs(), pointers()) == ([], ["2026-11-24 13:00", "2026-11-24 13:35"])
    use_config(job("null"))
    tick()
    assert not ScheduledRun.objects.exists()


def test_a_supervisor_that_goes_on_follows_a_new_file(clock):
    supervisor = Schedules()
    use_config(job('"30 * * * *"'))
    supervisor.step()
    use_config(job('"15 * * * *"'))
    supervisor.step()
    assert pointers() == ["2026-11-24 12:15"]


def test_a_job_that_is_retired_starts_no_more(clock):
    use_config(job('"30 * * * *"'))
    tick()
    use_config(job("null", name="other"))
    clock.set("2026-11-24 12:30")
    firing.fire_job(job_id="job", now=clock.now)
    tick()
    assert not Build.objects.exists()
    assert not ScheduledRun.objects.exists()


def test_a_clock_that_was_put_back_starts_nothing_twice(clock):
    use_config(job('"30 * * * *"'))
    tick()
    clock.set("2026-11-24 12:30")
    tick()
    clock.set("2026-11-24 12:00")
    use_config(job("null"))
    tick()
    use_config(job('"30 * * * *"'))
    tick()
    assert pointers() == ["2026-11-24 13:30"]
    clock.set("2026-11-24 12:30")
    tick()
    assert Build.objects.count() == 1


def test_what_is_wrong_with_one_job_keeps_no_other_from_starting(clock, monkeypatch, caplog):
    good = f'  - {{id: good, function: "{FUNCTION}", schedule: every 30m}}\n'
    use_config(job('"30 * * * *"', good))
    tick()
    clock.set("2026-11-24 12:30")
    real = firing.request_build

    def failing(*, job, **wish):
        if job.pk == "job":
            raise RuntimeError("odd")
        return real(job=job, **wish)

    monkeypatch.setattr(firing, "request_build", failing)
    tick()
    assert (runs(), runs("good")) == ([], [("12:30", "STARTED")])
    assert "the schedule of job can't be followed" in caplog.text


def test_a_job_that_fails_is_tried_now_and_then(clock, monkeypatch, caplog):
    use_config(job('"30 * * * *"'))
    tick()
    clock.set("2026-11-24 12:30")
    real = firing.request_build
    monkeypatch.setattr(firing, "request_build", lambda **_: 1 / 0)
    supervisor = Schedules()
    for _ in range(5):
        supervisor.step()
    assert caplog.text.count("can't be followed") == 1
    monkeypatch.setattr(firing, "request_build", real)
    supervisor.step()
    assert runs() == []
    later = fired.monotonic() + fired.RETRY_SECONDS
    monkeypatch.setattr(fired, "monotonic", lambda: later)
    supervisor.step()
    assert runs() == [("12:30", "STARTED")]


def test_what_was_wanted_is_no_warning(clock, caplog):
    caplog.set_level("INFO")
    use_config(job('"30 * * * *"'))
    tick()
    clock.set("2026-11-24 12:30")
    services.request_build(job=Job.objects.get(), trigger="python")
    tick()
    services.pause_schedule(job=Job.objects.get())
    clock.set("2026-11-24 13:30")
    tick()
    services.resume_schedule(job=Job.objects.get())
    clock.set("2026-11-24 15:00")
    tick()
    told = [(one.levelname, one.message) for one in caplog.records if "due at" in one.message]
    assert [level for level, _ in told] == ["INFO", "INFO", "WARNING"]
    assert told[0][1].startswith("job, due at 2026-11-24 12:30:00 UTC: skipped: build #")


def test_an_error_of_the_database_that_one_job_makes_is_its_own(clock, monkeypatch, caplog):
    good = f'  - {{id: good, function: "{FUNCTION}", schedule: every 30m}}\n'
    use_config(job('"30 * * * *"', good))
    tick()
    clock.set("2026-11-24 12:30")
    real = firing.request_build

    def failing(*, job, **wish):
        if job.pk == "job":
            raise DataError("value out of range")
        return real(job=job, **wish)

    monkeypatch.setattr(firing, "request_build", failing)
    tick()
    assert (runs(), runs("good")) == ([], [("12:30", "STARTED")])


def test_a_zone_that_this_host_does_not_know_keeps_no_other_job_from_being_planned(
    clock, monkeypatch, caplog
):
    monkeypatch.setattr(firing, "PLANNED_AT_ONCE", 1)
    good = f'  - {{id: good, function: "{FUNCTION}", schedule: every 30m}}\n'
    use_config(job('{cron: "30 * * * *", timezone: Europe/Rome}', good, name="bad"))
    rows = json.dumps(Job.objects.get(pk="bad").schedules).replace("Europe/Rome", "Mars/Olympus")
    with connection.cursor() as cursor:  # the registry alone may write it
        cursor.execute("UPDATE jobs_job SET schedules = %s WHERE id = 'bad'", [rows])
    supervisor = Schedules()
    supervisor.step()
    assert (pointers("bad"), pointers("good")) == ([], ["2026-11-24 12:30"])
    assert "the schedule of bad can't be planned" in caplog.text
    caplog.clear()
    supervisor.step()
    assert "can't be planned" not in caplog.text


def test_more_than_can_be_started_at_once_is_not_missed(clock, monkeypatch):
    monkeypatch.setattr(fired, "STEP_SECONDS", 0)  # one job in a step
    use_config("jobs:\n" + "".join(f"  - {SAME.format(n)}\n" for n in range(4)))
    supervisor = Schedules()
    supervisor.step()
    clock.set("2026-11-24 12:29:59")
    supervisor.step()
    clock.set("2026-11-24 12:30:00")
    for _ in range(4):
        supervisor.step()
        clock.now += timedelta(seconds=40)
    assert [runs(f"job{n}") for n in range(4)] == [[("12:30", "STARTED")]] * 4


def test_a_time_is_missed_when_the_supervisor_did_not_come_to_look(clock):
    use_config(job('"30 * * * *"'))
    supervisor = Schedules()
    supervisor.step()
    clock.set("2026-11-24 12:29:59")
    supervisor.step()
    clock.set("2026-11-24 12:31:01")  # such as after the database was away
    supervisor.step()
    assert runs() == [("12:30", "MISSED")]


def test_a_job_with_much_to_catch_up_lets_the_others_have_their_turn(clock, monkeypatch):
    monkeypatch.setattr(fired, "STEP_SECONDS", 0)  # one job in a step
    good = f'  - {{id: good, function: "{FUNCTION}", schedule: "30 * * * *"}}\n'
    use_config(job("{every: 1s, catch_up: all, overlap: allow}", good))
    supervisor = Schedules()
    supervisor.step()
    clock.set("2026-11-24 12:30")
    supervisor.step()
    assert (len(runs()), runs("good")) == (firing.RUNS_AT_ONCE, [])
    supervisor.step()
    assert runs("good") == [("12:30", "STARTED")]
    supervisor.step()
    assert len(runs()) == 2 * firing.RUNS_AT_ONCE


# --- Pausing --------------------------------------------------------------------------------------


def test_a_paused_schedule_starts_nothing_and_goes_on_from_when_it_is_resumed(clock, admin_user):
    use_config(job('{cron: "30 * * * *", catch_up: all}'))
    tick()
    found = Job.objects.get()
    assert services.pause_schedule(job=found, user=admin_user)
    assert not services.pause_schedule(job=found, user=admin_user)
    assert SchedulePause.objects.get().paused_by == admin_user
    clock.set("2026-11-24 12:30")
    tick(2)
    assert (runs(), reasons()) == ([("12:30", "MISSED")], ["the schedule was paused."])
    clock.set("2026-11-24 15:00")  # with no cluster meanwhile
    assert services.resume_schedule(job=found)
    assert not services.resume_schedule(job=found)
    tick(2)
    assert not Build.objects.exists()
    assert reasons()[1].startswith("the schedule was paused. With it 1 more, the last due at")
    clock.set("2026-11-24 15:30")
    tick()
    assert Build.objects.count() == 1


def test_all_entries_miss_what_was_due_while_they_were_paused(clock, monkeypatch):
    monkeypatch.setattr(firing, "RUNS_AT_ONCE", 2)
    entries = [{"every": f"{n}m", "catch_up": "all", "overlap": "allow"} for n in range(1, 6)]
    use_config(job(json.dumps(entries)))
    tick()
    services.pause_schedule(job=Job.objects.get())
    clock.set("2026-11-24 13:00")  # with no cluster meanwhile
    services.resume_schedule(job=Job.objects.get())
    tick(5)
    assert {state for _, state in runs()} == {"MISSED"}
    assert len(runs()) == len(entries)


def test_a_pause_ends_what_waits(clock):
    use_config(job('{cron: "30 * * * *", overlap: queue}'))
    tick()
    services.request_build(job=Job.objects.get(), trigger="python")
    clock.set("2026-11-24 12:30")
    tick()
    services.pause_schedule(job=Job.objects.get())
    end_all()
    tick()
    assert (runs(), reasons()) == (
        [("12:30", "MISSED")],
        ["the schedule was paused while it waited."],
    )


def test_a_job_without_a_schedule_can_not_be_paused(clock):
    use_config(job("null"))
    with pytest.raises(InvalidRequest, match="has no schedule"):
        services.pause_schedule(job=Job.objects.get())


# --- What stays -----------------------------------------------------------------------------------


def test_a_broken_file_changes_nothing(clock, tmp_path, settings):
    path = tmp_path / "jobcontrol.yaml"
    path.write_text(job('"30 * * * *"'))
    settings.JOBCONTROL_CONFIG = str(path)
    registry.forget()
    registry.ensure_current()
    tick()
    path.write_text(job('"30 * *"'))
    registry.forget()
    registry.ensure_current()
    assert registry.problems()
    clock.set("2026-11-24 12:30")
    tick()
    assert Build.objects.count() == 1
    registry.forget()


def test_a_new_time_zone_of_the_site_moves_the_times(clock, settings):
    settings.TIME_ZONE = "UTC"
    use_config(job('"30 14 * * *"'))
    tick()
    assert pointers() == ["2026-11-24 14:30"]
    settings.TIME_ZONE = "Europe/Rome"
    use_config(job('"30 14 * * *"'))
    tick()
    assert pointers() == ["2026-11-24 13:30"]


def test_old_runs_are_forgotten_and_open_ones_are_not(clock):
    use_config(job('["30 * * * *", "45 * * * *"]'))
    tick()
    long_ago = timezone.now() - nights.RECORDS_KEPT * 2
    entry = ScheduledRun.objects.first().entry
    ScheduledRun.objects.update(due=long_ago)
    for days, state in enumerate(("STARTED", "SKIPPED", "MISSED", "REFUSED")):
        due = datetime(2020, 1, 1 + days, tzinfo=UTC)
        ScheduledRun.objects.create(job_id="job", entry=entry, due=due, state=state)
    ScheduledRun.objects.create(job_id="job", entry=entry, due=timezone.now(), state="STARTED")
    gone = 0
    while count := services.forget_old():
        gone += count
    assert gone == 4
    states = sorted(ScheduledRun.objects.values_list("state", flat=True))
    assert states == ["PLANNED", "PLANNED", "STARTED"]
