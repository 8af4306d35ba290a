"""A worker that has made one build of a job does nothing for the next one but run it."""

from __future__ import annotations

import ast

from tests.support.site import Site, wait_until

# What the worker's process does from one call to the next, whichever thread does it.
WATCHING = """
import re, sys
from django.db.backends.signals import connection_created

seen = []

def note(what, name):
    seen.append(f"{what} {name}")

def hear(event, args):
    if args and args[0] == "builds.tasks.work":
        return  # django-q2 looks up by this name what a wake-up calls
    if event in ("import", "compile") or event == "open" and not isinstance(args[0], int):
        note(event, args[1] if event == "compile" else args[0])

def begin():
    compiler = re._compiler.compile

    def compiled(pattern, *args):
        note("pattern", pattern)
        return compiler(pattern, *args)

    re._compiler.compile = compiled
    sys.addaudithook(hear)
    connection_created.connect(lambda **_: note("connect", ""), weak=False)

def watch(is_watching=[]):
    if not is_watching:
        is_watching.append(True)
        begin()
    found = [*seen]
    seen.clear()
    return found
"""

ASK = """
from builds import services
from jobs import registry
from jobs.models import Job

registry.ensure_current()
for _ in range({count}):
    services.request_build(job=Job.objects.get(pk="watch"), trigger="cli")
"""

RESULTS = "SELECT retval_text FROM builds_buildpayload ORDER BY build_id"


def test_a_warm_worker_connects_opens_imports_and_compiles_nothing(site: Site):
    site.write_module("watching", WATCHING)
    site.write_config("jobs:\n  - {id: watch, function: 'watching:watch'}\n")

    def results() -> list[str]:
        return [text for (text,) in site.sql(RESULTS)]

    with site.cluster(WORKERS=1):
        for count in (1, 11, 11):
            before = len(results())
            site.python(ASK.format(count=count))
            wait_until(lambda wanted=before + count: results()[wanted - 1 :] not in ([], [""]))
    found = [ast.literal_eval(text) for text in results()]
    # The first begins to watch, and the end of the second is the first that is told.
    assert found[2:] == [[]] * 21
