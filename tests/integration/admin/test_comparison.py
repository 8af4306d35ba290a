"""Two builds beside each other: what differs, told at once, bounded, and as safe as their pages."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from builds import context_processors, progress, retvals, services
from builds.deletion_models import Deletion
from builds.models import Build, BuildDependency, BuildPayload, LogMessage
from builds.pages import comparison, comparison_log
from jobs.redaction import Redactor
from tests.support.hostile import MARK, markup_of_others
from tests.support.jobs import build, use_config
from tests.support.pages import markup, page_of, text

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
secret: {key: hunter22-secret}
jobs:
  - id: first
    title: "A <b>title</b>"
    function: tests.support.odd_jobs:echo
    args: [one, !secret key]
    kwargs: {currency: EUR}
  - id: second
    function: tests.support.odd_jobs:value
    args: [!retval first]
"""
QUERIES = 15


def compare(left, right):
    numbers = [getattr(one, "pk", one) for one in (left, right)]
    return "{}?left={}&right={}".format(reverse("admin:builds_build_compare"), *numbers)


def sections(response):
    """The page's sections by name: whether each is open, and its text."""
    html = response.content.decode()
    found = re.findall(r'<section class="module jc-section" id="(\w+)".*?</section>', html, re.S)
    parts = re.findall(r'(<section class="module jc-section" id="\w+".*?</section>)', html, re.S)
    return {
        name: (" open>" in part, " ".join(re.sub("<[^>]+>", " ", part).split()))
        for name, part in zip(found, parts, strict=True)
    }


def pair(**second):
    """Two builds with nothing but what the database is told of them."""
    use_config(CONFIG)
    now = timezone.now()
    facts = {"job_id": "first", "status": "SUCCESSFUL", "start_time": now, "end_time": now}
    made = [Build.objects.create(**facts), Build.objects.create(**{**facts, **second})]
    for one in made:
        BuildPayload.objects.create(build=one, config_text="id: first\n", retval_text="1")
    return made


def say(build, *messages, level=30):
    now = timezone.now()
    LogMessage.objects.bulk_create(
        LogMessage(build=build, created=now, level=level, message=message) for message in messages
    )


# --- What the same job did twice ------------------------------------------------------------------


def test_two_builds_that_did_the_same_are_told_so_and_folded(viewer):
    use_config(CONFIG)
    one, other = build("first"), build("first")
    page = viewer.get(compare(one, other))
    assert "Nothing is different." in text(page)
    found = sections(page)
    assert list(found) == [
        *("error", "arguments", "configuration", "inputs", "retval", "times", "log"),
    ]
    assert not any(is_open for is_open, _ in found.values())
    assert "Arguments the same" in found["arguments"][1]
    assert "currency: EUR" in found["arguments"][1]
    assert "Error none in both" in found["error"][1]


def test_a_failure_is_compared_with_a_success_line_by_line(viewer):
    use_config(CONFIG)
    one = build("first")
    use_config(CONFIG.replace("EUR", "SEK").replace("odd_jobs:echo", "odd_jobs:no_such"))
    other = build("first")
    page = viewer.get(compare(one, other))
    found = sections(page)
    assert "<del>-   currency: <b>EUR</b>\n</del>" in page.content.decode()
    assert "<ins>+   currency: <b>SEK</b>\n</ins>" in page.content.decode()
    assert found["arguments"][0]
    assert "1 line gone, 1 line new" in found["arguments"][1]
    assert "function: tests.support.odd_jobs: echo" in found["configuration"][1]
    assert "currency" not in found["configuration"][1]
    assert f"only #{one.pk} has one" in found["retval"][1]
    assert f"only in #{other.pk}" in found["error"][1]
    assert other.exception_type in found["error"][1]
    assert "no_such" in found["error"][1]
    revisions = [one.config_revision_id, other.config_revision_id]
    assert f"ran with revision #{revisions[1]}" in found["configuration"][1]
    assert "Different: Error , Arguments , Configuration , Return value" in text(page)


def test_the_last_frame_of_each_traceback_is_told(viewer):
    use_config(CONFIG)
    left, right = pair(status="FAILED", failure_kind="exception", exception_type="ValueError")
    frame = {"filename": "shop.py", "lineno": 7, "name": "price_of", "line": "  raise x"}
    note = {"filename": "", "lineno": 0, "name": "3 frames are left out"}
    BuildPayload.objects.filter(pk=right.pk).update(traceback={"frames": [frame, note]})
    error = sections(viewer.get(compare(left, right)))["error"][1]
    assert "price_of in shop.py, line 7" in error
    assert "raise x" in error


def test_values_are_compared_part_by_part(viewer):
    use_config(CONFIG)
    left, right = pair()
    for one, price in ((left, "2.40"), (right, "2.80")):
        value = repr([{"name": f"product {n}", "price": "1"} for n in range(60)] + [price])
        BuildPayload.objects.filter(pk=one.pk).update(retval_text=value)
    page = viewer.get(compare(left, right))
    assert "<del>-   &#x27;2.<b>4</b>0&#x27;\n</del>" in page.content.decode()
    retval = sections(page)["retval"][1]
    assert "1 line gone, 1 line new" in retval
    assert "lines are the same" in retval
    assert "A line for each part of the value" in retval


def test_inputs_that_differ_come_first_and_lead_to_their_own_comparison(viewer):
    use_config(CONFIG)
    first, again = build("first"), build("first")
    one = build("second", dependency_builds={"first": first.pk})
    other = build("second", dependency_builds={"first": again.pk})
    page = viewer.get(compare(one, other))
    assert "1 of 1 differ" in sections(page)["inputs"][1]
    assert compare(first, again).replace("&", "&amp;") in page.content.decode()
    BuildDependency.objects.filter(build=one).update(dep_build=None)
    page = viewer.get(compare(one, other))
    assert f"#{first.pk} (deleted)" in sections(page)["inputs"][1]
    assert "Compare these" not in text(page)


def test_times_and_progress_are_compared(viewer):
    start = timezone.now()
    left, right = pair(start_time=start, end_time=start + timezone.timedelta(seconds=90))
    for one, done in ((left, 4), (right, 1)):
        services.store_progress(
            build_id=one.pk,
            rows=[
                progress_row(("Orchard",), done, 4),
                progress_row(("Mill", "deeper"), 2, 2),
            ],
        )
    found = sections(viewer.get(compare(left, right)))["times"]
    assert found[0]
    assert f"#{right.pk} took 900.0 times as long" in found[1]
    assert "1 min 30 s longer" in found[1]
    assert "Orchard 4 of 4 1 of 4 differs" in found[1]
    assert "Mill 2 of 2 2 of 2" in found[1]
    assert "deeper" not in found[1]


def progress_row(path, current, total):
    return progress.row_values(progress.Node(path, current, total, "", 0), Redactor({}))


def test_what_only_one_log_says_is_listed_numbers_aside(viewer):
    left, right = pair()
    say(left, "3 of 4 pages at 10:00:01 are slow", "\x1b[31mgone\x1b[0m now")
    say(right, "4 of 4 pages at 12:10:11 are slow", *["price 3 is odd"] * 2, "price 17 is odd")
    say(right, "an error", level=40)
    say(right, "not grave", level=20)
    page = viewer.get(compare(left, right))
    log_part = sections(page)["log"][1]
    assert "1 is in both" in log_part
    assert f"Only in #{left.pk} WARNING gone now" in log_part
    assert f"Only in #{right.pk} WARNING price 3 is odd 3 times ERROR an error" in log_part, (
        log_part
    )
    assert "are slow" not in log_part
    assert "not grave" not in log_part
    assert "INFO 0 1 differs" in log_part
    line = LogMessage.objects.get(message="an error")
    assert f"?from={line.pk}#line-{line.pk}" in page.content.decode()


# --- Which two ------------------------------------------------------------------------------------


def test_builds_of_different_jobs_can_be_compared_and_that_is_said(viewer):
    use_config(CONFIG)
    one = build("first")
    page = text(viewer.get(compare(one, build("second"))))
    assert "builds of two different jobs" in page
    assert "A &lt;b&gt;title&lt;/b&gt;" in page


def test_the_two_can_be_swapped(viewer):
    left, right = pair()
    assert (
        compare(right, left).replace("&", "&amp;")
        in viewer.get(compare(left, right)).content.decode()
    )


@pytest.mark.parametrize(
    ("numbers", "status", "word"),
    [
        (("", ""), 200, "Give the numbers of two builds"),
        (("", "{made}"), 400, "Two builds are needed."),
        (("{made}", "<script>"), 400, "“&lt;script&gt;” is no number of a build."),
        (("{made}", "1.5"), 400, "“1.5” is no number"),
        (("{made}", "９"), 400, "is no number"),
        (("{made}", "\x00"), 400, "is no number"),
        (("{made}", "9" * 40), 400, "is no number"),
        (("{made}", "9" * 18), 404, "There is no build #999999999999999999."),
        (("-1", "-1"), 400, "“-1” is no number"),
        (("{made}", "{made}"), 400, "Both are build #{made}."),
        (("7007", "7007"), 404, "Build #7007 was deleted."),
    ],
)
def test_whoever_asks_for_no_two_builds_is_told_which_is_wrong(viewer, numbers, status, word):
    made, _ = pair()
    Deletion.objects.create(job_id="first", build_number=7007, state="DONE")
    left, right = (one.format(made=made.pk) for one in numbers)
    page = viewer.get(reverse("admin:builds_build_compare"), {"left": left, "right": right})
    assert page.status_code == status
    content = page.content.decode()
    assert word.format(made=made.pk) in " ".join(re.sub("<[^>]+>", " ", content).split())
    assert 'name="right"' in content
    assert markup_of_others(content) == []


def test_what_is_wrong_with_both_numbers_is_told_at_once(viewer):
    for left, right, status, words in (
        ("x", "999999", 400, ["“x” is no number", "no build #999999"]),
        ("999998", "", 400, ["Two builds are needed.", "no build #999998"]),
        ("999998", "999999", 404, ["no build #999998", "no build #999999"]),
        ("x", "y", 400, ["“x” is no number", "“y” is no number"]),
    ):
        page = viewer.get(compare_address(), {"left": left, "right": right})
        assert page.status_code == status
        said = " ".join(re.sub("<[^>]+>", " ", page.content.decode()).split())
        assert [word for word in words if word not in said] == []


def compare_address():
    return reverse("admin:builds_build_compare")


def test_a_number_may_be_written_as_pages_write_it(viewer):
    left, right = pair()
    address = reverse("admin:builds_build_compare")
    page = viewer.get(address, {"left": f"#{left.pk} ", "right": f"#{right.pk}"})
    assert page.status_code == 200


# --- Ways in --------------------------------------------------------------------------------------


def test_a_failed_build_leads_to_the_last_success_before_it(viewer):
    success, failure = pair(status="FAILED")
    page = viewer.get(page_of(failure))
    assert f"Compare with the last success, #{success.pk}" in text(page)
    assert compare(success, failure).replace("&", "&amp;") in markup(page)
    assert "previous build" not in text(page)  # which is the same one
    again = Build.objects.create(job_id="first", status="FAILED")
    Build.objects.create(job_id="first", status="SUCCESSFUL")
    Build.objects.create(job_id="second", status="SUCCESSFUL")
    page = text(viewer.get(page_of(again)))
    assert f"Compare with the last success, #{success.pk}" in page
    assert f"Compare with the previous build, #{failure.pk}" in page
    assert "Compare with" not in text(viewer.get(page_of(success)))
    assert failure.pk > success.pk


def test_two_rows_of_the_list_are_compared_the_older_one_left(viewer):
    left, right = pair()
    third = Build.objects.create(job_id="first", status="FAILED")
    address = reverse("admin:builds_build_changelist")

    def choose(*builds):
        chosen = {"action": "compare_selected", "_selected_action": [one.pk for one in builds]}
        return viewer.post(address, chosen, follow=True)

    answer = choose(right, left)
    assert answer.redirect_chain == [(compare(left, right), 302)]
    assert "Choose exactly two builds to compare: only one was chosen." in text(choose(left))
    assert "exactly two builds to compare: more than two were chosen." in text(
        choose(left, right, third)
    )


# --- Safe and bounded -----------------------------------------------------------------------------


def test_who_may_not_see_builds_may_not_compare_them(staff):
    left, right = pair()
    assert staff("jobs.view_job").get(compare(left, right)).status_code == 403
    page = staff("builds.view_build").get(compare(left, right))
    assert page.status_code == 200
    assert "/admin/jobs/" not in page.content.decode().split('id="content-main"')[1]


def test_secrets_stay_masked_and_nothing_is_unpickled(viewer, monkeypatch):
    use_config(CONFIG)
    one = build("first")
    use_config(CONFIG.replace("one, !secret", "two, !secret"))
    other = build("first")
    monkeypatch.setattr(retvals, "pickle", None)
    page = viewer.get(compare(one, other)).content.decode()
    assert "hunter22" not in page
    assert "•••" in page


def test_what_jobs_say_stays_text(viewer):
    left, right = pair(status="FAILED", exception_type=MARK[:200], exception_message=MARK)
    say(right, MARK, level=50)
    for one in (left, right):
        BuildPayload.objects.filter(pk=one.pk).update(
            config_text=f"id: {MARK} {one.pk}\nargs:\n- {one.pk} {MARK}\n",
            retval_text=f"[{one.pk}, {MARK!r}]",
        )
        services.store_progress(build_id=one.pk, rows=[progress_row((MARK,), one.pk, 4)])
    page = viewer.get(compare(left, right)).content.decode()
    assert markup_of_others(page) == []
    assert page.count("&lt;xss-mark&gt;") > 8
    # Where nothing but the markup differs, that is the part which is pointed out.
    BuildPayload.objects.filter(pk=left.pk).update(config_text="id: so it is")
    BuildPayload.objects.filter(pk=right.pk).update(config_text="id: so <xss-mark> it is")
    Build.objects.update(status="SUCCESSFUL")
    for one, other in ((left, right), (right, left)):
        page = viewer.get(compare(one, other)).content.decode()
        assert "<b>&lt;xss-mark&gt; </b>" in page
        assert markup_of_others(page) == []


@pytest.mark.parametrize("is_same", [True, False])
def test_huge_values_are_compared_at_their_beginnings_by_the_database_to_the_end(viewer, is_same):
    left, right = pair()
    same = {"config_text": "x: 1\n" * 200_000, "retval_text": "y" * 1_000_000}
    BuildPayload.objects.filter(pk=left.pk).update(**same)
    end = "" if is_same else "end"
    BuildPayload.objects.filter(pk=right.pk).update(**{k: v + end for k, v in same.items()})
    page = viewer.get(compare(left, right))
    assert len(page.content) < 250_000
    found = sections(page)
    for name in ("configuration", "retval"):
        is_open, word = found[name]
        assert is_open != is_same
        expected = (
            "They are the same to the end." if is_same else "Only the beginnings are compared"
        )
        assert expected in word
        assert "Download:" in word
    assert ("differs after what is compared here" in found["retval"][1]) != is_same


def test_long_logs_are_counted_and_read_up_to_a_bound(viewer, monkeypatch):
    monkeypatch.setattr(comparison_log, "COUNTED_LINES", 420)
    left, right = pair()
    say(left, *["info"] * 430, level=20)
    say(right, *(f"about {chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(450)))
    with CaptureQueriesContext(connection) as queries:
        page = viewer.get(compare(left, right))
    counts = [query["sql"] for query in queries if "COUNT(CASE" in query["sql"]]
    assert [sql.count("LIMIT 421") for sql in counts] == [2, 2]
    found = sections(page)["log"][1]
    assert "INFO 420+ 0+ differs" in found
    assert "WARNING 0 420+ differs" in found
    assert "Of so many only the first 200 and the last 200 lines" in found
    assert "300 more." in found
    assert f"400 messages only in #{right.pk}" in found


def test_the_page_asks_few_questions_whatever_stands_on_it(viewer, monkeypatch):
    monkeypatch.setattr(comparison_log, "COUNTED_LINES", 600)
    left, right = pair(status="FAILED", exception_type="E")
    for one in (left, right):
        say(one, *(f"about {chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(500)))
        say(one, *["x"] * 601, level=20)
        services.store_progress(build_id=one.pk, rows=[progress_row(("bar",), one.pk, 4)])
    links = [
        BuildDependency(build=one, job_id="second", dep_build_number=one.pk)
        for one in (left, right)
    ]
    BuildDependency.objects.bulk_create(links)
    context_processors.forget()
    with CaptureQueriesContext(connection) as queries:
        assert viewer.get(compare(left, right)).status_code == 200
    texts = "\n".join(query["sql"][:150] for query in queries)
    assert len(queries) <= QUERIES, f"{len(queries)} queries:\n{texts}"


def test_very_many_bars_are_not_added_up(viewer, monkeypatch):
    left, right = pair()
    services.store_progress(
        build_id=left.pk, rows=[progress_row((f"bar {n}",), 1, 2) for n in range(502)]
    )
    assert "too many bars" in sections(viewer.get(compare(left, right)))["times"][1]


def test_a_build_that_still_runs_is_said_to_change(viewer):
    left, right = pair(status="RUNNING", end_time=None)
    page = text(viewer.get(compare(left, right)))
    assert f"#{right.pk} is running" in page
    assert f"#{right.pk} is running and may still change" in page


def test_a_build_without_anything_can_be_compared(viewer):
    left, _ = pair()
    bare = Build.objects.create(job_id="second", status="CREATED")
    page = text(viewer.get(compare(bare, left)))
    assert f"only #{left.pk} has begun" in page
    assert comparison.INPUTS_SHOWN > 1
