"""Claims about returns: who is better, what another context costs, what inference gains."""

from __future__ import annotations

from itertools import product

import numpy as np

from comrl.benchmark.reporting import metrics
from comrl.benchmark.reporting.claims import Comparison, Side
from comrl.benchmark.reporting.claims.evidence import Bar
from comrl.benchmark.reporting.claims.reading import (
    Asked,
    Measure,
    Measured,
    Shelf,
    claims_of,
    comparison,
    duels,
    find,
)
from comrl.benchmark.reporting.figures.views import Entry, headline_split, published


def own_return(entry: Entry) -> Measured:
    """Headline score with contexts of the training split."""
    returns = entry.returns(entry.first.headline)  # [S, T]
    return Measured(returns, returns.mean(1))


def drop_by_quality(entry: Entry) -> Measured | None:
    """What is lost, task by task, with contexts of other splits. [focalpp Tables 3, 4]"""
    others = _other_contexts(entry.env, entry.split)
    if not set(others) <= set(entry.contexts):
        return None
    own = entry.returns(entry.first.headline)  # [S, T]
    drops = [own - entry.returns(entry.first.headline, context) for context in others]
    lost = np.concatenate(drops, axis=1)  # [S, T * contexts]
    return Measured(-lost, lost.mean(1))


def _other_contexts(env: str, split: str) -> list[str]:
    return [context for context in published("table3", env, split) or {} if context != split]


def drop_by_behaviour(entry: Entry) -> Measured | None:
    """What is lost, task by task, with contexts that other tasks' agents drew."""
    table = entry.shifted()
    if table is None:
        return None
    strange = table["behaviour"] != table["task"]
    own, other = (
        part.groupby(["seed", "task"])[entry.first.headline].mean().unstack().to_numpy()
        for part in (table[~strange], table[strange])
    )
    return Measured(other - own, (own - other).mean(1))


def _printed_return(env: str, split: str, algo: str) -> float | None:
    told = published("table1", env, algo) if split == headline_split() else None
    return told[0] if told else None


def _printed_drop(env: str, split: str, algo: str) -> float | None:
    told = published("table3", env, split) or {}
    drops = [told[split][algo] - told[other][algo] for other in _other_contexts(env, split)]
    return sum(drops) / len(drops) if drops else None


RETURN = Measure(own_return, _printed_return)
BY_QUALITY = Measure(
    drop_by_quality, _printed_drop, lacks="its last test had no contexts of one of the paper's other splits"
)


def shares(row: Asked, there: Shelf) -> list[Comparison]:
    """How much of the way from the lower yardstick to the upper a method goes, against a bar.

    The yardsticks' means stand still: their seeds differ little beside the way between them.
    """
    bar = row.at_most if row.at_least is None else row.at_least
    assert bar is not None
    sign, word = (1, "≥") if bar == row.at_least else (-1, "≤")
    made = []
    for (env, split), algo in product(row.settings(), row.ours):
        ours = find(there, env, split, algo, RETURN)
        lower, upper = (find(there, env, split, yardstick, RETURN) for yardstick in row.yardsticks)
        low, high = lower.side.value, upper.side.value
        evidence, side, why = None, ours.side._replace(value=None, std=None), ""
        if ours.measured and low is not None and high is not None:
            share = metrics.normalised(ours.measured.values, low, high)  # [S]; nan where high is not above
            if high > low:
                evidence = Bar(sign * (share - bar))
            else:
                why = f"{upper.side.label} is not above {lower.side.label}"
            side = side._replace(value=float(share.mean()), std=metrics.std(share))
        theirs = Side(f"{word} {bar:g} of {upper.side.label} − {lower.side.label}", value=bar)
        parts = (ours, lower, upper)
        made.append(comparison(there, (env, split), (side, theirs), evidence, parts, why))
    return made


CLAIMS = claims_of(
    {
        "return": duels(RETURN),
        "drop by quality": duels(BY_QUALITY),
        "drop by behaviour": duels(Measure(drop_by_behaviour, test="shifted")),
        "share": shares,
    }
)
