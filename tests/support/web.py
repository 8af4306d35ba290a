"""The real web server of a site, and a real Chromium that looks at it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from playwright.sync_api import Browser, ConsoleMessage, Page, Response, sync_playwright

from tests.support.site import START_TIMEOUT, STOP_TIMEOUT, Site

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT = 30_000  # milliseconds; only ends what would hang


def free_port() -> int:
    """Return a port of the loopback interface on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Whether a page comes from there."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return bool(answer.status < 500)
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


@contextmanager
def web(site: Site, port: int = 0) -> Iterator[str]:
    """Serve `site` with gunicorn, as `jobcontrol-cli web` does; yields its address, without /."""
    port = port or free_port()
    log = site.folder / "web.log"
    command = ("-m", "jobcontrol_site.cli", "web", "--host", "127.0.0.1", "--port", str(port))
    with log.open("wb") as file:
        process = site.start(*command, stdout=file, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    end = time.monotonic() + START_TIMEOUT
    while not answers(f"{url}/admin/login/"):
        said = log.read_text(encoding="utf-8", errors="replace")
        assert process.poll() is None, f"the web server ended at its start:\n{said}"
        assert time.monotonic() < end, f"no page came from the web server:\n{said}"
        time.sleep(0.1)
    try:
        yield url
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=STOP_TIMEOUT)


def chromium_program() -> str | None:
    """Return the path of the system's Chromium, if there is one."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@contextmanager
def chromium(program: str) -> Iterator[Browser]:
    """Run that Chromium, with a profile of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Watch:
    """What a page complains about: errors of scripts, of the console (CSP's too), of the server.

    `expected` holds parts of complaints that the test brings about by intention.
    """

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.expected: list[str] = []

    def follow(self, page: Page) -> None:
        """Listen to `page`."""
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on("console", self._console)
        page.on("response", self._response)
        page.on("crash", lambda _: self.complaints.append(f"{page.url}: the page crashed"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "assert"):
            self.complaints.append(f"{message.location.get('url')}: {message.text}")

    def _response(self, response: Response) -> None:
        if response.status >= 500:
            self.complaints.append(f"{response.url}: {response.status}")

    @property
    def unexpected(self) -> list[str]:
        """The complaints that no test asked for."""
        return [one for one in self.complaints if not any(part in one for part in self.expected)]
