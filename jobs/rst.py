"""reStructuredText of notes and docstrings as HTML that is safe to show."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from docutils import nodes
from docutils.core import publish_doctree, publish_from_doctree
from docutils.writers.html5_polyglot import HTMLTranslator, Writer

from jobcontrol.utils.text import clean_text

MAX_RST = 200_000
_SAFE_SCHEMES = frozenset({"", "http", "https", "mailto", "ftp"})
_RST_SETTINGS: dict[str, Any] = {
    "raw_enabled": False,
    "file_insertion_enabled": False,
    "_disable_config": True,
    "halt_level": 5,
    "report_level": 5,
    "syntax_highlight": "none",
    "doctitle_xform": False,
    "initial_header_level": 3,
    "embed_stylesheet": False,
    "output_encoding": "unicode",
    "line_length_limit": MAX_RST,
}


class _Translator(HTMLTranslator):
    """Writes no style attribute: our pages' content security policy refuses them."""

    def starttag(
        self, node: Any, tagname: str, suffix: str = "\n", empty: bool = False, **attributes: Any
    ) -> str:
        """Return the tag with everything but its style."""
        kept = {name: value for name, value in attributes.items() if name.lower() != "style"}
        return str(super().starttag(node, tagname, suffix, empty, **kept))


def rst_to_html(text: str) -> SafeString:
    """Return reStructuredText as safe HTML; text that is no reStructuredText stands as it is.

    Files can't be inserted, raw HTML is not passed on, and links lead to web or mail addresses
    only.
    """
    if not text.strip():
        return mark_safe("")
    shown = clean_text(text, MAX_RST)
    try:
        tree = publish_doctree(shown, settings_overrides=_RST_SETTINGS)
        if _has_errors(tree):
            return _as_it_is(shown)
        _drop_unsafe_links(tree)
        writer = Writer()
        writer.translator_class = _Translator
        publish_from_doctree(tree, writer=writer, settings_overrides=_RST_SETTINGS)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        # docutils fails on some odd input; such a text is shown as it was written.
        return _as_it_is(shown)
    return mark_safe(writer.parts["body"])  # noqa: S308 - docutils escapes, and links were looked at


def _as_it_is(text: str) -> SafeString:
    return format_html("<pre>{}</pre>", text)


def _has_errors(tree: nodes.document) -> bool:
    return any(message["level"] >= 3 for message in tree.parse_messages)


def _drop_unsafe_links(tree: nodes.document) -> None:
    for node in tree.findall(nodes.Element):
        if isinstance(node, nodes.image):
            node.attributes.pop("loading", None)  # "embed" would read a file of this machine
        for attribute in ("refuri", "uri"):
            if attribute in node and not _is_safe_link(str(node[attribute])):
                node[attribute] = "#"


def _is_safe_link(address: str) -> bool:
    try:
        return urlsplit("".join(address.split())).scheme.lower() in _SAFE_SCHEMES
    except ValueError:
        return False
