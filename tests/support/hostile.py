"""Texts that try to become markup, and a job that says them wherever a job can say anything."""

from __future__ import annotations

import logging
from html.parser import HTMLParser

from jobcontrol.globals import current_app

MARK = (
    '<xss-mark>"><xss-mark xss-attr=1 onload="alert(1)" x=\''
    "' xss-attr='1' onclick='alert(1)\" xss-attr=\"1"
    "</title></textarea></script><script>xss()</script>"
    "<!--&lt;xss-mark&gt;-->{{ 7|add:7 }}{% now %} javascript:xss() \u202eright to left\u2066"
    "\u05e2\u05d1\u05e8\u05d9\u05ea \U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 "
)
ODD = MARK + "\x00\x01\x1b[31m\ud800 end"
LONG = MARK + "x" * 1_000_000


class Speaker:
    def __repr__(self):
        return LONG


def say_it_all(fail=False):
    """Log, report progress and return (or raise) hostile texts."""
    logger = logging.getLogger(f"odd.{MARK}")
    for text in (ODD, LONG):
        logger.error(text)
        logger.warning("%s", text, extra={"extra": text})
        current_app.report_progress((text, MARK), 1, 3, text)
        print(text.encode("utf-8", "replace").decode())
    try:
        raise ValueError(ODD)
    except ValueError:
        logger.exception(ODD)
    local = {ODD: LONG}
    if fail:
        raise type(f"Odd{MARK}", (Exception,), {})(ODD, local, LONG)
    return [Speaker(), ODD, {MARK: LONG}, local]


class _Finder(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.found = []

    def handle_starttag(self, tag, attrs):
        names = {name for name, _ in attrs}
        bad = {name for name in names if name.startswith(("on", "xss"))}
        if tag.startswith("xss") or bad or (tag == "script" and "src" not in names):
            self.found.append((tag, dict(attrs)))
        for name, value in attrs:
            if name in ("href", "src", "action") and (value or "").strip().lower().startswith(
                ("javascript:", "data:", "http:", "https:", "//")
            ):
                self.found.append((tag, name, value[:100]))


def markup_of_others(html):
    """Return the tags of a page that it did not mean to have."""
    finder = _Finder()
    finder.feed(html)
    finder.close()
    return [
        tag
        for tag in finder.found
        if not (tag[0] == "script" and "json" in str(tag[1].get("type")))
    ]
