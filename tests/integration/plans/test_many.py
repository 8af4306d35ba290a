"""Very many builds at once: what is said to the database grows by chunks, not by builds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from builds import services
from builds.models import Build
from builds.planning import Options
from builds.services import cancels, promotions, removals, selections
from builds.sessions import BuildSession
from builds.workers import WorkerIdentity
from jobs.models import Job
from jobs.redaction import Redactor
from tests.support.jobs import messages, use_config
from tests.support.plans import ALL, ask

pytestmark = pytest.mark.django_db(transaction=True)

COUNT = 120
CHUNK = 20
CHUNKS = math.ceil(COUNT / CHUNK)
FAILED = services.Outcome(status=Build.Status.FAILED, failure_kind="exception")
DONE = services.Outcome(status=Build.Status.SUCCESSFUL)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(promotions, "CHUNK", CHUNK)
    monkeypatch.setattr(cancels, "CHUNK", CHUNK)
    monkeypatch.setattr(promotions, "_awaited", {})


def config(names: dict[str, list[str]]) -> None:
    lines = [
        f"  - {{id: {name}, function: 'tests.support.odd_jobs:value', dependencies: {needs}}}"
        for name, needs in names.items()
    ]
    use_config("\n".join(["jobs:", *lines]))


def line() -> Build:
    """Ask for a line of builds, each of which uses the one before; return the last one."""
    config({f"j{n}": [f"j{n - 1}"] if n else [] for n in range(COUNT)})
    return ask(f"j{COUNT - 1}")


def fan() -> Build:
    """Ask for one build and all others, which use it; return the first one."""
    config({"top": [], **{f"j{n}": ["top"] for n in range(COUNT - 1)}})
    return ask("top", Options(rebuild_all=True))


def star() -> Build:
    """Ask for a build that uses all others; return it."""
    names = [f"j{n}" for n in range(COUNT - 1)]
    config({name: [] for name in names} | {"target": names})
    return ask("target")


def end(outcome: services.Outcome = DONE, build_id: int | None = None) -> int:
    """Claim a build and end it, as a worker does; return its number."""
    found = services.claim(worker=WorkerIdentity.current(), build_id=build_id)
    assert found is not None
    session = BuildSession(found.pk, found.claim_token, Redactor({}), in_plan=True)
    services.finish_build(session=session, outcome=outcome)
    return found.pk


@contextmanager
def at_most(each: int, chunks: int = CHUNKS) -> Iterator[Any]:
    """Allow so many statements for each chunk of builds, and 30 for all."""
    with CaptureQueriesContext(connection) as asked:
        yield asked
    assert len(asked) <= each * chunks + 30, "\n".join(one["sql"][:200] for one in asked)


def statuses() -> set[str]:
    return set(Build.objects.order_by().values_list("status", flat=True))


# --- What hangs on a build that ended otherwise ---------------------------------------------------


@pytest.mark.parametrize("graph", [line, fan])
def test_all_that_hangs_on_a_failure_fails_with_it(graph):
    graph()
    with at_most(9):
        first = end(FAILED)
    assert statuses() == {"FAILED"}
    second = Build.objects.order_by("pk")[1]
    last = Build.objects.order_by("pk").last()
    assert second.exception_message.startswith(f"build #{first} of ")
    used = last.inputs.get()
    assert last.exception_message == f"build #{used.dep_build_id} of {used.job_id} failed."
    assert messages(last) == [f"Build failed before it began: {last.exception_message}"]


@pytest.mark.parametrize("graph", [line, fan])
def test_all_that_hangs_on_a_cancelled_build_is_cancelled_with_it(graph, admin_user):
    graph()
    with at_most(9):
        services.cancel_build(build=Build.objects.order_by("pk")[0], requested_by=admin_user)
    assert statuses() == {"CANCELLED"}
    last = Build.objects.order_by("pk").last()
    used = last.inputs.get()
    assert last.cancel_requested_by == admin_user
    assert messages(last) == [
        "Build cancelled before it began: "
        f"build #{used.dep_build_id} of {used.job_id} was cancelled."
    ]


def test_what_was_cut_off_in_between_is_found_again(monkeypatch):
    line()
    settle = promotions._settle

    def die(numbers):
        if Build.objects.filter(status="FAILED").count() > COUNT / 2:
            raise RuntimeError("killed")
        return settle(numbers)

    monkeypatch.setattr(promotions, "_settle", die)
    end(FAILED)
    assert statuses() == {"FAILED", "WAITING"}
    monkeypatch.setattr(promotions, "_settle", settle)
    with at_most(9):
        assert services.settle_forgotten() == 1
    assert statuses() == {"FAILED"}


# --- What waits for very many ---------------------------------------------------------------------


def test_an_end_does_not_look_at_all_that_its_user_waits_for(monkeypatch):
    target = star()
    looked = []
    settle = promotions._settle
    monkeypatch.setattr(promotions, "_settle", lambda some: looked.append(some) or settle(some))
    for _ in range(COUNT - 1):
        end()
    # At the first end, and at that of the build which was awaited then: the last one.
    assert looked == [[target.pk]] * 2
    target.refresh_from_db()
    assert target.status == "QUEUED"


def test_another_is_awaited_when_the_awaited_one_ends_first():
    target = star()
    for number in target.inputs.order_by("-pk").values_list("dep_build_id", flat=True):
        target.refresh_from_db()
        assert target.status == "WAITING"
        end(build_id=number)
    target.refresh_from_db()
    assert target.status == "QUEUED"


def test_a_failure_is_passed_on_while_others_are_awaited():
    target = star()
    end()
    failed = end(FAILED)
    target.refresh_from_db()
    assert target.status == "FAILED"
    assert target.exception_message.startswith(f"build #{failed} of ")


def test_a_hint_of_another_build_holds_up_nobody():
    """As after a database was put back in its place under a worker that went on."""
    target = star()
    link = target.inputs.order_by("pk").last()
    numbers = list(target.inputs.order_by("pk").values_list("dep_build_id", flat=True))
    other = services.request_build(job=Job.objects.get(pk="j0"), trigger="python")
    for number in numbers[:-1]:
        end(build_id=number)
    foreign = other.inputs.create(job_id="j1", dep_build_id=numbers[-1], dep_build_number=1)
    promotions._awaited[target.pk] = foreign.pk
    Build.objects.filter(pk=link.dep_build_id).update(status="SUCCESSFUL")
    foreign.dep_build = Build.objects.create(job_id="j1", status="QUEUED")
    foreign.save()
    promotions.settle_users([link.dep_build_id])
    target.refresh_from_db()
    assert target.status == "QUEUED"


def test_what_many_wait_for_starts_them_all():
    fan()
    with at_most(9):
        end()
    assert Build.objects.queued().count() == COUNT - 1


# --- Cancelling -----------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", [line, fan, star])
def test_a_plan_is_cancelled_some_at_a_time_and_each_by_itself(graph, admin_user):
    plan = graph().plan
    noted = []
    with at_most(8):
        found = services.cancel_plan(plan=plan, requested_by=admin_user, note=noted.append)
    assert statuses() == {"CANCELLED"}
    assert [len(some) for some in noted] == [CHUNK] * CHUNKS
    assert len(found) == COUNT
    for build in plan.builds.all():
        assert messages(build) == [f"Build cancelled by {admin_user} before it began."]


def test_a_cancel_that_was_cut_off_goes_on_when_it_is_asked_for_again(admin_user):
    plan = line().plan
    noted = []

    def note(numbers):
        noted.append(numbers)
        if len(noted) == 3:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        services.cancel_plan(plan=plan, requested_by=admin_user, note=note)
    # All of a chunk, or nothing; nobody begins what is left by a mistake.
    assert Build.objects.filter(status="CANCELLED").count() == 2 * CHUNK
    assert Build.objects.queued().count() == 1
    services.cancel_plan(plan=plan, requested_by=admin_user)
    assert statuses() == {"CANCELLED"}


def test_the_button_of_a_plan_and_the_history(admin_client):
    plan = star().plan
    with at_most(10):
        done = admin_client.post(reverse("admin:builds_plan_cancel", args=[plan.pk]), follow=True)
    assert f"Cancelled, or told to stop: {COUNT} builds." in done.content.decode()
    noted = LogEntry.objects.filter(change_message=f"Asked to cancel plan {plan.pk}.")
    assert noted.count() == COUNT


def test_the_action_of_the_list(admin_client):
    line()
    Build.objects.bulk_create(Build(job_id="j0", status="QUEUED") for _ in range(COUNT))
    (some,) = Build.objects.waiting().values_list("pk", flat=True)[:1]
    data = {"action": "cancel_selected", "_selected_action": [some], "select_across": "1"}
    with at_most(10, chunks=2 * CHUNKS):
        admin_client.post(reverse("admin:builds_build_changelist"), data)
    assert statuses() == {"CANCELLED"}
    assert LogEntry.objects.filter(change_message="Asked to cancel it.").count() == 2 * COUNT


# --- Deleting -------------------------------------------------------------------------------------


def test_very_many_are_deleted_some_at_a_time(admin_user, monkeypatch):
    monkeypatch.setattr(selections, "PART", CHUNK)
    services.cancel_plan(plan=line().plan)
    numbers = list(Build.objects.order_by("pk").values_list("pk", flat=True))
    choice = services.choose_builds(builds=numbers, requested_by=admin_user)
    services.confirm_choice(number=choice.pk, requested_by=admin_user, cleanup=True)
    with at_most(22):
        while services.hand_over_part():
            pass
    with at_most(35):
        while found := services.waiting_removals(limit=CHUNK):
            while services.remove_log_rows(builds=found):
                pass
            services.remove_builds(builds=found)
    assert not Build.objects.exists()
    assert removals.waiting_removals() == []


def test_a_plan_is_asked_for_in_few_statements():
    config({f"j{n}": [f"j{n - 1}"] if n else [] for n in range(COUNT)})
    with at_most(0):
        target = ask(f"j{COUNT - 1}", ALL)
    builds = target.plan.builds.order_by("pk")
    assert [one.job_id for one in builds] == [f"j{n}" for n in range(COUNT)]
    assert {one.created for one in builds} == {target.plan.created}
    assert target.payload.config["id"] == f"j{COUNT - 1}"
    assert target.payload.retval is None
    assert target.inputs.get().dep_build_number == target.inputs.get().dep_build_id
