"""Two builds beside each other: the page, and the action of the list that leads there."""

from __future__ import annotations

from typing import cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from builds.admin.build_views import BuildViews
from builds.deletion_models import Deletion
from builds.models import BuildQuerySet
from builds.pages.comparison import comparison_page, numbers_of, with_texts


def comparison_address(left: int, right: int) -> str:
    """Return where two builds stand beside each other."""
    return f"{reverse('admin:builds_build_compare')}?left={left}&right={right}"


class ComparingViews(BuildViews):
    """The comparison of two builds."""

    def get_urls(self) -> list[URLPattern]:
        """Add ours, before Django's that take any id."""
        guard = self.admin_site.admin_view
        return [
            path("compare/", guard(self.compare_view), name="builds_build_compare"),
            *super().get_urls(),
        ]

    @method_decorator(require_safe)
    def compare_view(self, request: HttpRequest) -> HttpResponse:
        """Show two builds beside each other, or ask which ones."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        texts = [request.GET.get(name, "") for name in ("left", "right")]
        if not any(texts):
            return self._ask(request, texts, [], 200)
        numbers = numbers_of(texts)
        known = [number for number in numbers if number is not None]
        found = cast("BuildQuerySet", self.get_queryset(request))
        if len(known) < len(texts):
            pairs = zip(texts, numbers, strict=True)
            words = [_no_number(text) for text, number in pairs if number is None]
            gone = set(known) - set(found.filter(pk__in=known).values_list("pk", flat=True))
            return self._ask(request, texts, [*words, *_missing(list(gone))], 400)
        builds = with_texts(found, left=known[0]).in_bulk(known)
        missing = [number for number in dict.fromkeys(known) if number not in builds]
        if missing:
            return self._ask(request, texts, _missing(missing), 404)
        left, right = (builds[number] for number in known)
        if left == right:
            word = f"Both are build #{left.pk}. Choose another one to compare it with."
            return self._ask(request, texts, [word], 400)
        title = f"Compare #{left.pk} with #{right.pk}"
        page = {**comparison_page(left, right), "chosen": known}
        return self._page(request, "builds/compare.html", title, page)

    def _ask(
        self, request: HttpRequest, texts: list[str], problems: list[str], status: int
    ) -> TemplateResponse:
        found = {"chosen": [text.strip()[:20] for text in texts], "problems": problems}
        response = self._page(request, "builds/compare_which.html", "Compare two builds", found)
        response.status_code = status
        return response

    @admin.action(description="Compare the two chosen builds", permissions=["view"])
    def compare_selected(
        self, request: HttpRequest, queryset: BuildQuerySet
    ) -> HttpResponse | None:
        """Lead to the comparison of the two builds; the older one is the left one."""
        numbers = list(queryset.order_by("pk").values_list("pk", flat=True)[:3])
        if len(numbers) == 2:
            return HttpResponseRedirect(comparison_address(*numbers))
        many = (
            "more than two were" if len(numbers) > 2 else "only one was" if numbers else "none was"
        )
        text = f"Choose exactly two builds to compare: {many} chosen."
        self.message_user(request, text, messages.WARNING)
        return None


def _no_number(text: str) -> str:
    shown = text.strip()[:40]
    return f"“{shown}” is no number of a build." if shown else "Two builds are needed."


def _missing(numbers: list[int]) -> list[str]:
    """Say what became of builds that are not there."""
    found = Deletion.objects.filter(build_number__in=numbers, state=Deletion.State.DONE)
    deleted = set(found.values_list("build_number", flat=True))
    return [
        f"Build #{number} was deleted." if number in deleted else f"There is no build #{number}."
        for number in numbers
    ]
