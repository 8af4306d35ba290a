"""Every page says when nobody works, and how to start a worker; asked of the database seldom."""

import os
import shlex
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from builds import context_processors, services
from builds.upkeep_models import Cluster
from builds.workers import WorkerIdentity

pytestmark = pytest.mark.django_db(transaction=True)

PAGES = ["/admin/", "/admin/jobs/job/", "/admin/builds/build/", "/admin/password_change/"]
SAID = "No worker is running"


@pytest.fixture(autouse=True)
def _nothing_remembered():
    context_processors.forget()
    yield
    context_processors.forget()


@pytest.mark.parametrize("url", PAGES)
def test_without_a_worker_every_page_says_so_with_the_command(viewer, url):
    page = viewer.get(url).content.decode()
    assert SAID in page
    assert settings.JOBCONTROL_CONFIG in page


def test_a_worker_that_lives_is_enough(viewer):
    services.beat_cluster(worker=WorkerIdentity.current(), workers=2)
    for url in PAGES:
        assert SAID not in viewer.get(url).content.decode()


def test_a_worker_that_was_heard_of_long_ago_is_not(viewer):
    services.beat_cluster(worker=WorkerIdentity.current(), workers=2)
    Cluster.objects.update(last_seen=timezone.now() - timedelta(hours=1))
    assert SAID in viewer.get("/admin/").content.decode()


TROUBLE = "the broker does not answer."


def test_every_page_tells_what_troubles_a_worker(viewer):
    services.beat_cluster(worker=WorkerIdentity.current(), workers=2, trouble=TROUBLE)
    for url in PAGES:
        page = viewer.get(url).content.decode()
        assert f"process {os.getpid()} on" in page
        assert TROUBLE in page
        assert SAID not in page
    services.beat_cluster(worker=WorkerIdentity.current(), workers=2)
    context_processors.forget()
    assert TROUBLE not in viewer.get("/admin/").content.decode()


def test_strangers_are_told_nothing(client):
    services.beat_cluster(worker=WorkerIdentity.current(), workers=2, trouble=TROUBLE)
    page = client.get("/admin/login/").content.decode()
    assert SAID not in page
    assert TROUBLE not in page


def test_it_is_asked_once_in_a_few_seconds(viewer, django_assert_max_num_queries):
    viewer.get("/admin/")
    with django_assert_max_num_queries(20) as captured:
        viewer.get("/admin/")
        viewer.get("/admin/")
    assert not any("builds_cluster" in query["sql"] for query in captured.captured_queries)


def test_the_command_is_one_that_runs(monkeypatch):
    command = context_processors.worker_command()
    variable, *words = shlex.split(command)
    if "=" not in variable:  # installed: the script stands beside Python
        assert os.access(variable, os.X_OK)
        return
    name, _, value = variable.partition("=")
    assert (name, value) == ("JOBCONTROL_CONFIG", settings.JOBCONTROL_CONFIG)
    assert words[0] == sys.executable
    shown = subprocess.run([*words, "--help"], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0
    assert "qcluster" in shown.stdout


def test_the_script_is_named_where_it_is_installed(monkeypatch, tmp_path):
    script = tmp_path / "jobcontrol-cli"
    script.write_text("")
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    words = shlex.split(context_processors.worker_command())
    assert words == [str(script), "--config-file", settings.JOBCONTROL_CONFIG, "worker"]
    assert Path(words[2]).is_file()
