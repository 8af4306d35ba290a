"""A column for JSON that comes back exactly as it was stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.expressions import Expression

if TYPE_CHECKING:
    _TextField = models.TextField[Any, Any]
else:
    _TextField = models.TextField


def json_text(value: Any) -> str:
    """Return JSON as such a column holds it."""
    return json.dumps(value, ensure_ascii=False)


class JSONTextField(_TextField):
    """JSON as text. PostgreSQL's jsonb would lose the order of keys, and with it that of a dict
    argument or of the locals in a traceback; nothing here is ever searched by its parts.

    Values: whatever `json.dumps` takes. None is NULL.
    """

    # What the type checker's Django plugin reads.
    _pyi_private_set_type: Any
    _pyi_private_get_type: Any

    def get_prep_value(self, value: Any) -> Any:
        """Return the text to store."""
        if value is None or isinstance(value, Expression):
            return value
        return json_text(value)

    def from_db_value(self, value: str | None, *_: Any) -> Any:
        """Return the stored value."""
        return None if value is None else json.loads(value)

    def to_python(self, value: Any) -> Any:
        """Return the value itself: only text of a fixture is parsed."""
        return json.loads(value) if isinstance(value, str) else value

    def value_to_string(self, obj: models.Model) -> str:
        """Return the text for a fixture."""
        return str(self.get_prep_value(self.value_from_object(obj)))
