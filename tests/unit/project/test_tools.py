"""The scripts that the Makefile runs before anything is installed."""

import importlib.util
import sys
from types import ModuleType

import pytest

from tests.bootstrap import ROOT


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    # Where dataclasses look for their module.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_venv(tmp_path, monkeypatch):
    """The script, working in a folder of its own; what it would run is noted in `calls`."""
    script = load("make_venv")
    (tmp_path / "requirements").mkdir()
    for lock in ("runtime", "dev", "bench"):
        (tmp_path / "requirements" / f"{lock}.txt").write_text(f"# {lock}\n")
    (tmp_path / "pyproject.toml").write_text(
        (ROOT / "pyproject.toml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(script, "PYTHON", tmp_path / ".venv/bin/python")
    script.calls = []

    def make_empty():
        script.calls.append("make")
        (tmp_path / ".venv").mkdir()

    monkeypatch.setattr(script, "works", lambda _: (tmp_path / ".venv").is_dir())
    monkeypatch.setattr(script, "make_empty", make_empty)
    monkeypatch.setattr(script, "pip_install", lambda *a: script.calls.append(a[-1]))
    return script


def test_an_unchanged_lock_is_not_installed_again(make_venv):
    make_venv.ensure("runtime")
    assert make_venv.calls == ["make", "requirements/runtime.txt", "."]
    make_venv.ensure("runtime")
    assert make_venv.calls == ["make", "requirements/runtime.txt", "."]


def test_a_changed_lock_is_installed_again(make_venv, tmp_path):
    make_venv.ensure("runtime")
    (tmp_path / "requirements/runtime.txt").write_text("# another\n")
    make_venv.ensure("runtime")
    assert make_venv.calls[3:] == ["requirements/runtime.txt", "."]


def test_settings_of_tools_are_no_reason_to_install_again(make_venv, tmp_path):
    make_venv.ensure("runtime")
    project = tmp_path / "pyproject.toml"
    project.write_text(project.read_text() + "\n[tool.other]\nkey = 1\n")
    make_venv.ensure("runtime")
    assert len(make_venv.calls) == 3
    project.write_text(project.read_text().replace("[project.scripts]", "[project.scripts]\na='b'"))
    make_venv.ensure("runtime")
    assert len(make_venv.calls) == 5


def test_the_environment_for_development_serves_for_running_too(make_venv):
    make_venv.ensure("dev")
    make_venv.ensure("runtime")
    assert make_venv.calls == ["make", "requirements/dev.txt", "."]


def test_what_is_measured_against_comes_on_top_of_the_environment_for_development(make_venv):
    make_venv.ensure("bench")
    assert make_venv.calls == ["make", "requirements/dev.txt", ".", "requirements/bench.txt"]
    make_venv.ensure("dev")
    make_venv.ensure("bench")
    assert len(make_venv.calls) == 4


def test_an_interrupted_install_is_begun_anew(make_venv, monkeypatch):
    make_venv.ensure("dev")
    (make_venv.ROOT / "requirements/dev.txt").write_text("# another\n")

    def interrupted(*_):
        raise KeyboardInterrupt

    working = make_venv.pip_install
    monkeypatch.setattr(make_venv, "pip_install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_venv.ensure("dev")
    (make_venv.ROOT / "requirements/dev.txt").write_text("# dev\n")
    monkeypatch.setattr(make_venv, "pip_install", working)
    make_venv.ensure("dev")
    assert make_venv.calls[3:] == ["requirements/dev.txt", "."]


def test_a_python_without_ensurepip_is_told_in_one_line(monkeypatch, capsys):
    script = load("make_venv")
    monkeypatch.setattr(script.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(script, "works", lambda _: False)
    monkeypatch.setattr(sys, "argv", ["make_venv.py", "runtime"])
    assert script.main() == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "python3-venv" in said


@pytest.fixture
def services(monkeypatch):
    """The script with one need that is missing; `installed` notes what apt-get was asked for."""
    script = load("test_services")
    missing = script.Need("Frobnicator", ("no-such-program",), ("frobnicator",))
    monkeypatch.setattr(script, "NEEDS", (missing,))
    script.installed = []

    def apt_install(packages):
        script.installed += packages
        return True

    monkeypatch.setattr(script, "apt_install", apt_install)
    return script


def test_a_missing_service_is_named_loudly_outside_ci(services, monkeypatch, capsys):
    monkeypatch.delenv("CI", raising=False)
    assert services.main() == 0
    assert services.installed == []
    assert "NOT TESTED: Frobnicator" in capsys.readouterr().err


def test_a_missing_service_is_installed_in_ci_or_fails_the_run(services, monkeypatch, capsys):
    monkeypatch.setenv("CI", "true")
    assert services.main() == 1
    assert services.installed == ["frobnicator"]
    assert "Frobnicator is missing" in capsys.readouterr().err
    monkeypatch.setattr(services.Need, "found", lambda self: bool(services.installed))
    assert services.main() == 0


def test_the_suites_leave_no_file_out_and_name_none_that_is_not_there():
    suites = load("run_suites").SUITES
    every = {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")}

    def under(paths: tuple[str, ...]) -> set[str]:
        assert all((ROOT / path).exists() for path in paths)
        return {file for file in every if any(f"{file}/".startswith(f"{path}/") for path in paths)}

    assert set().union(*(under(suite.folders) - under(suite.without) for suite in suites)) == every
