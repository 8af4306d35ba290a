"""The call as code, and reStructuredText as safe HTML."""

import ast
import datetime

import pytest

from jobs.docs import call_code, call_code_of
from jobs.rst import rst_to_html
from jobs.tags import Retval, Secret, Text


def test_a_short_call_stands_on_one_line():
    code = call_code(function="pack.mod:f", args=[1, "a"], kwargs={"key": None})
    assert code == "from pack.mod import f\n\nf(1, 'a', key=None)"


def test_a_long_call_has_a_line_for_each_argument():
    code = call_code(function="m:f", args=["x" * 60], kwargs={"items": ["y" * 50, "z" * 50]})
    assert code.splitlines()[2:] == [
        "f(",
        f"    '{'x' * 60}',",
        "    items=[",
        f"        '{'y' * 50}',",
        f"        '{'z' * 50}',",
        "    ],",
        ")",
    ]
    ast.parse(code)


def test_references_stand_by_name_and_never_by_value():
    args = [Retval("crawl"), Secret("db"), Text(("postgres://u:", Secret("db", "url"), "@h"))]
    code = call_code(function="m:f", args=args)
    assert "f(Retval('crawl'), Secret('db'), 'postgres://u:' + Secret('db') + '@h')" in code


@pytest.mark.parametrize(
    "value",
    [
        float("nan"), float("-inf"), b"\x00", {1, 2}, set(), (1,), (), {}, {"a": {"b": [1]}},
        {1: 2},
        datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 3), [10**5000],
        "\x00\ud800", "it's",
        [["x" * 100]], {"k" * 50: "v" * 50}, ("t" * 100,),
    ],
)  # fmt: skip
def test_any_value_makes_code_that_python_reads(value):
    ast.parse(call_code(function="m:f", args=[value]))


def test_names_that_are_no_identifiers_can_be_called_too():
    code = call_code(function="my-mod:f", kwargs={"a-b": 1, "class": 2, "c": 3})
    assert code.splitlines()[2] == "import_object('my-mod:f')(c=3, **{'a-b': 1, 'class': 2})"
    assert "from m import A\n\nA.method()" in call_code(function="m:A.method")


def test_a_name_that_holds_a_secret_can_be_shown():
    code = call_code(function="m:f", kwargs={Text(("x-", Secret("db"))): 1})
    assert code.endswith("f(**{'x-' + Secret('db'): 1})")


def test_a_huge_call_is_cut():
    assert len(call_code(function="m:f", args=["x" * 1_000_000])) <= 100_000


def test_a_block_of_the_file_needs_neither_args_nor_kwargs():
    assert call_code_of("m:f", {"id": "a"}).endswith("\n\nf()")
    assert call_code_of("m:f", {"args": None, "kwargs": None}).endswith("\n\nf()")


def test_notes_are_rendered_as_restructured_text():
    html = rst_to_html("Some *notes* in **rst**\n\n- one\n- two\n\n:param x: a thing")
    assert "<em>notes</em>" in html
    assert "<li>" in html


@pytest.mark.parametrize(
    "text",
    [
        ".. raw:: html\n\n   <script>alert(1)</script>",
        ".. include:: /etc/passwd",
        ".. csv-table::\n   :file: /etc/passwd",
        "<script>alert(1)</script>",
        "`x <javascript:alert(1)>`_",
        "`x <java\tscript:alert(1)>`_",
        "`x <DATA:text/html,<script>alert(1)</script>>`_",
        ".. image:: javascript:alert(1)",
        ".. _x: javascript:alert(1)\n\nx_",
        ".. figure:: a.png\n   :target: javascript:alert(1)",
    ],
)
def test_notes_cannot_bring_scripts_or_files_into_the_page(text):
    html = rst_to_html(text).lower()
    assert "<script" not in html
    assert "root:" not in html
    assert 'href="javascript:' not in html
    assert 'src="javascript:' not in html
    assert 'href="java' not in html
    assert 'href="data:' not in html


@pytest.mark.parametrize(
    "text",
    [
        ".. list-table::\n   :widths: 10 90\n   :width: 50%\n\n   * - a\n     - b",
        ".. image:: a.png\n   :width: 50%\n   :height: 3em",
        ".. figure:: a.png\n   :figwidth: 30%\n\n   caption",
        ".. code:: python\n\n   x = 1",
        ":math:`a`\n\n.. math:: \\sqrt{x}",
    ],
)
def test_documents_bring_no_style_that_the_security_policy_would_refuse(text):
    html = rst_to_html(text)
    assert "<pre>.." not in html
    assert "style" not in html


def test_pictures_are_never_read_from_this_machine(tmp_path):
    picture = tmp_path / "secret.svg"
    picture.write_text('<svg xmlns="http://www.w3.org/2000/svg"><text>hidden</text></svg>')
    html = rst_to_html(f".. image:: {picture}\n   :loading: embed")
    assert "<img" in html
    assert "hidden" not in html


@pytest.mark.parametrize(
    "text", ["*unclosed", "a\n====\n\n  b\n c", "|x|", "`", ".. nothing::", "x_"]
)
def test_text_that_is_no_restructured_text_is_shown_as_it_is(text):
    html = rst_to_html(text)
    assert "system-message" not in html
    assert text.splitlines()[0].split(" ")[0] in html


def test_links_to_the_web_stay():
    assert 'href="https://example.org/"' in rst_to_html("`x <https://example.org/>`_")


def test_no_text_gives_no_html():
    assert rst_to_html("  \n") == ""
