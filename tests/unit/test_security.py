"""The headers of every reply, and the settings of a site behind HTTPS."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import RequestFactory, override_settings

from jobcontrol_site import security
from tests import bootstrap

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted(
    path
    for folder in ("templates", "builds", "jobs", "jobcontrol_site")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".html", ".svg")
)
PRODUCTION = {
    "ALLOWED_HOSTS": "jobs.example.org",
    "SECRET_KEY": bootstrap.SECRET_KEY,
    "SECURE_HSTS_INCLUDE_SUBDOMAINS": "true",
    "SECURE_HSTS_PRELOAD": "true",
    "SECURE_HSTS_SECONDS": "31536000",
    "SECURE_PROXY_SSL_HEADER": "X-Forwarded-Proto: https",
    "SECURE_SSL_REDIRECT": "true",
}


def reply(response):
    return security.SecurityHeadersMiddleware(lambda request: response)(RequestFactory().get("/"))


def directives(response):
    text = response.headers["Content-Security-Policy"]
    return dict(part.strip().partition(" ")[::2] for part in text.split(";"))


def test_nothing_inline_and_nothing_from_elsewhere_is_allowed():
    found = directives(reply(HttpResponse()))
    assert found["default-src"] == found["script-src"] == found["style-src"] == "'self'"
    assert found["frame-ancestors"] == found["object-src"] == found["base-uri"] == "'none'"
    assert found["form-action"] == "'self'"
    assert "unsafe" not in str(found)
    assert "http" not in str(found)


def test_every_header_is_there_and_a_view_may_set_its_own():
    response = HttpResponse(headers={"Content-Security-Policy": "default-src 'none'"})
    headers = reply(response).headers
    assert headers["Content-Security-Policy"] == "default-src 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]


@pytest.mark.parametrize(("debug", "status"), [(True, 404), (True, 500), (True, 200), (False, 500)])
def test_only_the_pages_for_programmers_go_without_the_policy(debug, status):
    with override_settings(DEBUG=debug):
        response = reply(HttpResponse(status=status))
    is_exempt = debug and status != 200
    assert ("Content-Security-Policy" in response.headers) is not is_exempt


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_template_holds_what_the_policy_refuses(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\sstyle\s*=", text), "a style attribute: use a class"
    assert not re.search(r"<style\b", text), "a style element: use a style sheet"
    assert not re.search(r"\son[a-z]+\s*=\s*[\"']", text), "a handler: use a script file"
    assert "javascript:" not in text
    for tag in re.findall(r"<script\b[^>]*>", text):
        assert "src=" in tag or "json" in tag, f"an inline script: {tag}"
    for address in re.findall(r"(?:src|href|action)=[\"']((?:https?:)?//[^\"']*)", text):
        assert "www.w3.org" in address, f"pages work offline, without {address}"


@pytest.mark.parametrize("text", ["X-Forwarded-Proto: https", " X-Forwarded-Proto:https "])
def test_the_header_of_a_proxy_is_read(text):
    assert security.proxy_ssl_header(text) == ("HTTP_X_FORWARDED_PROTO", "https")
    assert security.proxy_ssl_header("") is None


@pytest.mark.parametrize("text", ["yes", "X-Forwarded-Proto", ": https", "a b: c", "X: a b"])
def test_a_header_that_is_none_is_refused(text):
    with pytest.raises(ImproperlyConfigured, match="X-Forwarded-Proto: https"):
        security.proxy_ssl_header(text)


def settings_of(tmp_path, *command, **variables):
    """Run `manage.py COMMAND…` on a site of its own with these environment variables."""
    config = tmp_path / "jobcontrol.yaml"
    config.write_text("jobs: []\n")
    kept = {k: v for k, v in os.environ.items() if k not in bootstrap.SITE_VARIABLES}
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *command],
        env=kept | {"JOBCONTROL_CONFIG": str(config), **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_djangos_deployment_checks_are_content_with_production_settings(tmp_path):
    result = settings_of(tmp_path, "check", "--deploy", "--fail-level", "INFO", **PRODUCTION)
    assert result.returncode == 0, result.stderr
    assert "no issues (0 silenced)" in result.stdout


def test_a_missing_production_setting_is_noticed(tmp_path):
    without = {**PRODUCTION, "SECURE_SSL_REDIRECT": "false"}
    result = settings_of(tmp_path, "check", "--deploy", "--fail-level", "WARNING", **without)
    assert result.returncode == 1
    # The cookies follow the redirect, unless they are set on their own.
    for check in ("security.W008", "security.W012", "security.W016"):
        assert check in result.stderr


VALUES = (
    "import json; from django.conf import settings as s; print(json.dumps("
    "[s.SECURE_SSL_REDIRECT, s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE,"
    " s.SECURE_HSTS_SECONDS, s.SECURE_PROXY_SSL_HEADER]))"
)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "[false, false, false, 0, null]"),
        ({"SECURE_SSL_REDIRECT": "1"}, "[true, true, true, 0, null]"),
        (
            {"SESSION_COOKIE_SECURE": "1", "CSRF_COOKIE_SECURE": "1", "SECURE_HSTS_SECONDS": "60"},
            "[false, true, true, 60, null]",
        ),
        (
            {"SECURE_PROXY_SSL_HEADER": "X-Forwarded-Proto: https"},
            '[false, false, false, 0, ["HTTP_X_FORWARDED_PROTO", "https"]]',
        ),
    ],
)
def test_a_site_on_this_machine_is_plain_and_https_is_chosen_by_the_environment(
    tmp_path, variables, expected
):
    result = settings_of(tmp_path, "shell", "--no-imports", "--command", VALUES, **variables)
    assert result.stdout.strip().splitlines()[-1:] == [expected], result.stderr
