"""Standard streams that may be closed, or whose reader may leave: a command goes on without them."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from comrl.ground.errors import BadInput

LEFT = (
    errno.EPIPE,
    errno.EIO,
    errno.EBADF,
    errno.ECONNRESET,
)  # nobody reads any more, or the terminal is gone


class Lasting:
    """A text stream; what nobody reads is dropped, and so is what cannot be written where `always`.

    Else, as on a full disk, BadInput says so.
    """

    def __init__(self, stream: TextIO, *, always: bool) -> None:
        self._stream, self._always = stream, always

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or drop."""
        encoding = self._stream.encoding or "utf-8"
        with self._dropping():  # a name that is no text, or a terminal of few letters, ends no command
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Write what is held back, or drop it."""
        with self._dropping():
            self._stream.flush()

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._write_nowhere()
            if not self._always and error.errno not in LEFT:
                raise BadInput(
                    f"the output cannot be written ({error.strerror}); give it another place.  What was "
                    "computed is kept"
                ) from error

    def _write_nowhere(self) -> None:
        """From now on; else what is held back would be tried again as the process ends."""
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Print to streams that last.

    One that was closed is opened on nothing: the next file to be opened would take its number.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    before = sys.stdout, sys.stderr
    out = sys.stdout or os.fdopen(1, "w", closefd=False)
    err = sys.stderr or os.fdopen(2, "w", closefd=False)
    sys.stdout = cast(TextIO, Lasting(out, always=False))
    sys.stderr = cast(TextIO, Lasting(err, always=True))
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
