"""How a process of a test comes to die, or to freeze, at a named point of its own code."""

import functools
import os
import signal
import threading
from collections.abc import Callable
from typing import Any


def lay_blow(owner: Any, name: str, *, is_after: bool, number: int = 1, blow: signal.Signals = signal.SIGKILL) -> None:
    """The `number`-th time the function `name` of a class or module is called, in any thread, this process sends itself
    `blow`, before or after what the function does.
    """
    original: Callable[..., Any] = getattr(owner, name)
    left, lock = number, threading.Lock()

    def come() -> None:
        nonlocal left
        with lock:
            left -= 1
            is_now = left == 0
        if is_now:
            os.kill(os.getpid(), blow)

    @functools.wraps(original)
    def doomed(*arguments: Any, **options: Any) -> Any:
        if not is_after:
            come()
        result = original(*arguments, **options)
        if is_after:
            come()
        return result

    setattr(owner, name, doomed)
