"""The claims: verdicts follow the written rules, and what is missing comes with the command that adds it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.ledgers import (
    BATCH,
    BLIND,
    FOCAL,
    FOCALPP,
    GOALS,
    MUJOCO,
    MUJOCO_TRAINING,
    WIND,
    Algo,
    add_run,
)

from comrl.algorithms.algorithm import find_algorithm
from comrl.benchmark import suite
from comrl.benchmark.commands.cli import parser
from comrl.benchmark.reporting.claims import Claim, Comparison, Side
from comrl.benchmark.reporting.claims.embeddings import crossing
from comrl.benchmark.reporting.claims.evidence import Bar, Duel, Proof
from comrl.benchmark.reporting.claims.rules import Verdict, judge, remedies, verdicts
from comrl.benchmark.reporting.figures.verdicts import comparison_table, verdict_table
from comrl.benchmark.reporting.ledger import Ledger, merge_seeds, read_ledger
from comrl.datasets.splits import find_split
from comrl.envs.family import find_family
from comrl.ground.discovery import declared

ROOT = Path(__file__).parent.parent
CLAIMS = {claim.name: claim for claim in declared("comrl.benchmark.reporting.claims", "CLAIMS")}
CEILING = Algo("ceiling", "ceiling", 0.02, role="top")
TEN = tuple(range(10))


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Ten seeds on the point robot's mixed and relabeled data, three on the wind."""
    results = tmp_path_factory.mktemp("results")
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


def weighed(*marks: str, least: str = "all") -> Verdict:
    """A claim whose comparisons hold, fail, are open or were not run."""
    apart = np.arange(10.0)[:, None]
    evidence = {
        "for": Duel(apart + 100, apart), "against": Duel(apart, apart + 100), "open": Duel(apart, apart),
        "missing": None,
    }  # fmt: skip
    made = [Comparison("e", "s", "E", Side("a"), Side("b"), evidence[mark]) for mark in marks]
    return judge(Claim("X", "", "", "", "", least, lambda _: made), Ledger((), ()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("least", "marks", "word"),
    [
        ("all", ["for"] * 6, "supported"),
        ("all", ["for"] * 5 + ["open"], "undecided"),
        ("all", ["for"] * 5 + ["missing"], "undecided"),
        ("all", ["for"] * 5 + ["against"], "refuted"),
        ("all", ["against"] + ["missing"] * 5, "refuted"),
        ("almost all", ["for"] * 5 + ["against"], "supported"),
        ("almost all", ["for"] * 4 + ["against"] * 2, "refuted"),
        ("almost all", ["for"] * 3 + ["open"], "undecided"),  # one in six of four is none
        ("most", ["for"] * 4 + ["against"] * 2, "supported"),
        ("most", ["for"] * 3 + ["against"] * 3, "refuted"),
        ("most", ["for"] * 3 + ["open"] * 3, "undecided"),
        ("all", [], "undecided"),
    ],
)
def test_a_verdict_follows_from_how_many_hold_and_fail(least: str, marks: list[str], word: str) -> None:
    verdict = weighed(*marks, least=least)
    assert [one.mark for one in verdict.judged] == marks
    assert verdict.word == word


def test_the_number_of_comparisons_is_corrected_for() -> None:
    """Five seeds that lie apart decide one of six, not one of eighteen; all six with three against five."""
    apart = np.arange(5.0)[:, None]

    def marks(ours: int, theirs: int, apart_in: int, count: int) -> list[str]:
        clear, alike = Duel(apart[:ours] + 9, apart[:theirs]), Duel(apart, apart)
        made = [
            Comparison("e", "s", "E", Side("a"), Side("b"), clear if i < apart_in else alike)
            for i in range(count)
        ]
        return [
            one.mark
            for one in judge(Claim("X", "", "", "", "", "all", lambda _: made), Ledger((), ())).judged
        ]

    assert marks(5, 5, 1, 6).count("for") == 1
    assert marks(5, 5, 1, 18).count("for") == 0
    assert marks(5, 3, 6, 6).count("for") == 6
    assert marks(5, 3, 5, 6).count("for") == 0
    assert marks(3, 3, 6, 6).count("for") == 0


def test_against_a_number_six_seeds_decide_and_five_do_not() -> None:
    for count, mark in ((5, "open"), (6, "for")):
        made = [Comparison("e", "s", "E", Side("a"), Side("b"), Bar(np.full(count, 0.1)))]
        assert (
            judge(Claim("X", "", "", "", "", "all", lambda _, made=made: made), Ledger((), ())).judged[0].mark
            == mark
        )
    assert (
        Bar(np.ones(3)).least_seeds(0.025) == 6
        and Duel(np.ones((3, 1)), np.ones((3, 1))).least_seeds(0.025) == 4
    )


def test_one_exception_refutes_a_theorem() -> None:
    for holds, mark in (([True] * 3, "for"), ([True, True, False], "against")):
        made = [Comparison("e", "s", "E", Side("a"), Side("b"), Proof(np.array(holds)))]
        assert (
            judge(Claim("X", "", "", "", "", "all", lambda _, made=made: made), Ledger((), ())).judged[0].mark
            == mark
        )


def test_returns_are_judged_where_there_are_seeds_enough(ledger: Ledger) -> None:
    by_setting = {one.comparison.setting: one for one in found(ledger, "C1").judged}
    goals, wind = by_setting[GOALS.label], by_setting[WIND.label]
    run = {r.algo: r for r in ledger.runs if (r.env, r.split) == (GOALS.name, "mixed")}
    means = run[FOCALPP.name].returns.groupby("seed")["inside"].mean()
    assert goals.comparison.ours.value == pytest.approx(means.mean())
    assert (goals.mark, goals.comparison.ours.paper, goals.comparison.theirs.paper) == ("for", 12.96, 11.84)
    assert wind.mark == "open" and wind.weight is not None  # three seeds decide nothing
    assert found(ledger, "C10").count("for") == 1 and found(ledger, "C10").word == "undecided"


def test_drops_are_taken_task_by_task(ledger: Ledger) -> None:
    (expert,) = [
        one
        for one in found(ledger, "C4a").judged
        if one.comparison.setting.endswith("(expert)") and one.weight
    ]
    run = next(r for r in ledger.runs if (r.split, r.algo) == ("expert", FOCALPP.name))
    means = run.returns.groupby("context")["inside"].mean()
    lost = means["expert"] - (means["medium"] + means["random"]) / 2
    assert expert.comparison.ours.value == pytest.approx(lost)
    assert expert.comparison.ours.paper == pytest.approx(12.60 - (12.47 + 10.17) / 2)
    assert expert.mark == "for"
    strange = run.shifted[run.shifted["behaviour"] != run.shifted["task"]]
    own = run.shifted[run.shifted["behaviour"] == run.shifted["task"]]
    (other,) = [one for one in found(ledger, "C4b").judged if one.comparison.setting == GOALS.label]
    run = next(r for r in ledger.runs if (r.env, r.split, r.algo) == (GOALS.name, "mixed", FOCALPP.name))
    strange = run.shifted[run.shifted["behaviour"] != run.shifted["task"]]
    own = run.shifted[run.shifted["behaviour"] == run.shifted["task"]]
    assert other.comparison.ours.value == pytest.approx(own["inside"].mean() - strange["inside"].mean())


def test_shares_lie_between_the_yardsticks(ledger: Ledger) -> None:
    level = {
        run.algo: run.returns["inside"].mean()
        for run in ledger.runs
        if (run.env, run.split) == (GOALS.name, "relabeled")
    }
    (failed,) = found(ledger, "C5a").judged
    share = (level[FOCAL.name] - level[BLIND.name]) / (level[CEILING.name] - level[BLIND.name])
    assert failed.comparison.ours.value == pytest.approx(share)
    assert share > 0.25 and found(ledger, "C5a").word == "refuted"
    assert found(ledger, "C5b").word == "supported"


def test_the_gate_is_judged_by_both_labels(ledger: Ledger) -> None:
    (mild,), (harsh,) = found(ledger, "C6a").judged, found(ledger, "C6b").judged
    assert mild.comparison.ours.value > harsh.comparison.ours.value > 0.9
    assert mild.comparison.ours.paper == 0.969 and harsh.comparison.ours.paper is None


def test_curves_cross_where_ours_stays_below() -> None:
    ratio = np.array([0.0, 0.5, 1.0])
    theirs = np.ones((5, 3))
    ours = np.exp([[1, -1, -1], [-1, -1, -1], [1, 1, 1], [-1, 1, -3], [1, -1, 1]])
    np.testing.assert_allclose(crossing(ratio, ours, theirs), [0.25, 0.0, 1.0, 0.625, 1.0])


def test_a_violated_theorem_is_refuted(tmp_path: Path) -> None:
    paper_algos = ("focal", "focalpp", "focalpp-contrastive", "focalpp-batch", "focalpp-seq")
    for name in paper_algos:
        add_run(tmp_path, WIND, Algo(name, name, 0.3), draws=2)
    ledger = read_ledger(tmp_path)
    assert [found(ledger, name).count("for") for name in ("T1", "T2")] == [1, 1]
    ledger.runs[0].probe["theorem31"][2, 0] += 0.1
    assert (found(ledger, "T1").word, found(ledger, "T2").word) == ("refuted", "undecided")


def test_what_is_missing_comes_with_its_command(ledger: Ledger) -> None:
    (of_mbml,) = remedies(found(ledger, "C8c"), ledger)[:1]
    assert of_mbml.startswith(
        f"bench run --env {GOALS.name} {WIND.name} --split mixed --algo mbml --seeds 0 1 2 3 4"
    )
    assert of_mbml.endswith("--preset lite")
    for verdict in verdicts(ledger):
        told = remedies(verdict, ledger)
        assert bool(told) == (verdict.word == "undecided")
        for command in told:
            parser().parse_args(command.split()[1:])


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


def test_seeds_trained_apart_keep_all_their_tests(tmp_path: Path) -> None:
    """Seeds of one experiment are one run: their tests on other agents' contexts are joined too."""
    for seeds in ((0, 1), (2,)):
        add_run(tmp_path, GOALS, FOCAL, seeds=seeds, draws=2)
    runs = [
        replace(run, card=run.card.model_copy(update={"settings_id": "same"}))
        for run in read_ledger(tmp_path).runs
    ]
    (merged,) = merge_seeds(runs)
    assert merged.shifted is not None and sorted(merged.shifted["seed"].unique()) == [0, 1, 2]


def test_the_same_ledger_gives_the_same_bytes(ledger: Ledger) -> None:
    again = Ledger(ledger.runs, ledger.portraits)
    for table in (verdict_table, comparison_table):
        assert table(ledger).to_csv() == table(again).to_csv()


def test_every_claim_names_what_exists_and_is_in_the_suite() -> None:
    """Nobody can be asked for a run that `bench suite` does not make."""
    nothing = Ledger((), ())
    for claim in CLAIMS.values():
        for one in claim.compare(nothing):
            assert one.evidence is None and one.needs, claim.name
            for need in one.needs:
                find_split(need.split, find_family(need.env))
                find_algorithm(need.algo)
                (group,) = [
                    group
                    for group in suite.groups()
                    if need.env in group.environments
                    and need.split in group.splits
                    and need.algo in group.algorithms
                ]
                assert not need.test or need.test in group.tests


def test_the_page_of_the_claims_has_every_claim() -> None:
    page = (ROOT / "docs" / "claims.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if re.match(r"\| [CT]\d", line)]
    assert {row[0]: tuple(row[1:]) for row in rows} == {
        name: (one.sentence, one.place, one.measure, one.least) for name, one in CLAIMS.items()
    }
