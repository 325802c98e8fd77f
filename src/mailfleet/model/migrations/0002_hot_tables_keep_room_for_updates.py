"""Tables that are updated with each letter: room on the page for the new row version, and vacuum by count, not by share."""

from django.db import migrations

HOT = ("lease", "usage", "ramp")


class Migration(migrations.Migration):
    dependencies = [("model", "0001_the_sending_path")]
    operations = [
        *(
            migrations.RunSQL(
                f"ALTER TABLE {table} SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0,"
                " autovacuum_vacuum_threshold = 5000)",
                f"ALTER TABLE {table} RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)",
            )
            for table in HOT
        ),
        migrations.RunSQL(
            "ALTER TABLE message SET (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 20000,"
            " autovacuum_analyze_scale_factor = 0.0, autovacuum_analyze_threshold = 20000)",
            "ALTER TABLE message RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold,"
            " autovacuum_analyze_scale_factor, autovacuum_analyze_threshold)",
        ),
    ]
