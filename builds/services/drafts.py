"""Writing new builds down: one, or all of a plan, in a few statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings

from builds.models import Build, BuildDependency, BuildPayload
from builds.plan_models import Plan
from jobs.models import ConfigRevision, Job
from jobs.policies import duration

if TYPE_CHECKING:
    from django.contrib.auth.models import User

CHUNK = 1_000  # rows per statement

Status = Build.Status


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A build to be written down. `inputs` has the build to use by job; None is the draft's own."""

    job: Job
    trigger: str
    config: dict[str, Any]
    config_text: str
    inputs: Mapping[str, int | None]
    reason: str = ""

    @property
    def waits(self) -> bool:
        """Whether it uses a build that is still to be made."""
        return None in self.inputs.values()


def record(
    drafts: Sequence[Draft],
    *,
    status: Build.Status,
    requested_by: User | None,
    plan: Plan | None = None,
    armed: bool = False,
    in_place: bool = False,
) -> list[Build]:
    """Write builds down, each after what it uses; those that wait for another are WAITING.

    The others get `status`. In the caller's transaction, who has locked the builds that are used.
    """
    made = Build.objects.bulk_create(
        _builds(drafts, status, requested_by, plan, armed=armed, in_place=in_place),
        batch_size=CHUNK,
    )
    BuildPayload.objects.bulk_create(
        [
            BuildPayload(build=build, config=draft.config, config_text=draft.config_text)
            for build, draft in zip(made, drafts, strict=True)
        ],
        batch_size=CHUNK,
    )
    numbers = {build.job_id: build.pk for build in made}
    BuildDependency.objects.bulk_create(
        [
            BuildDependency(
                build=build,
                job_id=job_id,
                dep_build_id=number or numbers[job_id],
                dep_build_number=number or numbers[job_id],
            )
            for build, draft in zip(made, drafts, strict=True)
            for job_id, number in draft.inputs.items()
        ],
        batch_size=CHUNK,
    )
    return made


def _builds(
    drafts: Sequence[Draft],
    status: Build.Status,
    requested_by: User | None,
    plan: Plan | None,
    *,
    armed: bool,
    in_place: bool,
) -> list[Build]:
    revision = ConfigRevision.objects.values_list("pk", flat=True).first()
    return [
        Build(
            job=draft.job,
            status=Status.WAITING if draft.waits else status,
            trigger=draft.trigger,
            requested_by=requested_by,
            armed=armed and draft.job.protected,
            priority=draft.job.priority,
            queue=draft.job.queue,
            timeout=_timeout(draft.config),
            config_revision_id=revision,
            plan=plan,
            plan_reason=draft.reason,
            in_place=in_place,
        )
        for draft in drafts
    ]


def _timeout(config: Mapping[str, Any]) -> timedelta | None:
    given = config.get("timeout")
    seconds = settings.TIMEOUT_SECONDS if given is None else duration(given)
    return None if seconds is None else timedelta(seconds=seconds)
