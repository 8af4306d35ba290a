"""The pages of the dependency graph: for all jobs and for one, with files to take away."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.cache import get_conditional_response, patch_cache_control
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from builds import pictures
from builds.graphs import Graph, Node
from builds.status import JobStatus, job_statuses
from jobs import graph as relations
from jobs.models import Job, JobDependency, JobQuerySet

if TYPE_CHECKING:
    Base = admin.ModelAdmin[Job]
else:
    Base = object

LISTED = 1_000  # jobs of the list below the picture
TAGS_OFFERED = 200
IN_ONE_QUERY = 5_000  # databases bound the parameters of one statement


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
        chosen_tags = _chosen_tags(request)
        graph = _graph_of(job) if job else _graph_of_all(chosen_tags)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Dependencies of {job.label}" if job else "Dependency graph",
            "opts": self.opts,
            "job": job,
            "graph": graph,
            "rows": [(node, graph.needs[node.id]) for node in graph.nodes[:LISTED]],
            "hidden": max(len(graph.nodes) - LISTED, 0),
            "files": [(name, _file_url(request, job, name)) for name in pictures.CONTENT_TYPES],
            "fits": request.GET.get("fit") == "1",
            **_picture(graph),
            **({} if job else {"tags": _tags(chosen_tags), "chosen_tags": chosen_tags}),
        }
        return TemplateResponse(request, "builds/graph.html", context)

    def graph_file(
        self, request: HttpRequest, file_format: str, object_id: str | None = None
    ) -> HttpResponse:
        """Give the graph of one job, or of all, as a file."""
        job = self._job(request, object_id)
        if object_id is not None and job is None:
            raise Http404(f"there is no job {unquote(object_id)!r}")
        if file_format not in pictures.CONTENT_TYPES:
            raise Http404(f"there is no graph as .{file_format}, only .dot, .svg and .png")
        graph = _graph_of(job) if job else _graph_of_all(_chosen_tags(request))
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
            content = pictures.picture(graph, file_format, base=base)
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


def _graph_of_all(tags: list[str]) -> Graph:
    """Return the jobs of the file, or those that carry all of `tags`."""
    return _graph(_light(Job.objects.active().with_tags(tags)), _edges())


def _graph_of(job: Job) -> Graph:
    """Return what `job` needs and what needs it, directly or not."""
    uses = _edges()
    graph: dict[str, list[str]] = {job.pk: []}
    for used, user in uses:
        graph.setdefault(user, []).append(used)
        graph.setdefault(used, [])
    wanted = {*relations.ancestors(graph, job.pk), *relations.descendants(graph, job.pk), job.pk}
    jobs = Job.objects.all()
    if len(wanted) <= IN_ONE_QUERY:
        jobs = jobs.filter(pk__in=wanted)
    return _graph((found for found in _light(jobs) if found.pk in wanted), uses, chosen=job.pk)


def _edges() -> list[tuple[str, str]]:
    """Return all pairs (job, one that uses its builds) between ids, in a stable order."""
    links = JobDependency.objects.order_by("job__position", "job_id", "position")
    return list(links.values_list("depends_on_id", "job_id"))


def _light(jobs: JobQuerySet) -> JobQuerySet:
    """Leave out the large texts; the pins in `config` decide whether a job is outdated."""
    return jobs.defer("config_text", "docs", "notes")


def _graph(jobs: Iterable[Job], uses: Iterable[tuple[str, str]], chosen: str = "") -> Graph:
    found = list(jobs)
    statuses = job_statuses(found)
    return Graph.of((_node(job, statuses[job.pk], chosen) for job in found), uses)


def _node(job: Job, status: JobStatus, chosen: str) -> Node:
    missing = [f"needs a build of {name}" for name in status.missing]
    return Node(
        id=job.pk,
        title=job.title,
        status=status.status,
        url=reverse("admin:jobs_job_change", args=[quote(job.pk)]),
        running=status.running,
        protected=job.protected,
        retired=job.retired,
        is_chosen=job.pk == chosen,
        remarks=tuple(filter(None, [job.problem, *status.stale_reasons, *missing])),
    )


def _picture(graph: Graph) -> dict[str, Any]:
    """Return the picture for the page, or what to say in its place."""
    if not graph.nodes:
        return {}
    try:
        return {"svg": SafeString(pictures.inline_svg(graph))}
    except pictures.NoPicture as error:
        return {"no_picture": str(error)}


def _file_url(request: HttpRequest, job: Job | None, file_format: str) -> str:
    if job is not None:
        return reverse("admin:jobs_job_graph_file", args=[quote(job.pk), file_format])
    tags = request.GET.copy()
    tags.clear()
    tags.setlist("tag", _chosen_tags(request))
    query = f"?{tags.urlencode()}" if tags.getlist("tag") else ""
    return reverse("admin:jobs_graph_file", args=[file_format]) + query


def _chosen_tags(request: HttpRequest) -> list[str]:
    return [tag for tag in request.GET.getlist("tag") if tag and "\x00" not in tag]


def _tags(chosen: list[str]) -> list[str]:
    """Return the tags to offer: those of the jobs in the file, and the chosen ones."""
    lists = Job.objects.active().exclude(tag_text="").values_list("tags", flat=True)
    return sorted({tag for found in lists for tag in found} | set(chosen))[:TAGS_OFFERED]
