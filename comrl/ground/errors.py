"""What goes wrong: the one exception that a user can mend, and errors kept until all else is done."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

Result = TypeVar("Result")
GPU_FULL = (
    "the GPU's memory is full; train fewer --seeds at once, lower context_batch or control_batch with --set, "
    "or give --device cpu.  What was computed up to the last test is kept"
)
MEMORY_FULL = (
    "this machine's memory is full; give fewer --jobs, --threads or --seeds, or lower batches with --set. "
    " What was finished, or computed up to the last test, is kept"
)


class BadInput(ValueError):
    """Something the user gave cannot be used; the message names what is wrong and the remedy."""


class Notice(UserWarning):
    """Something that the user should know of; what was asked for goes on."""


def tried(work: Callable[[], Result]) -> Result | Exception:
    """The result, or the error that ended the work, fit to be kept for later."""
    try:
        return work()
    except Exception as error:
        return kept(error)


def kept(error: Exception) -> Exception:
    """An error without its frames, which may hold a GPU's memory, and such that another process can read it.

    What a user can mend becomes BadInput; the traceback of anything else is a note.
    """
    if sentence := mendable(error):
        return BadInput(sentence)
    story = "".join(traceback.format_exception(error))
    try:
        plain = pickle.loads(pickle.dumps(error))
    except Exception:
        plain = RuntimeError(f"{type(error).__name__}: {error}")
    plain.add_note(story)
    return plain


def mendable(error: Exception) -> str | None:
    """What to tell a user of an error that is no fault of the program; None where it is one."""
    if isinstance(error, BadInput):
        return str(error)
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        return GPU_FULL
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return MEMORY_FULL
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; mend that and give the same command again"
    return None


def raise_all(errors: Sequence[Exception]) -> None:
    """Raise what went wrong, if anything: refusals as one BadInput with a line each, else a group of all."""
    if len(errors) == 1:
        raise errors[0]
    if errors and all(isinstance(error, BadInput) for error in errors):
        raise BadInput("\n".join(dict.fromkeys(map(str, errors))))
    if errors:
        raise ExceptionGroup(f"{len(errors)} pieces of work failed", list(errors))
