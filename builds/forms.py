"""Forms: what a person wants of one build, and which builds a page is to show."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.forms.boundfield import BoundField
from django.utils import timezone

from builds.models import Build, BuildQuerySet
from builds.plan_form import PlanForm
from builds.planning import Options
from builds.services.inputs import usable_builds
from builds.status import pinned_builds
from jobs import registry, signatures, tags, values
from jobs.models import Job
from jobs.redaction import MASK

OFFERED = 50  # earlier builds of each dependency; older ones are named by number
OFFERED_IN_ALL = 2_000
JOBS_AT_ONCE = 500  # in one statement: SQLite takes no more than a thousand alternatives
MAX_NUMBER = 2**63 - 1
ROWS = 6
# Nearer to the edges of the calendar, a day in one zone is none in another.
DAYS = [MinValueValidator(date(1970, 1, 1)), MaxValueValidator(date(2999, 12, 31))]


# --- One build ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InputRow:
    """How one dependency's build is chosen; `older` names one that is not offered."""

    job: Job
    field: BoundField
    older: BoundField | None


LATEST = "latest"
NOW = "now"


class InputField(forms.Field):
    """A build to use: its number, LATEST for the latest success, or NOW for one to be made."""

    def clean(self, value: Any) -> int | str:
        """Return the number or the word."""
        text = str(super().clean(value))
        if text in (LATEST, NOW):
            return text
        is_number = text.isascii() and text.isdecimal() and len(text) < 20
        if is_number and 1 <= int(text) <= MAX_NUMBER:
            return int(text)
        raise ValidationError("Enter the number of a build.")


class BuildForm(PlanForm):
    """Arguments and inputs for one build of `job`, filled in from the job or from a `source`.

    What is left as it was filled in means what it meant there, also where it can't be typed
    (values in which a secret stands).
    """

    args = forms.CharField(
        label="Positional arguments",
        required=False,
        strip=False,
        max_length=values.MAX_TEXT,
        help_text="A list, as YAML. !retval JOB is what that dependency's build returned.",
    )
    kwargs = forms.CharField(
        label="Named arguments",
        required=False,
        strip=False,
        max_length=values.MAX_TEXT,
        help_text="A mapping, as YAML: name: value.",
    )

    def __init__(self, job: Job, source: Build | None = None, **options: Any) -> None:
        self.job = job
        self.source = source
        self.dependencies = [
            link.depends_on
            for link in job.dependency_links.select_related("depends_on").order_by("position")
        ]
        self._given = _given(job, source)
        options.setdefault("label_suffix", "")
        super().__init__(**options)
        for name in ("args", "kwargs"):
            text = values.to_text(self._given[name])
            self.initial[name] = text
            rows = max(ROWS if text else 3, min(text.count("\n") + 2, 25))
            self.fields[name].widget = forms.Textarea(
                {"rows": rows, "spellcheck": "false", "autocapitalize": "off", "class": "jc-yaml"}
            )
        self._add_inputs()
        self.offer_plans(has_dependencies=bool(self.dependencies))

    # --- Inputs

    def _add_inputs(self) -> None:
        offered = offers(self.dependencies)
        chosen = _chosen(self.job, self.source)
        self.rows: list[tuple[Job, str]] = []
        for dependency in self.dependencies:
            builds, has_older = offered[dependency.pk]
            name = field_name(dependency.pk)
            self._add_input(name, dependency, builds, chosen.get(dependency.pk, LATEST))
            if has_older:
                self._add_older(name, dependency)
            self.rows.append((dependency, name))

    def _add_input(
        self, name: str, dependency: Job, builds: Sequence[Build], wanted: int | str
    ) -> None:
        typed = self.data.get(self.add_prefix(name)) if self.is_bound else None
        choices = _choices(builds, pinned_builds(self.job).get(dependency.pk))
        for number in (wanted, typed):
            if number is not None and str(number) not in {value for value, _ in choices}:
                choices.append((str(number), f"#{number}"))
        self.fields[name] = InputField(
            label=f"Build of {dependency.label}", widget=forms.Select(choices=choices)
        )
        self.initial[name] = wanted

    def _add_older(self, name: str, dependency: Job) -> None:
        self.fields[f"{name}-older"] = forms.IntegerField(
            label=f"or an older one of {dependency.label}, by number",
            required=False,
            min_value=1,
            max_value=MAX_NUMBER,
        )

    def input_rows(self) -> list[InputRow]:
        """Return the fields of each dependency, in the order of the file."""
        return [
            InputRow(
                dependency,
                self[name],
                self[f"{name}-older"] if f"{name}-older" in self.fields else None,
            )
            for dependency, name in self.rows
        ]

    # --- Checks

    def clean_args(self) -> list[Any]:
        """Return the arguments, as typed or as they were."""
        value: list[Any] = self._value("args", values.parse_arguments)
        return value

    def clean_kwargs(self) -> dict[str, Any]:
        """Return the named arguments, as typed or as they were."""
        value: dict[str, Any] = self._value("kwargs", values.parse_keywords)
        return value

    def _value(self, name: str, parse: Callable[[str], Any]) -> Any:
        text = "\n".join(self.cleaned_data[name].splitlines())
        if text.strip() == self.initial[name].strip():
            return self._given[name]
        if MASK in text:
            raise ValidationError(
                f"{MASK} hides a secret and can't be typed back. Write !secret NAME in its place, "
                "or leave the whole field as it was."
            )
        try:
            value = parse(text)
        except values.ValueProblem as problem:
            raise ValidationError(str(problem)) from problem
        wrong = self._strange_references(value)
        if wrong:
            raise ValidationError(wrong)
        return value

    def _strange_references(self, value: Any) -> list[str]:
        known = {dependency.pk for dependency in self.dependencies}
        redactor = registry.redactor()
        strange = [
            f"!retval {name} names no dependency of this job"
            for name in tags.retvals_in(value)
            if name not in known
        ]
        for name in tags.secrets_in(value):
            try:
                redactor.value(tags.Secret(name))
            except KeyError:
                strange.append(f"!secret {name} is not in the configuration file")
        return strange

    def clean(self) -> dict[str, Any]:
        """Check that the arguments fit the function, and that the inputs can be used."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if "args" in cleaned and "kwargs" in cleaned and self.overrides():
            misfit = signatures.problem(self.job, cleaned["args"], cleaned["kwargs"])
            if misfit:
                self.add_error("args" if "positional" in misfit else "kwargs", misfit)
        self._check_inputs(cleaned)
        return cleaned

    def _check_inputs(self, cleaned: Mapping[str, Any]) -> None:
        wanted: dict[str, tuple[Job, int]] = {}
        for dependency, name in self.rows:
            older = f"{name}-older"
            if cleaned.get(older) is not None:
                wanted[older] = (dependency, cleaned[older])
            elif isinstance(cleaned.get(name), int):
                wanted[name] = (dependency, cleaned[name])
        usable = usable_builds(number for _, number in wanted.values())
        for field, (dependency, number) in wanted.items():
            if usable.get(number) != dependency.pk:
                self.add_error(
                    field, f"build #{number} is not a successful build of {dependency.pk!r}"
                )

    # --- What is wanted

    def as_typed(self) -> str:
        """Return all that was filled in, as one text."""
        typed = {
            name: field.widget.value_from_datadict(self.data, self.files, self.add_prefix(name))
            for name, field in self.fields.items()
        }
        return json.dumps(typed)

    def overrides(self) -> dict[str, Any]:
        """Return those of args and kwargs that differ from the job's own."""
        wanted = self.cleaned_data if self.is_bound else self._given
        redactor = registry.redactor()
        return {
            name: wanted[name]
            for name, empty in (("args", []), ("kwargs", {}))
            if tags.encode(wanted[name], redactor) != (self.job.config.get(name) or empty)
        }

    def dependency_builds(self) -> dict[str, int]:
        """Return the builds that were chosen by number; the others are the latest successes."""
        chosen = self._chosen_inputs()
        return {name: one for name, one in chosen.items() if isinstance(one, int)}

    def options(self) -> Options:
        """Return what is built beside the job, its chosen dependencies among that."""
        chosen = self._chosen_inputs()
        now = frozenset(name for name, one in chosen.items() if one == NOW)
        return replace(super().options(), build_now=now)

    def _chosen_inputs(self) -> dict[str, Any]:
        wanted = self.cleaned_data if self.is_bound else self.initial
        return {
            dependency.pk: wanted.get(f"{name}-older") or wanted.get(name)
            for dependency, name in self.rows
        }


def field_name(job_id: str) -> str:
    """Return the name of the field for a dependency, whatever characters its id is made of."""
    return f"input-{hashlib.sha256(job_id.encode('utf-8', 'replace')).hexdigest()[:12]}"


def _given(job: Job, source: Build | None) -> dict[str, Any]:
    config = job.config if source is None else source.payload.config
    return {
        "args": tags.decode(config.get("args") or []),
        "kwargs": tags.decode(config.get("kwargs") or {}),
    }


def _chosen(job: Job, source: Build | None) -> dict[str, int]:
    """Return the inputs to begin with: those of the source, else those the file pins."""
    chosen = pinned_builds(job)
    if source is not None:
        used = source.inputs.filter(dep_build__deleting=False)
        chosen.update(used.values_list("job_id", "dep_build_id"))
    return chosen


def offers(dependencies: Sequence[Job]) -> dict[str, tuple[list[Build], bool]]:
    """Return the newest usable builds of each job, and whether there are older ones.

    Two queries, each of a few steps into an index, however many builds there are.
    """
    limit = max(1, min(OFFERED, OFFERED_IN_ALL // max(len(dependencies), 1)))
    own: BuildQuerySet = Build.objects.usable().filter(job=OuterRef("pk"))
    newest = own.newest_first().values("pk")
    jobs = Job.objects.filter(pk__in=[job.pk for job in dependencies]).order_by()
    edges = jobs.annotate(
        last=Subquery(newest[limit - 1 : limit]), older=Subquery(newest[limit : limit + 1])
    ).values_list("pk", "last", "older")
    rows = list(edges)
    has_older = {job_id: older is not None for job_id, _, older in rows}
    found: dict[str, list[Build]] = {job_id: [] for job_id in has_older}
    for start in range(0, len(rows), JOBS_AT_ONCE):
        wanted = Q(pk__in=[])
        for job_id, last, _ in rows[start : start + JOBS_AT_ONCE]:
            wanted |= Q(job_id=job_id) if last is None else Q(job_id=job_id, pk__gte=last)
        builds = Build.objects.usable().filter(wanted).newest_first()
        for build in builds.only("pk", "job_id", "end_time", "created"):
            found[build.job_id].append(build)
    return {job_id: (builds, has_older[job_id]) for job_id, builds in found.items()}


def _choices(builds: Sequence[Build], pin: int | None) -> list[tuple[str, str]]:
    choices = []
    if pin is None:
        # Else that word would mean the pinned one: the file has the first say.
        latest = f"the latest success: {_label(builds[0])}" if builds else "no successful build yet"
        choices.append((LATEST, latest))
    for build in builds:
        pinned = " · pinned in the file" if build.pk == pin else ""
        choices.append((str(build.pk), _label(build) + pinned))
    return [*choices, (NOW, "build it now, first")]


def _label(build: Build) -> str:
    ended = timezone.localtime(build.end_time or build.created)
    return f"#{build.pk} · {ended:%Y-%m-%d %H:%M}"


# --- The builds of a job's page -------------------------------------------------------------------


class BuildFilter(forms.Form):
    """Which builds of a job its page lists."""

    UNFINISHED = "unfinished"

    status = forms.ChoiceField(
        required=False,
        choices=[("", "any"), (UNFINISHED, "not finished"), *Build.Status.choices],
    )
    trigger = forms.ChoiceField(
        label="Asked for by", required=False, choices=[("", "anything"), *Build.Trigger.choices]
    )
    since = forms.DateField(
        label="From",
        required=False,
        widget=forms.DateInput({"type": "date"}, "%Y-%m-%d"),
        validators=DAYS,
    )
    until = forms.DateField(
        label="To",
        required=False,
        widget=forms.DateInput({"type": "date"}, "%Y-%m-%d"),
        validators=DAYS,
    )

    def chosen(self, builds: BuildQuerySet) -> QuerySet[Build]:
        """Return those of `builds` that are asked for; a wrong field filters nothing."""
        self.is_valid()
        wanted = self.cleaned_data
        if wanted.get("status") == self.UNFINISHED:
            builds = builds.finished(False)
        elif wanted.get("status"):
            builds = builds.filter(status=wanted["status"])
        if wanted.get("trigger"):
            builds = builds.filter(trigger=wanted["trigger"])
        if wanted.get("since"):
            builds = builds.filter(created__gte=_midnight(wanted["since"]))
        if wanted.get("until"):
            builds = builds.filter(created__lt=_midnight(wanted["until"] + timedelta(days=1)))
        return builds


def _midnight(day: date) -> datetime:
    """Return the start of the day in the site's zone."""
    return timezone.make_aware(datetime(day.year, day.month, day.day))  # noqa: DTZ001 - made aware
