"""Lists that are open: nothing where nothing happened, else their rows anew, and no more."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from builds import context_processors, services
from builds.deletion_models import Deletion
from builds.models import Build
from builds.pages import refreshing
from builds.plan_models import Plan
from builds.schedule_models import ScheduledRun, SchedulePause
from builds.token_models import ApiToken
from builds.upkeep_models import BulkDeletion, Cluster
from jobs.models import Job
from tests.integration.admin.test_live import refresh
from tests.support.clusters import beating, main_of, worker_of
from tests.support.jobs import build, use_config
from tests.support.pages import CONFIG

pytestmark = pytest.mark.django_db(transaction=True)

LISTS = {
    "jobs": "jobs_job",
    "builds": "builds_build",
    "plans": "builds_plan",
    "runs": "builds_scheduledrun",
    "deletions": "builds_deletion",
    "workers": "builds_cluster",
    "revisions": "jobs_configrevision",
    "tokens": "builds_apitoken",
}
QUIET_LISTS = ("revisions", "tokens")  # nothing goes on in them
MAY = [
    "jobs.view_job",
    "builds.view_build",
    "builds.run_build",
    "builds.view_plan",
    "builds.view_scheduledrun",
    "builds.view_deletion",
    "builds.view_cluster",
    "builds.delete_build",
    "builds.drain_cluster",
    "builds.add_apitoken",
    "jobs.view_configrevision",
]


@pytest.fixture(autouse=True)
def site(transactional_db):
    use_config(CONFIG)
    context_processors.forget()
    yield
    context_processors.forget()


@pytest.fixture
def reader(staff):
    return staff(*MAY)


@pytest.fixture
def still(monkeypatch):
    """A time that stands: nothing is shown as older within a test."""
    now = timezone.now().replace(second=30)
    monkeypatch.setattr(timezone, "now", lambda: now)


def address_of(name: str, query: str = "") -> str:
    return reverse(f"admin:{LISTS[name]}_changelist") + query


def queued(job: str = "first") -> Build:
    return services.request_build(job=Job.objects.get(pk=job), trigger="cli")


def first_stamp(client, address: str) -> str:
    """Load a list as a browser does, and return the stamp that its first refresh brings."""
    page = client.get(address)
    assert page.status_code == 200
    assert "data-live=" in page.text
    return refresh(client, address, "").headers["X-Live-Stamp"]


def planned(**columns) -> ScheduledRun:
    due = timezone.now() + timedelta(hours=1)
    return ScheduledRun.objects.create(**{"job_id": "first", "entry": "x", "due": due, **columns})


def make_rows() -> None:
    """Have a row in each list."""
    build("first"), build("second")
    plan = Plan.objects.create(job_id="second")
    queued()
    Build.objects.filter(pk=queued("first").pk).update(plan=plan)
    planned()
    Deletion.objects.create(job_id="first", build_number=10**6)
    beating("host", workers=2)
    _token("a")


def _token(name: str) -> ApiToken:
    expires = timezone.now() + timedelta(hours=1)
    user = User.objects.latest("pk")
    return ApiToken.objects.create(name=name, user=user, expires=expires, digest=name)


def _begin(_now):
    worker = str(worker_of(main_of("host")))
    Build.objects.filter(status="QUEUED").update(
        status="RUNNING", start_time=timezone.now(), worker=worker
    )


def _end(_now):
    Build.objects.filter(status="QUEUED").update(status="FAILED", end_time=timezone.now())


CHANGES = {
    ("builds", "a new one"): lambda _: queued(),
    ("builds", "one begins"): _begin,
    ("builds", "one ends"): _end,
    ("builds", "one is kept"): lambda _: Build.objects.update(keep=True),
    ("builds", "what one waits for"): lambda _: Cluster.objects.all().delete(),
    ("jobs", "a build begins"): _begin,
    ("jobs", "a build ends"): _end,
    ("jobs", "an input is built"): lambda _: build("first"),
    ("jobs", "a schedule is paused"): lambda _: SchedulePause.objects.create(job_id="first"),
    ("jobs", "a deletion ends"): lambda _: Deletion.objects.update(state="DONE"),
    ("jobs", "the file changes"): lambda _: use_config(CONFIG.replace("second", "third")),
    ("plans", "a new one"): lambda _: Plan.objects.create(job_id="first"),
    ("plans", "a build begins"): _begin,
    ("plans", "a build ends"): _end,
    ("runs", "a new one"): lambda _: planned(entry="y"),
    ("runs", "one is missed"): lambda _: ScheduledRun.objects.update(state="MISSED"),
    ("runs", "one is near"): lambda now: ScheduledRun.objects.update(
        due=now + timedelta(seconds=9)
    ),
    ("deletions", "a new one"): lambda _: Deletion.objects.create(job_id="first", build_number=9),
    ("deletions", "one ends"): lambda _: Deletion.objects.update(state="DONE"),
    ("deletions", "many are asked for"): lambda now: BulkDeletion.objects.create(
        count=9, asked=now
    ),
    ("workers", "a build begins"): _begin,
    ("workers", "a cluster begins"): lambda _: beating("another", workers=1),
    ("workers", "a cluster is drained"): lambda now: Cluster.objects.update(drain_requested=now),
    ("workers", "a cluster is lost"): lambda now: Cluster.objects.update(
        last_seen=now - timedelta(hours=1)
    ),
    ("workers", "trouble"): lambda _: Cluster.objects.update(trouble="out of paper"),
    ("revisions", "the file changes"): lambda _: use_config(CONFIG.replace("second", "third")),
    ("tokens", "a new one"): lambda _: _token("b"),
    ("tokens", "one is used"): lambda now: ApiToken.objects.update(last_used=now),
    ("tokens", "one is revoked"): lambda now: ApiToken.objects.update(revoked=now),
    ("tokens", "one expires"): lambda now: ApiToken.objects.update(expires=now),
}


@pytest.mark.parametrize(("name", "what"), CHANGES)
def test_a_list_comes_anew_when_something_changed(reader, still, name, what):
    make_rows()
    address = address_of(name)
    stamp = first_stamp(reader, address)
    nothing = refresh(reader, address, stamp)
    assert (nothing.status_code, nothing.content) == (204, b"")
    CHANGES[name, what](timezone.now())
    answer = refresh(reader, address, stamp)
    assert answer.status_code == 200
    assert answer.headers["X-Live-Stamp"] != stamp
    parts = re.findall(r'id="([\w-]+)" hx-swap-oob="true"', answer.text)
    assert parts == ["site-banners", "list"]
    assert "<html" not in answer.text
    assert "jc-toolbar" not in answer.text  # what the reader types there stays
    assert refresh(reader, address, answer.headers["X-Live-Stamp"]).status_code == 204


@pytest.mark.parametrize("name", LISTS)
def test_first_load_and_refresh_show_a_list_in_the_same_words(reader, still, name):
    make_rows()
    pages = [reader.get(address_of(name)).text, refresh(reader, address_of(name), "old").text]
    first, second = (
        [" ".join(part.split()) for part in re.findall(r'data-row=".*', page, re.S)]
        for page in pages
    )
    assert second[0].startswith("data-row=")
    kept = second[0].removesuffix("</div>").strip()
    assert first[0].startswith(kept[: kept.rindex("</div>")])


def test_what_a_refresh_asks_with_is_no_filter_and_in_no_link(reader):
    for _ in range(3):
        queued()
    answer = refresh(reader, address_of("builds", "?status__exact=QUEUED"), "old")
    assert answer.text.count("data-row=") == 3
    assert "live=" not in answer.text
    assert "first_row" not in answer.text


def test_a_filter_keeps_others_out(reader):
    done, waits = build("first"), queued()
    answer = refresh(reader, address_of("builds", "?status__exact=QUEUED"), "old").text
    assert f'data-row="{waits.pk}"' in answer
    assert f'data-row="{done.pk}"' not in answer


def test_a_later_page_stays_with_its_rows(reader):
    job = Job.objects.get(pk="first")
    Build.objects.bulk_create(Build(id=n, job=job, status="SUCCESSFUL") for n in range(1, 206))
    page = reader.get(address_of("builds", "?p=2")).text
    asks = re.search(r'data-live="([^"]+)"', page)
    assert asks
    address = asks[1].replace("&amp;", "&")
    assert "first_row=155" in address
    stamp = refresh(reader, address, "").headers["X-Live-Stamp"]
    Build.objects.bulk_create(Build(id=n, job=job, status="SUCCESSFUL") for n in range(300, 350))
    assert refresh(reader, address, stamp).status_code == 204
    Build.objects.filter(pk=120).update(keep=True)
    rows = re.findall(r'data-row="(\d+)"', refresh(reader, address, stamp).text)
    assert rows == [str(n) for n in range(155, 105, -1)]
    for odd in ("x", "-1", "9" * 30, "%00", ""):
        assert refresh(reader, address.replace("155", odd), "").status_code == 200


def test_a_page_that_is_no_more_says_so(reader):
    job = Job.objects.get(pk="first")
    Build.objects.bulk_create(Build(id=n, job=job) for n in range(1, 206))
    assert first_stamp(reader, address_of("builds", "?p=5"))
    Build.objects.filter(pk__lt=100).delete()
    answer = refresh(reader, address_of("builds", "?p=5"), "old")
    assert answer.status_code == 404
    assert "X-Live-Every" not in answer.headers


def test_a_list_is_looked_at_more_often_while_something_goes_on(reader):
    build("first")
    for name in LISTS:
        answer = refresh(reader, address_of(name), "old")
        assert float(answer.headers["X-Live-Every"]) == refreshing.QUIET, name
    make_rows()
    ScheduledRun.objects.update(due=timezone.now())
    _begin(None)
    for name in [name for name in LISTS if name not in QUIET_LISTS]:
        answer = refresh(reader, address_of(name), "old")
        assert float(answer.headers["X-Live-Every"]) == refreshing.WAITING, name


ROWS = {
    Deletion: {"state": "FAILED"},
    ScheduledRun: {"state": "MISSED"},
    Cluster: {"trouble": "out of paper"},
}


@pytest.mark.parametrize("model", ROWS)
def test_the_page_of_a_row_follows_it(reader, still, model):
    make_rows()
    key = quote(model.objects.get().pk)
    address = reverse(f"admin:builds_{model._meta.model_name}_change", args=[key])
    stamp = first_stamp(reader, address)
    assert refresh(reader, address, stamp).status_code == 204
    model.objects.update(**ROWS[model])
    answer = refresh(reader, address, stamp)
    assert answer.status_code == 200
    parts = set(re.findall(r'id="([\w-]+)" hx-swap-oob="true"', answer.text))
    assert {"site-banners", "fields"} <= parts <= {"site-banners", "fields", "cluster-drain"}
    model.objects.all().delete()
    assert refresh(reader, address, stamp).status_code == 404


@pytest.mark.parametrize("name", LISTS)
def test_nothing_new_costs_a_few_questions_however_many_rows_there_are(reader, still, name):
    """Four of them are the session, the user and what the user may do; two are the banners'."""
    make_rows()
    job = Job.objects.get(pk="first")
    Build.objects.bulk_create(Build(job=job, status="QUEUED") for _ in range(150))
    Build.objects.bulk_create(Build(job=job, status="WAITING") for _ in range(50))
    stamp = first_stamp(reader, address_of(name))
    context_processors.forget()
    with CaptureQueriesContext(connection) as asked:
        assert refresh(reader, address_of(name), stamp).status_code == 204
    texts = [one["sql"] for one in asked]
    assert len(texts) <= 12, [text[:90] for text in texts]
    assert not [text for text in texts if "COUNT(*)" in text and "GROUP BY" not in text]
    own = [text for text in texts if 'FROM "builds_build"' in text and "GROUP BY" not in text]
    assert all("LIMIT" in text or '"worker" IN' in text or "DISTINCT" in text for text in own), own


def test_who_may_not_see_a_list_gets_nothing_of_it(staff, client):
    for name in LISTS:
        assert refresh(client, address_of(name), "old").status_code == 302
        answer = refresh(staff(), address_of(name), "old")
        assert answer.status_code == 403
        assert "X-Live-Stamp" not in answer.headers


def test_what_stands_above_every_page_is_renewed_with_it(reader, still):
    make_rows()
    for address in (address_of("builds"), address_of("jobs"), page_of_first()):
        context_processors.forget()
        beating("host", workers=2)
        stamp = first_stamp(reader, address)
        assert refresh(reader, address, stamp).status_code == 204
        Cluster.objects.update(trouble="out of paper")
        context_processors.forget()
        answer = refresh(reader, address, stamp)
        assert answer.status_code == 200
        assert "out of paper" in answer.text
        Cluster.objects.update(trouble="")
        context_processors.forget()


def page_of_first() -> str:
    return reverse("admin:jobs_job_change", args=["first"])


def test_mistakes_in_the_file_are_told_on_open_pages(reader, still, monkeypatch):
    make_rows()
    stamp = first_stamp(reader, address_of("deletions"))
    monkeypatch.setattr("jobs.registry.problems", lambda: ("out of ink",))
    answer = refresh(reader, address_of("deletions"), stamp)
    assert answer.status_code == 200
    assert "out of ink" in answer.text
