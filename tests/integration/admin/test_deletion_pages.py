"""Deleting in the browser: told before, done by a worker, and what is kept of it."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.utils.html import escape

from builds import deletion
from builds.deletion_models import Deletion
from builds.models import Build, LogMessage
from builds.workers import WorkerIdentity
from tests.support.commands import run
from tests.support.jobs import build, build_function, use_config
from tests.support.pages import markup, page_of, text

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/builds/build/"
JOBS = """
jobs:
  - {id: good, function: "tests.support.odd_jobs:value", cleanup: "tests.support.odd_jobs:cleanup"}
  - {id: bad, function: "tests.support.odd_jobs:value",
     cleanup: "tests.support.odd_jobs:failing_cleanup"}
  - {id: plain, function: "tests.support.odd_jobs:value"}
  - {id: user, function: "tests.support.odd_jobs:value", args: [!retval good]}
"""


@pytest.fixture
def jobs(transactional_db):
    use_config(JOBS)


@pytest.fixture
def manager(staff):
    return staff(
        "jobs.view_job", "builds.view_build", "builds.delete_build", "builds.view_deletion"
    )


def delete_of(build):
    return reverse("admin:builds_build_delete", args=[build.pk])


def notes(build):
    return [entry.change_message for entry in LogEntry.objects.filter(object_id=str(build.pk))]


def test_the_confirmation_tells_what_goes(manager, jobs):
    """original #34: delete was a placeholder"""
    made, user = build("good"), build("user")
    page = manager.get(delete_of(made))
    seen = text(page)
    assert "tests.support.odd_jobs:cleanup is called first" in seen
    assert f"Log messages {LogMessage.objects.filter(build=made).count()}" in seen
    assert f"#{user.pk} of user" in seen
    assert "Clean up and delete" in seen
    assert "Delete without cleanup" in seen
    assert " disabled" not in page.content.decode()
    assert Build.objects.filter(pk=made.pk, deleting=False).exists()
    plain = text(manager.get(delete_of(build("plain"))))
    assert "none: what the build made elsewhere stays there" in plain
    assert "without cleanup" not in plain


def test_a_deletion_waits_for_a_worker_and_is_shown(manager, jobs):
    made = build("good")
    assert manager.post(delete_of(made)).headers["Location"] == page_of(made)
    asked = Deletion.objects.get()
    assert (asked.state, asked.cleanup, asked.requested_by) == ("WAITING", True, manager.user)
    assert notes(made) == ["Asked to delete it."]
    seen = text(manager.get(page_of(made)))
    assert "This build waits for a worker that deletes it." in seen
    assert "Delete…" not in seen
    assert "being deleted" in text(manager.get(LIST))
    Deletion.objects.update(state="RUNNING")
    assert "A worker is deleting this build." in text(manager.get(page_of(made)))
    worker = WorkerIdentity.current()
    Deletion.objects.update(worker=str(worker))
    seen = text(manager.get(page_of(made)))
    assert f"A worker is deleting this build ({worker.label})." in seen
    Deletion.objects.update(state="WAITING")
    deletion.run_next()
    gone = manager.get(page_of(made), follow=True)
    assert gone.redirect_chain[-1][0] == reverse("admin:builds_deletion_change", args=[asked.pk])
    assert "was deleted" in text(gone)
    assert f"INFO cleaning build {made.pk}" in text(gone)


def test_a_failed_cleanup_is_shown_on_the_build_and_can_be_tried_again(manager, jobs):
    """original #19: a failing cleanup lost the pointer"""
    made = build("bad")
    manager.post(delete_of(made), {"cleanup": "yes"})
    deletion.run_next()
    page = manager.get(page_of(made))
    seen = text(page)
    assert "The deletion failed; the build was kept" in seen
    assert "RuntimeError: the files are on strike" in seen
    assert "Try again" in seen
    form = markup(page)
    form = form[form.index("jc-failed-deletion") :]
    assert f'<form method="post" action="{delete_of(made)}"' in form
    # Why it failed is read without opening anything.
    assert '<p class="jc-final">RuntimeError: the files are on strike</p><details>' in form
    assert '<button type="submit" name="cleanup" value="no"' in form
    manager.post(delete_of(made), {"cleanup": "yes"})
    assert "waits for a worker that deletes it" in text(manager.get(page_of(made)))
    assert "The deletion failed" not in text(manager.get(page_of(made)))
    deletion.run_next()
    manager.post(delete_of(made), {"cleanup": "no"})
    deletion.run_next()
    assert not Build.objects.filter(pk=made.pk).exists()
    kept = Deletion.objects.order_by("pk").values_list("state", "outcome", "cleanup")
    assert list(kept) == [
        ("FAILED", "failed", True),
        ("FAILED", "failed", True),
        ("DONE", "skipped", False),
    ]
    assert notes(made)[0] == "Asked to delete it without cleanup."


def test_what_is_in_use_says_why_beside_a_disabled_button(manager, jobs):
    made = build("good")
    user = build("user")
    Build.objects.filter(pk=user.pk).update(status="QUEUED")
    page = manager.get(delete_of(made))
    assert f"unfinished builds need it (#{user.pk})" in text(page)
    assert page.content.decode().count("disabled aria-describedby") == 2
    answer = manager.post(delete_of(made), follow=True)
    assert f"unfinished builds need it (#{user.pk})" in text(answer)
    assert not Deletion.objects.exists()
    assert notes(made) == []
    Build.objects.filter(pk=made.pk).update(status="RUNNING")
    assert "Delete…" not in text(manager.get(page_of(made)))
    assert (
        "is running and can&#x27;t be deleted now" in manager.get(delete_of(made)).content.decode()
    )


def test_only_who_may_delete_can(staff, client, jobs):
    made = build("good")
    viewer = staff("builds.view_build", "builds.view_deletion")
    many = reverse("admin:builds_build_delete_many")
    for answer in (
        viewer.get(delete_of(made)),
        viewer.post(delete_of(made)),
        viewer.post(many, {"numbers": str(made.pk)}),
        staff("builds.delete_build").post(delete_of(made)),
        staff("builds.delete_build").post(many, {"numbers": str(made.pk)}),
    ):
        assert answer.status_code == 403
    assert client.post(delete_of(made)).status_code == 302
    assert client.post(many, {"numbers": str(made.pk)}).status_code == 302
    assert not Deletion.objects.exists()
    page = viewer.get(page_of(made)).content.decode()
    assert "Delete" not in page
    assert "delete_selected" not in viewer.get(LIST).content.decode()


def test_a_deletion_is_not_asked_for_by_a_link(manager, jobs):
    made = build("good")
    manager.get(delete_of(made) + "?cleanup=no")
    assert manager.get(reverse("admin:builds_build_delete_many")).status_code == 405
    assert not Deletion.objects.exists()


def test_many_builds_are_deleted_at_once(manager, jobs):
    made = [build("good"), build("bad"), build("plain"), build("plain")]
    user = build("user")
    Build.objects.filter(pk=user.pk).update(status="QUEUED")
    chosen = [one.pk for one in made]
    page = manager.post(LIST, {"action": "delete_selected", "_selected_action": chosen})
    seen = text(page)
    assert "Builds 4 " in seen
    assert "tests.support.odd_jobs:failing_cleanup for 1 build" in seen
    assert "none for 2 builds" in seen
    assert "Used by builds that stay 1 of them" in seen
    assert not Deletion.objects.exists()
    numbers = re.search(r'name="numbers" value="([\d,]+)"', page.content.decode())[1]
    answer = manager.post(
        reverse("admin:builds_build_delete_many"),
        {"numbers": numbers, "cleanup": "yes"},
        follow=True,
    )
    assert "3 builds will be deleted by a worker." in text(answer)
    assert f"unfinished builds need it (#{user.pk})" in text(answer)
    assert notes(made[1]) == ["Asked to delete it."]
    assert notes(made[0]) == []
    while deletion.run_next():
        pass
    left = set(Build.objects.values_list("pk", flat=True))
    assert left == {made[0].pk, made[1].pk, user.pk}


def test_builds_that_go_together_are_not_called_used(manager, jobs):
    chosen = [build("good").pk, build("user").pk]
    data = {"action": "delete_selected", "_selected_action": chosen}
    assert "Used by builds that stay none" in text(manager.post(LIST, data))
    build("user")  # uses the same one, and stays
    assert "Used by builds that stay 1 of them" in text(manager.post(LIST, data))


@pytest.mark.parametrize("count", [300])
def test_hundreds_are_asked_for_in_a_bounded_number_of_queries(
    manager, jobs, django_assert_max_num_queries, count
):
    made = Build.objects.bulk_create(Build(job_id="plain", status="FAILED") for _ in range(count))
    data = {"action": "delete_selected", "_selected_action": made[0].pk, "select_across": "1"}
    with django_assert_max_num_queries(20):
        page = manager.post(LIST, data)
    assert f"Builds {count} " in text(page)
    numbers = ",".join(str(one.pk) for one in made)
    # SQLite takes rows in batches of 999 values.
    with django_assert_max_num_queries(40):
        manager.post(reverse("admin:builds_build_delete_many"), {"numbers": numbers})
    assert Deletion.objects.filter(state="WAITING").count() == count


@pytest.mark.parametrize("numbers", ["", "x", "x,²,-3,0", "9" * 30, ",,,", "\x00"])
def test_odd_numbers_delete_nothing(manager, jobs, numbers):
    build("plain")
    url = reverse("admin:builds_build_delete_many")
    assert manager.post(url, {"numbers": numbers}).status_code == 302
    assert not Deletion.objects.exists()


def test_a_build_that_is_gone_meanwhile_is_no_error(manager, jobs):
    made = build("plain")
    url = delete_of(made)
    run("delete_build", made.pk)
    assert "was deleted" in text(manager.post(url, follow=True))
    assert Deletion.objects.count() == 1


def test_deletions_can_be_read(staff, jobs):
    """original #19"""
    client = staff("builds.view_deletion")
    good, bad = build("good"), build("bad")
    run("delete_build", good.pk)
    run("delete_build", bad.pk)
    url = reverse("admin:builds_deletion_changelist")
    listed = text(client.get(url))
    assert f"#{good.pk} done good cleaned up" in listed
    assert f"#{bad.pk} failed bad cleanup failed, build kept" in listed
    assert [one.build_number for one in client.get(f"{url}?q={good.pk}").context["cl"].result_list]
    failed = Deletion.objects.get(state="FAILED")
    page = text(client.get(reverse("admin:builds_deletion_change", args=[failed.pk])))
    for part in (f"#{bad.pk}", "odd_jobs:failing_cleanup", "the files are on strike", "process "):
        assert part in page
    assert staff("builds.view_build").get(url).status_code == 403


def test_of_a_long_log_of_a_cleanup_the_end_is_shown_on_the_build(manager, jobs):
    made = build("bad")
    run("delete_build", made.pk)
    Deletion.objects.update(log="the beginning" + "\nx" * 15_000 + "\nthe end")
    page = manager.get(page_of(made))
    assert "the end" in text(page)
    assert "the beginning" not in text(page)
    kept = reverse("admin:builds_deletion_change", args=[Deletion.objects.get().pk])
    assert f'<a href="{kept}">All that was kept of it</a>' in page.content.decode()
    assert "the beginning" in text(manager.get(kept))


def test_of_a_deletion_that_waits_only_what_is_known_is_shown(manager, jobs):
    manager.post(delete_of(build("good")))
    page = text(manager.get(f"/admin/builds/deletion/{Deletion.objects.get().pk}/change/"))
    assert "waiting" in page
    for part in ("None", "Outcome", "Ended", "Traceback", "History"):
        assert part not in page


def test_what_a_cleanup_logs_is_escaped(manager, jobs):
    made = build("bad")
    run("delete_build", made.pk)
    nasty = "<script>alert('x')</script>"
    Deletion.objects.update(log=nasty, cleanup_function=nasty)
    for url in (
        page_of(made),
        reverse("admin:builds_deletion_change", args=[Deletion.objects.get().pk]),
    ):
        page = manager.get(url).content.decode()
        assert nasty not in page
        assert escape(nasty) in page


def test_the_deletion_of_another_build_is_not_shown(manager):
    made = build_function("tests.support.odd_jobs:value")
    Deletion.objects.create(build_number=made.pk + 1, job_id="job", state="FAILED")
    assert "deletion failed" not in text(manager.get(page_of(made)))
