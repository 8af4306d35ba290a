"""What is installed, and from which locks."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.bootstrap import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = ("runtime", "dev", "bench")


def pinned(lock: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+) ", text, flags=re.MULTILINE))


def canonical(requirement: str) -> str:
    name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def source_files() -> list[str]:
    """The files that git has, so that what lies about here does not get in."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_every_package_folder_is_listed_for_installation():
    tops = ("builds", "jobcontrol", "jobcontrol_site", "jobs")
    folders = {path.parent for top in tops for path in (ROOT / top).rglob("__init__.py")}
    found = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    listed = set(PROJECT["tool"]["setuptools"]["packages"]) - {"jobcontrol.templates"}
    assert listed == found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_locked(lock):
    if lock == "bench":
        wanted = PROJECT["project"]["optional-dependencies"]["bench"]
    else:
        wanted = [*PROJECT["build-system"]["requires"], *PROJECT["project"]["dependencies"]]
    if lock == "dev":
        wanted += PROJECT["dependency-groups"]["dev"]
    assert {canonical(each) for each in wanted} - set(pinned(lock)) == set()


def test_all_locks_pin_the_same_versions():
    runtime, dev, bench = (pinned(lock) for lock in LOCKS)
    assert runtime == {name: dev.get(name) for name in runtime}
    shared = bench.keys() & dev.keys()
    assert {name: bench[name] for name in shared} == {name: dev[name] for name in shared}
    assert "django" in shared


def test_what_is_measured_against_is_no_dependency():
    peers = {canonical(each) for each in PROJECT["project"]["optional-dependencies"]["bench"]}
    assert peers & (pinned("runtime").keys() | pinned("dev").keys()) == set()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_no_host_is_named(lock):
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    entries = re.split(
        r"^(?=[a-z0-9])", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE), flags=re.M
    )
    entries = [entry for entry in entries if entry.strip()]
    assert len(entries) == len(pinned(lock))
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert re.findall(r"https?:|file:/|--index|--extra-index|--find-links|--trusted", text) == []


def test_a_wheel_carries_code_templates_and_static_files_and_nothing_else(tmp_path):
    source = tmp_path / "source"
    for name in source_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        + ["--no-index", "--wheel-dir", str(tmp_path), "."],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    code = ("builds/", "jobcontrol/", "jobcontrol_site/", "jobs/")
    wanted = {
        name for name in source_files() if name.startswith(code) and Path(name).name != ".gitkeep"
    }
    wanted |= {f"jobcontrol/{name}" for name in source_files() if name.startswith("templates/")}
    assert found == wanted
