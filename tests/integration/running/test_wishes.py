"""What a person may ask of one build: other arguments, other inputs, once, armed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.db import connection, transaction
from django.db.models.functions import Now

from builds import arming, retvals, runner, services
from builds.models import Build
from builds.services import Request
from builds.token_models import UsedNonce
from builds.upkeep_models import Cluster
from builds.workers import WorkerIdentity
from jobcontrol.exceptions import BuildStateError, InvalidRequest, MissingDependencies
from jobs import registry, tags, values
from jobs.models import Job
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
secret: {key: hunter22-secret}
jobs:
  - id: dep
    function: tests.support.odd_jobs:value
    args: [one]
  - id: last
    function: tests.support.odd_jobs:echo
    args: [!retval dep]
    kwargs: {size: 3}
  - id: fixed
    function: tests.support.odd_jobs:add_one
  - id: danger
    protect: true
    dependencies: [dep]
    function: tests.support.odd_jobs:value
"""


def job(job_id: str) -> Job:
    return Job.objects.get(pk=job_id)


def run(**wish):
    made = services.request_build(trigger="manual", **wish)
    return runner.run_here(made)


def retval_of(build):
    return retvals.unseal(build.pk, bytes(build.payload.retval))


def test_other_arguments_hold_for_one_build_only():
    use_config(CONFIG)
    build("dep")
    ended = run(job=job("last"), args=["typed", tags.Retval("dep")], kwargs={"when": None})
    assert retval_of(ended) == (("typed", "one"), {"when": None})
    assert "typed" in ended.payload.config_text
    assert retval_of(build("last")) == (("one",), {"size": 3})


def test_a_secret_may_be_named_and_is_not_stored():
    use_config(CONFIG)
    build("dep")
    ended = run(job=job("last"), args=[tags.Secret("key")], kwargs={"typed": "is hunter22-secret"})
    assert retval_of(ended) == (("hunter22-secret",), {"typed": "is hunter22-secret"})
    stored = str(ended.payload.config) + ended.payload.config_text + ended.payload.retval_text
    assert "hunter22" not in stored


def test_arguments_that_do_not_fit_are_all_named():
    use_config(CONFIG)
    registry.sync(registry.configuration(), check_functions=True)
    build("dep")
    with pytest.raises(InvalidRequest) as caught:
        run(job=job("fixed"), args=[1, 2, tags.Retval("dep")], kwargs={"key": tags.Secret("none")})
    text = str(caught.value)
    assert "!retval dep names no dependency" in text
    assert "!secret none is not in the configuration file" in text
    assert "add_one(number=0): too many positional arguments" in text
    assert not Build.objects.filter(job="fixed").exists()


@pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL", "REDIS_URL"])
def test_the_sites_own_secrets_are_out_of_reach(name):
    use_config(CONFIG)
    with pytest.raises(InvalidRequest, match="is not in the configuration file"):
        run(job=job("dep"), args=[tags.Secret(name)])


def test_masked_text_can_not_be_typed_back():
    masked = tags.Text(("postgres://u:", tags.Secret("key"), "@h"))
    assert not values.can_be_typed([{"url": masked}])
    assert values.can_be_typed([tags.Secret("key"), tags.Retval("dep"), "text"])


def test_an_older_input_can_be_chosen():
    use_config(CONFIG)
    old = build("dep")
    use_config(CONFIG.replace("[one]", "[two]"))
    new = build("dep")
    assert retval_of(run(job=job("last"), dependency_builds={"dep": old.pk}))[0] == ("one",)
    assert retval_of(run(job=job("last")))[0] == ("two",)
    with pytest.raises(InvalidRequest, match="does not depend on 'danger'"):
        run(job=job("last"), dependency_builds={"danger": new.pk})
    with pytest.raises(InvalidRequest, match="#987654 is not a successful build of 'dep'"):
        run(job=job("last"), dependency_builds={"dep": 987654})


def test_the_same_nonce_makes_one_build():
    use_config(CONFIG)
    first = services.request_build(job=job("dep"), trigger="quick", nonce="n1")
    again = services.request_build(job=job("dep"), trigger="quick", nonce="n1")
    other = services.request_build(job=job("dep"), trigger="quick", nonce="n2")
    assert first.pk == again.pk != other.pk
    assert Build.objects.count() == 2
    Build.objects.all().delete()
    with pytest.raises(BuildStateError, match="was deleted"):
        services.request_build(job=job("dep"), trigger="quick", nonce="n1")
    assert Build.objects.count() == 0


def test_a_double_click_in_the_same_moment_makes_one_build():
    use_config(CONFIG)
    dep = job("dep")
    for attempt in range(10):
        barrier = threading.Barrier(4)

        def click(_, nonce=f"nonce {attempt}", barrier=barrier):
            barrier.wait()
            try:
                return services.request_build(job=dep, trigger="quick", nonce=nonce).pk
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            made = set(pool.map(click, range(4)))
        assert len(made) == 1
    assert Build.objects.count() == 10


def test_an_input_is_not_deleted_under_a_new_build():
    """Of a request and a deletion in the same moment, one is refused."""
    use_config(CONFIG)
    last = job("last")
    for _ in range(10):
        dep = build("dep")
        barrier = threading.Barrier(2)

        def ask(barrier=barrier):
            barrier.wait()
            try:
                return services.request_build(job=last, trigger="quick")
            except (MissingDependencies, BuildStateError) as error:
                return error
            finally:
                connection.close()

        def delete(barrier=barrier, dep=dep):
            barrier.wait()
            try:
                return services.begin_deletion(build=dep)
            except BuildStateError as error:
                return error
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as pool:
            asked, deleted = (pool.submit(work) for work in (ask, delete))
        refused = [isinstance(end.result(), Exception) for end in (asked, deleted)]
        uses_it = not refused[0] and dep.pk in asked.result().inputs.values_list(
            "dep_build_id", flat=True
        )
        assert refused[1] or not uses_it, "the build runs on an input that is being deleted"
        Build.objects.update(status="CANCELLED", deleting=False)
        Build.objects.filter(job="last").delete()
        Build.objects.filter(job="dep").delete()


# --- Arming ---------------------------------------------------------------------------------------


@pytest.fixture
def user() -> User:
    return User.objects.create_user("operator")


def wish(**changes) -> list[Request]:
    return [Request(**{"job": job("danger"), "trigger": "manual", "args": ["live"], **changes})]


def test_an_armed_request_starts_once(user):
    use_config(CONFIG)
    build("dep")
    token = arming.make_token(user=user, session_key="s", requests=wish())
    arming.redeem(token, user=user, session_key="s", requests=wish())
    with pytest.raises(arming.ArmingRefused, match="used before"):
        arming.redeem(token, user=user, session_key="s", requests=wish())


def test_an_arming_is_undone_with_the_build_that_failed_to_start(user):
    use_config(CONFIG)
    build("dep")
    token = arming.make_token(user=user, session_key="s", requests=wish())
    with pytest.raises(RuntimeError), transaction.atomic():
        arming.redeem(token, user=user, session_key="s", requests=wish())
        raise RuntimeError
    assert not UsedNonce.objects.exists()
    arming.redeem(token, user=user, session_key="s", requests=wish())


def test_any_change_makes_an_arming_worthless(user):
    use_config(CONFIG)
    old = build("dep")
    token = arming.make_token(user=user, session_key="s", requests=wish())
    other = User.objects.create_user("other")
    for attempt in (
        {"user": other},
        {"session_key": "t"},
        {"requests": wish(args=["other"])},
        {"requests": wish(args=None)},
        {"requests": wish(kwargs={"it": 1})},
        {"requests": wish() * 2},
        {"requests": []},
        {"requests": [Request(job=job("dep"), trigger="manual", args=["live"])]},
    ):
        with pytest.raises(arming.ArmingRefused, match="not what was armed"):
            arming.redeem(
                token, **{"user": user, "session_key": "s", "requests": wish(), **attempt}
            )
    newer = build("dep")
    with pytest.raises(arming.ArmingRefused, match="not what was armed"):
        arming.redeem(token, user=user, session_key="s", requests=wish())
    arming.redeem(
        token, user=user, session_key="s", requests=wish(dependency_builds={"dep": old.pk})
    )
    token = arming.make_token(user=user, session_key="s", requests=wish())
    use_config(CONFIG.replace("protect: true", "protect: true\n    notes: changed"))
    assert newer.pk
    with pytest.raises(arming.ArmingRefused, match="not what was armed"):
        arming.redeem(token, user=user, session_key="s", requests=wish())


def test_an_arming_expires_and_can_not_be_forged(user, monkeypatch):
    use_config(CONFIG)
    build("dep")
    real = signing.time.time
    monkeypatch.setattr(signing.time, "time", lambda: real() - arming.ARMING_SECONDS - 2)
    old = arming.make_token(user=user, session_key="s", requests=wish())
    monkeypatch.undo()
    with pytest.raises(arming.ArmingRefused, match="older than 60 seconds"):
        arming.redeem(old, user=user, session_key="s", requests=wish())
    good = arming.make_token(user=user, session_key="s", requests=wish())
    for forged in ("", "x", good + "x", "a" + good):
        with pytest.raises(arming.ArmingRefused, match="not armed"):
            arming.redeem(forged, user=user, session_key="s", requests=wish())


# --- Values that people type ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", []),
        ("[1, two, {a: b}]", [1, "two", {"a": "b"}]),
        ("- !retval dep\n- !secret key", [tags.Retval("dep"), tags.Secret("key")]),
    ],
)
def test_arguments_are_typed_as_yaml(text, value):
    assert values.parse_arguments(text) == value
    assert values.parse_arguments(values.to_text(value)) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: b", "must be a list"),
        ("just text", "must be a list"),
        ("[1,", "line "),
        ("- !!python/object:os.system x", "line 1"),
        ("[" * 200_000, "deep"),
        ("x" * 300_000, "longer than"),
        ("\x00", "control character"),
    ],
)
def test_what_is_no_list_is_refused_with_its_line(text, says):
    with pytest.raises(values.ValueProblem, match=says):
        values.parse_arguments(text)


def test_names_of_arguments_are_text():
    assert values.parse_keywords("url: x") == {"url": "x"}
    with pytest.raises(values.ValueProblem, match="must be text: 1"):
        values.parse_keywords("1: x")


# --- Clusters that live ---------------------------------------------------------------------------


def test_clusters_say_that_they_live_and_go():
    me = WorkerIdentity.current()
    services.beat_cluster(worker=me, workers=2)
    services.beat_cluster(worker=me, workers=2)
    (cluster,) = services.live_clusters()
    assert (cluster.pid, cluster.host) == (me.pid, me.host)
    Cluster.objects.update(last_seen=Now() - timedelta(minutes=5))
    assert not services.live_clusters().exists()
    services.end_cluster(worker=me)
    assert not Cluster.objects.exists()
