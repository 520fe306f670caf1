"""How long a data set took to make: kept beside it, no part of it, and not missed where it is not there."""

from __future__ import annotations

import json
import math
from pathlib import Path

from comrl.ground.errors import BadInput
from comrl.ground.reading import content_of

COST = "cost.json"


def seconds_spent(folder: Path) -> float | None:
    """The seconds that a data set took; None where nobody knows."""
    try:
        seconds = float(json.loads(content_of(folder / COST) or b"")["seconds"])
    except (BadInput, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
