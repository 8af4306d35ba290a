"""How jobs stand, against the definition, for random jobs and histories."""

import pytest
from hypothesis import HealthCheck, event, given, settings

from builds.facts import read
from builds.status import (
    job_links,
    job_status,
    job_statuses,
    own_stale_reasons,
    status_from,
    why_outdated,
)
from jobs.models import Job
from tests.support.standings import Standing, histories

pytestmark = pytest.mark.django_db


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories())
def test_jobs_stand_as_by_the_definition(history):
    history.write()
    expected = Standing()
    found = job_statuses(Job.objects.all())
    assert list(found) == [job.pk for job in Job.objects.all()]
    for name, status in found.items():
        event(f"is {status.status}")
        success, failure = expected.newest(name, "SUCCESSFUL"), expected.newest(name, "FAILED")
        last = expected.newest(name, "SUCCESSFUL", "SKIPPED", "FAILED", "CANCELLED")
        for reason in status.stale_reasons:
            event(" ".join(word for word in reason.split() if word[0] not in "#j"))
        assert status.dependencies == tuple(expected.needs[name])
        assert status.missing == tuple(expected.missing(name))
        assert status.own_stale_reasons == tuple(expected.own_reasons(name))
        assert status.stale_reasons == tuple(expected.reasons(name))
        assert status.status == expected.status(name)
        assert status.running == bool(expected.newest(name, "RUNNING"))
        assert [one.pk for one in status.unfinished] == expected.unfinished(name)
        assert status.latest_successful_build_id == (success.pk if success else None)
        assert status.last_failed_build_id == (failure.pk if failure else None)
        outcome = status.last_outcome
        assert (outcome and (outcome.build_id, outcome.status)) == (last and (last.pk, last.status))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories())
def test_whoever_asks_is_told_the_same(history):
    """One job, all, those of the file, and who plans."""
    history.write()
    found = job_statuses(Job.objects.all())
    links = job_links()
    own = own_stale_reasons(read(found, links))
    assert own == {name: status.own_stale_reasons for name, status in found.items()}
    for job in Job.objects.all():
        assert job_status(job) == job_status(job, links) == found[job.pk]
        assert own_stale_reasons(read([job.pk], links))[job.pk] == own[job.pk]
        assert status_from(read(found, links, ended=[job.pk]), job) == found[job.pk]
        (short,) = job_statuses([job], links, with_builds=False).values()
        assert short.stale_reasons == found[job.pk].stale_reasons
        assert short.last_outcome is None
    jobs, reasons = why_outdated()
    assert jobs == list(Job.objects.active())
    assert reasons == {
        job.pk: found[job.pk].stale_reasons for job in jobs if found[job.pk].stale_reasons
    }
