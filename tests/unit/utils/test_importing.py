import sys

import pytest

from jobcontrol.utils import import_object


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """A folder of modules to import from; whatever was imported is forgotten."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_functions_classes_and_their_attributes_are_found():
    assert import_object("json:dumps") is __import__("json").dumps
    assert import_object("os.path:join") is __import__("os").path.join
    assert import_object("collections:OrderedDict.fromkeys")("a") == {"a": None}


@pytest.mark.parametrize(
    "name",
    ["", ":", "json", "json.dumps", ":dumps", "json:", "json:a:b", ".json:x", "a..b:c",
     "json:dumps.", "json: dumps", " json:dumps", "json:dumps\n"],
)  # fmt: skip
def test_a_malformed_name_is_refused_with_the_right_form(name):
    """original #20"""
    with pytest.raises(ValueError, match="write 'package.module:name'") as caught:
        import_object(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", [None, 7, b"json:dumps", ["json", "dumps"]])
def test_a_name_that_is_no_text_is_refused(name):
    with pytest.raises(TypeError, match="must be text such as 'package.module:name'"):
        import_object(name)


@pytest.mark.parametrize(
    ("name", "missing"),
    [("no_such:f", "no_such"), ("no_such.sub:f", "no_such"), ("json.no_such:f", "json.no_such"),
     ("sys.sub:f", "sys.sub")],
)  # fmt: skip
def test_a_missing_module_is_named(name, missing):
    """original #20"""
    with pytest.raises(ModuleNotFoundError, match=f"can't import '{name}'.*'{missing}'") as caught:
        import_object(name)
    assert caught.value.name == missing


def test_a_missing_attribute_is_named_with_the_nearest():
    """original #20"""
    with pytest.raises(AttributeError, match="'json' has no 'dump_s'; did you mean 'dumps'"):
        import_object("json:dump_s")
    with pytest.raises(AttributeError, match="'OrderedDict' in module 'collections' has no 'zzz'$"):
        import_object("collections:OrderedDict.zzz")


def test_a_module_that_lacks_another_is_not_called_missing(modules):
    (modules / "half.py").write_text("import no_such_dependency\n")
    with pytest.raises(ModuleNotFoundError, match="^No module named 'no_such_dep") as caught:
        import_object("half:f")
    assert caught.value.__notes__ == ["while importing module 'half' for 'half:f'"]


def test_a_module_that_lacks_its_neighbour_of_a_similar_name_is_not_called_missing(modules):
    (modules / "half_2.py").write_text("import half\n")
    with pytest.raises(ModuleNotFoundError, match="^No module named 'half'"):
        import_object("half_2:f")


@pytest.mark.parametrize(
    ("source", "error"),
    [("1/0", ZeroDivisionError), ("raise SystemExit(3)", SystemExit), ("def", SyntaxError)],
)
def test_what_a_module_raises_passes_through_with_a_note(modules, source, error):
    (modules / "failing.py").write_text(source)
    with pytest.raises(error) as caught:
        import_object("failing:f")
    assert caught.value.__notes__ == ["while importing module 'failing' for 'failing:f'"]
