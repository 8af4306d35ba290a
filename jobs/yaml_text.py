"""Values as YAML to look at."""

from __future__ import annotations

from typing import Any, cast

import yaml

from jobs.redaction import MASK
from jobs.references import Retval, Secret, Text

WIDTH = 100


def to_yaml(value: object) -> str:
    """Return `value` as YAML to look at: `!retval x`, `!secret name`, and a mask in a `Text`."""
    dumped: str = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=False,
        allow_unicode=True,
        sort_keys=False,
        width=WIDTH,
    )
    return dumped.removesuffix("...\n")


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _represent_text(dumper: Any, value: str) -> yaml.Node:
    if not value.isascii():
        value = value.encode("utf-8", "replace").decode()
    has_lines = "\n" in value.lstrip("\n") and ("\n" in value.strip("\n") or value[0] != "\n")
    style = "|" if has_lines else None
    return cast("yaml.Node", dumper.represent_scalar("tag:yaml.org,2002:str", value, style))


def _represent_parts(dumper: Any, value: Text) -> yaml.Node:
    shown = "".join(MASK if isinstance(part, Secret) else part for part in value.parts)
    return _represent_text(dumper, shown)


def _represent_reference(dumper: Any, value: Retval | Secret) -> yaml.Node:
    retval = isinstance(value, Retval)
    name = value.job_id if isinstance(value, Retval) else value.name
    tag = "!retval" if retval else "!secret"
    return cast("yaml.Node", dumper.represent_scalar(tag, name))


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(Text, _represent_parts)
_Dumper.add_representer(Retval, _represent_reference)
_Dumper.add_representer(Secret, _represent_reference)
_Dumper.add_representer(frozenset, _Dumper.represent_set)
