"""The jobs of jobcontrol.yaml: an inventory of the Python packages on this machine.

A job is a plain function. It gets its arguments from the configuration file, and what it returns
is kept for the jobs that come after it. The only thing it needs from JobControl is a way to say
how far it is: `current_app.report_progress`.
"""

from __future__ import annotations

import base64
import hashlib
import html
import logging
import re
import shutil
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict

from jobcontrol.globals import current_app, current_build

# Everything logged while a build runs is shown on its page.
logger = logging.getLogger(__name__)

HERE = Path(__file__).resolve().parent


class Package(TypedDict):
    """What `scan` tells about one package."""

    name: str
    version: str
    summary: str
    licence: str
    requires: list[str]
    files: int


def scan() -> list[Package]:
    """List every installed package: name, version, licence, what it requires."""
    found = installed()
    packages = []
    for number, (name, distribution) in enumerate(sorted(found.items()), start=1):
        # None is the build itself; the last argument is shown beside the bar.
        current_app.report_progress(None, number, len(found), f"Reading {name}")
        packages.append(describe(distribution))
    logger.info("%d packages are installed", len(packages))
    return packages


def installed() -> dict[str, metadata.Distribution]:
    """Return the installed packages by name."""
    found: dict[str, metadata.Distribution] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            # Of two with one name, the first is the one that Python imports.
            found.setdefault(canonical(name), distribution)
        else:
            logger.warning("A broken package without a name was left out: %r", distribution)
    return found


def describe(distribution: metadata.Distribution) -> Package:
    """Return what we keep of one package."""
    about: Any = distribution.metadata
    return Package(
        name=canonical(about["Name"]),
        version=distribution.version,
        summary=about.get("Summary", ""),
        licence=licence_of(about),
        requires=list(distribution.requires or []),
        files=len(distribution.files or []),
    )


def describe_scan(build: Any) -> str:
    """Return the text shown for a return value of `scan` (its `repr_function`)."""
    packages = build["retval"]
    files = sum(package["files"] for package in packages)
    return f"{len(packages)} packages with {files} files"


def hash_files(packages: list[Package]) -> dict[str, str]:
    """Hash all files of each package into one digest, and warn of files that were changed."""
    distributions = installed()
    digests = {}
    for package in packages:
        files = distributions[package["name"]].files or []
        digest = hashlib.sha256()
        for number, file in enumerate(files, start=1):
            digest.update(hash_file(package["name"], file))
            # A tuple is a path in a tree of bars: here one bar for each package. The bar of the
            # build itself is the sum of them.
            current_app.report_progress((package["name"],), number, len(files))
        digests[package["name"]] = digest.hexdigest()
    return digests


def hash_file(package: str, file: metadata.PackagePath) -> bytes:
    """Return the SHA-256 of one file, empty if it is gone."""
    path = Path(str(file.locate()))
    if not path.is_file():
        logger.debug("%s: %s was recorded, but is not there", package, file)
        return b""
    with path.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").digest()
    if file.hash is not None and file.hash.mode == "sha256":
        recorded = base64.urlsafe_b64decode(file.hash.value + "==")
        if recorded != found:
            logger.warning("%s: %s was changed after it was installed", package, file)
    return found


def licences(packages: list[Package]) -> dict[str, list[str]]:
    """Group the packages by licence, the most frequent one first."""
    grouped: dict[str, list[str]] = {}
    for package in packages:
        if not package["licence"]:
            logger.warning("%s does not name a licence", package["name"])
        grouped.setdefault(package["licence"] or "not named", []).append(package["name"])
    # print() is kept with the log as well.
    print(f"{len(grouped)} different licences")
    return dict(sorted(grouped.items(), key=lambda item: -len(item[1])))


def licence_of(about: Any) -> str:
    """Return a package's licence, from wherever its metadata names it."""
    if about.get("License-Expression"):
        return str(about["License-Expression"])
    for classifier in about.get_all("Classifier", []):
        if classifier.startswith("License :: ") and classifier.count(" :: ") == 2:
            return str(classifier.split(" :: ")[2])
    lines = str(about.get("License") or "").strip().splitlines()
    return lines[0] if lines else ""


def dependency_graph(packages: list[Package]) -> dict[str, list[str]]:
    """Return, for each package, the installed packages that it requires."""
    installed = {package["name"] for package in packages}
    graph = {}
    for package in packages:
        required = {required_name(text) for text in package["requires"] if "extra ==" not in text}
        graph[package["name"]] = sorted(required & installed)
    popular = Counter(name for needed in graph.values() for name in needed)
    for name, count in popular.most_common(3):
        logger.info("%s is needed by %d packages", name, count)
    return graph


def required_name(requirement: str) -> str:
    """Return the name in a requirement such as 'redis>=5; python_version > "3"'."""
    return canonical(re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0])


def canonical(name: str) -> str:
    """Return a package's name in the one spelling under which all others are the same."""
    return re.sub(r"[-_.]+", "-", name).lower()


def report(
    packages: list[Package],
    hashes: dict[str, str],
    by_licence: dict[str, list[str]],
    needs: dict[str, list[str]],
    folder: str,
) -> str:
    """Write one HTML page about all packages and return its path."""
    rows = [
        [
            package["name"],
            package["version"],
            package["summary"],
            ", ".join(needs[package["name"]]),
            hashes[package["name"]][:12],
        ]
        for package in packages
    ]
    page = PAGE.format(
        count=len(packages),
        packages=table(["Package", "Version", "Summary", "Needs", "SHA-256"], rows),
        licences=table(
            ["Licence", "Packages"], [[name, ", ".join(of)] for name, of in by_licence.items()]
        ),
    )
    # Named by the build, so that one build never overwrites what another one returned.
    path = HERE / folder / f"inventory-{current_build.id}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    logger.info("Wrote %s (%d bytes)", path, path.stat().st_size)
    return str(path)


def table(headings: list[str], rows: list[list[str]]) -> str:
    """Return an HTML table; everything in it is escaped."""
    lines = [html_row("th", headings), *(html_row("td", row) for row in rows)]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def html_row(tag: str, cells: list[str]) -> str:
    """Return one row of an HTML table."""
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def publish_report(report: str, folder: str) -> str:
    """Copy the report to the folder of published reports and return the copy's path."""
    target = HERE / folder / Path(report).name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(report, target)
    logger.info("Published as %s", target)
    return str(target)


def remove_file(build: Any) -> None:
    """Remove the file that a build made: called before the build is deleted (its `cleanup`)."""
    path = build["retval"]
    if path is None:
        logger.info("Build %s made no file", build.id)
        return
    Path(path).unlink(missing_ok=True)
    logger.info("Removed %s", path)


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Installed packages</title>
<style>
  body {{ font-family: sans-serif; margin: 2rem; }}
  table {{ border-collapse: collapse; margin-bottom: 2rem; }}
  th, td {{ border: 1px solid #bbb; padding: .2rem .5rem; text-align: left; vertical-align: top; }}
</style>
<h1>{count} installed packages</h1>
{packages}
<h2>Licences</h2>
{licences}
</html>
"""
