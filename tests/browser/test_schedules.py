"""Schedules in a browser: what comes next, pausing, going on."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.steps import PATIENCE, main_of, open_job


def test_a_schedule_is_paused_and_goes_on(page: Page):
    open_job(page, "Comes by itself")
    section = main_of(page).get_by_role("region", name="Schedule")
    expect(section.get_by_role("list", name="Next runs").get_by_role("listitem")).to_have_count(5)
    section.get_by_role("button", name="Pause the schedule").click()
    expect(section.get_by_text("Paused by admin")).to_be_visible()
    expect(section.get_by_text("Next runs")).to_have_count(0)
    page.goto("/admin/jobs/job/?q=Comes+by+itself")
    row = page.get_by_role("row").filter(has_text="Comes by itself")
    expect(row.get_by_text("paused", exact=True)).to_be_visible()
    open_job(page, "Comes by itself")
    section.get_by_role("button", name="Resume the schedule").click()
    expect(section.get_by_role("list", name="Next runs")).to_be_visible()
    page.get_by_role("link", name="History").click()
    expect(page.get_by_text("Paused its schedule.")).to_be_visible()
    expect(page.get_by_text("Let its schedule go on.")).to_be_visible()


def test_what_was_due_leads_to_its_build(page: Page):
    open_job(page, "Comes by itself")
    last = main_of(page).get_by_role("list", name="Last times")
    expect(last.get_by_role("link").first).to_be_visible(timeout=1000 * PATIENCE)
    if folder := os.environ.get("JOBCONTROL_PICTURES"):
        take_pictures(page, Path(folder))
    last.get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Build #")


def take_pictures(page: Page, folder: Path) -> None:
    """Take the job's page, the list of jobs and that of times, for people to look at."""
    pages = {"job": page.url, "jobs": "/admin/jobs/job/", "runs": "/admin/builds/scheduledrun/"}
    for scheme in ("light", "dark"):
        for width in (1280, 390):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            for name, address in pages.items():
                page.goto(address)
                page.screenshot(path=folder / f"{name}-{scheme}-{width}.png", full_page=True)
    page.goto(pages["job"])
