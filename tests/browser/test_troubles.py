"""When nobody works, and when the configuration file is wrong: every page says so."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PASSWORD, USERS, log_in
from tests.browser.steps import open_job, quick_build, reload_until, wait_for_end
from tests.support.site import Site
from tests.support.web import web

SHELL = "import os, sys; os.execvp('sh', ['sh', '-c', sys.argv[1]])"
ONE = """
jobs:
  - {id: one, title: "Only one", function: "jobcontrol.utils.testing:job_simple_echo"}
"""


def test_banners_tell_of_a_missing_worker_and_a_wrong_file(browser: Browser, site: Site, watch):
    site.write_config(ONE)
    site.python(USERS.format(password=PASSWORD))
    with web(site) as url:
        context = browser.new_context(base_url=url)
        context.on("page", watch.follow)
        page = context.new_page()
        log_in(page, "operator")
        command = told_command(page)
        site.write_config(ONE + "  - {id: two, function: nowhere}\n")
        for address in ("/admin/", "/admin/jobs/job/", "/admin/builds/build/"):
            page.goto(address)
            wrong = page.get_by_role("alert").filter(has_text="The configuration file is wrong")
            expect(wrong).to_contain_text("'two'")
            expect(wrong).to_contain_text(re.compile(r"line \d"))
        many = "".join(f"  - {{id: more{n}, function: nowhere}}\n" for n in range(9))
        site.write_config(ONE + many)
        page.reload()
        expect(wrong.get_by_text("'more0'")).to_be_visible()
        expect(wrong.get_by_text("'more8'")).to_be_hidden()
        wrong.get_by_text("and 6 more").click()
        expect(wrong.get_by_text("'more8'")).to_be_visible()
        site.write_config(ONE)
        open_job(page, "Only one")
        expect(page.get_by_text("The configuration file is wrong")).to_have_count(0)
        quick_build(page)
        # The command is typed into a shell as the banner says it; the site ends it.
        site.start("-c", SHELL, command, env={"WORKERS": "1"})
        wait_for_end(page, "SUCCESSFUL")
        # The new cluster is known by its first heartbeat.
        reload_until(page, page.get_by_text("No worker is running").is_hidden)
        context.close()


def told_command(page: Page) -> str:
    """Return the command that every page names while nobody works."""
    told = set()
    for address in ("/admin/", "/admin/jobs/job/", "/admin/jobs/job/one/change/"):
        page.goto(address)
        banner = page.get_by_role("status").filter(has_text="No worker is running")
        told.add(banner.locator("code").inner_text())
    (command,) = told
    return command
