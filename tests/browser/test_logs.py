"""The log of a build that runs: it comes by itself, is followed, and tells what stops it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from tests.browser.conftest import Running, log_in
from tests.browser.steps import build_number, built, open_job, quick_build, wait_for_end
from tests.browser.test_cancelling import wait_until_running
from tests.browser.test_every_page import NARROW, too_wide
from tests.support.site import wait_until
from tests.support.web import free_port, web

NEWS = "/log/news/"
LINES = "SELECT count(*) FROM builds_logmessage WHERE build_id = {number}"


@pytest.fixture
def talking(page: Page, running: Running) -> Iterator[Callable[[str, str], int]]:
    """Start a job that logs until its gate opens, which it does at the end of the test."""
    gates = []

    def talk(title: str, gate: str) -> int:
        running.close_gate(gate)
        gates.append(gate)
        open_job(page, title)
        quick_build(page)
        wait_until_running(page)
        return build_number(page)

    yield talk
    for gate in gates:
        running.open_gate(gate)
    # The next test closes it again.
    running_builds = "SELECT id FROM builds_build WHERE status = 'RUNNING' AND job_id IN "
    running_builds += "('chatter', 'rolling', 'restarted')"
    wait_until(lambda: not running.site.sql(running_builds))


def newest(page: Page) -> Locator:
    return page.locator(".jc-log > li").last


def rounds(page: Page) -> int:
    """The number of the newest round that the page shows."""
    found = re.findall(r"Round (\d+)", page.locator(".jc-log").inner_text())
    return int(found[-1]) if found else 0


def wait_for_more(page: Page, count: int = 5) -> None:
    """Wait until so many more rounds have come by themselves."""
    wanted = rounds(page) + count
    expect(page.get_by_text(f"Round {wanted}", exact=True)).to_be_attached()


def test_a_log_is_followed_until_the_reader_scrolls_up_and_again(page: Page, running, talking):
    number = talking("Talk and talk", "chatter")
    page.goto(f"/admin/builds/build/{number}/log/?tail=1")
    follow = page.locator(".jc-log-follow")
    expect(follow).to_have_text("Stop following")
    expect(follow).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("link", name="Look again")).to_have_count(0)
    wait_for_more(page)
    expect(newest(page)).to_be_in_viewport()
    page.mouse.move(600, 400)
    page.mouse.wheel(0, -700)
    expect(follow).to_have_text(re.compile(r"^Follow"))
    wait_for_more(page)
    expect(follow).to_have_text(re.compile(r"Follow \(\d+ new\)"))
    expect(newest(page)).not_to_be_in_viewport()
    follow.focus()
    page.keyboard.press("Enter")
    expect(follow).to_have_text("Stop following")
    wait_for_more(page)
    expect(newest(page)).to_be_in_viewport()
    # The lines are the same as those that a page has at once, and their times too.
    first, last = page.locator(".jc-log-link").first, page.locator(".jc-log-link").last
    shape = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d\d\d$")
    expect(first).to_have_text(shape)
    expect(last).to_have_text(shape)
    number_of = page.locator(".jc-level-choice", has_text="All").locator(".jc-number-of")
    counted = int(number_of.inner_text())
    expect(number_of).not_to_have_text(str(counted))
    assert int(number_of.inner_text()) > counted
    running.open_gate("chatter")
    expect(page.get_by_text("The build has ended; this is the end of its log.")).to_be_visible()
    expect(page.get_by_text("That was all")).to_be_in_viewport()
    expect(page.locator(".jc-title .jc-badge")).to_have_text("SUCCESSFUL")
    expect(follow).to_be_hidden()
    shown = page.locator(".jc-log > li").evaluate_all("all => all.map(one => one.id)")
    page.goto(f"/admin/builds/build/{number}/log/")
    again = page.locator(".jc-log > li").evaluate_all("all => all.map(one => one.id)")
    assert shown[-len(again) :] == again[-len(shown) :]
    assert len(set(shown)) == len(shown)


def test_a_page_grows_to_its_limit_and_goes_on_when_it_is_followed(page: Page, running, talking):
    number = talking("Talk and talk", "chatter")
    address = f"/admin/builds/build/{number}/log/"

    def shortened(route: Route) -> None:
        answer = route.fetch()
        assert 'data-log-most="5000"' in answer.text()
        body = answer.text().replace('data-log-most="5000"', 'data-log-most="40"')
        route.fulfill(response=answer, body=body)

    page.route(re.compile(f"{address}[?]?(tail=1)?$"), shortened)
    page.goto(address)
    lines = page.locator(".jc-log > li")
    expect(page.get_by_text("Paused: the page has 40 lines.")).to_be_visible()
    shown = lines.count()
    assert shown >= 40
    # Nothing more is asked for: so many lines later it is as long.
    wait_until(lambda: running.site.sql(LINES.format(number=number))[0][0] > shown + 30)
    assert lines.count() == shown
    page.get_by_role("button", name=re.compile("^Follow")).click()
    page.wait_for_url("**tail=1")
    wait_for_more(page, 45)
    # What is followed loses its oldest lines.
    expect(lines).to_have_count(40)
    running.open_gate("chatter")
    expect(page.get_by_text("That was all")).to_be_visible()


def test_a_filter_holds_for_what_comes(page: Page, running, talking):
    number = talking("Talk and talk", "chatter")
    page.goto(f"/admin/builds/build/{number}/log/?level=WARNING&tail=1")
    expect(page.get_by_text("Nothing in the log matches yet.")).to_be_visible()
    running.open_gate("chatter")
    expect(page.get_by_text("That was all")).to_be_visible()
    expect(page.get_by_text("Nothing in the log matches yet.")).to_have_count(0)
    expect(page.locator(".jc-log > li")).to_have_count(1)


def test_the_page_of_a_build_shows_its_last_lines_as_they_come(page: Page, running, talking):
    number = talking("Talk on", "rolling")
    page.goto(f"/admin/builds/build/{number}/change/")
    wait_for_more(page, 40)
    expect(page.locator(".jc-log > li")).to_have_count(30)
    page.get_by_role("link", name="follow it").click()
    expect(page.get_by_role("button", name="Stop following")).to_be_visible()
    running.open_gate("rolling")
    expect(page.get_by_text("That was all")).to_be_visible()


def test_a_server_that_went_away_is_told_and_the_log_goes_on_when_it_is_back(
    page: Page, running: Running, talking, watch
):
    watch.expected.append("ERR_CONNECTION_REFUSED")
    watch.expected.append("ERR_CONNECTION_RESET")
    watch.expected.append("ERR_EMPTY_RESPONSE")
    number = talking("Talk to nobody", "restarted")
    port = free_port()
    with web(running.site, port) as url:
        page.goto(f"{url}/admin/builds/build/{number}/log/?tail=1")
        wait_for_more(page)
    expect(page.get_by_text("The server does not answer")).to_be_visible()
    before = rounds(page)
    with web(running.site, port):
        wait_for_more(page, 10)
        expect(page.get_by_text("The server does not answer")).to_have_count(0)
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        lines = page.locator(".jc-log").inner_text()
        # Nothing is missing of what was logged meanwhile.
        for number in range(before, rounds(page)):
            assert f"Round {number}\n" in lines
        page.goto("about:blank")


def test_who_was_logged_out_is_told_and_comes_back_to_the_log(contexts, running: Running, talking):
    number = talking("Talk and talk", "chatter")
    context = contexts(user="")
    page = context.new_page()
    log_in(page, "viewer")
    page.goto(f"/admin/builds/build/{number}/log/?tail=1")
    expect(page.get_by_role("button", name="Stop following")).to_be_visible()
    other = context.new_page()
    other.goto("/admin/")
    other.get_by_role("button", name="Log out").click()
    expect(other.get_by_text("Log in again")).to_be_visible()
    expect(page.get_by_text("You are logged out.")).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2_500)
    assert asked == []
    page.get_by_role("link", name="Log in again").click()
    page.get_by_label("Username").fill("viewer")
    page.get_by_label("Password").fill("only-for-tests-0123")
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile(rf"/{number}/log/\?tail=1$"))
    expect(page.get_by_role("button", name="Stop following")).to_be_visible()


def test_a_hidden_tab_asks_seldom_and_at_once_when_it_is_seen(page: Page, talking):
    number = talking("Talk and talk", "chatter")
    page.goto(f"/admin/builds/build/{number}/log/?tail=1")
    wait_for_more(page)
    hide(page, True)
    page.wait_for_timeout(500)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if NEWS in request.url else None)
    page.wait_for_timeout(3_000)
    assert asked == []
    hide(page, False)
    wait_for_more(page)
    assert asked


def hide(page: Page, hidden: bool) -> None:
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_a_live_log_is_accessible_and_fits(page: Page, talking, severe):
    number = talking("Talk and talk", "chatter")
    for scheme, size in (("light", None), ("dark", NARROW)):
        page.emulate_media(color_scheme=scheme)
        if size:
            page.set_viewport_size(size)
        page.goto(f"/admin/builds/build/{number}/log/?tail=1")
        wait_for_more(page)
        assert severe(page) == []
        assert too_wide(page) == []


def test_the_log_of_a_running_build_is_read_without_scripts(contexts, running: Running, talking):
    number = talking("Talk and talk", "chatter")
    page = contexts(user="", java_script_enabled=False).new_page()
    log_in(page, "viewer")
    page.goto(f"/admin/builds/build/{number}/log/?tail=1")
    before = rounds(page)
    expect(page.get_by_text("Live")).to_be_hidden()
    expect(page.locator(".jc-log-follow")).to_be_hidden()
    page.wait_for_timeout(1_500)
    page.get_by_role("link", name="Look again").first.click()
    assert rounds(page) > before
    page.get_by_role("link", name="Do not wrap lines").click()
    expect(page.locator(".jc-nowrap")).to_have_count(1)
    page.get_by_role("link", name="Wrap long lines").click()
    expect(page.locator(".jc-nowrap")).to_have_count(0)
    page.get_by_label("Time").fill(page.locator(".jc-log-link").nth(-5).inner_text())
    page.get_by_role("button", name="Go").click()
    expect(page.locator(".jc-log-here")).to_have_count(1)


def test_a_time_is_gone_to_in_the_zone_of_the_reader(contexts, history):
    page = contexts(timezone_id="Pacific/Kiritimati").new_page()
    page.goto(f"/admin/builds/build/{history['colours']}/log/")
    line = page.locator(".jc-log > li").nth(-2)
    time, number = line.locator(".jc-log-link").inner_text(), line.get_attribute("id")
    page.get_by_label("Time").fill(time)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"zone=Pacific"))
    here = page.locator(".jc-log-here")
    expect(here.locator(".jc-log-link")).to_have_text(time)
    expect(page.locator(f"#{number}")).to_be_visible()
    page.get_by_label("Time").fill(time.split()[1][:5])
    page.keyboard.press("Enter")
    expect(page.locator(".jc-log-critical")).to_be_visible()
    page.get_by_label("Time").fill("soon")
    page.keyboard.press("Enter")
    expect(page.get_by_text("“soon” is no time.")).to_be_visible()


def test_a_line_has_an_address_where_it_is_marked(page: Page, history):
    page.goto(f"/admin/builds/build/{history['colours']}/log/")
    line = page.locator(".jc-log > .jc-log-critical")
    number = line.get_attribute("id")
    plain = background(line)
    line.locator(".jc-log-link").click()
    expect(page).to_have_url(re.compile(rf"\?from=\d+#{number}$"))
    assert background(page.locator(f"#{number}")) != plain
    line = page.locator(".jc-log > .jc-log-critical")
    expect(line).to_be_in_viewport()


def background(element: Locator) -> str:
    return str(element.evaluate("one => getComputedStyle(one).backgroundColor"))


def test_whether_lines_are_wrapped_is_remembered(contexts: Callable[..., BrowserContext], history):
    page = contexts().new_page()
    address = f"/admin/builds/build/{history['colours']}/log/"
    page.goto(address)
    line = page.locator(".jc-log-body > pre", has_text="A long line")
    high = line.bounding_box()["height"]
    page.get_by_role("link", name="Do not wrap lines").click()
    assert line.bounding_box()["height"] < high / 2
    page.reload()
    expect(page.get_by_role("link", name="Wrap long lines")).to_be_visible()
    assert line.bounding_box()["height"] < high / 2
    page.goto(f"/admin/builds/build/{history['colours']}/change/")
    expect(page.get_by_role("link", name="Wrap long lines")).to_be_visible()
    page.get_by_role("link", name="Wrap long lines").click()
    page.goto(address)
    assert line.bounding_box()["height"] == high
    # An address that says so is stronger than what was chosen once.
    page.goto(f"{address}?wrap=no")
    assert line.bounding_box()["height"] < high / 2


def test_colours_are_shown_in_both_schemes_and_exceptions_unfold(page: Page, history):
    page.goto(f"/admin/builds/build/{history['colours']}/log/")
    red = page.locator(".jc-a-1", has_text="<b>red</b>")
    colours = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours.add(red.evaluate("one => getComputedStyle(one).color"))
        assert "rgb(0, 0, 0)" not in colours
    assert len(colours) == 2
    page.get_by_text("Traceback", exact=True).click()
    expect(page.get_by_text("KeyError: 'pear'")).to_be_visible()
    expect(page.get_by_text('{}["pear"]').first).to_be_visible()


def test_what_was_searched_is_marked(page: Page):
    built(page, "Write in colours")
    page.get_by_role("link", name="The whole log").click()
    page.get_by_label("Containing").fill("NO PEAR")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("mark")).to_have_text("No pear")


def test_a_build_that_waits_shows_its_log_as_soon_as_it_begins(page: Page, running, talking):
    """Nothing has been logged when the page comes."""
    running.close_gate("single")
    open_job(page, "One at a time")
    quick_build(page)
    wait_until_running(page)
    open_job(page, "One at a time")
    quick_build(page)
    second = build_number(page)
    page.goto(f"/admin/builds/build/{second}/log/")
    expect(page.get_by_text("Nothing has been logged yet.")).to_be_visible()
    running.open_gate("single")
    expect(page.get_by_text(f"Build #{second} started")).to_be_visible()
    expect(page.get_by_text("Nothing has been logged yet.")).to_have_count(0)
    page.goto(f"/admin/builds/build/{second}/change/")
    wait_for_end(page, "SUCCESSFUL")
