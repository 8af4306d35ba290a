"""The pages of builds: all that is recorded can be read, by those who may, whatever it is."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from builds.models import Build, BuildDependency, BuildProgress, LogMessage
from builds.pages import build as build_pages
from tests.support.jobs import build, build_function, use_config
from tests.support.many import copies
from tests.support.pages import CONFIG, NASTY, file_of, markup, page_of, text

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[3]


def test_a_page_shows_inputs_consumers_return_value_and_its_own_configuration(viewer):
    """original #31: the Configuration tab showed the job's current one"""
    use_config(CONFIG)
    first, second = build("first"), build("second")
    use_config(CONFIG.replace("args: [!retval first]", "args: [changed]"))
    page = markup(viewer.get(page_of(second)))
    assert (
        f'<a href="{page_of(first)}">#{first.pk}</a> of <bdi>A &lt;b&gt;title&lt;/b&gt;</bdi>'
        in page
    )
    own = page[page.index('id="config-heading"') : page.index("What is different today")]
    assert "!retval first" in own
    assert "changed" not in own
    page = markup(viewer.get(page_of(first)))
    assert f'<a href="{page_of(second)}">#{second.pk}</a> of <bdi>second</bdi>' in page
    assert escape("'<i>first</i>'") in page


def test_a_falsy_return_value_is_shown(viewer):
    """original #31: falsy return values were hidden"""
    made = build_function("tests.support.odd_jobs:value", 0)
    assert "Return value 0 Download" in text(viewer.get(page_of(made)))


def test_a_failure_is_shown_with_its_chain_frames_locals_and_group(viewer):
    """original #25"""
    made = build_function("tests.support.pages:nested_failure")
    response = viewer.get(page_of(made))
    seen = text(response)
    for part in (
        "several",
        "KeyError: 'one'",
        "OSError: two",
        "which directly caused:",
        "a note",
        "nested_failure",
        "pages.py, line",
        "int(number)",
        "Local variables",
    ):
        assert escape(part) in seen, part
    page = markup(response)
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
    page = markup(viewer.get(page_of(made)))
    tree = page[page.index('<ul class="jc-progress"') : page.index("Return value")]
    assert tree.count("<progress") == 5
    assert tree.count("<ul") == tree.count("</ul>") == 3
    assert tree.count(" open>") == tree.count("</details>") == 2
    assert tree.count("<li") == tree.count("</li>") == 5
    assert 'value="6" max="6"' in tree
    assert NASTY not in tree


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED"])
def test_full_bars_of_a_build_that_failed_say_that_it_did(viewer, status):
    """original #28: from red to green; a failed build is not all green"""
    made = build_function("jobcontrol.utils.testing:testing_job", progress_steps=[(("a",), 3)])
    assert "jc-step-stopped" not in viewer.get(page_of(made)).content.decode()
    Build.objects.update(status=status)
    page = viewer.get(page_of(made)).content.decode()
    total, part = re.findall(r'<span class="jc-bar-head">.*?</progress>', page, re.S)
    assert f">{status}</span>" in total
    assert 'class="jc-step-stopped"' in total
    assert status not in part
    assert 'class="jc-step-10"' in part


def test_progress_is_shown_with_the_status_of_its_moment(viewer, monkeypatch):
    """Not as QUEUED, beside the progress of the run that began while it was read."""
    made = build_function("jobcontrol.utils.testing:testing_job", progress_steps=[(("a",), 3)])
    Build.objects.update(status="QUEUED", end_time=None)
    read = build_pages.progress_part

    def claimed_meanwhile(*arguments):
        Build.objects.filter(status="QUEUED").update(status="RUNNING")
        return read(*arguments)

    monkeypatch.setattr(build_pages, "progress_part", claimed_meanwhile)
    page = text(viewer.get(page_of(made)))
    assert "This build is running." in page
    assert "QUEUED" not in page
    assert "3/3 (100%)" in page


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
    assert f'value="{value}" max="{maximum}"' in markup(response)
    assert label in text(response)


# --- odd things ----------------------------------------------------------------------------------


def test_odd_ids_of_jobs_show_well(viewer):
    """original #31: titles were not escaped"""
    odd = "a/b'\"<i>&?#%2F ü" + "x" * 180
    use_config(f"jobs:\n  - {{id: {json.dumps(odd)}, function: 'tests.support.odd_jobs:value'}}\n")
    made = build(odd)
    page = viewer.get(page_of(made)).content.decode()
    assert escape(odd) in page
    assert "<i>&" not in page
    listed = reverse("admin:builds_build_changelist") + "?" + urlencode({"job__id__exact": odd})
    assert f'{escape(listed.replace("+", "%20"))}"' in page
    assert viewer.get(listed).context["cl"].result_count == 1


def test_run_again_leads_to_the_form_filled_in_from_this_build(staff, monkeypatch):
    """original #34: run again was a placeholder"""
    use_config(CONFIG)
    made = build("first")
    monkeypatch.setattr(build_pages, "reverse", lambda name, args: f"/{name}/{args[0]}")
    runner = staff("jobs.view_job", "builds.view_build", "builds.run_build")
    form = f'href="/admin:jobs_job_build_form/first?from={made.pk}"'
    assert form in runner.get(page_of(made)).content.decode()
    assert form not in staff("builds.view_build").get(page_of(made)).content.decode()
    use_config("jobs: []")
    page = runner.get(page_of(made))
    assert form not in page.content.decode()
    assert "It can't be run again" in text(page)


def test_a_build_without_payload_has_a_page(viewer):
    use_config(CONFIG)
    made = Build.objects.create(job_id="first", status="SUCCESSFUL")
    assert viewer.get(page_of(made)).status_code == 200
    for name in ("traceback.txt", "retval.json"):
        assert viewer.get(file_of(made, name)).status_code == 404


def test_times_are_local_with_the_exact_one_on_hover(viewer, settings):
    """original #26: times were UTC in one place and local in another"""
    made = build_function("tests.support.odd_jobs:value")
    moment = datetime(2026, 7, 1, 22, 30, 1, 250_000, tzinfo=UTC)
    Build.objects.filter(pk=made.pk).update(start_time=moment)
    settings.TIME_ZONE = "Asia/Tokyo"
    for url in (page_of(made), reverse("admin:builds_build_changelist")):
        page = viewer.get(url).content.decode()
        assert (
            'datetime="2026-07-02T07:30:01.250000+09:00" '
            'title="2026-07-02 07:30:01.250000 +0900 (JST)">2026-07-02 07:30:01</time>'
        ) in page


def test_a_page_of_much_asks_a_bounded_number_of_times(viewer, django_assert_max_num_queries):
    """100,000 log lines, 5,000 progress nodes, 200 consumers."""
    use_config(CONFIG)
    made = build("first")
    now = timezone.now()
    line = LogMessage.objects.create(
        build=made, created=now, level=20, logger="x", message="line 0"
    )
    copies(line, range(1, 100_000), message="'line ' || CAST(n AS text)")
    bar = BuildProgress.objects.create(
        build=made,
        group_name='["0", "0"]',
        group_digest="0",
        current=1,
        total=2,
        position=0,
        updated=now,
    )
    copies(
        bar,
        range(1, 5_000),
        group_name="'[\"' || CAST(n / 100 AS text) || '\", \"' || CAST(n AS text) || '\"]'",
        group_digest="CAST(n AS text)",
        position="n",
    )
    users = Build.objects.bulk_create(Build(job_id="second", status="FAILED") for _ in range(200))
    BuildDependency.objects.bulk_create(
        BuildDependency(build=user, job_id="first", dep_build=made, dep_build_number=made.pk)
        for user in users
    )
    log = reverse("admin:builds_build_log", args=[made.pk])
    urls = [page_of(made), page_of(made, "?progress=all"), log, f"{log}?q=9&level=INFO&tail=1"]
    for url in urls:
        with django_assert_max_num_queries(20):
            response = viewer.get(url)
        assert response.status_code == 200
    page = text(viewer.get(page_of(made)))
    assert "line 99999" in page
    assert "line 99900 " not in page
    assert "more: 200 in all" in page


def test_pages_of_builds_never_load_the_pickle(viewer, django_assert_max_num_queries):
    """original #21"""
    made = build_function("tests.support.odd_jobs:value", "x")
    with django_assert_max_num_queries(40) as captured:
        viewer.get(page_of(made))
    sql = " ".join(query["sql"] for query in captured.captured_queries)
    assert "retval_text" in sql
    assert '"retval"' not in sql


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
        found = re.findall(r"<script(?! src=)|<style|\sstyle=|\son[a-z]+=", path.read_text())
        assert not found, f"{path.name}: {found}"
