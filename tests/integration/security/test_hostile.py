"""Whatever jobs and files say: it is shown as text, and no page grows with it."""

import json
import re

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.test import Client

from builds.deletion_models import Deletion
from builds.models import Build, BuildDependency
from builds.services import request_deletion
from jobs import config, registry
from jobs.models import ConfigRevision
from tests.support.hostile import LONG, MARK, ODD, markup_of_others
from tests.support.jobs import build

pytestmark = pytest.mark.django_db(transaction=True)

BOUND = 1_500_000  # bytes of one page: a job's own has its YAML, a million characters at most
ID = "".join(character for character in MARK if character.isprintable())[:200]


TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")
EDITED = re.compile(r'<textarea.*?</textarea>| (?:value|data-[-a-z]+)="[^"]*"', re.S)


@pytest.fixture
def root(transactional_db):
    browser = Client()
    browser.force_login(User.objects.create_superuser('<xss-mark>"onload=x', first_name=MARK[:150]))
    return browser


def declare(jobs):
    configuration = config.load_object({"jobs": jobs})
    registry.use(configuration)
    registry.sync(configuration)


@pytest.fixture
def builds(transactional_db):
    """A build that succeeded, one that failed, one that was deleted; all of hostile jobs."""
    printable = ID + MARK.replace("\u202e", "").replace("\u2066", "")
    jobs = [
        {
            "id": ID,
            "title": LONG,
            "notes": f"{printable}\n\n.. raw:: html\n\n   <xss-mark>\n\n`x <javascript:xss()>`_",
            "tags": [re.sub(r"[^ -~]", "", MARK)[:100], "x" * 150],
            "function": "tests.support.hostile:say_it_all",
        },
        {
            "id": "failing",
            "title": MARK,
            "function": "tests.support.hostile:say_it_all",
            "kwargs": {"fail": True},
            "dependencies": [ID],
            "cleanup": "tests.support.hostile:say_it_all",
            "unknown key": [MARK, LONG[:200_000]],
        },
    ]
    declare(jobs)
    good = build(ID)
    assert good.status == "SUCCESSFUL", good.payload.traceback
    bad = build("failing")
    assert bad.status == "FAILED"
    jobs[0]["protect"] = True
    declare(jobs)
    gone = Build.objects.create(job_id="failing", status="FAILED", exception_message=MARK)
    request_deletion(build=gone, requested_by=None)
    Deletion.objects.update(log=MARK + "x" * 100_000, outcome="failed")
    assert BuildDependency.objects.filter(build=bad, dep_build=good).exists()
    return good, bad, gone


def pages(builds):
    job = f"/admin/jobs/job/{quote(ID)}"
    yield from ("/admin/", "/admin/jobs/job/", "/admin/jobs/job/graph/", "/admin/builds/build/")
    yield from (f"{job}/change/", f"{job}/build-form/", f"{job}/graph/", f"{job}/history/")
    yield f"/admin/jobs/job/arm/?job={ID}"
    yield "/admin/jobs/job/failing/change/"
    yield "/admin/jobs/job/failing/build-form/"
    yield "/admin/builds/deletion/"
    yield f"/admin/builds/deletion/{Deletion.objects.get().pk}/change/"
    yield f"/admin/jobs/configrevision/{ConfigRevision.objects.latest('pk').pk}/change/"
    for made in builds:
        yield from (
            f"/admin/builds/build/{made.pk}/{name}/" for name in ("change", "log", "delete")
        )
        yield f"/admin/jobs/job/failing/build-form/?from={made.pk}"
    for line in builds[1].log_messages.order_by("pk"):
        yield f"/admin/builds/build/{builds[1].pk}/log/?line={line.pk}"
    for start in ("/admin/jobs/job/?q=", "/admin/builds/build/?q=", "/admin/jobs/job/?tag="):
        yield start + MARK.replace("%", "").replace("&", "").replace("#", "")
    yield f"/admin/builds/build/{builds[0].pk}/log/?q=<xss-mark>\"'&level=<xss-mark>"
    yield '/admin/jobs/job/graph/?tag=<xss-mark xss-attr="1">'
    yield '/admin/jobs/job/graph/?q=<xss-mark xss-attr="1">'
    for asked in ("group=tag&fold=none", "group=tag&fold=all", "group=tag&but=<xss-mark>&live=x"):
        yield f"/admin/jobs/job/graph/?{asked}"


@pytest.mark.timeout(300)
def test_no_page_takes_texts_for_markup_or_grows_with_them(root, builds):
    looked_at = 0
    for address in pages(builds):
        response = root.get(address, follow=True)
        assert response.status_code == 200, address
        text = response.content.decode()
        assert markup_of_others(text) == [], address
        assert "<xss-mark" not in text, address
        assert "14{% now" not in text, f"{address} ran a template"
        assert len(response.content) < BOUND, f"{address} has {len(response.content):,} bytes"
        assert "\x00" not in text, address
        assert not TURNS.search(EDITED.sub("", text)), f"{address} can be turned around"
        looked_at += "xss-mark" in text
    assert looked_at > 20, "the texts are shown nowhere: what did this test look at?"


def test_a_shown_text_is_all_there_and_files_are_taken_away_as_text(root, builds):
    """Escaped, not dropped."""
    good, bad, _ = builds
    text = root.get(f"/admin/builds/build/{bad.pk}/log/").content.decode()
    for part in (
        r"\u202eright to left",
        "&lt;xss-mark&gt;",
        "\u05e2\u05d1\u05e8\u05d9\u05ea",
        "\U0001f600",
        "\ufffd",
    ):
        assert part in text
    for name in ("retval.txt", "log.txt", "log.jsonl", "config.yaml"):
        response = root.get(f"/admin/builds/build/{good.pk}/download/{name}")
        assert response.status_code == 200
        assert response.headers["Content-Disposition"].startswith("attachment")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search("html|svg|xml", response.headers["Content-Type"])
    for address in ("/api/job", "/api/build", f"/api/build/{good.pk}/log"):
        response = root.get(address)
        assert response.headers["Content-Type"].startswith("application/json")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        json.loads(response.content)


def test_the_pages_of_errors_do_not_repeat_what_was_asked_for(client, root):
    for browser in (client, root):
        for address in ("/admin/<xss-mark>", "/<xss-mark>?<xss-mark>", "/api/<xss-mark>"):
            text = browser.get(address, follow=True).content.decode()
            assert markup_of_others(text) == []
            assert "<xss-mark" not in text


def test_the_finder_finds():
    """The proofs above are worth as much as this one."""
    for text in (MARK, f'<p title="{MARK}">', f"<p title='{MARK}'>", "<a href=' javascript:x'>"):
        assert markup_of_others(text)
    assert markup_of_others('<p class="x">&lt;xss-mark&gt;</p><script src="/x.js"></script>') == []
    assert ODD != MARK
