"""Every rule of the configuration file, broken once at least: precise, quick, all at once."""

import os
import time
from pathlib import Path

import pytest

from jobs.config import ConfigError, load_file, load_site_sections, load_text

G = "  function: pkg.mod:func"
CYCLE = ("ab", "bc", "ca")
BOMB = "".join(
    f"k{level}: &k{level} [{', '.join([f'*k{level - 1}'] * 9 if level else ['x'] * 9)}]\n"
    for level in range(12)
)
CHAIN = "k0: &k0 [x]\n" + "".join(f"k{n}: &k{n} [*k{n - 1}]\n" for n in range(1, 200))


def jobs(*lines: str) -> str:
    return "jobs:\n" + "".join(f"{line}\n" for line in lines)


# name: (content, [(rule, line, a part of the message)])
BROKEN: dict[str, tuple[str | bytes, list[tuple[str, int | None, str]]]] = {
    # the file
    "empty": (b"", [("empty", None, "is empty")]),
    "only blanks": (b" \n\n", [("empty", None, "is empty")]),
    "only a BOM": (b"\xef\xbb\xbf", [("empty", None, "is empty")]),
    "binary": (b"jobs:\n\x7fELF\0\0\x01", [("binary", 2, "NUL")]),
    "20 MB": (b"# comment\n" * 2_000_000, [("size", None, "19.1 MiB")]),
    "latin-1": ("jobs: []\n# caffè\n".encode("latin-1"), [("encoding", 2, "0xe8")]),
    "bad UTF-8 after a BOM": (b"\xef\xbb\xbfjobs:\n\xff", [("encoding", 2, "0xff")]),
    "UTF-16": ("jobs: []".encode("utf-16"), [("encoding", None, "UTF-16")]),
    "control character": (b"jobs: []\nx: \x07\n", [("control-character", 2, "U+0007")]),
    "BOM inside": ("jobs: []\nx: \ufeff\n".encode(), [("control-character", 2, "U+FEFF")]),
    # Jinja
    "unclosed tag": ("jobs:\n{% if x %}\n", [("template-syntax", 2, "if")]),
    "bad expression": ("jobs:\n\n{{ a b }}\n", [("template-syntax", 3, "got 'b'")]),
    "unknown filter": ("jobs:\n{{ 1|nope }}\n", [("template-syntax", 2, "nope")]),
    "undefined": ("jobs:\n\n{{ nope }}\n", [("template-undefined", 3, "'nope' is undefined")]),
    "undefined attribute": ("{% set a = {} %}\n{{ a.b }}", [("template-undefined", 2, "b")]),
    "environment": ("\n{{ env.NO_SUCH }}", [("template-undefined", 2, "'NO_SUCH' is not set")]),
    "environment item": ("{{ env['NO_SUCH'] }}", [("template-undefined", 1, "env.get('NO_SUCH'")]),
    "environment as JSON": (
        "\n{{ env.NO_SUCH|tojson }}",
        [("template-undefined", 2, "'NO_SUCH' is not set")],
    ),
    "undefined in JSON": ("{{ [1, nope]|tojson }}", [("template-undefined", 1, "'nope'")]),
    "not for JSON": ("{{ cycler(1)|tojson }}", [("template-error", 1, "type Cycler")]),
    "missing include": ("\n{% include 'no.yaml' %}", [("template-missing", 2, "'no.yaml'")]),
    "include above": ("{% include '../x.yaml' %}", [("template-missing", 1, "'../x.yaml'")]),
    "division": ("jobs: []\nx: {{ 1 / 0 }}", [("template-error", 2, "division by zero")]),
    "sandbox": ("{{ ''.__class__.mro() }}", [("template-error", 1, "unsafe")]),
    "endless macro": (
        "{% macro a() %}{{ a() }}{% endmacro %}\n{{ a() }}",
        [("template-recursion", 1, "nests too deeply")],
    ),
    "deep expression": ("{{ " + "(" * 5000, [("template-recursion", None, "nests too deeply")]),
    "huge repetition": ("{{ 'x' * 10 ** 12 }}", [("template-error", 1, "'*' is too big")]),
    "huge power": ("{{ 2 ** 100000000 }}", [("template-error", 1, "'**' is too big")]),
    "doubling": (
        "{% set n = namespace(x='0123456789') %}\n"
        "{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        [("template-error", 2, "'~' is too big")],
    ),
    "doubling by plus": (
        "{% set n = namespace(x='0123456789') %}\n"
        "{% for i in range(40) %}{% set n.x = n.x + n.x %}{% endfor %}",
        [("template-error", 2, "'+' is too big")],
    ),
    "endless output": (
        "{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}",
        [("size", None, "expanded text has over 16 MiB")],
    ),
    # YAML
    "tab": ("jobs:\n\t- id: a\n", [("tabs", 2, "a tab")]),
    "tab after spaces": (jobs("- id: a", "\t  function: a:b"), [("tabs", 3, "a tab")]),
    "unclosed quote": ('jobs: []\nx: "abc', [("yaml", 2, "quoted scalar")]),
    "unclosed bracket": ("jobs: [\nx: 1\n", [("yaml", 3, "began in line 1")]),
    "two values": ("a: b: c", [("yaml", 1, "mapping values")]),
    "two documents": ("jobs: []\n---\njobs: []", [("documents", 2, "second document")]),
    "deep list": ("jobs: " + "[" * 100_000, [("depth", 1, "100 levels")]),
    "deep mapping": ("jobs: " + "{a: " * 100_000, [("depth", 1, "100 levels")]),
    "deep block": ("jobs:\n" + "- " * 100_000 + "x", [("depth", 2, "100 levels")]),
    "deep by aliases": (CHAIN, [("depth", 100, "100 levels")]),
    "alias bomb": (BOMB, [("nodes", 7, "2,000,000")]),
    "text bomb": (
        f"a: &a {'x' * 100_000}\nb: [{'*a, ' * 1000}]\n",
        [("nodes", 2, "64 million characters")],
    ),
    "recursion": ("jobs: &a\n- *a\n", [("recursive-alias", 2, "*a")]),
    "unknown alias": (
        "jobs: *a",
        [("alias", 1, "no anchor &a")],
    ),
    "python tag": (
        jobs("- id: a", G, "  args:", "  - !!python/object/apply:os.system [x]"),
        [("tag", 5, "no tag ever executes Python")],
    ),
    "python name": (
        jobs("- id: a", G, "  args: [!!python/name:os.system x]"),
        [("tag", 4, "python/name")],
    ),
    "unknown tag": (
        jobs("- id: a", G, "  args:", "  - !foo x"),
        [("tag", 5, "unknown tag '!foo'")],
    ),
    "retval of a list": (
        jobs("- id: a", G, "  args: [!retval [a]]"),
        [("tag", 4, "!retval takes a job id")],
    ),
    "retval of nothing": (
        jobs("- id: a", G, "  args:", "  - !retval"),
        [("tag", 5, "!retval needs a job id")],
    ),
    "duplicate keys": (
        "storage: 'a:'\n" + jobs("- id: a", G, "  id: b", "  function: x:y")
        + "storage: 'b:'\n",
        [
            ("duplicate-key", 5, "'id' stands here twice (first in line 3)"),
            ("duplicate-key", 6, "'function'"),
            ("duplicate-key", 7, "'storage' stands here twice (first in line 1)"),
        ],
    ),
    "list as key": ("jobs: []\n? [a]\n: 1\n", [("key", 2, "a key must be text")]),
    "bad date": (
        jobs("- id: a", G, "  args: [2024-13-45]"),
        [("value", 4, "not a valid timestamp")],
    ),
    "endless number": ("jobs: []\nx: " + "1" * 5000, [("value", 2, "too long")]),
    "bad merge": ("jobs: []\nx: {<<: 3}\n", [("merge", 2, "'<<' takes a mapping")]),
    # the top level
    "a list": (f"- id: a\n{G}", [("top-level", 1, "put 'jobs:' above the list")]),
    "a word": ("hello", [("top-level", None, "a mapping with the key 'jobs', not a string")]),
    "jobs as mapping": ("jobs: {a: 1}", [("type", 1, "must be a list")]),
    "job as text": ("jobs:\n- a\n", [("type", 2, "job 1 of the list must be a mapping")]),
    "storage type": ("jobs: []\nstorage: 5", [("type", 2, "a database URL, not a number")]),
    "storage form": ("jobs: []\nstorage: data.db", [("storage", 2, "a database URL")]),
    "port": ("jobs: []\nwebapp:\n  PORT: '80'", [("type", 3, "a number, not a string")]),
    "port range": ("jobs: []\nwebapp:\n  PORT: 70000", [("type", 3, "0 to 65535")]),
    "zone": ("jobs: []\nwebapp: {TIME_ZONE: Mars/One}", [("type", 2, "not a time zone")]),
    "hosts": ("jobs: []\nwebapp: {ALLOWED_HOSTS: 3}", [("type", 2, "host names")]),
    "webapp": ("jobs: []\nwebapp: on", [("type", 2, "must be a mapping, not true or false")]),
    "processes": ("jobs: []\nworker: {processes: 0}", [("type", 2, "at least 1")]),
    "heartbeat": ("jobs: []\nworker: {heartbeat: .nan}", [("type", 2, "above 0")]),
    "lease": (
        "jobs: []\nworker:\n  heartbeat: 5\n  lease: 9\n",
        [("lease", 4, "at least twice the heartbeat")],
    ),
    "secret type": ("jobs: []\nsecret: abcd", [("type", 2, "names to values")]),
    "secret of a secret": ("jobs: []\nsecret: {a: !secret b}", [("secret", 2, "of its own")]),
    "python path": ("jobs: []\npython_path:\n- 3\n", [("type", 3, "item 1: must be a folder")]),
    # one job
    "no id": (jobs("- function: a:b"), [("missing-id", 2, "no 'id'")]),
    "null id": (jobs("- id:", G), [("missing-id", 2, "no 'id'")]),
    "empty id": (jobs("- id: ''", G), [("id", 2, "must not be empty")]),
    "long id": (jobs(f"- id: {'x' * 201}", G), [("id", 2, "201 characters")]),
    "control in id": (jobs('- id: "a\\tb"', G), [("id", 2, "U+0009")]),
    "id without an address": (jobs("- id: ..", G), [("id", 2, "no address")]),
    "id type": (jobs("- id: [a]", G), [("type", 2, "text or a whole number")]),
    "id yes": (jobs("- id: yes", G), [("type", 2, "quotes around text")]),
    "duplicate id": (
        jobs("- id: 1", G, "- id: '1'", G),
        [("duplicate-id", 4, "another job (line 2)")],
    ),
    "no function": (jobs("- id: a"), [("missing-function", 2, "no 'function'")]),
    "function": (jobs("- id: a", "  function: mod.func"), [("function", 3, "'mod.func'")]),
    "function path": (jobs("- id: a", "  function: a/b.py:f"), [("function", 3, "a/b.py:f")]),
    "function type": (jobs("- id: a", "  function: 3"), [("type", 3, "not a number")]),
    "cleanup": (jobs("- id: a", G, "  cleanup: x"), [("function", 4, "'x'")]),
    "repr": (jobs("- id: a", G, "  repr_function: ':x'"), [("function", 4, "':x'")]),
    "title": (jobs("- id: a", G, "  title: [x]"), [("type", 4, "text, not a list")]),
    "args": (jobs("- id: a", G, "  args: foo"), [("type", 4, "a list, not a string")]),
    "kwargs": (jobs("- id: a", G, "  kwargs: [1]"), [("type", 4, "a mapping")]),
    "kwargs key": (
        jobs("- id: a", G, "  kwargs:", "    1: x"),
        [("argument-name", 5, "must be text, not a number")],
    ),
    "dependencies": (jobs("- id: a", G, "  dependencies: a"), [("type", 4, "a list")]),
    "tags": (
        jobs("- id: a", G, "  tags:", "  - x", "  - {y: 1}"),
        [("type", 6, "item 2: must be text, not a mapping")],
    ),
    "newline in tag": (jobs("- id: a", G, '  tags: ["a\\nb"]'), [("tag-text", 4, "U")]),
    "protect": (jobs("- id: a", G, "  protect: 1"), [("type", 4, "true or false")]),
    "conflict": (
        jobs("- id: a", G, "  protect: true", "  protected: false"),
        [("conflict", 4, "something else than 'protected'")],
    ),
    "pin type": (
        jobs("- id: a", G, "  pinned_builds: {a: x}"),
        [("type", 4, "'a': must be the number of a build")],
    ),
    "pin range": (jobs("- id: a", G, "  pinned_builds: {a: 0}"), [("range", 4, "")]),
    "priority": (jobs("- id: a", G, "  priority: high"), [("type", 4, "whole number")]),
    "priority range": (
        jobs("- id: a", G, "  priority: 99999999999"),
        [("range", 4, "between")],
    ),
    "concurrency": (jobs("- id: a", G, "  concurrency: few"), [("type", 4, "whole number")]),
    "concurrency of yes": (jobs("- id: a", G, "  concurrency: yes"), [("type", 4, "whole")]),
    "concurrency of none": (jobs("- id: a", G, "  concurrency: 0"), [("range", 4, "between 1")]),
    "queue": (jobs("- id: a", G, "  queue: 'a,b'"), [("queue", 4, "letters, digits")]),
    "queue without a name": (jobs("- id: a", G, "  queue: ''"), [("queue", 4, "letters")]),
    "queue type": (jobs("- id: a", G, "  queue: [a]"), [("type", 4, "text")]),
    "queue too long": (
        jobs("- id: a", G, f"  queue: {'x' * 101}"),
        [("queue", 4, "101 characters; at most 100")],
    ),
    "key of a job": (jobs("- id: a", G, "  3: x"), [("key", 4, "must be text")]),
    # between jobs
    "unknown dependency": (
        jobs("- id: crawl", G, "- id: b", G, "  dependencies:", "  - crawl2"),
        [("unknown-job", 7, "no job 'crawl2' in this file; did you mean 'crawl'?")],
    ),
    "unknown retval": (
        jobs("- id: a", G, "  kwargs:", "    deep:", "      - [!retval zz]"),
        [("unknown-job", 6, "'zz'")],
    ),
    "unknown pin": (
        jobs("- id: a", G, "  pinned_builds:", "    zz: 3"),
        [("unknown-job", 5, "'zz'")],
    ),
    "unknown secret": (
        jobs("- id: a", G, "  args:", "  - !secret token")
        + "secret: {tokens: abcdef}\n",
        [("unknown-secret", 5, "no secret 'token' under 'secret:'; did you mean 'tokens'?")],
    ),
    "own dependency": (
        jobs("- id: a", G, "  args: [!retval a]"),
        [("cycle", 2, "a → a")],
    ),
    "cycle": (
        jobs(*(f"- {{id: {a}, function: 'm:f', dependencies: [{b}]}}" for a, b in CYCLE)),
        [("cycle", 2, "a → b → c → a")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_told_precisely_and_quickly(name: str, tmp_path: Path) -> None:
    """original #13 #14 #15 #20"""
    content, expected = BROKEN[name]
    path = tmp_path / "jobs.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    began = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        load_file(path, environ={})
    assert time.monotonic() - began < 20
    problems = caught.value.problems
    found = [(problem.rule, problem.line) for problem in problems]
    for rule, line, part in expected:
        assert (rule, line) in found
        assert any(part in problem.message for problem in problems if problem.rule == rule)
    if name not in ("unknown alias", "python tag", "conflict"):
        assert len(found) == len(expected), str(caught.value)
    assert all(problem.path == str(path) for problem in problems)
    assert str(caught.value).count("\n") == len(problems) - 1


def test_there_are_at_least_fifty_of_them() -> None:
    assert len(BROKEN) >= 50


def test_all_mistakes_are_told_at_once_with_job_key_line_and_rule() -> None:
    """original #15"""
    text = jobs(
        "- id: a",
        "  function: a",
        "  args: x",
        "  tags: y",
        "- function: m:f",
        "  dependencies: [zz]",
        "- id: b",
        "  function: m:f",
        "  priority: x",
        "  dependencies: [c, a]",
        "- {id: c, function: 'm:f', args: [!retval b, !secret s, !bad 1]}",
    )
    with pytest.raises(ConfigError) as caught:
        load_text(text + "webapp: {PORT: x}\n")
    found = [(p.rule, p.job, p.key, p.line) for p in caught.value.problems]
    assert found == [
        ("function", "a", "function", 3),
        ("type", "a", "args", 4),
        ("type", "a", "tags", 5),
        ("missing-id", "number 2", None, 6),
        ("unknown-job", None, "dependencies", 7),
        ("cycle", "b", "dependencies", 8),
        ("type", "b", "priority", 10),
        ("tag", "c", "args", 12),
        ("unknown-secret", "c", "!secret", 12),
        ("type", None, "webapp.PORT", 13),
    ]


def test_a_problem_reads_as_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(jobs("- id: b", "  function: m:f", "  args: x"), name="jobs.yaml")
    assert str(caught.value) == (
        "jobs.yaml, line 4, job 'b', key 'args': must be a list, not a string  [type]  | args: x"
    )


def test_thousands_of_mistakes_are_counted_not_listed() -> None:
    text = jobs(*(f"- {{id: j, function: 'm:f', dependencies: [x{n}]}}" for n in range(3000)))
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    assert len(caught.value.problems) == 1001
    assert caught.value.problems[-1].message == "and 4,999 more like these"


@pytest.mark.parametrize("kind", ["missing", "folder", "unreadable name"])
def test_what_is_no_readable_file_is_told(kind: str, tmp_path: Path) -> None:
    path = {"missing": tmp_path / "no.yaml", "folder": tmp_path, "unreadable name": "a\0b"}[kind]
    for load in (load_file, load_site_sections):
        with pytest.raises(ConfigError) as caught:
            load(path)
        (problem,) = caught.value.problems
        assert problem.rule == "unreadable"
        assert str(path) in str(problem)


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="not a file"):
        load_file(tmp_path / "pipe")


def test_a_mistake_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "part.yaml").write_text("# one\n# two\n{{ nope }}\n")
    (tmp_path / "bad.yaml").write_text("{% if %}")
    (tmp_path / "latin.yaml").write_bytes(b"\n\xe8")
    for name, rule, line in (
        ("part", "template-undefined", 3),
        ("bad", "template-syntax", 1),
        ("latin", "encoding", 2),
    ):
        path = tmp_path / "jobs.yaml"
        path.write_text(f"jobs: []\n{{% include '{name}.yaml' %}}\n")
        with pytest.raises(ConfigError) as caught:
            load_file(path, environ={})
        (problem,) = caught.value.problems
        assert (problem.rule, problem.line) == (rule, line)
        assert problem.path == str(tmp_path / f"{name}.yaml")
        assert caught.value.paths == (str(path), str(tmp_path / f"{name}.yaml"))


def test_problems_show_no_secret() -> None:
    text = (
        "secret: {token: hunter2hunter2}\n"
        "storage: {a: 'postgresql://u:pa55word@h/d'}\n"
        + jobs("- id: a", "  function: hunter2hunter2", "  args: 'x hunter2hunter2'")
        + "webapp: {SECRET_KEY: 5, PORT: x}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    assert len(caught.value.problems) == 5
    for hidden in ("hunter2", "pa55word"):
        assert hidden not in str(caught.value)
        assert all(hidden not in repr(problem) for problem in caught.value.problems)
    assert "args: 'x •••'" in str(caught.value)


def test_a_secret_is_not_shown_when_yaml_breaks_in_its_line() -> None:
    for text in (
        "jobs: []\nsecret:\n  token: 'hunter2\n",
        "jobs: []\nsecret:\n\ttoken: hunter2\n",
        "jobs: []\nwebapp:\n  SECRET_KEY: [hunter2: 3: 4\n",
        "jobs: []\nx: a: postgresql://user:hunter2@host\n",
    ):
        with pytest.raises(ConfigError) as caught:
            load_text(text)
        assert caught.value.problems[0].line
        assert "hunter2" not in repr(caught.value.problems)
