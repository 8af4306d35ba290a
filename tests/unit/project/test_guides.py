"""The documents: their links, pictures, settings, commands and groups are those of the code."""

import ast
import re
import shlex
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from builds.groups import GROUPS
from jobcontrol_site.cli import SITE_COMMANDS, split
from tests.bootstrap import ROOT, SITE_VARIABLES

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
ADMINISTRATORS = (ROOT / "docs/administrators.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
MAX_BYTES = 200_000


def links(document: Path) -> list[Path]:
    text = document.read_text(encoding="utf-8")
    return [document.parent / found for found in LINK.findall(text) if "://" not in found]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_links_to_is_there(document):
    assert [path for path in links(document) if not path.exists()] == []


def test_each_picture_is_shown_somewhere_and_small():
    shown = {path.resolve() for document in DOCUMENTS for path in links(document)}
    pictures = sorted((ROOT / "docs/images").glob("*"))
    assert len(pictures) > 5
    for picture in pictures:
        assert picture.resolve() in shown, f"no document shows {picture.name}"
        assert picture.stat().st_size <= MAX_BYTES, picture.name


def section(text: str, title: str) -> str:
    """The part of a document below the heading `title`."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    assert found is not None, f"no section {title!r}"
    return found[1]


def first_cells(text: str) -> list[str]:
    """The names in the first column of the tables in `text`."""
    cells = re.findall(r"^\| (`[^|]*) \|", text, flags=re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def variables_read_by_the_settings() -> set[str]:
    """What the settings ask the environment for."""
    tree = ast.parse((ROOT / "jobcontrol_site/settings.py").read_text(encoding="utf-8"))
    readers = {"_number", "_whole"}
    names = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        reads = ast.unparse(node.func) in readers or ast.unparse(node.func).startswith("env.")
        first = node.args[0]
        if reads and isinstance(first, ast.Constant) and isinstance(first.value, str):
            names.add(first.value)
    return names


def test_each_setting_is_told_once_and_each_that_is_told_exists():
    told = first_cells(section(ADMINISTRATORS, "Settings"))
    assert sorted(told) == sorted(variables_read_by_the_settings())


def test_the_suite_inherits_no_setting_of_the_user():
    assert variables_read_by_the_settings() - set(SITE_VARIABLES) == set()


def test_each_group_is_told_once():
    groups = [name for name in first_cells(ADMINISTRATORS) if name in GROUPS]
    assert groups == list(GROUPS)


def command_lines(document: Path) -> list[list[str]]:
    """What the code blocks of a document call `jobcontrol-cli` with."""
    text = document.read_text(encoding="utf-8")
    lines = re.findall(
        r"^    (?:ExecStart=)?(?:\S*/)?jobcontrol-cli (.*)$", text, flags=re.MULTILINE
    )
    lines += re.findall(r"`jobcontrol-cli ([^`]+)`", text)
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_command_of_a_document_exists_and_has_its_options(document):
    for words in command_lines(document):
        _, name, rest = split(words)
        if name == "NAME" or (name in SITE_COMMANDS and name != "uninstall"):
            continue
        app = get_commands().get(name)
        assert app is not None, f"{document.name}: there is no command {name!r}"
        command = load_command_class(app, name) if isinstance(app, str) else app
        known = command.create_parser("jobcontrol-cli", name)._option_string_actions
        options = [word.partition("=")[0] for word in rest if word.startswith("--")]
        assert [each for each in options if each not in known] == [], f"{document.name}: {words}"


def test_commands_are_found_in_the_documents():
    found = [" ".join(words) for document in DOCUMENTS for words in command_lines(document)]
    assert "build-job greet" in found
    assert "web --host 127.0.0.1 --port 8000" in found
    assert "prune-logs" in found
    assert len(found) > 30


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_no_place_of_the_machine_it_was_written_on(document):
    text = document.read_text(encoding="utf-8")
    assert re.findall(r"(?<![\w.])/(?:root|home|work|tmp|opt|Users)/\S*", text) == []
    assert re.findall(r"pypi\S*|--(?:extra-)?index-url|\bfile:/\S*", text) == []
