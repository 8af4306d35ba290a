"""The pages of the dependency graph: for all jobs and for one, with files to take away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.cache import get_conditional_response, patch_cache_control
from django.views.decorators.http import require_safe

from builds import pictures
from builds.admin.live import PARAMETER, live_page
from builds.graphs import Graph
from builds.pages.graph import STEPS, WAYS, Question, found_graph, offered_tags, page
from builds.pages.stamps import jobs_stamp
from jobs.models import Job

if TYPE_CHECKING:
    Base = admin.ModelAdmin[Job]
else:
    Base = object

FILES = tuple(pictures.CONTENT_TYPES)


class GraphMixin(Base):
    """Adds the graph's addresses to the admin of jobs."""

    def get_urls(self) -> list[URLPattern]:
        """Add the pages and files of the graph."""

        def view(function: Any, *, cacheable: bool = False) -> Any:
            return self.admin_site.admin_view(require_safe(function), cacheable=cacheable)

        file = view(self.graph_file, cacheable=True)  # it says itself how it may be kept
        return [
            path("graph/", view(self.graph_page), name="jobs_graph"),
            path("graph.<str:file_format>", file, name="jobs_graph_file"),
            path("<path:object_id>/graph/", view(self.graph_page), name="jobs_job_graph"),
            path("<path:object_id>/graph.<str:file_format>", file, name="jobs_job_graph_file"),
            *super().get_urls(),
        ]

    def graph_page(self, request: HttpRequest, object_id: str | None = None) -> HttpResponse:
        """Show the graph of one job, or of all."""
        job = self._job(request, object_id)
        if object_id is not None and job is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, unquote(object_id))  # type: ignore[attr-defined, no-any-return]
        question = Question.of(request.GET)

        def make() -> dict[str, Any]:
            found = found_graph(question, job)
            # A refresh replaces neither the frame nor the form.
            is_refresh = PARAMETER in request.GET
            frame = {} if is_refresh else self.admin_site.each_context(request)
            return {
                **frame,
                "title": f"Dependencies of {job.label}" if job else "Dependency graph",
                "opts": self.opts,
                "job": job,
                "asked": question,
                "files": [(name, _file_url(question, job, name)) for name in FILES],
                "fits": request.GET.get("fit") == "1",
                "ways": WAYS,
                "steps": STEPS,
                "tags": [] if job or is_refresh else offered_tags(question.tags),
                **page(found, request.GET),
                "fold_url": found.question.query(fold="all", but=()),
                "open_url": found.question.query(fold="none", but=()),
            }

        return live_page(request, "builds/graph.html", stamp=jobs_stamp, make=make)

    def graph_file(
        self, request: HttpRequest, file_format: str, object_id: str | None = None
    ) -> HttpResponse:
        """Give the graph of one job, or of all, as a file."""
        job = self._job(request, object_id)
        if object_id is not None and job is None:
            raise Http404(f"there is no job {unquote(object_id)!r}")
        if file_format not in pictures.CONTENT_TYPES:
            raise Http404(f"there is no graph as .{file_format}, only .dot, .svg and .png")
        graph = found_graph(Question.of(request.GET), job).graph
        base = request.build_absolute_uri("/").removesuffix("/")
        etag = f'"{graph.digest}.{file_format}"'
        response = get_conditional_response(request, etag)
        if response is None:
            response = self._file(graph, file_format, base)
        response.headers["ETag"] = etag
        # A proxy must not give it to strangers, and states change: ask each time.
        patch_cache_control(response, private=True, no_cache=True)
        return response

    def _file(self, graph: Graph, file_format: str, base: str) -> HttpResponse:
        try:
            content = pictures.file(graph, file_format, base=base)
        except pictures.NoPicture as error:
            return HttpResponse(f"{error}\n", status=422, content_type="text/plain; charset=utf-8")
        return HttpResponse(
            content,
            content_type=pictures.CONTENT_TYPES[file_format],
            headers={"Content-Disposition": f'attachment; filename="jobs.{file_format}"'},
        )

    def _job(self, request: HttpRequest, object_id: str | None) -> Job | None:
        """Return the job that the address names, None for none; refuse who may not see jobs."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return None if object_id is None else self.get_object(request, unquote(object_id))


def _file_url(question: Question, job: Job | None, file_format: str) -> str:
    if job is not None:
        address = reverse("admin:jobs_job_graph_file", args=[quote(job.pk), file_format])
    else:
        address = reverse("admin:jobs_graph_file", args=[file_format])
    return address + question.query().removesuffix("?")
