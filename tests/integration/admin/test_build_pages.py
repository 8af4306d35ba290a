"""The pages of builds: all that is recorded can be read, by those who may, whatever it is."""

import re
from pathlib import Path

import pytest
from django.contrib import admin
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from builds.models import Build, BuildDependency, BuildProgress, Deletion, LogMessage
from builds.pages import progress as progress_pages
from jobcontrol.utils import ProgressReport
from tests.support.commands import run
from tests.support.jobs import build, build_function, use_config

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[3]
NASTY = "<script>alert('x')</script>"

CONFIG = """
jobs:
  - id: first
    title: "A <b>title</b>"
    function: tests.support.odd_jobs:value
    args: ["<i>first</i>"]
  - id: second
    function: tests.support.odd_jobs:value
    args: [!retval first]
"""


def page_of(build, query=""):
    return reverse("admin:builds_build_change", args=[build.pk]) + query


def text(response):
    """The page's text as a reader sees it, in one line."""
    assert response.status_code == 200, response.status_code
    page = re.sub(r"<(style|script|svg).*?</\1>", " ", response.content.decode(), flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def nested_failure():
    try:
        number = NASTY
        int(number)
    except ValueError as error:
        error.add_note("a note")
        raise ExceptionGroup("several", [KeyError("one"), OSError("two")]) from error


def test_a_page_shows_inputs_consumers_return_value_and_its_own_configuration(viewer):
    """original #31: the Configuration tab showed the job's current one"""
    use_config(CONFIG)
    first, second = build("first"), build("second")
    use_config(CONFIG.replace("args: [!retval first]", "args: [changed]"))
    page = viewer.get(page_of(second)).content.decode()
    assert f'<a href="{page_of(first)}">#{first.pk}</a> of A &lt;b&gt;title&lt;/b&gt;' in page
    assert "!retval first" in page
    assert "changed" not in page
    page = viewer.get(page_of(first)).content.decode()
    assert f'<a href="{page_of(second)}">#{second.pk}</a> of second' in page
    assert escape("'<i>first</i>'") in page


def test_a_falsy_return_value_is_shown(viewer):
    """original #31: falsy return values were hidden"""
    made = build_function("tests.support.odd_jobs:value", 0)
    assert "Return value 0 Log" in text(viewer.get(page_of(made)))


def test_a_failure_is_shown_with_its_chain_frames_locals_and_group(viewer):
    """original #25"""
    made = build_function("tests.integration.admin.test_build_pages:nested_failure")
    response = viewer.get(page_of(made))
    seen = text(response)
    for part in (
        "several",
        "KeyError: 'one'",
        "OSError: two",
        "which directly caused:",
        "a note",
        "nested_failure",
        "test_build_pages.py, line",
        "int(number)",
        "Local variables",
    ):
        assert escape(part) in seen, part
    page = response.content.decode()
    assert NASTY not in page
    assert escape(NASTY) in page
    assert re.search(r"<th scope=\"row\"><code>number</code></th><td><code>[^<]*script", page)
    assert page.count("<details") == page.count("</details>") > 1


def test_the_reason_of_a_skip_is_shown(viewer):
    """original #2"""
    made = build_function("jobcontrol.utils.testing:testing_job", skip=True)
    assert made.exception_message
    assert escape(made.exception_message) in text(viewer.get(page_of(made)))


def test_titles_and_messages_are_escaped(viewer):
    """original #31: titles were not escaped"""
    use_config(CONFIG.replace("A <b>title</b>", NASTY))
    made = build("first")
    LogMessage.objects.create(
        build=made, created=timezone.now(), level=20, logger=NASTY, message=NASTY, place=NASTY
    )
    for url in (page_of(made), reverse("admin:builds_build_changelist")):
        page = viewer.get(url).content.decode()
        assert NASTY not in page
        assert escape(NASTY) in page


def test_a_build_of_a_retired_job_can_still_be_read(viewer):
    """original #31: pages of builds whose job was removed failed"""
    use_config(CONFIG)
    made = build("first")
    use_config("jobs: []")
    assert "no longer in the configuration file" in text(viewer.get(page_of(made)))
    job = reverse("admin:jobs_job_change", args=["first"])
    assert viewer.get(job).status_code == 200


@pytest.mark.parametrize("state", Build.Status.values)
def test_every_state_has_a_page_and_a_row(viewer, state):
    use_config(CONFIG)
    made = Build.objects.create(job_id="first", status=state)
    assert f"Build #{made.pk} {state}" in text(viewer.get(page_of(made)))
    assert state in text(viewer.get(reverse("admin:builds_build_changelist")))


def test_an_input_that_was_deleted_is_still_named(viewer):
    use_config(CONFIG)
    first, second = build("first"), build("second")
    BuildDependency.objects.filter(build=second).update(dep_build=None)
    assert f"#{first.pk} (deleted) of" in text(viewer.get(page_of(second)))


@pytest.mark.parametrize("number", ["0", "-1", "x", "1_2F", "%00", "9" * 40, "_", "..", "1.5", "ü"])
def test_an_odd_number_is_not_found_and_no_error(viewer, number):
    response = viewer.get(f"/admin/builds/build/{number}/change/", follow=True)
    assert response.status_code in (200, 404)
    if response.status_code == 200:
        assert "exist" in text(response)


# --- progress -------------------------------------------------------------------------------------


def test_the_progress_tree_is_a_nested_list_of_bars(viewer):
    """original #28"""
    steps = [(("a", "x"), 3), (("a", "y"), 2), (("b",), 1)]
    made = build_function("jobcontrol.utils.testing:testing_job", progress_steps=steps)
    BuildProgress.objects.filter(build=made).update(status_line=NASTY)
    page = viewer.get(page_of(made)).content.decode()
    tree = page[page.index('<ul class="jc-progress">') : page.index("Return value")]
    assert tree.count("<progress") == 5
    assert tree.count("<ul") == tree.count("</ul>") == 3
    assert tree.count("<li") == tree.count("</li>") == 5
    assert 'value="6" max="6"' in tree
    assert NASTY not in tree


@pytest.mark.parametrize(
    ("current", "total", "value", "maximum", "label"),
    [
        (5, 3, 3, 3, "5/3"),
        (-2, 3, 0, 3, "-2/3"),
        (4, 0, 0, 1, "4/0 (N/A)"),
        (1, -7, 0, 1, "1/-7 (N/A)"),
        (2**62, 2**62, 2**62, 2**62, f"{2**62}/{2**62} (100%)"),
    ],
)
def test_absurd_progress_still_makes_a_valid_bar(viewer, current, total, value, maximum, label):
    """original #27"""
    made = build_function("tests.support.odd_jobs:value")
    BuildProgress.objects.create(
        build=made,
        group_name='["a"]',
        group_digest="d",
        current=current,
        total=total,
        position=0,
        updated=timezone.now(),
    )
    response = viewer.get(page_of(made))
    assert f'value="{value}" max="{maximum}"' in response.content.decode()
    assert label in text(response)


def test_a_wide_tree_is_shown_in_part_and_whole_when_asked(viewer, monkeypatch):
    monkeypatch.setattr(progress_pages, "SHOWN", 3)
    steps = [((f"group {number}",), 1) for number in range(6)]
    made = build_function("jobcontrol.utils.testing:testing_job", progress_steps=steps)
    page = viewer.get(page_of(made)).content.decode()
    assert page.count("<progress") == 3
    assert "Show 4 more" in page
    assert viewer.get(page_of(made, "?progress=all")).content.decode().count("<progress") == 7


def test_a_cut_in_a_deep_tree_closes_every_list():
    table = [(tuple("abcdefgh"[: depth + 1]), 1, 1, "") for depth in range(8)]
    tree = ProgressReport.from_table([*table, (("z",), 1, 1, "")])
    for limit in range(1, 11):
        rows = progress_pages.progress_rows(tree, limit)
        assert len(rows) == min(limit, 10)
        assert sum(row.opens for row in rows) == sum(len(row.closes) for row in rows)


# --- log ------------------------------------------------------------------------------------------


@pytest.fixture
def long_log():
    made = build_function("tests.support.odd_jobs:value")
    LogMessage.objects.all().delete()
    LogMessage.objects.bulk_create(
        LogMessage(
            build=made,
            created=timezone.now(),
            level=(10, 20, 30, 40, 50)[number % 5],
            logger="x",
            message=f"line {number} of 500",
        )
        for number in range(500)
    )
    return made


def shown(response):
    return [int(n) for n in re.findall(r"line (\d+) of 500", response.content.decode())]


def test_the_log_is_paged(viewer, long_log):
    assert shown(viewer.get(page_of(long_log))) == list(range(200))
    assert shown(viewer.get(page_of(long_log, "?page=3"))) == list(range(400, 500))
    page = viewer.get(page_of(long_log, "?page=2&level=DEBUG")).content.decode()
    assert 'href="?page=3&amp;level=DEBUG#log"' in page
    assert 'aria-current="page">2<' in page


def test_the_log_is_filtered_by_level_and_text(viewer, long_log):
    found = shown(viewer.get(page_of(long_log, "?level=ERROR")))
    assert len(found) == 200
    assert all(number % 5 >= 3 for number in found)
    assert shown(viewer.get(page_of(long_log, "?level=critical&q=LINE 49"))) == [49, 494, 499]
    assert "Nothing in the log matches" in text(viewer.get(page_of(long_log, "?q=nothing")))


@pytest.mark.parametrize(
    "query", ["?page=0", "?page=x", "?page=-1", "?page=" + "9" * 40, "?level=LOUD", "?q=%00"]
)
def test_odd_questions_about_the_log_are_answered(viewer, long_log, query):
    assert shown(viewer.get(page_of(long_log, query)))


def test_logged_exceptions_are_shown(viewer):
    """original #26: tracebacks of logged exceptions were stored but never shown"""
    made = build_function("jobcontrol.utils.testing:job_with_logging")
    page = viewer.get(page_of(made)).content.decode()
    assert "<summary>Traceback</summary>" in page
    assert "ValueError" in page


# --- lists ----------------------------------------------------------------------------------------


def test_builds_are_filtered_and_found_by_job(viewer):
    use_config(CONFIG)
    first, second = build("first"), build("second")
    url = reverse("admin:builds_build_changelist")

    def rows(query):
        response = viewer.get(url + query)
        assert response.status_code == 200, query
        return {one.pk for one in response.context["cl"].result_list}

    assert rows("") == {first.pk, second.pk}
    assert rows("?status__exact=FAILED") == set()
    assert rows("?trigger__exact=python") == {first.pk, second.pk}
    assert rows("?q=seco") == {second.pk}
    assert rows("?q=%00") == {first.pk, second.pk}
    assert rows("?job__id__exact=first") == {first.pk}
    assert rows(f"?inputs__dep_build__id__exact={first.pk}") == {second.pk}


def test_odd_filters_are_no_error(viewer):
    url = reverse("admin:builds_build_changelist")
    for query in (
        "?status__exact=%00",
        "?inputs__dep_build__id__exact=x",
        "?p=9999",
        "?o=9",
        "?e=1",
    ):
        assert viewer.get(url + query).status_code in (200, 302), query


@pytest.mark.parametrize("name", ["builds_build_changelist", "jobs_job_changelist"])
def test_lists_ask_a_bounded_number_of_times(viewer, django_assert_max_num_queries, name):
    """original #30"""
    jobs = "\n".join(f"  - {{id: j{n}, function: 'm:f'}}" for n in range(40))
    use_config(f"jobs:\n{jobs}")
    for number in range(40):
        for state in ("SUCCESSFUL", "FAILED", "RUNNING"):
            Build.objects.create(
                job_id=f"j{number}", status=state, requested_by=viewer.user, trigger="quick"
            )
    viewer.get(reverse(f"admin:{name}"))
    with django_assert_max_num_queries(16):
        viewer.get(reverse(f"admin:{name}"))


def test_lists_do_not_load_payloads(viewer, django_assert_max_num_queries):
    """original #21: ten 2 MB values made a list of 2.6 s"""
    build_function("tests.support.odd_jobs:value", "x")
    with django_assert_max_num_queries(16) as captured:
        viewer.get(reverse("admin:builds_build_changelist"))
    assert not any("buildpayload" in query["sql"] for query in captured.captured_queries)


def test_pages_of_builds_never_load_the_pickle(viewer, django_assert_max_num_queries):
    """original #21"""
    made = build_function("tests.support.odd_jobs:value", "x")
    with django_assert_max_num_queries(40) as captured:
        viewer.get(page_of(made))
    sql = " ".join(query["sql"] for query in captured.captured_queries)
    assert "retval_text" in sql
    assert '"retval"' not in sql


def test_deletions_can_be_read(staff):
    """original #19"""
    client = staff("builds.view_deletion")
    made = build_function("tests.support.odd_jobs:value")
    run("delete_build", made.pk)
    deletion = Deletion.objects.get()
    assert f"#{made.pk}" in text(client.get(reverse("admin:builds_deletion_changelist")))
    page = text(client.get(reverse("admin:builds_deletion_change", args=[deletion.pk])))
    assert str(made.pk) in page


# --- who may, and what there is -------------------------------------------------------------------


def test_without_permission_there_is_no_page(staff, client):
    made = build_function("tests.support.odd_jobs:value")
    nobody = staff()
    for url in (page_of(made), reverse("admin:builds_build_changelist")):
        assert nobody.get(url).status_code == 403
        assert client.get(url).status_code == 302


def test_not_even_a_superuser_can_write_here(admin_client):
    made = build_function("tests.support.odd_jobs:value")
    assert admin_client.get(reverse("admin:builds_build_add")).status_code == 403
    assert (
        admin_client.post(reverse("admin:builds_build_delete", args=[made.pk])).status_code == 403
    )
    before = Build.objects.values().get()
    admin_client.post(page_of(made), {"status": "FAILED"})
    assert Build.objects.values().get() == before


def test_the_pages_of_the_queue_are_not_there():
    """Its forms could call any function."""
    labels = {model._meta.app_label for model in admin.site._registry}
    assert "django_q" not in labels
    assert {"jobs", "builds", "auth"} <= labels


def test_the_root_leads_to_the_admin(client):
    assert client.get("/").headers["Location"] == "/admin/"


def test_our_templates_need_no_inline_style_or_script():
    for path in (ROOT / "templates" / "builds").glob("*.html"):
        found = re.findall(r"<script|<style|\sstyle=|\son[a-z]+=", path.read_text())
        assert not found, f"{path.name}: {found}"
