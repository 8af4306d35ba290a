"""The jobs of jobcontrol.yaml: crawl a website into a folder, then count the words of its pages."""

from __future__ import annotations

import json
import logging
import re
import shutil
import urllib.error
import urllib.request
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

from jobcontrol.exceptions import SkipBuild
from jobcontrol.globals import current_app, current_build

logger = logging.getLogger(__name__)

HERE = Path(__file__).resolve().parent
MAX_PAGES = 50
TIMEOUT = 20  # seconds to wait for one answer


class PageParser(HTMLParser):
    """Collects the links and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a link leads."""
        target = dict(attrs).get("href")
        if tag == "a" and target:
            self.links.append(target)

    def handle_data(self, data: str) -> None:
        """Note a piece of text."""
        self.text.append(data)


def parse(page: str) -> PageParser:
    """Return the links and the text of `page`."""
    parser = PageParser()
    parser.feed(page)
    return parser


def crawl(url: str, storage: str) -> str:
    """Fetch `url` and the pages of the same site that it leads to; return where they are kept."""
    folder = new_folder(storage)
    waiting, seen, failed = [url], {url}, 0
    for number in range(MAX_PAGES):
        if not waiting:
            break
        address = waiting.pop(0)
        # The total grows while new links are found. That is fine.
        current_app.report_progress(("Fetching",), number, len(seen), address)
        page = fetch(address)
        if page is None:
            failed += 1
            continue
        (folder / f"{number:04}.json").write_text(json.dumps({"url": address, "page": page}))
        for link in same_site_links(address, page):
            if link not in seen:
                seen.add(link)
                waiting.append(link)
    current_app.report_progress(("Fetching",), len(seen) - len(waiting), len(seen), "Done")
    if failed == len(seen):
        raise ConnectionError(f"no page of {url} could be fetched")
    return str(folder)


def fetch(address: str) -> str | None:
    """Return the HTML at `address`, or None (and say why in the log) if there is none."""
    if urlsplit(address).scheme not in ("http", "https"):
        raise ValueError(f"{address!r} is not the address of a website")
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:
            if answer.headers.get_content_type() != "text/html":
                logger.info("%s is not a page", address)
                return None
            charset = answer.headers.get_content_charset() or "utf-8"
            return str(answer.read().decode(charset, errors="replace"))
    except (urllib.error.URLError, TimeoutError) as error:
        logger.warning("%s: %s", address, error)
        return None


def same_site_links(address: str, page: str) -> list[str]:
    """Return the links of `page` that stay on its site, without their #fragments."""
    links = [urldefrag(urljoin(address, link)).url for link in parse(page).links]
    return [link for link in links if urlsplit(link)[:2] == urlsplit(address)[:2]]


def process(input_storage: str, storage: str) -> str:
    """Count the words of every crawled page; return the folder with the counts."""
    pages = sorted(Path(input_storage).glob("*.json"))
    if not pages:
        # The build is marked as skipped; jobs that use its results go on using older ones.
        raise SkipBuild(f"there are no pages in {input_storage}")
    folder = new_folder(storage)
    total: Counter[str] = Counter()
    for number, path in enumerate(pages, start=1):
        crawled = json.loads(path.read_text())
        current_app.report_progress(("Counting words",), number, len(pages), crawled["url"])
        words = Counter(re.findall(r"\w+", " ".join(parse(crawled["page"]).text).lower()))
        logger.info("%s has %d words", crawled["url"], words.total())
        total += words
    (folder / "words.json").write_text(json.dumps(dict(total.most_common()), indent=1))
    return str(folder)


def new_folder(storage: str) -> Path:
    """Make the folder of the current build, so that builds never overwrite each other's data."""
    folder = HERE / storage / str(current_build.id)
    folder.mkdir(parents=True)
    return folder


def remove_storage(build: Any) -> None:
    """Remove the folder that a build filled: called before the build is deleted (`cleanup`)."""
    folder = build["retval"]
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
        logger.info("Removed %s", folder)
