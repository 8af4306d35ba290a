"""The texts of two builds beside each other: configuration, arguments and return value."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from builds.models import Build
from builds.pages.build import RETVAL_SHOWN
from builds.pages.comparison_parts import Section, Side
from builds.pages.configuration import SHOWN_CHARS
from builds.pages.differences import Difference, difference, lines_of, spread


@dataclass(frozen=True)
class Texts:
    """Two texts compared; where only one build has one, or both have the same, that is shown."""

    difference: Difference = field(default_factory=Difference)
    text: str = ""
    hidden: int = 0  # characters of the longer one that are not compared
    shown: int = 0
    file: str = ""  # the download that has all of it
    owners: tuple[Side, ...] = ()  # who has a text
    revisions: tuple[Build, ...] = ()
    is_spread: bool = False


def text_section(
    key: str, title: str, left: str, right: str, about: Texts, *, equal: bool = False
) -> Section:
    """Compare two texts; `equal`: the database says that they are the same to the end."""
    found = Difference() if equal else difference(left, right)
    content = replace(about, difference=found, text=right)
    is_cut = found.is_cut or about.hidden > 0
    if equal or (found.equal and not is_cut):
        word, same = ("the same" if right else "none in both"), True
    elif found.equal:
        word, same = "differs after what is compared here", False
    else:
        word, same = f"{_lines(found.removed)} gone, {_lines(found.added)} new", False
    return Section(key, title, same, word, "text", content)


def _lines(count: int) -> str:
    return f"{count:,} {'line' if count == 1 else 'lines'}"


def configuration_sections(left: Side, right: Side) -> list[Section]:
    """Compare the blocks of the file that the two ran with: arguments, and all the rest."""
    sides = (left, right)
    longest = max(side.shown("config_size") or 0 for side in sides)
    about = Texts(
        hidden=max(longest - SHOWN_CHARS, 0),
        shown=SHOWN_CHARS,
        file="config.yaml",
        owners=tuple(side for side in sides if side.has_texts),
    )
    (args, rest), (other_args, other_rest) = (
        split_arguments(side.shown("config_head") or "") for side in sides
    )
    equal = right.shown("same_config_text") is True
    revisions = tuple(side.build for side in sides if side.build.config_revision_id)
    whole = replace(about, revisions=revisions)
    return [
        text_section("arguments", "Arguments", args, other_args, about, equal=equal),
        text_section("configuration", "Configuration", rest, other_rest, whole, equal=equal),
    ]


def split_arguments(config: str) -> tuple[str, str]:
    """Return a job's block as it is shown in two parts: its arguments, and the rest.

    By its lines and not as YAML: secrets are masked in it, and its end may be cut off.
    """
    blocks: dict[str, list[str]] = {"args": [], "kwargs": []}
    rest: list[str] = []
    here = rest
    for line in lines_of(config):
        # What belongs to a key is indented, or an item of its list.
        if line and line[0] not in " -":
            here = blocks.get(line.partition(":")[0], rest)
        here.append(line)
    arguments = [line for block in blocks.values() for line in block if line]
    return "\n".join(arguments), "\n".join(rest)


def retval_section(left: Side, right: Side) -> Section:
    """Compare the texts of the return values, as the pages of the builds show them."""
    key, title = "retval", "Return value"
    owners = tuple(
        side
        for side in (left, right)
        if side.build.status == Build.Status.SUCCESSFUL and side.has_texts
    )
    heads = [side.shown("retval_head") or "" for side in owners]
    longest = max((side.shown("retval_size") or 0 for side in owners), default=0)
    about = Texts(
        text="".join(heads),
        hidden=max(longest - RETVAL_SHOWN, 0),
        shown=RETVAL_SHOWN,
        file="retval.txt",
        owners=owners,
    )
    if len(owners) < 2:
        word = f"only {owners[0].name} has one" if owners else "none in both"
        return Section(key, title, not owners, word, "text", about)
    one, other = heads
    if right.shown("same_retval_text") is True:
        return text_section(key, title, one, other, about, equal=True)
    broken = spread(one), spread(other)
    about = replace(about, is_spread=broken != (one, other))
    return text_section(key, title, *broken, about)
