"""Seeds trained at different times are one run: each counts once, and how each was trained is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.ledgers import FOCAL, GOALS, ORACLE, add_run

from comrl.benchmark.reporting.cautions import cautions
from comrl.benchmark.reporting.figures.protocol import costs
from comrl.benchmark.reporting.leaderboard import standings
from comrl.benchmark.reporting.ledger import Ledger, Run, merge_seeds, read_ledger
from comrl.benchmark.reporting.report import birth
from comrl.benchmark.reporting.runs import _only
from comrl.ground.errors import BadInput


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of three seeds, of an experiment."""
    add_run(tmp_path, GOALS, FOCAL, draws=3)
    (found,) = read_ledger(tmp_path).runs
    return replace(found, card=found.card.model_copy(update={"settings_id": "same"}))


def part(run: Run, seeds: tuple[int, ...], **provenance: Any) -> Run:
    """The run with some of its seeds alone, made otherwise, in a folder of its own."""
    found = _only(run, seeds)
    made = found.card.provenance.model_copy(update=provenance)
    return replace(found, path=Path(f"runs/{seeds}"), card=found.card.model_copy(update={"provenance": made}))


def test_parts_of_a_run_are_the_run(run: Run) -> None:
    (merged,) = merge_seeds([part(run, (0,)), part(run, (1, 2))])
    assert merged.spec.seeds == (0, 1, 2)
    for ours, theirs in ((merged.returns, run.returns), (merged.curves, run.curves)):
        assert ours.equals(theirs.reset_index(drop=True))
    for name, values in run.probe.items():
        np.testing.assert_array_equal(merged.probe[name], values)


def test_a_seed_with_equal_rows_counts_once(run: Run) -> None:
    """As from `--seeds 0 1` beside `--seeds 1 2` of earlier versions."""
    (merged,) = merge_seeds([part(run, (0, 1)), part(run, (1, 2)), part(run, (1,))])
    assert merged.spec.seeds == (0, 1, 2)
    assert merged.returns.equals(run.returns.reset_index(drop=True))
    assert merged.probe["z"].shape == run.probe["z"].shape
    assert len(merged.returns) == len(merged.returns.drop_duplicates())


def test_a_seed_with_other_rows_is_refused_with_both_folders(run: Run) -> None:
    other = part(run, (1, 2))
    for name in ("returns", "curves"):
        frame = getattr(other, name).copy()
        frame.iloc[0, -1] += 1e-9
        with pytest.raises(
            BadInput, match=r"^\(0, 1\) and \(1, 2\) hold seed 1 with different rows; move one"
        ):
            merge_seeds([part(run, (0, 1)), replace(other, **{name: frame})])


def test_what_one_part_lacks_is_no_fault(run: Run) -> None:
    later = part(run, (2,))
    later = replace(later, shifted=None, explored={}, probe={"z": later.probe["z"]})
    (merged,) = merge_seeds([part(run, (0, 1)), later])
    assert set(merged.probe) == {"z"} and merged.shifted is not None and merged.online is not None
    assert set(merged.shifted["seed"]) == set(merged.online["seed"]) == {0, 1}
    more = replace(later, probe={"z": np.repeat(later.probe["z"], 2, axis=2)})  # of a version that kept more
    (merged,) = merge_seeds([part(run, (0, 1)), more])
    assert "z" not in merged.probe


def test_doubts_of_every_part_are_kept(run: Run) -> None:
    parts = [part(run, (0,)), part(run, (1,))]
    doubtful = [
        replace(one, card=one.card.model_copy(update={"doubts": (f"odd (seed {n})",)}))
        for n, one in enumerate(parts)
    ]
    (merged,) = merge_seeds(doubtful)
    assert merged.card.doubts == ("odd (seed 0)", "odd (seed 1)")


def test_every_way_in_which_seeds_were_trained_is_named_and_a_difference_is_told(run: Run) -> None:
    packages = {"numpy": "2.4.6", "torch": "2.12.0"}
    parts = [
        part(run, (0, 1), git="a" * 12, packages=packages),
        part(run, (2,), git="b" * 12, device="cuda", packages=packages | {"torch": "2.13.0"}),
    ]
    ledger = Ledger(merge_seeds(parts), ())
    told = birth(ledger)
    assert told["code"] == f"{'a' * 12}, {'b' * 12}"
    assert told["packages"] == "numpy 2.4.6, torch 2.12.0, torch 2.13.0"
    assert "cpu" in told["device"] and "cuda" in told["device"]
    (said,) = cautions(ledger)
    assert said.startswith(
        f"{GOALS.label}, {FOCAL.label}: not all seeds were trained alike: seeds 0 1 with code {'a' * 12}, "
        f"cpu (fp32), torch 2.12.0; seeds 2 with code {'b' * 12}, cuda (fp32), torch 2.13.0."
    )
    frame = costs(ledger)
    assert frame is not None and frame["device"].tolist() == ["cpu, threads: 1; cuda, threads: 1"]


def test_nothing_is_said_of_seeds_that_were_trained_alike(run: Run, tmp_path: Path) -> None:
    add_run(tmp_path / "more", GOALS, ORACLE)
    (other,) = read_ledger(tmp_path / "more").runs
    parts = [part(run, (0,)), part(run, (1, 2))]
    assert cautions(Ledger((*merge_seeds(parts), other), ())) == []


def test_steps_a_second_are_those_of_every_training(run: Run) -> None:
    parts = [part(run, (0,)), part(run, (1, 2))]
    alone, merged = costs(Ledger(tuple(parts[:1]), ())), costs(Ledger(merge_seeds(parts), ()))
    assert alone is not None and merged is not None
    assert merged["train_seconds"].item() == 2 * alone["train_seconds"].item()
    assert merged["steps_per_second"].item() == pytest.approx(alone["steps_per_second"].item())


def test_the_leaderboard_names_the_code_of_every_training(run: Run) -> None:
    parts = [part(run, (0,), git="a" * 40), part(run, (1, 2), git="b" * 40)]
    _, (row,) = standings(Ledger(merge_seeds(parts), ()))
    assert row.code == f"{'a' * 12}, {'b' * 12}"
