"""A ledger on which claims can be judged, and what they say of it."""

from pathlib import Path

from comrl.benchmark.reporting.claims.rules import Verdict, judge
from comrl.benchmark.reporting.ledger import Ledger, read_ledger
from comrl.ground.discovery import declared
from support.ledgers import BATCH, BLIND, FOCAL, FOCALPP, GOALS, WIND, Algo, add_run

CLAIMS = {claim.name: claim for claim in declared("comrl.benchmark.reporting.claims", "CLAIMS")}
CEILING = Algo("ceiling", "ceiling", 0.02, role="top")
TEN = tuple(range(10))


def point_robots(results: Path) -> Ledger:
    """Ten seeds on the point robot's mixed and relabeled data, three on the wind."""
    for algo in (FOCAL, BATCH, FOCALPP, CEILING, BLIND):
        add_run(results, GOALS, algo, seeds=TEN, draws=2)
        add_run(results, GOALS, algo, split="relabeled", seeds=TEN, draws=2)
        add_run(results, WIND, algo, draws=2)
    for algo in (FOCAL, FOCALPP):
        contexts = ("expert", "medium", "random")
        add_run(results, GOALS, algo, split="expert", contexts=contexts, seeds=TEN, draws=2)
    return read_ledger(results)


def found(ledger: Ledger, name: str) -> Verdict:
    return judge(CLAIMS[name], ledger)
