"""The progress of a build with very many bars; made once, for tests that only look at it."""

import html
import math
import re

import pytest
from django.core.management import call_command
from django.db.models.functions import Now
from django.urls import reverse

from builds.models import Build
from builds.pages.progress import UNFOLDED
from builds.progress import Pace
from tests.support.bars import branch_of, key, reported
from tests.support.jobs import use_config
from tests.support.pages import CONFIG, markup, page_of

pytestmark = pytest.mark.django_db

BARS = 1 + 50 + 50 * 100
PARTS = math.ceil(BARS / UNFOLDED)


@pytest.fixture(scope="module")
def large(django_db_setup, django_db_blocker):
    """Fifty groups of a hundred bars, and something happens in the third."""
    with django_db_blocker.unblock():
        use_config(CONFIG)
        made = Build.objects.create(job_id="first", status="RUNNING", start_time=Now())
        reported(
            made,
            *(
                ((f"g{n // 100}", f"p{n}"), 1 if n == 250 else 2, 2, Pace(0, 3.0, 3))
                for n in range(5_000)
            ),
        )
        yield Build.objects.get(pk=made.pk)
        call_command("flush", interactive=False, verbosity=0)


def test_a_large_tree_has_links_for_all_that_is_folded(viewer, large):
    page = markup(viewer.get(page_of(large)))
    assert page.count("<progress") == 1 + 50 + 100
    assert page.count(f'<details id="bar-{key("g2")}" open>') == 1
    assert page.count(f'<details id="bar-{key("g3")}">') == 1
    assert f'<a href="?open={key("g3")}#bar-{key("g3")}"' in page
    assert '<a href="?progress=all#progress-heading">Show all 5051 bars</a>' in page
    assert len(page) < 200_000


def test_the_link_of_a_folded_branch_opens_it_without_a_script(viewer, large):
    first, second = key("g3"), key("g7")
    page = markup(viewer.get(page_of(large, f"?open={first}")))
    assert page.count("<progress") == 1 + 50 + 200
    # And the next link keeps it open.
    assert f'<a href="?open={first}.{second}#bar-{second}"' in page
    page = markup(viewer.get(page_of(large, f"?open={first}.{second}")))
    assert page.count("<progress") == 1 + 50 + 300


def parts_of(page):
    (nav,) = re.findall(r'<nav class="jc-pages" aria-label="Pages of bars">(.*?)</nav>', page, re.S)
    return [html.unescape(address) for address in re.findall(r'href="([^"]*)"', nav)]


def test_all_bars_are_shown_in_parts_when_they_are_asked_for(viewer, large):
    seen = []
    for number in range(1, PARTS + 1):
        page = markup(viewer.get(page_of(large, f"?progress=all&page={number}")))
        assert page.count("<ul") == page.count("</ul>")
        assert page.count("<details") == page.count("</details>")
        assert "jc-unloaded" not in page
        assert page.count("<progress") <= UNFOLDED + 2
        seen += re.findall(r">p(\d+)<", page)
    assert seen == [str(n) for n in range(5_000)]


def test_a_part_of_the_bars_says_below_which_they_are_and_leads_to_the_others(viewer, large):
    page = markup(viewer.get(page_of(large, "?progress=all&page=2&live=old")))
    assert re.findall('jc-bar-name">(.*?)<', page)[:3] == ["Total", "g2", f"p{UNFOLDED - 4}"]
    addresses = parts_of(page)
    assert addresses[0] == "?progress=all&page=1#progress-heading"
    assert addresses[-1] == f"?progress=all&page={PARTS}#progress-heading"
    assert ">p4999<" in markup(viewer.get(page_of(large, f"?progress=all&page={PARTS}")))
    assert ">p4999<" in markup(viewer.get(page_of(large, "?progress=all&page=99999")))


def test_a_branch_is_sent_by_itself(viewer, large, django_assert_max_num_queries):
    with django_assert_max_num_queries(8):
        response = viewer.get(branch_of(large, key("g3")))
    page = markup(response)
    assert page.startswith("<ul>")
    assert page.count("<li>") == page.count("</li>") == page.count("<progress") == 100
    assert "p399" in page
    assert "<html" not in page


def test_the_whole_tree_is_unfolded_as_far_as_a_page_bears(viewer, large):
    page = markup(viewer.get(branch_of(large, key(), "&open=all")))
    assert 150 <= page.count("<progress") <= UNFOLDED
    assert page.count("<ul") == page.count("</ul>")


@pytest.mark.parametrize("branch", ["", "nothing", "0" * 5_000, "%00", "<b>"])
def test_a_branch_that_there_is_not_is_not_found(viewer, large, branch):
    assert viewer.get(branch_of(large, branch)).status_code == 404


@pytest.mark.parametrize("opened", ["...", "<script>", "all." * 2_000, "%00", "é"])
def test_odd_wishes_do_no_harm(viewer, large, opened):
    response = viewer.get(page_of(large, f"?open={opened}"))
    assert response.status_code == 200
    assert b"<script>." not in response.content


def test_a_branch_is_for_those_who_may_see_builds(staff, viewer, large):
    assert staff("jobs.view_job").get(branch_of(large, key())).status_code == 403
    assert viewer.post(branch_of(large, key())).status_code == 405
    missing = reverse("admin:builds_build_progress", args=[large.pk + 1])
    assert viewer.get(missing).status_code == 404
