"""Functions are looked at in another process, whatever their modules do there."""

import os
import sys
import textwrap
import time
from pathlib import Path

import pytest

from jobs import checks
from jobs.config import load_object

GOOD = '''
    """A module."""

    def plain(a, b=1, *rest, key="x", **more) -> str:
        """Do it.

        - one
            - indented
        """

    def none(): pass

    class Maker:
        """Makes."""
        def __init__(self, path, *, depth: int = 3): pass
        def method(self): pass

    value = 3
    weird = type("Weird", (), {"__repr__": lambda self: 1 / 0})()
    def odd(a=weird, b=object(), /, *, c={"b", "a"}): pass

    class Called:
        def __call__(self, n): "Call it."
    called = Called()
'''


@pytest.fixture(autouse=True)
def without_django(monkeypatch):
    """These modules need no Django: the process starts faster."""
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    monkeypatch.setattr(checks, "_known", {})


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / f"{name}.py"
        path.write_text(textwrap.dedent(text))
        return path

    write("good", GOOD)
    return write


@pytest.fixture
def check(tmp_path, write):
    """Check jobs given as (function, extra keys); return the results in order."""

    def check(*functions, **options):
        blocks = [
            {"id": str(number), **(f if isinstance(f, dict) else {"function": f})}
            for number, f in enumerate(functions)
        ]
        specs = load_object({"jobs": blocks}).jobs
        found = checks.check_functions(specs, python_path=[str(tmp_path)], **options)
        return [found.get(spec.id) for spec in specs]

    return check


@pytest.fixture
def inspections(monkeypatch):
    """Count the processes that are started."""
    started = []
    original = checks.subprocess.Popen

    def popen(*args, **kwargs):
        started.append(args)
        return original(*args, **kwargs)

    monkeypatch.setattr(checks.subprocess, "Popen", popen)
    return started


def test_a_good_function_has_its_signature_with_defaults_and_its_docstring(check):
    [found] = check({"function": "good:plain", "args": [1]})
    assert found.problem == ""
    assert found.signature == "plain(a, b=1, *rest, key='x', **more) -> str"
    assert found.docstring == "Do it.\n\n- one\n    - indented"


def test_classes_builtins_and_callable_objects_have_docs(check):
    """original #31: a class or builtin as function broke the list."""
    found = check(
        {"function": "good:Maker", "kwargs": {"path": "x"}},
        {"function": "builtins:print", "args": [1, 2]},
        {"function": "builtins:dict", "kwargs": {"a": 1}},
        {"function": "good:called", "args": [1]},
        {"function": "good:Maker.method", "args": [1]},
    )
    assert [one.problem for one in found] == [""] * 5
    assert found[0].signature == "Maker(path, *, depth: int = 3)"
    assert found[0].docstring == "Makes."
    assert found[1].signature.startswith("print(*args, sep=' '")
    assert found[2].signature == "dict(...)"
    assert found[3].signature == "called(n)"


def test_default_values_that_cannot_be_shown_or_differ_each_time_are_shown_the_same(check):
    first = check("good:odd", fresh=True)[0].signature
    assert first == "odd(a=<Weird instance>, b=<object object>, /, *, c={'a', 'b'})"
    assert check("good:odd", fresh=True)[0].signature == first


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"function": "nowhere.at_all:f"}, "there is no module 'nowhere'"),
        ({"function": "good.sub:f"}, "its parent is not a package"),
        ({"function": "good:plian"}, "has no 'plian'; did you mean 'plain'?"),
        ({"function": "good:Maker.nothing"}, "'Maker' of module 'good' has no 'nothing'"),
        ({"function": "good:value"}, "'value' of module 'good' can't be called: it is of type int"),
        ({"function": "good:plain"}, "missing a required argument: 'a'"),
        ({"function": "good:none", "args": [1]}, "too many positional arguments"),
        ({"function": "good:none", "kwargs": {"x": 1}}, "unexpected keyword argument 'x'"),
        ({"function": "good:plain", "args": [1], "kwargs": {"a": 1}}, "multiple values"),
        ({"function": "good:none", "cleanup": "good:gone"}, "cleanup: module 'good' has no 'gone'"),
        (
            {"function": "good:none", "repr_function": "good:none"},
            "repr_function: its arguments don't fit: too many positional arguments",
        ),
    ],
)
def test_a_function_that_cannot_be_called_is_a_problem_of_its_job(check, block, said):
    """original #20: import error, missing attribute, not callable are marked before."""
    assert said in check(block)[0].problem


def test_retval_counts_as_an_argument(check, tmp_path, write):
    write_specs = load_object(
        {
            "jobs": [
                {"id": "a", "function": "good:none"},
                {"id": "b", "function": "good:plain", "args": [{"!": 1}], "dependencies": ["a"]},
            ]
        }
    ).jobs
    found = checks.check_functions(write_specs, python_path=[str(tmp_path)])
    assert found["b"].problem == ""


BAD_MODULES = {
    "raises": ("1 / 0", "ZeroDivisionError: division by zero"),
    "syntax": ("def f(:", "SyntaxError"),
    "exits": ("import sys; sys.exit(3)", "exits when it is imported"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "unshowable": (
        "class E(BaseException):\n    def __str__(self): raise SystemExit\nraise E",
        "E: (its text can't be shown)",
    ),
    "os_exits": ("import os; os._exit(7)", "ends the process (exit status 7)"),
    "kills": ("import os; os.kill(os.getpid(), 9)", "ends the process (SIGKILL)"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "ends the process (SIGSEGV)"),
    "hangs": ("import time; time.sleep(60)", "took more than 3 seconds"),
    "closes": ("import os; os.closerange(0, 256)", "ends the process"),
    "imports_missing": ("import not_there_at_all", "No module named 'not_there_at_all'"),
    "getattr": ("def __getattr__(name): raise RuntimeError(name)", "can't be read: RuntimeError"),
}


def test_modules_that_do_anything_at_all_are_marked_and_the_others_are_checked(check, write):
    functions = []
    for name, (text, _) in BAD_MODULES.items():
        write(f"bad_{name}", text)
        functions += [f"bad_{name}:f", "good:none"]
    write("last", "def f(): pass")
    found = check(*functions, "last:f", module_seconds=3)
    for (name, (_, said)), result in zip(BAD_MODULES.items(), found[::2]):
        assert said in result.problem, name
    assert {result.problem for result in found[1::2]} == {""}
    assert found[-1].problem == ""


ODD_MODULES = {
    "prints": "print('x' * 100000); import sys; sys.stderr.write('y')",
    "reads": "import sys; assert sys.stdin.read() == ''",
    "changes_folder": "import os; os.chdir('/')",
    "forks": "import os\nif os.fork() == 0: pass",
    "closes_streams": "import sys; sys.stdout.close(); sys.stderr = None",
    "alarms": "import signal; signal.alarm(1)",
    "threads": "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()",
    "breaks_json": "import json, builtins; json.dumps = None; builtins.print = None",
}


def test_modules_with_odd_habits_do_no_harm(check, write):
    for name, text in ODD_MODULES.items():
        write(f"odd_{name}", f"{text}\ndef f(): pass")
    write("sleeps", "import time; time.sleep(1.2)\ndef f(): pass")
    began = time.monotonic()
    found = check(*(f"odd_{name}:f" for name in ODD_MODULES), "sleeps:f")
    assert [result and result.problem for result in found] == [""] * (len(ODD_MODULES) + 1)
    assert time.monotonic() - began < 30


def test_a_crash_is_not_blamed_on_the_module_that_came_next(check, write):
    write(
        "bomb",
        """
        import os, threading
        def f(): pass
        threading.Timer(0.7, os._exit, [5]).start()
        """,
    )
    write("victim", "import time; time.sleep(1.5)\ndef f(): pass")
    assert [result.problem for result in check("bomb:f", "victim:f")] == ["", ""]


def test_when_the_time_is_over_the_rest_is_not_reported(check, write):
    write("slow", "import time; time.sleep(60)")
    began = time.monotonic()
    first, slow, last = check("good:none", "slow:f", "builtins:print", total_seconds=2)
    assert first.problem == ""
    assert slow is None
    assert last is None
    assert time.monotonic() - began < 20


def test_nothing_that_a_module_started_stays_behind(check, write, tmp_path):
    write(
        "leaves",
        f"""
        import subprocess
        child = subprocess.Popen(["sleep", "300"])
        open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
        def f(): pass
        """,
    )
    assert check("leaves:f")[0].problem == ""
    pid = int((tmp_path / "pid").read_text())
    state = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + 10
    while state.exists() and state.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_an_unchanged_module_is_not_imported_again(check, inspections):
    check("good:none", "good:plain")
    assert len(inspections) == 1
    check("good:none")
    assert len(inspections) == 1
    check("good:none", fresh=True)
    assert len(inspections) == 2


def test_a_changed_module_is_imported_again(check, write, inspections):
    write("changing", "def f(): pass")
    assert check("changing:f")[0].problem == ""
    path = write("changing", "def g(): pass")
    os.utime(path, ns=(1, 1))
    assert "has no 'f'" in check("changing:f")[0].problem
    assert len(inspections) == 2


def test_a_module_that_failed_is_tried_again_each_time(check, write):
    write("needs", "import helper_that_comes\ndef f(): pass")
    assert "helper_that_comes" in check("needs:f")[0].problem
    write("helper_that_comes", "")
    assert check("needs:f")[0].problem == ""


def test_no_job_module_is_imported_here(check):
    check("good:none")
    assert "good" not in sys.modules


def test_many_jobs_of_one_function_are_one_question(check, inspections):
    found = check(*["good:none"] * 2000)
    assert len(inspections) == 1
    assert {result.signature for result in found} == {"none()"}


def test_modules_that_hide_behind_ours_or_pythons_are_named(tmp_path):
    (tmp_path / "json.py").write_text("")
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "__init__.py").write_text("")
    (tmp_path / "builds").mkdir()  # no Python in it
    (tmp_path / "logging").mkdir()
    (tmp_path / "logging" / "notes.txt").write_text("")
    found = checks.path_clashes([str(tmp_path), str(tmp_path / "gone")])
    assert [line.split(" ")[0] for line in found] == ["'jobs'", "'json'"]
    assert "JobControl's own package" in found[0]
    assert "Python's own module" in found[1]


def test_our_own_folder_in_python_path_is_no_clash():
    assert checks.path_clashes([str(Path(checks.__file__).parent.parent)]) == []


def test_folders_of_python_path_come_after_everything_else(check, write):
    write("json", "raise RuntimeError('the wrong json')")
    assert check({"function": "json:loads", "args": ["1"]})[0].problem == ""
