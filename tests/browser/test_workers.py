"""The workers page: what runs where, draining a cluster and taking it up again."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import Running
from tests.browser.steps import (
    main_of,
    open_job,
    quick_build,
    status_of,
    wait_for_end,
)

UNDRAIN = "from builds.upkeep_models import Cluster\n"
UNDRAIN += "Cluster.objects.update(drain_requested=None)"


def open_workers(page: Page) -> None:
    page.goto("/admin/")
    main_of(page).get_by_role("link", name="Workers", exact=True).click()
    expect(page.get_by_role("heading", name="Workers", exact=True)).to_be_visible()


def test_a_cluster_is_drained_and_taken_up_again(page: Page, running: Running):
    try:
        open_workers(page)
        cluster = page.get_by_role("region", name="process ")
        expect(cluster).to_have_count(1)
        expect(cluster.get_by_role("row")).to_have_count(3)
        cluster.get_by_role("button", name="Drain").click()
        expect(cluster).to_contain_text("Its workers take no more builds")
        expect(page.get_by_text("All workers are drained")).to_be_visible()
        expect(cluster).to_contain_text("by admin")
        wait_for_state(page, "drained")

        open_job(page, "A number to start from")
        quick_build(page)
        build = page.url
        page.wait_for_timeout(3_000)  # longer than a build that nobody takes is left to its message
        page.reload()
        assert status_of(page) == "QUEUED"
        link = page.get_by_role("link", name="Show the workers")
        expect(link).to_have_css("text-decoration-line", "underline")
        link.click()
        page.get_by_role("button", name="Take up again").click()
        expect(page.get_by_text("All workers are drained")).to_have_count(0)
        page.goto(build)
        wait_for_end(page, "SUCCESSFUL")
        open_workers(page)
        wait_for_state(page, "active")
        page.get_by_role("link", name="process ").click()
        page.get_by_role("link", name="History").click()
        expect(main_of(page)).to_contain_text("Took it up again.")
    finally:
        running.site.python(UNDRAIN)


def wait_for_state(page: Page, state: str) -> None:
    badge = page.get_by_role("region", name="process ").locator(".jc-badge")
    expect(badge).to_have_text(state)  # the page follows by itself


def test_who_may_not_drain_sees_the_workers_without_a_button(contexts):
    page = contexts("operator").new_page()
    open_workers(page)
    expect(page.get_by_role("region", name="process ")).to_have_count(1)
    expect(page.get_by_role("button", name="Drain")).to_have_count(0)
