import logging
import pickle
import time
from types import SimpleNamespace

import pytest

from jobcontrol import globals as job_globals
from jobcontrol.exceptions import NotInBuild, SkipBuild
from jobcontrol.utils import testing
from jobcontrol.utils.testing import NonSerializableException, NonSerializableObject


class App:
    def __init__(self):
        self.reports = []

    def report_progress(self, group_name, current, total, status_line=""):
        self.reports.append((group_name, current, total, status_line))


@pytest.fixture
def context():
    context = SimpleNamespace(
        current_app=App(),
        current_job=SimpleNamespace(id="crawl"),
        current_build=SimpleNamespace(id=7, config={"dependencies": ["a"], "args": [1]}),
        job_id="crawl",
        build_id=7,
    )
    job_globals.push(context)
    yield context
    job_globals.pop(context)


@pytest.fixture
def handler():
    handler = testing.RecordingLogHandler()
    logger = logging.getLogger(testing.__name__)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_the_echo_returns_its_arguments():
    assert testing.job_simple_echo(1, "b", c=[2]) == ((1, "b"), {"c": [2]})


def test_the_testing_job_reports_ten_steps_of_the_root_by_default(context):
    assert testing.testing_job(retval="done") == "done"
    reports = context.current_app.reports
    assert [report[:3] for report in reports] == [(None, step, 10) for step in range(1, 11)]
    assert reports[2][3] == "Doing action None [3/10]"


def test_the_testing_job_reports_each_group_to_its_end(context):
    """original #27"""
    testing.testing_job([(["a", "b"], 3), (("c",), 2), (None, 1)])
    reports = context.current_app.reports
    assert len(reports) == 6
    for group, total in ((("a", "b"), 3), (("c",), 2), (None, 1)):
        steps = [report[1:3] for report in reports if report[0] == group]
        assert steps == [(step, total) for step in range(1, total + 1)]


def test_the_testing_job_reports_in_random_order(context):
    testing.testing_job([(("a",), 50), (("b",), 50)])
    order = [report[0] for report in context.current_app.reports]
    assert order not in ([("a",)] * 50 + [("b",)] * 50, [("b",)] * 50 + [("a",)] * 50)


@pytest.mark.parametrize("steps", [[], [(None, 5)]])
def test_the_testing_job_fails_or_skips_when_told(context, steps):
    """original #2"""
    for _ in range(20):
        with pytest.raises(RuntimeError, match="This is a simulated exception"):
            testing.testing_job(steps, fail=True)
        with pytest.raises(SkipBuild, match="This is a simulated skip"):
            testing.testing_job(steps, skip=True)


def test_the_testing_job_logs_every_message(context, handler):
    messages = [(logging.INFO, "one"), (logging.ERROR, "two %s"), (logging.DEBUG, "three")]
    testing.testing_job([(None, 2)], log_messages=messages)
    assert [(record.levelno, record.getMessage()) for record in handler.messages] == messages


def test_the_testing_job_takes_its_time(context):
    start = time.monotonic()
    testing.testing_job([(None, 2)], step_duration=20)
    assert time.monotonic() - start >= 0.04


def test_the_testing_job_refuses_group_names_that_are_texts(context):
    with pytest.raises(TypeError, match="must be a tuple, a list or None, not 'str'"):
        testing.testing_job([("abc", 3)])


def test_messages_of_all_levels_are_logged(handler):
    """original #26"""
    testing.job_with_logging()
    levels = [record.levelname for record in handler.messages]
    assert levels == ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "ERROR"]
    assert isinstance(handler.messages[-1].exc_info[1], ValueError)


def test_the_tracer_names_job_and_build(context, handler):
    testing.job_with_tracer_log()
    assert handler.messages[0].getMessage() == "Message from job=crawl, build=7"


def test_the_configuration_is_echoed(context):
    assert testing.job_echo_config(1, b=2) == {
        "args": (1,),
        "kwargs": {"b": 2},
        "build_id": 7,
        "job_id": "crawl",
        "dependencies": ["a"],
        "config": {"dependencies": ["a"], "args": [1]},
    }


def test_the_configuration_may_leave_out_dependencies(context):
    context.current_build.config = {}
    assert testing.job_echo_config()["dependencies"] == []


@pytest.mark.parametrize(
    "job", [testing.testing_job, testing.job_with_tracer_log, testing.job_failing_once,
            testing.job_echo_config]
)  # fmt: skip
def test_jobs_that_need_a_build_say_so(job):
    with pytest.raises(NotInBuild):
        job()


def test_recorded_messages_can_be_printed_and_cleared(handler, capsys):
    testing.job_with_logging()
    handler.flush()
    handler.print_messages()
    printed = capsys.readouterr().out
    assert "INFO jobcontrol.utils.testing: This is an info message\n" in printed
    assert printed.endswith("ValueError: Foobar\n")
    handler.clear_messages()
    assert handler.messages == []


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("make", [NonSerializableObject, NonSerializableException])
def test_what_can_t_be_pickled_can_t(make, protocol):
    """original #21"""
    with pytest.raises(TypeError, match="cannot pickle 'NonSerializableObject' object"):
        pickle.dumps(make(), protocol)
    assert (NonSerializableObject().foo, NonSerializableObject().bar) == ("foo", "bar")


def test_jobs_return_and_raise_what_can_t_be_pickled():
    assert isinstance(testing.job_returning_nonserializable(), NonSerializableObject)
    with pytest.raises(NonSerializableException) as caught:
        testing.job_raising_nonserializable()
    assert isinstance(caught.value.nso, NonSerializableObject)
