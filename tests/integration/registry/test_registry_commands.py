"""sync_jobs, check_jobs and dump_config, as a person and as a program reads them."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from jobs.models import Job

pytestmark = pytest.mark.django_db

FILE = """
    # kept: a comment
    secret:
      password: s3cret-wörd
      pin: 12
      many:
        - |
          two lines
          of a key
        - "quoted"
        - {inner: 'x'}
      empty:
    webapp: {PORT: 8000, SECRET_KEY: "abc"}
    storage: "postgresql://user:p4ss@host/db"
    jobs:
      - id: a
        title: Größe {{ 1 + 1 }}
        function: builtins:print
        args: [!secret password, "s3cret-wörd", 12]
      - id: b
        function: no_such_module_here:f
        tag: misspelt
"""
GOOD = "jobs: [{id: a, function: 'math:sqrt', args: [1]}]"
WRONG = "jobs: [{id: a, function: nothing}, {id: a, function: 'math:sqrt'}]"


def call(*arguments):
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_sync_jobs_tells_what_it_did(config_file):
    config_file.write(FILE)
    text = call("sync_jobs")
    assert "added: a\n" in text
    assert "added: b\n" in text
    assert "problem: b: there is no module 'no_such_module_here'" in text
    assert "2 added, 1 with a problem" in text
    assert "'tag'" in text
    assert Job.objects.count() == 2
    assert "nothing changed" in call("sync_jobs")


def test_sync_jobs_answers_in_json(config_file):
    config_file.write(FILE)
    found = json.loads(call("sync_jobs", "--format", "json"))
    assert found["added"] == ["a", "b"]
    assert found["changed"] == found["retired"] == found["restored"] == []
    assert list(found["problems"]) == ["b"]
    assert found["revision"]
    assert any("'tag'" in warning for warning in found["warnings"])


@pytest.mark.parametrize("command", ["sync_jobs", "check_jobs", "dump_config"])
def test_a_wrong_file_ends_with_code_2_and_all_that_is_wrong(config_file, command):
    config_file.write(GOOD)
    call("sync_jobs")
    config_file.write(WRONG)
    with pytest.raises(CommandError) as error:
        call(command, "--format", "json")
    assert error.value.returncode == 2
    assert len(str(error.value).splitlines()) >= 2
    assert Job.objects.get().function == "math:sqrt"


def test_check_jobs_is_content_with_a_good_file(config_file):
    config_file.write(GOOD)
    assert call("check_jobs") == "1 job checked, all can run.\n"
    assert Job.objects.count() == 0, "it writes nothing"


def test_check_jobs_names_each_problem_and_ends_with_code_2(config_file, capsys):
    config_file.write(FILE)
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("check_jobs", stdout=out)
    assert ended.value.code == 2
    assert "job 'b': there is no module 'no_such_module_here'" in out.getvalue()
    assert "2 jobs checked, 1 can't run." in out.getvalue()
    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("check_jobs", "--format", "json", stdout=out)
    found = json.loads(out.getvalue())
    assert list(found["problems"]) == ["b"]
    assert found["jobs"][0]["signature"].startswith("print(")


def test_check_jobs_reports_modules_that_clash_with_ours(config_file, tmp_path):
    (tmp_path / "builds.py").write_text("")
    config_file.write(GOOD)
    assert f"'builds' in {tmp_path} is hidden by JobControl's own package" in call("check_jobs")


def test_check_jobs_masks_secrets(config_file):
    config_file.write("""
        secret: {name: hidden_module_name}
        jobs: [{id: a, function: "hidden_module_name:f"}]
    """)
    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("check_jobs", stdout=out)
    assert "hidden_module_name" not in out.getvalue()


def test_dump_config_shows_the_expanded_file_without_its_secrets(config_file):
    """original #18: secrets were printed by dump-config."""
    config_file.write(FILE)
    text = call("dump_config")
    assert "# kept: a comment" in text
    assert "title: Größe 2" in text
    assert 'args: [!secret password, "•••", 12]' in text
    for line in (
        "password: •••", "pin: •••", "- •••", "{inner: •••}", "SECRET_KEY: •••", "PORT: 8000",
        "empty:", "postgresql://user:•••@host/db",
    ):  # fmt: skip
        assert line in text, line
    for secret in ("s3cret", "two lines", "of a key", "quoted", "'x'", "abc", "p4ss"):
        assert secret not in text, secret


def test_the_dump_can_be_loaded_again(config_file):
    config_file.write(FILE)
    from jobs.config import load_text

    again = load_text(call("dump_config"))
    assert [job.id for job in again.jobs] == ["a", "b"]
    assert set(again.secrets) == {"password", "pin", "many", "empty"}


def test_dump_config_answers_in_json(config_file):
    config_file.write(FILE)
    found = json.loads(call("dump_config", "--format", "json"))
    assert found["path"] == str(config_file.path)
    assert [job["id"] for job in found["jobs"]] == ["a", "b"]
    assert "s3cret" not in json.dumps(found, ensure_ascii=False)


@pytest.mark.parametrize(
    "text",
    [
        "jobs: []\nsecret: {a: &x abc, b: *x}",
        "jobs: []\nsecret: {a: !!str abc, b: ['abc', {c: abc}]}",
        "jobs: []\nsecret:\n  a: >-\n    folded\n    more\n  b: 'it''s'\n",
        "secret: {}\njobs: []",
        "secret:\njobs: []",
        '{"secret": {"a": "abc"}, "jobs": []}',
        "? secret\n: {a: abc}\njobs: []",
    ],
)
def test_secrets_in_any_spelling_of_yaml_are_masked(config_file, text):
    config_file.write(text)
    dumped = call("dump_config")
    assert "abc" not in dumped
    assert "folded" not in dumped
    assert "it''s" not in dumped
    from jobs.config import load_text

    load_text(dumped)


def test_a_wrong_file_is_told_line_by_line_on_stderr(site):
    site.write_config(WRONG)
    result = site.manage("check_jobs", "--format", "json")
    assert result.returncode == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith("jobcontrol: ") for line in lines)


def test_sync_jobs_without_tables_says_what_to_do(site, tmp_path):
    url = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    result = site.manage("sync_jobs", env={"DATABASE_URL": url})
    assert result.returncode == 2
    assert "run 'migrate' first" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    check = site.manage("check_jobs", env={"DATABASE_URL": url})
    assert check.returncode == 0, "needs no database"


def test_migrate_syncs_and_flush_does_not(site):
    site.write_config(GOOD)
    result = site.manage("migrate", check=True)
    assert "Jobs of the configuration file: 1 added" in result.stdout
    listing = "from jobs.models import Job; print(list(Job.objects.values_list('pk', flat=True)))"
    shell = ("shell", "--verbosity", "0", "--command", listing)
    assert "['a']" in site.manage(*shell, check=True).stdout
    site.manage("flush", "--no-input", check=True)
    assert "[]" in site.manage(*shell, check=True).stdout


def test_migrate_with_a_wrong_file_tells_it_and_succeeds(site):
    site.write_config(WRONG)
    result = site.manage("migrate")
    assert result.returncode == 0
    assert "jobcontrol: " in result.stderr


def test_the_tables_can_be_removed_by_migrating_to_zero(site):
    site.write_config(GOOD)
    for app in ("builds", "jobs"):
        result = site.manage("migrate", app, "zero")
        assert result.returncode == 0, result.stderr


def test_the_python_path_is_appended_at_start(site):
    site.write_module("job_code", "def f(): 'Mine.'")
    site.write_config("jobs: [{id: a, function: 'job_code:f'}]")
    result = site.manage(
        "shell", "--verbosity", "0", "--command", "import sys, job_code; print(sys.path[-1])"
    )
    assert result.stdout.strip() == str(site.folder)
    assert site.json("check_jobs")["problems"] == {}
