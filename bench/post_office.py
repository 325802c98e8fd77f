"""django-post-office on PostgreSQL: `CONNINFO PORT LETTERS`. Queues LETTERS letters and sends them with two processes.

It takes each text for a template of Django's; these have no variables. Prints CPU seconds (its children's too), wall
seconds, letters sent.
"""

import logging
import resource
import sys
import time
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from psycopg.conninfo import conninfo_to_dict

PROCESSES = 2
TEXT = "A line of a letter that says what letters say, and then says it again.\n" * 8


def configure(conninfo: str, port: int) -> None:
    to = conninfo_to_dict(conninfo)
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": to["dbname"],
                "HOST": to["host"],
                "PORT": to["port"],
                "USER": to["user"],
                "OPTIONS": {"passfile": to["passfile"]},
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        EMAIL_BACKEND="post_office.EmailBackend",
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=port,
        POST_OFFICE={"BATCH_SIZE": 1000, "LOG_LEVEL": 0, "DEFAULT_PRIORITY": "medium"},
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        USE_TZ=True,
    )
    django.setup()


def letter(number: int) -> dict[str, Any]:
    return {
        "sender": "anna@northwind.test",
        "recipients": [f"maria{number}@firm{number}.example"],
        "subject": f"A letter for {number}",
        "message": TEXT,
        "html_message": f"<p>{TEXT}</p>",
    }


def cpu() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def main() -> None:
    conninfo, port, letters = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    configure(conninfo, port)
    logging.disable()
    call_command("migrate", verbosity=0)
    from post_office import mail
    from post_office.models import STATUS, Email

    cpu_before, began = cpu(), time.monotonic()
    mail.send_many([letter(number) for number in range(letters)])
    mail.send_queued_mail_until_done(processes=PROCESSES, log_level=0)
    spent, seconds = cpu() - cpu_before, time.monotonic() - began
    connection.close()  # its children had it too, and ended it
    print(spent, seconds, Email.objects.filter(status=STATUS.sent).count())


if __name__ == "__main__":
    main()
