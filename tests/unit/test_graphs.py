"""The dependency graph: what is drawn of which jobs, and that nothing in them becomes markup."""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from xml.etree import ElementTree as ET

import pytest

from builds import pictures
from builds.graphs import MAX_EDGES, MAX_NODES, Graph, Group, Node

SVG = "{http://www.w3.org/2000/svg}"
BASE = "https://jobs.example.org"

HOSTILE = [
    "<b>bold</b>",
    "<<script>alert(1)</script>>",
    "</title><script>alert(1)</script>",
    "a & b &amp; c &lt;",
    "quotes \" and ' and `",
    "\\N \\L \\G \\",
    "two\nlines\r\nand\ttabs",
    "\u202eright to left\u2066",
    "עברית عربى 日本 ü 😀",
    "\x00\x01\x1b[31m\ud800\uffff",
    "%3",
    "-->",
    "n0->n1",
    "x" * 200,
    "]]>",
    " ",
]


@pytest.fixture(autouse=True)
def _nothing_kept():
    pictures.forget()


def node(job_id, **kwargs):
    return Node(id=job_id, url=f"/jobs/{job_id}/", **kwargs)


def chain(*ids):
    return Graph.of([node(job_id) for job_id in ids], zip(ids, ids[1:], strict=False))


def inline_svg(graph):
    return pictures.picture(graph).svg


def links(text):
    """The links of an SVG in their order: address, tooltip, lines."""
    root = ET.fromstring(text)
    found = []
    for element in root.iter():
        if element.tag.removeprefix(SVG) == "a":
            lines = [part.text for part in element.iter() if part.tag.removeprefix(SVG) == "text"]
            title = next(part.text for part in element if part.tag.removeprefix(SVG) == "title")
            found.append((element.get("href"), title, lines))
    return found


def test_a_picture_has_a_link_a_tooltip_and_the_state_in_words_for_each_job():
    graph = Graph.of(
        [
            node("crawl", title="Crawl the site", status="success", running=True),
            node("report", status="outdated", protected=True, remarks=("newer build #2 of crawl",)),
        ],
        [("crawl", "report")],
    )
    assert links(inline_svg(graph)) == [
        (
            "/jobs/crawl/",
            "Crawl the site (crawl): success, running",
            ["Crawl the site", "crawl", "✓ success · ▶ running"],
        ),
        (
            "/jobs/report/",
            "report: outdated, protected\nnewer build #2 of crawl",
            ["report", "↻ outdated · protected"],
        ),
    ]
    assert "<title>report needs Crawl the site</title>" in inline_svg(graph)


def test_what_runs_first_stands_left():
    places = re.findall(r'<text[^>]* x="([\d.]+)"[^>]*>(\w+)</text>', file_of(chain("a", "b", "c")))
    at = {name: float(x) for x, name in places if len(name) == 1}
    assert at["a"] < at["b"] < at["c"]


def file_of(graph, file_format="svg"):
    return pictures.file(graph, file_format, base=BASE).decode()


def test_the_states_are_classes_for_the_style_sheet_and_colours_of_a_file():
    graph = Graph.of([node("a", status="not_built", running=True, is_chosen=True)], [])
    text = inline_svg(graph)
    assert 'class="jc-node jc-node-not-built jc-node-running jc-node-chosen"' in text
    assert 'stroke-width="3"' in file_of(graph)
    assert 'fill="#eaeef2"' in file_of(graph)


def test_a_file_has_whole_addresses_and_a_background_and_the_page_has_neither():
    graph = chain("a", "b")
    assert [href for href, _, _ in links(file_of(graph))] == [f"{BASE}/jobs/a/", f"{BASE}/jobs/b/"]
    assert 'fill="white"' in file_of(graph)
    assert 'fill="white"' not in inline_svg(graph)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup_or_an_escape_of_graphviz(text):
    graph = Graph.of(
        [node("first", title=text, remarks=(text,)), Node(id=text, url="/x/"), node("last")],
        [("first", text), (text, "last")],
    )
    for picture in (inline_svg(graph), file_of(graph)):
        assert "<script" not in picture
        shown = links(picture)
        assert len(shown) == 3
        visible = " ".join(re.sub(r"[\x00-\x1f\u202e\u2066\ud800\uffff]+", " ", text).split())
        _, tooltip, lines = shown[1]
        assert "".join(lines[:-1]).replace(" ", "") == visible.replace(" ", "") or (
            len(visible) > 40 and lines[-2].endswith("…")
        )
        assert lines[-1] == "○ not built"
        assert tooltip.startswith(visible[:199])
    assert pictures.file(graph, "png", base="").startswith(b"\x89PNG")
    assert file_of(graph, "dot").rstrip().endswith("}")


def test_nothing_but_shapes_texts_and_our_links_gets_through():
    nodes = [Node(id=t, title=t, url="/x/", around_url="/y/", group="g") for t in HOSTILE]
    for group in (Group(HOSTILE[1], HOSTILE[2], url="/z/"), Group("g", HOSTILE[0], True, "/z/")):
        graph = Graph.of(nodes, zip(HOSTILE, HOSTILE[1:], strict=False), [group])
        for text in (inline_svg(graph), file_of(graph)):
            root = ET.fromstring(text)
            tags = {element.tag.removeprefix(SVG) for element in root.iter()}
            assert tags <= {"svg", "g", "a", "title", "rect", "text", "path", "polygon", "circle"}
            names = {name for element in root.iter() for name in element.attrib}
            assert not [name for name in names if name.startswith(("on", "style", "id", "{"))]
            assert "javascript:" not in text


def test_titles_and_reasons_of_any_length_are_cut():
    graph = Graph.of([node("a", title="T" * 1_000_000, remarks=("R" * 1_000_000,) * 100)], [])
    text = inline_svg(graph)
    assert len(text) < 6_000
    assert "and 95 more reasons" in text


def test_dot_names_jobs_states_and_addresses():
    text = file_of(chain("a", "b"), "dot")
    assert "job=b" in text
    assert f'URL="{BASE}/jobs/b/"' in text
    assert "n0 -> n1" in text
    assert "not built" in text


def test_only_jobs_of_the_graph_have_arrows_and_each_pair_one():
    graph = Graph.of([node("a"), node("b")], [("a", "b"), ("a", "b"), ("a", "x"), ("x", "b")])
    assert graph.edges == (("a", "b"),)
    assert [other.id for other in graph.needs["b"]] == ["a"]


def test_equal_graphs_are_laid_out_once_whatever_the_states_of_their_jobs(monkeypatch):
    drawn = []
    run = pictures._run
    monkeypatch.setattr(pictures, "_run", lambda document: drawn.append(1) or run(document))
    inline_svg(chain("a", "b"))
    inline_svg(chain("a", "b"))
    file_of(chain("a", "b"))
    assert len(drawn) == 1
    failed = Graph.of([node("a", status="failed"), node("b")], [("a", "b")])
    assert "jc-node-failed" in inline_svg(failed)
    assert len(drawn) == 1
    inline_svg(Graph.of([node("a", title="Another"), node("b")], [("a", "b")]))
    assert len(drawn) == 2


def test_who_asks_while_a_graph_is_drawn_gets_that_drawing(monkeypatch):
    begun, go_on, drawn = Event(), Event(), []
    run = pictures._run

    def slowly(document):
        drawn.append(1)
        begun.set()
        go_on.wait(20)
        return run(document)

    monkeypatch.setattr(pictures, "_run", slowly)
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(inline_svg, chain("a", "b"))
        assert begun.wait(20)
        others = [threads.submit(inline_svg, chain("a", "b")) for _ in range(2)]
        go_on.set()
        assert {other.result(20) for other in others} == {first.result(20)}
    assert len(drawn) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"title": "t"},
        {"status": "failed"},
        {"running": True},
        {"protected": True},
        {"retired": True},
        {"is_chosen": True},
        {"remarks": ("why",)},
    ],
)
def test_everything_that_is_shown_decides_the_digest(change):
    assert Graph.of([node("a", **change)], []).digest != chain("a").digest
    assert chain("a").digest == chain("a").digest
    both = [node("a"), node("b")]
    assert Graph.of(both, [("a", "b")]).digest != Graph.of(both, [("b", "a")]).digest


def test_a_large_graph_is_not_drawn_but_can_be_taken_as_dot():
    ids = [f"job{i}" for i in range(MAX_NODES + 1)]
    large = chain(*ids)
    for make in (inline_svg, lambda g: pictures.file(g, "png", base="")):
        with pytest.raises(pictures.NoPicture, match=r"1,001 jobs .* too many .* \.dot"):
            make(large)
    assert "n999 -> n1000" in file_of(large, "dot")
    nodes = [node(str(i)) for i in range(70)]
    pairs = [(a.id, b.id) for i, a in enumerate(nodes) for b in nodes[i + 1 :]]
    assert len(pairs) > MAX_EDGES
    with pytest.raises(pictures.NoPicture, match="too many"):
        inline_svg(Graph.of(nodes, pairs))


@pytest.mark.timeout(60)
def test_three_hundred_jobs_are_drawn():
    ids = [f"job-{i}" for i in range(300)]
    pairs = [(ids[i // 3], ids[i]) for i in range(1, 300)] + list(zip(ids[::7], ids[5::7]))
    graph = Graph.of([node(i, title=f"The job number {i}") for i in ids], pairs)
    assert len(links(inline_svg(graph))) == 300


def test_a_drawing_that_takes_too_long_is_ended_and_said(monkeypatch, tmp_path):
    program = tmp_path / "slow.py"
    program.write_text("import time\ntime.sleep(60)")
    monkeypatch.setattr(pictures, "_PROGRAM", program)
    monkeypatch.setattr(pictures, "DRAWING_SECONDS", 0.5)
    with pytest.raises(pictures.NoPicture, match="within 0.5 seconds"):
        inline_svg(chain("a", "b"))


@pytest.mark.parametrize("code", ["import os\nos.abort()", "raise ValueError('no fonts')", "pass"])
def test_a_drawing_that_crashes_takes_nothing_with_it(monkeypatch, tmp_path, caplog, code):
    program = tmp_path / "bad.py"
    program.write_text(code)
    with monkeypatch.context() as patched:
        patched.setattr(pictures, "_PROGRAM", program)
        with pytest.raises(pictures.NoPicture, match="log says why"):
            inline_svg(chain("a", "b"))
    assert "drawing a graph ended" in caplog.text
    assert links(inline_svg(chain("a", "b")))


def test_while_another_graph_is_drawn_a_request_waits_and_then_says_so(monkeypatch):
    monkeypatch.setattr(pictures, "DRAWING_SECONDS", 0.1)
    with pictures._drawing, pytest.raises(pictures.NoPicture, match="try again"):
        inline_svg(chain("a", "b"))


def test_the_program_that_draws_gets_no_secret_of_the_site(monkeypatch):
    seen = {}

    def run(command, **options):
        seen.update(options["env"])
        return subprocess.CompletedProcess(command, 1, b"", b"")

    monkeypatch.setenv("SECRET_KEY", "x")
    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(pictures.NoPicture):
        inline_svg(chain("a", "b"))
    assert "PATH" in seen
    assert not {"SECRET_KEY", "DATABASE_URL"} & set(seen)


def test_the_cache_keeps_what_was_used_last_within_its_bound():
    cache = pictures.Cache(10)
    cache.put(("a",), b"12345")
    cache.put(("b",), b"12345")
    assert cache.get(("a",))
    cache.put(("c",), b"1")
    assert cache.get(("b",)) is None
    assert cache.get(("a",)) == b"12345"
    cache.put(("d",), b"x" * 11)
    assert cache.get(("d",)) is None
    cache.put(("a",), b"1")
    cache.put(("e",), b"12345678")
    assert cache.get(("a",)) == cache.get(("c",)) == b"1"
