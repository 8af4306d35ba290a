"""Walking the dependency graph."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from playwright.sync_api import Page, expect

from tests.browser.steps import main_of, open_job


def picture(page: Page):
    return page.get_by_role("region", name="Picture of the graph")


def test_the_graph_is_walked_from_job_to_job(page: Page):
    open_job(page, "Thrice the double")
    page.get_by_role("link", name="Graph", exact=True).click()
    for title in ("A number to start from", "Twice the number"):
        expect(picture(page).get_by_role("link", name=re.compile(title))).to_be_visible()
    expect(picture(page).get_by_role("link", name=re.compile("Break a basket"))).to_have_count(0)
    picture(page).get_by_role("link", name=re.compile("Twice the number")).click()
    expect(page).to_have_url(re.compile(r"/jobs/job/double/change/"))
    needs = page.get_by_role("region", name="Needs", exact=True)
    needs.get_by_role("link", name="A number to start from").click()
    expect(page).to_have_url(re.compile(r"/jobs/job/source/change/"))
    page.get_by_role("link", name="Graph", exact=True).click()
    page.get_by_role("link", name="Graph of all jobs").click()
    expect(picture(page).get_by_role("link", name=re.compile("Break a basket"))).to_be_visible()


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
