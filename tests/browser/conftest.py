"""One real site (gunicorn, a cluster with two workers, SQLite) and a real Chromium for all tests.

Each test uses jobs of its own and a browser context of its own, so that they can share the site.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.jobs import CONFIG, MODULE
from tests.support.databases import sqlite_url
from tests.support.needs import need
from tests.support.site import Site
from tests.support.web import TIMEOUT, Watch, chromium, chromium_program, web

PASSWORD = "only-for-tests-0123"
SEVERE = ("serious", "critical")
USERS = """
from django.contrib.auth.models import Group, User
User.objects.create_superuser("admin", password="{password}")
for name in ("viewer", "operator", "manager"):
    user = User.objects.create_user(name, password="{password}", is_staff=True)
    user.groups.add(Group.objects.get(name=name))
"""

HISTORY = """
import json, time
from builds import services
from builds.models import Build
from builds.planning import Dependencies, Options
from jobs.models import Job

def build(*names):
    made = [
        services.request_build(job=Job.objects.get(id=name), trigger="cli") for name in names
    ]
    while Build.objects.filter(pk__in=[one.pk for one in made], end_time=None).exists():
        time.sleep(0.05)
    return {one.job_id: one.pk for one in made}

made = build("shelves", "broken", "colours", "source", 'odd/id "<b>&é')
made |= build("double")
made |= build("triple")

def plan(name, first):
    job = Job.objects.get(id=name)
    options = Options(dependencies=Dependencies(first))
    made = services.request_build(job=job, trigger="cli", options=options).plan
    while made.builds.filter(end_time=None).exists():
        time.sleep(0.05)
    return made.pk

made["plan"] = plan("triple", "all")
made["failed plan"] = plan("hopeless", "all")
made["hopeless"] = Build.objects.filter(job="hopeless").latest("pk").pk
print(json.dumps(made))
"""


class Running:
    """A site that is served and worked, and its address."""

    def __init__(self, site: Site, url: str) -> None:
        self.site = site
        self.url = url

    def open_gate(self, name: str) -> None:
        """Let the jobs that wait at this gate go on."""
        (self.site.folder / f"gate-{name}").touch()

    def close_gate(self, name: str) -> None:
        """Let jobs wait at this gate."""
        (self.site.folder / f"gate-{name}").unlink(missing_ok=True)


# Package scope: while playwright's own event loop runs in this thread, Django refuses the
# database, which the tests of other folders use.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    program = chromium_program()
    need("chromium", found=program is not None)
    expect.set_options(timeout=TIMEOUT)
    with chromium(str(program)) as running:
        yield running


@pytest.fixture(scope="package")
def running(
    browser: Browser, site_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """The site that the tests of this folder share."""
    folder = tmp_path_factory.mktemp("browser")
    path = folder / "jobcontrol.sqlite3"
    shutil.copy(site_template, path)
    with Site(folder, sqlite_url(path)) as site:
        site.env["WORKERS"] = "2"
        site.write_module("flows", MODULE)
        site.write_config(CONFIG)
        site.manage("sync_jobs", check=True)
        site.python(USERS.format(password=PASSWORD))
        with site.cluster(), web(site) as url:
            yield Running(site, url)


@pytest.fixture(scope="package")
def history(running: Running) -> dict[str, int]:
    """Builds of every kind, made by the worker: their numbers by job id."""
    running.open_gate("shelves")
    return json.loads(running.site.python(HISTORY))


@pytest.fixture(scope="package")
def sessions(browser: Browser, running: Running) -> Callable[[str], str]:
    """Log a user in through the form, once, and return the file that keeps the cookies."""
    kept: dict[str, str] = {}

    def session(user: str) -> str:
        if user not in kept:
            kept[user] = str(running.site.folder / f"cookies-{user}.json")
            context = browser.new_context(base_url=running.url)
            page = context.new_page()
            log_in(page, user)
            context.storage_state(path=kept[user])
            context.close()
        return kept[user]

    return session


def log_in(page: Page, user: str) -> None:
    """Log `user` in as a person does."""
    page.goto("/admin/login/?next=/admin/")
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


@pytest.fixture
def watch() -> Iterator[Watch]:
    """What the test's pages complain about; any complaint that it did not expect fails it."""
    made = Watch()
    yield made
    assert made.unexpected == []


@pytest.fixture
def contexts(
    browser: Browser, running: Running, sessions: Callable[[str], str], watch: Watch
) -> Iterator[Callable[..., BrowserContext]]:
    """Make a fresh browser context; `user` is logged in ("" for nobody), options are playwright's.

    Its pages are watched.
    """
    made: list[BrowserContext] = []

    def context(user: str = "admin", **options: object) -> BrowserContext:
        state = {"storage_state": sessions(user)} if user else {}
        new = browser.new_context(base_url=running.url, **state, **options)
        new.set_default_timeout(TIMEOUT)
        new.on("page", watch.follow)
        made.append(new)
        return new

    yield context
    for one in made:
        one.close()


@pytest.fixture
def page(contexts: Callable[..., BrowserContext]) -> Page:
    """A page of a superuser."""
    return contexts().new_page()


@pytest.fixture
def axe() -> str:
    """The text of axe-core, from the package that carries it."""
    import axe_playwright_python

    folder = Path(axe_playwright_python.__file__).parent
    return (folder / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def severe(axe: str) -> Callable[[Page], list[str]]:
    """Let axe-core look at a page; returns what it finds serious, in a line each."""

    def look(page: Page) -> list[str]:
        page.evaluate(axe)
        found = page.evaluate("axe.run(document, {preload: false, resultTypes: ['violations']})")
        assert len(found["passes"]) > 5, "axe-core looked at nothing"
        return [
            f"{rule['id']}: {rule['help']}: "
            + json.dumps(
                [(node["html"][:200], node["failureSummary"]) for node in rule["nodes"][:5]]
            )
            for rule in found["violations"]
            if rule["impact"] in SEVERE
        ]

    return look
