"""An interrupt ends a command in order; another one, a moment later, ends it at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MOMENT = 0.5  # seconds: `timeout -s INT` sends two at once, an impatient person one after another


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt at the first signal that asks to end, and keep its number in the list.

    Later ones within a moment are the same request, those after it end the process.  A signal that whoever
    started us has had ignored stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield []
        return
    first: list[float] = []
    asked: list[int] = []  # an exception's own number would be lost in libraries that raise it anew

    def end(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not first:
            first.append(now)
            asked.append(number)
            raise KeyboardInterrupt
        if now - first[0] > MOMENT:
            os._exit(128 + number)

    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: signal.getsignal(number) for number in ENDING}
    for number in ENDING:
        if before[number] in usual:
            signal.signal(number, end)
    try:
        yield asked
    finally:
        for number in () if first else ENDING:  # interrupted, it goes on guarding the end of the process
            signal.signal(number, before[number])
