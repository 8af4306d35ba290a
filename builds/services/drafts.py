"""Writing new builds down: one, or all of a plan, in a few statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings

from builds import bulk
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
    pairs = list(zip(made, drafts, strict=True))
    bulk.insert_rows(
        BuildPayload,
        ("build", "config", "config_text", "retval_text", "retval_json"),
        ((build.pk, draft.config, draft.config_text, "", "") for build, draft in pairs),
    )
    numbers = {build.job_id: build.pk for build in made}
    inputs = (
        (build.pk, name, number or numbers[name])
        for build, draft in pairs
        for name, number in draft.inputs.items()
    )
    bulk.insert_rows(
        BuildDependency,
        ("build", "job", "dep_build", "dep_build_number"),
        ((user, name, used, used) for user, name, used in inputs),
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
    # Known values only can be inserted together on PostgreSQL.
    moment = {} if plan is None else {"created": plan.created}
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
            **moment,
        )
        for draft in drafts
    ]


def _timeout(config: Mapping[str, Any]) -> timedelta | None:
    given = config.get("timeout")
    seconds = settings.TIMEOUT_SECONDS if given is None else duration(given)
    return None if seconds is None else timedelta(seconds=seconds)
