"""The claims: verdicts follow the written rules, and what is missing comes with the command that adds it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from support.claims import CEILING, CLAIMS, found, point_robots
from support.ledgers import (
    BATCH,
    BLIND,
    FOCAL,
    FOCALPP,
    GOALS,
    WIND,
    Algo,
    add_run,
)

from comrl.algorithms.algorithm import find_algorithm
from comrl.benchmark import suite
from comrl.benchmark.reporting import metrics
from comrl.benchmark.reporting.claims import Claim, Comparison, Need, Side
from comrl.benchmark.reporting.claims.embeddings import crossing
from comrl.benchmark.reporting.claims.evidence import Bar, Duel, Proof
from comrl.benchmark.reporting.claims.rules import LEVEL, Verdict, judge, remedies
from comrl.benchmark.reporting.figures.theorems import equal_losses, ordered_losses
from comrl.benchmark.reporting.figures.verdicts import (
    comparison_table,
    show_comparisons,
    show_verdicts,
    verdict_figure,
    verdict_table,
)
from comrl.benchmark.reporting.ledger import Ledger, merge_seeds, read_ledger
from comrl.datasets.splits import find_split
from comrl.envs.family import find_family

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return point_robots(tmp_path_factory.mktemp("results"))


def weighed(*marks: str, least: str = "all") -> Verdict:
    """A claim whose comparisons hold, fail, are open or were not run."""
    apart = np.arange(10.0)[:, None]
    evidence = {
        "for": Duel(apart + 100, apart), "against": Duel(apart, apart + 100), "open": Duel(apart, apart),
        "missing": None,
    }  # fmt: skip
    needs = {"missing": (Need("e", "s", "a"),)}
    made = [
        Comparison("e", "s", "E", Side("a"), Side("b"), evidence[mark], needs.get(mark, ())) for mark in marks
    ]
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


def test_one_exception_refutes_before_every_encoder_is_there(tmp_path: Path) -> None:
    add_run(tmp_path, WIND, FOCAL, draws=2)
    ledger = read_ledger(tmp_path)
    assert [found(ledger, name).count("missing") for name in ("T1", "T2")] == [6, 6]
    ledger.runs[0].probe["theorem31"][2, 0] += 0.1
    again = Ledger(ledger.runs, ())
    assert (found(again, "T1").word, found(again, "T2").word) == ("refuted", "undecided")
    ledger.runs[0].probe["theorem31"][2, 0] = np.nan
    assert found(Ledger(ledger.runs, ()), "T1").count("against") == 0  # no number is no exception


def test_theorems_are_judged_seed_by_seed_and_relatively() -> None:
    assert equal_losses(np.array([[5e-5, 1e-9], [1e-5, 1.0001e-5], [200.0, 200.01]])).tolist() == [
        False, True, True
    ]  # fmt: skip
    chain = np.array([[5e-5, 1e-9, 1.0], [1.0, 1.0, 1.0], [2.0, 1.0, 3e5]])
    assert ordered_losses(chain).tolist() == [False, True, False]


def test_one_seed_has_no_interval_and_stays_open() -> None:
    for evidence in (Duel(np.ones((1, 4)), np.zeros((1, 4))), Bar(np.ones(1))):
        assert np.isnan(evidence.weigh().whole).all()


def test_what_is_not_a_number_leaves_a_comparison_open() -> None:
    nan = np.full((5, 1), np.nan)
    for evidence in (Duel(nan, np.zeros((5, 1))), Bar(nan[:, 0])):
        weight = evidence.weigh()
        assert (weight.chance_for, weight.chance_against) == (1.0, 1.0)


def test_yardsticks_the_wrong_way_round_leave_shares_open(tmp_path: Path) -> None:
    """All was run and nothing can be measured: that is not missing, and no command is told."""
    for algo in (FOCAL, FOCALPP, BATCH, replace(CEILING, short=1.5), BLIND):
        add_run(tmp_path, GOALS, algo, split="relabeled", draws=2)
    ledger = read_ledger(tmp_path)
    for name, count in (("C5a", 1), ("C5b", 2)):
        verdict = found(ledger, name)
        assert (verdict.count("missing"), verdict.count("open"), verdict.unmeasurable) == (0, count, count)
        assert remedies(verdict, ledger) == []
    shown = show_comparisons(comparison_table(ledger)).query("claim.str.startswith('C5a')")
    assert list(shown["says"]) == ["open, not measurable here: ceiling is not above blind"]
    rows = show_verdicts(verdict_table(ledger)).set_index("claim")
    assert rows.loc["C5b", "open"] == "2 (2 not measurable)"
    written = {text.get_text() for text in verdict_figure(ledger).axes[0].texts}
    assert "0 of 2 hold\n2 not measurable" in written


def test_a_gate_that_saw_one_class_is_not_missing(ledger: Ledger) -> None:
    bare = Ledger(tuple(replace(run, probe=dict(run.probe)) for run in ledger.runs), ())
    run = next(run for run in bare.runs if (run.algo, run.split) == (FOCALPP.name, "relabeled"))
    run.probe["gate_nonzero"] = run.probe["gate_nonzero"].copy()
    run.probe["gate_nonzero"][0] = False
    for name in ("C6a", "C6b"):
        (one,) = found(bare, name).judged
        assert one.mark == "open" and "of one class" in one.comparison.why
    run.probe["var_sparse"] = np.zeros_like(run.probe["var_sparse"])
    (one,) = found(bare, "C7b").judged
    assert one.mark == "open" and one.comparison.why.startswith("eq. 34 has no threshold")


def test_a_printed_number_never_contradicts_its_verdict(ledger: Ledger) -> None:
    frame = comparison_table(ledger).query("probability > 0.5")[:2]
    frame = frame.assign(probability=[0.5004, 0.5], low=[0.50026, 0.5], high=0.7, p_for=[0.02504, 0.025])
    one, other = show_comparisons(frame.assign(p_against=1.0)).to_dict("records")
    assert (one["probability"], one["whole seeds 95 %"]) == ("0.5004", "[0.5003, 0.700]")
    assert (other["probability"], other["whole seeds 95 %"]) == ("0.500", "[0.500, 0.700]")
    assert (one["p, corrected"], other["p, corrected"]) == ("0.02504", "0.0250")


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


@pytest.mark.slow
def test_comparisons_err_as_often_as_the_page_says() -> None:
    """Two algorithms that beat each other equally often, of which one varies more from seed to seed."""
    page = (ROOT / "docs" / "claims.md").read_text()
    rows = re.findall(r"^\| (\d+), (\d+) \| (.*) \|$", page, re.MULTILINE)
    assert len(rows) == 5
    draw = np.random.default_rng(0)
    for ours, theirs, cells in rows:
        for spread, cell in zip((1, 3, 10, 1e9), cells.split(" | "), strict=True):
            told = [float(number) for number in re.findall(r"[\d.]+", cell)]
            one, other = draw.normal(size=(4000, int(ours))), spread * draw.normal(size=(4000, int(theirs)))
            found = np.mean([wrong(one, other), wrong(-one, -other)], axis=0)
            np.testing.assert_allclose(found, told, atol=0.008, err_msg=f"{ours}, {theirs}, {spread}")


def wrong(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> list[float]:
    """How often a comparison holds, alone and as the only one of six.  [N, S], [N, S'] -> [2]."""
    chances = mannwhitneyu(ours, theirs, alternative="greater", axis=1, method="exact").pvalue
    holds = [
        metrics.improvement_interval(ours[i, :, None], theirs[i, :, None], whole_seeds=True)[0] > 0.5
        for i in np.flatnonzero(chances <= LEVEL)
    ]
    small = chances[chances <= LEVEL][holds]
    return [(small <= level).sum() / len(ours) for level in (LEVEL, LEVEL / 6)]


def test_the_page_of_the_claims_has_every_claim() -> None:
    page = (ROOT / "docs" / "claims.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if re.match(r"\| [CT]\d", line)]
    assert {row[0]: tuple(row[1:]) for row in rows} == {
        name: (one.sentence, one.place, one.measure, one.least) for name, one in CLAIMS.items()
    }
