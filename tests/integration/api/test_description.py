"""The OpenAPI document, and schemathesis, which holds the server to it."""

import json
import os
import re

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance

from builds.api.errors import STATUSES
from builds.api.schemas import ResumeRequest, RunRequest
from builds.api.site import api
from builds.deletion_models import Deletion
from builds.models import Build, BuildPayload, LogMessage
from builds.plan_models import Plan
from jobcontrol_site.wsgi import application
from tests.bootstrap import ROOT
from tests.integration.api.conftest import make_token
from tests.support.clusters import beating
from tests.support.jobs import use_config

pytestmark = pytest.mark.django_db

JOBS = {
    "jobs": [
        {"id": "echo", "function": "tests.support.odd_jobs:value", "tags": ["daily"]},
        {"id": "a/b", "function": "tests.support.odd_jobs:value", "dependencies": ["echo"]},
    ]
}

OPERATIONS = [
    (method.upper(), path)
    for path, methods in api.get_openapi_schema()["paths"].items()
    for method in methods
]
# Arguments and inputs have rules that no JSON schema can tell.
MORE_RULES = ("/api/job/{job_id}/run", "/api/job/{job_id}/plan")
# Of each operation and kind. The same ones each time, so that the suite does not fail by chance;
# JOBCONTROL_API_EXAMPLES=500 looks further, each time elsewhere.
EXAMPLES = int(os.environ.get("JOBCONTROL_API_EXAMPLES", 0))


@pytest.fixture(autouse=True)
def _connection_stays_open():
    """What Django's own test client does: the test's transaction is in that connection."""
    ends = (request_started, request_finished)
    for signal in ends:
        signal.disconnect(close_old_connections)
    yield
    for signal in ends:
        signal.connect(close_old_connections)


@pytest.fixture
def known(db):
    """What a request may name, beside what schemathesis makes up."""
    use_config(json.dumps(JOBS))
    build = Build.objects.create(job_id="echo", status="SUCCESSFUL")
    BuildPayload.objects.create(build=build, retval_text="{'a': 1}")
    failed = Build.objects.create(job_id="echo", status="FAILED", failure_kind="timeout")
    BuildPayload.objects.create(build=failed)
    running = Build.objects.create(job_id="echo", status="RUNNING")
    LogMessage.objects.create(
        build=build, created="2026-01-31T12:00:00Z", level=30, logger="x", message="a line"
    )
    deletion = Deletion.objects.create(build_number=3, job_id="echo")
    waiting = Plan.objects.create(job_id="echo")
    Build.objects.create(job_id="echo", status="RUNNING", plan=waiting, plan_reason="asked for")
    failed_plan = Plan.objects.create(job_id="echo")
    again = Build.objects.create(job_id="echo", status="FAILED", plan=failed_plan)
    BuildPayload.objects.create(build=again)
    return {
        "job_id": ["echo", "a/b"],
        "build_id": [build.pk, failed.pk, running.pk],
        "deletion_id": [deletion.pk],
        "cluster_id": [beating().pk],
        "plan_id": [waiting.pk, failed_plan.pk],
    }


@pytest.fixture
def headers(make_user):
    """The header of somebody who may do everything."""
    user = make_user(is_superuser=True)
    return {"Authorization": f"Bearer {make_token(user)[1]}"}


def cases(operation, mode, known):
    """Make up requests; half of those with an id in their path name one that is there."""
    made_up = operation.as_strategy(generation_mode=mode)
    name = next((name for name in known if f"{{{name}}}" in operation.path), None)
    if name is None:
        return made_up
    named = [
        operation.as_strategy(generation_mode=mode, path_parameters={name: value})
        for value in known[name]
    ]
    return st.one_of(made_up, *named)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_server_keeps_to_its_description(headers, known, method, path, mode):
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", application, headers=headers)
    excluded = [positive_data_acceptance] if path in MORE_RULES else []
    statuses = set()

    @settings(
        max_examples=EXAMPLES or 12,
        deadline=None,
        database=None,
        derandomize=not EXAMPLES,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(case=cases(schema[path][method], mode, known))
    def check(case):
        response = case.call_and_validate(headers=headers, excluded_checks=excluded)
        assert response.status_code < 500
        statuses.add(response.status_code)

    check()
    # Some of the right requests got somewhere, or it was no proof.
    assert mode == GenerationMode.NEGATIVE or {200, 202} & statuses


def test_every_operation_is_described_by_its_name_words_and_all_its_replies():
    document = api.get_openapi_schema()
    assert document["openapi"].startswith("3.")
    names = [document["paths"][path][method.lower()]["operationId"] for method, path in OPERATIONS]
    assert len(set(names)) == len(names) == 19
    for method, path in OPERATIONS:
        operation = document["paths"][path][method.lower()]
        assert operation["summary"]
        assert operation["description"]
        assert operation["security"] == [{"TokenAuth": []}, {"SessionAuth": []}]
        assert {400, 401, 403, 422} < set(operation["responses"])
    schemes = document["components"]["securitySchemes"]
    assert schemes["TokenAuth"]["scheme"] == "bearer"
    assert schemes["SessionAuth"]["name"] == "sessionid"


def test_the_reference_has_every_operation_parameter_and_refusal():
    reference = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    paths = api.get_openapi_schema()["paths"]
    for method, path in OPERATIONS:
        start = f"### `{method} {re.sub('{.*?}', '{id}', path)}`\n"
        assert start in reference
        part = re.split("^##", reference.partition(start)[2], maxsplit=1, flags=re.M)[0]
        for parameter in paths[path][method.lower()]["parameters"]:
            assert parameter["in"] == "path" or f"{parameter['name']}" in part, parameter
    for name in {**RunRequest.model_fields, **ResumeRequest.model_fields}:
        assert f"`{name}`" in reference
    refusals = {status for _, status in STATUSES} | {401, 405, 413, 414}
    assert set(map(int, re.findall(r"^\| (\d{3}) \|", reference, flags=re.M))) == refusals


def test_the_document_is_served_to_those_who_are_known(viewer):
    reply = viewer.get("openapi.json")
    assert reply.json() == json.loads(json.dumps(api.get_openapi_schema()))
