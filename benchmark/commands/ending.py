"""How a command ends: what it prints, the sentences on standard error, and its exit code."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from comrl.ground.errors import Notice, mendable
from comrl.ground.interrupts import interruptible
from comrl.ground.streams import lasting_streams


def ended(command: Callable[[], int], *, at_once: bool) -> int:
    """Do a command: 2 and one sentence for each thing that a user can mend, 128 + n after signal n.

    A fault of the program is raised, once all else is told.  at_once: interrupted, the process ends here and
    waits neither for threads that still compute nor for libraries to be torn down.
    """
    with lasting_streams(), interruptible() as asked, _notices_as_sentences():
        try:
            code = command()
            sys.stdout.flush()
            return code
        except KeyboardInterrupt:
            print("\nbench: interrupted; the same command goes on where this one stopped", file=sys.stderr)
            code = 128 + (asked[0] if asked else signal.SIGINT)
            if at_once:
                sys.stdout.flush()
                os._exit(code)
            return code
        except Exception as error:
            return _told(error)


@contextmanager
def _notices_as_sentences() -> Iterator[None]:
    """Show our own warnings as a user reads them, without the line of code that gives them."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **rest: Any) -> None:
        if issubclass(category, Notice):
            print(f"bench: {message}", file=sys.stderr)
        else:
            shown(message, category, *place, **rest)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown


def _told(error: Exception) -> int:
    """Print what a user can mend; raise the rest."""
    faults = []
    for each in _each(error):
        if sentences := mendable(each):
            for sentence in sentences.splitlines():
                print(f"bench: {sentence}", file=sys.stderr)
        else:
            faults.append(each)
    if len(faults) > 1:
        raise ExceptionGroup(f"{len(faults)} faults", faults)
    if faults:
        raise faults[0]
    return 2


def _each(error: Exception) -> Iterator[Exception]:
    """The error, or those of its group."""
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _each(inner)
    else:
        yield error
