"""After builds that do everything with a secret, no column of any table holds it."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection

from builds import retvals
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "s3cr&t/wörd \"quoted\" 'too'"

CONFIG = """
secret:
  api_key: __SECRET__
  from_env: {{ env.JOBCONTROL_TEST_SECRET }}
jobs:
{% for where in ["raise", "skip", "return", "unpicklable", "value"] %}
  - id: leak_{{ where }}
    function: tests.support.odd_jobs:leak
    args: [!secret api_key, {{ where }}]
    repr_function: null
{% endfor %}
  - id: consumer
    function: tests.support.odd_jobs:leak
    kwargs: {secret: !retval leak_value, where: raise}
  - id: typed
    notes: the key is __PLAIN__
    function: tests.support.odd_jobs:leak
    kwargs: {secret: __SECRET__, where: return}
  - id: environment
    function: tests.support.odd_jobs:value
    args: ["postgres://user:{{ env.JOBCONTROL_TEST_SECRET }}@host/db"]
"""


def forms(secret: str) -> list[str]:
    made = [secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret), quote_plus(secret)]
    made += [quote(secret, safe="")]
    made += [base64.b64encode(secret.encode()).decode().rstrip("=")[:-1]]
    return made


def every_value():
    """Yield (table, column, row) of the whole database, as bytes."""
    with connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            table = model._meta.db_table
            cursor.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                for name, value in zip(names, row, strict=True):
                    if isinstance(value, memoryview):
                        value = bytes(value)
                    yield table, name, value if isinstance(value, bytes) else str(value).encode()


def test_a_secret_is_nowhere_in_the_database(monkeypatch):
    """original #18"""
    from_env = "env-secret-value-0815"
    monkeypatch.setenv("JOBCONTROL_TEST_SECRET", from_env)
    text = CONFIG.replace("__SECRET__", json.dumps(SECRET)).replace("__PLAIN__", from_env)
    use_config(text)
    ended = {
        name: build(name)
        for name in (
            "leak_raise",
            "leak_skip",
            "leak_return",
            "leak_unpicklable",
            "leak_value",
            "consumer",
            "typed",
            "environment",
        )
    }
    # The jobs themselves got the real thing.
    assert retvals.unseal(ended["leak_value"].pk, ended["leak_value"].payload.retval) == SECRET
    typed = ended["typed"]
    assert retvals.unseal(typed.pk, typed.payload.retval) == {"password": SECRET}
    environment = ended["environment"]
    url = f"postgres://user:{from_env}@host/db"
    assert retvals.unseal(environment.pk, environment.payload.retval) == url
    assert ended["leak_raise"].exception_message.startswith("wrong password '•••")
    assert ended["leak_skip"].exception_message == "not with •••"
    assert any("•••" in row.message for row in ended["leak_raise"].log_messages.all())
    wanted = [*forms(SECRET), from_env, settings.SECRET_KEY]
    found = [
        (table, name, form)
        for table, name, value in every_value()
        for form in wanted
        if form.encode() in value
    ]
    assert found == []
