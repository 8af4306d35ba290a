"""The registry's pages: everything can be read, nothing written, whatever the ids are."""

import html
import re

import pytest
from django.contrib.admin.utils import quote
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from builds import context_processors
from jobs import registry
from jobs.config import load_object
from jobs.models import ConfigRevision, Job
from tests.support import pages

pytestmark = pytest.mark.django_db

LIST = "admin:jobs_job_changelist"
NASTY_IDS = [
    "a/b/c",
    "../up",
    'it\'s "quoted"',
    "<script>alert('id')</script>",
    "x" * 200,
    "_5F:?&=#%2F + ;",
    "größe ☃ 日本",
    "{{ braces }}",
    "back\\slash",
]


def sync(*jobs, check_functions=False):
    return registry.sync(load_object({"jobs": list(jobs)}), check_functions=check_functions)


def job(name, **keys):
    return {"id": name, "function": "math:sqrt", "args": [1], **keys}


@pytest.fixture
def site_user(config_file):
    """Pages follow the file of the test: an empty one would retire the jobs of the test."""
    registry.use(load_object({"jobs": []}))
    registry.ensure_current()


@pytest.fixture
def page(admin_client, site_user):
    """Read a page; return its text."""

    def page(name, *args, **query):
        response = admin_client.get(reverse(name, args=args), query)
        assert response.status_code == 200
        return response.content.decode()

    return page


def detail(page, job_id):
    return page("admin:jobs_job_change", quote(job_id))


def ids_shown(text):
    """Return the ids of the jobs that the list links to, in order."""
    links = re.findall(r'href="/admin/jobs/job/([^/"]+)/change/', text)
    from django.contrib.admin.utils import unquote

    return list(dict.fromkeys(unquote(html.unescape(link)) for link in links))


def test_the_list_is_in_the_order_of_the_file_with_retired_jobs_last(page):
    sync(job("z", title="Zed"), job("gone"), job("a", tags=["t1", "t2"], protected=True))
    sync(job("z", title="Zed"), job("a", tags=["t1", "t2"], protected=True))
    text = page(LIST)
    assert ids_shown(text) == ["z", "a", "gone"]
    assert "Zed" in text
    assert "t1" in text


@pytest.mark.parametrize("job_id", NASTY_IDS)
def test_ids_of_any_kind_show_well_and_lead_to_their_page(admin_client, site_user, job_id):
    sync(job(job_id), job("next", dependencies=[job_id]))
    listed = admin_client.get(reverse(LIST)).content.decode()
    assert "<script>alert" not in listed
    assert html.escape(job_id) in listed
    links = re.findall(r'href="(/admin/jobs/job/[^"]+/change/)', listed)
    shown = admin_client.get(html.unescape(links[0]))
    assert shown.status_code == 200
    assert html.escape(job_id) in shown.content.decode()
    assert "<script>alert" not in shown.content.decode()
    address = reverse("admin:jobs_job_change", args=[quote(job_id)])
    following = admin_client.get(reverse("admin:jobs_job_change", args=["next"]))
    assert f'href="{address}"' in html.unescape(following.content.decode())


def test_the_page_of_a_job_shows_everything_recorded(page):
    """original #31: docstring, signature with defaults, YAML, call code."""
    sync(
        job("a"),
        job(
            "b",
            title="The <b>title</b>",
            notes="Some *notes*",
            function="json:dumps",
            args=["<x>"],
            kwargs={"indent": 2},
            tags=["t"],
            dependencies=["a"],
            my_key="kept",
        ),
        job("c", dependencies=["b"]),
        check_functions=True,
    )
    text = detail(page, "b")
    assert "The &lt;b&gt;title&lt;/b&gt;" in text
    assert "<em>notes</em>" in text
    assert "dumps(obj, *, skipkeys=False, ensure_ascii=True" in html.unescape(text)
    assert "Serialize" in text
    assert "dumps('<x>', indent=2)" in html.unescape(text)
    assert "my_key: kept" in text
    for other in ("a", "c"):
        assert f'href="/admin/jobs/job/{other}/change/"' in text


def test_a_problem_is_on_the_page_and_in_the_list(page):
    sync(job("a", function="no_such_module_here:f"), check_functions=True)
    assert "no_such_module_here" in page(LIST)
    assert "there is no module &#x27;no_such_module_here&#x27;" in detail(page, "a")


def test_the_page_of_a_retired_job_says_so(page):
    sync(job("a"))
    sync()
    assert "retired" in detail(page, "a")


def test_jobs_are_filtered_by_both_of_two_tags(page):
    """original #18: ?tag=a&tag=b means both."""
    sync(
        job("one", tags=["a"]),
        job("both", tags=["b", "a"]),
        job("b", tags=["b"]),
        job("other", tags=["ab"]),
    )
    assert ids_shown(page(LIST, tag="a")) == ["one", "both"]
    assert ids_shown(page(LIST, tag=["a", "b"])) == ["both"]
    assert ids_shown(page(LIST, tag=["a", "nothing"])) == []


def test_a_chosen_tag_stays_when_another_filter_is_added(page):
    sync(job("both", tags=["b", "a"]))
    text = html.unescape(page(LIST, tag=["a", "b"]))
    assert "?protected__exact=1&tag=a&tag=b" in text
    assert re.search(r'href="\?tag=b"', text), "a click on a chosen tag takes it away"


def test_jobs_are_filtered_by_protection_and_retirement(page):
    sync(job("plain"), job("safe", protected=True), job("old"))
    sync(job("plain"), job("safe", protected=True))
    assert ids_shown(page(LIST)) == ["plain", "safe", "old"]
    assert ids_shown(page(LIST, protected__exact="1")) == ["safe"]
    assert ids_shown(page(LIST, retired__exact="1")) == ["old"]


def test_jobs_with_a_problem_are_found(page):
    sync(job("bad", function="no_such_module_here:f"), job("good"), check_functions=True)
    assert ids_shown(page(LIST, has_problem="yes")) == ["bad"]
    assert ids_shown(page(LIST, has_problem="no")) == ["good"]


@pytest.mark.parametrize("text", ["needle", "NEEDLE", "math:floor", "special", "hayst"])
def test_the_search_looks_at_id_title_function_tags_and_notes(page, text):
    sync(
        job("needle/1", title="In a haystack", function="math:floor", tags=["special"]),
        job("other"),
    )
    assert ids_shown(page(LIST, q=text)) == ["needle/1"]


def test_pages_take_a_bounded_number_of_queries(admin_client, site_user, monkeypatch):
    """original #30: 698 queries for 50 jobs."""
    # However slow the machine: whether a worker lives is looked up once.
    monkeypatch.setattr(context_processors, "REMEMBERED_SECONDS", 3600)
    sync(*(job(f"j{n}", tags=[f"t{n}"], dependencies=["j0"] if n else []) for n in range(5)))

    def count(url):
        # Now and then a request looks whether the registry is current, more often if all is slow.
        return min(count_once(url) for _ in range(3))

    def count_once(url):
        with CaptureQueriesContext(connection) as captured:
            assert admin_client.get(url).status_code == 200
        return len(captured)

    urls = [reverse(LIST), reverse("admin:jobs_job_change", args=["j0"])]
    few = [count(url) for url in urls]
    sync(*(job(f"j{n}", tags=[f"t{n}"], dependencies=["j0"] if n else []) for n in range(90)))
    assert [count(url) for url in urls] == few
    assert max(few) < 20


def test_lists_leave_the_large_texts_out(admin_client, site_user):
    sync(job("a", notes="n" * 1000))
    for name in (LIST, "admin:jobs_configrevision_changelist"):
        with CaptureQueriesContext(connection) as captured:
            assert admin_client.get(reverse(name)).status_code == 200
        rows = [query["sql"] for query in captured if "COUNT" not in query["sql"]]
        selects = [sql for sql in rows if 'FROM "jobs_' in sql]
        assert selects
        for sql in selects:
            assert not re.search(r'SELECT .*"(config_text|docs|sources)".* FROM', sql), sql


def test_nothing_can_be_written_by_the_admin(admin_client, site_user):
    sync(job("a"))
    change = reverse("admin:jobs_job_change", args=["a"])
    assert admin_client.post(change, {"title": "x"}).status_code in {302, 403, 405}
    assert admin_client.get(reverse("admin:jobs_job_add")).status_code == 403
    assert admin_client.post(reverse("admin:jobs_job_delete", args=["a"])).status_code == 403
    action = {"action": "delete_selected", "_selected_action": "a", "post": "yes"}
    admin_client.post(reverse(LIST), action)
    revision = ConfigRevision.objects.first()
    gone = reverse("admin:jobs_configrevision_delete", args=[revision.pk])
    assert admin_client.post(gone).status_code == 403
    assert Job.objects.get().title == ""
    assert ConfigRevision.objects.filter(pk=revision.pk).exists()


def test_only_those_who_may_see_jobs_see_them(client, site_user, django_user_model):
    sync(job("a"))
    user = django_user_model.objects.create_user("staff", password="x", is_staff=True)
    assert client.get(reverse(LIST)).status_code == 302
    client.force_login(user)
    assert client.get(reverse(LIST)).status_code == 403
    assert client.get(reverse("admin:jobs_job_change", args=["a"])).status_code == 403


def test_revisions_show_their_sources_and_changes(page, config_file):
    config_file.write(
        "secret: {a: hunter22}\njobs: [{id: 'x<y', function: 'm:f', args: [hunter22]}]"
    )
    registry.forget()
    registry.sync(check_functions=False)
    revision = ConfigRevision.objects.first()
    listed = page("admin:jobs_configrevision_changelist")
    assert "1 added" in listed
    shown = page("admin:jobs_configrevision_change", revision.pk)
    assert str(config_file.path) in shown
    assert "x&lt;y" in shown
    assert "hunter22" not in shown
    assert "•••" in shown


def test_errors_of_the_file_are_shown_on_every_page_to_staff_only(
    admin_client, client, config_file
):
    config_file.write("jobs: [{id: '<b>', function: nothing}]")
    registry.forget()
    for name in ("admin:index", LIST, "admin:auth_user_changelist"):
        text = admin_client.get(reverse(name)).content.decode()
        assert "The configuration file is wrong" in text, name
        assert "&lt;b&gt;" in text
    text = client.get(reverse("admin:login")).content.decode()
    assert "configuration file" not in text


def test_warnings_are_shown_and_go_away(admin_client, config_file, no_checks):
    config_file.write("jobs: [{id: a, function: 'math:sqrt', args: [1], titel: x}]")
    registry.forget()
    text = pages.text(admin_client.get(reverse("admin:index")))
    assert "1 warning about the configuration file" in text
    assert "titel" in text
    config_file.write("jobs: [{id: a, function: 'math:sqrt', args: [1], title: x}]")
    text = admin_client.get(reverse("admin:index")).content.decode()
    assert "about the configuration file" not in text


def test_a_page_follows_the_file(admin_client, config_file, no_checks):
    config_file.write("jobs: [{id: first, function: 'math:sqrt', args: [1]}]")
    registry.forget()
    assert ids_shown(admin_client.get(reverse(LIST)).content.decode()) == ["first"]
    config_file.write("jobs: [{id: second, function: 'math:sqrt', args: [1]}]")
    assert ids_shown(admin_client.get(reverse(LIST)).content.decode()) == ["second", "first"]
