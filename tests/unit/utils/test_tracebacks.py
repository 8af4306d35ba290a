import gc
import json
import pickle
import time
import tracemalloc
import weakref

import pytest

from jobcontrol.utils import FrameInfo, TracebackInfo
from jobcontrol.utils.frames import FIRST_FRAMES, LAST_FRAMES, MAX_LOCALS
from jobcontrol.utils.text import clean_json
from jobcontrol.utils.tracebacks import MAX_EXCEPTIONS, MAX_GROUP, MAX_NESTING

SECRET = "hunter2-correct-horse"


def mask(text):
    return text.replace(SECRET, "•••")


def caught(function, *args):
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError("it was to raise")


def take(function, *args, **options):
    """The TracebackInfo of what `function` raises, without the frames of this module's helpers."""
    return TracebackInfo.from_exception(caught(function, *args), **options)


def run(source, filename="<string>", **namespace):
    exec(compile(source, filename, "exec"), namespace)


def divide(dividend):
    divisor = 0
    # A line before.
    result = dividend / divisor
    # A line after.
    return result  # noqa: RET504 - the lines around are tested


def test_the_calls_are_kept_with_source_around_and_locals():
    """original #25"""
    info = take(divide, 7)
    assert info.final_line == "ZeroDivisionError: division by zero"
    frame = info.frames[-1]
    assert frame.filename == __file__
    assert frame.name == "divide"
    assert frame.line == "result = dividend / divisor"
    assert frame.locs == {"dividend": "7", "divisor": "0"}
    first = divide.__code__.co_firstlineno
    assert frame.lineno == first + 3
    assert [number for number, _ in frame.context] == list(range(first - 2, first + 9))
    assert dict(frame.context)[first] == "def divide(dividend):"
    assert dict(frame.context)[frame.lineno] == "    result = dividend / divisor"


def test_leading_frames_are_skipped_up_to_the_first_other_one():
    """original #25"""
    source = "def call(function):\n    function()\ncall(inner)"
    inner = lambda: run("1/0", "ours.py")  # noqa: E731
    info = take(
        lambda: run(source, "job.py", inner=inner), skip_frame=lambda name: name == __file__
    )
    assert [frame.filename for frame in info.frames] == [
        "job.py", "job.py", __file__, __file__, "ours.py",
    ]  # fmt: skip


def test_where_all_frames_are_skipped_the_exception_remains():
    info = take(divide, 7, skip_frame=lambda name: True)
    assert info.frames == []
    assert str(info) == "ZeroDivisionError: division by zero\n"


def test_it_survives_json_and_pickle():
    info = take(raise_group)
    written = json.loads(json.dumps(info.to_json(), allow_nan=False))
    assert TracebackInfo.from_json(written) == info
    assert written["final_line"] == info.final_line
    assert pickle.loads(pickle.dumps(info)) == info
    assert TracebackInfo.from_json({}) == TracebackInfo()
    assert FrameInfo.from_json({}) == FrameInfo("", 0, "")


def test_it_keeps_nothing_alive():
    class Large:
        pass

    def fail():
        large = Large()
        references.append(weakref.ref(large))
        raise ValueError(large)

    references = []
    info = take(fail)
    gc.collect()
    assert info.type == "ValueError"
    assert references[0]() is None


def test_the_current_exception_and_a_bare_traceback_can_be_taken():
    try:
        divide(7)
    except ZeroDivisionError as error:
        info = TracebackInfo.from_current_exc()
        bare = TracebackInfo.from_tb(error.__traceback__)
    assert info.final_line == "ZeroDivisionError: division by zero"
    assert (bare.type, bare.final_line) == ("", "")
    assert bare.frames[-1] == info.frames[-1]
    assert TracebackInfo.from_current_exc() == TracebackInfo()
    assert TracebackInfo.from_tb(None) == TracebackInfo()


# Secrets


@pytest.mark.parametrize("before", range(1024 - len(SECRET) - 5, 1024 + 5))
def test_a_secret_at_the_cut_of_a_local_is_masked_whole(before):
    """original #25"""
    value = "x" * before + SECRET
    info = take(divide, [value], redact=mask)
    text = info.frames[-1].locs["dividend"]
    assert len(text) <= 1024
    assert SECRET[:4] not in text


@pytest.mark.parametrize("offset", range(0, len(SECRET) + 12, 3))
@pytest.mark.parametrize("wrap", [str, str.encode, lambda text: [text], lambda text: {text: text}])
def test_a_secret_at_the_cut_of_a_huge_local_is_masked_whole(wrap, offset):
    # Masking makes this text so much shorter that what was cut at any bound comes near the front.
    value = wrap("x" * offset + SECRET * 5000)
    text = take(divide, value, redact=mask).frames[-1].locs["dividend"]
    assert SECRET[:4] not in text
    assert "•••" in text


@pytest.mark.parametrize("offset", range(0, len(SECRET), 4))
def test_a_secret_in_a_huge_message_is_masked_whole(offset):
    def fail():
        raise ValueError("x" * offset + SECRET * 50_000)

    info = take(fail, redact=mask)
    assert SECRET[:4] not in info.message
    assert len(info.message) <= 16 * 1024


def test_secrets_are_masked_everywhere():
    source = (
        f"def f():\n    # {SECRET}\n    password = {SECRET!r}\n    raise ValueError(password)\nf()"
    )
    error = caught(run, source)
    error.add_note(f"note {SECRET}")
    error.__cause__ = SyntaxError(SECRET, (SECRET, 3, 1, f"x = {SECRET}"))
    error.__context__ = ExceptionGroup(SECRET, [type(SECRET, (Exception,), {})(SECRET)])
    info = TracebackInfo.from_exception(error, redact=mask)
    assert info.cause is not None
    assert info.context is not None
    written = json.dumps(info.to_json(), ensure_ascii=False)
    assert SECRET[:4] not in written
    assert written.count("•••") > 5


def test_source_lines_are_masked(tmp_path):
    path = tmp_path / "job.py"
    path.write_text(f"password = {SECRET!r}\nraise ValueError\n")
    info = take(run, path.read_text(), str(path), redact=mask)
    assert dict(info.frames[-1].context)[1] == "password = '•••'"


# Hostile exceptions and values


class Hostile(Exception):
    def __getattribute__(self, name):
        raise KeyboardInterrupt(name)

    def __str__(self):
        raise SystemExit

    def __repr__(self):
        raise SystemExit


class EvilString(Exception):
    def __str__(self):
        return 7  # noqa: PLE0307 - that is the point


class HostileGroup(ExceptionGroup):
    exceptions = property(lambda self: 1 / 0)


class HostileNotes(Exception):
    @property
    def __notes__(self):
        raise SystemExit


def evil_values():
    class Value:
        def __getattribute__(self, name):
            raise KeyboardInterrupt(name)

        __repr__ = __str__ = __hash__ = __bool__ = lambda self: 1 / 0

        def __getattr__(self, name):
            raise SystemExit

        @property
        def __class__(self):
            raise SystemExit

    return [Value(), [Value()], {"key": Value()}]


@pytest.mark.parametrize("kind", [Hostile, EvilString, HostileNotes])
def test_an_exception_whose_methods_raise_is_recorded(kind):
    """original #23"""

    def fail():
        values = evil_values()
        raise kind("x") from HostileGroup("group", [ValueError(values)])

    info = take(fail)
    assert info.type == kind.__name__
    assert info.frames[-1].name.endswith("fail")
    values = info.frames[-1].locs["values"]
    assert values.count("its repr raised ZeroDivisionError") == 3
    assert info.cause is not None
    assert [member.type for member in info.cause.group] == ["ValueError"]
    assert json.loads(json.dumps(info.to_json())) == info.to_json()


def test_what_an_exception_refuses_to_say_is_said():
    assert take(raise_it, Hostile()).message == "<its text can't be had: SystemExit>"
    assert take(raise_it, EvilString()).message == "<its text can't be had: TypeError>"


def raise_it(error):
    raise error


def test_an_exception_whose_class_is_hostile_is_recorded():
    class Meta(type):
        def __getattribute__(cls, name):
            raise SystemExit

        def __instancecheck__(cls, instance):
            raise SystemExit

    error = Meta("Odd", (Exception,), {"__module__": 7})("x")
    info = take(raise_it, error)
    assert (info.type, info.module, info.message) == ("Odd", "", "x")


def test_text_that_no_database_holds_is_replaced():
    source = "a\x00b"

    def fail():
        name = "nul \x00 and surrogate \ud800"
        error = type("T", (Exception,), {"__module__": "m\ud800"})(name + source)
        error.add_note(name)
        raise error

    written = take(fail).to_json()
    assert clean_json(written) == written
    assert (written["module"], written["message"][:5]) == ("m\ufffd", "nul \ufffd")


def test_the_namespace_of_a_class_body_may_be_anything():
    class Namespace(dict):
        def items(self):
            raise SystemExit

        def __iter__(self):
            raise SystemExit

    class Meta(type):
        @classmethod
        def __prepare__(cls, name, bases):
            return Namespace()

    info = take(lambda: run("class C(metaclass=Meta):\n    x = 1\n    1/0", Meta=Meta))
    assert info.frames[-1].locs["x"] == "1"


def test_a_namespace_that_is_no_dictionary_is_read_as_far_as_it_goes():
    class Mapping:
        def __getitem__(self, name):
            raise KeyError(name)

        def __setitem__(self, name, value):
            pass

        def items(self):
            yield "x", 1
            raise SystemExit

    info = take(exec, "1/0", {}, Mapping())
    assert info.frames[-1].locs == {"x": "1", "…": "[not readable: SystemExit]"}


def test_names_that_are_no_text_are_written():
    info = take(exec, "1/0", {7: "seven", ("a",): 1})
    assert info.frames[-1].locs == {"7": "'seven'", "('a',)": "1"}


# Bounds


def recurse(number):
    return recurse(number + 1)


def test_a_recursion_without_end_keeps_both_ends():
    info = take(recurse, 0)
    assert info.type == "RecursionError"
    assert len(info.frames) == FIRST_FRAMES + 1 + LAST_FRAMES
    marker = info.frames[FIRST_FRAMES]
    assert marker.filename == ""
    assert marker.name.endswith("more calls, not shown]")
    numbers = [int(frame.locs["number"]) for frame in info.frames if frame.name == "recurse"]
    total = numbers[-1] + 2
    assert numbers == sorted(numbers)
    assert (
        int(marker.name[1:].split()[0])
        == total - FIRST_FRAMES - LAST_FRAMES + (len(info.frames) - 1 - len(numbers)) - 1
    )


@pytest.mark.parametrize("depth", [FIRST_FRAMES + LAST_FRAMES - 1, FIRST_FRAMES + LAST_FRAMES])
def test_a_stack_that_just_fits_has_no_marker(depth):
    def fail(left):
        if left > 1:
            fail(left - 1)
        raise ValueError

    info = TracebackInfo.from_tb(caught(fail, depth).__traceback__.tb_next)
    assert len(info.frames) == depth
    assert all(frame.filename for frame in info.frames)


def test_it_can_be_taken_where_hardly_any_stack_is_left():
    error = caught(divide, 7)
    infos = []

    def down():
        infos.append(TracebackInfo.from_exception(error))
        down()

    caught(down)
    assert infos[0].frames
    assert all(info.type == "ZeroDivisionError" for info in infos)
    assert infos[-1].omitted == "[no more is known: RecursionError while reading]"


def test_a_local_of_a_hundred_megabytes_costs_nothing():
    def fail():
        text = "x" * 100_000_000
        numbers = [0] * 10_000_000
        raise ValueError(text, numbers)

    error = caught(fail)
    tracemalloc.start()
    start = time.monotonic()
    try:
        info = TracebackInfo.from_exception(error)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(info.frames[-1].locs["text"]) == 1024
    assert len(info.frames[-1].locs["numbers"]) == 1024
    assert len(info.message) == 16 * 1024
    assert time.monotonic() - start < 5
    assert peak < 5_000_000


def test_many_locals_are_cut_with_a_note():
    source = "\n".join(f"v{number} = {number}" for number in range(MAX_LOCALS + 50)) + "\n1/0"
    locs = take(run, f"def f():\n {'; '.join(source.split(chr(10)))}\nf()").frames[-1].locs
    assert list(locs)[-1] == "…"
    assert len(locs) == MAX_LOCALS + 1
    assert locs["v199"] == "199"
    assert locs["…"] == "[only the first 200 are shown]"


def test_values_that_take_too_long_are_left_out_once_the_time_is_over(monkeypatch):
    class Slow:
        def __repr__(self):
            now[0] += 3
            return "slow"

    now = [0.0]
    monkeypatch.setattr("jobcontrol.utils.frames.time.monotonic", lambda: now[0])
    values = [Slow() for _ in range(5)]
    source = "a, b, c, d, e = values\ndel values\n1/0"
    info = take(lambda: run(source, values=values), skip_frame=lambda name: name == __file__)
    locs = info.frames[-1].locs
    assert locs["a"] == locs["b"] == "slow"
    assert locs["c"] == locs["e"]
    assert locs["c"].startswith("[not shown")


def test_values_that_are_too_large_in_all_are_left_out():
    source = "def f(left):\n" + "".join(f"    v{n} = 'x' * 2000\n" for n in range(150))
    source += "    if left: f(left - 1)\n    raise ValueError\nf(50)"
    info = take(run, source)
    assert len(json.dumps(info.to_json())) < 6_000_000
    assert info.frames[3].locs["v1"].startswith("'xxx")
    assert info.frames[-1].locs["v1"].startswith("[not shown")


# Chains and groups


def raise_from():
    try:
        divide(7)
    except ZeroDivisionError as error:
        raise ValueError("bad") from error


def raise_during():
    try:
        divide(7)
    except ZeroDivisionError:
        raise ValueError("worse")


def raise_from_none():
    try:
        divide(7)
    except ZeroDivisionError:
        raise ValueError("quiet") from None


def raise_group():
    raise ExceptionGroup("several", [caught(divide, 7), ExceptionGroup("inner", [KeyError("x")])])


def test_a_cause_is_kept():
    info = take(raise_from)
    assert info.cause.final_line == "ZeroDivisionError: division by zero"
    assert info.cause.frames[-1].name == "divide"
    assert info.context is None
    assert [link.type for link in info.chain()] == ["ZeroDivisionError", "ValueError"]


def test_a_context_is_kept_suppressed_or_not():
    info = take(raise_during)
    assert (info.context.type, info.cause, info.suppress_context) == (
        "ZeroDivisionError", None, False,
    )  # fmt: skip
    quiet = take(raise_from_none)
    assert quiet.context.type == "ZeroDivisionError"
    assert quiet.suppress_context
    assert "ZeroDivisionError" not in str(quiet)


def test_a_context_beside_a_cause_is_kept():
    def fail():
        try:
            divide(7)
        except ZeroDivisionError:
            raise ValueError("x") from KeyError("cause")

    info = take(fail)
    assert (info.cause.type, info.context.type) == ("KeyError", "ZeroDivisionError")


def test_cycles_end():
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    first.__context__, second.__context__ = first, second
    info = TracebackInfo.from_exception(first)
    assert [link.type for link in info.chain()] == ["KeyError", "ValueError"]
    alone = ValueError("alone")
    alone.__cause__ = alone
    assert TracebackInfo.from_exception(alone).cause is None
    members = [ValueError("member")]
    group = ExceptionGroup("group", members)
    members[0].__context__ = group
    assert [member.type for member in TracebackInfo.from_exception(group).group] == ["ValueError"]


def test_a_long_chain_keeps_both_ends():
    error = None
    for number in range(2000):
        following = ValueError(number)
        following.__context__ = error
        error = following
    info = TracebackInfo.from_exception(error)
    messages = [int(link.message) for link in info.chain()]
    assert messages == [*range(10), *range(1990, 2000)]
    assert "[1980 more exceptions between these two]" in str(info)
    json.dumps(info.to_json())


def test_groups_are_kept_and_bounded():
    info = take(raise_group)
    assert info.message == "several (2 sub-exceptions)"
    assert [member.type for member in info.group] == ["ZeroDivisionError", "ExceptionGroup"]
    assert info.group[0].frames[-1].name == "divide"
    assert info.group[1].group[0].final_line == "KeyError: 'x'"

    wide = TracebackInfo.from_exception(ExceptionGroup("g", [ValueError(n) for n in range(500)]))
    assert len(wide.group) == MAX_GROUP
    assert wide.omitted == "[450 more exceptions in this group]"

    deep = ValueError("deepest")
    for _ in range(500):
        deep = ExceptionGroup("g", [deep])
    levels = 0
    info = TracebackInfo.from_exception(deep)
    while info.group:
        info = info.group[0]
        levels += 1
    assert levels == MAX_NESTING
    assert info.omitted == "[1 more exceptions in this group]"


def count(info):
    behind = [link for link in (info.cause, info.context) if link is not None]
    return 1 + sum(count(link) for link in [*behind, *info.group])


def test_all_exceptions_together_are_bounded():
    group = [ValueError(n) for n in range(10)]
    for _ in range(4):
        group = [ExceptionGroup("g", [clone(error) for error in group]) for _ in range(10)]
    info = TracebackInfo.from_exception(ExceptionGroup("g", group))
    assert count(info) <= MAX_EXCEPTIONS + 1
    assert "more exceptions in this group" in str(info)


def clone(error):
    if isinstance(error, ExceptionGroup):
        return ExceptionGroup("g", [clone(member) for member in error.exceptions])
    return ValueError(*error.args)


# Kinds of source and of errors


def test_a_syntax_error_has_its_place():
    info = take(compile, "x = 1\n  y = (", "job.py", "exec")
    assert info.final_line == "IndentationError: unexpected indent"
    assert info.details[0] == '  File "job.py", line 2'
    info = take(compile, "  \nvalue = )", "job.py", "exec")
    assert info.final_line == "SyntaxError: unmatched ')'"
    assert info.details == ['  File "job.py", line 2', "    value = )", "            ^"]
    assert str(info).endswith("    value = )\n            ^\nSyntaxError: unmatched ')'\n")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("x",),
        ("x", (1, "2", [], {})),
        ("x", ("f", 3, 10**9, "text")),
        ("x", ("f", 3, -1, "text")),
        ("x", ("f", 3, 1, "x" * 10**6)),
        (7,),
    ],
)
def test_a_syntax_error_made_by_hand_may_hold_anything(arguments):
    info = TracebackInfo.from_exception(SyntaxError(*arguments))
    assert info.type == "SyntaxError"
    assert len(info.details) <= 2


def test_notes_are_kept():
    error = caught(divide, 7)
    error.add_note("first\nof two lines")
    error.add_note("second")
    info = TracebackInfo.from_exception(error)
    assert info.notes == ["first\nof two lines", "second"]
    assert str(info).endswith("division by zero\nfirst\nof two lines\nsecond\n")


@pytest.mark.parametrize(
    ("notes", "expected"), [("text", ["t", "e", "x", "t"]), (7, []), ([7, None], ["7", "None"])]
)
def test_notes_may_be_anything(notes, expected):
    error = ValueError()
    error.__notes__ = notes
    assert TracebackInfo.from_exception(error).notes == expected


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_source_that_is_not_ascii_is_shown(tmp_path, encoding):
    """original #25"""
    path = tmp_path / "caffè.py"
    source = f"# -*- coding: {encoding} -*-\ncittà = 'così'\nraise ValueError(città)\n"
    path.write_bytes(source.encode(encoding))
    info = take(run, path.read_bytes(), str(path))
    assert dict(info.frames[-1].context)[2] == "città = 'così'"
    assert info.frames[-1].locs["città"] == "'così'"
    assert info.final_line == "ValueError: così"


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None], ids=["undecodable", "missing"])
def test_source_that_can_t_be_read_is_left_out(tmp_path, content):
    path = tmp_path / "job.py"
    if content is not None:
        path.write_bytes(content)
    frame = take(run, "1/0", str(path)).frames[-1]
    assert (frame.filename, frame.lineno, frame.line, frame.context) == (str(path), 1, "", [])


@pytest.mark.parametrize("filename", ["/dev/zero", "/", "", "x" * 5000, "<string>"])
def test_a_file_name_that_is_no_file_does_no_harm(filename):
    frame = take(run, "x = 1\n1/0", filename).frames[-1]
    assert frame.context == []
    assert frame.filename
    assert frame.locs == {"x": "1"}


def test_source_too_large_to_read_at_once_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("jobcontrol.utils.frames.MAX_SOURCE_BYTES", 3)
    path = tmp_path / "job.py"
    path.write_text("1/0 ")
    assert take(run, "1/0", str(path)).frames[-1].context == []


def test_long_lines_are_trimmed(tmp_path):
    path = tmp_path / "job.py"
    path.write_text("1/0 #" + "x" * 100_000)
    line = take(run, "1/0", str(path)).frames[-1].line
    assert len(line) == 500
    assert line.endswith("...")


def test_a_loader_that_raises_does_no_harm():
    class Loader:
        def get_source(self, name):
            raise SystemExit

    info = take(lambda: run("1/0", "virtual.py", __name__="virtual", __loader__=Loader()))
    assert info.frames[-1].filename == "virtual.py"


def test_source_that_only_the_module_s_loader_knows_is_shown():
    class Loader:
        def get_source(self, name):
            return "1/0  # of a virtual file\n"

    info = take(lambda: run("1/0", "virtual-2.py", __name__="virtual", __loader__=Loader()))
    assert info.frames[-1].line == "1/0  # of a virtual file"


def test_generators_and_coroutines_are_neither_run_nor_lost():
    def numbers():
        yield 1
        inner = (n for n in [1])
        divide(7)
        yield inner

    async def coroutine():
        waiting = numbers()
        list(numbers())
        return waiting

    started = coroutine()
    info = take(started.send, None)
    assert [frame.name.rpartition(".")[2] for frame in info.frames[1:]] == [
        "coroutine", "numbers", "divide",
    ]  # fmt: skip
    assert info.frames[1].locs["waiting"].startswith("<generator object")


# Formats


def test_the_plain_format_is_python_s_with_locals():
    info = take(raise_from)
    first, last = divide.__code__.co_firstlineno, raise_from.__code__.co_firstlineno
    assert (
        f'  File "{__file__}", line {first + 3}, in divide\n'
        "    result = dividend / divisor\n"
        "        dividend = 7\n"
        "        divisor = 0\n"
        "ZeroDivisionError: division by zero\n"
        "\n"
        "The above exception was the direct cause of the following exception:\n"
        "\n"
        "Traceback (most recent call last):\n"
    ) in info.format()
    assert f'line {last + 4}, in raise_from\n    raise ValueError("bad") from error\n' in str(info)
    assert str(info).endswith("\nValueError: bad\n")
    assert ("\nDuring handling of the above exception, another exception occurred:\n") in take(
        raise_during
    ).format()


def test_the_format_of_a_group_shows_its_members():
    text = take(raise_group).format()
    assert "\nExceptionGroup: several (2 sub-exceptions)\n  | exception 1 of the group:\n" in text
    assert "\n  |   ZeroDivisionError: division by zero\n" in text
    assert "\n  |     |   KeyError: 'x'\n" in text


def test_the_colour_format_shows_the_lines_around_and_no_control_characters():
    def fail():
        name = "\x1b[2J\x9b\r"
        raise ValueError(name)

    error = caught(fail)
    text = TracebackInfo.from_exception(error).format_color()
    assert "\x1b[1;38;5;203mValueError: \\x1b[2J\\x9b\\r\x1b[0m\n" in text
    assert "\x1b[2J" not in text
    assert "\x9b" not in text
    assert f">{fail.__code__.co_firstlineno + 2:>6}         raise ValueError(name)" in text
    assert f" {fail.__code__.co_firstlineno + 1:>6}         name = " in text


def test_exceptions_of_a_module_are_named_with_it():
    assert take(raise_it, EvilString()).full_type == f"{__name__}.EvilString"
    assert take(raise_it, ValueError()).final_line == "ValueError"
