"""Whatever the loader is fed, it loads or says why: nothing but `ConfigError` comes out."""

from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.config import ConfigError, Configuration, load_file, load_object, load_text
from jobs.tags import Retval, Secret, decode, encode, to_yaml

PIECES = st.sampled_from(
    ["jobs:", "\n", "- ", "  ", "id: a", "function: m:f", "args: ", "[", "]", "{", "}", ": ", ", "]
    + [
        "!retval ",
        "!secret ",
        "!!set ",
        "!!python/name:x ",
        "&a ",
        "*a",
        "<<: ",
        "'",
        '"',
        "|",
        ">",
    ]
    + [
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        " if x ",
        " for i in y ",
        "env.X",
        "? ",
        "---",
        "...",
        "%",
    ]
    + ["\t", "\0", "\ufeff", "\x85", "\u2028", "é", "1", "0x", "1:30", "2024-01-01", "~", "=", "`"]
    + ["secret:", "storage: ", "webapp:", "dependencies: ", "pinned_builds: ", "tags: ", "!", "@"]
)
VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.dates()
    | st.sampled_from(["a", "m:f", Retval("a"), Secret("s"), Retval("b")]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["id", "function", "args", "kwargs", "dependencies", "tags", "jobs", "secret"]
            )
            | st.sampled_from(
                ["storage", "webapp", "worker", "celery", "python_path", "pinned_builds"]
            )
            | st.sampled_from(
                ["PORT", "DEBUG", "ALLOWED_HOSTS", "heartbeat", "lease", "priority", 1]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


def try_loading(load: Any, what: Any) -> None:
    outcome = outcome_of(load, what)
    if isinstance(outcome, ConfigError):
        assert outcome.problems
        assert all(problem.message and problem.rule for problem in outcome.problems)
        assert str(outcome).strip()
    else:
        for job in outcome.jobs:
            assert encode(decode(encode(job.config))) == encode(job.config)


def outcome_of(load: Any, what: Any) -> Configuration | ConfigError:
    try:
        return load(what) if load is load_object else load(what, environ={})
    except ConfigError as error:
        return error


@settings(deadline=None, max_examples=300)
@given(st.lists(PIECES, max_size=40).map("".join))
@example("jobs:\n- id: a\n  function: m:f\n")
def test_pieces_of_configuration(text: str) -> None:
    try_loading(load_text, text)


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(exclude_categories=())))
def test_any_text(text: str) -> None:
    try_loading(load_text, text)


@settings(deadline=None, max_examples=200)
@given(data=st.binary())
def test_any_bytes(data: bytes, tmp_path_factory: Any) -> None:
    folder: Path = tmp_path_factory.getbasetemp()
    path = folder / "fuzzed.yaml"
    path.write_bytes(data)
    try_loading(load_file, path)


@settings(deadline=None, max_examples=300)
@given(VALUES)
def test_any_objects(value: Any) -> None:
    try_loading(load_object, value)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(["jobs", "secret", "webapp", "worker", "celery"]), VALUES))
def test_any_sections(value: Any) -> None:
    try_loading(load_object, value)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.dictionaries(st.sampled_from(["id", "function", "args", "tags"]), VALUES)))
def test_any_jobs(value: Any) -> None:
    try_loading(load_object, {"jobs": value})


NAMES = st.text(
    st.characters(min_codepoint=33, exclude_categories=("C", "Z")), min_size=1, max_size=8
)
WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=15)
ARGUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


def reference(name: str | None) -> Retval | None:
    return Retval(name) if name else None


@st.composite
def configurations(draw: Any) -> dict[str, Any]:
    names = NAMES.filter(lambda name: name not in (".", ".."))
    ids = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    blocks = []
    for index, name in enumerate(ids):
        earlier = st.sampled_from(ids[:index] or [None])
        optional = {
            "title": WORDS,
            "notes": WORDS,
            "tags": st.lists(NAMES, max_size=3, unique=True),
            "protect": st.booleans(),
            "concurrency": st.integers(1, 9),
            "queue": st.sampled_from(["default", "heavy"]),
            "priority": st.integers(-9, 9),
            "args": st.lists(ARGUMENTS | earlier.map(reference), max_size=3),
            "kwargs": st.dictionaries(WORDS, ARGUMENTS | st.just(Secret("key")), max_size=3),
            "dependencies": st.lists(earlier.filter(bool), max_size=2) if index else st.just([]),
            "my_own": ARGUMENTS,
        }
        block = {"id": name, "function": "package.module:name"}
        blocks.append(block | draw(st.fixed_dictionaries({}, optional=optional)))
    return {"jobs": blocks, "secret": {"key": "abcdefgh"}}


@settings(deadline=None, max_examples=150)
@given(configurations())
def test_valid_configurations_round_trip(given_object: dict[str, Any]) -> None:
    direct = load_object(given_object)
    text = "{% raw %}" + to_yaml(given_object) + "{% endraw %}"
    loaded = load_text(text, environ={})
    assert loaded.jobs == direct.jobs
    assert [job.config for job in loaded.jobs] == given_object["jobs"]
    for job in loaded.jobs:
        assert decode(encode(job.config)) == job.config
