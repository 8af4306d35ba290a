"""After builds that do everything with secrets, no column of any table holds one."""

from __future__ import annotations

import base64
import json
import uuid
from urllib.parse import quote, quote_plus

import pytest
from django.conf import settings
from django.contrib.admin.models import LogEntry as AdminLogEntry
from django.db import connection

from builds import bulk, deletion, retvals, services, tasks
from builds.deletion_models import Deletion
from builds.models import Build, BuildDependency
from builds.supervisor import Supervisor
from jobcontrol.exceptions import CleanupFailed
from jobs.models import ConfigRevision, Job
from tests.support.jobs import build, messages, use_config

pytestmark = pytest.mark.django_db(transaction=True)

# The core is found in whatever spelling the rest of the secret is written.
CORE = "Zq7CoreOfTheSecret"
SECRET = f"s3cr&t/wörd \"quoted\" 'too' {CORE}"
FROM_ENV = "env-secret-value-0815"
NUMBER = 90817263
PASSWORD = "p4ss-of-the-database"
IN_REDIS = "p4ss-of-the-redis"
IN_STORAGE = "p4ss-of-the-storage"
KEY = "a-key-of-the-file-0123456789-abcdefghijklmnopqrstuvwxyz"

WAYS = ("raise", "skip", "return", "unpicklable", "value", "chain", "group", "class", "threads")

CONFIG = """
secret:
  api_key: __SECRET__
  from_env: {{ env.JOBCONTROL_TEST_SECRET }}
  number: __NUMBER__
storage: "postgresql://user:__STORAGE__@nowhere/db"
webapp: {SECRET_KEY: "__KEY__"}
jobs:
{% for where in __WAYS__ %}
  - id: leak_{{ where }}
    function: tests.support.leaking_jobs:leak
    args: [!secret api_key, {{ where }}]
    repr_function: null
{% endfor %}
{% for name in ["a", "b", "c", "d", "e"] %}
  - id: password_{{ name }}
    function: tests.support.leaking_jobs:leak_setting
    args: [{{ name }}]
{% endfor %}
  - id: consumer
    function: tests.support.leaking_jobs:leak
    kwargs: {secret: !retval leak_value, where: raise}
  - id: typed
    title: with __PLAIN__
    tags: [__PLAIN__]
    notes: the key is __PLAIN__
    my_key: {deep: [__PLAIN__, __NUMBER__]}
    function: tests.support.leaking_jobs:leak
    kwargs: {secret: __SECRET__, where: return}
  - id: environment
    function: tests.support.leaking_jobs:value
    args: ["postgres://user:{{ env.JOBCONTROL_TEST_SECRET }}@host/db", __NUMBER__]
  - id: cleaned
    function: tests.support.leaking_jobs:value
    args: [!secret api_key]
    repr_function: tests.support.leaking_jobs:leaking_repr
    cleanup: tests.support.leaking_jobs:leaking_cleanup
  - id: kept
    function: tests.support.leaking_jobs:value
    args: [!secret api_key]
    cleanup: tests.support.leaking_jobs:failing_cleanup
  - id: unmade
    function: tests.support.leaking_jobs:value
    args: [!secret api_key]
    repr_function: tests.support.leaking_jobs:failing_repr
  - id: outer
    function: tests.support.leaking_jobs:nest
    args: [leak_raise, !secret api_key]
"""


def base64_forms(secret: str) -> list[str]:
    """Return what of the secret's base64 is the same whatever stands around it."""
    found = []
    for offset in range(3):
        text = base64.b64encode(b"x" * offset + secret.encode()).decode().rstrip("=")
        found.append(text[(offset * 8 + 5) // 6 : -1])
    return found


def forms(secret: str) -> list[str]:
    made = [secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret), quote_plus(secret)]
    return [*made, quote(secret, safe=""), *base64_forms(secret)]


def every_value():
    """Yield (table, column, value) of the whole database, Django's own tables and all, as bytes."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                for name, value in zip(names, row, strict=True):
                    if isinstance(value, memoryview):
                        value = bytes(value)
                    yield table, name, value if isinstance(value, bytes) else str(value).encode()


def leaks(*wanted: str) -> set[tuple[str, str, str]]:
    return {
        (table, name, form)
        for table, name, value in every_value()
        for form in wanted
        if form.encode() in value
    }


@pytest.fixture
def config(monkeypatch):
    """The configuration, loaded in a site whose settings have passwords."""
    monkeypatch.setenv("JOBCONTROL_TEST_SECRET", FROM_ENV)
    text = CONFIG.replace("__SECRET__", json.dumps(SECRET)).replace("__PLAIN__", FROM_ENV)
    text = text.replace("__NUMBER__", str(NUMBER)).replace("__STORAGE__", IN_STORAGE)
    text = text.replace("__KEY__", KEY).replace("__WAYS__", json.dumps(WAYS))
    with monkeypatch.context() as patch:
        # Not while builds run: they need the database.
        patch.setitem(settings.DATABASES["default"], "PASSWORD", PASSWORD)
        patch.setattr(settings, "REDIS_URL", f"redis://:{IN_REDIS}@nowhere/0", raising=False)
        use_config(text)


@pytest.mark.usefixtures("config")
def test_a_secret_is_nowhere_in_the_database(monkeypatch, caplog, django_user_model):
    """original #18"""
    from tests.support import leaking_jobs

    monkeypatch.setattr(
        leaking_jobs,
        "SETTINGS",
        {"a": PASSWORD, "b": IN_REDIS, "c": IN_STORAGE, "d": KEY, "e": settings.SECRET_KEY},
    )
    ways = [f"leak_{where}" for where in WAYS]
    others = ("consumer", "typed", "environment", "cleaned", "kept", "unmade", "outer")
    passwords = [f"password_{name}" for name in "abcde"]
    ended = {name: build(name) for name in (*ways, *others, *passwords)}
    # The jobs themselves got the real thing.
    assert retval_of(ended["leak_value"]) == SECRET
    assert retval_of(ended["typed"]) == {"password": SECRET}
    url = f"postgres://user:{FROM_ENV}@host/db"
    assert retval_of(ended["environment"]) == ([url, NUMBER])
    assert ended["leak_raise"].exception_message == "wrong password '•••'"
    assert ended["leak_skip"].exception_message == "not with •••"
    assert any("•••" in row.message for row in ended["leak_raise"].log_messages.all())
    assert ended["cleaned"].payload.retval_text == "shown: •••"
    assert {ended[name].status for name in passwords} == {"FAILED"}
    assert ended["unmade"].status == "SUCCESSFUL"
    assert any("failing_repr failed" in line for line in messages(ended["unmade"]))
    rows = [row for row in ended["leak_raise"].progress.all() if "•••" in row.group_name]
    assert rows
    assert all("•••" in row.status_line for row in rows)

    # Through the queue, as a person asks for it, and deleted again.
    user = django_user_model.objects.create(username="someone")
    for name in ("leak_raise", "cleaned", "kept"):
        job = Job.objects.get(pk=name)
        services.request_build(job=job, trigger="quick", requested_by=user)
    monkeypatch.setattr(tasks, "SLICE_SECONDS", 60.0)
    tasks.work()
    done = deletion.delete_build(build=ended["cleaned"], requested_by=user)
    assert "•••" in done.log
    with pytest.raises(CleanupFailed, match="kept with •••") as failed:
        deletion.delete_build(build=ended["kept"], requested_by=user)
    assert SECRET not in str(failed.value)
    assert Deletion.objects.filter(outcome="failed").exists()
    lost = services.request_build(job=Job.objects.get(pk="typed"), trigger="quick")
    Build.objects.filter(pk=lost.pk).update(
        status="RUNNING", worker="elsewhere:1:2:3", claim_token=uuid.uuid4(), heartbeat=lost.created
    )
    Supervisor(lambda _: None).tick()

    # What is searched is all there, and not empty.
    assert BuildDependency.objects.exists()
    assert AdminLogEntry.objects.count() == 0
    assert "•••" in ConfigRevision.objects.first().sources[0]["text"]
    searched = {(table, name) for table, name, _ in every_value()}
    for table, name in (
        ("jobs_job", "docs"),
        ("jobs_configrevision", "sources"),
        ("builds_build", "exception_message"),
        ("builds_build", "exception_type"),
        ("builds_buildpayload", "config"),
        ("builds_buildpayload", "retval"),
        ("builds_buildpayload", "retval_text"),
        ("builds_buildpayload", "traceback"),
        ("builds_buildprogress", "group_name"),
        ("builds_buildprogress", "status_line"),
        ("builds_deletion", "log"),
        ("builds_deletion", "traceback"),
        *(("builds_logmessage", column) for column in bulk.COLUMNS),
        ("django_q_ormq", "payload"),
        ("auth_user", "password"),
        ("django_migrations", "name"),
    ):
        assert (table, name) in searched, (table, name)
    secrets = (FROM_ENV, PASSWORD, IN_REDIS, IN_STORAGE, KEY, settings.SECRET_KEY)
    wanted = [CORE, str(NUMBER), *forms(SECRET), *(f for one in secrets for f in forms(one))]
    assert sorted(leaks(*wanted)) == []


def retval_of(made: Build):
    return retvals.unseal(made.pk, bytes(made.payload.retval))


def test_a_secret_at_the_limit_of_a_message_is_masked_whole():
    """Cut first, half of it would no longer be known."""
    use_config(
        """
        secret: {token: hunter22-hunter22-hunter22}
        jobs:
          - id: long
            function: tests.support.leaking_jobs:at_the_limits
            args: [!secret token]
        {% for before in range(0, 90, 7) %}
          - id: raised_{{ before }}
            function: tests.support.leaking_jobs:raise_at_the_limit
            args: [!secret token, 10000, {{ before }}]
        {% endfor %}
        """
    )
    build("long")
    for before in range(0, 90, 7):
        assert build(f"raised_{before}").status == "FAILED"
    assert leaks("hunter22", "hunter2") == set()
