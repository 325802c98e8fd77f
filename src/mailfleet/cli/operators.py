"""Who gives a command: the name under which holds, bans and decisions are remembered."""

import getpass
import os


def operator_name() -> str:
    """The login name; the number of a user that has none, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return f"uid {os.getuid()}"
