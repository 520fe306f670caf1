"""Claims about embeddings: how much they vary, what the gate looks at, where variance curves cross."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from comrl.benchmark.reporting import metrics
from comrl.benchmark.reporting.claims import Comparison, Need, Side
from comrl.benchmark.reporting.claims.evidence import Bar, Proof
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
from comrl.benchmark.reporting.figures.gates import gate_auc, thresholds
from comrl.benchmark.reporting.figures.theorems import equal_losses, ordered_losses
from comrl.benchmark.reporting.figures.views import Entry, headline_split, published

Array = NDArray[np.float64]
NO_PROBE = "no embeddings on record"
ONE_CLASS = "no gate, or contexts of a seed whose rewards are of one class"
NOTHING = 1e-30  # the variance of an encoder that has collapsed, where its logarithm is taken


def variance(entry: Entry, *, relative: bool = False) -> Measured | None:
    """Variance over contexts on training tasks, for every seed; relative: to that between tasks."""
    z = entry.probe("z")
    if z is None:
        return None
    train = z[:, list(entry.first.card.task_set.train)]  # [S, T, D, Z]
    values = np.array([metrics.embedding_variance(seed) for seed in train])
    if relative:
        between = np.array([metrics.between_task_variance(seed) for seed in train])
        values = np.divide(values, between, out=np.full_like(values, np.inf), where=between > 0)
    return Measured(-values[:, None], values)


def _printed_variance(env: str, split: str, algo: str) -> float | None:
    return published("table2", env, algo) if split == headline_split() else None


def area(entry: Entry, *, harsher: bool = False) -> Measured | None:
    """AUC of the gate's weight, for every seed; None without a gate, or where contexts hold one class."""
    if entry.probe("gate_weight") is None:
        return None
    values = np.array(gate_auc(entry, harsher=harsher))
    return Measured(values[:, None], values) if np.isfinite(values).all() else None


def at_least(measure: Measure) -> Callable[[Asked, Shelf], list[Comparison]]:
    """Every algorithm of ours against a bar."""

    def found(row: Asked, there: Shelf) -> list[Comparison]:
        assert row.at_least is not None
        bar = Side(f"≥ {row.at_least:g}", value=row.at_least)
        made = []
        for (env, split), algo in product(row.settings(), row.ours):
            ours = find(there, env, split, algo, measure)
            evidence = Bar(ours.measured.values - row.at_least) if ours.measured else None
            sides = ours.side._replace(paper=row.printed), bar
            made.append(comparison(there, (env, split), sides, evidence, (ours,)))
        return made

    return found


def crossings(row: Asked, there: Shelf, *, predicted: bool = False) -> list[Comparison]:
    """Where, seed by seed, our variance falls below theirs for good; near a number, or where eq. 34 says."""
    curves = Measure(_variance_by_sparsity, lacks="no variance by the sparse share on record")
    made = []
    for env, split in row.settings():
        pair = [find(there, env, split, algo, curves) for algo in (row.ours[0], row.theirs[0])]
        ours = pair[0].side._replace(seeds=0, value=None, std=None, paper=row.printed)
        label = "eq. 34" if predicted else f"{row.near:g} ± {row.within:g}"
        bar, evidence, why = Side(label, pair[1].side.algo), None, ""
        if all(part.measured for part in pair):
            entries = (there[env, split, part.side.algo] for part in pair)
            crossed, by_theorem = _crossings_of(*entries)  # [P], [P]
            goal = by_theorem if predicted else np.full(len(crossed), row.near)
            if not len(crossed):
                pair = [part._replace(needs=(Need(env, split, part.side.algo),)) for part in pair]
            elif np.isfinite(goal).all():
                evidence = Bar(row.within - abs(crossed - goal))
                ours = ours._replace(value=float(crossed.mean()), std=metrics.std(crossed))
                bar = bar._replace(value=float(goal.mean()))
            else:
                why = "eq. 34 has no threshold for one of the seeds"
            ours, bar = (side._replace(seeds=len(crossed)) for side in (ours, bar))
        made.append(comparison(there, (env, split), (ours, bar), evidence, pair, why))
    return made


def _crossings_of(ours: Entry, theirs: Entry) -> tuple[Array, Array]:
    """Where the curves of each seed that both have cross, and eq. 34's threshold for it.  -> [S], [S]."""
    positions = [{seed: i for i, (*_, seed) in enumerate(entry.seeds())} for entry in (ours, theirs)]
    both = [seed for seed in positions[0] if seed in positions[1]]
    mine, other = ([place[seed] for seed in both] for place in positions)
    curves = [entry.probe("sparsity_variance") for entry in (ours, theirs)]  # [S, R], [S', R]
    assert curves[0] is not None and curves[1] is not None
    found = crossing(ours.first.probe["sparsity_ratio"], curves[0][mine], curves[1][other])
    return found, np.array(thresholds(ours))[mine]


def _variance_by_sparsity(entry: Entry) -> Measured | None:
    curves = entry.probe("sparsity_variance")  # [S, R]
    return None if curves is None else Measured(curves, curves.mean(1))


def crossing(ratio: Array, ours: Array, theirs: Array) -> Array:
    """The sparse share above which our variance stays below theirs: 0 always, 1 never. [focalpp Fig. 6]

    Between two shares the logarithms of both are straight.  [R], [S, R], [S, R] -> [S].
    """
    gap = np.log(np.maximum(ours, NOTHING)) - np.log(np.maximum(theirs, NOTHING))  # [S, R]
    found = []
    for line in gap:
        above = np.flatnonzero(line >= 0)
        if not above.size:
            found.append(0.0)
            continue
        last = int(above[-1])
        if last == len(ratio) - 1:
            found.append(1.0)
            continue
        step = line[last] / (line[last] - line[last + 1])
        found.append(float(ratio[last] + step * (ratio[last + 1] - ratio[last])))
    return np.array(found)


def theorem(
    row: Asked, there: Shelf, *, probe: str, holds: Callable[[Array], NDArray[np.bool_]]
) -> list[Comparison]:
    """Whether a theorem holds on every seed of all encoders, by setting; one exception is enough."""
    losses = Measure(partial(_losses, probe=probe), lacks="its losses are not on record, or not finite")
    made = []
    for env, split in row.settings():
        parts = [find(there, env, split, algo, losses) for algo in row.ours]
        found = [holds(part.measured.scores) for part in parts if part.measured]
        proof = Proof(np.concatenate(found)) if found else None
        settled = proof is not None and (len(found) == len(parts) or not proof.holds.all())
        ours = Side(f"{len(found)} encoders", seeds=sum(map(len, found)))
        evidence = proof if settled else None
        made.append(comparison(there, (env, split), (ours, Side("always")), evidence, parts))
    return made


def _losses(entry: Entry, *, probe: str) -> Measured | None:
    found = entry.probe(probe)
    return None if found is None or not np.isfinite(found).all() else Measured(found, found.mean(1))


CLAIMS = claims_of(
    {
        "variance": duels(Measure(variance, _printed_variance, lacks=NO_PROBE)),
        "relative variance": duels(Measure(partial(variance, relative=True), lacks=NO_PROBE)),
        "AUC": at_least(Measure(area, lacks=ONE_CLASS)),
        "harsher AUC": at_least(Measure(partial(area, harsher=True), lacks=ONE_CLASS)),
        "crossing": crossings,
        "crossing by eq. 34": partial(crossings, predicted=True),
        "theorem 3.1": partial(theorem, probe="theorem31", holds=equal_losses),
        "theorem 3.2": partial(theorem, probe="theorem32", holds=ordered_losses),
    }
)
