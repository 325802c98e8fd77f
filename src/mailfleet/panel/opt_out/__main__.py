"""The opt-out page's process: `python -m mailfleet.panel.opt_out`, on the database that MAILFLEET_DATABASE_URL names.

It stops on SIGTERM, SIGINT, or its parent's end.
"""

import sys

from mailfleet.base.errors import MailfleetError
from mailfleet.base.log import configure_log, get_log
from mailfleet.base.settings import read_settings
from mailfleet.panel.opt_out.service import serve


def main() -> None:
    settings = read_settings()
    configure_log(settings.log_level, process="opt-out page")
    try:
        serve(settings, with_parent=True)
    except MailfleetError as error:
        get_log().critical("opt_out_page_cannot_start", error=str(error), hint=error.hint)
        sys.exit(1)


if __name__ == "__main__":
    main()
