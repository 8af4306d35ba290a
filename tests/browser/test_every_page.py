"""Every page: no script error, nothing that axe-core finds serious, no sideways scrolling."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote as url_quote

import pytest
from django.contrib.admin.utils import quote
from django.template import loader
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.steps import choose_action

WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 390, "height": 844}


def job_address(job: str, view: str = "change") -> str:
    return f"/admin/jobs/job/{url_quote(quote(job))}/{view}/"


def build_address(number: int, view: str = "change") -> str:
    return f"/admin/builds/build/{number}/{view}/"


def comparison(left: int, right: int) -> str:
    return f"/admin/builds/build/compare/?left={left}&right={right}"


# Name of the page -> its address, made from the numbers of the builds in `history`.
PAGES: dict[str, Callable[[dict[str, int]], str]] = {
    "index": lambda _: "/admin/",
    "search": lambda _: "/admin/search/",
    "found": lambda _: "/admin/search/?q=basket",
    "not found": lambda _: "/admin/search/?q=nothing+is+called+so",
    "jobs": lambda _: "/admin/jobs/job/",
    "jobs found": lambda _: "/admin/jobs/job/?q=nothing+is+called+so",
    "grid": lambda _: "/admin/jobs/job/grid/",
    "grid of nothing": lambda _: "/admin/jobs/job/grid/?q=nothing+is+called+so",
    "job": lambda _: job_address("double"),
    "protected job": lambda _: job_address("deploy"),
    "job never built": lambda _: job_address("never"),
    "job that needs others": lambda _: job_address("needy"),
    "job with a schedule": lambda _: job_address("timed"),
    "scheduled runs": lambda _: "/admin/builds/scheduledrun/",
    "odd job": lambda _: job_address('odd/id "<b>&é'),
    "build form": lambda _: job_address("double", "build-form"),
    "build form without its inputs": lambda _: job_address("needy", "build-form"),
    "build form of a protected job": lambda _: job_address("deploy", "build-form"),
    "run again": lambda made: job_address("shelves", "build-form") + f"?from={made['shelves']}",
    "arming several": lambda _: "/admin/jobs/job/arm/?job=deploy",
    "history of a job": lambda _: job_address("deploy", "history"),
    "graph": lambda _: "/admin/jobs/job/graph/",
    "graph in groups": lambda _: "/admin/jobs/job/graph/?group=tag",
    "graph in folded groups": lambda _: "/admin/jobs/job/graph/?group=tag&fold=all",
    "graph searched": lambda _: "/admin/jobs/job/graph/?q=number",
    "graph of a job": lambda _: job_address("double", "graph"),
    "revisions": lambda _: "/admin/jobs/configrevision/",
    "revision": lambda _: "/admin/jobs/configrevision/1/change/",
    "builds": lambda _: "/admin/builds/build/",
    "build": lambda made: build_address(made["shelves"]),
    "build with inputs": lambda made: build_address(made["double"]),
    "failed build": lambda made: build_address(made["broken"]),
    "odd build": lambda made: build_address(made['odd/id "<b>&é']),
    "log": lambda made: build_address(made["shelves"], "log"),
    "log with tracebacks": lambda made: build_address(made["broken"], "log"),
    "log in colours": lambda made: build_address(made["colours"], "log"),
    "log that is not wrapped": lambda made: build_address(made["colours"], "log") + "?wrap=no",
    "log searched": lambda made: build_address(made["colours"], "log") + "?q=on+and&level=INFO",
    "log at no time": lambda made: build_address(made["colours"], "log") + "?at=soon",
    "build in colours": lambda made: build_address(made["colours"]) + "?wrap=no",
    "build that failed with another": lambda made: build_address(made["hopeless"]),
    "comparison": lambda made: comparison(made["shelves"], made["broken"]),
    "comparison of nothing": lambda _: "/admin/builds/build/compare/",
    "plans": lambda _: "/admin/builds/plan/",
    "plan": lambda made: f"/admin/builds/plan/{made['plan']}/change/",
    "failed plan": lambda made: f"/admin/builds/plan/{made['failed plan']}/change/",
    "resuming": lambda made: f"/admin/builds/plan/{made['failed plan']}/resume/",
    "build form with a plan": lambda _: job_address("needy", "build-form") + "?first=missing",
    "deletion asked": lambda made: build_address(made["source"], "delete"),
    "deletions": lambda _: "/admin/builds/deletion/",
    "workers": lambda _: "/admin/builds/cluster/",
    "API tokens": lambda _: "/admin/builds/apitoken/",
    "new API token": lambda _: "/admin/builds/apitoken/add/",
    "users": lambda _: "/admin/auth/user/",
    "password": lambda _: "/admin/password_change/",
}


def too_wide(page: Page) -> list[str]:
    """Return what sticks out of a page or a list, and the parts of a page that cut it off."""
    return page.evaluate(
        """() => {
            const lists = [...document.querySelectorAll(".results, .jc-section")]
                .filter(one => one.scrollWidth > one.clientWidth + 1);
            if (lists.length) return lists.map(one => one.outerHTML.slice(0, 160));
            const width = document.documentElement.clientWidth;
            const scrollers = [document.scrollingElement, document.getElementById("main"),
                document.getElementById("content")].filter(Boolean);
            if (scrollers.every(one => one.scrollWidth <= one.clientWidth + 1)) return [];
            return [...document.querySelectorAll("#container *")]
                .filter(one => one.getBoundingClientRect().right > width + 1)
                .slice(0, 8).map(one => one.outerHTML.slice(0, 160));
        }"""
    )


@pytest.mark.parametrize("name", PAGES)
def test_page_is_accessible_and_fits_in_light_and_dark(
    name: str,
    contexts: Callable[..., BrowserContext],
    history: dict[str, int],
    severe: Callable[[Page], list[str]],
):
    page = contexts(viewport=WIDE, color_scheme="light").new_page()
    answer = page.goto(PAGES[name](history))
    assert answer is not None
    assert answer.ok, f"{answer.url} gave {answer.status}"
    assert severe(page) == []
    assert too_wide(page) == []
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(NARROW)
    page.reload()
    assert severe(page) == []
    assert too_wide(page) == []


def test_the_question_before_many_deletions_is_accessible_and_fits(contexts, history, severe):
    page = contexts(viewport=NARROW, color_scheme="dark").new_page()
    page.goto(f"/admin/builds/build/?q=%23{history['shelves']}")
    page.get_by_role("checkbox", name=re.compile("Select this object")).first.check()
    choose_action(page, "Delete selected builds")
    expect(page.get_by_role("button", name="Delete", exact=True)).to_be_visible()
    assert severe(page) == []
    assert too_wide(page) == []


def test_the_card_of_shortcuts_is_accessible_and_fits(contexts, history, severe):
    page = contexts(viewport=NARROW, color_scheme="dark").new_page()
    page.goto(build_address(history["shelves"]))
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    assert severe(page) == []
    assert too_wide(page) == []


ONE_MORE_FIELD = """(form) => {
    const fields = document.createElement("fieldset");
    fields.hidden = true;
    fields.innerHTML = "<input name='field'>".repeat(20001);
    form.appendChild(fields);
    form.submit();
}"""


@pytest.mark.parametrize("user", ["viewer", ""])
def test_pages_of_forms_that_are_refused_are_accessible(contexts, severe, watch, user):
    watch.expected += ["400", "403"]
    context = contexts(user=user, viewport=NARROW, color_scheme="dark")
    page = context.new_page()
    start = "/admin/" if user else "/admin/login/"
    form = "#logout-form" if user else "#login-form"
    page.goto(start)
    page.locator(form).evaluate(ONE_MORE_FIELD)
    expect(page.get_by_text("Error 400")).to_be_visible()
    assert severe(page) == []
    assert too_wide(page) == []
    page.goto(start)
    context.clear_cookies(name="csrftoken")
    page.locator(form).evaluate("(form) => form.submit()")
    expect(page.get_by_text("Error 403")).to_be_visible()
    assert severe(page) == []
    assert too_wide(page) == []


@pytest.mark.parametrize("status", [500, 503])
def test_pages_of_a_broken_site_are_accessible(contexts, severe, watch, status):
    """Made as the site makes them; the site itself stays whole, for the other tests."""
    watch.expected += [str(status)]
    body = loader.get_template(f"{status}.html").render({"error_id": "0123abcd"})
    for scheme, viewport in (("light", WIDE), ("dark", NARROW)):
        page = contexts(user="", viewport=viewport, color_scheme=scheme).new_page()
        answer = {"status": status, "body": body, "content_type": "text/html; charset=utf-8"}
        page.route("**/broken/", lambda route, _, answer=answer: route.fulfill(**answer))
        page.goto("/broken/")
        expect(page.get_by_text(f"Error {status}")).to_be_visible()
        assert page.evaluate("getComputedStyle(document.querySelector('#header')).color")
        assert severe(page) == []
        assert too_wide(page) == []


LONG_TEXT = """(one) => {
    one.textContent = "a long message ".repeat(60);
    return one.getBoundingClientRect().height / parseFloat(getComputedStyle(one).lineHeight);
}"""


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("/admin/", ".jc-row-error"),
        ("/admin/builds/build/", ".jc-reason"),
        ("/admin/jobs/job/", ".jc-reason"),
    ],
)
def test_a_long_error_takes_three_lines_and_has_a_title(contexts, history, address, place):
    page = contexts(viewport=NARROW).new_page()
    page.goto(address)
    error = page.locator(place).first
    assert error.get_attribute("title")
    assert 2.5 < error.evaluate(LONG_TEXT) < 3.5


def test_on_a_phone_the_list_of_the_graph_is_cards(contexts, history):
    page = contexts(viewport=NARROW).new_page()
    page.goto("/admin/jobs/job/graph/")
    table = page.locator(".jc-graph-list")
    expect(table.get_by_text("Needs builds of")).to_be_hidden()
    row = table.get_by_role("row").filter(has_text="Thrice the double").first
    name = row.locator("th")
    assert name.bounding_box()["width"] > 0.9 * row.bounding_box()["width"]


def test_jobs_of_the_grid_have_a_line_and_room_for_it(contexts, history):
    page = contexts(viewport=WIDE).new_page()
    page.goto("/admin/jobs/job/grid/")
    name = page.locator(".jc-grid tbody th").first
    assert name.get_attribute("title")
    name.locator("a").evaluate("(one) => { one.textContent = 'a long title '.repeat(20); }")
    title = name.locator("bdi").first
    assert title.bounding_box()["height"] < 24
    assert title.evaluate("(one) => one.scrollWidth > one.clientWidth")
    assert title.bounding_box()["width"] > 180
    assert too_wide(page) == []


def test_the_button_that_copies_a_command_stands_within_it(contexts, history):
    for viewport in (WIDE, NARROW):
        page = contexts(viewport=viewport).new_page()
        page.goto(job_address("double"))
        line = page.locator(".jc-start-line").first
        text, button = line.locator("pre").bounding_box(), line.get_by_role("button").bounding_box()
        assert text["x"] < button["x"]
        assert button["x"] + button["width"] < text["x"] + text["width"]
        assert text["y"] < button["y"]
        assert button["y"] + button["height"] < text["y"] + text["height"]


@pytest.mark.parametrize("user", ["viewer", ""])
def test_pages_of_errors_are_accessible_and_lead_on(contexts, severe, watch, user):
    watch.expected += ["404", "403"]
    page = contexts(user=user, viewport=NARROW, color_scheme="dark").new_page()
    addresses = ["/nothing"]
    addresses += ["/admin/auth/user/", "/admin/builds/build/999999999/log/"] if user else []
    for address in addresses:
        page.goto(address)
        assert severe(page) == []
        assert too_wide(page) == []
        search = page.get_by_role("searchbox", name="Find a build, a job or an error")
        expect(search).to_have_count(1 if user else 0)
        page.get_by_role("link", name="To the overview").click()
        expect(page).to_have_url(re.compile(r"/admin/(login/.*)?$"))


def test_the_login_page_is_accessible_and_fits(contexts, severe):
    page = contexts(user="", viewport=NARROW, color_scheme="dark").new_page()
    page.goto("/admin/login/")
    assert severe(page) == []
    assert too_wide(page) == []


def test_the_checks_of_this_file_see_what_is_wrong(page: Page, severe):
    page.goto("/admin/")
    page.set_viewport_size(NARROW)
    page.evaluate(
        """() => {
            const image = document.createElement("img");
            image.width = 900;
            document.getElementById("content").append(image);
        }"""
    )
    assert any("image-alt" in line for line in severe(page))
    assert too_wide(page)


def test_a_script_error_and_a_breach_of_the_policy_are_noticed(page: Page, watch):
    page.goto("/admin/")
    page.evaluate("setTimeout(() => { throw new Error('out of order') })")
    page.evaluate("console.error('said so')")
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
        }"""
    )
    expected = ["out of order", "said so", "Content Security Policy"]
    while not all(any(part in one for one in watch.complaints) for part in expected):
        page.wait_for_timeout(50)
    assert page.evaluate("window.ran") is None
    watch.expected += expected
