"""What `make run` starts: one can log in, and nothing of it is left when it is stopped."""

import http.cookiejar
import re
import signal
import socket
import stat
import subprocess
import time
import urllib.parse
import urllib.request

import psutil
import pytest

from tests.support.site import process_tree, wait_until

JOBS = """
jobs:
  - {id: a-b, function: "jobcontrol.utils.testing:testing_job", kwargs: {retval: 7}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Browser:
    """Just enough of one to log in."""

    def __init__(self, url):
        self.url = url
        jar = http.cookiejar.CookieJar()
        handler = urllib.request.HTTPCookieProcessor(jar)
        self.opener = urllib.request.build_opener(handler)

    def get(self, path):
        with self.opener.open(self.url + path, timeout=20) as answer:
            return answer.read().decode()

    def log_in(self, user, password):
        page = self.get("admin/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]
        form = {"username": user, "password": password, "csrfmiddlewaretoken": token}
        data = urllib.parse.urlencode({**form, "next": "/admin/jobs/job/"}).encode()
        with self.opener.open(f"{self.url}admin/login/", data, timeout=20) as answer:
            return answer.read().decode()


class Launched:
    """A running launcher and what it has printed."""

    def __init__(self, site, log, **env):
        self.log = log
        with log.open("wb") as file:
            self.process = site.start(
                "-m",
                "jobcontrol_site.launch",
                env={"LEASE_SECONDS": "60", **env},
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self):
        return self.log.read_text(encoding="utf-8")

    def told(self, name):
        """Wait for the line `name: value` and return the value."""
        end = time.monotonic() + 90
        while True:
            found = re.search(rf"^{name}: (.*)$", self.output, re.M)
            if found:
                return found[1]
            assert self.process.poll() is None, self.output
            assert time.monotonic() < end, self.output
            time.sleep(0.1)

    def children(self):
        """The processes of the two groups that it leads, by command line."""
        return [child for child in process_tree(self.process.pid) if child.pid != self.process.pid]

    def end(self, *signals):
        for number in signals:
            self.process.send_signal(number)
        return self.process.wait(timeout=60)


def assert_gone(family):
    """None of these runs any more; what nobody has waited for yet (a zombie) does not run."""
    left = [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert not left


@pytest.fixture
def launched(site, tmp_path):
    """Start the launcher; at the end nothing of it may be left."""
    started = []

    def launch(**env):
        made = Launched(site, tmp_path / f"launch-{len(started)}.log", **env)
        started.append(made)
        return made

    yield launch
    for made in started:
        made.process.kill()
        made.process.wait()


def test_the_launcher_serves_a_site_that_one_can_log_in_to_twice(site, launched):
    site.write_config(JOBS)
    port = str(free_port())
    first = launched(PORT=port)
    password = first.told("Password")
    assert first.told("URL") == f"http://127.0.0.1:{port}/"
    assert first.told("User") == "admin"
    browser = Browser(first.told("URL"))
    assert "a-b" in browser.log_in("admin", password)
    assert ".jc-badge" in browser.get("static/builds/builds.css")

    kept = next(site.folder.glob(".jobcontrol/admin_password"))
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.read_text().strip() == password

    # The web server may answer before the worker's processes are there.
    wait_until(lambda: len(first.children()) >= 4)
    family = first.children()
    busy = launched(PORT=port)
    assert busy.process.wait(timeout=60) == 2
    assert busy.output == (
        f"jobcontrol: port {port} is in use by another program; "
        "choose another: PORT=8001 make run\n"
    )

    assert first.end(signal.SIGTERM) == 0
    assert_gone(family)

    again = launched(PORT=port)
    assert again.told("Password") == password
    assert again.end(signal.SIGINT) == 0


def test_a_password_that_the_user_changed_is_not_overwritten(site, launched):
    first = launched(PORT=str(free_port()))
    first.told("Password")
    first.end(signal.SIGTERM)
    change = (
        "from django.contrib.auth.models import User; u = User.objects.get(username='admin'); "
        "u.set_password('my own words'); u.save()"
    )
    site.manage("shell", "-c", change, check=True)
    second = launched(PORT=str(free_port()))
    assert "changepassword admin" in second.told("Password")
    browser = Browser(second.told("URL"))
    assert "logout" in browser.log_in("admin", "my own words")
    second.end(signal.SIGTERM)


def test_when_the_worker_dies_the_site_is_stopped_and_says_so(launched):
    running = launched(PORT=str(free_port()))
    running.told("Password")
    family = running.children()
    (worker,) = [
        one for one in family if "qcluster" in one.cmdline() and one.ppid() == running.process.pid
    ]
    worker.kill()
    assert running.process.wait(timeout=90) == 1
    assert "the worker ended by itself" in running.output
    assert_gone(family)


@pytest.mark.parametrize("port", ["eighty", "0", "70000"])
def test_an_impossible_port_is_one_line(site, port):
    result = site.run("-m", "jobcontrol_site.launch", env={"PORT": port})
    assert result.returncode == 2
    assert result.stderr.startswith("jobcontrol: PORT is ")
    assert port in result.stderr
    assert result.stderr.count("\n") == 1
