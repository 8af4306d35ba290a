"""What can be asked about one build beside its page: its log, files, and its deletion."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST, require_safe

from builds import history, retvals, services
from builds.admin import asking
from builds.admin.shared import user_of
from builds.admin.telling import say
from builds.models import Build, BuildPayload, BuildQuerySet
from builds.pages import deletion as deletion_pages
from builds.pages import log as log_pages
from builds.pages import log_files
from builds.pages.progress import branch_part
from jobcontrol.exceptions import JobControlException, RetvalError
from jobcontrol.utils import TracebackInfo

if TYPE_CHECKING:
    BuildAdminBase = admin.ModelAdmin[Build]
else:
    BuildAdminBase = admin.ModelAdmin

MAY_DELETE = "builds.delete_build"
MAY_KEEP = "builds.run_build"
MAY_UNPICKLE = "builds.download_pickle"
PLAIN = "text/plain; charset=utf-8"

R = TypeVar("R", bound=HttpResponseBase)


class BuildViews(BuildAdminBase):
    """The addresses below a build's own."""

    def get_urls(self) -> list[URLPattern]:
        """Add ours, before Django's that take any id."""
        guard = self.admin_site.admin_view
        return [
            path("<int:number>/cancel/", guard(self.cancel_view), name="builds_build_cancel"),
            path("delete/", guard(self.delete_many), name="builds_build_delete_many"),
            path("<int:number>/keep/", guard(self.keep_view), name="builds_build_keep"),
            path("<int:number>/log/", guard(self.log_view), name="builds_build_log"),
            path("<int:number>/log/news/", guard(self.log_news), name="builds_build_log_news"),
            path(
                "<int:number>/progress/",
                guard(self.progress_view),
                name="builds_build_progress",
            ),
            path(
                "<int:number>/download/<str:name>",
                guard(self.download_view),
                name="builds_build_download",
            ),
            *super().get_urls(),
        ]

    def build_or_404(self, request: HttpRequest, number: int) -> Build:
        """Return the build for somebody who may see builds."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        build = self.get_queryset(request).filter(pk=number).first()
        if build is None:
            raise Http404(f"There is no build #{number}.")
        return build

    # --- log and files ---

    @method_decorator(require_safe)
    def log_view(self, request: HttpRequest, number: int) -> HttpResponse:
        """Show a part of the log."""
        build = self.build_or_404(request, number)
        return self._page(
            request,
            "builds/log.html",
            f"Log of build #{build.pk}",
            log_pages.log_page(build, request.GET),
        )

    @method_decorator(require_safe)
    def log_news(self, request: HttpRequest, number: int) -> HttpResponse:
        """Send the lines that came after those that a page shows, as a part of it."""
        build = self.build_or_404(request, number)
        news = log_pages.log_news(build, request.GET)
        if news.context["lines"] or news.context["gap"] is not None:
            response = render(request, "builds/_log_lines.html", news.context)
        else:
            response = HttpResponse(status=204)
        response.headers["X-Log-After"] = str(news.last)
        response.headers["X-Log-Status"] = build.status
        if news.counts:
            response.headers["X-Log-Counts"] = news.counts
        if news.is_over:
            response.headers["X-Log-Over"] = "yes"
        response.headers["Cache-Control"] = "private, no-store"
        return response

    @method_decorator(require_safe)
    def progress_view(self, request: HttpRequest, number: int) -> HttpResponse:
        """Answer with the bars below one branch of the progress, which the page puts there."""
        found = branch_part(self.build_or_404(request, number), request.GET)
        if found is None:
            raise Http404("There is no such branch.")
        return TemplateResponse(request, "builds/_progress_branch.html", found)

    @method_decorator(require_safe)
    def download_view(self, request: HttpRequest, number: int, name: str) -> HttpResponseBase:
        """Send one of the build's files."""
        build = self.build_or_404(request, number)
        makers: dict[str, Callable[[HttpRequest, Build], HttpResponseBase]] = {
            "log.txt": _log_text,
            "log.jsonl": _log_json,
            "traceback.txt": _traceback,
            "config.yaml": _config,
            "retval.txt": _retval_text,
            "retval.json": _retval_json,
            "retval.pickle": _retval_pickle,
        }
        if name not in makers:
            raise Http404(f"A build has no file {name!r}.")
        return makers[name](request, build)

    # --- cancelling ---

    @method_decorator(require_POST)
    def cancel_view(self, request: HttpRequest, number: int) -> HttpResponse:
        """Cancel a build that waits or runs."""
        build = self.build_or_404(request, number)
        if not request.user.has_perm(asking.MAY_RUN):
            raise PermissionDenied
        try:
            with transaction.atomic():
                services.cancel_build(build=build, requested_by=user_of(request))
                history.note(request.user, build, "Asked to cancel it.")
        except JobControlException as error:
            self.message_user(request, str(error), messages.ERROR)
        if build.plan_id and request.POST.get("back") == "plan":
            return HttpResponseRedirect(reverse("admin:builds_plan_change", args=[build.plan_id]))
        return HttpResponseRedirect(reverse("admin:builds_build_change", args=[build.pk]))

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether the user may cancel: whoever may start builds."""
        return request.user.has_perm(asking.MAY_RUN)

    @admin.action(description="Cancel selected builds", permissions=["cancel"])
    def cancel_selected(self, request: HttpRequest, queryset: BuildQuerySet) -> None:
        """Cancel those of them that have not ended."""
        found = services.cancel_builds(
            builds=queryset.finished(False).order_by().values_list("pk", flat=True),
            requested_by=user_of(request),
            note=lambda numbers: history.note_builds(request.user, numbers, "Asked to cancel it."),
        )
        cancelled = len(found)
        if cancelled:
            text = f"Cancelled, or told to stop: {cancelled:,} build{'s' if cancelled > 1 else ''}."
            self.message_user(request, text, messages.SUCCESS)
        else:
            text = "None of these builds waits or runs: nothing was cancelled."
            self.message_user(request, text, messages.WARNING)

    # --- the mark that keeps it ---

    @method_decorator(require_POST)
    def keep_view(self, request: HttpRequest, number: int) -> HttpResponse:
        """Mark the build to be kept, or take the mark away."""
        if not request.user.has_perm(MAY_KEEP):
            raise PermissionDenied
        build = self.build_or_404(request, number)
        keep = request.POST.get("keep") == "yes"
        if build.keep != keep:
            try:
                with transaction.atomic():
                    services.keep_build(build=build, keep=keep)
                    history.note(request.user, build, history.KEPT if keep else history.UNKEPT)
            except JobControlException as error:
                self.message_user(request, str(error), messages.ERROR)
        return HttpResponseRedirect(reverse("admin:builds_build_change", args=[build.pk]))

    # --- deletion ---

    def confirm_deletion(self, request: HttpRequest, build: Build) -> HttpResponse:
        """Tell what a deletion takes away, or ask a worker for it."""
        here = reverse("admin:builds_build_change", args=[build.pk])
        if request.method != "POST":
            found = deletion_pages.deletion_page(build)
            return self._page(request, "builds/delete.html", f"Delete build #{build.pk}?", found)
        cleanup = _wants_cleanup(request)
        try:
            with transaction.atomic():
                services.request_deletion(
                    build=build, requested_by=user_of(request), cleanup=cleanup
                )
                history.note(request.user, build, _asked(cleanup))
        except JobControlException as error:
            self.message_user(request, str(error), messages.ERROR)
        return HttpResponseRedirect(here)

    @method_decorator(require_POST)
    def delete_many(self, request: HttpRequest) -> HttpResponse:
        """Ask a worker to delete the builds that the confirmation named."""
        if not (request.user.has_perm(MAY_DELETE) and self.has_view_permission(request)):
            raise PermissionDenied
        cleanup = _wants_cleanup(request)
        here = reverse("admin:builds_build_changelist")
        if "choice" in request.POST:
            self._delete_choice(request, cleanup)
            return HttpResponseRedirect(here)
        numbers = deletion_pages.read_numbers(request.POST.get("numbers", ""))
        with transaction.atomic():
            made, refused = services.request_deletions(
                builds=numbers, requested_by=user_of(request), cleanup=cleanup
            )
            asked = [one.build_number for one in made]
            history.note_builds(request.user, asked, _asked(cleanup))
        if made:
            text = f"{len(made)} build{'s' if len(made) > 1 else ''} will be deleted by a worker."
            say(request, messages.SUCCESS, "to_delete", text=text)
        self._tell_refusals(request, refused)
        return HttpResponseRedirect(here)

    def _delete_choice(self, request: HttpRequest, cleanup: bool) -> None:
        (number,) = deletion_pages.read_numbers(request.POST["choice"])[:1] or [0]
        try:
            bulk = services.confirm_choice(
                number=number, requested_by=user_of(request), cleanup=cleanup
            )
        except JobControlException as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            text = f"{bulk.count:,} builds will be deleted by workers."
            say(request, messages.SUCCESS, "to_delete", text=text)

    def _tell_refusals(self, request: HttpRequest, refused: list[str]) -> None:
        for reason in refused[:10]:
            self.message_user(request, reason[:1].upper() + reason[1:], messages.ERROR)
        if len(refused) > 10:
            text = f"{len(refused) - 10} more can't be deleted now for such reasons."
            self.message_user(request, text, messages.ERROR)

    def _page(
        self, request: HttpRequest, template: str, title: str, found: dict[str, Any]
    ) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            **found,
        }
        return TemplateResponse(request, template, context)


def _wants_cleanup(request: HttpRequest) -> bool:
    return request.POST.get("cleanup") != "no"


def _asked(cleanup: bool) -> str:
    return "Asked to delete it." if cleanup else "Asked to delete it without cleanup."


# --- Files ----------------------------------------------------------------------------------------


def _log_text(request: HttpRequest, build: Build) -> HttpResponseBase:
    lines = log_files.stream_log(build, request.GET, as_json=False)
    return _stream(lines, PLAIN, f"build-{build.pk}.log")


def _log_json(request: HttpRequest, build: Build) -> HttpResponseBase:
    lines = log_files.stream_log(build, request.GET, as_json=True)
    return _stream(lines, "application/jsonl; charset=utf-8", f"build-{build.pk}.jsonl")


def _traceback(_request: HttpRequest, build: Build) -> HttpResponse:
    stored = _column(build, "traceback")
    if not stored:
        raise Http404(f"Build #{build.pk} has no traceback.")
    text = TracebackInfo.from_json(stored).format()
    return _file(text, PLAIN, f"build-{build.pk}-traceback.txt", inline=True)


def _config(_request: HttpRequest, build: Build) -> HttpResponse:
    text = _column(build, "config_text")
    return _file(text or "", "application/yaml; charset=utf-8", f"build-{build.pk}.yaml")


def _retval_text(_request: HttpRequest, build: Build) -> HttpResponse:
    _need_retval(build)
    return _file(_column(build, "retval_text") or "", PLAIN, f"build-{build.pk}-retval.txt")


def _retval_json(_request: HttpRequest, build: Build) -> HttpResponse:
    _need_retval(build)
    text = _column(build, "retval_json")
    if not text:
        raise Http404(f"The return value of build #{build.pk} is not JSON.")
    return _file(text, "application/json", f"build-{build.pk}-retval.json")


def _retval_pickle(request: HttpRequest, build: Build) -> HttpResponse:
    if not request.user.has_perm(MAY_UNPICKLE):
        raise PermissionDenied
    _need_retval(build)
    sealed = _column(build, "retval")
    if sealed is None:
        raise Http404(f"Build #{build.pk} has no return value.")
    try:
        pickled = retvals.unseal_pickle(build.pk, sealed)
    except RetvalError as error:
        return HttpResponse(str(error), status=409, content_type=PLAIN)
    history.note(request.user, build, "Downloaded the return value as a pickle.")
    return _file(pickled, "application/octet-stream", f"build-{build.pk}-retval.pickle")


def _need_retval(build: Build) -> None:
    if build.status != Build.Status.SUCCESSFUL:
        raise Http404(f"Build #{build.pk} has no return value.")


def _column(build: Build, name: str) -> Any:
    return BuildPayload.objects.filter(pk=build.pk).values_list(name, flat=True).first()


def _file(text: str | bytes, kind: str, name: str, *, inline: bool = False) -> HttpResponse:
    return _named(HttpResponse(text, content_type=kind), name, inline=inline)


def _stream(lines: Iterable[str], kind: str, name: str) -> StreamingHttpResponse:
    return _named(StreamingHttpResponse(lines, content_type=kind), name)


def _named(response: R, name: str, *, inline: bool = False) -> R:
    way = "inline" if inline else "attachment"
    response.headers["Content-Disposition"] = f'{way}; filename="{name}"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "private, no-store"
    return response
