"""The progress of a build on its page: rates, silences, and branches that come when opened."""

import re
import time
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from builds.models import Build, BuildProgress
from builds.progress import Pace, progress_tree
from jobcontrol.globals import current_app
from tests.support.bars import branch_of, key, reported
from tests.support.jobs import build, build_function, use_config
from tests.support.pages import CONFIG, NASTY, markup, page_of, text

pytestmark = pytest.mark.django_db(transaction=True)


def report_steps():
    """Report three steps, more than a second from the first to the last."""
    for done in range(3):
        current_app.report_progress(("steps",), done, 2)
        time.sleep(0.6 if done < 2 else 0)
    current_app.report_progress(("once",), 1, 1)


@pytest.fixture
def running(db):
    use_config(CONFIG)
    return Build.objects.create(job_id="first", status="RUNNING", start_time=Now())


# --- what is stored -------------------------------------------------------------------------------


def test_a_build_stores_how_each_bar_came_along():
    made = build_function(f"{__name__}:report_steps")
    steps = BuildProgress.objects.get(build=made, group_name='["steps"]')
    assert (steps.first_current, steps.reports) == (0, 3)
    assert 1.2 <= steps.seconds < 30
    once = BuildProgress.objects.get(build=made, group_name='["once"]')
    assert (once.first_current, once.seconds, once.reports) == (1, 0, 1)


def test_a_later_report_goes_on_and_the_order_stays(running):
    reported(running, (("a",), 0, 9, Pace(0, 0.0, 1)), (("b",), 0, 9, Pace(0, 0.0, 1)))
    reported(running, (("b",), 5, 9, Pace(0, 4.0, 6)))
    rows = BuildProgress.objects.filter(build=running).order_by("position")
    assert list(rows.values_list("current", "first_current", "seconds", "reports")) == [
        (0, 0, 0.0, 1),
        (5, 0, 4.0, 6),
    ]


def test_reports_are_stamped_with_the_time_of_the_database(running, monkeypatch):
    """The clock of the worker's host may be wrong."""
    wrong = timezone.now() - timedelta(hours=1)
    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", lambda: wrong)
        reported(running, (("a",), 1, 9, None))
    row = BuildProgress.objects.annotate(now=Now()).get(build=running)
    assert abs(row.now - row.updated) < timedelta(seconds=60)


def test_the_trees_of_api_and_commands_are_as_they_were(running):
    reported(running, *(((f"p{n}",), 1, 2, Pace(0, 9.0, 3)) for n in range(501)))
    tree = progress_tree(running)
    assert len(tree.children) == 501
    assert set(tree.to_json()) == {"name", "current", "total", "status_line", "children"}


# --- what is shown --------------------------------------------------------------------------------


def test_a_running_bar_says_its_rate_and_the_time_left(viewer, running):
    reported(running, (("a",), 30, 90, Pace(0, 60.0, 31)))
    page = text(viewer.get(page_of(running)))
    assert "30/90 (33%) 30/min 2 min 0 s left" in page or "30/min 1 min 59 s left" in page


def test_a_bar_that_is_silent_for_long_says_so_and_no_time_left(viewer, running):
    reported(running, (("a",), 30, 90, Pace(0, 60.0, 31)), ago=75)
    page = markup(viewer.get(page_of(running)))
    assert re.search(r'data-still-after="30">no update for 1 min 1\d s</span>', page)
    assert " left</span>" not in page


def test_a_bar_that_is_not_silent_is_ready_to_say_so(viewer, running):
    """The script counts on from there, and shows it when the time is over."""
    reported(running, (("a",), 30, 90, Pace(0, 600.0, 11)))
    page = markup(viewer.get(page_of(running)))
    assert re.search(r'data-silence="\d" data-still-after="300" hidden>', page)


def test_of_a_build_that_ended_only_what_is_done_says_how_long_it_took(viewer, running):
    reported(running, (("a",), 9, 9, Pace(0, 75.0, 10)), (("b",), 3, 9, Pace(0, 75.0, 4)), ago=500)
    Build.objects.filter(pk=running.pk).update(status="SUCCESSFUL")
    page = text(viewer.get(page_of(running)))
    assert "9/9 (100%) took 1 min 15 s" in page
    assert "no update" not in page
    assert "/min" not in page


def test_a_bar_whose_first_step_was_not_seen_took_longer_than_is_known(viewer, running):
    reported(running, (("a",), 9, 9, Pace(1, 7.25, 9)), (("b", "c"), 1, 2, Pace(0, 7.0, 2)))
    page = text(viewer.get(page_of(running)))
    assert "9/9 (100%) took over 7.2 s" in page


def test_a_branch_that_is_done_took_so_many_whole_seconds(viewer, running):
    reported(running, (("b", "c"), 2, 2, Pace(0, 7.0, 2)))
    assert "b 2/2 (100%) took 7 s" in text(viewer.get(page_of(running)))


def test_a_row_of_an_older_version_says_only_what_it_knows(viewer, running):
    reported(running, (("a",), 30, 90, None), ago=10)
    page = text(viewer.get(page_of(running)))
    assert "30/90 (33%) no update" in page  # in the page, and hidden
    assert " left" not in page
    assert 'data-still-after="30" hidden>' in markup(viewer.get(page_of(running)))


# --- large trees ----------------------------------------------------------------------------------


def test_ranges_of_a_long_list_are_branches(viewer, running):
    reported(running, *(((f"p{n}",), 0, 1, Pace(0, 0.0, 1)) for n in range(1_000)))
    page = markup(viewer.get(page_of(running)))
    assert page.count("<progress") == 11
    (found,) = re.findall(
        r'id="bar-(\w+)"><summary><span class="jc-bar-head"><span class="jc-bar-name">401–500<',
        page,
    )
    assert "p499" in markup(viewer.get(branch_of(running, found)))


def test_names_are_escaped_in_a_branch(viewer, running):
    reported(running, (("a", NASTY), 1, 2, None))
    page = viewer.get(branch_of(running, key("a"))).content.decode()
    assert NASTY not in page
    assert "&lt;script&gt;" in page


def test_a_build_of_one_bar_has_no_buttons(viewer):
    made = build_function("jobcontrol.utils.testing:testing_job", progress_steps=[(("a",), 1)])
    assert "Unfold all" not in viewer.get(page_of(made)).content.decode()
    use_config(CONFIG)
    made = build("first")
    assert 'id="progress-heading"' not in viewer.get(page_of(made)).content.decode()
