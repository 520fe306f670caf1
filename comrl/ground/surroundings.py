"""What libraries read of the user's environment, changed for a moment: it is the user's before and after."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def environment(name: str, value: str) -> Iterator[str | None]:
    """Give an environment variable another value; what the user gave it, if anything."""
    chosen = os.environ.get(name)
    os.environ[name] = value
    try:
        yield chosen
    finally:
        if chosen is None:
            del os.environ[name]
        else:
            os.environ[name] = chosen
