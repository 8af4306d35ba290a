"""The command line as people use it: real processes, their exit codes and what they print."""

import json
import os
import subprocess

import pytest

JOBS = """
jobs:
  - {id: a-b, function: "jobcontrol.utils.testing:testing_job", kwargs: {retval: 7}}
  - {id: bad, function: "jobcontrol.utils.testing:testing_job", kwargs: {fail: true}}
"""


def cli(site, *arguments, **options):
    return site.run("-m", "jobcontrol_site.cli", *arguments, **options)


def assert_one_line(result, *parts):
    """Nothing but one line for people, and exit code 2."""
    assert (result.returncode, result.stdout) == (2, ""), result
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("jobcontrol: ")
    for part in parts:
        assert part in lines[0]


def test_a_job_from_file_to_build_with_dashes_and_json(site):
    """original #33: --format json failed"""
    path = site.write_config(JOBS)
    own = ("--config-file", str(path), "--format", "json")
    env = {"JOBCONTROL_CONFIG": ""}
    assert [row["id"] for row in json.loads(cli(site, *own, "list-jobs", env=env).stdout)] == [
        "a-b",
        "bad",
    ]
    built = json.loads(cli(site, *own, "build-job", "a-b", env=env).stdout)
    assert built["retval"] == "7"
    failed = cli(site, *own, "build_job", "bad", env=env)
    assert failed.returncode == 1
    assert json.loads(failed.stdout)["status"] == "FAILED"
    listed = json.loads(cli(site, *own, "list-builds", env=env).stdout)
    assert [row["job_id"] for row in listed] == ["bad", "a-b"]


def test_manage_py_takes_dashes_too(site):
    site.write_config(JOBS)
    assert "a-b" in site.manage("list-jobs", check=True).stdout


def test_an_unreadable_configuration_is_one_clear_message_and_no_traceback(site):
    env = {"DATABASE_URL": ""}
    site.config_path.unlink()
    result = site.manage("list_jobs", env=env)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert all(line.startswith("jobcontrol: ") for line in result.stderr.splitlines())
    assert site.config_path.name in result.stderr
    assert not list(site.folder.glob("*.sqlite3")) or site.database_url.startswith("sqlite")


def test_a_named_configuration_that_is_not_there(site):
    assert_one_line(cli(site, "--config-file", "nope.yaml", "list_jobs"), "nope.yaml")


def test_a_broken_file_keeps_the_registry_and_is_told(site):
    site.write_config(JOBS)
    site.manage("sync_jobs", check=True)
    site.write_config("jobs: [{id: x, function: no-colon}]")
    result = site.manage("list_jobs", "--format", "json")
    assert [row["id"] for row in json.loads(result.stdout)] == ["a-b", "bad"]
    assert "Traceback" not in result.stderr
    assert "no-colon" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["list_job"], "did you mean 'list_jobs'"),
        (["get_build", "7"], "no build 7"),
        (["list_builds", "--limit", "many"], "'many'"),
        (["build_log"], "ID"),
    ],
)
def test_mistakes_are_one_line(site, arguments, part):
    assert_one_line(cli(site, *arguments), part)


def test_mistakes_are_one_line_of_manage_py_too(site):
    assert_one_line(site.manage("list_jobz"), "did you mean 'list_jobs'")


def test_a_database_that_cannot_be_reached_is_told(site):
    env = {"DATABASE_URL": "postgresql://u:verysecret@127.0.0.1:9/none"}
    for command in ("list_builds", "migrate"):
        result = cli(site, command, env=env)
        assert result.returncode == 2
        assert "Traceback" not in result.stderr
        assert "database" in result.stderr
        assert "verysecret" not in result.stderr


def test_help_needs_no_configuration(site):
    site.config_path.unlink()
    result = cli(site, "--help", env={"DATABASE_URL": "", "JOBCONTROL_CONFIG": ""})
    assert result.returncode == 0
    assert "build_job" in result.stdout


def test_a_reader_that_goes_away_is_no_error(site):
    site.write_config(JOBS)
    cli(site, "sync_jobs")
    process = site.start(
        "-m",
        "jobcontrol_site.cli",
        "list_jobs",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    error = process.stderr.read().decode()
    process.wait(timeout=60)
    process.stderr.close()
    assert "Traceback" not in error
    assert "BrokenPipe" not in error
    assert process.returncode == 141  # as if SIGPIPE had ended it


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKERS", "abc"),
        ("WORKERS", "1.5"),
        ("HEARTBEAT_SECONDS", "nan"),
        ("DATABASE_URL", "foo"),
        ("DATABASE_URL", "mongodb"),
        ("TIME_ZONE", "Mars/Olympus"),
    ],
)
def test_a_wrong_environment_is_one_line(site, name, value):
    given = f"{value}://user:passw0rd@host/x" if value == "mongodb" else value
    result = cli(site, "list_jobs", env={name: given})
    assert_one_line(result, value)
    assert "passw0rd" not in result.stderr


def test_an_id_that_is_no_text_is_not_there(site):
    site.write_config(JOBS)
    site.manage("migrate", check=True)
    assert_one_line(cli(site, "show_job", os.fsdecode(b"\xff")), "there is no job")


def test_json_is_pure_when_a_job_writes_below_python(site):
    site.write_config('jobs: [{id: low, function: "tests.support.odd_jobs:print_below_python"}]')
    site.manage("migrate", check=True)
    result = cli(site, "--format", "json", "build_job", "low")
    assert json.loads(result.stdout)["status"] == "SUCCESSFUL"
    assert "from below" in result.stderr
    assert "from a child" in result.stderr
