"""Addresses that lists make by themselves: those that Django would give."""

import pytest
from django.contrib.admin.utils import quote
from django.urls import get_script_prefix, reverse, set_script_prefix

from builds import addresses

IDS = ("a", "a/b c", "it's 100% é?#&;+_2F", "the-place-of-a-row", "..", "日本", 'q"<>', "x:y@~")


@pytest.mark.parametrize("job_id", IDS)
def test_addresses_are_those_of_django(job_id):
    for name in ("admin:jobs_job_change", "admin:jobs_job_graph", "admin:jobs_job_build"):
        assert addresses.address(name, job_id) == reverse(name, args=[quote(job_id)])
    assert addresses.address_of("api:job", job_id) == reverse("api:job", args=[job_id])
    assert addresses.address("admin:builds_build_change", 7) == "/admin/builds/build/7/change/"


def test_a_site_below_a_path_has_its_own():
    before = get_script_prefix()
    list_page = addresses.plain("admin:jobs_job_changelist")
    set_script_prefix("/below/")
    try:
        assert addresses.plain("admin:jobs_job_changelist") == f"/below{list_page}"
        assert addresses.address("admin:jobs_job_change", "a").startswith("/below/admin/")
    finally:
        set_script_prefix(before)
    assert addresses.plain("admin:jobs_job_changelist") == list_page
