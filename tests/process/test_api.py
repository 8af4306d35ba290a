"""The OpenAPI document against the real web server, with a worker behind it."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.site import Site
from tests.support.web import web

CONFIG = """
jobs:
  - id: echo
    function: jobcontrol.utils.testing:testing_job
    kwargs: {retval: {a: [1, null]}, log_messages: [[30, Look]]}
    tags: [daily]
  - {id: "a/b", function: "jobcontrol.utils.testing:testing_job", dependencies: [echo]}
  - {id: guarded, function: "jobcontrol.utils.testing:testing_job", protect: true}
"""
TOKEN = """
from datetime import timedelta
from django.contrib.auth.models import User
from django.utils import timezone
from builds import services
from builds.token_models import ApiToken

user = User.objects.create_superuser("root")
token = ApiToken(name="test", user=user, expires=timezone.now() + timedelta(days=1))
print(services.issue_token(token=token))
"""
# What these two look for is no mistake here: arguments have rules that no schema can tell, and a
# deleted build is there until a worker has cleaned up.
LEFT_OUT = "positive_data_acceptance,use_after_free"


def schemathesis(url: str, token: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("schemathesis"))
    command = [program, "run", f"{url}/api/openapi.json"]
    options = ["--max-examples", "8", "--seed", "1", "--no-color", "--exclude-checks", LEFT_OUT]
    header = ["--header", f"Authorization: Bearer {token}"]
    return subprocess.run(
        [*command, "--url", url, *options, *header],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_the_server_keeps_to_its_description(site: Site):
    site.write_config(CONFIG)
    site.manage("build_job", "echo", check=True)
    token = site.python(TOKEN).strip()
    with site.cluster(WORKERS="1"), web(site) as url:
        found = schemathesis(url, token, site.folder)
        log = (site.folder / "web.log").read_text(encoding="utf-8", errors="replace")
    assert found.returncode == 0, f"{found.stdout[-6000:]}\n{found.stderr[-2000:]}"
    chosen = re.search(r"(\d+) selected / (\d+) total", found.stdout)
    assert chosen, found.stdout
    assert chosen[1] == chosen[2] != "0", "none was left out"
    assert "Traceback" not in log, log[-6000:]
