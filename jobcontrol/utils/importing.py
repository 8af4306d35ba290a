"""Objects by name."""

from __future__ import annotations

import difflib
import importlib
from types import ModuleType
from typing import Any


def import_object(name: str) -> Any:
    """Import the object that `name` means: `package.module:name` or `package.module:Class.name`.

    Raises TypeError or ValueError for a malformed name, ModuleNotFoundError when there is no such
    module, AttributeError when the module lacks the name. Whatever the module itself raises while
    it is imported passes through, with a note that says whose import it was.
    """
    module_name, attributes = _split(name)
    found: Any = _import_module(module_name, name)
    place = f"module {module_name!r}"
    for attribute in attributes:
        try:
            found = getattr(found, attribute)
        except AttributeError as error:
            raise AttributeError(
                f"can't import {name!r}: {place} has no {attribute!r}{_hint(found, attribute)}",
                name=attribute,
                obj=found,
            ) from error
        place = f"{attribute!r} in {place}"
    return found


def _split(name: str) -> tuple[str, list[str]]:
    if not isinstance(name, str):
        raise TypeError(
            f"an object's name must be text such as 'package.module:name', "
            f"not {type(name).__name__!r}"
        )
    module_name, colon, path = name.partition(":")
    parts = [*module_name.split("."), *path.split(".")]
    if not colon or ":" in path or any(not part or part != part.strip() for part in parts):
        raise ValueError(f"{name!r} is not the name of an object: write 'package.module:name'")
    return module_name, path.split(".")


def _import_module(module_name: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # The module itself, or a package above it; else it is there and lacks one of its own.
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise ModuleNotFoundError(
                f"can't import {name!r}: {error.msg}. Is its folder on python_path, "
                "or its package installed?",
                name=error.name,
            ) from error
        error.add_note(f"while importing module {module_name!r} for {name!r}")
        raise
    except BaseException as error:
        error.add_note(f"while importing module {module_name!r} for {name!r}")
        raise


def _hint(owner: object, attribute: str) -> str:
    near = difflib.get_close_matches(attribute, map(str, dir(owner)), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
