"""Filters of our lists, as menus in the line above them."""
# ruff: noqa: ARG002 - the signatures are Django's

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.text import Truncator

from builds.models import Build
from builds.plan_models import Plan
from builds.schedule_models import ScheduledRun
from jobcontrol_site import moments
from jobs.models import Job

JOBS_OFFERED = 1_000
JOBS_NAMED = 500  # in the condition of a search; of more it is said which are left out
WORDS = 20  # of a search; the others are not looked for
_WANTED = "wanted_rows"  # where a request keeps what its search comes to
MENU = "builds/filter.html"

Row = TypeVar("Row", Build, Plan, ScheduledRun)


class ChoiceMenu(admin.ChoicesFieldListFilter):
    """Rows by a field of few values."""

    template = MENU


class YesNoMenu(admin.BooleanFieldListFilter):
    """Rows by what is true of them or not."""

    template = MENU


class StageFilter(admin.SimpleListFilter):
    """How far builds have come, and how they ended: coarser than the status."""

    title = "stage"
    parameter_name = "stage"
    template = MENU
    STAGES: ClassVar[dict[str, tuple[str, Callable[[Any], Any]]]] = {
        "unfinished": ("Waits or runs", lambda builds: builds.finished(False)),
        "started": ("Started", lambda builds: builds.started()),
        "finished": ("Finished", lambda builds: builds.finished()),
        "success": ("Ended well", lambda builds: builds.success()),
        "failure": ("Ended badly", lambda builds: builds.finished().success(False)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the stages."""
        return [(name, label) for name, (label, _) in self.STAGES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the builds of the chosen stage."""
        chosen = self.STAGES.get(self.value() or "")
        found: QuerySet[Any] = chosen[1](queryset) if chosen else queryset
        return found


class _FormFilter(admin.ListFilter):
    """A filter with fields to fill in; its form sends the other filters along."""

    names: tuple[str, ...] = ()

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        for name in self.names:
            if name in params:
                found = params.pop(name)
                self.used_parameters[name] = found[-1] if isinstance(found, list) else found

    def has_output(self) -> bool:
        """Show it always."""
        return True

    def expected_parameters(self) -> list[str | None]:
        """Name the parameters."""
        return list(self.names)

    def value(self, name: str) -> str:
        """Return what was filled in."""
        return str(self.used_parameters.get(name, ""))

    def _form(self, changelist: ChangeList) -> dict[str, Any]:
        """Return what its template needs."""
        others = [
            (name, value)
            for name, values in changelist.get_filters_params().items()
            if name not in self.names
            for value in values
        ]
        if changelist.query:
            others.append(("q", changelist.query))
        return {
            "others": others,
            "values": {name: self.value(name) for name in self.names},
            "is_used": any(self.value(name) for name in self.names),
            "remove": changelist.get_query_string(remove=list(self.names)),
        }


class JobFilter(_FormFilter):
    """Builds, or plans, of one job, by its id."""

    title = "job"
    template = "builds/filter_job.html"
    names = ("job__id__exact",)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep those of the job."""
        job_id = self.value("job__id__exact")
        # Blanks around it were pasted with it, unless the id has them.
        if job_id != job_id.strip() and not Job.objects.filter(pk=job_id).exists():
            job_id = job_id.strip()
        return queryset.filter(job=job_id) if job_id else queryset

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Offer the ids of the jobs in the file."""
        jobs = Job.objects.active().order_by("position").values_list("pk", "title")
        yield {
            **self._form(changelist),
            "value": self.value("job__id__exact"),
            # At once: a template takes longer for a thousand of them than for the rest of a page.
            "options": format_html_join(
                "\n",
                '<option value="{}">{}</option>',
                ((name, Truncator(title).chars(80)) for name, title in jobs[:JOBS_OFFERED]),
            ),
        }


class PeriodFilter(_FormFilter):
    """Builds, or plans, that were asked for between two times."""

    title = "time"
    template = "builds/filter_period.html"
    names = ("since", "until")
    SHORTCUTS = (
        ("1h", "Past hour"),
        ("1d", "Past day"),
        ("7d", "Past 7 days"),
        ("30d", "Past 30 days"),
    )

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        self.problems: list[str] = []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep those of the period; a time that can't be read is said, and left out."""
        since, until = self._moment("since"), self._moment("until", is_end=True)
        if since:
            queryset = queryset.filter(created__gte=since)
        return queryset.filter(created__lt=until) if until else queryset

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Offer two fields and some shortcuts."""
        yield {
            **self._form(changelist),
            "since": self.value("since"),
            "until": self.value("until"),
            "problems": self.problems,
            "summary": self._summary(),
            "shortcuts": [
                {
                    "label": label,
                    "chosen": self.value("since") == age and not self.value("until"),
                    "query": changelist.get_query_string({"since": age}, ["until"]),
                }
                for age, label in self.SHORTCUTS
            ],
        }

    def _summary(self) -> str:
        since, until = self.value("since"), self.value("until")
        known = dict(self.SHORTCUTS)
        if not until:
            return known.get(since) or f"from {since}"
        return f"{since} to {until}" if since else f"to {until}"

    def _moment(self, name: str, *, is_end: bool = False) -> datetime | None:
        text = self.value(name).strip()
        if not text:
            return None
        try:
            found = moments.moment(text)
        except (argparse.ArgumentTypeError, OverflowError, ValueError) as error:
            self.problems.append(str(error))
            return None
        is_day = len(text) == len("2026-01-31") and text.count("-") == 2
        # "Until a day" means that day, too.
        return found + timedelta(days=1) if is_end and is_day else found


def search(
    request: HttpRequest, rows: QuerySet[Row], text: str, *, number: str = "pk"
) -> QuerySet[Row]:
    """Return the rows whose job's id or title have the words of `text`, or whose `number` is one.

    Jobs are looked up first, for all words: each row is then found by an index on them. Once for a
    request: what looks whether a list has changed searches as well.
    """
    words = list(dict.fromkeys(text.replace("\x00", "").split()))[:WORDS]
    if not words:
        return rows
    known = getattr(request, _WANTED, None)
    if known is None:
        known = _of_jobs(words)
        for word in words:
            digits = word.removeprefix("#")
            if digits.isascii() and digits.isdecimal() and len(digits) < 19:
                others = [one for one in words if one.removeprefix("#") != digits]
                jobs = Q(job__in=Job.objects.filter(_named(others)).values("pk")) if others else Q()
                known |= Q(**{number: int(digits)}) & jobs
        setattr(request, _WANTED, known)
    return rows.filter(known)


def _of_jobs(words: Sequence[str]) -> Q:
    """Return the condition of rows whose job has all words, as short as can be."""
    named = _named(words)
    ids = list(Job.objects.filter(named).values_list("pk", flat=True)[: JOBS_NAMED + 1])
    if len(ids) <= JOBS_NAMED:
        return Q(job__in=ids)
    others = list(Job.objects.exclude(named).values_list("pk", flat=True)[: JOBS_NAMED + 1])
    if len(others) <= JOBS_NAMED:
        return ~Q(job__in=others) if others else Q(pk__gt=0)
    return Q(job__in=Job.objects.filter(named).values("pk"))


def _named(words: Sequence[str]) -> Q:
    found = Q()
    for word in words:
        found &= Q(pk__icontains=word) | Q(title__icontains=word)
    return found
