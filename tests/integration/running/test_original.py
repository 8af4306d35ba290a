"""What users of the 2014 original rely on, line by line, where no other test says it."""

from __future__ import annotations

import io
import pickle
import warnings

import pytest
import yaml
from django.core.management import call_command

from builds import retvals, runner, services
from builds.models import Build
from jobcontrol.core import JobControl
from jobcontrol.exceptions import MissingDependencies, RetvalError
from jobs import config
from jobs.config import ConfigError
from jobs.models import Job
from tests.support import watched_jobs
from tests.support.jobs import build, build_function, messages, use_config

pytestmark = pytest.mark.django_db(transaction=True)

ODD = "tests.support.odd_jobs:"
WATCHED = "tests.support.watched_jobs:"

CHAIN = """
jobs:
  - {id: a, function: "tests.support.odd_jobs:value", args: [1]}
  - {id: b, function: "tests.support.odd_jobs:value", args: [!retval a]}
  - {id: sometimes, function: "tests.support.odd_jobs:skip"}
"""


def retval_of(made: Build):
    return retvals.unseal(made.pk, bytes(made.payload.retval))


@pytest.mark.parametrize(
    ("status", "started", "finished", "success", "skipped"),
    [
        ("CREATED", False, False, False, False),
        ("RUNNING", True, False, False, False),
        ("SUCCESSFUL", True, True, True, False),
        ("SKIPPED", True, True, True, True),
        ("FAILED", True, True, False, False),
    ],
)
def test_labels_and_flags(status, started, finished, success, skipped):
    """original #1"""
    use_config(CHAIN)
    made = Build.objects.create(job_id="a", status=status)
    expected = {"started": started, "finished": finished, "success": success, "skipped": skipped}
    assert {name: getattr(made, name) for name in expected} == expected
    found = JobControl().get_job("a").iter_builds(**expected)
    assert [one.id for one in found] == [made.pk]
    for name, value in expected.items():
        assert list(JobControl().get_job("a").iter_builds(**{name: not value})) == []


def test_a_skipped_build_as_job_code_sees_it():
    """original #2"""
    use_config(CHAIN)
    info = JobControl().get_job("sometimes").run()
    assert (info["success"], info["skipped"]) == (True, True)
    assert (info.retval, info["exception"], info.exception_tb) == (None, None, None)
    skipped = build_function(ODD + "skip", "nothing new")
    assert messages(skipped)[-1] == "Build skipped: nothing new"


def test_is_outdated_is_none_where_it_can_not_be_said():
    """original #4"""
    use_config(CHAIN)
    app = JobControl()
    a, b = app.get_job("a"), app.get_job("b")
    assert a.is_outdated() is None
    assert b.is_outdated() is None
    first = a.run()
    assert a.is_outdated() is False
    assert b.is_outdated() is None
    b.run()
    assert b.is_outdated() is False
    assert b.get_status() == "success"
    second = a.run()
    assert b.is_outdated() is True
    assert b.get_status() == "outdated"
    second.delete()
    assert b.is_outdated() is False, "original #6"
    first.delete()
    assert b.is_outdated() is None, "a dependency has none"


def test_the_latest_success_is_the_newest_that_was_not_skipped():
    """original #5"""
    use_config(CHAIN)
    app = JobControl()
    job, needy = app.get_job("a"), app.get_job("b")
    assert job.get_latest_successful_build() is None
    assert not needy.can_be_built()
    Build.objects.create(job_id="a", status="SKIPPED")
    Build.objects.create(job_id="a", status="FAILED")
    assert not needy.can_be_built()
    assert not job.has_successful_builds()
    with pytest.raises(MissingDependencies):
        needy.run()
    job.run()
    good = job.run()
    for status in ("SKIPPED", "FAILED", "RUNNING", "QUEUED"):
        Build.objects.create(job_id="a", status=status)
    assert job.get_latest_successful_build() == good
    assert job.has_running_builds()
    made = needy.run()
    assert list(made.model.inputs.values_list("dep_build_id", flat=True)) == [good.id]


def test_all_ways_to_run_return_the_build_as_it_ended():
    """original #7"""
    use_config(CHAIN)
    app = JobControl()
    ended = [
        app.build_job("a"),
        app.get_job("a").run(),
        app.run_build(app.create_build("a")),
        app.run_build(app.create_build("a").id),
        app.get_job("a").create_build().run(),
    ]
    assert [one.descriptive_status for one in ended] == ["SUCCESSFUL"] * 5
    assert [one.retval for one in ended] == [1] * 5
    assert len({one.id for one in ended}) == 5


def test_a_pin_holds_at_run_time_too_and_its_value_is_used():
    """original #9: not whatever is newest when the build runs"""
    use_config(CHAIN)
    build("a")
    made = services.create_build(job=Job.objects.get(pk="b"), trigger="python")
    use_config(CHAIN.replace("args: [1]", "args: [2]"))
    build("a")
    assert retval_of(runner.run_here(made)) == 1
    assert retval_of(build("b")) == 2
    pinned = CHAIN.replace("args: [!retval a]", "kwargs: {it: !retval a}, pinned_builds: {a: %d}")
    use_config(pinned % Build.objects.filter(job_id="a").order_by("id").first().pk)
    assert retval_of(build("b")) == 1


def test_a_pin_must_be_a_success_of_that_very_job():
    """original #9"""
    use_config(CHAIN)
    other = build("sometimes")
    theirs = build_function(ODD + "value", 1)
    for wrong in (other, theirs):
        pin = f"args: [!retval a], pinned_builds: {{a: {wrong.pk}}}"
        use_config(CHAIN.replace("args: [!retval a]", pin))
        with pytest.raises(Exception, match=f"#{wrong.pk} is not a successful build of 'a'"):
            build("b")


MACRO = """
{% macro pair(name, url) %}
- id: crawl_{{ name }}
  function: tests.support.odd_jobs:value
  args: ["{{ url }}"]
- id: process_{{ name }}
  function: tests.support.odd_jobs:value
  args:
    - !retval crawl_{{ name }}
{% endmacro %}
jobs:
{{ pair("one", "http://one.example.com") }}
{{ pair("two", "http://two.example.com/{id}") }}
"""


def test_a_macro_makes_jobs_and_retval_implies_the_dependency():
    """original #10, #11, #13: `!retval` had to stand in `dependencies` too"""
    use_config(MACRO)
    assert [job.id for job in JobControl().iter_jobs()] == [
        *("crawl_one", "process_one", "crawl_two", "process_two")
    ]
    build("crawl_two")
    assert retval_of(build("process_two")) == "http://two.example.com/{id}"
    with pytest.raises(MissingDependencies, match="crawl_one"):
        build("process_one")


def test_a_retval_of_a_number_is_that_of_the_job_of_this_name():
    """original #11"""
    use_config(
        """
        jobs:
          - {id: 123, function: "tests.support.odd_jobs:value", args: [{"{id}": "{x}"}]}
          - {id: user, function: "tests.support.odd_jobs:value", args: [!retval 123]}
        """
    )
    build("123")
    assert retval_of(build("user")) == {"{id}": "{x}"}


@pytest.mark.parametrize(
    ("text", "rule", "line"),
    [
        ("jobs:\n\n{{ nobody }}\n", "template-undefined", 3),
        ("jobs: [{id: a, function: 'm:f', args: [!!python/name:os.system ]}]", "tag", 1),
        ("jobs: [{id: a, function: 'm:f'}, {id: a, function: 'm:f'}]", "duplicate-id", 1),
        ("jobs: [{id: a, function: 'm:f', dependencies: [b]}]", "unknown-job", 1),
        ("jobs:\n- {id: a, function: 'm:f', dependencies: [a]}", "cycle", 2),
        ("jobs: [{id: a, function: 'no_colon'}]", "function", 1),
    ],
)
def test_a_wrong_file_leaves_jobs_and_builds_as_they_were(text, rule, line):
    """original #13, #14, #15, #20"""
    use_config(CHAIN)
    build("a")
    with pytest.raises(ConfigError) as caught:
        JobControl.from_config_file(io.StringIO(text))
    assert [(one.rule, one.line) for one in caught.value.problems] == [(rule, line)]
    assert [job.id for job in JobControl().iter_jobs()] == ["a", "b", "sometimes"]
    assert build("b").status == "SUCCESSFUL"


def test_letters_of_the_world_pass_through_the_file_and_the_build():
    """original #15"""
    use_config(
        "jobs: [{id: größe, title: Ψ, function: 'tests.support.odd_jobs:value', args: [é💥 漢]}]"
    )
    made = build("größe")
    assert retval_of(made) == "é💥 漢"
    assert made.payload.retval_text == "'é💥 漢'"
    assert yaml.safe_load(JobControl().get_job("größe").get_conf_as_yaml())["args"] == ["é💥 漢"]


def test_own_keys_are_kept_and_warned_about_with_the_nearest_one():
    """original #16"""
    text = "jobs: [{id: a, function: 'tests.support.odd_jobs:look_around', my_key: 5, tittle: x}]"
    (mine, typo) = sorted(config.load_text(text).warnings, key=lambda one: one.key != "my_key")
    assert "title" in str(typo)
    assert "my_key" in str(mine)
    use_config(text)
    assert retval_of(build("a"))["key"] == 5


def test_the_keys_without_effect_have_one(capsys):
    """original #18: notes, protected, secret, repr_function"""
    use_config(
        """
        secret: {token: hunter22-hunter22}
        webapp: {PORT: 8123, HOST: 0.0.0.0}
        jobs:
          - id: a
            notes: Some *notes*
            protected: true
            function: tests.support.odd_jobs:value
            args: [!secret token]
            repr_function: tests.support.leaking_jobs:leaking_repr
        """
    )
    job = Job.objects.get(pk="a")
    assert job.notes == "Some *notes*"
    assert job.protected
    made = JobControl().build_job("a", arm=True)
    assert made.retval == "hunter22-hunter22"
    assert made.model.payload.retval_text == "shown: •••"
    assert JobControl().config.configuration.site.webapp["PORT"] == 8123


def test_cleanup_is_that_of_the_build_s_own_configuration():
    """original #19"""
    from tests.support import odd_jobs

    text = f"jobs: [{{id: a, function: '{ODD}value', cleanup_function: '{ODD}cleanup'}}]"
    use_config(text)
    made = build("a")
    use_config(text.replace(f", cleanup_function: '{ODD}cleanup'", ""))
    odd_jobs.cleaned.clear()
    JobControl().get_build(made.pk).delete()
    assert odd_jobs.cleaned == [(made.pk, None, True)]


def test_an_exception_that_can_not_be_pickled_is_recorded_and_read():
    """original #22"""
    made = build_function(WATCHED + "raise_unpicklable")
    with pytest.raises(RuntimeError):
        pickle.dumps(watched_jobs.Unpicklable(1, 2))
    assert made.exception_type == "tests.support.watched_jobs.Unpicklable"
    assert made.exception_message == "can't be pickled"
    info = JobControl().get_build(made.pk)
    assert info.exception == "tests.support.watched_jobs.Unpicklable: can't be pickled"
    assert info.exception_tb.format().splitlines()[-1] == info.exception
    out = io.StringIO()
    call_command("get_build", made.pk, stdout=out)
    assert "can't be pickled" in out.getvalue()


def test_a_value_whose_class_is_gone_spoils_nothing_but_itself(monkeypatch):
    """original #21: pages show stored text and never load values"""
    made = build_function(ODD + "point")
    text = made.payload.retval_text
    monkeypatch.delattr("tests.support.odd_jobs.Point")
    info = JobControl().get_build(made.pk)
    with pytest.raises(RetvalError, match="importable"):
        info.retval  # noqa: B018
    out = io.StringIO()
    call_command("get_build", made.pk, "--format", "json", stdout=out)
    assert yaml.safe_load(out.getvalue())["retval"] == text


def test_a_traceback_of_a_build_begins_in_the_job_and_ends_with_the_exception():
    """original #25"""
    made = build_function(ODD + "raise_", "ValueError")
    traceback = JobControl().get_build(made.pk).exception_tb
    assert [frame.name for frame in traceback.frames] == ["raise_"]
    (frame,) = traceback.frames
    assert frame.filename.endswith("odd_jobs.py")
    assert len(frame.context) >= 5
    assert frame.locs["text"] == "'no such page'"
    assert traceback.format().splitlines()[-1] == "ValueError: no such page"


def test_the_list_of_jobs_is_in_the_order_of_the_file():
    """original #30"""
    use_config(CHAIN)
    assert [job.id for job in JobControl().iter_jobs()] == ["a", "b", "sometimes"]
    first, *jobs = CHAIN.strip().splitlines()
    use_config("\n".join([first, *reversed(jobs)]))
    assert [job.id for job in JobControl().iter_jobs()] == ["sometimes", "b", "a"]
    use_config("jobs: []")
    assert list(JobControl().iter_jobs()) == [], "retired jobs are not in the file"


@pytest.mark.parametrize("value", [0, "", [], False])
def test_falsy_values_are_values(value):
    """original #31: they were hidden"""
    made = build_function(ODD + "value", value)
    assert JobControl().get_build(made.pk)["retval"] == value
    out = io.StringIO()
    call_command("get_build", made.pk, "--format", "json", stdout=out)
    assert yaml.safe_load(out.getvalue())["retval"] == repr(value)


def test_a_build_shows_its_own_configuration_also_when_the_job_is_gone():
    """original #31: it showed the job's current one, or failed"""
    use_config(CHAIN)
    made = build("a")
    use_config(CHAIN.replace("args: [1]", "args: [5]"))
    info = JobControl().get_build(made.pk)
    assert info.config["args"] == [1]
    assert info.get_job().config["args"] == [5]
    use_config("jobs: []")
    assert JobControl().get_build(made.pk).config["args"] == [1]
    assert JobControl().get_build(made.pk).get_job().id == "a"


def test_the_application_object_as_old_code_uses_it():
    """What the public projects that used the original call."""
    use_config(CHAIN)
    app = JobControl()
    made = [app.build_job("a") for _ in range(3)]
    job = app.get_job("a")
    assert [one.id for one in job.iter_builds()] == [one.id for one in made]
    assert [one.id for one in job.iter_builds(order="desc", limit=2)] == [made[2].id, made[1].id]
    with pytest.warns(DeprecationWarning, match="iter_builds"):
        assert len(list(job.get_builds())) == 3
    assert (job.get_docs() or "") == job.get_docs()
    log = list(made[0].iter_log_messages())
    assert [row.message for row in log] == messages(made[0].model)
    assert list(made[0].iter_log_messages(min_level=40)) == []
    assert list(made[0].iter_log_messages(min_date=log[-1].created))[-1] == log[-1]
    assert list(made[0].iter_log_messages(max_date=log[0].created))[0] == log[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert app.storage.get_latest_successful_build("a") == made[2]
    waiting = app.create_build("a")
    app.get_build(waiting.id).run()
    assert waiting.descriptive_status == "CREATED"
    waiting.refresh()
    assert waiting.descriptive_status == "SUCCESSFUL"
    assert waiting["retval"] == 1
    made[0].delete(cleanup=False)
    assert not Build.objects.filter(pk=made[0].id).exists()
