"""Take pictures of every page, for the user's guide and to look at: `make screenshots`.

Starts a site in a temporary folder, with the example and a few jobs that run, fail and have to be
armed. The pictures that the guide shows go to docs/images, all others (light and dark, wide and
narrow) to the folder `screenshots`, which git ignores.
"""

from __future__ import annotations

import io
import json
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from PIL import Image
from playwright.sync_api import Browser, Page

from tests.support.databases import sqlite_url
from tests.support.site import Site
from tests.support.web import chromium, chromium_program, web
from tools.screenshots_site import JOBS, MANY_SETUP, MODULE, SETUP, USER, many_jobs

GALLERY = ROOT / "screenshots"
IMAGES = ROOT / "docs" / "images"
WIDE, NARROW = 1280, 390  # CSS pixels
HEIGHT = 860
TALLEST = 1500  # what is below is cut off
MAX_BYTES = 200_000  # of a picture of the guide
COLOURS = 256

Numbers = dict[str, int]


@dataclass(frozen=True)
class Shot:
    """A page to take: its name, where it is, and what to do there first.

    `guide` names the scheme and width of the picture that the guide shows, if it shows one.
    """

    name: str
    address: Callable[[Numbers], str]
    prepare: Callable[[Page], None] | None = None
    guide: tuple[str, int] | None = None


def job(name: str, view: str = "change") -> Callable[[Numbers], str]:
    """Return the address of a job's page."""
    return lambda _: f"/admin/jobs/job/{name}/{view}/"


def build(name: str, view: str = "change") -> Callable[[Numbers], str]:
    """Return the address of a page of the build that was made as `name`."""
    return lambda made: f"/admin/builds/build/{made[name]}/{view}/"


def compare(left: str, right: str) -> Callable[[Numbers], str]:
    """Return the address where two builds stand beside each other."""
    here = "/admin/builds/build/compare/"
    return lambda made: f"{here}?left={made[left]}&right={made[right]}"


def arm(page: Page) -> None:
    """Arm the build that the form shows."""
    page.get_by_role("button", name="Arm", exact=True).click()
    page.get_by_text("Armed.").wait_for()


def spoil(page: Page) -> None:
    """Ask for a build with arguments that do not fit."""
    page.get_by_label("Named arguments").fill("curency: EUR")
    page.get_by_role("button", name="Build", exact=True).click()
    page.get_by_text("Nothing was started").wait_for()


def first(page: Page) -> None:
    """Fill the form in so that what is missing is built first, and others after it."""
    page.get_by_role("link", name="Build what is missing first").click()


def search(page: Page) -> None:
    """Look for something in the log."""
    page.get_by_label("Containing").fill("page")
    page.get_by_role("button", name="Search", exact=True).click()


def point(page: Page) -> None:
    """Go to one of the last builds by keyboard."""
    page.locator("[data-roving-row] a").first.focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")


def find(page: Page) -> None:
    """Look for a job in the graph."""
    page.get_by_label("Find", exact=True).fill("report")
    page.get_by_label("Find", exact=True).press("Enter")


def fitted(page: Page) -> None:
    """Show all of the graph."""
    page.get_by_role("button", name="Fit", exact=True).click()


def keys(page: Page) -> None:
    """Open the card of shortcuts."""
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()


def flooded(page: Page) -> None:
    """Send a form with more fields than any has."""
    page.locator("#logout-form").evaluate(
        """(form) => {
            for (let number = 0; number < 1001; number++) {
                const field = form.appendChild(document.createElement("input"));
                [field.type, field.name] = ["hidden", `field-${number}`];
            }
            form.submit();
        }"""
    )
    page.get_by_text("Error 400").wait_for()


def forged(page: Page) -> None:
    """Send a form without what proves that it is the site's."""
    page.context.clear_cookies(name="csrftoken")
    page.locator("#logout-form").evaluate("(form) => form.submit()")
    page.get_by_text("Error 403").wait_for()


LIGHT = ("light", WIDE)
DARK = ("dark", WIDE)

LOGIN = Shot("login", lambda _: "/admin/login/")

SHOTS = (
    Shot("index", lambda _: "/admin/", guide=LIGHT),
    Shot("search", lambda _: "/admin/search/"),
    Shot("found", lambda _: "/admin/search/?q=price", guide=LIGHT),
    Shot("keys", build("check_prices"), keys, guide=LIGHT),
    Shot("error-400", lambda _: "/admin/", flooded),
    Shot("error-403", lambda _: "/admin/", forged),
    Shot("error-404", lambda _: "/admin/builds/build/999999/log/"),
    Shot("jobs", lambda _: "/admin/jobs/job/", guide=LIGHT),
    Shot("jobs-phone", lambda _: "/admin/jobs/job/", guide=("dark", NARROW)),
    Shot("jobs-none", lambda _: "/admin/jobs/job/?q=zebra"),
    Shot("job", job("report"), guide=LIGHT),
    Shot("grid", lambda _: "/admin/jobs/job/grid/", guide=LIGHT),
    Shot("grid-cell", lambda _: "/admin/jobs/job/grid/?q=licences", point),
    Shot("job-strip", job("scan"), point),
    Shot("job-protected", job("publish_report")),
    Shot("job-empty", job("weekly_digest")),
    Shot("job-failed", job("check_prices")),
    Shot("job-history", job("publish_report", "history")),
    Shot("build-form", job("report", "build-form"), guide=LIGHT),
    Shot("build-form-wrong", job("check_prices", "build-form"), spoil),
    Shot("build-form-protected", job("publish_report", "build-form")),
    Shot("armed", job("publish_report", "build-form"), arm, guide=LIGHT),
    Shot("build-form-plan", job("weekly_digest", "build-form"), first),
    Shot("plans", lambda _: "/admin/builds/plan/"),
    Shot("plan", lambda made: f"/admin/builds/plan/{made['plan']}/change/", guide=LIGHT),
    Shot("plan-resume", lambda made: f"/admin/builds/plan/{made['plan']}/resume/"),
    Shot("plan-waiting", lambda made: f"/admin/builds/plan/{made['waiting_plan']}/change/"),
    Shot("build-upstream-failed", build("price_report")),
    Shot("arm-several", lambda _: "/admin/jobs/job/arm/?job=publish_report"),
    Shot("graph", lambda _: "/admin/jobs/job/graph/", guide=LIGHT),
    Shot("graph-of-job", job("report", "graph")),
    Shot("graph-grouped", lambda _: "/admin/jobs/job/graph/?group=tag"),
    Shot("graph-found", lambda _: "/admin/jobs/job/graph/", find),
    Shot("builds", lambda _: "/admin/builds/build/", guide=LIGHT),
    Shot("builds-none", lambda _: "/admin/builds/build/?q=zebra"),
    Shot("build-running", build("read_catalogue"), guide=LIGHT),
    Shot("build-successful", build("report")),
    Shot("build-published", build("publish_report")),
    Shot("build-failed", build("check_prices"), guide=LIGHT),
    Shot("compare", compare("checked_prices", "check_prices"), guide=LIGHT),
    Shot("compare-jobs", compare("report", "check_prices")),
    Shot("compare-none", lambda _: "/admin/builds/build/compare/?left=1&right=7007"),
    Shot("build-waiting", build("waiting")),
    Shot("build-cancelled", build("cancelled")),
    Shot("build-not-deleted", build("export_stock")),
    Shot("log", build("read_catalogue", "log"), guide=DARK),
    Shot("log-found", build("read_catalogue", "log"), search),
    Shot("delete", build("report", "delete"), guide=LIGHT),
    Shot("deletions", lambda _: "/admin/builds/deletion/"),
    Shot("deletion", lambda _: "/admin/builds/deletion/1/change/"),
    Shot("workers", lambda _: "/admin/builds/cluster/"),
    Shot("tokens", lambda _: "/admin/builds/apitoken/"),
    Shot("token-new", lambda _: "/admin/builds/apitoken/add/"),
    Shot("revisions", lambda _: "/admin/jobs/configrevision/"),
    Shot("revision", lambda _: "/admin/jobs/configrevision/1/change/"),
)

# Of a site with five hundred jobs.
MANY_SHOTS = (
    Shot("graph-many", lambda _: "/admin/jobs/job/graph/"),
    Shot("graph-many-fitted", lambda _: "/admin/jobs/job/graph/", fitted),
    Shot("graph-groups", lambda _: "/admin/jobs/job/graph/?group=tag", guide=LIGHT),
)


def prepare_site(stack: ExitStack) -> tuple[Site, str, Numbers]:
    """Start a site with something to see on every page; return it, its address, its builds."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jobcontrol-")))
    site = stack.enter_context(Site(folder, sqlite_url(folder / "jobcontrol.sqlite3")))
    example = ROOT / "examples" / "packages"
    shutil.copy(example / "package_inventory.py", folder)
    site.write_module("shop", MODULE)
    site.write_config((example / "jobcontrol.yaml").read_text(encoding="utf-8") + JOBS)
    site.migrate()
    site.manage("sync_jobs", check=True)
    stack.enter_context(site.cluster(WORKERS=2))
    made = json.loads(site.python(SETUP).splitlines()[-1])
    return site, stack.enter_context(web(site)), made


def prepare_many(stack: ExitStack) -> tuple[Site, str]:
    """Serve a site with very many jobs; return it and its address."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jobcontrol-")))
    site = stack.enter_context(Site(folder, sqlite_url(folder / "jobcontrol.sqlite3")))
    site.write_module("shop", MODULE)
    site.write_config(many_jobs())
    site.migrate()
    site.manage("sync_jobs", check=True)
    site.python(MANY_SETUP)
    stack.enter_context(site.cluster(WORKERS=1))
    return site, stack.enter_context(web(site))


def log_in(page: Page) -> None:
    """Log in as the user that the site was made with."""
    page.goto("/admin/login/?next=/admin/")
    page.get_by_label("Username").fill(USER)
    page.get_by_label("Password").fill(USER)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()


def neutral(page: Page, folder: Path) -> None:
    """Put plain names in the place of this machine's."""
    page.evaluate(
        """(names) => {
            const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            while (walker.nextNode()) {
                let text = walker.currentNode.data;
                for (const [name, plain] of names) text = text.replaceAll(name, plain);
                if (text !== walker.currentNode.data) walker.currentNode.data = text;
            }
        }""",
        [
            [str(folder.resolve()), "/srv/jobs"],
            [sys.prefix, "/srv/jobcontrol"],
            [socket.gethostname(), "worker-1"],
        ],
    )


def take(
    browser: Browser, url: str, folder: Path, made: Numbers, shots: Sequence[Shot] = SHOTS
) -> None:
    """Take every page in both schemes and widths."""
    for scheme in ("light", "dark"):
        for width in (WIDE, NARROW):
            context = browser.new_context(
                base_url=url,
                color_scheme=scheme,
                viewport={"width": width, "height": HEIGHT},
            )
            page = context.new_page()
            page.goto("/admin/login/")
            if shots is SHOTS:
                keep(page, LOGIN, scheme, width)
            log_in(page)
            for shot in shots:
                page.goto(shot.address(made))
                if shot.prepare is not None:
                    shot.prepare(page)
                    page.wait_for_load_state()
                neutral(page, folder)
                keep(page, shot, scheme, width)
            context.close()


def keep(page: Page, shot: Shot, scheme: str, width: int) -> None:
    """Write the picture of `page`, to the guide's folder if the guide shows it."""
    height = page.evaluate("document.documentElement.scrollHeight")
    # Its type has another name in each version of playwright.
    clip: Any = {"x": 0, "y": 0, "width": width, "height": min(max(height, HEIGHT), TALLEST)}
    data = page.screenshot(full_page=True, clip=clip)
    is_for_guide = shot.guide == (scheme, width)
    name = f"{shot.name}.png" if is_for_guide else f"{shot.name}-{scheme}-{width}.png"
    path = (IMAGES if is_for_guide else GALLERY) / name
    # Pages have few colours: with a palette a picture takes a third of the room.
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    if is_for_guide and path.stat().st_size > MAX_BYTES:
        raise SystemExit(f"{path.relative_to(ROOT)} has more than {MAX_BYTES} bytes")


def main() -> int:
    """Take the pictures and return the exit code."""
    program = chromium_program()
    if program is None:
        sys.stderr.write("No Chromium on the PATH. On Debian: apt-get install chromium\n")
        return 2
    for path in (GALLERY, IMAGES):
        path.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        site, url, made = prepare_site(stack)
        browser = stack.enter_context(chromium(program))
        take(browser, url, site.folder, made)
        many, many_url = prepare_many(stack)
        take(browser, many_url, many.folder, {}, MANY_SHOTS)
    sys.stdout.write(
        f"{len(SHOTS) + len(MANY_SHOTS)} pages: see {IMAGES.name} and {GALLERY.name}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
