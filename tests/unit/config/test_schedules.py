"""`schedule` as the file says it, and the times that follow from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import schedules
from jobs.config import ConfigError, load_text
from jobs.redaction import Redactor
from jobs.references import Retval, Secret, Text
from jobs.schedules import Schedule

MINUTE = timedelta(minutes=1)
# The days on which the clock is changed, and those around them.
CHANGES = [
    ("Europe/Rome", datetime(2026, 3, 29, tzinfo=UTC)),
    ("Europe/Rome", datetime(2026, 10, 25, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, tzinfo=UTC)),
]


def steps(top: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    return st.integers(1, top).map(lambda n: (f"*/{n}", frozenset(range(0, top, n))))


def numbers(top: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    chosen = st.sets(st.integers(0, top - 1), min_size=1, max_size=6)
    return chosen.map(lambda found: (",".join(map(str, sorted(found))), frozenset(found)))


def field(top: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    return st.one_of(st.just(("*", frozenset(range(top)))), steps(top), numbers(top))


def scan(
    minutes: frozenset[int],
    hours: frozenset[int],
    *,
    zone: ZoneInfo,
    after: datetime,
    hours_on: int,
    fixed: bool,
) -> list[datetime]:
    """Look at every minute: the rules of cron, in the plainest way."""
    found = []

    def fits(local: datetime) -> bool:
        return local.minute in minutes and local.hour in hours

    now = after.replace(second=0, microsecond=0)
    while (now := now + MINUTE) <= after + timedelta(hours=hours_on):
        local, before = now.astimezone(zone), (now - MINUTE).astimezone(zone)
        shown = local.replace(tzinfo=None)
        due = fits(shown)
        if fixed:
            due = due and not local.fold
            left_out = before.replace(tzinfo=None) + MINUTE
            while left_out < shown:
                due = due or fits(left_out)
                left_out += MINUTE
        if due:
            found.append(now)
    return found


@settings(max_examples=150, deadline=None)
@given(field(60), field(24), st.sampled_from(CHANGES), st.integers(-30 * 60, 30 * 60), st.data())
def test_times_are_those_of_a_look_at_every_minute(minutes, hours, change, shift, data) -> None:
    name, day = change
    zone = ZoneInfo(name)
    after = day + MINUTE * shift
    fixed = not (minutes[0].startswith("*") or hours[0].startswith("*"))
    expected = scan(minutes[1], hours[1], zone=zone, after=after, hours_on=30, fixed=fixed)
    entry = Schedule(cron=f"{minutes[0]} {hours[0]} * * *", timezone=name)
    until = after + timedelta(hours=30)
    found = list(takewhile(lambda due: due <= until, entry.due_after(after)))
    assert found == expected
    # From any moment on they are the same: a restart loses none and doubles none.
    middle = after + timedelta(seconds=data.draw(st.integers(0, 30 * 3600)))
    rest = list(takewhile(lambda due: due <= until, entry.due_after(middle)))
    assert rest == [due for due in expected if due > middle]
    assert entry.newest_due(after, until) == (expected[-1] if expected else None)
    assert entry.newest_due(after, middle) == max(
        (due for due in expected if due <= middle), default=None
    )


@given(
    st.floats(1, 10**6),
    st.sampled_from([name for name, _ in CHANGES]),
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
    st.integers(1, 5),
)
def test_every_is_never_shifted_by_the_moment_of_asking(seconds, zone, moment, count) -> None:
    entry = Schedule(every=seconds, timezone=zone)
    times = entry.due_after(moment)
    first = next(times)
    step = timedelta(seconds=seconds)
    assert moment < first <= moment + step
    for number in range(1, count + 1):
        assert next(times) == first + number * step
    assert next(entry.due_after(first - timedelta(microseconds=1))) == first
    assert next(entry.due_after(first)) == first + step


@pytest.mark.parametrize(
    ("zone", "every", "due"),
    [
        ("UTC", 7 * 86_400, "2026-11-30T00:00:00+00:00"),  # a Monday
        ("Europe/Rome", 86_400, "2026-11-25T00:00:00+01:00"),
    ],
)
def test_every_counts_from_the_beginning_of_a_week(zone: str, every: float, due: str) -> None:
    entry = Schedule(every=every, timezone=zone)
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert next(entry.due_after(now)) == datetime.fromisoformat(due)


def test_six_fields_begin_with_the_second() -> None:
    entry = Schedule(cron="*/20 0 3 * * *", timezone="Europe/Rome")
    times = entry.due_after(datetime(2026, 11, 24, tzinfo=UTC))
    assert [f"{next(times):%H:%M:%S}" for _ in range(3)] == ["02:00:00", "02:00:20", "02:00:40"]


def test_several_entries_are_merged() -> None:
    entries = [Schedule(every=3600), Schedule(cron="30 * * * *")]
    times = schedules.runs_after(entries, datetime(2026, 11, 24, tzinfo=UTC))
    assert [f"{due:%H:%M} {entry}" for due, entry in (next(times) for _ in range(3))] == [
        "00:30 30 * * * *", "01:00 every 1h", "01:30 30 * * * *",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, []),
        ([], []),
        ("0 3 * * *", [Schedule(cron="0 3 * * *")]),
        ("  0  3 * *   mon-FRI ", [Schedule(cron="0 3 * * mon-FRI")]),
        ("every 10m", [Schedule(every=600)]),
        ({"every": 90}, [Schedule(every=90)]),
        ({"cron": ["0 3 * * *", "0 4 * * *"], "overlap": "queue"},
         [Schedule(cron=f"0 {hour} * * *", overlap="queue") for hour in (3, 4)]),
        ([{"every": "1h", "catch_up": "all"}, "0 0 L * *"],
         [Schedule(every=3600, catch_up="all"), Schedule(cron="0 0 L * *")]),
        ({"cron": "0 3 * * *", "timezone": "Europe/Rome", "args": [1], "kwargs": {"x": 2}},
         [Schedule(cron="0 3 * * *", timezone="Europe/Rome", args=[1], kwargs={"x": 2})]),
        ({"every": "1h", "args": [], "timezone": None}, [Schedule(every=3600, args=[])]),
    ],
)  # fmt: skip
def test_all_ways_to_write_it(value: object, wanted: list[Schedule]) -> None:
    assert schedules.read(value) == (tuple(wanted), [])


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (5, "must be a cron expression"),
        (["0 3 * * *", None], "entry 2: must be a cron expression"),
        ({}, "has neither 'cron' nor 'every'"),
        ({"cron": "0 3 * * *", "every": "1h"}, "has both 'cron' and 'every'"),
        ({"every": 10**400}, "'every' must be above 0 and at most ten years"),
        ({"every": 0.5}, "'every' must be a second at least, not 0.5s"),
        ({"every": "soon"}, "or such as 90s, 10m, 2h or 1d, not 'soon'"),
        ({"every": 60, "timezone": "Europe/Rom"}, "'Europe/Rom'; did you mean 'Europe/Rome'"),
        ({"every": 60, "timezone": "Europe"}, "there is no time zone 'Europe'"),
        ({"every": 60, "timezone": "../../etc/passwd"}, "there is no time zone"),
        ({"every": 60, "catch_up": "lst"}, "none, last or all, not 'lst'; did you mean 'last'"),
        ({"every": 60, "overlap": []}, "'overlap' must be skip, queue or allow"),
        ({"every": 60, "catchup": "all"}, "'catchup' is no part of it; did you mean 'catch_up'"),
        ({"every": 60, "args": {}}, "'args' must be a list"),
        ({"every": 60, "kwargs": {1: 2}}, "an argument's name must be text"),
        ({"cron": []}, "must not be an empty list"),
        ({"cron": ["0 3 * * *", 5]}, "'cron' must be text, not a number"),
        ("0 3 * *", "must have five fields"),
        ("0 25 * * *", "'25' is no hour (0 to 23"),
        ("0 3 * * MOM", "'MOM' is no day of the week"),
        ("0 0 30 2 *", "there is no such day"),
        ("* * */20 * 1L", "there is no such day"),
        ("0 3 * * " + "1," * 200, "is longer than 200 characters"),
        (["every 1h", {"every": 3600}], "entry 2: 'every 1h' stands here twice"),
        ([{"every": n} for n in range(1, 102)], "has 101 entries; at most 100"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(value: object, wanted: str) -> None:
    _, mistakes = schedules.read(value)
    assert any(wanted in text for _, text in mistakes), mistakes


def test_a_mistake_makes_no_second_one() -> None:
    """What stands in for the wrong part must not make the entry like another."""
    _, mistakes = schedules.read(["0 3 * * *", {"cron": "0 3 * * *", "timezone": "Mars"}])
    assert [text for _, text in mistakes] == ["entry 2: there is no time zone 'Mars'"]


@given(st.text(max_size=30) | st.text("0123456789*/,-#LW ", max_size=30))
def test_no_text_breaks_the_reading(text: str) -> None:
    entries, mistakes = schedules.read(text)
    assert bool(entries) != bool(mistakes)


def test_all_mistakes_are_told_at_once_with_job_key_line_and_entry() -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(
            "jobs:\n  - id: a\n    function: m:f\n    rebuild: atuo\n    schedule:\n"
            '      - "0 3 * * *"\n      - {cron: "61 3 * * *", timezone: Mars}\n'
            "      - {every: 0.1, overlap: wait}\n"
        )
    found = [(problem.job, problem.key, problem.line) for problem in caught.value.problems]
    at_entries = [("a", "schedule", 7), ("a", "schedule", 7), ("a", "schedule", 8)]
    assert found == [("a", "rebuild", 4), *at_entries, ("a", "schedule", 8)]
    text = str(caught.value)
    assert "must be manual or auto, not 'atuo'; did you mean 'auto'?" in text
    assert "entry 2: '61 3 * * *': '61' is no minute" in text
    assert "entry 3: 'every' must be a second at least" in text


def test_a_job_that_is_rebuilt_by_itself() -> None:
    loaded = load_text(
        "jobs:\n  - {id: a, function: m:f, rebuild: auto}\n  - {id: b, function: m:f}\n"
        "  - {id: c, function: m:f, rebuild: auto, protect: true}\n"
    )
    assert [spec.rebuilds_itself for spec in loaded.jobs] == [True, False, False]
    (warning,) = loaded.warnings
    assert (warning.job, warning.key, warning.line) == ("c", "rebuild", 4)


def test_references_in_arguments_are_checked_and_make_dependencies() -> None:
    text = (
        "secret: {key: hush}\njobs:\n  - {id: a, function: m:f}\n"
        "  - {id: b, function: m:f, schedule: {every: 1h, args: [!retval a, !secret key]}}\n"
    )
    assert load_text(text).job("b").dependencies == ["a"]
    with pytest.raises(ConfigError, match="there is no secret 'kye' under 'secret:'"):
        load_text(text.replace("!secret key", "!secret kye"))


def test_an_entry_is_stored_with_its_zone_and_without_secrets() -> None:
    entry = Schedule(cron="0 3 * * *", args=[Retval("a"), "hush-hush"], kwargs={"x": (1, 2)})
    masker = Redactor({"key": "hush-hush"})
    row = entry.to_json(site_zone="Europe/Rome", masker=masker)
    assert "hush" not in str(row)
    ((key, again),) = schedules.stored([row]).items()
    assert key == row["key"]
    args = [Retval("a"), Text((Secret("key"),))]
    zone = "Europe/Rome"
    assert again == Schedule(cron="0 3 * * *", timezone=zone, args=args, kwargs={"x": (1, 2)})
    assert entry.to_json(site_zone="UTC", masker=masker)["key"] != key
