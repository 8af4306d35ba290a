from django.db import migrations, models

# django-q2's table of messages has no index of their keys: each look for a wake-up would read
# those of queues that nobody serves.
WAKE_UPS = "CREATE INDEX builds_wake_ups ON django_q_ormq (key, id)"


class Migration(migrations.Migration):
    dependencies = [
        ("django_q", "0019_alter_task_options_alter_ormq_key_alter_ormq_lock_and_more"),
        ("builds", "0007_speed"),
    ]

    operations = [
        migrations.RunSQL(WAKE_UPS, "DROP INDEX builds_wake_ups"),
        # Of all states: of an index of two, SQLite does not see that it has those of one.
        migrations.RemoveIndex("deletion", "builds_deletions_to_do"),
        migrations.AddIndex(
            "deletion", models.Index(fields=["state", "id"], name="builds_deletions_to_do")
        ),
    ]
