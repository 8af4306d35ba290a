"""From a failure to what is different since the last success, in one click."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.steps import build_number, built, choose_action, main_of
from tests.browser.test_every_page import NARROW, too_wide


def test_a_failure_is_one_click_away_from_the_last_success(contexts, running, severe):
    page = contexts().new_page()
    running.open_gate("kiln")
    success = built(page, "Fire the kiln")
    running.close_gate("kiln")
    failure = built(page, "Fire the kiln", "FAILED")
    assert failure == build_number(page)

    page.get_by_role("link", name=f"Compare with the last success, #{success}").click()
    expect(page.get_by_role("heading", name=f"Compare #{success} with #{failure}")).to_be_visible()
    error = page.locator("#error")
    expect(error.get_by_role("cell", name="the oven is cold", exact=True)).to_be_visible()
    same = page.locator("#arguments")
    expect(same.get_by_text("the same")).to_be_visible()
    expect(same.locator(".jc-text")).to_be_hidden()
    same.get_by_role("heading", name="Arguments").click()
    expect(same.locator(".jc-text")).to_contain_text("kiln")
    # What only one log says stands below its heading, not over the page.
    expect(page.locator("#log .jc-one-sided")).to_have_css("position", "static")
    assert severe(page) == []

    page.set_viewport_size(NARROW)
    assert severe(page) == []
    assert too_wide(page) == []
    left, right = (one.bounding_box() for one in page.locator(".jc-sides > section").all())
    assert left["x"] == right["x"]
    assert left["y"] + left["height"] <= right["y"]

    page.get_by_role("link", name="Swap the two").click()
    expect(page.get_by_role("heading", name=f"Compare #{failure} with #{success}")).to_be_visible()


def test_two_rows_of_the_list_are_compared_without_scripts(contexts, history):
    page = contexts(java_script_enabled=False).new_page()
    page.goto("/admin/builds/build/")
    for name in ("shelves", "broken"):
        page.locator(f"input[name=_selected_action][value='{history[name]}']").check()
    choose_action(page, "Compare the two chosen builds")
    left, right = sorted([history["shelves"], history["broken"]])
    expect(page.get_by_role("heading", name=f"Compare #{left} with #{right}")).to_be_visible()
    expect(main_of(page).get_by_text("builds of two different jobs")).to_be_visible()
