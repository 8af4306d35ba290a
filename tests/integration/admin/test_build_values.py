"""Return values, tracebacks and configurations on the pages of builds, and as files."""

import pickle

import pytest
from django.contrib.admin.models import LogEntry

from builds import retvals
from jobs import registry
from tests.support.jobs import build, build_function, use_config
from tests.support.pages import CONFIG, NASTY, file_of, page_of, text

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_return_value_can_be_had_as_text_and_json(viewer):
    """original #34: download was a placeholder"""
    made = build_function("tests.support.odd_jobs:value", {"a": [1, None, "é"]})
    page = viewer.get(page_of(made)).content.decode()
    plain = viewer.get(file_of(made, "retval.txt"))
    assert plain.content.decode() == "{'a': [1, None, 'é']}"
    assert plain.headers["Content-Type"].startswith("text/plain")
    assert plain.headers["Content-Disposition"].startswith("attachment")
    as_json = viewer.get(file_of(made, "retval.json"))
    assert as_json.headers["Content-Type"] == "application/json"
    assert as_json.json() == {"a": [1, None, "é"]}
    assert file_of(made, "retval.json") in page
    assert file_of(made, "retval.pickle") not in page


@pytest.mark.parametrize("value", [(1, 2), {1: "x"}, float("nan"), b"x", "\ud800", {"a": {1}}])
def test_what_is_no_json_is_not_offered_as_json(viewer, value):
    made = build_function("tests.support.odd_jobs:value")
    made.payload.retval_json = retvals.json_text(value, registry.redactor())
    made.payload.save()
    assert file_of(made, "retval.json") not in viewer.get(page_of(made)).content.decode()
    assert viewer.get(file_of(made, "retval.json")).status_code == 404


def test_secrets_are_masked_in_the_json(viewer):
    use_config(
        "secret: {key: hunter22-secret}\njobs:\n"
        "  - {id: job, function: 'tests.support.odd_jobs:value', args: [{k: !secret key}]}\n"
    )
    made = build("job")
    assert viewer.get(file_of(made, "retval.json")).json() == {"k": "•••"}


def test_the_pickle_needs_its_own_permission_and_is_never_loaded(viewer, staff, monkeypatch):
    """original #21: pages loaded and executed return values"""
    made = build_function("tests.support.odd_jobs:value", [1, "two"])
    assert viewer.get(file_of(made, "retval.pickle")).status_code == 403
    may = staff("builds.view_build", "builds.download_pickle")
    monkeypatch.setattr(retvals, "pickle", None)
    answer = may.get(file_of(made, "retval.pickle"))
    assert pickle.loads(answer.content) == [1, "two"]
    assert "pickle" in LogEntry.objects.get(object_id=str(made.pk)).change_message
    assert file_of(made, "retval.pickle") in may.get(page_of(made)).content.decode()


def test_a_tampered_pickle_is_not_handed_out(staff):
    made = build_function("tests.support.odd_jobs:value", [1])
    sealed = bytes(made.payload.retval)
    made.payload.retval = sealed[:-1] + bytes([sealed[-1] ^ 1])
    made.payload.save()
    answer = staff("builds.view_build", "builds.download_pickle").get(
        file_of(made, "retval.pickle")
    )
    assert answer.status_code == 409
    assert "not written by this site" in answer.content.decode()


def test_a_long_return_value_is_shown_in_part_and_sent_whole(viewer):
    made = build_function("tests.support.odd_jobs:value", "x" * 900_000)
    response = viewer.get(page_of(made))
    assert len(response.content) < 100_000
    assert "880002 more characters" in text(response)
    assert len(viewer.get(file_of(made, "retval.txt")).content) == 900_002


def test_a_failed_build_has_no_return_value_to_send(viewer):
    made = build_function("tests.support.pages:nested_failure")
    for name in ("retval.txt", "retval.json", "no.such"):
        assert viewer.get(file_of(made, name)).status_code == 404


def test_a_traceback_can_be_had_as_text(viewer):
    """original #25: no final exception line"""
    made = build_function("tests.support.pages:nested_failure")
    answer = viewer.get(file_of(made, "traceback.txt"))
    assert answer.headers["Content-Type"].startswith("text/plain")
    plain = answer.content.decode()
    assert plain.startswith("Traceback (most recent call last):")
    assert f"number = {NASTY!r}" in plain
    assert (
        f'data-copy-from="{file_of(made, "traceback.txt")}"'
        in viewer.get(page_of(made)).content.decode()
    )


def test_the_configuration_is_compared_with_that_of_today(viewer):
    use_config(CONFIG)
    made = build("first")
    assert "It is the same as today." in text(viewer.get(page_of(made)))
    use_config(CONFIG.replace("<i>first</i>", "<i>other</i>"))
    page = viewer.get(page_of(made)).content.decode()
    assert "<del>-- &lt;i&gt;first&lt;/i&gt;</del>" in page
    assert "<ins>+- &lt;i&gt;other&lt;/i&gt;</ins>" in page
    assert "same as today" not in page


def test_configurations_too_long_to_compare_are_said_to_differ(viewer):
    use_config(CONFIG)
    made = build("first")
    made.payload.config_text = "x: 1\n" * 5_000
    made.payload.config = {}
    made.payload.save()
    assert "too long to compare" in text(viewer.get(page_of(made)))
