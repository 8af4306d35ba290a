"""Jobs that do anything at all, one after another in one real worker."""

from __future__ import annotations

import ast
import json

from tests.process.test_cluster import wait_for
from tests.support.site import Site

ODD = "tests.support.odd_jobs"
SPOILING = "tests.support.spoiling_jobs"

FAIL = "FAILED"
GOOD = "SUCCESSFUL"
RAISED = (
    *("ValueError", "SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException", "group"),
    *("bad text", "chain", "StopIteration", "recursion", "memory", "syntax"),
)
# id: (function, args, status)
JOBS = {
    **{f"raise {kind}": (f"{ODD}:raise_", [kind], FAIL) for kind in RAISED},
    "unpicklable": (f"{ODD}:unpicklable", ["nested"], FAIL),
    "lambda": (f"{ODD}:unpicklable", ["lambda"], FAIL),
    "deep value": (f"{ODD}:deep", [], FAIL),
    "bad repr": (f"{ODD}:unreadable", [], GOOD),
    "much output": (f"{ODD}:print_much", [], GOOD),
    "a long line": (f"{ODD}:print_long_line", [], GOOD),
    "closed streams": (f"{ODD}:close_streams", [], GOOD),
    "other streams": (f"{ODD}:replace_streams", [], GOOD),
    "no logging": (f"{ODD}:disable_logging", [], GOOD),
    "other logging": (f"{ODD}:configure_logging", [], GOOD),
    "no signals": (f"{ODD}:reset_signals", [], GOOD),
    "removed folder": (f"{ODD}:remove_folder", ["__FOLDER__/gone"], GOOD),
    "all spoilt": (f"{SPOILING}:spoil", ["__FOLDER__"], GOOD),
    "fork": (f"{ODD}:fork_and_return", [], GOOD),
    "fork and raise": (f"{ODD}:fork_and_raise", [], GOOD),
    "fork with database": (f"{ODD}:fork_with_database", [], GOOD),
    "processes": (f"{ODD}:use_processes", ["fork"], GOOD),
    "threads": (f"{ODD}:use_threads", [3], GOOD),
    "failing thread": (f"{ODD}:fail_in_thread", [], GOOD),
    "closed connection": (f"{ODD}:close_connection", [], GOOD),
    "broken transaction": (f"{ODD}:break_transaction", [], GOOD),
    "locked tables": (f"{ODD}:lock_tables", [], GOOD),
    "bad records": (f"{ODD}:log_badly", [], GOOD),
    "absurd progress": (f"{ODD}:report_absurdly", [], GOOD),
    "bad tracing": (f"{SPOILING}:trace_badly", [], FAIL),
}

LOOK = """
import json
from builds.models import Build

found = []
for build in Build.objects.order_by("id").select_related("payload"):
    progress = list(build.progress.order_by("position").values_list("group_name", "current"))
    lines = list(build.log_messages.order_by("id").values_list("logger", "level", "message"))
    found.append({
        "job": build.job_id, "status": build.status, "worker": build.worker,
        "text": build.payload.retval_text, "progress": progress, "lines": lines,
        "whole": build.end_time is not None,
        "traceback": build.payload.traceback is not None,
    })
print(json.dumps(found))
"""

ASK = """
from builds import services
from jobs import registry
from jobs.models import Job

registry.ensure_current()
for job in Job.objects.active().exclude(pk="whole"):
    for name in (job, Job.objects.get(pk="whole")):
        services.request_build(job=name, trigger="cli")
"""


def test_after_any_job_the_next_build_in_the_same_worker_is_whole(site: Site):
    blocks = [
        {"id": name, "function": function, "args": args}
        for name, (function, args, _) in JOBS.items()
    ]
    blocks.append({"id": "whole", "function": f"{SPOILING}:look_whole"})
    text = json.dumps({"jobs": blocks}).replace("__FOLDER__", str(site.folder))
    site.write_config(text)
    site.python(ASK)
    with site.cluster(WORKERS="1"):
        total = 2 * len(JOBS)
        wait_for(lambda: site.finished() == total, 180)
    found = json.loads(site.python(LOOK))
    assert len({build["worker"] for build in found}) == 1, "one worker from the first to the last"
    for odd, whole in zip(found[::2], found[1::2], strict=True):
        name = odd["job"]
        assert odd["status"] == JOBS[name][2], (name, odd["lines"][-1:])
        assert odd["whole"], name
        assert odd["traceback"] is (odd["status"] == FAIL), name
        outcome = odd["lines"][-1][2]
        assert outcome.startswith("Build f"), (name, outcome)
        assert (whole["job"], whole["status"]) == ("whole", GOOD), name
        assert whole["progress"] == [["[]", 2], ['["part"]', 1]], name
        assert unlike(whole, found[1]) == {}, name
        assert shown(whole) == shown(found[1]), name
    assert [line[2] for line in found[1]["lines"]][1:] == [
        *("a detail", "printed", "on stderr", "of a thread", "printed by it"),
        *("Build finished with success.",),
    ]


def unlike(build, other):
    """What the two found different in their process."""
    one, two = (ast.literal_eval(made["text"]) for made in (build, other))
    return {key: (one.get(key), two.get(key)) for key in one | two if one.get(key) != two.get(key)}


def shown(build):
    """The log without the first line, which has the number of the build."""
    return build["lines"][1:]
