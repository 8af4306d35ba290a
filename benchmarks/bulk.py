"""Very many builds at once: plans of 10,000, and selections of 100,000 cancelled and deleted.

    python benchmarks/bulk.py [--jobs 10000] [--ends 1000] [--builds 100000] [--only TEXT,…]

For each step the seconds, those that this process worked, the statements, how many of those for
a thousand builds, and the memory that it took on top (MiB). Ends of builds are stored as a worker
stores them, without running anything; there is no cluster beside it. Ends with 1 if a step took
more than a fifth of a statement for each build (the end of one: 25), or 300 MiB.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from typing import Any

import psutil
from common import MIB, site

MOST_MIB = 300
MOST_STATEMENTS = 0.2  # for each build
MOST_OF_AN_END = 25
FEW = 100  # statements that any step may take
LINE = 2_000  # jobs of the longest line
WIDTH = 100  # jobs of a layer
ROWS = 5_000
LOOK_SECONDS = 0.02
ADDRESS = "/admin/builds/build/"


# --- Plans ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Graph:
    """Jobs by what each depends on, and the plan that is asked for."""

    name: str
    jobs: dict[str, list[str]]
    target: str
    all_that_use_it: bool = False

    @property
    def count(self) -> int:
        """How many builds the plan has."""
        return len(self.jobs)

    def config(self) -> str:
        """Return the file."""
        lines = [
            f"  - {{id: {name}, function: 'time:time', dependencies: {needs}}}"
            for name, needs in self.jobs.items()
        ]
        return "\n".join(["jobs:", *lines, ""])


def graphs(count: int) -> list[Graph]:
    """Return the plans: in layers, from one to all, from all to one, and a line."""
    others = range(count - 1)
    layers = {f"layer-{n}": [f"layer-{above}" for above in _above(n)] for n in others}
    layers["layers"] = list(layers)[-WIDTH:]
    fan = {"fan": [], **{f"fan-{n}": ["fan"] for n in others}}
    star: dict[str, list[str]] = {f"star-{n}": [] for n in others}
    star["star"] = list(star)
    line = {f"line-{n}": [f"line-{n - 1}"] if n else [] for n in range(min(count, LINE))}
    return [
        Graph("layers", layers, "layers"),
        Graph("all use one", fan, "fan", all_that_use_it=True),
        Graph("one uses all", star, "star"),
        Graph("a line", line, list(line)[-1]),
    ]


def _above(number: int) -> list[int]:
    """Return the three jobs of the layer above that a job uses."""
    layer, place = divmod(number, WIDTH)
    return [(layer - 1) * WIDTH + (place + step) % WIDTH for step in range(3)] if layer else []


# --- Measuring ------------------------------------------------------------------------------------


class Meter:
    """Measures steps, and keeps what went past its bound."""

    def __init__(self) -> None:
        from django.db.backends.utils import CursorWrapper

        self.statements = 0
        self.too_much: list[str] = []
        for name in ("execute", "executemany"):
            setattr(CursorWrapper, name, self._counting(getattr(CursorWrapper, name)))
        print(
            f"{'step':44} {'builds':>8} {'seconds':>8} {'worked':>7} "
            f"{'statements':>10} {'/1,000':>7} {'MiB':>5}"
        )

    def _counting(self, execute: Any) -> Any:
        def counted(*arguments: Any) -> Any:
            self.statements += 1
            return execute(*arguments)

        return counted

    @contextmanager
    def step(self, name: str, builds: int, most: float = MOST_STATEMENTS) -> Iterator[None]:
        """Measure a step that is about so many builds, and print what it took."""
        with _memory() as seen:
            before, begin, worked = self.statements, time.monotonic(), time.process_time()
            yield
            seconds, worked = time.monotonic() - begin, time.process_time() - worked
            asked = self.statements - before
        mib = max(seen) - seen[0]
        print(
            f"{name:44} {builds:8,} {seconds:8.2f} {worked:7.2f} "
            f"{asked:10,} {asked / builds * 1000:7.1f} {mib:5.0f}",
            flush=True,
        )
        if asked > max(builds * most, FEW) or mib > MOST_MIB:
            self.too_much.append(name)


@contextmanager
def _memory() -> Iterator[list[float]]:
    """Yield what this process had of memory at the start and ever since."""
    process, over = psutil.Process(), threading.Event()
    seen = [process.memory_info().rss / MIB]

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            seen.append(process.memory_info().rss / MIB)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


# --- The steps ------------------------------------------------------------------------------------


class Bulk:
    """The steps, in a site of their own whose Django is set up in this process."""

    def __init__(self, meter: Meter, made: Any, ends: int) -> None:
        from django.contrib.auth.models import User
        from django.test import Client
        from django.utils import timezone

        from builds.services import issue_token
        from builds.token_models import ApiToken

        self.meter, self.made, self.ends = meter, made, ends
        self.user = User.objects.create_superuser("admin")
        self.client = Client(SERVER_NAME="localhost")
        self.client.force_login(self.user)
        token = ApiToken(user=self.user, name="bulk", expires=timezone.now() + timedelta(days=1))
        self.headers = {"authorization": f"Bearer {issue_token(token=token)}"}

    def use(self, graph: Graph) -> None:
        """Take the jobs of a graph for those of the site."""
        from jobs import registry

        self.made.write_config(graph.config())
        registry.ensure_current()

    def plan(self, graph: Graph) -> None:
        """Ask for a plan in every way, cancel it in every way, let it fail, let it go on."""
        self.use(graph)
        self.in_the_form(graph)
        self.over_the_api(graph)
        self.first_one(graph)
        self.some_end(graph)

    def in_the_form(self, graph: Graph) -> None:
        """Look at a plan in the form, start it, look at its page, cancel it there."""
        from django.urls import reverse

        from builds.forms import field_name

        page, step = reverse("admin:jobs_job_build_form", args=[graph.target]), self.step(graph)
        with step("the form"):
            shown = self.client.get(page)
        fields = {field_name(need): "latest" for need in graph.jobs[graph.target]}
        fields |= {"args": "", "kwargs": "", **_hidden(shown)}
        fields |= {"first": "none" if graph.all_that_use_it else "all"}
        fields |= {"after": "all" if graph.all_that_use_it else "none"}
        with step("its plan looked at"):
            shown = self.client.post(page, {**fields, "step": "preview"})
        fields |= _hidden(shown)
        with step("asked for in the form"):
            done = self.client.post(page, {**fields, "step": "build"})
        assert done.status_code == 302, done.content.decode()[:3_000]
        with step("the plan's page"):
            shown = self.client.get(done["Location"])
        assert shown.status_code == 200
        plan = self.newest(graph)
        with step("cancelled on its page"):
            done = self.client.post(reverse("admin:builds_plan_cancel", args=[plan.pk]))
        assert done.status_code == 302
        assert plan.builds.filter(status="CANCELLED").count() == graph.count

    def over_the_api(self, graph: Graph) -> None:
        """Ask for a plan over the API, and cancel it."""
        wish = {"rebuild_reverse_dependencies": True} if graph.all_that_use_it else {}
        wish |= {} if graph.all_that_use_it else {"dependencies": "all"}
        with self.step(graph)("asked for over the API"):
            self.post(f"/api/job/{graph.target}/run", wish)
        plan = self.newest(graph)
        with self.step(graph)("cancelled over the API"):
            self.post(f"/api/plan/{plan.pk}/cancel", {})
        assert plan.builds.filter(status="CANCELLED").count() == graph.count

    def first_one(self, graph: Graph) -> None:
        """Cancel the first build of a plan; let that of another fail."""
        from builds import services

        plan = self.ask(graph)
        with self.step(graph)("the first one cancelled"):
            services.cancel_build(build=plan.builds.order_by("pk")[0])
        services.cancel_plan(plan=plan)
        plan = self.ask(graph)
        with self.step(graph)("the first one fails"):
            self.end_next(services.Outcome(status="FAILED", failure_kind="exception"))
        services.cancel_plan(plan=plan)

    def some_end(self, graph: Graph) -> None:
        """Claim and end the first builds of a plan."""
        from builds import services

        plan, count, longest = self.ask(graph), min(self.ends, graph.count), 0.0
        name = f"{graph.name}: {count:,} of them end"
        with self.meter.step(name, count, MOST_OF_AN_END):
            for _ in range(count):
                begin = time.monotonic()
                assert self.end_next(services.Outcome(status="SUCCESSFUL"))
                longest = max(longest, time.monotonic() - begin)
        print(f"    the longest took {longest:.2f} s")
        services.cancel_plan(plan=plan)

    def step(self, graph: Graph) -> Any:
        """Return what measures a step of a graph, given its name."""
        return lambda name: self.meter.step(f"{graph.name}: {name}", graph.count)

    def ask(self, graph: Graph) -> Any:
        """Ask for a plan; return it."""
        from builds import services
        from builds.planning import Dependencies, Options
        from jobs.models import Job

        options = Options(dependencies=Dependencies.ALL)
        services.request_build(
            job=Job.objects.get(pk=graph.target),
            trigger="python",
            options=Options(rebuild_all=True) if graph.all_that_use_it else options,
        )
        return self.newest(graph)

    def newest(self, graph: Graph) -> Any:
        """Return the newest plan, which must be whole."""
        from builds.plan_models import Plan

        plan = Plan.objects.latest("pk")
        assert plan.builds.count() == graph.count
        return plan

    def post(self, address: str, wish: dict[str, Any]) -> None:
        """Ask the API for something."""
        done = self.client.post(
            address, json.dumps(wish), content_type="application/json", headers=self.headers
        )
        assert done.status_code == 200, done.content[:3_000]

    def end_next(self, outcome: Any) -> bool:
        """Claim and end a build, as a worker does; return whether there was one."""
        from builds import services
        from builds.sessions import BuildSession
        from builds.workers import WorkerIdentity
        from jobs.redaction import Redactor

        build = services.claim(worker=WorkerIdentity.current())
        if build is None:
            return False
        in_plan = build.plan_id is not None
        session = BuildSession(build.pk, build.claim_token, Redactor({}), in_plan=in_plan)
        services.finish_build(session=session, outcome=outcome)
        return True

    # --- Selections

    def cancel_queued(self, count: int) -> None:
        """Cancel builds that are queued by themselves, by the action of the list."""
        from builds.models import Build, BuildPayload

        self.use(Graph("one", {"short": []}, "short"))
        for start in range(0, count, ROWS):
            rows = [Build(job_id="short", status="QUEUED") for _ in range(min(ROWS, count - start))]
            made = Build.objects.bulk_create(rows)
            BuildPayload.objects.bulk_create([BuildPayload(build=one) for one in made])
        with self.meter.step("a selection cancelled: queued", count):
            self.act("cancel_selected", Build.objects.queued(), "?status__exact=QUEUED")
        assert not Build.objects.queued().exists()

    def cancel_waiting(self, count: int, graph: Graph) -> None:
        """Cancel plans, by the action of the list of builds."""
        from builds.models import Build
        from builds.services import settle_forgotten

        self.use(graph)
        while Build.objects.finished(False).count() < count:
            self.ask(graph)
        left = Build.objects.finished(False)
        count = left.count()
        with self.meter.step("a supervisor looks at what waits", count):
            settle_forgotten()
        with self.meter.step("a selection cancelled: plans", count):
            self.act("cancel_selected", left, "?stage=unfinished")
        assert not left.exists()

    def delete(self) -> None:
        """Delete all builds that were cancelled, by the action of the list."""
        from django.urls import reverse

        from builds import deletion, services
        from builds.models import Build

        cancelled = Build.objects.filter(status="CANCELLED")
        count = cancelled.count()
        with self.meter.step("a selection to be deleted: looked at", count):
            shown = self.act("delete_selected", cancelled, "?status__exact=CANCELLED")
        with self.meter.step("… confirmed", count):
            done = self.client.post(reverse("admin:builds_build_delete_many"), _hidden(shown))
        assert done.status_code == 302
        with self.meter.step("… handed over to workers", count):
            while services.hand_over_part():
                pass
        with self.meter.step("… and gone", count):
            while deletion.remove_waiting():
                pass
        assert not cancelled.exists()

    def act(self, action: str, builds: Any, query: str) -> Any:
        """Carry out an action of the list of builds for all that a filter finds."""
        (some,) = builds.values_list("pk", flat=True)[:1]
        data = {"action": action, "_selected_action": some, "select_across": "1"}
        done = self.client.post(ADDRESS + query, data)
        assert done.status_code in (200, 302), done.content.decode()[:3_000]
        return done


def _hidden(response: Any) -> dict[str, str]:
    """Return the hidden fields of a page."""
    assert response.status_code == 200, response.content.decode()[:3_000]
    found = {}
    for tag in re.findall(r"<input[^>]*type=\"hidden\"[^>]*>", response.content.decode()):
        name, value = (re.search(rf' {one}="([^"]*)"', tag) for one in ("name", "value"))
        if name:
            found[name[1]] = unescape(value[1]) if value else ""
    return found


def run(asked: Namespace, made: Any) -> int:
    """Take the steps that were asked for; return the exit code."""
    meter = Meter()
    bulk, found = Bulk(meter, made, asked.ends), graphs(asked.jobs)
    steps = {graph.name: lambda graph=graph: bulk.plan(graph) for graph in found}
    steps["queued"] = lambda: bulk.cancel_queued(asked.builds)
    steps["waiting"] = lambda: bulk.cancel_waiting(asked.builds, found[0])
    steps["deleted"] = bulk.delete
    only = [text for text in asked.only.split(",") if text]
    for name, step in steps.items():
        if not only or name in only:
            step()
    if meter.too_much:
        print("too much:", "; ".join(meter.too_much))
    return 1 if meter.too_much else 0


def main() -> int:
    """Make a site, set up Django for it here, and return the exit code."""
    parser = ArgumentParser(description="Very many builds at once.")
    parser.add_argument("--jobs", type=int, default=10_000, help="of a plan")
    parser.add_argument("--builds", type=int, default=100_000, help="of a selection")
    parser.add_argument("--ends", type=int, default=1_000, help="of builds of each plan")
    names = ", ".join([*(graph.name for graph in graphs(2)), "queued", "waiting", "deleted"])
    parser.add_argument("--only", default="", help=f"some of: {names}")
    asked = parser.parse_args()
    with ExitStack() as stack:
        made = stack.enter_context(site())
        os.environ.update(made.env)
        import django

        django.setup()
        from django.db import connections

        from jobs import registry

        stack.callback(connections.close_all)
        logging.disable(logging.WARNING)
        registry.ensure_current()
        return run(asked, made)


if __name__ == "__main__":
    sys.exit(main())
