"""The build form: arguments as YAML, inputs by choice, again as before, once for each page."""

import html
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.urls import reverse

from builds import forms
from builds.models import Build, BuildDependency
from builds.runner import run_here
from jobs.models import Job, registry_writes
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)

ODD_ID = "a/ü %&?_#<b>"
CONFIG = f"""
secret: {{api: hunter22-secret}}
jobs:
  - {{id: dep, title: "The dependency", function: "tests.support.odd_jobs:value", args: [one]}}
  - {{id: "{ODD_ID}", function: "tests.support.odd_jobs:value", args: [odd]}}
  - id: job
    function: tests.support.odd_jobs:echo
    args: [!retval dep, "{{id}}"]
    kwargs: {{size: 3}}
  - {{id: two, function: "tests.support.odd_jobs:echo", dependencies: [dep, "{ODD_ID}"]}}
  - {{id: url, function: "tests.support.odd_jobs:echo", args: ["http://u:hunter22-secret@h/"]}}
  - {{id: guarded, protect: true, function: "tests.support.odd_jobs:echo"}}
"""


@pytest.fixture(autouse=True)
def config(transactional_db):
    use_config(CONFIG)


def form_of(job_id):
    return reverse("admin:jobs_job_build_form", args=[quote(job_id)])


def filled_in(response):
    """What a browser would send back: every field of the page's form as it stands."""
    page = response.content.decode()
    page = page[page.index('id="build-form"') :]
    fields = {
        match[1]: html.unescape(match[2])
        for match in re.finditer(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page)
    }
    fields.pop("csrfmiddlewaretoken", None)
    for name, text in re.findall(r'<textarea name="(\w+)"[^>]*>\n?(.*?)</textarea>', page, re.S):
        fields[name] = html.unescape(text).replace("\n", "\r\n")
    for name, options in re.findall(r'<select name="([\w-]+)"[^>]*>(.*?)</select>', page, re.S):
        fields[name] = re.search(r'value="(\w+)" selected', options)[1]
    return fields


def send(client, job_id, step="build", query="", **changed):
    """Open the form, change some fields, press a button; return what came of it."""
    fields = filled_in(client.get(form_of(job_id) + query))
    return client.post(form_of(job_id), {**fields, "step": step, **changed}, follow=True)


def text(response):
    assert response.status_code == 200
    page = re.sub(r"<(style|script|svg).*?</\1>", " ", response.content.decode(), flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def error_beside(response, field):
    """The text beside a field (and not elsewhere on the page)."""
    found = re.search(
        rf'<p class="jc-field-error" id="id_{field}_error">(.*?)</p>',
        response.content.decode(),
        re.S,
    )
    return html.unescape(found[1]) if found else ""


def ran_with(made):
    made.refresh_from_db()
    return run_here(made).payload.retval_text


# --- Arguments ------------------------------------------------------------------------------------


def test_a_job_with_dependencies_is_built_as_it_stands_in_the_file(builder):
    """original #31: the run form failed for any job with dependencies"""
    used = build("dep")
    response = send(builder, "job")
    made = Build.objects.get(job="job")
    assert response.redirect_chain == [(f"/admin/builds/build/{made.pk}/change/", 302)]
    assert (made.status, made.trigger, made.requested_by) == ("QUEUED", "manual", builder.user)
    assert made.inputs.get().dep_build == used
    assert made.payload.config == Job.objects.get(pk="job").config
    assert ran_with(made) == "(('one', '{id}'), {'size': 3})"
    assert f"#{made.pk}" in LogEntry.objects.get().get_change_message()


def test_arguments_are_typed_as_yaml_and_hold_for_this_build(builder):
    build("dep")
    send(builder, "job", args="[!retval dep, {id: [1, two]}]", kwargs="when: 2026-01-31\r\nsize: 4")
    made = Build.objects.get(job="job")
    assert ran_with(made) == (
        "(('one', {'id': [1, 'two']}), {'when': datetime.date(2026, 1, 31), 'size': 4})"
    )
    assert "with other arguments" in LogEntry.objects.get().get_change_message()
    assert Job.objects.get(pk="job").config["kwargs"] == {"size": 3}


@pytest.mark.parametrize(
    ("field", "typed", "error"),
    [
        ("args", "[1, 2", "line"),
        ("args", "a: 1", "must be a list"),
        ("args", "[!retval other]", "!retval other names no dependency"),
        ("args", "[!secret nope]", "!secret nope is not in the configuration file"),
        ("kwargs", "- 1", "must be a mapping"),
        ("kwargs", "a: 1\na: 2", "Line 2"),
        ("kwargs", "x: !!python/object:os.system [true]", "Line 1"),
        ("kwargs", "1: one", "must be text"),
        ("args", "\0", "Null characters"),
        ("args", "[•••]", "hides a secret"),
    ],
)
def test_what_is_typed_wrong_is_said_beside_the_field_and_nothing_is_lost(
    builder, field, typed, error
):
    build("dep")
    other = "kwargs" if field == "args" else "args"
    kept = {"kwargs": "kept: <kept>", "args": "[<kept>, 2]"}[other]
    response = send(builder, "job", **{field: typed, other: kept})
    assert error in error_beside(response, field)
    assert not error_beside(response, other)
    again = filled_in(response)
    assert again[field].replace("\r\n", "\n").strip("\0") == typed.strip("\0")
    assert again[other] == kept
    assert not Build.objects.filter(job="job").exists()
    assert "<kept>" not in response.content.decode()


@pytest.mark.parametrize(
    ("typed", "field", "error"),
    [
        ({"args": "[1, 2]"}, "args", "too many positional arguments"),
        ({"kwargs": "nope: 1"}, "kwargs", "unexpected keyword argument 'nope'"),
    ],
)
def test_arguments_that_do_not_fit_the_signature_are_refused(builder, typed, field, error):
    with registry_writes():
        docs = {
            "signature": "value(it=None)",
            "parameters": [{"name": "it", "kind": "POSITIONAL_OR_KEYWORD", "required": False}],
        }
        Job.objects.filter(pk="dep").update(docs=docs)
    response = send(builder, "dep", **{"args": "", **typed})
    assert error in error_beside(response, field)
    assert not Build.objects.exists()
    send(builder, "dep", args="", kwargs="it: 5")
    assert ran_with(Build.objects.get()) == "5"


def test_a_value_with_a_secret_in_it_is_masked_and_stays_as_it_was(builder):
    page = builder.get(form_of("url")).content.decode()
    assert "hunter22" not in page
    assert "http://u:•••@h/" in page
    send(builder, "url", kwargs="x: 1")
    made = Build.objects.get()
    run_here(made)
    made.payload.refresh_from_db()
    assert "hunter22" not in str(made.payload.config)
    assert made.payload.retval_text == "(('http://u:•••@h/',), {'x': 1})"


def test_a_secret_may_be_named(builder):
    send(builder, "dep", args="[!secret api]")
    made = Build.objects.get()
    assert "hunter22" not in str(made.payload.config)
    assert ran_with(made) == "'•••'"


def test_what_would_run_is_shown_before(builder):
    build("dep")
    assert "echo(Retval('dep'), '{id}', size=3)" in text(builder.get(form_of("job")))
    response = send(builder, "job", "preview", kwargs="size: [4]")
    assert "echo(Retval('dep'), '{id}', size=[4])" in text(response)
    assert not Build.objects.filter(job="job").exists()
    assert "not right yet" in text(send(builder, "job", "preview", kwargs="["))


# --- Inputs ---------------------------------------------------------------------------------------


def select_of(response, job_id):
    name = forms.field_name(job_id)
    found = re.search(rf'<select name="{name}".*?</select>', response.content.decode(), re.S)
    return re.findall(r'<option value="(\w+)"( selected)?>\s*([^<]*?)\s*</option>', found[0])


def test_each_input_is_chosen_the_latest_success_first(builder):
    """original #34: the choice of dependency builds was a placeholder"""
    old, new, odd = build("dep"), build("dep"), build(ODD_ID)
    Build.objects.create(job_id="dep", status="FAILED")
    Build.objects.create(job_id="dep", status="SUCCESSFUL", deleting=True)
    response = builder.get(form_of("two"))
    (latest, *numbers, now) = select_of(response, "dep")
    assert latest[:2] == ("latest", " selected")
    assert latest[2].startswith(f"the latest success: #{new.pk} · ")
    assert [choice[:2] for choice in numbers] == [(str(new.pk), ""), (str(old.pk), "")]
    assert now == ("now", "", "build it now, first")
    send(builder, "two", **{forms.field_name("dep"): old.pk})
    made = Build.objects.get(job="two")
    assert dict(made.inputs.values_list("job_id", "dep_build")) == {"dep": old.pk, ODD_ID: odd.pk}


def test_the_times_of_inputs_are_said_to_be_the_sites(builder, settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    build("dep")
    assert "in the time of Asia/Tokyo" in text(builder.get(form_of("job")))


def test_a_build_that_the_file_pins_is_selected(builder):
    old = build("dep")
    build("dep")
    use_config(CONFIG.replace("kwargs: {size: 3}", f"pinned_builds: {{dep: {old.pk}}}"))
    chosen = [choice for choice in select_of(builder.get(form_of("job")), "dep") if choice[1]]
    assert [choice[0] for choice in chosen] == [str(old.pk)]
    assert "pinned in the file" in chosen[0][2]


def test_older_builds_are_named_by_number(builder, monkeypatch):
    monkeypatch.setattr(forms, "OFFERED", 2)
    old, *newer = [build("dep") for _ in range(3)]
    name = forms.field_name("dep")
    response = builder.get(form_of("job"))
    numbers = [str(made.pk) for made in reversed(newer)]
    assert [choice[0] for choice in select_of(response, "dep")] == ["latest", *numbers, "now"]
    assert f'name="{name}-older"' in response.content.decode()
    send(builder, "job", **{f"{name}-older": old.pk})
    assert Build.objects.get(job="job").inputs.get().dep_build == old


@pytest.mark.parametrize("number", ["9999", "0", "-1", "x", "9" * 40, ""])
@pytest.mark.parametrize("field", ["", "-older"])
def test_an_input_that_cannot_be_used_is_refused_beside_its_field(
    builder, monkeypatch, field, number
):
    monkeypatch.setattr(forms, "OFFERED", 1)
    build("dep")
    build("dep")
    if field and not number:
        return  # nothing typed: the select counts
    name = forms.field_name("dep") + field
    response = send(builder, "job", **{name: number})
    assert error_beside(response, name)
    assert not Build.objects.filter(job="job").exists()


def test_a_build_of_another_job_is_no_input(builder):
    build("dep")
    stranger = build(ODD_ID)
    name = forms.field_name("dep")
    response = send(builder, "job", **{name: stranger.pk})
    assert "is not a successful build of 'dep'" in error_beside(response, name)


def test_every_missing_dependency_is_named_and_linked(builder):
    """original #12"""
    response = builder.get(form_of("two"))
    assert f"no successful build of 'dep', '{ODD_ID}'" in text(response)
    address = reverse("admin:jobs_job_change", args=[quote(ODD_ID)])
    assert f'href="{address}"' in response.content.decode()
    response = send(builder, "two")
    assert "no successful build of 'dep'" in text(response)
    assert not Build.objects.exists()


def description_of_button(response, step):
    """Return what the page says of its disabled button."""
    page = response.content.decode()
    button = re.search(rf'<button[^>]*value="{step}"[^>]*>', page)[0]
    assert re.search(r"\sdisabled\s", button)
    name = re.search(r'aria-describedby="([^"]+)"', button)[1]
    return re.search(rf'<p[^>]*id="{name}"[^>]*>(.*?)</p>', page, re.DOTALL)[1]


def test_a_disabled_button_is_described_by_why_it_is(builder):
    assert "ask a manager" in description_of_button(builder.get(form_of("guarded")), "arm")
    use_config("jobs: [{id: other, function: 'tests.support.odd_jobs:value'}]")
    gone = builder.get(form_of("dep"))
    assert "no longer in the configuration file" in description_of_button(gone, "build")


def test_choosing_inputs_takes_a_bounded_number_of_questions(
    builder, django_assert_max_num_queries
):
    jobs = "\n".join(f"  - {{id: d{n}, function: 'm:f'}}" for n in range(40))
    needs = ", ".join(f"d{n}" for n in range(40))
    use_config(f"jobs:\n{jobs}\n  - {{id: all, function: 'm:f', dependencies: [{needs}]}}")
    Build.objects.bulk_create(
        Build(job_id=f"d{n}", status="SUCCESSFUL") for n in range(40) for _ in range(60)
    )
    builder.get(form_of("all"))
    with django_assert_max_num_queries(30):
        page = builder.get(form_of("all")).content.decode()
    assert page.count("<option") == 40 * (50 + len(["latest", "now"]))
    assert page.count("-older") >= 40


# --- Again ----------------------------------------------------------------------------------------


def test_a_build_is_run_again_as_it_was(builder):
    """original #34: run again was a placeholder"""
    old = build("dep")
    send(builder, "job", kwargs="size: 9")
    first = Build.objects.get(job="job")
    ran_with(first)
    build("dep")
    page = text(builder.get(form_of("job") + f"?from={first.pk}"))
    assert f"Filled in from build #{first.pk}" in page
    send(builder, "job", query=f"?from={first.pk}")
    again = Build.objects.filter(job="job").latest("pk")
    assert again != first
    assert again.inputs.get().dep_build == old
    assert ran_with(again) == "(('one', '{id}'), {'size': 9})"
    assert f"again as build #{first.pk}" in LogEntry.objects.first().get_change_message()


def test_again_never_loads_the_pickle(builder, django_assert_max_num_queries):
    """original #21"""
    first = build("dep")
    with django_assert_max_num_queries(25) as captured:
        assert builder.get(form_of("dep") + f"?from={first.pk}").status_code == 200
    asked = [query["sql"] for query in captured.captured_queries if "payload" in query["sql"]]
    assert asked
    assert not any('"retval' in sql or "traceback" in sql for sql in asked)


def test_again_with_an_input_that_was_deleted_takes_the_latest(builder):
    build("dep")
    first, new = build("job"), build("dep")
    BuildDependency.objects.filter(build=first).update(dep_build=None)
    send(builder, "job", query=f"?from={first.pk}")
    assert Build.objects.filter(job="job").latest("pk").inputs.get().dep_build == new


def test_again_of_a_failed_build_says_when_the_function_is_another_now(builder):
    first = build("dep")
    use_config(CONFIG.replace("odd_jobs:value, args: [one]", "x").replace(
        'dependency", function: "tests.support.odd_jobs:value"',
        'dependency", function: "tests.support.odd_jobs:echo"',
    ))  # fmt: skip
    seen = text(builder.get(form_of("dep") + f"?from={first.pk}"))
    assert "It ran tests.support.odd_jobs:value" in seen
    assert "is tests.support.odd_jobs:echo now" in seen


@pytest.mark.parametrize("number", ["9999", "x", "-1", "%00", "9" * 40, "١", "1.5"])
def test_again_of_no_such_build_leads_to_the_job(builder, number):
    response = builder.get(form_of("dep") + f"?from={number}", follow=True)
    assert response.redirect_chain == [("/admin/jobs/job/dep/change/", 302)]
    assert "there is no build" in text(response).lower()


def test_a_build_of_another_job_is_not_run_again_here(builder):
    other = build(ODD_ID)
    response = builder.get(form_of("dep") + f"?from={other.pk}", follow=True)
    assert response.redirect_chain


# --- Once, and by whom ----------------------------------------------------------------------------


def test_the_same_page_sent_twice_starts_one_build(builder):
    fields = {**filled_in(builder.get(form_of("dep"))), "step": "build"}
    first = builder.post(form_of("dep"), fields)
    second = builder.post(form_of("dep"), fields)
    assert first.headers["Location"] == second.headers["Location"]
    assert Build.objects.count() == LogEntry.objects.count() == 1
    send(builder, "dep")
    assert Build.objects.count() == 2


def test_a_page_sent_again_after_its_build_was_deleted_says_so(builder):
    fields = {**filled_in(builder.get(form_of("dep"))), "step": "build"}
    builder.post(form_of("dep"), fields)
    Build.objects.all().delete()
    assert "was deleted" in text(builder.post(form_of("dep"), fields))
    assert not Build.objects.exists()


def test_a_page_with_errors_still_starts_once(builder):
    response = send(builder, "dep", kwargs="[")
    fields = {**filled_in(response), "kwargs": "", "step": "build"}
    builder.post(form_of("dep"), fields)
    builder.post(form_of("dep"), fields)
    assert Build.objects.count() == 1


def test_a_page_gone_back_to_and_filled_in_otherwise_starts_another_build(builder):
    fields = {**filled_in(builder.get(form_of("dep"))), "step": "build"}
    first = builder.post(form_of("dep"), fields)
    second = builder.post(form_of("dep"), {**fields, "args": "[other]"})
    assert first.headers["Location"] != second.headers["Location"]
    assert Build.objects.count() == 2


def test_browsers_do_not_keep_the_mark_of_a_page_for_the_next_one(builder):
    """Firefox fills hidden fields with what they held before a reload."""
    for address in (form_of("dep"), "/admin/jobs/job/", "/admin/jobs/job/dep/change/"):
        fields = re.findall(r'<input[^>]*name="nonce"[^>]*>', builder.get(address).content.decode())
        assert fields
        assert all('autocomplete="off"' in field for field in fields), address


@pytest.mark.parametrize("nonce", ["x" * 10_000, "\0", "arming:x", "\ud800"])
def test_an_odd_nonce_is_as_good_as_any(builder, nonce):
    mark = nonce.encode("utf-8", "replace").decode()
    for _ in range(2):
        builder.post(form_of("dep"), {"step": "build", "args": "[1]", "nonce": mark})
    assert Build.objects.count() == 1


def test_two_people_never_share_a_nonce(builder, staff):
    other = staff("jobs.view_job", "builds.view_build", "builds.run_build")
    fields = {"step": "build", "args": "[1]", "nonce": "the same"}
    builder.post(form_of("dep"), fields)
    other.post(form_of("dep"), fields)
    assert Build.objects.count() == 2


@pytest.mark.parametrize("missing", ["jobs.view_job", "builds.run_build"])
def test_who_may_not_has_no_form(staff, missing):
    rights = {"jobs.view_job", "builds.run_build", "builds.view_build"} - {missing}
    client = staff(*rights)
    assert client.get(form_of("dep")).status_code == 403
    assert client.post(form_of("dep"), {"step": "build", "args": "[1]"}).status_code == 403
    assert not Build.objects.exists()


def test_who_may_not_see_builds_cannot_fill_in_from_one(staff):
    made = build("dep")
    client = staff("jobs.view_job", "builds.run_build")
    assert client.get(form_of("dep")).status_code == 200
    assert client.get(form_of("dep") + f"?from={made.pk}").status_code == 403


def test_a_retired_job_has_no_working_button(builder):
    use_config("jobs: []")
    response = builder.get(form_of("dep"))
    assert "no longer in the configuration file" in text(response)
    assert re.search(r'value="build"[^>]* disabled', response.content.decode())
    response = builder.post(form_of("dep"), {"step": "build", "args": "[1]"})
    assert "no longer in the configuration file" in text(response)
    assert not Build.objects.exists()


def test_a_protected_job_is_not_started_by_the_plain_button(builder):
    response = builder.post(form_of("guarded"), {"step": "build"})
    assert "is protected: arm it" in text(response)
    assert not Build.objects.exists()


@pytest.mark.parametrize("job_id", ["nope", "%00", "x" * 5000, "..", "%ff"])
def test_the_form_of_no_job_is_no_error(builder, job_id):
    assert builder.get(f"/admin/jobs/job/{job_id}/build-form/").status_code in (302, 404)


def test_a_job_with_an_odd_id_is_built_too(builder):
    send(builder, ODD_ID)
    assert Build.objects.get().job_id == ODD_ID
