"""The programs of the table of `make bench` still work: at small sizes, whatever comes of it."""

import json
import os
import subprocess
import sys

import pytest

from tests import bootstrap
from tests.support.site import MIGRATED

FOLDER = bootstrap.ROOT / "benchmarks"
PROGRAMS = {
    "drain": 1,
    "latency": 2,
    "log_records": 4,
    "progress_reports": 3,
    "configuration": 4,
    "memory": 5,
}
NO_REDIS = ("--redis", "redis://127.0.0.1:1")


def run(program, *arguments, **env):
    env |= {k: v for k, v in os.environ.items() if k != "TEST_DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, str(FOLDER / program), *arguments],
        capture_output=True,
        text=True,
        env=env,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def table(tmp_path_factory, site_template):
    """What the table's program printed, and the file that it kept."""
    folder = tmp_path_factory.mktemp("results")
    # Its six sites would spend half of the time on their tables.
    template = {} if "://" in site_template else {MIGRATED: site_template}
    told = run(
        *("table.py", "--quick", "--rounds", "1", "--on", "sqlite", *NO_REDIS),
        *("--only", ",".join(PROGRAMS), "--results", str(folder)),
        **template,
    )
    (kept,) = folder.glob("*.jsonl")
    return told, kept


def test_every_program_of_the_table_measures_us_and_its_peer(table):
    told, kept = table
    first, *rows = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    assert first["quick"] is True
    assert first["versions"]["django-q2"]
    for program, least in PROGRAMS.items():
        found = [row for row in rows if row["program"] == program]
        assert len(found) >= least, program
        # Celery and tqdm are on the machines of those who measure only.
        assert all(row["ours"] and min(row["ours"]) >= 0 for row in found), program
        assert any(row["ratio"] is not None for row in found), program
    assert told.count("\n") == len(rows) + 2  # a head, a row each, and where it is kept


def test_what_is_kept_names_no_machine_and_no_folder(table):
    _, kept = table
    text = kept.read_text(encoding="utf-8")
    for folder in (str(kept.parent), str(bootstrap.ROOT), "/tmp/", "/home/"):
        assert folder not in text
    told = {"date", "python", "system", "cores", "load", "versions", "quick", "rounds"}
    assert set(json.loads(text.splitlines()[0])) == told


def test_growth_is_drawn(tmp_path):
    picture = tmp_path / "growth.svg"
    told = run("growth.py", "--quick", "--rounds", "1", "--plot", str(picture), *NO_REDIS)
    assert "drain of 20 no-op builds" in told
    drawn = picture.read_text(encoding="utf-8")
    assert drawn.count("<polyline") == told.count("itself at")
    assert "page: overview" in drawn


def test_the_table_says_how_it_is_used():
    assert "--quick" in run("table.py", "--help")
