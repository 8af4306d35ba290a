import gc
import sys
import textwrap
from datetime import date
from pathlib import Path

import pytest
import yaml

from jobs.config import (
    ConfigError,
    Configuration,
    fingerprint,
    load_file,
    load_object,
    load_site_sections,
    load_text,
)
from jobs.problems import Problem
from jobs.tags import Retval, Secret

MACRO = """\
{% macro process_website(name, url) %}
  - id: crawl_{{ name }}
    title: "Crawl {{ url }}"
    function: mycrawler:crawl
    kwargs:
      storage: postgresql://.../crawled_data_{{ name }}

  - id: process_{{ name }}
    title: "Process {{ url }}"
    function: mycrawler:process
    kwargs:
      input_storage: !retval crawl_{{ name }}
      storage: postgresql://.../processed_data_{{ name }}
{% endmacro %}

jobs:
{{ process_website('example_com', 'http://www.example.com') }}
{{ process_website('example_org', 'http://www.example.org') }}
{{ process_website('example_net', 'http://www.example.net') }}
"""

EXPANDED = """\
jobs:
  - id: crawl_example_com
    title: "Crawl http://www.example.com"
    function: mycrawler:crawl
    kwargs:
      storage: postgresql://.../crawled_data_example_com

  - id: process_example_com
    title: "Process http://www.example.com"
    function: mycrawler:process
    kwargs:
      input_storage: !retval crawl_example_com
      storage: postgresql://.../processed_data_example_com

  - id: crawl_example_org
    title: "Crawl http://www.example.org"
    function: mycrawler:crawl
    kwargs:
      storage: postgresql://.../crawled_data_example_org

  - id: process_example_org
    title: "Process http://www.example.org"
    function: mycrawler:process
    kwargs:
      input_storage: !retval crawl_example_org
      storage: postgresql://.../processed_data_example_org

  - id: crawl_example_net
    title: "Crawl http://www.example.net"
    function: mycrawler:crawl
    kwargs:
      storage: postgresql://.../crawled_data_example_net

  - id: process_example_net
    title: "Process http://www.example.net"
    function: mycrawler:process
    kwargs:
      input_storage: !retval crawl_example_net
      storage: postgresql://.../processed_data_example_net
"""


def load(text: str, **environ: str) -> Configuration:
    return load_text(textwrap.dedent(text), environ=environ)


def problems_of(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        load(text)
    return caught.value.problems


def filled_lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip()]


def test_the_macro_of_the_manual_expands_to_what_the_manual_prints() -> None:
    """original #10 #13"""
    configuration = load_text(MACRO, environ={})
    assert filled_lines(configuration.expanded) == filled_lines(EXPANDED)
    printed = load_text(EXPANDED, environ={})
    assert configuration.jobs == printed.jobs
    assert configuration.graph == {
        "crawl_example_com": [],
        "process_example_com": ["crawl_example_com"],
        "crawl_example_org": [],
        "process_example_org": ["crawl_example_org"],
        "crawl_example_net": [],
        "process_example_net": ["crawl_example_net"],
    }
    assert configuration.warnings == ()


def test_an_old_file_of_the_manual_loads_as_it_is() -> None:
    """original #11 #13"""
    configuration = load(
        """
        storage: "postgresql://jobcontrol_test:test@localhost:5432/jc-harvester-141125"
        webapp:
            PORT: 5050
            DEBUG: False
        celery:
            BROKER_URL: "redis://localhost:6379"
        secret:
            token: "a secret token"
        jobs:
        - id: some_other_job
          function: mypackage.mymodule:otherfunction
          args: ['sqlite:///data/{id}.db', {url: 'x/{id}', conf: {a: {b: '{}'}}}]
        - id: some_job_id
          title: "Some job title here"
          function: mypackage.mymodule:myfunction
          args:
              - spam
              - eggs
              - bacon
          kwargs:
              foobar: 'Something completely different'
              blah: !retval 'some_other_job'
          dependencies: ['some_other_job']
          protect: true
          cleanup: mypackage.mymodule:clean
        """
    )
    assert configuration.warnings == ()
    site = configuration.site
    assert site.storage == "postgresql://jobcontrol_test:test@localhost:5432/jc-harvester-141125"
    assert site.webapp == {"PORT": 5050, "DEBUG": False}
    assert site.celery == {"BROKER_URL": "redis://localhost:6379"}
    assert site.redis_url == "redis://localhost:6379"
    assert configuration.secrets == {"token": "a secret token"}
    first, second = configuration.jobs
    assert first.args[0] == "sqlite:///data/{id}.db"
    assert first.args[1] == {"url": "x/{id}", "conf": {"a": {"b": "{}"}}}
    assert second.args == ["spam", "eggs", "bacon"]
    assert second.kwargs["blah"] == Retval("some_other_job")
    assert second.dependencies == ["some_other_job"]
    assert second.protected
    assert second.cleanup == "mypackage.mymodule:clean"
    assert second.config["protect"] is True
    assert "protected" not in second.config


def test_all_keys_of_a_job() -> None:
    configuration = load(
        """
        secret: {token: abcdef}
        jobs:
        - id: 7
          function: a.b:C.method
          cleanup_function: a:clean
          repr_function: a:show
          title: 2014
          notes: null
          tags: [x, 3, x]
          priority: -5
          protected: no
          args:
          kwargs: {k: !secret token, d: 2024-01-02}
          pinned_builds: {8: 12, 7: null}
          dependencies: [8, '8']
        - {id: 8, function: 'a:b'}
        """
    )
    spec = configuration.job("7")
    assert (spec.id, spec.title, spec.notes, spec.tags) == ("7", "2014", "", ["x", "3"])
    assert (spec.function, spec.cleanup, spec.repr_function) == (
        "a.b:C.method",
        "a:clean",
        "a:show",
    )
    assert (spec.priority, spec.protected, spec.args) == (-5, False, [])
    assert spec.kwargs == {"k": Secret("token"), "d": date(2024, 1, 2)}
    assert (spec.pinned_builds, spec.dependencies) == ({"8": 12}, ["8"])
    assert configuration.job("8").dependencies == []
    with pytest.raises(KeyError):
        configuration.job("9")


def test_retval_implies_the_dependency_after_the_explicit_ones() -> None:
    """original #10"""
    configuration = load(
        """
        jobs:
        - {id: a, function: 'm:f'}
        - {id: 12, function: 'm:f'}
        - id: c
          function: m:f
          args: [[{x: !retval 12}], !retval a]
          dependencies: [b, a]
        - {id: b, function: 'm:f'}
        """
    )
    assert configuration.graph["c"] == ["b", "a", "12"]


def test_unknown_keys_are_kept_and_warned_about_with_the_nearest_name() -> None:
    """original #16"""
    configuration = load(
        """
        jobs:
        - id: a
          function: m:f
          tilte: x
          my_own: {a: 1}
        secrets: {}
        celery: {BROKER_URL: 'amqp://x', TASK: 1}
        webapp: {PROT: 1}
        retentoin: {logs: 3}
        """
    )
    assert configuration.jobs[0].config["my_own"] == {"a": 1}
    assert [(w.rule, w.job, w.key, w.line) for w in configuration.warnings] == [
        ("unknown-key", "a", "tilte", 5),
        ("unknown-key", "a", "my_own", 6),
        ("unknown-section", None, "secrets", 7),
        ("unknown-key", None, "celery.TASK", 8),
        ("broker", None, "celery.BROKER_URL", 8),
        ("unknown-key", None, "webapp.PROT", 9),
        ("unknown-section", None, "retentoin", 10),
    ]
    messages = [warning.message for warning in configuration.warnings]
    assert "did you mean 'title'?" in messages[0]
    assert "did you mean" not in messages[1]
    assert "did you mean 'secret'?" in messages[2]
    assert "did you mean 'PORT'?" in messages[5]
    assert "did you mean 'retention'?" in messages[6]
    assert configuration.site.redis_url is None


def test_limits_and_queues() -> None:
    configuration = load_text(
        "jobs:\n- {id: a, function: 'm:f', concurrency: 3, queue: heavy-1.x_y}\n"
        "- {id: b, function: 'm:f', concurrency: null, queue: null}\n"
        "- {id: c, function: 'm:f', queue: 7}\n"
    )
    assert [(spec.concurrency, spec.queue) for spec in configuration.jobs] == [
        (3, "heavy-1.x_y"),
        (None, "default"),
        (None, "7"),
    ]
    assert configuration.warnings == ()


def test_short_secrets_are_warned_about_without_their_value() -> None:
    configuration = load("jobs: []\nsecret: {pin: '987', ok: '9876', deep: {x: ab}}\n")
    assert [warning.rule for warning in configuration.warnings] == ["short-secret"] * 2
    assert "'pin'" in configuration.warnings[0].message
    assert "'deep.x'" in configuration.warnings[1].message
    assert "987" not in repr(configuration.warnings)


def test_a_value_from_the_environment_under_secret_is_a_secret() -> None:
    configuration = load(
        """
        secret: {token: "{{ env.TOKEN }}", other: "{{ env.get('OTHER', 'fallback') }}"}
        jobs:
        - {id: a, function: 'm:f', args: ["{{ env['TOKEN'] }}"]}
        """,
        TOKEN="from outside",
    )
    assert configuration.secrets == {"token": "from outside", "other": "fallback"}
    assert configuration.jobs[0].args == ["from outside"]


def test_environment_can_be_asked_for_in_conditions() -> None:
    text = "jobs: []\n{% if env.X is defined %}storage: 'x:'{% endif %}\n"
    assert load_text(text, environ={}).site.storage is None
    assert load_text(text, environ={"X": ""}).site.storage == "x:"


def test_includes_and_imports_are_relative_to_the_file(tmp_path: Path) -> None:
    """original #13"""
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "macros.jinja").write_text(
        "{% macro job(id) %}- {id: {{ id }}, function: 'm:f'}{% endmacro %}\n"
    )
    (tmp_path / "parts" / "more.yaml").write_bytes(
        b"\xef\xbb\xbf- {id: caff\xc3\xa8, function: 'm:f'}\r\n"
    )
    path = tmp_path / "jobs.yaml"
    path.write_text(
        "{% import 'parts/macros.jinja' as macros %}jobs:\n{{ macros.job('a') }}\n"
        "{% include 'parts/more.yaml' %}{% include 'maybe.yaml' ignore missing %}"
    )
    configuration = load_file(path, environ={})
    assert [job.id for job in configuration.jobs] == ["a", "caffè"]
    names = [str(path), str(tmp_path / "parts/macros.jinja"), str(tmp_path / "parts/more.yaml")]
    assert [source.path for source in configuration.sources] == names
    assert configuration.sources[0].text == path.read_text()
    assert configuration.paths == (*names, str(tmp_path / "maybe.yaml"))
    assert configuration.site.python_path == (str(tmp_path),)
    assert configuration.path == str(path)


def test_text_without_a_folder_includes_nothing() -> None:
    (problem,) = problems_of("{% include 'x.yaml' %}")
    assert "no folder" in problem.message


def test_lines_are_the_files_own_when_nothing_was_expanded() -> None:
    (problem,) = problems_of("# {id}\njobs:\n- {id: a, function: x}\n")
    assert (problem.line, problem.expanded, problem.source_line) == (3, False, None)
    assert problem.excerpt == "- {id: a, function: x}"


def test_lines_of_the_expanded_text_are_shown_with_their_source_where_it_is_sure() -> None:
    (first, _, second) = problems_of(
        """\
        {% macro job(name) %}
        - id: {{ name }}
          function: {{ name }}
        {% endmacro %}
        jobs:
        {{ job('one') }}
        {{ job('two') }}
        - id: b
          function: broken
        """
    )
    assert (first.line, first.expanded, first.source_line) == (5, True, None)
    assert first.excerpt == "function: one"
    assert str(first).startswith("<text>, line 5 of the expanded text, job 'one', key 'function'")
    assert (second.expanded, second.source_path, second.source_line) == (True, "<text>", 9)
    assert f"line {second.line} of the expanded text (line 9 of <text>)" in str(second)
    assert second.line != 9


def test_a_line_that_jinja_did_not_move_is_named_once() -> None:
    (problem,) = problems_of("jobs:\n- id: {{ 'a' }}\n  function: broken\n")
    assert problem.expanded
    assert str(problem).startswith("<text>, line 3, job 'a', key 'function'")


def test_a_line_that_stands_twice_has_no_sure_source() -> None:
    problems = problems_of(
        "{{ '' }}jobs:\n- id: a\n  function: broken\n- id: b\n  function: broken\n"
    )
    assert [problem.source_line for problem in problems] == [None, None]


def test_anchors_aliases_and_merges_work() -> None:
    configuration = load(
        """
        x-base: &base {function: 'm:f', tags: &tags [a]}
        jobs:
        - {<<: *base, id: a}
        - {id: b, <<: [*base, {tags: [z], priority: 3}], title: t}
        - {id: c, <<: *base, tags: [own]}
        - {id: d, function: '=', <<: *base}
        """.replace("'='", "'m:g'")
    )
    assert [job.tags for job in configuration.jobs] == [["a"], ["a"], ["own"], ["a"]]
    assert configuration.job("b").priority == 3
    assert configuration.job("d").function == "m:g"


def test_plain_scalars_have_the_types_of_pyyaml() -> None:
    text = (
        "[1, 0x1f, 010, 1_000, 1:30, 1.5, .inf, yes, Off, ~, null, '', 2024-01-02, "
        "2024-01-02T03:04:05Z, plain, 'yes', !!str 1, !!int '3', !!float 1, !!binary eA==, "
        "!!set {a, b}, !!omap [a: 1], !!seq [1], !!map {a: 1}, <<, -, a=b]"
    )
    args = load_text(f"jobs:\n- {{id: a, function: 'm:f', args: {text}}}\n").jobs[0].args
    assert args == yaml.safe_load(text.replace("<<", "'<<'"))
    assert [type(a) for a in args] == [type(a) for a in yaml.safe_load(text.replace("<<", "'<<'"))]
    assert load_text("jobs:\n- {id: a, function: 'm:f', args: [=]}").jobs[0].args == ["="]


def test_windows_line_ends_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_bytes(
        b"\xef\xbb\xbfjobs:\r\n- id: a\r\n  function: m:f\r\n  notes: |\r\n    x\r\n    y\r\n"
    )
    assert load_file(path).jobs[0].notes == "x\ny\n"


def test_tabs_in_text_are_fine() -> None:
    configuration = load_text("jobs:\n- id: a\n  function: m:f\n  notes: |\n    a\tb\n    \tc\n")
    assert configuration.jobs[0].notes == "a\tb\n\tc\n"


def test_a_file_without_jobs_is_warned_about() -> None:
    for text in ("jobs:\n", "storage: 'x:'\n"):
        configuration = load_text(text)
        assert configuration.jobs == ()
        assert [warning.rule for warning in configuration.warnings] == ["no-jobs"]
    assert load_text("jobs: []").warnings == ()


def test_the_hash_is_of_the_expanded_text() -> None:
    one = load_text("jobs: []\n# {{ env.X }}", environ={"X": "1"})
    other = load_text("jobs: []\n# {{ env.X }}", environ={"X": "2"})
    plain = load_text("jobs: []\n# 1", environ={})
    assert one.hash == plain.hash != other.hash
    assert one.expanded == plain.expanded


def test_objects_load_like_files() -> None:
    configuration = load_object(
        {
            "jobs": [
                {"id": 1, "function": "m:f", "args": (1, {2}), "kwargs": {"x": Secret("s.t")}},
                {"id": "b", "function": "m:f", "args": [Retval("1")]},
            ],
            "secret": {"s": {"t": "abcdef"}},
        }
    )
    assert configuration.path == ""
    assert configuration.sources == ()
    assert configuration.graph == {"1": [], "b": ["1"]}
    assert configuration.jobs[0].args == [1, {2}]
    assert "!retval 1" in configuration.expanded.replace("'", "")
    assert len(configuration.hash) == 64


def test_objects_are_copied() -> None:
    given = {"jobs": [{"id": "a", "function": "m:f", "args": [[1]]}]}
    configuration = load_object(given)
    given["jobs"][0]["args"][0].append(2)
    assert configuration.jobs[0].args == [[1]]
    assert configuration.jobs[0].config["args"] == [[1]]


def test_objects_that_no_file_could_hold_are_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    for bad, rule in (([object()], "value"), (endless, "depth"), ({(1,): 2}, "value")):
        with pytest.raises(ConfigError) as caught:
            load_object({"jobs": [{"id": "a", "function": "m:f", "args": [bad]}]})
        assert caught.value.problems[0].rule == rule
    with pytest.raises(ConfigError, match="must be a mapping"):
        load_object([])  # type: ignore[arg-type]


def test_site_sections_skip_the_jobs(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(
        """\
jobs:
- id: [broken
  , {a: {}}]
- 3
storage: sqlite:///x.db
worker: {processes: 3, heartbeat: 1, lease: 2.5}
python_path: [lib, /abs]
webapp: {PORT: x, HOST: h, ALLOWED_HOSTS: 'a, b', SECRET_KEY: k, TIME_ZONE: Europe/Rome}
nope: 1
secret: {a: b}
"""
    )
    site = load_site_sections(path)
    assert site.storage == "sqlite:///x.db"
    assert (site.worker.processes, site.worker.heartbeat, site.worker.lease) == (3, 1.0, 2.5)
    assert site.python_path == (str(tmp_path / "lib"), "/abs")
    assert site.webapp == {
        "HOST": "h",
        "ALLOWED_HOSTS": ["a", "b"],
        "SECRET_KEY": "k",
        "TIME_ZONE": "Europe/Rome",
    }
    assert [(problem.key, problem.line) for problem in site.problems] == [("webapp.PORT", 8)]
    assert [warning.rule for warning in site.warnings] == ["unknown-section", "short-secret"]


def test_site_sections_may_use_an_anchor_of_the_jobs(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text("jobs: [{id: a, x: &port 81}]\nwebapp: {PORT: *port}\n")
    assert load_site_sections(path).webapp == {"PORT": 81}


def test_site_sections_of_a_broken_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    for text in ("jobs: [" + "[" * 100_000, "{{ nope }}", "jobs: [\n"):
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load_site_sections(path)
        assert caught.value.paths == (str(path),)


def test_a_fingerprint_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    assert fingerprint([path]) == (None,)
    path.write_text("a")
    (first,) = fingerprint([path])
    assert first is not None
    assert first[0] == str(path)
    path.write_text("ab")
    assert fingerprint([path]) != (first,)


def calls_to_load(jobs: int) -> int:
    """Return how many calls of functions loading so many jobs takes: work without a clock."""
    text = "jobs:\n" + "".join(
        f"- id: job_{n}\n  title: Job {n}\n  function: package.module:function\n  tags: [a, b]\n"
        f"  args: [1, spam, {{a: [1, 2]}}]\n  kwargs: {{url: 'http://h/{n}', limit: {n}}}\n"
        f"  dependencies: [job_{max(n - 1, 0)}]\n".replace("  dependencies: [job_0]\n", "")
        for n in range(jobs)
    )
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        load_text(text)
    finally:
        sys.setprofile(None)
    return calls


def test_loading_takes_work_in_proportion_to_the_number_of_jobs() -> None:
    calls_to_load(10)  # what is made once
    fewer, more = calls_to_load(200), calls_to_load(800)
    assert more < 4.4 * fewer


def test_no_garbage_is_looked_for_while_a_file_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    blocks = "".join(f"  - {{id: job-{n}, function: 'm:f', args: [[{n}]]}}\n" for n in range(500))
    path.write_text(f"jobs:\n{blocks}")
    collections: list[str] = []

    def collected(phase: str, _info: object) -> None:
        collections.append(phase)

    gc.callbacks.append(collected)
    try:
        gc.collect()
        collections.clear()
        loaded = load_file(path)
        found = list(collections)
    finally:
        gc.callbacks.remove(collected)
    assert len(loaded.jobs) == 500
    assert len(found) <= 2, "one may begin as soon as it is loaded"
