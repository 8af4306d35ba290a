"""The pages of the dependency graph, and its files."""

import html
import json
import re

import pytest
from django.contrib.admin.utils import quote
from django.urls import reverse
from django.utils.html import escape

from builds import context_processors, pictures
from builds.models import Build
from builds.pages import graph as pages
from jobs.models import Job
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)

ODD_ID = "a/\"<b>&amp;'😀"
CONFIG = f"""
jobs:
  - {{id: crawl, title: "Crawl <i>all</i>", tags: [x], function: "tests.support.odd_jobs:value"}}
  - {{id: clean, tags: [x, y], function: "tests.support.odd_jobs:value", dependencies: [crawl]}}
  - {{id: report, function: "tests.support.odd_jobs:value", args: [!retval clean]}}
  - {{id: other, protect: true, function: "tests.support.odd_jobs:value", dependencies: [crawl]}}
  - id: '{ODD_ID.replace("'", "''")}'
    function: "tests.support.odd_jobs:value"
  - {{id: {"long-" * 40}, function: "tests.support.odd_jobs:value"}}
"""
ALL = "/admin/jobs/job/graph/"


@pytest.fixture(autouse=True)
def config(transactional_db):
    pictures.forget()
    use_config(CONFIG)


def page_of(job_id, name="graph/"):
    return f"/admin/jobs/job/{quote(job_id)}/{name}"


def picture(response):
    whole = r'<svg [^>]*class="jc-graph-svg".*?</svg>(?=\s*</div>)'
    return re.search(whole, response.content.decode(), re.S)[0]


def drawn(response):
    """The jobs of the picture: the end of each link's address → its tooltip."""
    found = re.findall(r'<a href="/admin/jobs/job/([^"]*)/change/"[^>]*><title>(.*?)</title>',
                       picture(response), re.S)  # fmt: skip
    return dict(found)


def rows(response):
    whole = r'<table class="jc-graph-list jc-cards">.*</table>'
    table = re.search(whole, response.content.decode(), re.S)
    found = re.findall(r"<tr>.*?</tr>", table[0], re.S)[1:]
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in found]


def test_the_graph_of_all_shows_every_job_of_the_file_where_it_stands(viewer):
    """original #31: the graph"""
    build("crawl")
    Build.objects.create(job_id="clean", status="RUNNING")
    jobs = drawn(viewer.get(ALL))
    assert len(jobs) == 6
    assert jobs["crawl"] == "Crawl &lt;i&gt;all&lt;/i&gt; (crawl): success"
    assert jobs["clean"] == "clean: not built, running"
    assert jobs["report"] == "report: not built\nneeds a build of clean"
    assert jobs["other"] == "other: not built, protected"


def test_the_graph_of_a_job_shows_its_ancestors_and_descendants(viewer):
    assert set(drawn(viewer.get(page_of("clean")))) == {"crawl", "clean", "report"}
    assert set(drawn(viewer.get(page_of("crawl")))) == {"crawl", "clean", "report", "other"}
    assert set(drawn(viewer.get(page_of("other")))) == {"crawl", "other"}
    chosen = r'class="jc-node jc-node-not-built jc-node-chosen"[^>]*><a [^>]*><title>clean:'
    assert re.search(chosen, picture(viewer.get(page_of("clean"))))


def test_arrows_lead_from_what_is_needed_to_what_needs_it(viewer):
    found = arrows(viewer.get(ALL))
    crawl = "Crawl &lt;i&gt;all&lt;/i&gt;"
    assert found == [f"clean needs {crawl}", f"other needs {crawl}", "report needs clean"]
    dot = viewer.get("/admin/jobs/job/graph.dot").content.decode()
    assert re.findall(r"n\d -> n\d", dot) == ["n0 -> n1", "n0 -> n3", "n1 -> n2"]


def test_the_same_stands_in_a_list_for_those_who_see_no_picture(viewer):
    build("crawl")
    lines = rows(viewer.get(page_of("report")))
    assert lines == [
        "Crawl &lt;i&gt;all&lt;/i&gt; crawl graph around it success –",
        "clean graph around it not built Crawl &lt;i&gt;all&lt;/i&gt; crawl",
        "report not built needs a build of clean clean",
    ]


@pytest.mark.parametrize("job_id", [ODD_ID, "long-" * 40])
def test_jobs_of_any_id_have_a_graph_and_working_links(viewer, job_id):
    response = viewer.get(page_of(job_id))
    assert list(drawn(response)) == [reverse("admin:jobs_job_change", args=[quote(job_id)])[16:-8]]
    assert viewer.get(reverse("admin:jobs_job_change", args=[quote(job_id)])).status_code == 200
    for file_format in pictures.CONTENT_TYPES:
        link = reverse("admin:jobs_job_graph_file", args=[quote(job_id), file_format])
        assert f'href="{escape(link)}"' in response.content.decode()
        assert viewer.get(link).status_code == 200


def test_a_retired_job_still_has_its_graph_but_is_not_in_that_of_all(viewer):
    use_config(CONFIG.replace("id: other,", "id: another,"))
    assert Job.objects.get(pk="other").retired
    assert "other" not in drawn(viewer.get(ALL))
    assert "protected, retired" in drawn(viewer.get(page_of("other")))["other"]


def test_a_tag_chooses_jobs_and_goes_with_the_files(viewer):
    response = viewer.get(f"{ALL}?tag=x")
    assert set(drawn(response)) == {"crawl", "clean"}
    assert set(drawn(viewer.get(f"{ALL}?tag=x&tag=y"))) == {"clean"}
    assert 'href="/admin/jobs/job/graph.svg?tag=x"' in response.content.decode()
    assert b"report" not in viewer.get("/admin/jobs/job/graph.dot?tag=x").content
    nothing = viewer.get(f"{ALL}?tag=%3Cb%3E")
    assert "No job carries &lt;b&gt;." in nothing.content.decode()
    assert "Show all jobs" in nothing.content.decode()


@pytest.mark.parametrize(
    ("file_format", "content_type", "start"),
    [
        ("svg", "image/svg+xml", b"<?xml"),
        ("png", "image/png", b"\x89PNG"),
        ("dot", "text/vnd.graphviz; charset=utf-8", b"strict digraph"),
    ],
)
def test_files_can_be_taken_away_with_links_to_this_site(viewer, file_format, content_type, start):
    response = viewer.get(f"/admin/jobs/job/graph.{file_format}")
    assert response.headers["Content-Type"] == content_type
    expected = f'attachment; filename="jobs.{file_format}"'
    assert response.headers["Content-Disposition"] == expected
    assert response.content.startswith(start)
    if file_format != "png":
        assert b"http://testserver/admin/jobs/job/crawl/change/" in response.content


def test_an_unchanged_file_is_not_sent_again_and_no_proxy_keeps_it(viewer):
    link = "/admin/jobs/job/graph.svg"
    first = viewer.get(link)
    assert set(first.headers["Cache-Control"].split(", ")) == {"private", "no-cache"}
    assert "Cookie" in first.headers["Vary"]
    again = viewer.get(link, headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    build("crawl")
    changed = viewer.get(link, headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200


def test_what_is_not_there_is_said(viewer):
    assert viewer.get("/admin/jobs/job/graph.exe").status_code == 404
    assert viewer.get(page_of("nobody", "graph.svg")).status_code == 404
    response = viewer.get(page_of("nobody"), follow=True)
    assert "doesn’t exist" in response.content.decode()


def test_without_jobs_the_page_says_what_to_do(viewer):
    use_config("jobs: []")
    text = viewer.get(ALL).content.decode()
    assert "declare some in the configuration file" in text
    assert "jc-graph-svg" not in text


def test_too_many_jobs_are_listed_and_offered_as_dot(viewer, monkeypatch):
    monkeypatch.setattr("builds.layouts.MAX_NODES", 3)
    monkeypatch.setattr(pages, "LISTED", 2)
    response = viewer.get(ALL)
    text = response.content.decode()
    assert "6 jobs with 3 dependencies are too many for a picture" in text
    assert len(rows(response)) == 2
    assert "Jobs 1 to 2 of 6" in text
    assert [row[:5] for row in rows(viewer.get(f"{ALL}?p=2"))] == ["repor", "other"]
    refused = viewer.get("/admin/jobs/job/graph.png")
    assert refused.status_code == 422
    assert "too many" in refused.content.decode()
    assert viewer.get("/admin/jobs/job/graph.dot").status_code == 200


def test_a_failing_program_does_not_break_the_page(viewer, monkeypatch, tmp_path):
    program = tmp_path / "bad.py"
    program.write_text("raise SystemExit(3)")
    monkeypatch.setattr(pictures, "_PROGRAM", program)
    response = viewer.get(ALL)
    assert "could not be drawn" in response.content.decode()
    assert len(rows(response)) == 6


def test_the_picture_can_be_fitted_to_the_page(viewer):
    assert "jc-graph-fits" not in viewer.get(ALL).content.decode()
    response = viewer.get(f"{ALL}?tag=x&fit=1").content.decode()
    assert "jc-graph-fits" in response
    assert 'href="?tag=x#graph"' in response
    assert 'href="?tag=x&amp;fit=1#graph"' in viewer.get(f"{ALL}?tag=x&live=1").content.decode()


def test_who_may_not_see_jobs_sees_no_graph(staff, client):
    nobody = staff("builds.view_build")
    for address in (ALL, page_of("crawl"), "/admin/jobs/job/graph.svg", page_of("x", "graph.dot")):
        assert nobody.get(address).status_code == 403
        assert client.get(address).status_code == 302


def test_the_graph_can_only_be_read(viewer):
    assert viewer.post(ALL).status_code == 405
    assert viewer.post("/admin/jobs/job/graph.svg").status_code == 405


def test_queries_stay_few_whatever_the_number_of_jobs(
    viewer, django_assert_max_num_queries, monkeypatch
):
    # What a process looks up every few seconds is looked up once, however slow the machine is.
    monkeypatch.setattr(context_processors, "REMEMBERED_SECONDS", 3_600)
    context_processors.forget()
    ids = [f"j{i}" for i in range(200)]
    blocks = "\n".join(
        f"  - {{id: {i}, function: 'm:f', dependencies: [{', '.join(ids[max(0, n - 2) : n])}]}}"
        for n, i in enumerate(ids)
    )
    use_config(f"jobs:\n{blocks}")
    for address in (ALL, page_of("j100"), f"{ALL}?group=tag&q=j1", f"{ALL}?live=x&q=j1"):
        with django_assert_max_num_queries(15):
            assert viewer.get(address).status_code == 200


# --- Groups ---------------------------------------------------------------------------------------

TAGGED = """
jobs:
  - {id: a, title: "First", tags: ["x <b>"], function: "tests.support.odd_jobs:value"}
  - {id: b, tags: [y, "x <b>"], dependencies: [a], function: "tests.support.odd_jobs:value"}
  - {id: c, tags: [y], dependencies: [a, b], function: "tests.support.odd_jobs:value"}
  - {id: d, function: "tests.support.odd_jobs:value"}
"""


def toggles(response):
    """The groups of a picture: the key of each, and where a click leads."""
    found = re.findall(
        r'<a class="jc-toggle" data-group="([^"]*)" href="([^"]*)">', picture(response)
    )
    return {html.unescape(key): html.unescape(address) for key, address in found}


def arrows(response):
    found = re.findall(r'<g class="jc-edge"[^>]*><title>([^<]*)</title>', picture(response))
    return sorted(found)


def test_jobs_are_grouped_by_their_first_tag(viewer):
    use_config(TAGGED)
    build("a")
    response = viewer.get(f"{ALL}?group=tag")
    assert list(toggles(response)) == ["tag:x <b>", "tag:y", "none"]
    assert set(drawn(response)) == {"a", "b", "c", "d"}
    assert arrows(response) == ["b needs First", "c needs First", "c needs b"]
    text = response.content.decode()
    assert "x <b>" not in text
    assert "x &lt;b&gt;" in text
    assert "A job with several tags stands with the first of them." in text


def test_a_folded_group_counts_its_jobs_and_keeps_their_arrows(viewer):
    use_config(TAGGED)
    build("a")
    first = viewer.get(f"{ALL}?group=tag")
    folded = viewer.get(ALL + toggles(first)["tag:y"])
    assert set(drawn(folded)) == {"a", "d"}
    assert arrows(folded) == ["b needs First\nc needs First"]
    assert "<title>Open y, 2 jobs: ○ 2 not built</title>" in picture(folded)
    again = viewer.get(ALL + toggles(folded)["tag:y"])
    assert set(drawn(again)) == {"a", "b", "c", "d"}
    everything = viewer.get(f"{ALL}?group=tag&fold=all")
    assert drawn(everything) == {}
    assert ">1 job</text>" in picture(everything)
    assert ">✓ 1 success</text>" in picture(everything)
    assert set(drawn(viewer.get(f"{ALL}?group=tag&fold=all&but=tag:y&but=gone"))) == {"b", "c"}


def test_a_folded_graph_goes_into_the_files_too(viewer):
    use_config(TAGGED)
    response = viewer.get(f"{ALL}?group=tag&fold=all")
    assert 'href="/admin/jobs/job/graph.svg?group=tag&amp;fold=all"' in response.content.decode()
    file = viewer.get("/admin/jobs/job/graph.svg?group=tag&fold=all").content.decode()
    assert "▸ y" in file
    assert viewer.get("/admin/jobs/job/graph.png?group=tag&fold=all").content[:4] == b"\x89PNG"


def test_too_many_jobs_stand_in_folded_groups_and_the_page_says_what_to_do(viewer, monkeypatch):
    monkeypatch.setattr(pages, "MAX_NODES", 3)
    monkeypatch.setattr(pages, "FOLDED_ABOVE", 3)
    use_config(TAGGED)
    response = viewer.get(ALL)
    assert "4 jobs with 3 dependencies are too many to be drawn one by one" in response.text
    assert "choose a tag, search, or open the graph of one job" in response.text
    assert set(toggles(response)) == {"tag:x <b>", "tag:y", "none"}
    assert drawn(response) == {}


# --- Looking for jobs -----------------------------------------------------------------------------


def test_a_search_leaves_what_matches_and_its_neighbours(viewer):
    response = viewer.get(f"{ALL}?q=REP")
    assert set(drawn(response)) == {"clean", "report"}
    marked = r'class="jc-node jc-node-not-built jc-node-found"[^>]*><a [^>]*><title>(\w+):'
    assert re.findall(marked, picture(response)) == ["report"]
    assert "1 job with “REP” in the id or title" in response.text
    assert set(drawn(viewer.get(f"{ALL}?q=all<%2Fi>"))) == {"crawl", "clean", "other"}
    assert set(drawn(viewer.get(f"{ALL}?q=report&steps=2"))) == {"crawl", "clean", "report"}
    assert set(drawn(viewer.get(f"{ALL}?q=e&tag=y"))) == {"crawl", "clean", "report"}
    nothing = viewer.get(f"{ALL}?q=%3Cb%3Ezebra")
    assert "No job has “&lt;b&gt;zebra” in its id or title." in nothing.text
    assert viewer.get(f"{ALL}?q=%00&steps=x&way=x&but=%00&p=x&fold=x").status_code == 200


def test_what_is_around_a_job_is_bounded_by_direction_and_steps(viewer):
    def around(question):
        return set(drawn(viewer.get(page_of("report") + question)))

    assert around("?way=down") == {"report"}
    assert around("?steps=1") == {"clean", "report"}
    assert set(drawn(viewer.get(page_of("clean") + "?way=up"))) == {"crawl", "clean"}
    text = viewer.get(page_of("clean") + "?way=up&steps=2").text
    assert '<option value="up" selected>' in text
    assert '<option value="2" selected' in text


# --- Live -----------------------------------------------------------------------------------------


def refresh(viewer, address, **parameters):
    return viewer.get(address, {**parameters}, headers={"HX-Request": "true"})


def test_an_open_page_is_given_states_alone_while_its_picture_is_right(viewer):
    build("crawl")
    page = viewer.get(ALL)
    shape = re.search(r'data-drawn="(\w+)"', page.text)[1]
    first = refresh(viewer, ALL, live="", drawn=shape)
    assert "graph-picture" not in first.text
    assert "jc-graph-svg" not in first.text
    states = json.loads(re.search(r'id="graph-states"[^>]*>([^<]*)<', first.text)[1])["states"]
    assert states["n0"] == {
        "c": "jc-node-success",
        "s": ["✓ success"],
        "t": "Crawl <i>all</i> (crawl): success",
    }
    stamp = first.headers["X-Live-Stamp"]
    assert refresh(viewer, ALL, live=stamp, drawn=shape).status_code == 204
    Build.objects.create(job_id="clean", status="RUNNING")
    news = refresh(viewer, ALL, live=stamp, drawn=shape)
    states = json.loads(re.search(r'id="graph-states"[^>]*>([^<]*)<', news.text)[1])["states"]
    assert states["n1"]["c"] == "jc-node-not-built jc-node-running"
    assert news.headers["X-Live-Every"] == "3"
    use_config(CONFIG.replace("id: other,", "id: another,"))
    assert "jc-graph-svg" in refresh(viewer, ALL, live=stamp, drawn=shape).text


def test_a_new_state_is_laid_over_the_same_layout(viewer, monkeypatch):
    viewer.get(ALL)
    monkeypatch.setattr(pictures, "_run", lambda _: pytest.fail("laid out again"))
    build("crawl")
    assert drawn(viewer.get(ALL))["crawl"].endswith("success")


def test_names_in_folded_groups_can_be_found(viewer):
    use_config(TAGGED)
    page = viewer.get(f"{ALL}?group=tag&fold=all").text
    given = json.loads(re.search(r'id="graph-states"[^>]*>([^<]*)<', page)[1])
    assert given["names"]["g0"] == ["First\na"]
    assert given["names"]["g1"] == ["b\nb", "c\nc"]
