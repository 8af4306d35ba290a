"""What a build's record says, however its function ended."""

from __future__ import annotations

import pytest

from builds import retvals
from builds.models import Build
from jobcontrol.exceptions import RetvalError
from tests.support.jobs import build_function, messages
from tests.support.odd_jobs import Point

pytestmark = pytest.mark.django_db(transaction=True)

ODD = "tests.support.odd_jobs:"


def retval_of(build: Build):
    return retvals.unseal(build.pk, bytes(build.payload.retval))


def test_a_value_is_returned_and_shown_as_text():
    build = build_function(ODD + "echo", 1, key=[2, "é"])
    assert build.status == "SUCCESSFUL"
    assert (build.started, build.finished, build.success, build.skipped) == (
        True,
        True,
        True,
        False,
    )
    assert retval_of(build) == ((1,), {"key": [2, "é"]})
    assert build.payload.retval_text == "((1,), {'key': [2, 'é']})"
    assert build.end_time >= build.start_time
    assert build.worker


def test_own_lines_tell_start_function_and_outcome():
    """original #26"""
    lines = messages(build_function(ODD + "value", 1))
    assert "started" in lines[0]
    assert ODD + "value" in lines[0]
    assert lines[-1] == "Build finished with success."


@pytest.mark.parametrize("value", [0, "", [], False, None])
def test_falsy_values_are_shown(value):
    assert build_function(ODD + "value", value).payload.retval_text == repr(value)


@pytest.mark.parametrize(
    ("function", "expected"), [("numbers", [0, 1, 2]), ("stream", [0, 1, 2]), ("later", 3)]
)
def test_generators_are_run_out_and_coroutines_awaited(function, expected):
    build = build_function(ODD + function, 3)
    assert build.status == "SUCCESSFUL"
    assert retval_of(build) == expected


def test_a_class_is_a_function_too():
    build = build_function(ODD + "Worker", size=5)
    assert retval_of(build).size == 5


def test_values_of_own_classes_come_back_without_init():
    """original #21"""
    value = retval_of(build_function(ODD + "point"))
    assert type(value) is Point
    assert value.x == 7


@pytest.mark.parametrize("why", ["nothing new", None])
def test_a_skip_is_a_success_with_its_reason(why):
    """original #2"""
    build = build_function(ODD + "skip", why)
    assert build.status == "SKIPPED"
    assert build.success
    assert build.skipped
    assert build.exception_message == (why or "")
    assert build.payload.retval is None
    assert build.payload.traceback is None
    assert build.exception_type == ""


@pytest.mark.parametrize(
    ("kind", "type_name", "message"),
    [
        ("ValueError", "ValueError", "no such page"),
        ("SystemExit", "SystemExit", "3"),
        ("KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("GeneratorExit", "GeneratorExit", ""),
        ("StopIteration", "StopIteration", ""),
        ("memory", "MemoryError", ""),
        ("BaseException", "tests.support.odd_jobs.Stranger", "can't be made"),
        ("bad text", "tests.support.odd_jobs.BadText", "can't be made"),
        ("group", "ExceptionGroup", "several (2 sub-exceptions)"),
        ("chain", "ValueError", "second"),
        ("recursion", "RecursionError", "maximum recursion depth"),
        ("syntax", "SyntaxError", "broken.py"),
    ],
)
def test_whatever_is_raised_fails_the_build_with_a_traceback(kind, type_name, message):
    """original #23"""
    build = build_function(ODD + "raise_", kind)
    assert (build.status, build.failure_kind) == ("FAILED", "exception")
    assert build.exception_type == type_name
    assert message in build.exception_message
    frames = build.payload.traceback["frames"]
    assert frames[0]["name"] == "raise_"
    assert "odd_jobs" in frames[0]["filename"]
    assert frames[0]["locs"]["kind"] == repr(kind)
    assert "SystemExit" in frames[0]["locs"]["bad"]
    assert messages(build)[-1].startswith("Build failed: " + type_name)


@pytest.mark.parametrize(
    ("function", "type_name", "says"),
    [
        ("no_such_module:f", "ModuleNotFoundError", "no_such_module"),
        (ODD + "no_such_name", "AttributeError", "no_such_name"),
        (ODD + "NOT_CALLABLE", "TypeError", "NOT_CALLABLE"),
    ],
)
def test_a_function_that_is_not_there_fails_the_build(function, type_name, says):
    """original #20"""
    build = build_function(function)
    assert (build.status, build.failure_kind) == ("FAILED", "exception")
    assert build.exception_type.rpartition(".")[2] in (type_name, "ImportError")
    assert says in build.exception_message
    assert build.payload.traceback is not None


@pytest.mark.parametrize(
    ("where", "place"),
    [("top", "the return value "), ("nested", "['pages'][2]['handle']"), ("lambda", "lambda")],
)
def test_an_unpicklable_value_fails_the_build_naming_the_part(where, place):
    """original #21"""
    build = build_function(ODD + "unpicklable", where)
    assert (build.status, build.failure_kind) == ("FAILED", "serialization")
    assert build.exception_type.endswith("SerializationError")
    assert place in build.exception_message
    assert build.payload.retval is None


def test_a_value_nested_too_deeply_fails_the_build_cleanly():
    build = build_function(ODD + "deep")
    assert (build.status, build.failure_kind) == ("FAILED", "serialization")
    assert "RecursionError" in build.exception_message


def test_a_value_over_the_limit_is_refused(settings):
    settings.RETVAL_MAX_BYTES = 10_000
    build = build_function(ODD + "huge", 20_000)
    assert build.failure_kind == "serialization"
    assert "10,000 bytes" in build.exception_message
    assert build_function(ODD + "huge", 5_000).status == "SUCCESSFUL"


def test_a_value_whose_repr_fails_is_kept_all_the_same():
    build = build_function(ODD + "unreadable")
    assert build.status == "SUCCESSFUL"
    assert build.payload.retval is not None
    assert "ValueError" in build.payload.retval_text


def test_a_tampered_value_is_refused():
    build = build_function(ODD + "value", "text")
    other = build_function(ODD + "value", "text")
    sealed = bytes(build.payload.retval)
    for forged in (sealed[:-1] + bytes([sealed[-1] ^ 1]), b"", b"\x80\x04N.", sealed[1:]):
        with pytest.raises(RetvalError, match=f"#{build.pk}"):
            retvals.unseal(build.pk, forged)
    with pytest.raises(RetvalError):
        retvals.unseal(other.pk, sealed)


def test_an_old_key_still_opens_values(settings):
    build = build_function(ODD + "value", "text")
    old = settings.SECRET_KEY
    settings.SECRET_KEY = "another key"
    with pytest.raises(RetvalError, match="SECRET_KEY_FALLBACKS"):
        retval_of(build)
    settings.SECRET_KEY_FALLBACKS = [old]
    assert retval_of(build) == "text"


def test_the_failing_job_of_the_testing_module_fails_exactly_once():
    function = "jobcontrol.utils.testing:job_failing_once"
    states = [build_function(function).status for _ in range(3)]
    assert states == ["FAILED", "SUCCESSFUL", "SUCCESSFUL"]
