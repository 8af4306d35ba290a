"""Deleting very many builds at once, and the mark that keeps one."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from builds import deletion, services
from builds.deletion_models import Deletion
from builds.models import Build
from builds.upkeep_models import BulkDeletion
from tests.support.jobs import build, use_config
from tests.support.pages import page_of, text

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/builds/build/"
JOBS = """
jobs:
  - {id: good, function: "tests.support.odd_jobs:value", cleanup: "tests.support.odd_jobs:cleanup"}
  - {id: plain, function: "tests.support.odd_jobs:value"}
"""


@pytest.fixture(autouse=True)
def jobs(transactional_db):
    use_config(JOBS)


@pytest.fixture
def manager(staff):
    return staff(
        "jobs.view_job", "builds.view_build", "builds.delete_build", "builds.view_deletion"
    )


def notes(build):
    return [entry.change_message for entry in LogEntry.objects.filter(object_id=str(build.pk))]


def choose_all(client, query=""):
    """Press "select all" on the list of builds; return the confirmation and the choice's number."""
    first = Build.objects.order_by("pk").values_list("pk", flat=True)[0]
    data = {"action": "delete_selected", "_selected_action": first, "select_across": "1"}
    page = client.post(LIST + query, data)
    found = re.search(r'name="choice" value="(\d+)"', page.content.decode())
    return page, found and found[1]


def confirm(client, choice, **data):
    return client.post(reverse("admin:builds_build_delete_many"), {"choice": choice, **data})


def test_very_many_are_a_stored_choice_that_goes_bit_by_bit(manager, django_assert_max_num_queries):
    cleaned, plain = build("good"), build("plain")
    Build.objects.bulk_create(
        Build(job_id="plain", status="FAILED", keep=number == 7) for number in range(3_000)
    )
    running = Build.objects.create(job_id="plain", status="RUNNING")
    page, choice = choose_all(manager)
    assert choice, "the form names each build"
    assert "Builds 3003, of which 1 stays: marked to be kept" in text(page)
    assert "tests.support.odd_jobs:cleanup for 1 build none for 3002 builds" in text(page)
    assert "and 2903 more" in text(page)
    assert len(page.content) < 100_000
    later = build("plain")  # not what was confirmed
    assert not services.hand_over_part(), "nobody has confirmed it yet"
    with django_assert_max_num_queries(20):
        assert confirm(manager, choice, cleanup="yes").status_code == 302
    assert not Deletion.objects.exists(), "the request does not make thousands of rows"
    services.hand_over_part()
    deletions = text(manager.get(reverse("admin:builds_deletion_changelist")))
    assert "had 3003 builds deleted together: workers were asked for 99 so far; 1 stay" in deletions
    while services.hand_over_part():
        pass
    bulk = BulkDeletion.objects.get()
    assert (bulk.count, bulk.handed_over, bulk.refused) == (3_003, 3_001, 2)
    assert bulk.ended is not None
    assert notes(plain) == ["Asked to delete it, with others."]
    assert "deleted together" not in text(manager.get(reverse("admin:builds_deletion_changelist")))
    rounds = 0
    while deletion.run_next():
        rounds += 1
    assert rounds < 40, "one at a time is too slow"
    kept = Build.objects.get(keep=True)
    assert set(Build.objects.values_list("pk", flat=True)) == {running.pk, later.pk, kept.pk}
    assert Deletion.objects.filter(state="DONE", requested_by=manager.user).count() == 3_001
    assert Deletion.objects.get(build_number=cleaned.pk).outcome == "done"


def test_a_choice_is_its_makers_and_of_the_filter(manager, staff):
    Build.objects.bulk_create(Build(job_id="plain", status="FAILED") for _ in range(1_001))
    good = build("good")
    page, choice = choose_all(manager, "?status__exact=FAILED")
    assert "Builds 1001 " in text(page)
    other = staff("builds.view_build", "builds.delete_build")
    for client, number in ((other, choice), (manager, int(choice) + 1), (manager, "x")):
        confirm(client, number)
        assert "choose them again" in text(client.get(LIST))
    assert not services.hand_over_part()
    for cleanup in ("no", "yes"):  # a second click changes nothing
        confirm(manager, choice, cleanup=cleanup)
    while services.hand_over_part():
        pass
    assert Deletion.objects.filter(cleanup=False).count() == 1_001
    assert Build.objects.filter(pk=good.pk, deleting=False).exists()


def test_a_kept_build_goes_by_itself_only(manager):
    made = build("plain")
    services.keep_build(build=made)
    many = reverse("admin:builds_build_delete_many")
    answer = manager.post(many, {"numbers": str(made.pk)}, follow=True)
    assert f"Build #{made.pk} is marked to be kept" in text(answer)
    assert not Deletion.objects.exists()
    manager.post(reverse("admin:builds_build_delete", args=[made.pk]), {"cleanup": "yes"})
    assert Deletion.objects.get().state == "WAITING"


def test_the_button_keeps_and_lets_go(staff, viewer):
    made = build("plain")
    client = staff("jobs.view_job", "builds.view_build", "builds.run_build")
    url = reverse("admin:builds_build_keep", args=[made.pk])
    assert 'name="keep" value="yes"' in client.get(page_of(made)).content.decode()
    for _ in range(2):
        assert client.post(url, {"keep": "yes"}).headers["Location"] == page_of(made)
    assert Build.objects.get().keep
    assert notes(made) == ["Marked it to be kept."]
    page = client.get(page_of(made))
    assert "Keep no longer" in text(page)
    assert 'name="keep" value="no"' in page.content.decode()
    assert '<span class="jc-badge">kept</span>' in client.get(LIST).content.decode()
    assert client.get(LIST + "?keep__exact=0").context["cl"].result_count == 0
    assert client.get(LIST + "?keep__exact=1").context["cl"].result_count == 1
    client.post(url, {"keep": "no"})
    assert not Build.objects.get().keep
    assert notes(made)[0] == "Took the mark away that kept it."
    assert client.get(url).status_code == 405
    assert viewer.post(url, {"keep": "yes"}).status_code == 403
    assert 'name="keep"' not in viewer.get(page_of(made)).content.decode()
    Build.objects.update(deleting=True)
    assert "is being deleted" in text(client.post(url, {"keep": "yes"}, follow=True))
