"""Walking the dependency graph."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright.sync_api import BrowserContext, Page, expect

import builds
from builds import pictures
from builds.graphs import Graph, Group, Node
from tests.browser.conftest import Running
from tests.browser.steps import main_of, open_job, quick_build

STATIC = Path(builds.__file__).parent / "static" / "builds"


def picture(page: Page):
    return page.get_by_role("region", name="Picture of the graph")


def test_the_graph_is_walked_from_job_to_job(page: Page):
    open_job(page, "Thrice the double")
    page.get_by_role("link", name="Graph", exact=True).click()
    for title in ("A number to start from", "Twice the number"):
        expect(picture(page).get_by_role("link", name=re.compile(f"^{title}"))).to_be_visible()
    expect(picture(page).get_by_role("link", name=re.compile("^Break a basket"))).to_have_count(0)
    picture(page).get_by_role("link", name=re.compile("^Twice the number")).click()
    expect(page).to_have_url(re.compile(r"/jobs/job/double/change/"))
    needs = page.get_by_role("region", name="Needs", exact=True)
    needs.get_by_role("link", name="A number to start from").click()
    expect(page).to_have_url(re.compile(r"/jobs/job/source/change/"))
    page.get_by_role("link", name="Graph", exact=True).click()
    page.get_by_role("link", name="Graph of all jobs").click()
    expect(picture(page).get_by_role("link", name=re.compile("^Break a basket"))).to_be_visible()


def test_the_graph_is_a_list_as_well(page: Page):
    page.goto("/admin/jobs/job/graph/")
    rows = page.get_by_role("row").filter(has_text="Thrice the double")
    rows.get_by_role("link", name="Twice the number").click()
    expect(page).to_have_url(re.compile(r"/jobs/job/double/change/"))


def test_an_odd_job_is_reached_through_the_graph(page: Page):
    page.goto("/admin/jobs/job/graph/")
    picture(page).get_by_role("link", name=re.compile("<script>alert")).first.click()
    expect(page).to_have_url(re.compile("change/"))
    assert "odd" in unquote(page.url)
    expect(main_of(page)).to_contain_text('odd/id "<b>&é')


@pytest.mark.parametrize(
    ("form", "begins"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("dot", b"digraph")]
)
def test_the_graph_is_downloaded(page: Page, form: str, begins: bytes):
    page.goto("/admin/jobs/job/graph/")
    with page.expect_download() as caught:
        page.get_by_role("link", name=f"Download .{form}").click()
    content = caught.value.path().read_bytes()
    assert content.startswith(begins) or begins in content[:400]


GROUPED = "/admin/jobs/job/graph/?group=tag"
SCALE = "document.getElementById('graph').dataset.scale"
SCROLL = "(({scrollLeft, scrollTop}) => [scrollLeft, scrollTop])(document.getElementById('graph'))"


def node(page: Page, name: str):
    return picture(page).locator(f'.jc-node:has(a[href="/admin/jobs/job/{name}/change/"])')


def test_states_change_while_the_readers_view_stays(page: Page, running: Running):
    running.close_gate("aisles")
    page.set_viewport_size({"width": 900, "height": 700})
    page.goto("/admin/jobs/job/graph/")
    page.get_by_label("Find", exact=True).fill("aisles")
    page.get_by_label("Find", exact=True).press("Enter")
    expect(node(page, "aisles")).to_have_class(re.compile("jc-current"))
    page.get_by_role("button", name="Larger").click()
    page.get_by_role("button", name="Larger").click()
    page.evaluate("document.querySelector('.jc-graph-svg').dataset.mark = 'the same'")
    node(page, "aisles").get_by_role("link").first.focus()
    before = page.evaluate(SCALE), page.evaluate(SCROLL)
    assert float(before[0]) > 1
    other = page.context.new_page()
    open_job(other, "Count the aisles")
    quick_build(other)
    expect(node(page, "aisles")).to_have_class(re.compile("jc-node-running"))
    expect(node(page, "aisles")).to_contain_text("▶ running")
    expect(page.locator("#graph-legend .jc-running strong")).not_to_have_text("0")
    running.open_gate("aisles")
    expect(node(page, "aisles")).not_to_have_class(re.compile("jc-node-running"))
    expect(node(page, "aisles")).to_have_class(re.compile("jc-node-success"))
    assert (page.evaluate(SCALE), page.evaluate(SCROLL)) == before
    assert page.evaluate("document.querySelector('.jc-graph-svg').dataset.mark") == "the same"
    expect(node(page, "aisles")).to_have_class(re.compile("jc-current"))
    assert "aisles" in page.evaluate("document.activeElement.getAttribute('href')")


def test_a_job_is_found_in_the_picture(page: Page):
    page.goto("/admin/jobs/job/graph/")
    find = page.get_by_label("Find", exact=True)
    find.fill("NUMBER")
    word = page.locator(".jc-graph-found")
    expect(word).to_have_text(re.compile(r"^\d+ found$"))
    find.press("Enter")
    expect(word).to_have_text(re.compile(r"^1 of \d+ found$"))
    first = picture(page).locator(".jc-current").get_attribute("data-node")
    find.press("Enter")
    expect(word).to_have_text(re.compile(r"^2 of \d+ found$"))
    assert picture(page).locator(".jc-current").get_attribute("data-node") != first
    expect(picture(page).locator(".jc-current")).to_be_in_viewport()
    find.press("Escape")
    expect(word).to_have_text("")
    find.fill("Twice the number")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page).to_have_url(re.compile("q=Twice"))
    expect(picture(page).locator(".jc-node-found")).to_have_count(1)
    expect(picture(page).locator(".jc-node")).to_have_count(3)


def test_a_group_is_folded_and_opened_in_place(page: Page, severe):
    page.goto(GROUPED)
    page.evaluate("document.body.dataset.mark = 'the same page'")
    page.get_by_role("button", name="Smaller").click()
    scale = page.evaluate(SCALE)
    group = picture(page).locator(".jc-toggle").first
    key = group.get_attribute("data-group")
    jobs = picture(page).locator(".jc-node").count()
    toggle = picture(page).locator(f'.jc-toggle[data-group="{key}"]')
    toggle.focus()
    page.keyboard.press("Enter")
    expect(picture(page).locator(".jc-folded")).to_have_count(1)
    expect(toggle).to_be_focused()
    assert picture(page).locator(".jc-node").count() <= jobs
    assert page.evaluate(SCALE) == scale
    assert severe(page) == []
    page.reload()
    expect(picture(page).locator(".jc-folded")).to_have_count(1)
    toggle.click()
    expect(picture(page).locator(".jc-folded")).to_have_count(0)
    expect(picture(page).locator(".jc-node")).to_have_count(jobs)


def test_the_picture_is_made_smaller_and_larger_by_keys(page: Page):
    page.goto("/admin/jobs/job/graph/")
    picture(page).focus()
    page.keyboard.press("0")
    assert page.evaluate(SCALE) == "1.000"
    page.keyboard.press("-")
    assert page.evaluate(SCALE) == "0.800"
    page.keyboard.press("+")
    assert page.evaluate(SCALE) == "1.000"
    page.keyboard.press("f")
    fits = "(one) => one.scrollWidth <= one.clientWidth && one.scrollHeight <= one.clientHeight"
    assert picture(page).evaluate(fits)
    picture(page).hover()
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    expect(picture(page)).not_to_have_attribute("data-scale", "1.000")


def test_without_scripts_the_graph_is_searched_folded_and_fitted(contexts):
    page = contexts(java_script_enabled=False).new_page()
    page.goto("/admin/jobs/job/graph/")
    page.get_by_label("Find", exact=True).fill("Twice the number")
    page.get_by_label("Groups").select_option("tag")
    page.get_by_label("Find", exact=True).press("Enter")
    expect(picture(page).locator(".jc-node-found")).to_have_count(1)
    toggles = picture(page).locator(".jc-toggle")
    toggles.first.click()
    expect(picture(page).locator(".jc-folded")).to_have_count(1)
    page.get_by_role("link", name="Fit to the page").click()
    expect(page.get_by_role("link", name="Show in full size")).to_be_visible()
    expect(page.get_by_role("button", name="Larger")).to_have_count(0)


WIDE_TITLES = (
    "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW",
    "IMPORT ALL CUSTOMER ADDRESSES FROM THE WAREHOUSE",
    "MMM%%%@@@###&&& WWW+++===<<<>>>",
    "ПОЛУЧИТЬ ВСЕ АДРЕСА КЛИЕНТОВ ИЗ ХРАНИЛИЩА",
    "日本語の顧客住所を倉庫から取り込むための仕事です",
    "🗝🗝🗝🗝🗝🗝🗝🗝🗝🗝🗝🗝🗝🗝🗝🗝🗝🗝🗝🗝🗝🗝🗝",
    "ÄÖÜÄÖÜÄÖÜÄÖÜÄÖÜÄÖÜÄÖÜÄÖÜÄÖÜÄÖÜÄÖÜÄÖÜÄÖÜ",
)
BEYOND = """() => [...document.querySelectorAll(".jc-node, .jc-frame")].flatMap((node) => {
    const shape = node.querySelector(".jc-shape")
        ?? document.querySelector(`[data-back="${node.dataset.node}"] rect`);
    const box = shape.getBBox();
    return [...node.querySelectorAll("text")].filter((text) => {
        const own = text.getBBox();
        return text.textContent && (own.x < box.x || own.x + own.width > box.x + box.width);
    }).map((text) => text.textContent);
})"""


@pytest.mark.parametrize("is_folded", [None, False, True], ids=["boxes", "frames", "folded"])
def test_no_text_leaves_its_box(contexts: Callable[..., BrowserContext], is_folded):
    nodes = [
        Node(
            id=title.replace(" ", "_") * 3,
            title=title,
            status=("not_built", "outdated")[number % 2],
            running=True,
            protected=True,
            retired=True,
            group=None if is_folded is None else title,
        )
        for number, title in enumerate(WIDE_TITLES)
    ]
    groups = [] if is_folded is None else [Group(t, t, is_folded) for t in WIDE_TITLES]
    svg = pictures.picture(Graph.of(nodes, [], groups)).svg
    style = (STATIC / "graph.css").read_text(encoding="utf-8")
    font = ":root { --font-family-primary: 'DejaVu Sans', sans-serif }"
    page = contexts("").new_page()
    page.set_content(f"<style>{font}{style}</style>{svg}")
    assert page.locator("svg text").count() >= 2 * len(WIDE_TITLES)
    assert page.evaluate(BEYOND) == []
    # Where other letters are wider, what leaves the box is cut off.
    inside = page.locator(".jc-graph-svg svg")
    assert inside.count() == len(WIDE_TITLES) * (1 if is_folded is not False else 2)
    assert inside.first.evaluate("(one) => getComputedStyle(one).overflow") == "hidden"
