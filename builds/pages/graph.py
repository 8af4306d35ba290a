"""What the page of the dependency graph shows, as plain values for its template.

The address says all of it: which jobs (`tag`, `q`, or those around one), how far around them
(`way`, `steps`), and how they are grouped (`group`, `fold`, `but`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.core.paginator import Paginator
from django.http import QueryDict

from builds.addresses import address
from builds.graphs import MAX_EDGES, MAX_NODES, SIGNS, Counts, Graph, Group, Node
from builds.pages import refreshing
from builds.pages.graph_picture import picture_part
from builds.status import JobStatus, job_statuses
from jobs import graph as relations
from jobs.models import Job, JobDependency, JobQuerySet

LISTED = 50  # jobs of a page of the list below the picture
TAGS_OFFERED = 200
IN_ONE_QUERY = 5_000  # databases bound the parameters of one statement
FOLDED_ABOVE = 100  # jobs: groups of more are folded at first
TURNED = 100  # groups that an address can name as folded or open by themselves
STEPS = (1, 2, 3, 5, 10)
WAYS = {"both": "needs and is needed by", "up": "needs", "down": "is needed by"}
BY_TAG = "tag"
UNTAGGED = "none"
LEGEND = ("success", "outdated", "failed", "not_built", "running")


@dataclass(frozen=True)
class Question:
    """What an address asks for."""

    tags: tuple[str, ...] = ()
    text: str = ""
    way: str = "both"
    steps: int | None = None
    is_grouped: bool = False
    fold: str = ""  # "all", "none", or "" to choose by the number of jobs
    but: tuple[str, ...] = ()  # keys of the groups that are turned over

    @classmethod
    def of(cls, asked: QueryDict) -> Question:
        """Read the parameters; what is none of these is as if it was not there."""
        steps = asked.get("steps", "")
        return cls(
            tags=_texts(asked.getlist("tag")),
            text=" ".join(asked.get("q", "").replace("\x00", "").split())[:200],
            way=asked.get("way", "") if asked.get("way") in WAYS else "both",
            steps=int(steps) if steps in map(str, STEPS) else None,
            is_grouped=asked.get("group") == BY_TAG,
            fold=asked.get("fold", "") if asked.get("fold") in ("all", "none") else "",
            but=_texts(asked.getlist("but"))[:TURNED],
        )

    def query(self, **changes: Any) -> str:
        """Return the address's part after the path for this question, with changes."""
        other = replace(self, **changes)
        found = QueryDict(mutable=True)
        found.setlist("tag", list(other.tags))
        single = {
            "q": other.text,
            "way": "" if other.way == "both" else other.way,
            "steps": str(other.steps or ""),
            "group": BY_TAG if other.is_grouped else "",
            "fold": other.fold if other.is_grouped else "",
        }
        for name, value in single.items():
            if value:
                found[name] = value
        found.setlist("but", list(other.but) if other.is_grouped else [])
        text = found.urlencode()
        return f"?{text}" if text else "?"


@dataclass(frozen=True)
class Found:
    """The graph that an address asks for, and what to say about it."""

    graph: Graph
    question: Question
    matches: int = 0
    notice: str = ""


def found_graph(question: Question, job: Job | None) -> Found:
    """Return the graph: of all jobs, of what is looked for, or of `job` and what is around it."""
    uses = _edges()
    if job is not None:
        matches: set[str] = set()
        chosen: set[str] | None = _around(question, uses, [job.pk])
        jobs = _light(_named(Job.objects.all(), chosen or set()))
    else:
        jobs = _light(Job.objects.active().with_tags(list(question.tags)))
        matches, chosen = set(), None
        if question.text:
            matches = _matches(question.text, jobs)
            near = replace(question, steps=question.steps or 1)
            chosen = _around(near, uses, matches)
            jobs = _light(_named(Job.objects.active(), chosen))
    listed = [one for one in jobs if chosen is None or one.pk in chosen]
    statuses = job_statuses(listed, with_builds=False)
    key = job.pk if job is not None else ""
    nodes = [_node(one, statuses[one.pk], key, matches) for one in listed]
    return _grouped(nodes, uses, question, len(matches))


def page(found: Found, asked: QueryDict) -> dict[str, Any]:
    """Return what the page shows of a graph."""
    graph = found.graph
    counts = Counts.of(graph.nodes)
    listed = Paginator(graph.nodes, LISTED).get_page(asked.get("p"))
    return {
        "graph": graph,
        "question": found.question,
        "matches": found.matches,
        "notice": found.notice,
        "legend": _legend(counts),
        "counts": counts,
        "list_page": listed,
        "rows": [(node, graph.needs[node.id]) for node in listed],
        "refresh_seconds": refreshing.of_graph(is_running=counts.running > 0),
        **picture_part(graph, asked),
    }


def offered_tags(chosen: Iterable[str]) -> list[str]:
    """Return the tags to offer: those of the jobs in the file, and the chosen ones."""
    return sorted(Job.objects.active().tag_names() | set(chosen))[:TAGS_OFFERED]


# --- Which jobs -----------------------------------------------------------------------------------


def _edges() -> list[tuple[str, str]]:
    """Return all pairs (job, one that uses its builds) between ids, in a stable order."""
    links = JobDependency.objects.order_by("job__position", "job_id", "position")
    return list(links.values_list("depends_on_id", "job_id"))


def _light(jobs: JobQuerySet) -> JobQuerySet:
    """Load of each job what its box shows, and no more: there may be a thousand."""
    return jobs.only("title", "tag_text", "protected", "retired", "problem")


def _named(jobs: JobQuerySet, names: set[str]) -> JobQuerySet:
    return jobs.filter(pk__in=names) if len(names) <= IN_ONE_QUERY else jobs


def _matches(text: str, jobs: JobQuerySet) -> set[str]:
    """Return the jobs that have the text in their id or title, whatever the case of its letters."""
    wanted = text.casefold()
    rows = jobs.values_list("pk", "title")
    return {pk for pk, title in rows if wanted in pk.casefold() or wanted in title.casefold()}


def _around(question: Question, uses: Sequence[tuple[str, str]], starts: Iterable[str]) -> set[str]:
    """Return `starts` with what they need and what needs them, as far as is asked for."""
    names = list(starts)
    needs: dict[str, list[str]] = {name: [] for name in names}
    for used, user in uses:
        needs.setdefault(user, []).append(used)
        needs.setdefault(used, [])
    found = set(names)
    if question.way != "down":
        found.update(relations.reachable(needs, names, question.steps))
    if question.way != "up":
        found.update(relations.reachable(relations.reverse(needs), names, question.steps))
    return found


# --- Nodes and groups -----------------------------------------------------------------------------


def _node(job: Job, status: JobStatus, chosen: str, matches: set[str]) -> Node:
    missing = [f"needs a build of {name}" for name in status.missing]
    return Node(
        id=job.pk,
        title=job.title,
        status=status.status,
        url=address("admin:jobs_job_change", job.pk),
        running=status.running,
        protected=job.protected,
        retired=job.retired,
        is_chosen=job.pk == chosen,
        is_found=job.pk in matches,
        remarks=tuple(filter(None, [job.problem, *status.stale_reasons, *missing])),
        group=f"tag:{job.first_tag}" if job.first_tag else UNTAGGED,
        around_url=address("admin:jobs_job_graph", job.pk),
    )


def _grouped(
    nodes: Sequence[Node], uses: Iterable[tuple[str, str]], question: Question, matches: int
) -> Found:
    """Group jobs as is asked for, or where they are too many to be drawn one by one."""
    keys = dict.fromkeys(node.group for node in nodes if node.group is not None)
    plain = Graph.of((replace(node, group=None) for node in nodes), uses)
    is_too_large = len(nodes) > MAX_NODES or len(plain.edges) > MAX_EDGES
    has_tags = any(key != UNTAGGED for key in keys)
    notice = ""
    if is_too_large and has_tags and not question.is_grouped:
        question = replace(question, is_grouped=True)
        notice = (
            f"{len(nodes):,} jobs with {len(plain.edges):,} dependencies are too many to be drawn "
            "one by one: they stand in groups by their tags. Open a group, choose a tag, search, "
            "or open the graph of one job."
        )
    if not question.is_grouped:
        return Found(plain, question, matches)
    fold = question.fold or ("all" if len(nodes) > FOLDED_ABOVE else "none")
    question = replace(question, fold=fold, but=tuple(key for key in question.but if key in keys))
    groups = [_group(key, question) for key in keys]
    return Found(Graph.of(nodes, uses, groups), question, matches, notice)


def _group(key: str, question: Question) -> Group:
    is_turned = key in question.but
    others = tuple(one for one in question.but if one != key)
    return Group(
        key=key,
        label="without a tag" if key == UNTAGGED else key.removeprefix("tag:"),
        is_folded=(question.fold == "all") != is_turned,
        url=question.query(but=others if is_turned else (*others, key)),
    )


def _legend(counts: Counts) -> list[dict[str, Any]]:
    """Return every state with its sign, name and number."""
    numbers = {**counts.by_state, "running": counts.running}
    return [
        {
            "state": state.replace("_", "-"),
            "sign": SIGNS[state],
            "name": state.replace("_", " "),
            "number": numbers.get(state, 0),
        }
        for state in LEGEND
    ]


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value and "\x00" not in value))
