"""Migrations keep what an older version stored, and what it stores while they run."""


def test_progress_of_an_older_version_stays(site):
    site.manage("migrate", "builds", "0004_plans", check=True)
    site.write_config("jobs:\n  - {id: a, function: 'tests.support.odd_jobs:value'}\n")
    site.python(
        """
        from django.core.management import call_command
        call_command("sync_jobs", verbosity=0)
        from builds.models import Build
        Build.objects.create(id=1, job_id="a", status="RUNNING")
        """
    )
    insert = (
        "INSERT INTO builds_buildprogress (build_id, group_name, group_digest, current, total,"
        " status_line, position, updated)"
        " VALUES (1, '[\"{0}\"]', '{0}', {1}, 9, 'a line', {1}, '2026-01-02 03:04:05')"
    )
    site.sql(insert.format("old", 1))
    site.migrate()
    # A worker that was not restarted yet goes on.
    site.sql(insert.format("older worker", 2))
    found = site.sql(
        "SELECT group_name, current, total, status_line, position, first_current, seconds, reports"
        " FROM builds_buildprogress ORDER BY position"
    )
    assert found == [
        ('["old"]', 1, 9, "a line", 1, None, None, None),
        ('["older worker"]', 2, 9, "a line", 2, None, None, None),
    ]
