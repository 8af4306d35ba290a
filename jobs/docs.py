"""What a job's page tells about its function: the call that will run, and text as HTML.

The signature and the docstring themselves are found by `jobs.inspection` and stand in `Job.docs`.
"""

from __future__ import annotations

import datetime
import keyword
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from docutils import nodes
from docutils.core import publish_doctree, publish_from_doctree
from docutils.writers.html5_polyglot import HTMLTranslator, Writer

from jobcontrol.utils.text import clean_text
from jobs.tags import Retval, Secret, Text

MAX_CALL = 100_000
MAX_RST = 200_000
_WIDTH = 88
_SAFE_SCHEMES = frozenset({"", "http", "https", "mailto", "ftp"})


def call_code(
    *, function: str, args: Sequence[object] = (), kwargs: Mapping[Any, object] | None = None
) -> str:
    """Return the call of a job as Python code: the import, then the call with its values.

    `!retval` and `!secret` stand there as `Retval('job')` and `Secret('name')`. At most 100,000
    characters; longer ones are cut with a marker.
    """
    start, callee = _import_code(function)
    values = [_code(value, 1) for value in args]
    odd = {}
    for name, value in (kwargs or {}).items():
        if isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name):
            values.append(f"{name}={_code(value, 1)}")
        else:
            odd[name] = value
    if odd:
        values.append(f"**{_code(odd, 1)}")
    one_line = f"{callee}({', '.join(values)})"
    if len(one_line) > _WIDTH or "\n" in one_line:
        one_line = f"{callee}(\n" + "".join(f"    {value},\n" for value in values) + ")"
    return clean_text(f"{start}\n\n{one_line}", MAX_CALL)


def call_code_of(function: str, config: Mapping[str, Any]) -> str:
    """Return the call of a job from its function and its decoded configuration block."""
    return call_code(
        function=function,
        args=config.get("args") or (),
        kwargs=config.get("kwargs") or {},
    )


def _import_code(function: str) -> tuple[str, str]:
    """Return the import line and the expression that is called."""
    module, _, name = function.partition(":")
    words = [*module.split("."), *name.split(".")]
    if all(word.isidentifier() and not keyword.iskeyword(word) for word in words):
        return f"from {module} import {name.partition('.')[0]}", name
    return "from jobcontrol.utils import import_object", f"import_object({function!r})"


def _code(value: object, depth: int) -> str:
    """Return `value` as Python code, on more lines where one would be too long."""
    if isinstance(value, Mapping):
        items = [
            f"{_code(key, depth + 1)}: {_code(item, depth + 1)}" for key, item in value.items()
        ]
        return _bracketed("{", items, "}", depth)
    if isinstance(value, list):
        return _bracketed("[", [_code(item, depth + 1) for item in value], "]", depth)
    if isinstance(value, tuple):
        end = ",)" if len(value) == 1 else ")"
        return _bracketed("(", [_code(item, depth + 1) for item in value], end, depth)
    if isinstance(value, (set, frozenset)) and value:
        return _bracketed("{", sorted(_code(item, depth + 1) for item in value), "}", depth)
    return _scalar_code(value)


def _scalar_code(value: object) -> str:
    if isinstance(value, Retval):
        return f"Retval({value.job_id!r})"
    if isinstance(value, Secret):
        return f"Secret({value.name!r})"
    if isinstance(value, Text):
        return " + ".join(_scalar_code(part) for part in value.parts) or "''"
    return _plain_code(value)


def _plain_code(value: object) -> str:
    if isinstance(value, float):
        text = repr(value)
        return text if text.lstrip("-")[:1].isdigit() else f"float({text!r})"
    if isinstance(value, datetime.date):
        return repr(value).removeprefix("datetime.")
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 10_000:
        return hex(value)  # Python refuses to write such numbers in decimal
    return repr(value)


def _bracketed(start: str, items: list[str], end: str, depth: int) -> str:
    one_line = start + ", ".join(items) + end
    if len(one_line) + 4 * depth <= _WIDTH and "\n" not in one_line:
        return one_line
    inner, outer = "    " * (depth + 1), "    " * depth
    return f"{start}\n" + "".join(f"{inner}{item},\n" for item in items) + outer + end[-1]


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
