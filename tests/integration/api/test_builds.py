"""`/api/build/`: lists, one build, its log, its return value."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from builds.api import schemas
from builds.models import Build, BuildPayload, LogMessage
from builds.services import store_progress
from tests.support.commands import run_json
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db

CONFIG = """
jobs:
  - id: first
    function: tests.support.odd_jobs:value
  - id: "other/one"
    function: tests.support.odd_jobs:value
"""
STATUSES = ["QUEUED", "RUNNING", "SUCCESSFUL", "SKIPPED", "FAILED", "CANCELLED"]
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def jobs(db):
    use_config(CONFIG)


def make(status="SUCCESSFUL", job_id="first", text="7", as_json=""):
    made = Build.objects.create(job_id=job_id, status=status)
    BuildPayload.objects.create(build=made, retval_text=text, retval_json=as_json)
    return made


def ids(reply):
    assert reply.status_code == 200, reply.content
    return [row["id"] for row in reply.json()]


def refused(reply, status):
    assert reply.status_code == status, reply.content
    assert set(reply.json()) == {"detail"}
    return reply.json()["detail"]


# --- Lists ----------------------------------------------------------------------------------------


def test_a_list_is_that_of_the_command(viewer):
    for status in STATUSES:
        make(status)
    assert viewer.get("build/").json() == run_json("list_builds")
    assert viewer.get("build").json() == run_json("list_builds")


def test_builds_are_found_by_job_status_and_flags(viewer):
    made = {status: make(status).pk for status in STATUSES}
    other = make(job_id="other/one").pk
    assert ids(viewer.get("build/?job=other/one")) == [other]
    assert ids(viewer.get("build/?job=first&status=FAILED")) == [made["FAILED"]]
    found = ids(viewer.get("build/?status=RUNNING&status=QUEUED&status=QUEUED"))
    assert found == [made["RUNNING"], made["QUEUED"]]
    expected = {
        "started=false": ["QUEUED"],
        "finished=0": ["QUEUED", "RUNNING"],
        "finished=true&success=false": ["FAILED", "CANCELLED"],
        "success=true": ["SUCCESSFUL", "SKIPPED"],
        "skipped=true": ["SKIPPED"],
        "success=true&skipped=false&started=1": ["SUCCESSFUL"],
    }
    for query, statuses in expected.items():
        found = ids(viewer.get(f"build/?job=first&order=asc&{query}"))
        assert found == [made[status] for status in statuses], query


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_every_build_is_on_one_of_the_pages(viewer, order):
    made = [make().pk for _ in range(7)]
    address, found = f"build/?job=first&order={order}&limit=3", []
    while address:
        reply = viewer.get(address)
        found += ids(reply)
        link = reply.get("Link", "")
        assert link == "" or link.endswith('>; rel="next"')
        address = link[1:].partition(">")[0].removeprefix("http://testserver/api/")
    assert found == (made if order == "asc" else made[::-1])


def test_a_part_between_two_builds_is_had_by_before_and_after(viewer):
    made = [make().pk for _ in range(4)]
    assert ids(viewer.get(f"build/?before={made[3]}&after={made[0]}")) == [made[2], made[1]]
    assert ids(viewer.get(f"build/?after={2**63 - 1}")) == []


@pytest.mark.parametrize(
    "query",
    ["status=queued", "status=", "started=perhaps", "order=up", "limit=0", "limit=101"]
    + ["before=0", "before=x", "before=9223372036854775808", "after=-1", "limit="],
)
def test_a_filter_that_means_nothing_is_refused_by_its_name(viewer, query):
    detail = refused(viewer.get(f"build/?{query}"), 422)
    assert detail.startswith(f"query.{query.partition('=')[0]}")


def test_long_return_values_are_cut_in_lists_only(viewer):
    made = make(text="x" * 10_001)
    assert viewer.get("build/").json()[0]["retval"] == "x" * 10_000 + "… [1 characters cut]"
    assert viewer.get(f"build/{made.pk}").json()["retval"] == "x" * 10_001


def test_queries_do_not_grow_with_the_builds(viewer, django_assert_max_num_queries):
    Build.objects.bulk_create(Build(job_id="first", status="FAILED") for _ in range(300))
    with django_assert_max_num_queries(20):
        assert len(ids(viewer.get("build/?job=first&finished=true"))) == 100


# --- One build ------------------------------------------------------------------------------------


def test_a_build_has_what_the_command_shows(viewer):
    made = make()
    row = {"current": 1, "total": 4, "status_line": "<b>", "position": 0}
    store_progress(build_id=made.pk, rows=[{**row, "group_name": '["a::b"]', "group_digest": "x"}])
    shown = viewer.get(f"build/{made.pk}").json()
    assert shown == run_json("get_build", made.pk)
    assert (shown["retval"], shown["progress"]["total"]) == ("7", 4)
    assert shown["progress"]["children"][0]["name"] == "a::b"


@pytest.mark.parametrize("path", ["", "/log", "/retval"] + ["/log?limit=1", "/retval?format=json"])
@pytest.mark.parametrize("number", ["0", "999", str(2**63), "9" * 30, "9" * 4500])
def test_a_build_that_is_not_there_is_said_to_be_not_there(viewer, number, path):
    detail = refused(viewer.get(f"build/{number}{path}"), 404)
    assert detail.startswith("there is no")


@pytest.mark.parametrize("path", ["build/x", "build/-1", "build/1/", "build/1/logs", "nothing", ""])
def test_an_address_of_nothing_is_answered_in_json(viewer, stranger, path):
    for who in (viewer, stranger):
        assert "nothing at this address" in refused(who.get(path), 404)


# --- Its log --------------------------------------------------------------------------------------


@pytest.fixture
def logged():
    made = make("RUNNING")
    for number, level in enumerate((10, 20, 30, 40, 15)):
        LogMessage.objects.create(
            build=made,
            created=NOON + timedelta(minutes=number),
            level=level,
            logger="a.logger",
            message=f"Line {number} 100% <b>",
            exception={"type": "E"} if level == 40 else None,
        )
    LogMessage.objects.create(build=make(), created=NOON, level=50, logger="x", message="foreign")
    return made


def lines(viewer, made, query=""):
    reply = viewer.get(f"build/{made.pk}/log{query}")
    assert reply.status_code == 200, reply.content
    return [int(row["message"].split()[1]) for row in reply.json()]


def test_a_log_is_that_of_the_command(viewer, logged):
    shown = viewer.get(f"build/{logged.pk}/log").json()
    assert shown == run_json("build_log", logged.pk)
    assert [row["level"] for row in shown] == ["DEBUG", "INFO", "WARNING", "ERROR", "Level 15"]
    assert shown[3]["exception"] == {"type": "E"}
    assert set(shown[0]) == set(schemas.LogLine.model_fields)


def test_a_log_is_filtered(viewer, logged):
    expected = {
        "?level=WARNING": [2, 3],
        "?level=warning&level=ERROR": [3],
        "?level=15": [1, 2, 3, 4],
        "?since=2026-01-31T12:03:00Z": [3, 4],
        "?since=2026-01-31T13:03:00%2B01:00&level=ERROR": [3],
        "?until=2026-01-31T12:01": [0, 1],
        "?since=1h": [],
        "?until=1h": [],
        "?text=LINE+3": [3],
        "?text=%25": [0, 1, 2, 3, 4],
        "?text=_": [],
        "?text=": [0, 1, 2, 3, 4],
        "?text=%F0%9F%97%9D": [],
    }
    del expected["?until=1h"]  # depends on the day on which the suite runs
    for query, numbers in expected.items():
        assert lines(viewer, logged, query) == numbers, query


def test_a_log_is_read_page_by_page_and_goes_on_when_lines_are_added(viewer, logged):
    reply = viewer.get(f"build/{logged.pk}/log?limit=2&level=DEBUG")
    last = reply.json()[-1]["id"]
    assert reply["Link"] == (
        f"<http://testserver/api/build/{logged.pk}/log?limit=2&level=DEBUG&after={last}>;"
        ' rel="next"'
    )
    assert lines(viewer, logged, f"?after={last}") == [2, 3, 4]
    assert "Link" not in viewer.get(f"build/{logged.pk}/log?after={last}&limit=3")


def test_a_page_of_long_lines_ends_sooner_and_leads_on(viewer, logged, monkeypatch):
    """A thousand lines of 64 KiB each would be too much for one reply."""
    monkeypatch.setattr("builds.api.builds.MAX_LINES_CHARS", 300)
    address, pages = f"build/{logged.pk}/log", []
    while address:
        reply = viewer.get(address)
        pages.append([int(row["message"].split()[1]) for row in reply.json()])
        address = reply.get("Link", "")[1:].partition(">")[0].removeprefix("http://testserver/api/")
    assert [number for page in pages for number in page] == [0, 1, 2, 3, 4]
    assert {len(page) for page in pages} == {1, 2}
    monkeypatch.setattr("builds.api.builds.MAX_LINES_CHARS", 0)
    assert lines(viewer, logged) == [0], "one at least"


@pytest.mark.parametrize("query", ["text=line+3", "level=ERROR", "text=line+3&level=20"])
def test_a_search_looks_at_so_many_lines_and_leads_on(viewer, logged, monkeypatch, query):
    monkeypatch.setattr("builds.pages.log_parts.LOOKED_AT", 1)
    address, pages = f"build/{logged.pk}/log?{query}&limit=3", []
    while address:
        reply = viewer.get(address)
        assert reply.status_code == 200
        pages.append([int(row["message"].split()[1]) for row in reply.json()])
        address = reply.get("Link", "")[1:].partition(">")[0].removeprefix("http://testserver/api/")
    assert [number for page in pages for number in page] == [3]
    # Those at WARNING and above have an index of their own, on which there are two.
    assert len(pages) == (2 if "ERROR" in query else 5)


def test_a_search_that_finds_enough_goes_on_after_what_it_found(viewer, logged, monkeypatch):
    monkeypatch.setattr("builds.pages.log_parts.LOOKED_AT", 4)
    reply = viewer.get(f"build/{logged.pk}/log?text=line&limit=2")
    numbers = [row["id"] for row in reply.json()]
    assert len(numbers) == 2
    assert f"after={numbers[1]}>" in reply["Link"]
    assert "Link" not in viewer.get(f"build/{logged.pk}/log?text=line&after={numbers[1]}")


@pytest.mark.parametrize(
    "query",
    ["level=LOUD", "level=99999", "level=", "since=yesterday", "since=", "until=2026-02-30"]
    + ["since=99999999999d"]
    + ["text=a%00b", f"text={'x' * 501}", "limit=0", "limit=1001", "after=-1", "after=x"],
)
def test_a_filter_of_a_log_that_means_nothing_is_refused_by_its_name(viewer, logged, query):
    detail = refused(viewer.get(f"build/{logged.pk}/log?{query}"), 422)
    assert query.partition("=")[0] in detail


def test_a_time_beyond_all_that_happened_leaves_nothing_out(viewer, logged):
    whole = lines(viewer, logged)
    edges = "since=0001-01-01T00:00%2B14:00&until=9999-12-31T23:59-14:00"
    reply = viewer.get(f"build/{logged.pk}/log?{edges}")
    assert [row["id"] for row in reply.json()] == [
        row["id"] for row in viewer.get(f"build/{logged.pk}/log").json()
    ]
    assert whole


# --- Its return value -----------------------------------------------------------------------------


PLAIN = "text/plain; charset=utf-8"


def taken(reply):
    assert reply.status_code == 200, reply.content
    assert reply["X-Content-Type-Options"] == "nosniff"
    return reply["Content-Type"], reply.content.decode()


def test_a_return_value_is_json_where_it_is_json_and_text_for_the_asking(viewer):
    made = make(text="{'a': None}", as_json='{"a": null}')
    address = f"build/{made.pk}/retval"
    assert taken(viewer.get(address)) == ("application/json", '{"a": null}')
    assert taken(viewer.get(f"{address}?format=json")) == ("application/json", '{"a": null}')
    assert taken(viewer.get(f"{address}?format=text")) == (PLAIN, "{'a': None}")


@pytest.mark.parametrize(
    "text", ["(1, 2)", "7", '{"a": 1}', "", "<script>", "ключ 🗝", "[" * 10_000]
)
def test_a_return_value_that_is_no_json_is_text_even_if_that_reads_like_json(viewer, text):
    address = f"build/{make(text=text).pk}/retval"
    assert taken(viewer.get(address)) == (PLAIN, text)
    assert taken(viewer.get(f"{address}?format=text")) == (PLAIN, text)
    assert "is not JSON" in refused(viewer.get(f"{address}?format=json"), 404)


@pytest.mark.parametrize("wanted", ["", "JSON", "pickle", "xml"])
def test_a_form_of_the_return_value_that_there_is_not_is_refused(viewer, wanted):
    detail = refused(viewer.get(f"build/{make().pk}/retval?format={wanted}"), 422)
    assert "query.format" in detail
    assert "'json' or 'text'" in detail


@pytest.mark.parametrize("query", ["", "?format=json", "?format=text"])
def test_what_has_no_return_value_is_asked_for_one_in_vain(viewer, query):
    assert "has not ended" in refused(viewer.get(f"build/{make('RUNNING').pk}/retval{query}"), 409)
    assert "is FAILED" in refused(viewer.get(f"build/{make('FAILED').pk}/retval{query}"), 404)


@pytest.mark.parametrize("status", ["CREATED", "QUEUED", "RUNNING"])
def test_a_build_that_has_not_ended_has_no_return_value_yet(viewer, status):
    assert "has not ended" in refused(viewer.get(f"build/{make(status).pk}/retval"), 409)


@pytest.mark.parametrize("status", ["SKIPPED", "FAILED", "CANCELLED"])
def test_a_build_without_return_value_says_so(viewer, status):
    assert f"is {status}" in refused(viewer.get(f"build/{make(status).pk}/retval"), 404)


@pytest.mark.django_db(transaction=True)
def test_what_a_real_build_did_can_be_read(viewer):
    use_config("""
        secret: {password: hunter2hunter2}
        jobs:
          - id: good
            function: jobcontrol.utils.testing:testing_job
            kwargs: {retval: [1, null, hunter2hunter2], log_messages: [[30, "Odd hunter2hunter2"]]}
          - id: bad
            function: jobcontrol.utils.testing:testing_job
            kwargs: {fail: true}
    """)
    good, bad = build("good"), build("bad")
    assert viewer.get(f"build/{good.pk}/retval").json() == [1, None, "•••"]
    assert viewer.get(f"build/{good.pk}/retval?format=text").content.decode() == "[1, None, '•••']"
    shown = viewer.get(f"build/{bad.pk}").json()
    assert (shown["status"], shown["failure_kind"]) == ("FAILED", "exception")
    assert shown["exception"]
    (line,) = viewer.get(f"build/{good.pk}/log?level=WARNING").json()
    assert line["message"] == "Odd •••"
    (row,) = viewer.get("build/?success=false").json()
    assert json.dumps(row) == json.dumps(shown)


# --- Cancelling -----------------------------------------------------------------------------------


def test_a_build_is_cancelled_over_the_api(operator):
    made = make("QUEUED")
    reply = operator.request("POST", f"build/{made.pk}/cancel")
    assert reply.status_code == 200, reply.content
    assert reply.json()["status"] == "CANCELLED"
    assert reply.json()["cancel_requested"] is not None
    made.refresh_from_db()
    assert made.cancel_requested_by == operator.user
    assert operator.request("POST", f"build/{made.pk}/cancel").status_code == 200, "again"


def test_a_running_build_is_told_to_stop(operator):
    made = make("RUNNING")
    row = operator.request("POST", f"build/{made.pk}/cancel").json()
    assert row["status"] == "RUNNING"
    assert row["cancel_requested"] is not None


def test_what_has_ended_is_not_cancelled(operator, viewer):
    made = make()
    reply = operator.request("POST", f"build/{made.pk}/cancel")
    refused(reply, 409)
    assert f"build #{made.pk} is successful already" in reply.json()["detail"]
    refused(operator.request("POST", "build/987654/cancel"), 404)
    refused(viewer.request("POST", f"build/{made.pk}/cancel"), 403)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="a trap of PostgreSQL's planner")
@pytest.mark.parametrize("edge", ["api", "command"])
def test_a_log_is_read_by_the_index_of_its_build(viewer, edge):
    number = make().pk
    LogMessage.objects.bulk_create(
        LogMessage(build_id=number, created=NOON, level=20, logger="x", message=f"line {n}")
        for n in range(3)
    )
    with CaptureQueriesContext(connection) as queries:
        if edge == "api":
            assert len(viewer.get(f"build/{number}/log").json()) == 3
        else:
            assert len(run_json("build_log", number)) == 3
    (read, *_) = [one["sql"] for one in queries if 'FROM "builds_logmessage"' in one["sql"]]
    assert read.partition("ORDER BY")[2].startswith(' "builds_logmessage"."build_id"')
