"""Django's settings: schema and migrations. `model.schema` names the database."""

from psycopg.conninfo import conninfo_to_dict

INSTALLED_APPS = ["django.contrib.postgres", "mailfleet.model"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "mailfleet", "OPTIONS": {}}}


def database_of(conninfo: str) -> dict[str, object]:
    """Django's description of the database that a libpq connection string or URL names."""
    parts = conninfo_to_dict(conninfo)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname", ""),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": str(parts.pop("port", "")),
        "OPTIONS": parts,
    }
