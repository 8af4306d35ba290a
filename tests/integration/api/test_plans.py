"""Plans over the API: asked for, foreseen, shown, cancelled, resumed."""

import pytest
from django.contrib.admin.models import LogEntry

from builds.models import Build
from builds.plan_models import Plan
from builds.services import promotions
from tests.support.jobs import use_config

pytestmark = pytest.mark.django_db

VALUE = "tests.support.odd_jobs:value"
CONFIG = f"""
jobs:
  - {{id: seeds, function: "{VALUE}", args: [1]}}
  - {{id: crawl, function: "{VALUE}", args: [!retval seeds]}}
  - {{id: index, function: "{VALUE}", args: [!retval crawl]}}
  - {{id: other, function: "{VALUE}", args: [!retval seeds]}}
  - {{id: "odd/plan", function: "{VALUE}"}}
"""


@pytest.fixture(autouse=True)
def jobs(db):
    use_config(CONFIG)


@pytest.fixture
def guarded(jobs):
    use_config(CONFIG.replace("id: crawl,", "id: crawl, protect: true,"))


def refused(reply, status):
    assert reply.status_code == status, reply.content
    assert set(reply.json()) == {"detail"}
    return reply.json()["detail"]


def given(reply):
    assert reply.status_code == 200, reply.content
    return reply.json()


def success(job_id):
    return Build.objects.create(job_id=job_id, status="SUCCESSFUL")


def jobs_of(rows):
    return [row["job_id"] for row in rows]


def end(build, status):
    Build.objects.filter(pk=build.pk).update(status=status)
    promotions.settle_users([build.pk])


def test_a_plan_is_asked_for_as_a_whole(operator):
    answer = given(operator.run("index", {"dependencies": "outdated"}))
    plan = Plan.objects.get(pk=answer["plan_id"])
    builds = list(plan.builds.order_by("pk"))
    assert [(one.job_id, one.status) for one in builds] == [
        ("seeds", "QUEUED"),
        ("crawl", "WAITING"),
        ("index", "WAITING"),
    ]
    assert answer["build_id"] == builds[-1].pk
    assert {one.requested_by for one in builds} == {operator.user}
    assert [one.trigger for one in builds] == ["dependency", "dependency", "api"]
    (entry,) = LogEntry.objects.all()
    assert entry.change_message == (
        f"Asked for build #{builds[-1].pk} with plan {plan.pk} over the API."
    )
    shown = given(operator.get(f"build/{builds[1].pk}"))
    assert (shown["plan"], shown["plan_reason"]) == (plan.pk, "no successful build")


@pytest.mark.parametrize(
    ("job", "body", "expected"),
    [
        ("index", {}, ["index"]),
        ("index", {"dependencies": "none"}, ["index"]),
        ("index", {"dependencies": "missing"}, ["index"]),
        ("index", {"dependencies": "outdated"}, ["crawl", "index"]),
        ("index", {"dependencies": "all"}, ["seeds", "crawl", "index"]),
        ("index", {"dependency_builds": {"crawl": "now"}}, ["crawl", "index"]),
        ("index", {"dependency_builds": {"crawl": "latest"}, "dependencies": "all"}, ["index"]),
        ("crawl", {"rebuild_reverse_dependencies": False}, ["crawl"]),
        ("crawl", {"rebuild_reverse_dependencies": []}, ["crawl"]),
        ("crawl", {"rebuild_reverse_dependencies": True}, ["crawl", "index"]),
        ("seeds", {"rebuild_reverse_dependencies": ["index"]}, ["seeds", "crawl", "index"]),
    ],
)
def test_a_preview_and_a_run_agree(operator, job, body, expected):
    old = success("seeds")
    for name in ("crawl", "index", "other"):
        success(name).inputs.create(job_id="seeds", dep_build=old, dep_build_number=old.pk)
    success("seeds")  # crawl and other are outdated now
    before = Build.objects.count()
    preview = given(operator.preview(job, body))
    assert set(preview) == {"builds", "reused", "blocked"}
    assert jobs_of(preview["builds"]) == expected
    assert (Build.objects.count(), Plan.objects.count()) == (before, 0)
    answer = given(operator.run(job, body))
    made = Build.objects.filter(pk__gt=before).order_by("pk")
    assert [one.job_id for one in made if one.status in ("QUEUED", "WAITING")] == expected
    assert (answer["plan_id"] is None) == (len(expected) == 1)


def test_a_preview_says_why_and_what_is_in_the_way(operator):
    seeds = success("seeds")
    assert given(operator.preview("crawl"))["builds"] == [
        {
            "job_id": "crawl",
            "reason": "asked for",
            "protected": False,
            "inputs": {"seeds": seeds.pk},
        }
    ]
    found = given(operator.preview("index", {"arm": True, "idempotency_key": "k"}))
    assert found == {
        "builds": [],
        "reused": [],
        "blocked": [{"job_id": "index", "reason": "no successful build of crawl"}],
    }
    assert not LogEntry.objects.exists()


def test_chosen_builds_are_used(operator):
    old, new = success("crawl"), success("crawl")
    body = {"dependency_builds": {"crawl": old.pk}}
    assert given(operator.preview("index", body))["reused"] == [
        {"job_id": "crawl", "build_id": old.pk, "reason": "chosen"}
    ]
    for use, expected in ((old.pk, old), ("latest", new)):
        answer = given(operator.run("index", {"dependency_builds": {"crawl": use}}))
        made = Build.objects.get(pk=answer["build_id"])
        assert made.inputs.get().dep_build == expected


@pytest.mark.parametrize(
    ("body", "status", "complaint"),
    [
        ({"dependencies": "some"}, 422, "dependencies"),
        ({"dependencies": None}, 422, "dependencies"),
        ({"rebuild_reverse_dependencies": "index"}, 422, "rebuild_reverse_dependencies"),
        ({"rebuild_reverse_dependencies": 1}, 422, "rebuild_reverse_dependencies"),
        ({"rebuild_reverse_dependencies": ["seeds"]}, 422, "is not used by 'seeds'"),
        ({"rebuild_reverse_dependencies": ["a\0"]}, 422, "is not used by 'a\\x00'"),
        ({"dependency_builds": {"seeds": "newest"}}, 422, "dependency_builds"),
        ({"dependency_builds": {"seeds": None}}, 422, "dependency_builds"),
        ({"dependency_builds": {"seeds": 0}}, 422, "dependency_builds"),
        ({"dependency_builds": {"seeds": 2**63}}, 422, "dependency_builds"),
        ({"dependency_builds": {"index": "now"}}, 422, "does not depend on 'index'"),
        ({"dependency_builds": {"a\0": "latest"}}, 422, "does not depend on 'a\\x00'"),
        ({"dependency_builds": {"seeds": "latest"}}, 409, "no successful build of 'seeds'"),
        ({"dependency_builds": {"seeds": 99}}, 422, "build #99 is not a successful build"),
        ({"rebuild": True}, 422, "rebuild"),
    ],
)
@pytest.mark.parametrize("what", ["run", "preview"])
def test_a_wrong_wish_is_refused_in_both(operator, what, body, status, complaint):
    assert complaint in refused(getattr(operator, what)("crawl", body), status)
    assert not Build.objects.exists()


def test_a_key_gives_the_plan_again_whatever_has_changed_since(operator):
    seeds = success("seeds")
    body = {
        "dependency_builds": {"seeds": "latest"},
        "rebuild_reverse_dependencies": True,
        "idempotency_key": "k",
    }
    first = given(operator.run("crawl", body))
    assert first["plan_id"]
    seeds.deleting = True
    seeds.save()
    assert given(operator.run("crawl", body)) == first
    assert Plan.objects.count() == 1
    assert LogEntry.objects.count() == 1


def test_all_that_is_protected_in_a_plan_is_armed_by_somebody_who_may(guarded, operator, manager):
    body = {"dependencies": "missing"}
    assert "'crawl' is protected" in refused(operator.run("index", body), 403)
    assert given(operator.preview("index", body))["builds"][1]["protected"] is True
    armed = {**body, "arm": True}
    assert "protected jobs" in refused(operator.run("index", armed), 403)
    assert not Build.objects.exists()
    assert not LogEntry.objects.exists()
    plan = given(manager.run("index", armed))["plan_id"]
    assert list(Build.objects.filter(armed=True).values_list("job_id", "plan")) == [("crawl", plan)]
    assert set(LogEntry.objects.values_list("object_id", flat=True)) == {"crawl", "index"}


def test_a_job_whose_id_ends_in_plan_is_shown_and_foreseen(operator):
    assert given(operator.get("job/odd/plan"))["id"] == "odd/plan"
    assert jobs_of(given(operator.preview("odd/plan"))["builds"]) == ["odd/plan"]
    assert refused(operator.get("job/seeds/plan"), 404)


# --- One plan -------------------------------------------------------------------------------------


@pytest.fixture
def plan(operator):
    answer = given(operator.run("index", {"dependencies": "missing"}))
    LogEntry.objects.all().delete()
    return Plan.objects.get(pk=answer["plan_id"])


def test_a_plan_is_shown_with_its_builds(operator, plan):
    seeds, crawl, index = plan.builds.order_by("pk")
    end(seeds, "SUCCESSFUL")
    shown = given(operator.plan(plan.pk))
    builds = shown.pop("builds")
    shown.pop("created")
    assert shown == {
        "id": plan.pk,
        "job_id": "index",
        "state": "waiting",
        "requested_by": operator.user.username,
        "resumes": None,
        "resumed_by": None,
    }
    assert [(one["id"], one["status"]) for one in builds] == [
        (seeds.pk, "SUCCESSFUL"),
        (crawl.pk, "QUEUED"),
        (index.pk, "WAITING"),
    ]
    assert builds[1]["reason"] == "no successful build"
    assert builds[2]["inputs"] == {"crawl": crawl.pk}


def test_a_plan_is_cancelled(operator, plan):
    seeds = plan.builds.get(job_id="seeds")
    Build.objects.filter(pk=seeds.pk).update(status="RUNNING")
    for _ in range(2):
        shown = given(operator.plan(plan.pk, "cancel"))
        assert shown["state"] == "running"
        assert [one["status"] for one in shown["builds"]] == ["RUNNING", "CANCELLED", "CANCELLED"]
    seeds.refresh_from_db()
    assert seeds.cancel_requested_by == operator.user
    assert LogEntry.objects.count() == 3
    end(seeds, "CANCELLED")
    assert given(operator.plan(plan.pk, "cancel"))["state"] == "cancelled"


def test_a_plan_that_has_ended_can_not_be_cancelled(operator, plan):
    plan.builds.update(status="SUCCESSFUL")
    detail = refused(operator.plan(plan.pk, "cancel"), 409)
    assert detail == f"plan {plan.pk} has ended (success) and can't be cancelled."


def test_a_plan_is_resumed_once(operator, plan):
    assert "has not ended" in refused(operator.plan(plan.pk, "resume"), 409)
    seeds, crawl, _ = plan.builds.order_by("pk")
    end(seeds, "SUCCESSFUL")
    end(crawl, "FAILED")
    shown = given(operator.plan(plan.pk, "resume"))
    assert jobs_of(shown["builds"]) == ["crawl", "index"]
    assert shown["builds"][0]["inputs"] == {"seeds": seeds.pk}
    assert shown["resumes"] == plan.pk
    assert given(operator.plan(plan.pk))["resumed_by"] == shown["id"]
    detail = refused(operator.plan(plan.pk, "resume"), 409)
    assert detail == f"plan {plan.pk} was resumed before, as plan {shown['id']}: resume that one."
    (entry,) = LogEntry.objects.all()
    assert f"with plan {shown['id']} over the API." in entry.change_message


def test_a_plan_is_resumed_armed_by_somebody_who_may(guarded, operator, manager):
    wish = {"dependencies": "missing", "arm": True}
    plan = Plan.objects.get(pk=given(manager.run("index", wish))["plan_id"])
    plan.builds.update(status="CANCELLED")
    LogEntry.objects.all().delete()
    assert "'crawl' is protected" in refused(manager.plan(plan.pk, "resume"), 403)
    assert "protected jobs" in refused(operator.plan(plan.pk, "resume", {"arm": True}), 403)
    assert not plan.resumed_by.exists()
    assert not LogEntry.objects.exists()
    shown = given(manager.plan(plan.pk, "resume", {"arm": True}))
    assert Build.objects.filter(plan=shown["id"], armed=True).get().job_id == "crawl"
    assert set(LogEntry.objects.values_list("object_id", flat=True)) == {"crawl", "index"}


@pytest.mark.parametrize("body", [{"arm": "yes"}, {"arm": 1}, {"armed": True}, [], {"arm": None}])
def test_a_wrong_body_resumes_nothing(operator, plan, body):
    plan.builds.update(status="FAILED")
    refused(operator.plan(plan.pk, "resume", body), 422)
    assert not plan.resumed_by.exists()


@pytest.mark.parametrize("verb", ["", "cancel", "resume"])
@pytest.mark.parametrize("number", [999, 2**64])
def test_a_plan_that_is_not_there_is_said(operator, verb, number):
    assert refused(operator.plan(number, verb), 404) == f"there is no plan {number}"


def test_a_plan_is_shown_in_a_bounded_number_of_queries(
    operator, plan, django_assert_max_num_queries
):
    with django_assert_max_num_queries(8):
        given(operator.plan(plan.pk))
