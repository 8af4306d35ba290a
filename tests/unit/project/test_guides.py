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


def source_code() -> str:
    """Everything that may put a word on a page."""
    folders = ("templates", "builds", "jobs", "jobcontrol_site")
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*"))]
    return "\n".join(
        path.read_text(encoding="utf-8") for path in paths if path.suffix in (".html", ".js", ".py")
    )


def test_the_guide_calls_buttons_and_links_by_their_names():
    guide = (ROOT / "docs/user-guide.md").read_text(encoding="utf-8")
    labels = {" ".join(label.split()) for label in re.findall(r"(?<!\*)\*([A-Z][^*]+)\*", guide)}
    assert len(labels) > 15
    code = source_code()
    assert sorted(label for label in labels if label not in code) == []


def test_the_modules_and_folders_that_documents_name_are_there():
    texts = [path.read_text(encoding="utf-8") for path in DOCUMENTS]
    ours = r"(?:builds|jobs|jobcontrol_site|tests|tools|examples)"
    paths = {found for text in texts for found in re.findall(rf"`({ours}/[\w./]+)`", text)}
    assert len(paths) > 5
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []

    architecture = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    modules = set(re.findall(r"`((?:builds|jobs|jobcontrol_site)(?:\.[a-z_]+)+)`", architecture))
    assert len(modules) > 15
    lost = [name for name in modules if not is_module(name) and not is_in_module(name)]
    assert sorted(lost) == []


def is_module(name: str) -> bool:
    folder = ROOT.joinpath(*name.split("."))
    return folder.is_dir() or folder.with_suffix(".py").is_file()


def is_in_module(name: str) -> bool:
    """Whether `name` is a function or class of a module."""
    module, _, member = name.rpartition(".")
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    return path.is_file() and f"def {member}(" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_tells_to_make_can_be_made(document):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    text = document.read_text(encoding="utf-8")
    told = re.findall(r"(?:^    |`)(?:[A-Z]+=\S+ )?make ([a-z-]+)", text, flags=re.MULTILINE)
    assert set(told) - targets == set()


def test_make_help_names_each_target_that_is_for_people():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, flags=re.MULTILINE)
    helped = set(re.findall(r"^([a-z-]+):.*## \S", makefile, flags=re.MULTILINE))
    assert set(phony.split()) - helped == {"services"}
