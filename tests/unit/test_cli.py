"""The command line: what becomes environment, and what becomes a command of Django's."""

import os
import signal

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class

from jobcontrol_site import cli, server
from jobcontrol_site.launch import Stopper


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """What would be run; nothing is. The environment and arguments are put back."""
    made = []
    monkeypatch.setattr(cli, "_django", lambda arguments: made.append(arguments) or 0)
    monkeypatch.setattr(cli, "load_settings", lambda: None)
    monkeypatch.setattr(server, "serve", lambda host, port: made.append(["serve", host, port]))
    monkeypatch.setattr(server, "is_free", lambda host, port: True)
    for name in ("DEBUG", "HOST", "PORT", "REDIS_URL"):
        # Set and removed again, so that whatever main() sets is undone too.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("JOBCONTROL_CONFIG", os.environ["JOBCONTROL_CONFIG"])
    monkeypatch.setattr(cli.sys, "argv", ["jobcontrol-cli"])
    return made


def test_own_options_come_before_the_name():
    assert cli.split(["--config-file", "f", "--format", "json", "list-jobs", "--tag", "x-y"]) == (
        ["--config-file", "f", "--format", "json"],
        "list_jobs",
        ["--tag", "x-y"],
    )
    assert cli.split(["--format=json", "show_job", "--", "-x"]) == (
        ["--format=json"],
        "show_job",
        ["--", "-x"],
    )
    assert cli.split([]) == ([], "", [])


@pytest.mark.parametrize("name", ["list-jobs", "list_jobs"])
def test_names_work_with_dash_and_underscore(calls, name):
    """original #33"""
    assert cli.main([name]) == 0
    assert calls == [["list_jobs"]]


def test_config_file_and_format_are_handed_on(calls, tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("jobs: []\n")
    assert cli.main(["--config-file", str(path), "--format", "json", "show-job", "a"]) == 0
    assert os.environ["JOBCONTROL_CONFIG"] == str(path)
    assert calls == [["show_job", "--format", "json", "a"]]


def test_install_is_migrate(calls, capsys):
    """original #33: install"""
    assert cli.main(["install"]) == 0
    assert calls == [["migrate", "--noinput"]]
    assert "createsuperuser" in capsys.readouterr().out


def test_install_answers_in_json_too(calls, capsys):
    assert cli.main(["--format", "json", "install"]) == 0
    assert capsys.readouterr().out == '{"installed": true}\n'


def test_worker_is_qcluster_with_its_own_options(calls):
    """original #33: worker [--broker URL] [-- more arguments]"""
    assert cli.main(["worker", "--broker", "redis://h:1/2", "--", "--name", "x", "--run-once"]) == 0
    assert calls == [["qcluster", "--name", "x", "--run-once"]]
    assert os.environ["REDIS_URL"] == "redis://h:1/2"


def test_worker_without_broker_leaves_the_environment(calls):
    assert cli.main(["worker", "--run-once"]) == 0
    assert calls == [["qcluster", "--run-once"]]
    assert "REDIS_URL" not in os.environ


def test_worker_refuses_another_broker(calls, capsys):
    assert cli.main(["worker", "--broker", "amqp://h"]) == 2
    assert capsys.readouterr().err.startswith("jobcontrol: --broker must be a Redis URL")
    assert not calls


def test_web_serves_on_what_the_settings_say(calls):
    assert cli.main(["web"]) == 0
    assert calls == [["serve", settings.HOST, settings.PORT]]


def test_web_options_become_environment_before_the_settings_are_read(calls, monkeypatch):
    """original #33: web --host --port --debug"""
    seen = {}
    monkeypatch.setattr(cli, "load_settings", lambda: seen.update(os.environ))
    assert cli.main(["web", "--host", "0.0.0.0", "--port", "5050"]) == 0
    assert (seen["HOST"], seen["PORT"]) == ("0.0.0.0", "5050")
    assert "DEBUG" not in seen


def test_web_debug_is_the_development_server(calls, monkeypatch):
    seen = {}
    monkeypatch.setattr(cli, "load_settings", lambda: seen.update(os.environ))
    assert cli.main(["web", "--debug"]) == 0
    assert seen["DEBUG"] == "true"
    assert calls == [["runserver", f"{settings.HOST}:{settings.PORT}"]]


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "80.5", ""])
def test_web_refuses_an_impossible_port(calls, capsys, port):
    assert cli.main(["web", f"--port={port}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("jobcontrol: argument --port:")
    assert error.count("\n") == 1


def test_web_tells_a_busy_port_in_one_line(calls, capsys, monkeypatch):
    monkeypatch.setattr(server, "is_free", lambda host, port: False)
    assert cli.main(["web", "--port", "8080"]) == 2
    error = capsys.readouterr().err
    assert "port" in error
    assert error.count("\n") == 1
    assert not calls


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--config-file", "no/such.yaml", "list_jobs"], "no/such.yaml: there is no such file"),
        (["--format", "xml", "list_jobs"], "'xml'"),
        (["--config-file"], "--config-file"),
        (["--format", "json", "runserver"], "'runserver' has no --format"),
        (["--confg-file", "x", "list_jobs"], "--confg-file"),
        (["install", "--hard"], "--hard"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_code_2(calls, capsys, arguments, complaint):
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("jobcontrol: ")
    assert complaint in err
    assert err.count("\n") == 1
    assert not calls


def test_help_lists_every_command_of_ours_with_its_own_words(capsys):
    """original #33"""
    ours = {
        name: load_command_class(app, name).help
        for name, app in get_commands().items()
        if app in ("jobs", "builds")
    }
    told = {**cli.SITE_COMMANDS, **cli.COMMANDS}
    del ours["qcluster"]  # told of as 'worker'
    assert set(ours) <= set(told)
    for name, text in ours.items():
        assert text.startswith(told[name])

    assert cli.main([]) == 0
    text = capsys.readouterr().out
    for name, line in told.items():
        assert f"  {name:<14} {line}\n" in text


def test_ipv6_hosts_get_brackets():
    assert server.address("::1", 80) == "[::1]:80"
    assert server.address("[::1]", 80) == "[::1]:80"
    assert server.address("127.0.0.1", 80) == "127.0.0.1:80"


def test_the_same_request_to_stop_that_comes_twice_counts_once(monkeypatch):
    """Ctrl-C reaches the launcher from the terminal, and again through make."""
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    now = [100.0]
    monkeypatch.setattr("jobcontrol_site.launch.time.monotonic", lambda: now[0])
    stopper = Stopper()
    stopper._note(2, None)
    now[0] += 0.1
    stopper._note(15, None)
    assert stopper.requests == 1
    now[0] += 5
    stopper._note(2, None)
    assert stopper.requests == 2
