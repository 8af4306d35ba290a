"""The table of who may do what: a row for every address of the site.

A row names the address's URL, gives an example, and says what GET and POST come to for each role,
in the order stranger, staff (of no group), viewer, operator, manager. `login` is the way to the
login page; `index` the way to the index, where there is no such object for this person; `302` any
other redirect. `{…}` are the ids of `one_of_everything` (see conftest.py).

A new address without a row fails the test: add one here, after thinking about each role.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TO_INDEX = "index index index index index"
ANYBODY = "200 200 200 200 200"
STAFF = "login 200 200 200 200"
STAFF_302 = "login 302 302 302 302"
READERS = "login 403 200 200 200"
OPERATORS = "login 403 403 302 302"
STARTERS = "login 403 403 200 200"
MANAGERS_200 = "login 403 403 403 200"
MANAGERS = "login 403 403 403 302"
NOBODY = "login 403 403 403 403"
NOTHING = "login 404 404 404 404"
NO_OBJECT = "login index index index index"
NO_METHOD = "login 405 405 405 405"
LOG_NEWS = "login 403 204 204 204"  # there are none
API_READERS = "401 403 200 200 200"
API_STARTERS = "401 403 403 200 200"
API_NOWHERE = "404 404 404 404 404"
API_NO_METHOD = "405 405 405 405 405"


REDIRECT = "admin:django.views.generic.base.RedirectView"


@dataclass(frozen=True)
class Row:
    """What comes of GET and POST (with `data`) to one address, by role."""

    name: str
    address: str
    get: str
    post: str
    data: Mapping[str, Any] = field(default_factory=dict)
    content_type: str = "form"  # or "json"


def model_rows(model: str, number: str, read: str, **others: str) -> list[Row]:
    """Return the rows of a model's own pages; `others` are those that are not for nobody."""
    root = f"/admin/{model.replace('_', '/')}/"
    name = f"admin:{model}"
    delete_get = others.get("delete_get", NOBODY)
    delete_post = others.get("delete_post", NOBODY)
    history = others.get("history", read)
    return [
        Row(f"{name}_changelist", root, read, read),
        Row(f"{name}_add", f"{root}add/", NOBODY, NOBODY),
        Row(f"{name}_history", f"{root}{number}/history/", history, history),
        Row(f"{name}_delete", f"{root}{number}/delete/", delete_get, delete_post),
        Row(f"{name}_change", f"{root}{number}/change/", read, others.get("change_post", NOBODY)),
        Row(REDIRECT, f"{root}{number}/", STAFF_302, STAFF_302),
    ]


TABLE: list[Row] = [
    Row("django.views.generic.base.RedirectView", "/", TO_INDEX, TO_INDEX),
    # For load balancers and monitors, which do not log in.
    Row("healthz", "/healthz", ANYBODY, API_NO_METHOD),
    # --- The admin itself ---
    Row("admin:index", "/admin/", STAFF, STAFF),
    Row("admin:search", "/admin/search/", STAFF, NO_METHOD),
    Row("admin:search", "/admin/search/?q=job&before=9", STAFF, NO_METHOD),
    Row("admin:login", "/admin/login/", "200 index index index index", ANYBODY),
    Row("admin:logout", "/admin/logout/", "index 405 405 405 405", "index 200 200 200 200"),
    Row("admin:password_change", "/admin/password_change/", STAFF, STAFF),
    Row("admin:password_change_done", "/admin/password_change/done/", STAFF, NO_METHOD),
    Row("admin:autocomplete", "/admin/autocomplete/", NOBODY, NO_METHOD),
    # What the filter of builds by job offers while one types.
    Row(
        "admin:autocomplete",
        "/admin/autocomplete/?app_label=builds&model_name=build&field_name=job&term=",
        READERS,
        NO_METHOD,
    ),
    Row(
        "admin:autocomplete",
        "/admin/autocomplete/?app_label=auth&model_name=user&field_name=groups&term=",
        NOBODY,
        NO_METHOD,
    ),
    Row("admin:jsi18n", "/admin/jsi18n/", STAFF, NO_METHOD),
    Row("admin:view_on_site", "/admin/r/1/1/", NOTHING, NOTHING),
    Row("admin:app_list", "/admin/jobs/", "login 404 200 200 200", "login 404 200 200 200"),
    Row("admin:app_list", "/admin/builds/", "login 404 200 200 200", "login 404 200 200 200"),
    Row("admin:app_list", "/admin/auth/", NOTHING, NOTHING),
    Row("admin:django.contrib.admin.sites.catch_all_view", "/admin/django_q/", NOTHING, NOTHING),
    # Nothing of ours is seen on another site; the first is a user that there is.
    Row("admin:view_on_site", "/admin/r/{user_type}/{user}/", NOTHING, NOTHING),
    Row(
        "admin:django.contrib.admin.sites.catch_all_view",
        "/admin/nothing",
        NOTHING,
        NOTHING,
    ),
    # --- Jobs ---
    *model_rows("jobs_job", "{job}", READERS, change_post=NO_METHOD),
    Row(
        "admin:jobs_job_build_form",
        "/admin/jobs/job/{job}/build-form/",
        STARTERS,
        OPERATORS,
        {"step": "build", "args": "[1]", "kwargs": "{}"},
    ),
    # Without a token nothing protected starts: the page says so.
    Row(
        "admin:jobs_job_build_form",
        "/admin/jobs/job/{guarded}/build-form/",
        STARTERS,
        STARTERS,
        {"step": "build", "args": "[1]", "kwargs": "{}"},
    ),
    Row(
        "admin:jobs_job_build_form",
        "/admin/jobs/job/{guarded}/build-form/",
        STARTERS,
        MANAGERS_200,
        {"step": "arm", "args": "[1]", "kwargs": "{}"},
    ),
    Row(
        "admin:jobs_job_build_form",
        "/admin/jobs/job/{guarded}/build-form/",
        STARTERS,
        MANAGERS_200,
        {"step": "start", "token": "x", "args": "[1]", "kwargs": "{}"},
    ),
    Row(
        "admin:jobs_job_arm",
        "/admin/jobs/job/arm/",
        MANAGERS,
        MANAGERS_200,
        {"job": "guarded", "step": "arm"},
    ),
    Row(
        "admin:jobs_job_arm",
        "/admin/jobs/job/arm/?job=guarded",
        MANAGERS_200,
        MANAGERS_200,
        {"job": "guarded", "step": "start"},
    ),
    # An action that somebody may not do is not known: the list comes again (for operators, by a
    # redirect that says so), and nothing else.
    *(
        Row(
            "admin:jobs_job_changelist",
            "/admin/jobs/job/",
            READERS,
            "login 403 200 302 302",
            {"action": "build_selected", "_selected_action": job},
        )
        for job in ("job", "guarded")
    ),
    Row(
        "admin:jobs_job_changelist",
        "/admin/jobs/job/",
        READERS,
        "login 403 200 302 200",
        {"action": "arm_selected", "_selected_action": "guarded"},
    ),
    # The button never starts what is protected: it says why.
    Row("admin:jobs_job_build", "/admin/jobs/job/{guarded}/build/", OPERATORS, OPERATORS),
    *model_rows("jobs_configrevision", "{revision}", READERS),
    Row("admin:jobs_job_build", "/admin/jobs/job/{job}/build/", OPERATORS, OPERATORS),
    Row("admin:jobs_grid", "/admin/jobs/job/grid/", READERS, NO_METHOD),
    Row("admin:jobs_graph", "/admin/jobs/job/graph/", READERS, NO_METHOD),
    Row("admin:jobs_graph_file", "/admin/jobs/job/graph.svg", READERS, NO_METHOD),
    Row("admin:jobs_job_graph", "/admin/jobs/job/{job}/graph/", READERS, NO_METHOD),
    Row("admin:jobs_job_graph_file", "/admin/jobs/job/{job}/graph.dot", READERS, NO_METHOD),
    # It sends back to the page of the job, whether or not there was a schedule to pause.
    Row("admin:jobs_job_schedule", "/admin/jobs/job/{job}/schedule/", NO_METHOD, OPERATORS),
    # --- Builds ---
    *model_rows(
        "builds_build",
        "{build}",
        READERS,
        delete_get=MANAGERS_200,
        delete_post=MANAGERS,
        change_post=READERS,  # it shows the page, as GET does
    ),
    # --- Plans ---
    *model_rows("builds_plan", "{plan}", READERS, change_post=NO_METHOD),
    Row("admin:builds_plan_cancel", "/admin/builds/plan/{plan}/cancel/", NO_METHOD, OPERATORS),
    # Its build failed; the other one's is protected.
    Row(
        "admin:builds_plan_resume",
        "/admin/builds/plan/{plan}/resume/",
        STARTERS,
        OPERATORS,
        {"step": "resume"},
    ),
    Row(
        "admin:builds_plan_resume",
        "/admin/builds/plan/{guarded_plan}/resume/",
        STARTERS,
        STARTERS,
        {"step": "resume"},
    ),
    Row(
        "admin:builds_plan_resume",
        "/admin/builds/plan/{guarded_plan}/resume/",
        STARTERS,
        MANAGERS_200,
        {"step": "arm"},
    ),
    Row(
        "admin:builds_plan_resume",
        "/admin/builds/plan/{guarded_plan}/resume/",
        STARTERS,
        MANAGERS_200,
        {"step": "start", "token": "x"},
    ),
    *model_rows("builds_deletion", "{deletion}", READERS),
    *model_rows("builds_scheduledrun", "{run}", READERS),
    Row(
        "admin:builds_apitoken_revoke",
        "/admin/builds/apitoken/{token}/revoke/",
        NO_METHOD,
        NOBODY,
    ),
    Row("admin:builds_build_cancel", "/admin/builds/build/{build}/cancel/", NO_METHOD, OPERATORS),
    Row(
        "admin:builds_build_keep",
        "/admin/builds/build/{build}/keep/",
        NO_METHOD,
        OPERATORS,
        {"keep": "no"},
    ),
    Row("admin:builds_build_log", "/admin/builds/build/{build}/log/", READERS, NO_METHOD),
    Row(
        "admin:builds_build_log_news",
        "/admin/builds/build/{build}/log/news/?after=0",
        LOG_NEWS,
        NO_METHOD,
    ),
    Row(
        "admin:builds_build_progress",
        "/admin/builds/build/{build}/progress/?branch={branch}",
        READERS,
        NO_METHOD,
    ),
    Row(
        "admin:builds_build_download",
        "/admin/builds/build/{build}/download/retval.txt",
        READERS,
        NO_METHOD,
    ),
    Row(
        "admin:builds_build_download",
        "/admin/builds/build/{build}/download/retval.pickle",
        "login 403 403 403 200",
        NO_METHOD,
    ),
    Row(
        "admin:builds_build_compare",
        "/admin/builds/build/compare/?left={build}&right={other_build}",
        READERS,
        NO_METHOD,
    ),
    Row(
        "admin:builds_build_changelist",
        "/admin/builds/build/",
        READERS,
        "login 403 302 302 302",  # not with two builds: back to the list, which says so
        {"action": "compare_selected", "_selected_action": "0"},
    ),
    Row("admin:builds_build_delete_many", "/admin/builds/build/delete/", NO_METHOD, MANAGERS),
    # --- Workers ---
    *model_rows("builds_cluster", "{cluster}", READERS),
    *(
        Row(
            "admin:builds_cluster_drain",
            "/admin/builds/cluster/{cluster}/drain/",
            NO_METHOD,
            MANAGERS,
            {"drain": answer},
        )
        for answer in ("yes", "no")
    ),
    # --- API tokens: everybody's own, made with a permission that no group of ours has ---
    *model_rows("builds_apitoken", "{token}", NOBODY, history=NO_OBJECT),
    # --- Users and groups: for superusers ---
    *model_rows("auth_user", "{user}", NOBODY),
    *model_rows("auth_group", "{group}", NOBODY),
    Row("admin:auth_user_password_change", "/admin/auth/user/{user}/password/", NOBODY, NOBODY),
    # --- The API, by session; its own tests have the tokens and what is in the replies ---
    Row("api:describe", "/api/openapi.json", "401 200 200 200 200", API_NO_METHOD),
    Row("api:list_jobs", "/api/job", API_READERS, API_NO_METHOD),
    Row("api:job_list", "/api/job/", API_READERS, API_NO_METHOD),
    Row("api:job", "/api/job/{job}", API_READERS, API_NO_METHOD),
    Row("api:run_job", "/api/job/{job}/run", "401 403 404 404 404", API_STARTERS, {}, "json"),
    Row(
        "api:run_job",
        "/api/job/{guarded}/run",
        "401 403 404 404 404",
        "401 403 403 403 403",
        {},
        "json",
    ),
    Row(
        "api:run_job",
        "/api/job/{guarded}/run",
        "401 403 404 404 404",
        "401 403 403 403 200",
        {"arm": True},
        "json",
    ),
    Row("api:preview_plan", "/api/job/{job}/plan", "401 403 404 404 404", API_STARTERS, {}, "json"),
    Row("api:show_plan", "/api/plan/{plan}", API_READERS, API_NO_METHOD),
    # The plan has failed: those who may cancel are told so.
    Row(
        "api:cancel_plan",
        "/api/plan/{plan}/cancel",
        API_NO_METHOD,
        "401 403 403 409 409",
        {},
        "json",
    ),
    Row(
        "api:resume_plan",
        "/api/plan/{plan}/resume",
        API_NO_METHOD,
        "401 403 403 200 200",
        {},
        "json",
    ),
    Row("api:list_builds", "/api/build", API_READERS, API_NO_METHOD),
    Row("api:list_builds", "/api/build/", API_READERS, API_NO_METHOD),
    Row("api:show_build", "/api/build/{build}", API_READERS, API_NO_METHOD),
    # The build has ended: those who may cancel are told so.
    Row(
        "api:cancel_build",
        "/api/build/{build}/cancel",
        API_NO_METHOD,
        "401 403 403 409 409",
        {},
        "json",
    ),
    # PUT and DELETE, in the API's own tests.
    Row("api:keep_build", "/api/build/{build}/keep", API_NO_METHOD, API_NO_METHOD),
    Row("api:show_log", "/api/build/{build}/log", API_READERS, API_NO_METHOD),
    Row("api:show_retval", "/api/build/{build}/retval", API_READERS, API_NO_METHOD),
    Row("api:deletion", "/api/deletion/{deletion}", API_READERS, API_NO_METHOD),
    Row("api:list_workers", "/api/workers", API_READERS, API_NO_METHOD),
    Row("api:list_workers", "/api/workers/", API_READERS, API_NO_METHOD),
    *(
        Row(
            f"api:{name}_cluster",
            f"/api/workers/{{cluster_id}}/{name}",
            API_NO_METHOD,
            "401 403 403 403 200",
            {},
            "json",
        )
        for name in ("drain", "undrain")
    ),
    Row("api:api-root", "/api/", API_NOWHERE, API_NOWHERE),
    Row("api:builds.api.site._nothing_here", "/api/nothing", API_NOWHERE, API_NOWHERE),
]
