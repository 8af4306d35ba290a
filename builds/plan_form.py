"""The part of the build form that says what is built beside the job."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from builds.followers import followers_of
from builds.planning import Dependencies, Options
from builds.status import job_links
from jobs.models import Job

OFFERED = 50  # boxes of jobs to rebuild; others are named by id
MAX_NAMES = 100_000  # characters
CHOSEN = "chosen"
ALL = "all"

FIRST = (
    (Dependencies.NONE, "nothing: existing builds are used"),
    (Dependencies.MISSING, "dependencies without a successful build"),
    (Dependencies.OUTDATED, "these, and dependencies that are outdated"),
    (Dependencies.ALL, "all dependencies, direct or not"),
)
AFTER = (
    ("none", "nothing"),
    (CHOSEN, "those chosen here, and what lies between"),
    (ALL, "all jobs that use its builds, directly or not"),
)


class PlanForm(forms.Form):
    """Which dependencies are built first, and which jobs that use the new build after it."""

    first = forms.ChoiceField(
        label="Build first",
        choices=FIRST,
        initial=Dependencies.NONE,
        required=False,
        widget=forms.RadioSelect,
    )
    after = forms.ChoiceField(
        label="Build after it",
        choices=AFTER,
        initial="none",
        required=False,
        widget=forms.RadioSelect,
    )
    after_jobs = forms.MultipleChoiceField(
        label="Jobs that use it", required=False, widget=forms.CheckboxSelectMultiple
    )
    after_more = forms.CharField(
        label="Others, by id",
        required=False,
        strip=False,
        max_length=MAX_NAMES,
        widget=forms.Textarea({"rows": 3, "spellcheck": "false", "autocapitalize": "off"}),
    )

    job: Job

    @cached_property
    def links(self) -> dict[str, list[str]]:
        """What each job depends on, looked up once for the whole page."""
        return job_links()

    def offer_plans(self, *, has_dependencies: bool) -> None:
        """Leave out what this job has no use for, and offer the jobs that use it."""
        if not has_dependencies:
            del self.fields["first"]
        if not self.followers:
            for name in ("after", "after_jobs", "after_more"):
                del self.fields[name]
            return
        boxes = self.fields["after_jobs"]
        assert isinstance(boxes, forms.MultipleChoiceField)
        boxes.choices = [(job.pk, _label(job)) for job in self._offered()]
        others = len(self.followers) - len(boxes.choices)
        if others > 0:
            self.fields["after_more"].help_text = f"One id a line; {others:,} more use it."
        else:
            del self.fields["after_more"]

    @cached_property
    def followers(self) -> list[Job]:
        """The jobs that would use a new build of the job."""
        return followers_of(self.job, self.links)

    def _offered(self) -> Sequence[Job]:
        return self.followers[:OFFERED]

    def clean_after_more(self) -> list[str]:
        """Return the ids that were typed; each must be one of a job that uses the new build."""
        known = {job.pk for job in self.followers}
        found, wrong = [], []
        for line in self.cleaned_data["after_more"].splitlines():
            name = line if line in known else line.strip()
            if name in known:
                found.append(name)
            elif name:
                wrong.append(f"a new build of {self.job.pk!r} is not used by {name[:200]!r}")
        if wrong:
            raise ValidationError(wrong[:10])
        return found

    def options(self) -> Options:
        """Return what is built beside the job, as filled in."""
        wanted: Any = self.cleaned_data if self.is_bound else self.initial
        after = wanted.get("after") or ""
        chosen = [*(wanted.get("after_jobs") or ()), *(wanted.get("after_more") or ())]
        return Options(
            dependencies=Dependencies(wanted.get("first") or Dependencies.NONE),
            rebuild=frozenset(chosen) if after == CHOSEN else frozenset(),
            rebuild_all=after == ALL,
        )

    def clean(self) -> dict[str, Any]:
        """Refuse boxes that nothing would come of, and a choice of nothing."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        named = [*(cleaned.get("after_jobs") or ()), *(cleaned.get("after_more") or ())]
        if cleaned.get("after") == CHOSEN and not named and not self.errors:
            self.add_error("after", "choose at least one job to build after it")
        if cleaned.get("after") in ("", "none") and named:
            self.add_error("after", "jobs are chosen below: choose that here too, or none of them")
        return cleaned


def _label(job: Job) -> str:
    name = f"{job.title} ({job.pk})" if job.title else job.pk
    return f"{name} – protected" if job.protected else name
