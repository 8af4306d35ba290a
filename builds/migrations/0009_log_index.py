import django.db.models.deletion
from django.db import migrations, models


def drop_index(apps, schema_editor):
    """Drop the index of the log's build alone; Django would copy the whole table on SQLite."""
    connection = schema_editor.connection
    table = apps.get_model("builds", "logmessage")._meta.db_table
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, table)
    for name, one in found.items():
        if one["index"] and one["columns"] == ["build_id"]:
            schema_editor.execute(f"DROP INDEX {connection.ops.quote_name(name)}")


def make_index(apps, schema_editor):
    connection = schema_editor.connection
    table = connection.ops.quote_name(apps.get_model("builds", "logmessage")._meta.db_table)
    schema_editor.execute(f"CREATE INDEX builds_logmessage_build_id ON {table} (build_id)")


class Migration(migrations.Migration):
    dependencies = [("builds", "0008_wake_ups")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(drop_index, make_index)],
            state_operations=[
                migrations.AlterField(
                    "logmessage",
                    "build",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="log_messages",
                        to="builds.build",
                    ),
                ),
            ],
        ),
    ]
