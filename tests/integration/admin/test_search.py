"""The search of the whole site: what it finds, for whom, how far it looks, and what it asks."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from builds.models import Build
from builds.pages import search as searching
from builds.pages.search import Question, excerpt
from builds.plan_models import Plan
from tests.support.jobs import use_config
from tests.support.pages import NASTY, text

pytestmark = pytest.mark.django_db

HERE = "/admin/search/"
CONFIG = """
jobs:
  - {id: crawl, title: "Crawl the shop", tags: [nightly], function: "tests.support.odd_jobs:value"}
  - {id: crawl_2, title: "100% of it", function: "tests.support.odd_jobs:value"}
  - {id: "12", title: "A job with a number", function: "tests.support.odd_jobs:value"}
  - {id: "<b>odd</b>", function: "tests.support.odd_jobs:value"}
"""


@pytest.fixture(autouse=True)
def jobs(db):
    use_config(CONFIG)


@pytest.fixture
def reader(staff):
    return staff("jobs.view_job", "builds.view_build", "builds.view_plan")


def failed(message: str, kind: str = "ValueError", job: str = "crawl", **more) -> Build:
    return Build.objects.create(
        job_id=job,
        status="FAILED",
        end_time=timezone.now(),
        exception_type=kind,
        exception_message=message,
        **more,
    )


def find(client, q: str, **more: object):
    return client.get(HERE, {"q": q, **more})


def jobs_of(response) -> list[str]:
    return [job.pk for job in response.context["jobs"]["lines"]]


def builds_of(response) -> list[int]:
    return [line.build.pk for line in response.context["failures"].lines]


# --- Numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["{}", "#{}", " # {} "])
def test_a_number_leads_to_its_build(reader, typed):
    made = failed("no")
    response = find(reader, typed.format(made.pk))
    assert (response.status_code, response.url) == (302, f"/admin/builds/build/{made.pk}/change/")


def test_a_number_of_a_build_and_a_plan_offers_both(reader):
    made = failed("no")
    Plan.objects.create(pk=made.pk, job_id="crawl")
    page = find(reader, f"#{made.pk}")
    assert f"Build #{made.pk} FAILED of Crawl the shop" in text(page)
    assert f'href="/admin/builds/plan/{made.pk}/change/"' in page.text


def test_a_number_of_a_plan_or_of_a_job_alone_leads_there(reader):
    Plan.objects.create(pk=77, job_id="crawl")
    assert find(reader, "77").url == "/admin/builds/plan/77/change/"
    assert find(reader, "12").url == "/admin/jobs/job/12/change/"


def test_a_number_between_quotes_is_a_text(reader):
    made = failed("never")
    other = failed(f"answered {made.pk}")
    page = find(reader, f'"{made.pk}"')
    assert other.pk in builds_of(page)


@pytest.mark.parametrize("typed", ["0", "9" * 19, "9" * 30, "#", "-1", "１２"])
def test_a_number_of_nothing_is_a_search(reader, typed):
    assert find(reader, typed).status_code == 200


# --- Jobs -----------------------------------------------------------------------------------------


def test_the_job_of_that_very_id_comes_first(reader):
    assert jobs_of(find(reader, "crawl_2")) == ["crawl_2"]
    assert jobs_of(find(reader, "crawl")) == ["crawl", "crawl_2"]
    assert jobs_of(find(reader, "CRAWL shop")) == ["crawl"]
    assert jobs_of(find(reader, "nightly")) == ["crawl"]


@pytest.mark.parametrize(
    ("typed", "found"),
    [("%", ["crawl_2"]), ("_", ["crawl_2"]), ("c_awl", []), ("cr%l", []), ("\\", [])],
)
def test_what_databases_take_for_wildcards_is_plain_text(reader, typed, found):
    assert jobs_of(find(reader, typed)) == found


def test_more_jobs_than_are_shown_lead_to_the_list(reader, monkeypatch):
    monkeypatch.setattr(searching, "JOBS_SHOWN", 1)
    page = find(reader, "crawl")
    assert jobs_of(page) == ["crawl"]
    assert 'href="/admin/jobs/job/?q=crawl"' in page.text


# --- Errors ---------------------------------------------------------------------------------------


def test_errors_are_found_by_all_words_of_type_and_message(reader):
    pear = failed("'pear'", "KeyError")
    failed("'apple'", "KeyError")
    failed("no pear")
    assert builds_of(find(reader, "keyerror PEAR")) == [pear.pk]
    assert builds_of(find(reader, '"no pear" ValueError')) == [pear.pk + 2]
    assert builds_of(find(reader, '"pear no"')) == []


@pytest.mark.parametrize("typed", ["%", "_", "\\", "5%"])
def test_wildcards_in_errors_are_plain_text(reader, typed):
    hit = failed("only 5% of C:\\temp_dir")
    failed("nothing of it")
    assert builds_of(find(reader, typed)) == [hit.pk]


def test_other_builds_than_failed_ones_are_not_looked_at(reader):
    Build.objects.create(job_id="crawl", status="SKIPPED", exception_message="nothing new")
    assert builds_of(find(reader, "nothing new")) == []


def test_so_many_failures_are_looked_at_and_the_search_goes_on(reader, monkeypatch):
    monkeypatch.setattr(searching, "FAILURES_LOOKED_AT", 3)
    hit = failed("a pear")
    numbers = [failed("an apple").pk for _ in range(3)]
    page = find(reader, "pear")
    assert builds_of(page) == []
    assert "None of the newest 3 failed builds has it." in text(page)
    assert f'href="?q=pear&amp;before={numbers[0]}"' in page.text
    page = find(reader, "pear", before=numbers[0])
    assert builds_of(page) == [hit.pk]
    assert page.context["jobs"] is None
    assert "These are all that are older." in text(page)


def test_so_many_hits_end_it_and_the_search_goes_on(reader, monkeypatch):
    monkeypatch.setattr(searching, "FAILURES_SHOWN", 2)
    made = [failed("a pear").pk for _ in range(5)]
    seen, before = [], {}
    while True:
        page = find(reader, "pear", **before)
        seen += builds_of(page)
        if page.context["failures"].goes_on is None:
            break
        assert "It stopped after 2." in text(page)
        before = {"before": page.context["failures"].goes_on}
    assert seen == made[::-1]


def test_the_error_is_shown_around_what_was_found():
    message = "x " * 200 + "a Pear and a pear" + " y" * 500
    pieces = list(excerpt(message, ["pear"]))
    assert [piece for piece, is_hit in pieces if is_hit] == ["Pear", "pear"]
    shown = "".join(piece for piece, _ in pieces)
    assert shown.startswith("…x")
    assert shown.endswith("…")
    assert len(shown) <= searching.EXCERPT + 2


def test_nothing_that_is_shown_is_markup(reader):
    failed(NASTY + " here")
    page = find(reader, NASTY)
    assert NASTY not in page.text
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in page.text
    assert "<b>odd</b>" not in find(reader, "odd").text


ODD = ["%00", "a%00b", "%22", "%22%22", "';--", "a" * 5_000, "%ED%A0%80", "%FF", "é"]


@pytest.mark.parametrize("typed", ODD)
def test_odd_texts_are_borne(reader, typed):
    assert reader.get(f"{HERE}?q={typed}").status_code == 200


@pytest.mark.parametrize("before", ["", "x", "-1", "0", "9" * 30, "\x00"])
def test_odd_places_to_go_on_from_are_borne(reader, before):
    assert find(reader, "pear", before=before).status_code == 200


# --- Who sees what --------------------------------------------------------------------------------


def test_everybody_finds_what_they_may_see(staff):
    made = failed("a pear", job="12")
    Plan.objects.create(pk=made.pk, job_id="crawl")
    page = find(staff("jobs.view_job"), f"{made.pk}")
    assert page.context["build"] is page.context["plan"] is page.context["failures"] is None
    page = find(staff("builds.view_build"), "pear")
    assert page.context["jobs"] is None
    assert builds_of(page) == [made.pk]
    assert find(staff("builds.view_build"), f"{made.pk}").url.startswith("/admin/builds/build/")
    assert find(staff("builds.view_plan"), f"{made.pk}").url.startswith("/admin/builds/plan/")
    nothing = find(staff(), "pear")
    assert "You may see neither builds nor jobs" in text(nothing)
    assert nothing.context["failures"] is None


def test_who_is_not_logged_in_has_no_search(client):
    assert find(client, "x").url.startswith("/admin/login/")
    assert "jc-find" not in client.get("/admin/login/").text


def test_nothing_typed_tells_what_can_be_typed_and_one_s_own_builds(reader):
    own = failed("mine", requested_by=User.objects.get(pk=reader.user.pk))
    other = failed("not mine")
    page = reader.get(HERE)
    assert "KeyError pear" in text(page)
    assert f"Build #{own.pk}" in text(page)
    assert f"#{other.pk}" not in text(page)


# --- What it costs --------------------------------------------------------------------------------


def test_the_box_is_in_every_page_and_asks_nothing(reader, django_assert_num_queries):
    """Session, user, permissions: what any page asks; that of a password asks nothing else."""
    reader.get("/admin/password_change/")
    with CaptureQueriesContext(connection) as asked:
        page = reader.get("/admin/password_change/")
    assert 'role="search" action="/admin/search/"' in " ".join(page.text.split())
    tables = " ".join(one["sql"] for one in asked)
    assert "builds_build" not in tables
    assert "jobs_job" not in tables


def test_a_search_asks_few_questions(reader):
    for n in range(60):
        failed(f"a pear {n}", job=("crawl", "crawl_2", "12")[n % 3])
    with CaptureQueriesContext(connection) as asked:
        page = find(reader, "pear")
    assert len(builds_of(page)) == searching.FAILURES_SHOWN
    assert len(asked) <= 12, [one["sql"][:100] for one in asked]


def test_a_question_is_bounded():
    asked = Question.read("a " * 500 + '"b c"')
    assert asked.words == ("a",)
    assert len(Question.read(" ".join(map(str, range(500)))).words) <= searching.MAX_WORDS
