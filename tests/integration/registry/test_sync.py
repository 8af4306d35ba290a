"""What a sync writes, and what it leaves alone."""

import json
from dataclasses import replace

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from jobcontrol.exceptions import ReadOnlyRegistry
from jobs import job_rows, mirror, registry, tags
from jobs.checks import FunctionCheck
from jobs.config import ConfigError, load_object, load_text
from jobs.models import ConfigRevision, Job, JobDependency, registry_writes

pytestmark = pytest.mark.django_db

ECHO = "jobcontrol.utils.testing:job_simple_echo"

FILE = """
    jobs:
      - id: scan
        title: Scan the machine
        notes: Some *notes*
        function: math:sqrt
        args: [4]
        tags: [daily, heavy]
      - id: report
        function: math:pow
        args: [!retval scan, 2]
        dependencies: [other/job]
        protected: true
        priority: 5
        concurrency: 2
        queue: heavy
      - id: other/job
        function: math:sqrt
        args: [9]
"""


def sync(*jobs, **options):
    """Sync from blocks of jobs, without looking at their functions."""
    options.setdefault("check_functions", False)
    return registry.sync(load_object({"jobs": list(jobs)}), **options)


def job(name, **keys):
    return {"id": name, "function": "math:sqrt", "args": [1], **keys}


def writes(captured):
    return [
        query["sql"]
        for query in captured
        if query["sql"].lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE"))
    ]


def test_the_rows_say_what_the_file_says(config_file):
    config_file.write(FILE)
    report = registry.sync()
    assert report.changes.added == ("scan", "report", "other/job")
    assert [found.pk for found in Job.objects.all()] == ["scan", "report", "other/job"]
    scan = Job.objects.get(pk="scan")
    assert (scan.title, scan.notes, scan.function) == (
        "Scan the machine",
        "Some *notes*",
        "math:sqrt",
    )
    assert scan.tags == ["daily", "heavy"]
    assert scan.docs["signature"].startswith("sqrt(x")
    assert scan.docs["docstring"] == "Return the square root of x."
    assert scan.problem == ""
    made = Job.objects.get(pk="report")
    assert (made.protected, made.priority, made.position) == (True, 5, 1)
    assert (made.concurrency, made.queue) == (2, "heavy")
    assert tags.decode(made.config)["args"] == [tags.Retval("scan"), 2]
    assert "- !retval 'scan'" in made.config_text or "- !retval scan" in made.config_text
    links = made.dependency_links.values_list("depends_on_id", flat=True)
    assert list(links) == ["other/job", "scan"]
    assert report.problems == {}


def test_a_revision_holds_the_sources_and_what_changed(config_file):
    path = config_file.write(FILE)
    report = registry.sync()
    revision = ConfigRevision.objects.get()
    assert revision.pk == report.revision
    assert revision.path == str(path)
    assert revision.sources[0]["text"] == path.read_text()
    assert revision.changes["added"] == ["scan", "report", "other/job"]
    config_file.write(FILE.replace("Scan the machine", "Scan"))
    registry.sync(check_functions=False)
    newest = ConfigRevision.objects.first()
    assert newest.pk > revision.pk
    assert newest.changes == {"added": [], "changed": ["scan"], "retired": [], "restored": []}


def test_nothing_is_written_when_nothing_changed(config_file):
    config_file.write(FILE)
    first = registry.sync()
    with CaptureQueriesContext(
        connection,
    ) as captured:
        report = registry.sync()
    assert writes(captured) == []
    assert len(captured) < 10
    assert report.is_empty
    assert report.revision == first.revision
    assert str(report) == "nothing changed"


def test_a_comment_makes_a_revision_and_changes_no_job(config_file):
    config_file.write(FILE)
    registry.sync(check_functions=False)
    before = list(Job.objects.values())
    config_file.write(FILE + "\n    # a comment\n")
    assert registry.sync(check_functions=False).is_empty
    assert list(Job.objects.values()) == before
    assert ConfigRevision.objects.count() == 2


@pytest.mark.parametrize(
    "change",
    [
        {"title": "New"}, {"notes": "New"}, {"tags": ["x"]}, {"protected": True}, {"args": [2]},
        {"kwargs": {"a": 1}}, {"priority": 3}, {"my_key": "mine"}, {"dependencies": ["a"]},
        {"concurrency": 2}, {"queue": "heavy"},
        {"function": "math:floor"}, {"cleanup": "math:floor"}, {"pinned_builds": {"a": 1}},
    ],
)  # fmt: skip
def test_a_change_of_any_key_changes_that_job_only(change):
    block = job("b")
    if "pinned_builds" in change:
        block["dependencies"] = ["a"]
    sync(job("a"), block, job("c"))
    stamps = dict(Job.objects.values_list("pk", "synced_at"))
    report = sync(job("a"), {**block, **change}, job("c"))
    assert report.changes.changed == ("b",)
    after = dict(Job.objects.values_list("pk", "synced_at"))
    assert {name for name in after if after[name] != stamps[name]} == {"b"}


def test_the_order_of_the_file_is_kept():
    """original #30"""
    sync(job("a"), job("b"), job("c"))
    report = sync(job("c"), job("a"), job("b"))
    assert [found.pk for found in Job.objects.active()] == ["c", "a", "b"]
    assert set(report.changes.changed) == {"a", "b", "c"}


def test_a_job_gone_from_the_file_is_retired_and_not_deleted():
    sync(job("a"), job("b", dependencies=["a"]), job("c", dependencies=["b"]))
    report = sync(job("a"), job("c", dependencies=["a"]))
    assert report.changes.retired == ("b",)
    gone = Job.objects.get(pk="b")
    assert gone.retired
    assert gone.config["args"] == [1]
    assert [found.pk for found in Job.objects.retired()] == ["b"]
    assert [str(link) for link in JobDependency.objects.all()] == ["c needs a"]


def test_a_job_back_in_the_file_is_restored_with_its_dependencies():
    sync(job("a"), job("b", dependencies=["a"]))
    sync(job("a"))
    report = sync(job("a"), job("b", dependencies=["a"], title="Back"))
    assert report.changes.restored == ("b",)
    back = Job.objects.get(pk="b")
    assert (back.retired, back.title) == (False, "Back")
    assert back.dependency_links.get().depends_on_id == "a"
    assert ConfigRevision.objects.first().changes["restored"] == ["b"]


def test_turned_around_dependencies_are_followed():
    sync(job("a"), job("b", dependencies=["a"]))
    sync(job("a", dependencies=["b"]), job("b"))
    assert [str(link) for link in JobDependency.objects.all()] == ["a needs b"]
    sync(job("c"), job("d"), job("e", dependencies=["c", "d"]))
    sync(job("c"), job("d"), job("e", dependencies=["d", "c"]))
    links = JobDependency.objects.filter(job="e").values_list("depends_on_id", flat=True)
    assert list(links) == ["d", "c"]


def test_builds_of_retired_jobs_stay():
    sync(job("a"))
    build_model = apps.get_model("builds", "Build")
    build_model.objects.create(job_id="a", status="CREATED", trigger="manual")
    sync(job("b"))
    assert build_model.objects.get().job.retired


def test_a_wrong_file_changes_nothing_and_tells_everything_wrong(config_file):
    config_file.write(FILE)
    registry.sync(check_functions=False)
    before = list(Job.objects.values())
    config_file.write("jobs: [{id: a, function: nothing}, {id: a, function: 'm:f'}]")
    with pytest.raises(ConfigError) as error:
        registry.sync(check_functions=False)
    assert len(error.value.problems) >= 2
    assert list(Job.objects.values()) == before
    assert ConfigRevision.objects.count() == 1


def test_jobs_that_cannot_run_are_marked_and_the_others_work(config_file):
    """original #20: the job is marked before."""
    config_file.write("""
        jobs:
          - {id: gone, function: "no_such_module_here:f"}
          - {id: missing, function: "math:no_such_name"}
          - {id: value, function: "math:pi"}
          - {id: arguments, function: "math:sqrt"}
          - {id: good, function: "math:sqrt", args: [4]}
          - {id: fed, function: "math:sqrt", args: [!retval good]}
    """)
    report = registry.sync()
    problems = dict(Job.objects.values_list("pk", "problem"))
    assert "no module 'no_such_module_here'" in problems["gone"]
    assert "has no 'no_such_name'" in problems["missing"]
    assert "can't be called" in problems["value"]
    assert "arguments don't fit" in problems["arguments"]
    assert problems["good"] == problems["fed"] == ""
    assert report.problems == {name: text for name, text in problems.items() if text}


def test_a_mended_module_takes_the_mark_away(config_file, tmp_path):
    config_file.write('jobs: [{id: a, function: "comes_later:f"}]')
    registry.sync()
    assert Job.objects.get().problem
    (tmp_path / "comes_later.py").write_text("def f(): 'Here.'")
    report = registry.sync()
    assert report.is_empty
    found = Job.objects.get()
    assert (found.problem, found.docs["docstring"]) == ("", "Here.")


def test_another_function_forgets_the_docs_of_the_old_one():
    sync(job("a"), check_functions=True)
    assert Job.objects.get().docs
    sync(job("a", title="New"))
    assert Job.objects.get().docs, "the function is the same"
    sync(job("a", function="math:floor"))
    assert Job.objects.get().docs == {}


SECRETS = """
    secret:
      token: hunter22-token
      nested: {deep: "p/ss wörd"}
      number: 987654
    jobs:
      - id: a
        title: with hunter22-token
        notes: |
          and p/ss wörd
        function: missing_hunter22-token.mod:f
        args: [!secret token, "https://u:p%2Fss%20w%C3%B6rd@h/", 987654]
        kwargs: {x: ["hunter22-token"]}
        tags: ["hunter22-token"]
"""


def test_no_secret_of_the_file_stands_in_the_rows(config_file):
    config_file.write(SECRETS.replace("missing_hunter22-token.mod", "math"))
    registry.sync()
    everything = json.dumps(
        [list(model.objects.values()) for model in (Job, ConfigRevision, JobDependency)],
        default=str,
        ensure_ascii=False,
    )
    for form in ("hunter22", "p/ss wörd", "p%2Fss", "987654"):
        assert form not in everything, form
    config = tags.decode(Job.objects.get().config)
    redactor = registry.redactor()
    resolved = tags.resolve(config, retval=str, secret=redactor.value)
    assert resolved["args"] == ["hunter22-token", "https://u:p%2Fss%20w%C3%B6rd@h/", 987654]


def test_the_secrets_of_the_settings_are_masked_too(config_file, settings, monkeypatch):
    settings.SECRET_KEY = "the-very-secret-key"
    settings.SECRET_KEY_FALLBACKS = ["an-older-key"]
    settings.REDIS_URL = "redis://:r%40dis-pass@h/0"
    monkeypatch.setitem(settings.DATABASES["default"], "PASSWORD", "db-passw0rd")
    config_file.write("storage: 'postgresql://u:st0rage-pass@h/d'\njobs: []")
    redact = registry.redactor().redact
    for value in (
        "the-very-secret-key", "an-older-key", "r@dis-pass", "r%40dis-pass", "db-passw0rd",
        "st0rage-pass",
    ):  # fmt: skip
        assert value not in redact(f"x {value} y"), value


def test_a_secret_of_the_file_keeps_its_name(settings):
    settings.SECRET_KEY = "the-very-secret-key"
    registry.use(load_text("secret: {SECRET_KEY: mine-not-yours}\njobs: []\n"))
    redactor = registry.redactor()
    assert redactor.value(tags.Secret("SECRET_KEY")) == "mine-not-yours"
    assert "very-secret" not in redactor.redact("the-very-secret-key")


def test_texts_that_databases_refuse_are_cleaned():
    block = job("a", title="nul \x00 and \ud800", notes="\x00", my_key="\x00")
    sync(block)
    found = Job.objects.get()
    assert found.title == "nul \ufffd and \ufffd"
    assert tags.decode(found.config)["my_key"] == "\x00"
    assert sync(block).is_empty


@pytest.mark.parametrize(
    "value",
    [
        1e300,
        1e16,
        -0.0,
        0.1,
        10**30,
        True,
        None,
        [[]],
        {"z": 1, "a": {"y": 1, "b": 2}},
        {1: 2},
        {"!x": 1},
    ],
)
def test_any_value_of_a_file_is_stored_so_that_a_second_sync_is_empty(value):
    sync(job("a", kwargs={"value": value}))
    assert sync(job("a", kwargs={"value": value})).is_empty


def test_nothing_but_the_sync_writes():
    sync(job("a"), job("b", dependencies=["a"]))
    found = Job.objects.get(pk="a")
    link = JobDependency.objects.get()
    revision = ConfigRevision.objects.get()
    attempts = [
        found.save,
        found.delete,
        link.delete,
        revision.save,
        revision.delete,
        lambda: Job.objects.filter(pk="a").update(title="x"),
        lambda: Job.objects.all().delete(),
        lambda: Job.objects.create(id="z"),
        lambda: Job.objects.get_or_create(id="z"),
        lambda: Job.objects.update_or_create(id="a", defaults={"title": "x"}),
        lambda: Job.objects.bulk_create([Job(id="z")]),
        lambda: Job.objects.bulk_update([found], ["title"]),
        lambda: job_rows.upsert_jobs([{"id": "a", "title": "x"}]),
        lambda: job_rows.update_checks([{"id": "a", "problem": "x", "docs": "{}"}]),
        lambda: JobDependency.objects.update(position=3),
        lambda: ConfigRevision.objects.all().delete(),
        lambda: found.dependent_links.all().delete(),
    ]
    for attempt in attempts:
        with pytest.raises(ReadOnlyRegistry), transaction.atomic():
            attempt()
    assert Job.objects.filter(title="x").count() == 0
    with registry_writes():
        found.save()


def test_the_guard_is_closed_again_after_a_sync():
    sync(job("a"))
    with pytest.raises(ReadOnlyRegistry):
        Job.objects.update(title="x")


COUNT = 10_000


def big(**keys):
    jobs = [
        job(f"job-{n}", tags=["t"], dependencies=[f"job-{n - 1}"] if n else [], **keys)
        for n in range(COUNT)
    ]
    return load_object({"jobs": jobs})


def statements(action, *args, **options):
    with CaptureQueriesContext(connection) as captured:
        found = action(*args, **options)
    return found, len(captured)


def written(configuration):
    report, count = statements(registry.sync, configuration, check_functions=False)
    return report.changes, count


def test_ten_thousand_jobs_are_written_in_few_statements():
    """Each chunk of 500 in one; the links of SQLite in chunks of 333."""
    changes, count = written(big())
    assert (len(changes.added), count <= 70) == (COUNT, True), count
    assert Job.objects.count() == COUNT
    assert JobDependency.objects.count() == COUNT - 1

    looked = {f"job-{n}": FunctionCheck("", "f()", f"It is number {n}.") for n in range(COUNT)}
    _, count = statements(mirror.record_checks, looked, registry.redactor())
    assert count <= 70, count
    assert Job.objects.get(pk="job-77").docs["docstring"] == "It is number 77."

    other = big(title="changed")
    changes, count = written(other)
    assert (len(changes.changed), count <= 35) == (COUNT, True), count
    assert Job.objects.filter(title="changed").exclude(docs={}).count() == COUNT

    one = other.jobs[7].model_copy(update={"title": "new"})
    jobs = (*other.jobs[:7], one, *other.jobs[8:])
    changes, count = written(replace(other, jobs=jobs))
    assert (changes.changed, count <= 10) == (("job-7",), True), count

    changes, count = written(load_object({"jobs": []}))
    assert (len(changes.retired), count <= 55) == (COUNT, True), count
    assert JobDependency.objects.count() == 0


def test_large_rows_are_written_in_smaller_chunks(monkeypatch):
    monkeypatch.setattr(job_rows, "CHUNK_CHARACTERS", 100_000)
    blocks = [job(f"job-{n}", notes="x" * 60_000) for n in range(4)]
    _, few = statements(sync, *(job(f"job-{n}") for n in range(4)))
    _, more = statements(sync, *blocks)
    assert more == few + 3  # a row has its notes three times
    assert [len(found.notes) for found in Job.objects.all()] == [60_000] * 4
