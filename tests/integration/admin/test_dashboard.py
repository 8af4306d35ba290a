"""The start page: what runs, waits, broke, is outdated and comes next, for whom it may concern."""

from __future__ import annotations

import random
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from builds import context_processors, estimates, queue, services, standing
from builds.groups import make_groups
from builds.models import Build, BuildDependency, BuildPayload, BuildProgress
from builds.pages import dashboard
from builds.progress import ROOT_DIGEST
from builds.schedule_models import ScheduledRun, SchedulePause
from builds.status import OUTDATED, job_statuses, why_outdated
from jobs.models import Job, registry_writes
from tests.support import pages
from tests.support.clusters import beating, main_of, silence, worker_of
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)

INDEX = "/admin/"
CONFIG = """
jobs:
  - id: crawl
    title: "Crawl <b>the web</b>"
    function: tests.support.odd_jobs:value
    args: [1]
    schedule: ["every 1h"]
  - {id: report, function: "tests.support.odd_jobs:value", args: [!retval crawl]}
  - {id: single, function: "tests.support.odd_jobs:value", concurrency: 1}
"""


@pytest.fixture(autouse=True)
def config(transactional_db, monkeypatch):
    monkeypatch.setattr(queue, "wake", lambda times=1, queue="default": True)
    monkeypatch.setattr(standing, "QUICK_SECONDS", 3600)
    use_config(CONFIG)
    for module in (context_processors, standing):
        module.forget()
    yield
    for module in (context_processors, standing):
        module.forget()


def running(job="crawl", seconds=60, **facts):
    start = timezone.now() - timedelta(seconds=seconds)
    return Build.objects.create(job_id=job, status="RUNNING", start_time=start, **facts)


def ended(job="crawl", status="SUCCESSFUL", seconds=100, ago=0, **facts):
    end = timezone.now() - timedelta(seconds=ago)
    start = end - timedelta(seconds=seconds)
    return Build.objects.create(job_id=job, status=status, start_time=start, end_time=end, **facts)


def report(build, current, total, line="", path="[]", digest=ROOT_DIGEST, position=0):
    BuildProgress.objects.create(
        build=build,
        group_name=path,
        group_digest=digest,
        current=current,
        total=total,
        status_line=line,
        position=position,
        updated=timezone.now(),
    )


def parts(client):
    return client.get(INDEX).context


# --- what runs ------------------------------------------------------------------------------------


def test_what_runs_has_its_progress_and_the_time_left(admin_client):
    made = running(seconds=100)
    report(made, 1, 5, line="Page <1>")

    page = admin_client.get(INDEX)

    text = pages.text(page)
    line = f"#{made.pk} Crawl &lt;b&gt;the web&lt;/b&gt; crawl about 7 min left · 1 min 4"
    assert line in text
    assert "1/5 (20%) Page &lt;1&gt;" in text
    assert '<progress class="jc-step-running" value="1" max="5"' in pages.markup(page)
    assert "no update" not in text


def aged(build, minutes, **of):
    rows = BuildProgress.objects.filter(build=build, **of)
    rows.update(updated=timezone.now() - timedelta(minutes=minutes))


@pytest.mark.parametrize("has_total", [True, False])
def test_what_stands_still_is_told_by_words_and_colour(admin_client, has_total):
    made = running()
    report(made, 1, 5, **({} if has_total else {"path": '["a"]', "digest": "a"}))
    aged(made, 7)
    page = admin_client.get(INDEX)
    assert "1/5 (20%) no update for 7 min" in pages.text(page)
    assert '<progress class="jc-step-still"' in pages.markup(page)
    assert "left" not in pages.text(page)  # of what does not move nobody knows


def test_a_total_does_not_stand_still_while_a_part_moves(admin_client):
    made = running()
    report(made, 1, 5)
    aged(made, 7)
    report(made, 1, 2, path='["a"]', digest="a", position=1)
    page = admin_client.get(INDEX)
    assert "no update" not in pages.text(page)
    assert '<progress class="jc-step-running"' in pages.markup(page)


def test_without_a_total_of_all_the_sum_of_its_parts_is_shown(admin_client):
    made = running()
    report(made, 1, 4, path='["a"]', digest="a", position=1)
    report(made, 2, 6, path='["b", "c"]', digest="b", position=2)
    assert "3/10 (30%)" in pages.text(admin_client.get(INDEX))


def test_a_tree_that_was_not_read_whole_has_no_bar(admin_client, monkeypatch):
    monkeypatch.setattr(dashboard, "BARS_READ", 2)
    first, second = running("crawl"), running("report")
    for number in range(2):
        for one in (first, second):
            report(one, 1, 4, path=f'["{number}"]', digest=str(number), position=number)
    bars = {line.build.pk: line.bar for line in parts(admin_client)["running"]["lines"]}
    assert bars[first.pk].total == 8
    assert bars[second.pk] is None


@pytest.mark.parametrize(
    ("durations", "elapsed", "said"),
    [
        ([], 10, ""),
        ([100], 40, "about 1 min left"),
        ([100, 100, 5000], 40, "about 1 min left"),
        ([100], 200, "longer than usual (2 min)"),
    ],
)
def test_without_progress_the_last_successes_tell_the_time_left(
    admin_client, durations, elapsed, said
):
    for seconds in durations:
        ended(seconds=seconds)
    ended(seconds=9, status="FAILED")
    running(seconds=elapsed)
    (line,) = parts(admin_client)["running"]["lines"]
    assert line.left == said


def test_only_the_last_successes_are_looked_at():
    for seconds in (9, 9, 9, 9, 9, 9, 1, 2, 3, 4, 5):
        ended(seconds=seconds)
    assert estimates.usual_durations(["crawl", "report"]) == {"crawl": 3}


@pytest.mark.parametrize(
    ("current", "total", "usual", "said"),
    [
        (0, 10, None, ""),
        (0, 10, 90.0, "about 30 s left"),
        (10, 10, 90.0, ""),
        (-1, 10, None, ""),
        (30, 60, 10.0, "about 1 min left"),
        (5, 0, None, ""),
    ],
)
def test_the_time_left_is_said_only_where_it_is_known(current, total, usual, said):
    assert estimates.time_left(60, current, total, usual) == said


def test_a_build_that_is_being_cancelled_is_marked(admin_client):
    running(cancel_requested=timezone.now())
    text = pages.text(admin_client.get(INDEX))
    assert "being cancelled" in text
    assert "left ·" not in text


def test_of_very_many_builds_the_newest_are_listed(admin_client):
    made = [running().pk for _ in range(25)]
    part = parts(admin_client)["running"]
    assert [line.build.pk for line in part["lines"]] == made[:4:-1]
    assert "All that runs : 5 more" in pages.text(admin_client.get(INDEX))


# --- what waits -----------------------------------------------------------------------------------


def test_what_waits_says_for_what_the_next_one_first(admin_client):
    beating("far", workers=2)
    running("single")
    held = services.request_build(job=Job.objects.get(pk="single"), trigger="python")
    urgent = services.request_build(job=Job.objects.get(pk="crawl"), trigger="python")
    Build.objects.filter(pk=urgent.pk).update(priority=5)
    later = services.request_build(job=Job.objects.get(pk="single"), trigger="python")
    due = timezone.now() + timedelta(hours=1)
    Build.objects.filter(pk=later.pk).update(priority=9, not_before=due)
    input_of = Build.objects.create(job_id="report", status="WAITING")
    BuildDependency.objects.create(
        build=input_of, job_id="crawl", dep_build=urgent, dep_build_number=urgent.pk
    )

    lines = parts(admin_client)["queue"]["lines"]

    assert [line.build.pk for line in lines] == [urgent.pk, held.pk, later.pk, input_of.pk]
    said = [line.waits_for for line in lines]
    assert said[0] == "1 of 2 workers is free for the next in line"
    assert said[1] == "1 build of single runs already (concurrency: 1)"
    assert said[2].startswith("until ")
    assert said[3] == f"for build #{urgent.pk} of crawl (queued)"
    text = pages.text(admin_client.get(INDEX))
    assert "priority 5" in text
    assert all(reason in text for reason in said)


def test_very_many_that_wait_are_counted_up_to_a_bound(admin_client, monkeypatch):
    monkeypatch.setattr(dashboard, "COUNTED", 30)
    Build.objects.bulk_create(Build(job_id="crawl", status="QUEUED") for _ in range(40))
    text = pages.text(admin_client.get(INDEX))
    assert "30+ waiting" in text
    assert "All that waits or runs : 20 or more more wait" not in text
    assert "All that waits or runs : at least 20 more" in text


# --- what broke -----------------------------------------------------------------------------------


def fail(job="crawl", **facts):
    kind = facts.pop("failure_kind", "exception")
    return ended(job, "FAILED", failure_kind=kind, **facts)


def test_failures_are_one_line_for_each_job_with_the_first_line_of_the_newest(admin_client):
    fail(exception_type="OldError", exception_message="gone")
    other = fail("report", exception_type="KeyError", exception_message="'<i>'\nmore")
    newest = fail(exception_type="ValueError", exception_message="bad\nand more")
    fail("single", failure_kind="upstream_failed")

    lines = parts(admin_client)["failures"]["lines"]

    assert [(line.build.pk, line.times) for line in lines] == [(newest.pk, 2), (other.pk, 1)]
    text = pages.text(admin_client.get(INDEX))
    assert "2 failures" in text
    assert "ValueError: bad" in text
    assert "KeyError: &#x27;&lt;i&gt;&#x27;" in text
    assert "OldError" not in text
    assert "and more" not in text
    assert "3 failed within a day" in text


def test_a_failure_says_that_the_job_has_succeeded_since(admin_client):
    fail()
    ended("report")
    assert "succeeded since" not in pages.text(admin_client.get(INDEX))
    ended()
    assert "succeeded since" in pages.text(admin_client.get(INDEX))


def test_a_long_message_is_not_loaded_whole(admin_client):
    fail(exception_type="E", exception_message="x" * 100_000)
    (line,) = parts(admin_client)["failures"]["lines"]
    assert len(line.reason) < 1_000


def test_other_ways_to_fail_are_named_and_old_failures_not_counted(admin_client):
    fail(failure_kind="worker_lost", ago=90_000)
    text = pages.text(admin_client.get(INDEX))
    assert "worker lost" in text
    assert "0 failed within a day" in text


# --- what is outdated, and what can't run ---------------------------------------------------------


def test_outdated_jobs_say_why(admin_client):
    for name in ("crawl", "report", "crawl"):
        latest = build(name)
    text = pages.text(admin_client.get(INDEX))
    assert f"newer build #{latest.pk} of crawl" in text
    assert "1 outdated" in text


def test_very_many_outdated_jobs_lead_to_their_list(admin_client):
    jobs = "".join(f'\n  - {{id: j{n}, function: "a:b"}}' for n in range(30))
    use_config("jobs:" + jobs)
    for n in range(30):
        BuildPayload.objects.create(build=ended(f"j{n}"), config={"function": "old:one"})
    text = pages.text(admin_client.get(INDEX))
    assert "30 outdated" in text
    assert "All outdated jobs : 20 more" in text
    assert text.count("configuration changed since") == 10


@pytest.mark.parametrize("seed", range(6))
def test_what_is_outdated_on_the_start_page_is_so_everywhere(seed):
    random_site(random.Random(seed))
    found = job_statuses(Job.objects.all())
    jobs, reasons = why_outdated()
    assert [job.pk for job in jobs] == list(Job.objects.active().values_list("pk", flat=True))
    assert reasons == {
        name: status.stale_reasons for name, status in found.items() if status.status == OUTDATED
    }
    assert reasons


def random_site(chance):
    names = [f"j{n}" for n in range(25)]
    links = {
        name: chance.sample(names[:n], min(n, chance.randint(0, 3))) for n, name in enumerate(names)
    }
    pins = {name: {deps[0]: chance.randint(1, 60)} for name, deps in links.items() if deps}
    pins = {name: pin for name, pin in pins.items() if chance.random() < 0.2}
    blocks = [
        f'  - {{id: {name}, function: "a:b{chance.randint(0, 1)}", dependencies: {deps}, '
        f"pinned_builds: {pins.get(name, {})}}}"
        for name, deps in links.items()
    ]
    use_config("jobs:\n" + "\n".join(blocks).replace("'", ""))
    latest = {}
    for name in names + chance.choices(names, k=40):
        if chance.random() < 0.1:
            continue
        status = chance.choice(["SUCCESSFUL"] * 4 + ["FAILED"])
        made = ended(name, status)
        config = dict(Job.objects.get(pk=name).config)
        BuildPayload.objects.create(
            build=made, config=config if chance.random() < 0.9 else {"function": "x:y"}
        )
        for dep in links[name]:
            if dep in latest and chance.random() < 0.95:
                BuildDependency.objects.create(
                    build=made, job_id=dep, dep_build_id=latest[dep], dep_build_number=latest[dep]
                )
        if status == "SUCCESSFUL":
            latest[name] = made.pk


def test_what_took_long_to_find_out_is_used_for_a_while(admin_client, monkeypatch):
    monkeypatch.setattr(standing, "QUICK_SECONDS", 0)
    monkeypatch.setattr(standing, "SHARE", 1e6)
    assert "0 outdated" in pages.text(admin_client.get(INDEX))
    for name in ("crawl", "report", "crawl"):
        build(name)
    assert "0 outdated" in pages.text(admin_client.get(INDEX))
    standing.forget()
    assert "1 outdated" in pages.text(admin_client.get(INDEX))


def test_jobs_that_cannot_run_are_listed(admin_client):
    use_config('jobs: [{id: odd, function: "tests.support.nothing:at_all"}]')
    with registry_writes():
        Job.objects.filter(pk="odd").update(problem="no module <named> so")
    text = pages.text(admin_client.get(INDEX))
    assert "odd no module &lt;named&gt; so" in text
    assert "No problems." not in text


# --- what comes -----------------------------------------------------------------------------------


def due(minutes, job="crawl", state="PLANNED", **facts):
    return ScheduledRun.objects.create(
        job_id=job,
        entry=next(iter(services.entries_of(Job.objects.get(pk=job))), "x"),
        due=timezone.now() + timedelta(minutes=minutes),
        state=state,
        **facts,
    )


def test_the_schedule_says_what_comes_with_its_rhythm(admin_client, monkeypatch):
    monkeypatch.setattr(dashboard, "_midnight", lambda: timezone.now() - timedelta(hours=12))
    run = due(60)
    part = parts(admin_client)["schedule"]
    (line,) = part["lines"]
    assert (line.run.pk, str(line.entry), line.is_paused) == (run.pk, "every 1h", False)
    SchedulePause.objects.create(job_id="crawl")
    assert parts(admin_client)["schedule"]["lines"][0].is_paused
    ScheduledRun.objects.filter(pk=run.pk).update(due=run.due + timedelta(hours=12))
    part = parts(admin_client)["schedule"]
    assert part["lines"] == []
    assert part["next"].run.pk == run.pk
    assert "Nothing more today. Next:" in pages.text(admin_client.get(INDEX))


def test_times_that_were_not_started_today_say_why(admin_client):
    due(0, state="REFUSED", reason="crawl <is> broken")
    due(-60 * 48, state="MISSED", reason="long ago")
    due(0, job="report", state="STARTED", reason="well")
    text = pages.text(admin_client.get(INDEX))
    assert "crawl refused crawl &lt;is&gt; broken" in text
    assert "long ago" not in text
    assert "well" not in text.partition("Not started today")[2].partition("Who works")[0]


# --- who works ------------------------------------------------------------------------------------


def test_the_workers_say_how_busy_they_are_and_what_troubles_them(admin_client):
    busy = beating("busy", workers=4, trouble="the <disk> is full")
    lost = beating("lost")
    silence(lost, minutes=10)
    running(worker=str(worker_of(main_of("busy"))))
    drained = beating("drained", workers=1)
    services.drain_cluster(cluster=drained)
    text = pages.text(admin_client.get(INDEX))
    assert "1 of 5 workers run builds" in text
    assert "busy default 1 of 4 run builds the &lt;disk&gt; is full" in text
    assert "lost lost default last seen 10 minutes ago" in text
    assert "drained takes no builds default 0 of 1 run builds" in text
    assert busy.host in text


def test_without_a_worker_it_says_that_builds_wait(admin_client):
    text = pages.text(admin_client.get(INDEX)).partition("Who works")[2]
    assert "No worker is running: builds wait until one is started." in text


# --- a new site, and people -----------------------------------------------------------------------


def test_a_site_without_jobs_shows_how_to_begin(admin_client):
    use_config("jobs: []")
    text = pages.text(admin_client.get(INDEX))
    assert "There are no jobs yet." in text
    assert "function: builtins:print" in text
    assert "outdated" not in text.partition("Running")[0]


def test_where_nothing_happens_each_part_says_so(admin_client):
    text = pages.text(admin_client.get(INDEX))
    words = ("Nothing runs.", "Nothing waits.", "Nothing has failed.", "Nothing is outdated.")
    assert all(word in text for word in (*words, "No problems."))


SECRETS = {
    "builds.view_build": ("running-line", "FirstError", "next in line", "#"),
    "jobs.view_job": ("newer build",),
    "builds.view_scheduledrun": ("not-started-reason",),
    "builds.view_cluster": ("a-host",),
}


@pytest.mark.parametrize("permission", [None, *SECRETS])
def test_everybody_sees_only_what_is_theirs(staff, permission):
    for name in ("crawl", "report", "crawl"):
        build(name)
    report(running(), 1, 2, line="running-line")
    fail(exception_type="FirstError")
    Build.objects.create(job_id="single", status="QUEUED")
    due(0, state="REFUSED", reason="not-started-reason")
    beating("a-host")
    client = staff(permission) if permission else staff()

    page = pages.text(client.get(INDEX))

    for other, words in SECRETS.items():
        for word in words:
            if other == permission:
                assert word in page, word
            elif word != "#" or permission != "jobs.view_job":  # its reasons name builds
                assert word not in page, word
    if permission not in ("builds.view_build", "jobs.view_job", "builds.view_scheduledrun"):
        assert "crawl" not in page


def test_who_may_not_see_jobs_gets_no_links_to_them(staff):
    running()
    html = staff("builds.view_build").get(INDEX).content.decode()
    assert "Crawl &lt;b&gt;the web" in html
    assert "/admin/jobs/job/" not in html


def test_the_groups_see_everything_and_the_list_of_pages_is_there(staff):
    make_groups()
    client = staff()
    client.user.groups.add(Group.objects.get(name="viewer"))
    page = parts(client)
    assert all(page[name] is not None for name in ("running", "queue", "failures", "standing"))
    assert 'id="jobs-job"' in client.get(INDEX).content.decode()


# --- while it is open -----------------------------------------------------------------------------


def refreshed(client, stamp):
    return client.get(INDEX, {"live": stamp}, headers={"HX-Request": "true"})


def stamp_in(client):
    return refreshed(client, "").headers["X-Live-Stamp"]


@pytest.fixture
def frozen(monkeypatch):
    """A minute that does not end; what it returns has time go on, by seconds."""
    start = timezone.now().replace(second=1)

    def go_on(seconds):
        monkeypatch.setattr(timezone, "now", lambda: start + timedelta(seconds=seconds))

    go_on(0)
    return go_on


def test_a_refresh_is_empty_while_nothing_is_new(admin_client, frozen):
    ended()
    stamp = stamp_in(admin_client)
    frozen(50)
    answer = refreshed(admin_client, stamp)
    assert answer.status_code == 204
    assert answer.content == b""
    frozen(60)  # ages are other ones
    answer = refreshed(admin_client, stamp)
    assert (answer.status_code, answer.headers["X-Live-Every"]) == (200, "5")


@pytest.mark.parametrize("event", ["asked", "ended", "drained", "lost", "outdated", "running"])
def test_a_refresh_has_what_is_new(admin_client, frozen, event):
    for name in ("crawl", "report"):
        build(name)
    waiting, _ = (Build.objects.create(job_id="crawl", status="QUEUED") for _ in range(2))
    cluster = beating()
    context_processors.forget()
    stamp = stamp_in(admin_client)
    if event == "asked":
        Build.objects.create(job_id="crawl", status="QUEUED")
    elif event == "ended":
        Build.objects.filter(pk=waiting.pk).update(status="CANCELLED")
    elif event == "drained":
        services.drain_cluster(cluster=cluster)
    elif event == "lost":
        silence(cluster, minutes=10)
    elif event == "outdated":
        BuildDependency.objects.update(dep_build_number=0)
    else:
        Build.objects.filter(pk=waiting.pk).update(status="RUNNING", start_time=timezone.now())
    context_processors.forget()
    answer = refreshed(admin_client, stamp)
    assert answer.status_code == 200
    assert answer.headers["X-Live-Stamp"] != stamp
    html = answer.content.decode()
    assert re.findall('id="(dash-[a-z]+)" hx-swap-oob="true"', html) == [
        f"dash-{name}"
        for name in (
            *("summary", "running", "failures", "queue"),
            *("problems", "outdated", "schedule", "workers"),
        )
    ]
    assert "<html" not in html
    assert "All pages" not in html


def test_while_something_runs_every_refresh_is_new(admin_client):
    running()
    assert refreshed(admin_client, stamp_in(admin_client)).status_code == 200


def test_a_refresh_shows_nobody_more_than_the_page(staff):
    report(running(), 1, 2, line="running-line")
    fail(exception_type="FirstError")
    beating("a-host")
    answer = refreshed(staff(), "old")
    assert answer.content.decode().count(" hidden>") == 6
    assert pages.text(answer) == "Reload Configuration No problems."
