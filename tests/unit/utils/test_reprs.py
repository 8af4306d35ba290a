import array
import collections
import dataclasses
import sys
import tracemalloc
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobcontrol.utils import short_repr
from jobcontrol.utils.reprs import bounded_repr, type_name


@dataclasses.dataclass
class Point:
    x: object
    y: object = dataclasses.field(repr=False, default=0)


@dataclasses.dataclass(repr=False)
class Point3(Point):
    z: object = 1


@dataclasses.dataclass
class Masked:
    password: str

    def __repr__(self):
        return "Masked(•••)"


Pair = collections.namedtuple("Pair", "left right")


class Words(list):
    pass


class Names(frozenset):
    pass


class Loud(list):
    def __repr__(self):
        return "LOUD"


class Failing:
    def __init__(self, error):
        self.error = error

    def __repr__(self):
        raise self.error


class Method:
    def method(self):
        pass

    def __repr__(self):
        return "a method's owner"


SAMPLES = [
    *(None, True, 0, -7, 1.5, 2j, ..., NotImplemented),
    *("", "it's", "both ' and \"", "é\n\x00\ud800", b"", b"\x00'", bytearray(b"ab")),
    *([], [1, [2, "x"]], (), (1,), (1, 2), {}, {"a": [1], 2: {}}),
    *(set(), {1}, frozenset(), frozenset({2}), Words([1]), Names(), Names({1}), Loud([1])),
    *(array.array("i", [1, 2]), array.array("u", "ab"), array.array("d")),
    *(collections.OrderedDict(), collections.deque(), collections.deque([1, 2])),
    *(collections.deque([1], maxlen=3), collections.defaultdict(list, {1: [2]})),
    *(collections.Counter(), collections.Counter("a"), {"a": 1}.keys(), {"a": 1}.values()),
    *(types.MappingProxyType({"a": 1}), types.SimpleNamespace(a=1), types.SimpleNamespace()),
    *(ValueError("x", 1), KeyError(), Point("a", 2), Point3(1), Masked("hunter2"), Pair(1, "b")),
    *(Method().method, [].append, int, len, range(3), object),
]


@pytest.mark.parametrize("value", SAMPLES, ids=lambda value: type(value).__name__)
def test_the_representation_is_the_usual_one(value):
    assert bounded_repr(value, 1000) == (repr(value), False)


values = st.recursive(
    st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(st.text(), inner),
        st.lists(inner).map(collections.deque),
        st.builds(Point, inner, inner),
        st.builds(Pair, inner, inner),
    ),
    max_leaves=20,
)


@given(values, st.integers(0, 200))
def test_a_cut_representation_is_the_beginning_of_the_usual_one(value, limit):
    text, cut = bounded_repr(value, limit)
    whole = repr(value)
    assert len(text) <= limit
    assert cut == (len(whole) > limit)
    # The quotes of a text depend on all of it, of which only the beginning is read.
    unify = str.maketrans({'"': "'", "\\": None})
    if '"' not in whole and "\\" not in whole:
        assert whole.translate(unify).startswith(text.translate(unify))


ERRORS = [RuntimeError("x"), KeyboardInterrupt(), SystemExit(1), GeneratorExit(), RecursionError()]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_repr_that_raises_spoils_only_its_own_place(error):
    text, cut = bounded_repr([1, Failing(error), 2], 1000)
    name = type(error).__name__
    assert text == f"[1, <{type_name(Failing)}: its repr raised {name}>, 2]"
    assert not cut


class NoText:
    def __repr__(self):
        return 7


class Unhashable:
    __hash__ = None

    def __call__(self, *args):
        return "called"


class EvilText(str):
    def __getitem__(self, key):
        raise SystemExit

    def __len__(self):
        raise SystemExit


class EvilList(list):
    def __iter__(self):
        raise SystemExit

    def __len__(self):
        raise SystemExit


class ReprIsEvilText:
    def __repr__(self):
        return EvilText("text")


class EvilRepr:
    __repr__ = Unhashable()


def evil_class():
    """A class that can't even be looked at; made here, as test runners look at all they see."""

    class EvilMeta(type):
        def __getattribute__(cls, name):
            raise KeyboardInterrupt(name)

        def __hash__(cls):
            raise KeyboardInterrupt

        def __eq__(cls, other):
            raise KeyboardInterrupt

    return EvilMeta("Evil", (), {})


def evil_object():
    class Evil:
        def __getattribute__(self, name):
            raise SystemExit(name)

    return Evil()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (NoText, "NoText: its repr raised TypeError>"),
        (evil_object, "Evil object at 0x"),
        (evil_class, ".Evil'>"),
        (lambda: evil_class()(), ".Evil object at 0x"),
        (EvilRepr, "EvilRepr: its repr raised TypeError>"),
        (lambda: EvilText("text"), "'text'"),
        (lambda: EvilList([1, 2]), "[1, 2]"),
        (ReprIsEvilText, "text"),
        (lambda: object.__new__(Point), "Point: its repr raised AttributeError>"),
    ],
)
def test_nothing_that_a_value_does_gets_out(make, expected):
    value = make()
    text, _ = bounded_repr({"key": value}, 1000)
    assert text.startswith("{'key': ")
    assert expected in text
    assert text.endswith("}")
    assert short_repr(value, 1000) in text


def test_endless_and_deep_values_end():
    endless = [1]
    endless.append(endless)
    assert bounded_repr(endless, 1000).text == "[1, ...]"
    deep = []
    for _ in range(100_000):
        deep = [deep]
    text = bounded_repr(deep, 1000).text
    assert text == "[" * 20 + "..." + "]" * 20
    # The same object twice, side by side, is no loop.
    twice = [1]
    assert bounded_repr([twice, twice], 1000).text == "[[1], [1]]"


class Recursive:
    def __repr__(self):
        return repr(self)


def test_a_repr_that_calls_itself_ends():
    assert "its repr raised RecursionError" in bounded_repr(Recursive(), 1000).text


HUGE = 20_000_000


@pytest.mark.parametrize(
    "value",
    [
        "x" * HUGE,
        b"x" * HUGE,
        bytearray(HUGE),
        [0] * HUGE,
        (0,) * HUGE,
        array.array("b", bytes(HUGE)),
        range(HUGE),
        dict.fromkeys(range(HUGE // 100)).values(),
        collections.deque([0]) * (HUGE // 10),
        Point("x" * HUGE),
        Pair("x" * HUGE, 1),
        ValueError("x" * HUGE),
        types.SimpleNamespace(a="x" * HUGE),
        [0].append.__class__ and Words([0]) * HUGE,
        10**1_000_000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_huge_value_costs_no_more_than_what_is_shown(value):
    tracemalloc.start()
    try:
        text, _ = bounded_repr({"value": value}, 1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(text) <= 1000
    assert peak < 200_000


def test_an_integer_too_large_for_the_decimal_writer_is_described():
    assert bounded_repr(10**5000, 100).text == "<integer of 16610 bits>"
    assert sys.get_int_max_str_digits() == 4300


@pytest.mark.parametrize(
    ("maxlen", "expected"),
    [(50, "'abcdefghij'"), (12, "'abcdefghij'"), (11, "'abcdefg..."), (3, "...")],
)
def test_short_repr_cuts_at_the_end(maxlen, expected):
    assert short_repr("abcdefghij", maxlen) == expected


def test_short_repr_is_of_fifty_characters():
    assert short_repr(list(range(100))) == repr(list(range(100)))[:47] + "..."


def test_type_names_say_their_module():
    assert type_name(ValueError) == "ValueError"
    assert type_name(collections.OrderedDict) == "collections.OrderedDict"
    assert type_name(evil_class()) == f"{__name__}.Evil"
    assert type_name(type("X", (), {"__module__": 7})) == "X"
