"""What would decide an open claim: the commands that are told, and seeds enough in the suite."""

from __future__ import annotations

from dataclasses import replace
from math import comb
from pathlib import Path
from typing import NamedTuple

import pytest
from support.claims import CLAIMS, found, point_robots
from support.ledgers import FOCAL, FOCALPP, GOALS, MUJOCO, MUJOCO_TRAINING, WIND, add_run

from comrl.benchmark import suite
from comrl.benchmark.commands.cli import parser
from comrl.benchmark.reporting.claims import Claim, Comparison, Weight
from comrl.benchmark.reporting.claims.rules import judge, remedies, verdicts
from comrl.benchmark.reporting.ledger import Ledger, read_ledger


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return point_robots(tmp_path_factory.mktemp("results"))


def test_what_is_missing_comes_with_its_command(ledger: Ledger) -> None:
    (of_mbml,) = remedies(found(ledger, "C8c"), ledger)[:1]
    assert of_mbml.startswith(
        f"bench run --env {GOALS.name} {WIND.name} --split mixed --algo mbml --seeds 0 1 2 3 4"
    )
    assert of_mbml.endswith(" --preset lite")
    for verdict in verdicts(ledger):
        told = remedies(verdict, ledger)
        assert bool(told) == (verdict.word == "undecided")
        for command in told:
            parser().parse_args(command.split()[1:])


def test_variance_curves_ask_for_more_pairs_of_both(tmp_path: Path) -> None:
    """Seeds that both have are what decides: where these are too few, both sides train."""
    for algo, seeds in ((FOCALPP, (0, 1, 2)), (FOCAL, (1, 2, 3, 4))):
        add_run(tmp_path, GOALS, algo, split="relabeled", seeds=seeds, draws=2)
    ledger = read_ledger(tmp_path)
    (one,) = found(ledger, "C7a").judged
    assert (one.comparison.ours.seeds, one.comparison.theirs.seeds) == (2, 2)
    (command,) = remedies(found(ledger, "C7a"), ledger)
    assert "--split relabeled --algo focalpp focal --seeds 0 1 2 3 4 5 --preset lite" in command


def test_variance_curves_without_a_pair_ask_for_one(tmp_path: Path) -> None:
    for algo, seeds in ((FOCALPP, (0, 1)), (FOCAL, (2, 3))):
        add_run(tmp_path, GOALS, algo, split="relabeled", seeds=seeds, draws=2)
    ledger = read_ledger(tmp_path)
    for name in ("C7a", "C7b"):
        (one,) = found(ledger, name).judged
        assert (one.mark, one.comparison.ours.value) == ("missing", None)
        (command,) = remedies(found(ledger, name), ledger)
        assert "--algo focalpp focal --seeds 0 1 2 3 4 5 6 7 8 9" in command  # the suite's


def test_more_seeds_of_a_test_are_tested_too(tmp_path: Path) -> None:
    for env in (GOALS, *MUJOCO[:3]):
        for algo in (FOCAL, FOCALPP):
            training = MUJOCO_TRAINING if env.body else None
            add_run(tmp_path, env, algo, seeds=(0, 1, 2), training=training, draws=2)
    ledger = read_ledger(tmp_path)
    train, test = remedies(found(ledger, "C4b"), ledger)
    assert train.startswith("bench run") and "--seeds 0 1 2 3 4 " in train
    assert test.startswith("bench test --context shifted --run results/runs/")
    assert f"results/runs/{GOALS.name}.mixed.lite.focal.*" in test.split()


class Told(NamedTuple):
    """Evidence whose weight is known."""

    weight: Weight

    def weigh(self) -> Weight:
        return self.weight

    def least_seeds(self, level: float) -> int:
        return 2


def apart(claim: Claim, one: Comparison) -> Weight:
    """What a comparison weighs if the suite's seeds lie apart in it."""
    sides = [side.algo for side in (one.ours, one.theirs) if side.algo]
    seeds = [suite.seeds_for(one.env, one.split, algo, "lite") for algo in sides]
    by_pairs = len(seeds) < 2 or claim.measure.startswith("crossing")
    return Weight(1, (1, 1), (1, 1), 2.0 ** -min(seeds) if by_pairs else 1 / comb(sum(seeds), seeds[0]), 1)


@pytest.mark.parametrize("name", [name for name in CLAIMS if name.startswith("C")])
def test_the_suites_seeds_can_decide_every_claim(name: str) -> None:
    """No more comparisons than the claim needs, those of fewest seeds, lie apart; the others say nothing."""
    claim = CLAIMS[name]
    compared = claim.compare(Ledger((), ()))
    weights = sorted((apart(claim, one) for one in compared), key=lambda weight: -weight.chance_for)
    nothing = Weight(0.5, (0, 1), (0, 1), 1.0, 1.0)

    def least(wanted: int) -> int:
        """So many that lie apart are counted as holding; who fails is the same with sides exchanged."""
        for count in range(wanted, len(weights) + 1):
            told = [Told(weight) for weight in weights[:count] + [nothing] * (len(weights) - count)]
            made = [one._replace(evidence=each) for one, each in zip(compared, told, strict=True)]
            verdict = judge(replace(claim, compare=lambda _, made=made: made), Ledger((), ()))
            if verdict.count("for") >= wanted:
                return count
        raise AssertionError(f"{name} cannot be decided")

    wanted = claim.wanted(len(weights))
    refuting = len(weights) - wanted + 1
    more = {"C2a": (13, 13), "C2b": (15, 13)}  # of 18: five seeds a side are few (docs/claims.md)
    assert (least(wanted), least(refuting)) == more.get(name, (wanted, refuting))


def test_open_comparisons_ask_for_as_many_seeds_as_can_decide(tmp_path: Path) -> None:
    for env in (GOALS, WIND, *MUJOCO):
        for algo in (FOCAL, FOCALPP):
            training = MUJOCO_TRAINING if env.body else None
            add_run(tmp_path, env, algo, seeds=(0, 1, 2), training=training, draws=2)
    ledger = read_ledger(tmp_path)
    (command,) = remedies(found(ledger, "C1"), ledger)
    assert "--algo focalpp focal --seeds 0 1 2 3 4 --preset lite" in command  # 5 against 5: 6 / 252 < 0.025


def test_tests_that_are_missing_are_asked_for(ledger: Ledger) -> None:
    bare = Ledger(tuple(replace(run, shifted=None) for run in ledger.runs), ())
    told = remedies(found(bare, "C4b"), bare)
    assert (
        "bench test --context shifted --run" in told[-1]
        and f"runs/{GOALS.name}.mixed.lite.focal.*" in told[-1]
    )
