from django.db import migrations, models

# Django's own table of what people did has an index of its kinds of objects only.
HISTORY = """
CREATE INDEX builds_history_of_object ON django_admin_log (content_type_id, object_id, action_time)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("builds", "0006_progress_pace"),
    ]

    operations = [
        migrations.RunSQL(HISTORY, "DROP INDEX builds_history_of_object"),
        migrations.AddIndex(
            "build", models.Index(fields=["created"], name="builds_by_time")
        ),
        migrations.AddIndex(
            "build", models.Index(fields=["trigger", "-id"], name="builds_by_trigger")
        ),
        migrations.AddIndex(
            "build", models.Index(fields=["failure_kind", "-id"], name="builds_by_failure")
        ),
        migrations.AddIndex(
            "build",
            models.Index(fields=["-id"], name="builds_kept", condition=models.Q(("keep", True))),
        ),
        migrations.AddIndex(
            "scheduledrun", models.Index(fields=["-due", "-id"], name="builds_runs_by_time")
        ),
    ]
