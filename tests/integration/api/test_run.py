"""`POST /api/job/{id}/run`."""

import io

import pytest
from django.contrib.admin.models import LogEntry

from builds.deletion_models import Deletion
from builds.models import Build, BuildDependency
from builds.token_models import UsedNonce
from jobs import registry, tags
from tests.support.jobs import use_config

pytestmark = pytest.mark.django_db

CONFIG = """
secret: {password: hunter2hunter2}
jobs:
  - id: first
    function: tests.support.odd_jobs:value
    args: [1]
  - id: second
    function: tests.support.odd_jobs:value
    args: [!retval first]
  - id: protected
    function: tests.support.odd_jobs:value
    protect: true
"""


@pytest.fixture(autouse=True)
def jobs(db):
    use_config(CONFIG)


def built(reply):
    assert reply.status_code == 200, reply.content
    return Build.objects.select_related("payload").get(pk=reply.json()["build_id"])


def refused(reply, status):
    assert reply.status_code == status, reply.content
    assert set(reply.json()) == {"detail"}
    return reply.json()["detail"]


def arguments(build):
    config = tags.decode(build.payload.config)
    return config.get("args"), config.get("kwargs")


def first_success():
    return Build.objects.create(job_id="first", status="SUCCESSFUL")


def test_a_job_is_built_without_a_body(operator):
    """original #32: POST job/<id>/run answers {"build_id": N}"""
    reply = operator.run("first")
    build = built(reply)
    assert reply.json() == {"build_id": build.pk, "plan_id": None}
    assert (build.status, build.trigger, build.requested_by) == ("QUEUED", "api", operator.user)
    assert arguments(build) == ([1], None)
    (entry,) = LogEntry.objects.all()
    assert (entry.user, entry.object_id) == (operator.user, "first")
    assert f"#{build.pk}" in entry.change_message


def test_a_worker_is_woken(operator, monkeypatch, django_capture_on_commit_callbacks):
    woken = []
    monkeypatch.setattr("builds.queue.wake", lambda **_: woken.append(True))
    with django_capture_on_commit_callbacks(execute=True):
        operator.run("first")
    assert woken == [True]


# --- Arguments ------------------------------------------------------------------------------------


def test_arguments_stand_in_place_of_the_job_s_own(operator):
    build = built(operator.run("first", {"args": [[1, None, "x"]], "kwargs": {"a": {"b": 1.5}}}))
    assert arguments(build) == ([[1, None, "x"]], {"a": {"b": 1.5}})
    assert arguments(built(operator.run("first", {"kwargs": {}}))) == ([1], {})
    assert arguments(built(operator.run("first", {"args": None}))) == ([1], None)


def test_arguments_as_a_job_s_reply_has_them_can_be_given_back(operator):
    first_success()
    shown = operator.get("job/second").json()
    build = built(
        operator.run("second", {"args": shown["args"], "kwargs": {"d": {"!date": "2026-01-31"}}})
    )
    args, kwargs = arguments(build)
    assert args == [tags.Retval("first")]
    assert kwargs["d"].isoformat() == "2026-01-31"


def test_a_secret_can_be_named_and_one_given_in_clear_is_not_stored_so(operator):
    given = [{"!secret": "password"}, "is hunter2hunter2"]
    build = built(operator.run("first", {"args": given}))
    assert "hunter2" not in str(build.payload.config)
    assert "hunter2" not in build.payload.config_text
    assert arguments(build)[0][0] == tags.Secret("password")


def test_names_of_arguments_are_names_whatever_they_look_like(operator):
    build = built(operator.run("first", {"kwargs": {"!retval": "second"}}))
    assert arguments(build)[1] == {"!retval": "second"}


@pytest.mark.parametrize(
    "value",
    [
        {"!retval": 5},
        {"!retval": ["first"]},
        {"!retval": None},
        {"!secret": {"a": 1}},
        {"!secret": "password", "form": []},
        {"!secret": "password", "form": "no-such-form"},
        {"!secret": "unknown"},
        {"!date": "yesterday"},
        {"!date": 7},
        {"!set": [[]]},
        {"!set": [{}]},
        {"!dict": [[[], 1]]},
        {"!dict": 3},
        {"!bytes": "x"},
        {"!str": "gICA*"},
        {"!unknown": 1},
        {"!text": [{"!secret": "password"}]},
        {"!text": [5]},
        [{"a": {"!text": "x"}}],
        {"!tuple": None},
        {"!float": "much"},
    ],
)
@pytest.mark.parametrize("place", ["args", "kwargs"])
def test_a_tagged_value_that_means_nothing_is_refused_and_named(operator, value, place):
    first_success()
    given = [value] if place == "args" else {"x": value}
    detail = refused(operator.run("second", {place: given}), 422)
    assert ("args[0]" if place == "args" else "kwargs['x']") in detail
    assert not Build.objects.queued().exists()


def test_values_nest_as_deep_as_in_the_file_and_no_deeper(operator):
    deep = []
    for _ in range(98):
        deep = [deep]
    built(operator.run("first", {"args": [deep]}))
    for _ in range(5):
        deep = {"x": [deep]}
    detail = refused(operator.run("first", {"args": [deep]}), 422)
    assert "nested more than 100 levels" in detail


def test_a_return_value_of_a_job_that_is_no_dependency_is_refused(operator):
    detail = refused(operator.run("first", {"args": [{"!retval": "second"}]}), 422)
    assert "!retval second names no dependency" in detail


def test_arguments_that_do_not_fit_are_refused_in_the_words_of_the_pages(operator):
    registry.sync(registry.configuration(), check_functions=True)
    detail = refused(operator.run("first", {"args": [1, 2, 3, 4, 5], "kwargs": {"no": 1}}), 422)
    assert "don't fit" in detail


# --- Inputs ---------------------------------------------------------------------------------------


def test_inputs_are_the_latest_or_those_that_are_named(operator):
    older, newer = first_success(), first_success()
    build = built(operator.run("second"))
    assert BuildDependency.objects.get(build=build).dep_build == newer
    build = built(operator.run("second", {"dependency_builds": {"first": older.pk}}))
    assert BuildDependency.objects.get(build=build).dep_build == older
    assert operator.get(f"build/{build.pk}").json()["dependency_builds"] == {"first": older.pk}


def test_inputs_that_can_not_be_used_are_refused(operator):
    assert "no successful build of 'first'" in refused(operator.run("second"), 409)
    failed = Build.objects.create(job_id="first", status="FAILED")
    for number in (failed.pk, 999, 2**63 - 1):
        detail = refused(operator.run("second", {"dependency_builds": {"first": number}}), 422)
        assert f"#{number}" in detail
    detail = refused(operator.run("first", {"dependency_builds": {"second": 1}}), 422)
    assert "does not depend on 'second'" in detail
    for odd in (0, -1, 2**63, "1", 1.0, True, None):
        refused(operator.run("second", {"dependency_builds": {"first": odd}}), 422)


def test_a_retired_job_is_refused(operator):
    use_config(CONFIG.replace("id: first", "id: other").replace("retval first", "retval other"))
    assert "no longer in the configuration file" in refused(operator.run("first"), 422)


# --- Arming ---------------------------------------------------------------------------------------


def test_a_protected_job_needs_arming_and_the_permission(operator, manager):
    assert "is protected: arm it" in refused(manager.run("protected"), 403)
    assert "is protected: arm it" in refused(manager.run("protected", {"arm": False}), 403)
    detail = refused(operator.run("protected", {"arm": True}), 403)
    assert detail == "you may not start builds of protected jobs."
    assert not Build.objects.exists()
    build = built(manager.run("protected", {"arm": True}))
    assert build.armed
    assert "Armed" in LogEntry.objects.get().change_message


@pytest.mark.parametrize("arm", ["true", "yes", 1, "", None, [], {}])
def test_nothing_but_true_arms(manager, arm):
    refused(manager.run("protected", {"arm": arm}), 422)
    assert not Build.objects.exists()


def test_arming_what_is_not_protected_needs_no_more_permission(operator):
    assert not built(operator.run("first", {"arm": True})).armed


# --- Once -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["header", "body"])
def test_a_key_starts_one_build_however_often_it_is_sent(operator, how):
    given = {"body": {"idempotency_key": "k"}} if how == "body" else {"Idempotency-Key": "k"}
    first = built(operator.run("first", **given))
    assert built(operator.run("first", **given)) == first
    assert (
        built(operator.run("first", {"idempotency_key": "k"}, **{"Idempotency-Key": "k"})) == first
    )
    assert built(operator.run("first", {"idempotency_key": "K"})) != first
    assert Build.objects.count() == 2
    assert LogEntry.objects.count() == 2


def test_a_key_gives_its_build_whatever_has_changed_since(operator):
    used = first_success()
    made = built(operator.run("second", {"idempotency_key": "k"}))
    used.delete()
    assert "no successful build" in refused(operator.run("second"), 409)
    assert built(operator.run("second", {"idempotency_key": "k"})) == made
    wrong = {"idempotency_key": "k", "dependency_builds": {"first": 999}}
    assert built(operator.run("second", wrong)) == made


def test_of_two_requests_at_once_with_one_key_the_second_leaves_no_history(operator, monkeypatch):
    """It looked for the key before the first had stored it."""
    first = built(operator.run("first", {"idempotency_key": "k"}))
    assert LogEntry.objects.count() == 1
    monkeypatch.setattr(UsedNonce.objects, "filter", lambda **_: UsedNonce.objects.none())
    assert built(operator.run("first", {"idempotency_key": "k"})) == first
    assert LogEntry.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_what_can_not_be_written_into_the_history_is_not_done(manager, monkeypatch):
    def fail(*_):
        raise OSError("disk on fire")

    made = first_success()
    monkeypatch.setattr("builds.history.note", fail)
    assert manager.run("first", {"idempotency_key": "k"}).status_code == 500
    assert manager.delete(f"build/{made.pk}").status_code == 500
    assert Build.objects.get() == made
    assert not Deletion.objects.exists()
    assert not UsedNonce.objects.exists()


def test_a_key_belongs_to_its_user(operator, manager):
    first = built(operator.run("first", {"idempotency_key": "k"}))
    second = built(manager.run("first", {"idempotency_key": "k"}))
    assert first != second


def test_a_key_stands_for_one_job(operator):
    build = built(operator.run("first", {"idempotency_key": "k"}))
    first_success()
    detail = refused(operator.run("second", {"idempotency_key": "k"}), 409)
    assert f"#{build.pk} of 'first'" in detail
    assert not Build.objects.filter(job_id="second").exists()


def test_a_key_is_remembered_after_its_build_was_deleted(operator):
    built(operator.run("first", {"idempotency_key": "k"})).delete()
    assert "was deleted" in refused(operator.run("first", {"idempotency_key": "k"}), 409)


def test_two_different_keys_are_refused(operator):
    reply = operator.run("first", {"idempotency_key": "a"}, **{"Idempotency-Key": "b"})
    assert "differ" in refused(reply, 422)


@pytest.mark.parametrize("key", ["", "x" * 201])
def test_a_key_is_neither_empty_nor_endless(operator, key):
    refused(operator.run("first", {"idempotency_key": key}), 422)
    refused(operator.run("first", None, **{"Idempotency-Key": key}), 422)
    built(operator.run("first", {"idempotency_key": "\x00<🗝>" + "x" * 195}))


# --- Bodies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"\xff\xfe{}", 400),
        (b'{"args": [NaN]}', 400),
        (b'{"args": [Infinity]}', 400),
        (b"[" * 200_000, 400),
        (b'{"args": [' + b"9" * 5_000 + b"]}", 400),
        (b'{"args": [1], "args": [2]}', 400),
        (b'{"kwargs": {"x": {"a": 1, "a": 1}}}', 400),
        (b"[]", 422),
        (b"3", 422),
        (b'"x"', 422),
        (b'{"args": {}}', 422),
        (b'{"args": "x"}', 422),
        (b'{"kwargs": []}', 422),
        (b'{"dependency_builds": {"\\ud800": 1}}', 422),
        (b'{"idempotency_key": "\\ud800"}', 422),
        (b'{"idempotency_key": 5}', 422),
        (b'{"arms": true}', 422),
        (b" " * (1024 * 1024 + 1), 413),
    ],
)
def test_a_body_that_can_not_be_understood_is_refused_in_json(operator, body, status):
    refused(operator.run("first", body), status)
    assert not Build.objects.exists()


def test_what_is_wrong_with_a_body_that_is_no_json_is_said(operator):
    detail = refused(operator.run("first", b'{"args": [1,]}'), 400)
    assert detail.startswith("the body is no JSON: ")
    assert "line 1 column 13" in detail
    twice = refused(operator.run("first", b'{"arm": false, "arm": true}'), 400)
    assert twice == "the body is no JSON: the key 'arm' stands twice in one object."
    assert "NaN is none" in refused(operator.run("first", b'{"args": [NaN]}'), 400)


@pytest.mark.parametrize("body", [b"", b'{"args": [1], "kwargs"'])
def test_a_body_that_was_cut_short_on_its_way_starts_nothing(operator, body):
    """What a client sent that went away meanwhile: its arguments are not known."""
    reply = operator.client.post(
        "/api/job/first/run",
        content_type="application/json",
        headers={"Authorization": f"Bearer {operator.token}"},
        **{"CONTENT_LENGTH": "100", "wsgi.input": io.BytesIO(body)},
    )
    assert "shorter than its Content-Length" in refused(reply, 400)
    assert not Build.objects.exists()


def test_a_body_that_would_be_lost_is_refused(operator):
    """Servers hand bodies in chunks over without a length, and Django takes them for empty."""
    reply = operator.run("first", b'{"args": [2]}', **{"Transfer-Encoding": "chunked"})
    assert "Content-Length" in refused(reply, 400)
    assert not Build.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"{}",
        b"",
        b'{"args": [1e999, "\\ud800\\u0000"]}',
        b'{"kwargs": {"\\ud800": 1, "": 2}}',
    ],
)
def test_odd_bodies_that_mean_something_are_understood(operator, body):
    built(operator.run("first", body))


def test_a_mistake_in_a_body_is_named(operator):
    detail = refused(operator.run("first", {"arms": True, "args": "x"}), 422)
    assert "body.args: Input should be a valid list" in detail
    assert "body.arms: " in detail
