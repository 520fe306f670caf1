"""Results are written whole, read back as they were, never silently altered and never mixed."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import ledgers as fixture
from support.archives import flipped, set_encrypted
from support.ledgers import FOCAL, FOCALPP, GOALS, WIND, add_run

from comrl.benchmark.reporting import folders
from comrl.benchmark.reporting.figures.views import entries
from comrl.benchmark.reporting.formats import LEVELS, csv_bytes, csv_table, npz_arrays, npz_bytes
from comrl.benchmark.reporting.ledger import Ledger, Run, read_ledger, write_run
from comrl.ground.errors import BadInput
from comrl.ground.hashing import sha256


def test_a_run_comes_back_as_it_was_written(tmp_path: Path) -> None:
    curves = pd.DataFrame(
        {"seed": [0, 0], "step": [10, 20], "dense": [0.1, 1 / 3], "loss_task": [np.nan, 2.0]}
    )
    card = read_ledger(add_run(tmp_path / "other", WIND, FOCAL).parents[1]).runs[0].card
    seeds, tasks = zip(*product(card.spec.seeds, card.task_set.test), strict=True)
    returns = pd.DataFrame(
        {"seed": seeds, "context": "mixed", "task": tasks, "episode": 0, "dense": np.arange(len(tasks)) / 3}
    )
    probe = {
        "z": np.random.default_rng(0).normal(size=(1, 4, 2, 5)).astype(np.float32),
        "flag": np.array([[True]]),
    }
    path = write_run(tmp_path, card, curves, returns, probe)
    run = read_ledger(tmp_path).runs[0]
    assert run.path == path and path.name == f"{WIND.name}.mixed.lite.focal.{card.id}"
    pd.testing.assert_frame_equal(run.curves, curves)
    pd.testing.assert_frame_equal(run.returns, returns)
    assert run.probe.keys() == probe.keys()
    np.testing.assert_array_equal(run.probe["flag"], probe["flag"], strict=True)
    half_a_level = np.ptp(probe["z"]) / LEVELS / 2
    np.testing.assert_allclose(run.probe["z"], probe["z"], rtol=0, atol=half_a_level + 1e-6, strict=True)
    assert run.card == card.model_copy(update={"files": run.card.files})


def test_the_same_run_writes_the_same_bytes(tmp_path: Path) -> None:
    once, again = (add_run(tmp_path / name, GOALS, FOCALPP) for name in ("once", "again"))
    names = [
        "curves.csv",
        "online.best.csv",
        "online.csv",
        "probe.npz",
        "returns.csv",
        "run.json",
        "shifted.csv",
    ]
    assert sorted(p.name for p in once.iterdir()) == names
    for path in once.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_coarse_arrays_keep_the_scale_of_each_seed() -> None:
    """A seed whose numbers lie together, or are all one, is no coarser for another's that lie far apart."""
    z = np.stack([np.linspace(-1e6, 1e6, 12), np.linspace(0.5, 0.5 + 1e-4, 12), np.full(12, 0.25)])
    z = z.reshape(3, 3, 2, 2).astype(np.float32)
    again = npz_arrays(npz_bytes({"z": z, "flag": np.array([True])}, coarse=("z", "absent")))
    assert again.keys() == {"z", "flag"} and again["z"].dtype == np.float32
    for before, after in zip(z, again["z"], strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-7, atol=np.ptp(before) / LEVELS)
    z[0, 0, 0, 0] = np.nan  # has no level
    np.testing.assert_array_equal(npz_arrays(npz_bytes({"z": z}, coarse=("z",)))["z"], z, strict=True)


def test_tables_may_be_gzipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A packed file is as good as the file itself, by the same hash; a broken one or a trap is a sentence."""
    path = add_run(tmp_path, GOALS, FOCALPP)
    before = read_ledger(tmp_path).runs[0]
    for file in path.glob("*.csv"):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    after = read_ledger(tmp_path).runs[0]
    pd.testing.assert_frame_equal(after.returns, before.returns)
    assert after.shifted is not None and after.explored.keys() == before.explored.keys()
    monkeypatch.setattr(folders, "LARGEST", 100)
    with pytest.raises(BadInput, match=r"csv\.gz: unpacks to more than"):
        read_ledger(tmp_path)
    monkeypatch.undo()
    (path / "curves.csv.gz").write_bytes(gzip.compress(b"seed,step\n"))
    with pytest.raises(BadInput, match=r"curves\.csv: altered"):
        read_ledger(tmp_path)
    for harm in (flip, truncate):
        (path / "curves.csv.gz").write_bytes(gzip.compress(b"seed,step\n"))
        harm(path / "curves.csv.gz")
        with pytest.raises(BadInput, match=r"curves\.csv\.gz: unreadable"):
            read_ledger(tmp_path)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


FILES = ("run.json", "curves.csv", "returns.csv", "probe.npz")


def test_an_altered_run_is_refused_by_name(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for harm, name in product((flip, truncate, Path.unlink), FILES):
        with subtests.test(harm.__name__, file=name):
            path = add_run(tmp_path / harm.__name__ / name, GOALS, FOCALPP)
            harm(path / name)
            with pytest.raises(BadInput, match=path.name):
                read_ledger(tmp_path / harm.__name__ / name)


def test_a_changed_card_is_refused_even_where_it_is_valid(tmp_path: Path) -> None:
    path = add_run(tmp_path, GOALS, FOCALPP)
    card = json.loads((path / "run.json").read_text())
    card["label"] = "Ours"
    (path / "run.json").write_text(json.dumps(card))
    with pytest.raises(BadInput, match=r"run\.json: altered"):
        read_ledger(tmp_path)


def resigned(path: Path, **changes: object) -> None:
    """A card with other keys and a hash that fits; None takes a key away."""
    body = {**json.loads((path / "run.json").read_text()), **changes}
    body = {key: value for key, value in body.items() if value is not None and key != "sha256_of_card"}
    body["sha256_of_card"] = sha256(json.dumps(body, sort_keys=True).encode())
    (path / "run.json").write_text(json.dumps(body))


def test_a_card_that_lacks_a_key_is_refused_in_a_sentence(tmp_path: Path) -> None:
    resigned(add_run(tmp_path, GOALS, FOCAL), spec={"env": GOALS.name})
    with pytest.raises(
        BadInput, match=r"unreadable \(ValueError: spec\.split: field required\); delete"
    ) as error:
        read_ledger(tmp_path)
    assert "\n" not in str(error.value)


def test_cards_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """Teachers are what was trained before, what came later has its default, what is gone is ignored."""
    path = add_run(tmp_path, GOALS, FOCAL)
    cost = {"train_seconds": 9.0, "gradient_steps": 7, "encoder_parameters": 5}
    cost |= {"teacher_seconds": 3, "teacher_steps": 2}
    resigned(path, cost=cost, settings_id=None, preset_parts=None, of_old="unknown")
    (run,) = read_ledger(tmp_path).runs
    assert (run.card.cost.before_seconds, run.card.cost.before_steps, run.card.cost.act_ms) == (3.0, 2, None)
    assert (run.card.settings_id, run.card.preset_parts) == (None, {})


def test_an_altered_portrait_is_refused(tmp_path: Path) -> None:
    results = fixture.make_ledger(tmp_path)
    damaged = next(results.glob("datasets/*/portrait.npz"))
    flip(damaged)
    with pytest.raises(BadInput, match=r"portrait\.npz"):
        read_ledger(results)


def test_a_newer_format_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = add_run(tmp_path, GOALS, FOCAL)
    card = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(card | {"format": 99}))
    with pytest.raises(BadInput, match=r"format 99, this code reads 2; update"):
        read_ledger(tmp_path)


def test_a_copied_folder_under_another_name_is_refused(tmp_path: Path) -> None:
    path = add_run(tmp_path, GOALS, FOCAL)
    path.rename(path.with_name(f"{path.name} (copy)"))
    with pytest.raises(BadInput, match=r"\(copy\)"):
        read_ledger(tmp_path)


def test_what_was_not_written_whole_is_not_there(tmp_path: Path) -> None:
    path = add_run(tmp_path, GOALS, FOCAL)
    (path.parent / f".{path.name}.bench-partial").mkdir()
    assert len(read_ledger(tmp_path).runs) == 1


def test_an_empty_folder_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="`bench run`"):
        read_ledger(tmp_path)


def test_two_presets_never_enter_one_table(tmp_path: Path) -> None:
    add_run(tmp_path, GOALS, FOCAL)
    add_run(tmp_path, GOALS, FOCALPP, preset="paper")
    ledger = read_ledger(tmp_path)
    with pytest.raises(BadInput, match=r"lite and paper.*--preset lite"):
        ledger.select()
    assert [run.algo for run in ledger.select("paper").runs] == [FOCALPP.name]
    with pytest.raises(BadInput, match=r"'papr'; did you mean 'paper'"):
        ledger.select("papr")


def test_an_overridden_number_is_another_preset(tmp_path: Path) -> None:
    add_run(tmp_path, GOALS, FOCAL)
    add_run(tmp_path, GOALS, FOCALPP, overrides={"training.steps": 50})
    ledger = read_ledger(tmp_path)
    assert ledger.protocols == ("lite", "lite,training.steps=50")
    with pytest.raises(BadInput, match="--preset lite"):
        ledger.select()
    assert ledger.select("lite,training.steps=50").runs[0].card.training["steps"] == 50


def test_an_overridden_part_is_another_algorithm_of_the_same_preset(tmp_path: Path) -> None:
    add_run(tmp_path, GOALS, FOCAL)
    add_run(tmp_path, GOALS, FOCAL, overrides={"task_loss.eps": 0.2})
    labels = [entry.label for entry in entries(read_ledger(tmp_path).select())]
    assert labels == ["FOCAL", "FOCAL [task_loss.eps=0.2]"]


def test_different_numbers_under_one_preset_are_refused(tmp_path: Path) -> None:
    add_run(tmp_path, GOALS, FOCAL)
    add_run(tmp_path, GOALS, FOCALPP, training={"latent": 7})
    with pytest.raises(BadInput, match=r"different latent \(5 and 7|different latent \(7 and 5"):
        read_ledger(tmp_path).select()


def test_different_data_are_refused(tmp_path: Path) -> None:
    add_run(tmp_path, GOALS, FOCAL)
    add_run(tmp_path, GOALS, FOCALPP, data="ab" * 32)
    with pytest.raises(BadInput, match="different data sets"):
        read_ledger(tmp_path).select()


def test_seeds_trained_apart_are_one_entry(tmp_path: Path) -> None:
    add_run(tmp_path, GOALS, FOCAL, seeds=(0, 1))
    add_run(tmp_path, GOALS, FOCAL, seeds=(1, 2, 3))
    (entry,) = entries(read_ledger(tmp_path).select())
    assert sorted(seed for _, _, seed in entry.seeds()) == [0, 1, 2, 3]
    assert entry.returns("inside").shape == (4, GOALS.test)
    assert entry.probe("z").shape[:2] == (4, GOALS.tasks)


def test_returns_are_means_over_episodes_in_the_order_of_tasks(tmp_path: Path) -> None:
    add_run(tmp_path, replace(GOALS, test=2), FOCAL, seeds=(4, 5))
    run = read_ledger(tmp_path).runs[0]
    (entry,) = entries(read_ledger(tmp_path))
    tasks = sorted(run.card.task_set.test)
    for s, seed in enumerate((4, 5)):
        for t, task in enumerate(tasks):
            rows = [
                row for row in run.returns.to_dict("records") if (row["seed"], row["task"]) == (seed, task)
            ]
            assert len(rows) == 2
            assert entry.returns("dense")[s, t] == pytest.approx(sum(row["dense"] for row in rows) / 2)


def test_a_number_that_the_first_run_does_not_know_is_compared_between_the_others(tmp_path: Path) -> None:
    add_run(tmp_path, GOALS, FOCAL)
    add_run(tmp_path, GOALS, fixture.BATCH, training={"new": 1})
    ledger = read_ledger(add_run(tmp_path, GOALS, FOCALPP, training={"new": 2}).parents[1])
    assert [run.card.training.get("new") for run in ledger.runs] == [None, 1, 2]
    with pytest.raises(BadInput, match=r"focalpp-batch\S* and \S*focalpp\S* .*different new \(1 and 2\)"):
        ledger.select()


def test_algorithms_of_one_label_are_never_one_entry(tmp_path: Path) -> None:
    add_run(tmp_path, GOALS, FOCAL)
    add_run(tmp_path, GOALS, replace(FOCAL, name="my-focal"), seeds=(3, 4))
    ledger = read_ledger(tmp_path)
    assert [len(entry.seeds()) for entry in entries(ledger)] == [3, 2]
    with pytest.raises(BadInput, match=r"\.focal\.\S+ and \S+my-focal\S+ .*one label, 'FOCAL'; give one"):
        ledger.select()


def test_seeds_of_one_entry_with_other_parts_are_refused_with_both_folders(tmp_path: Path) -> None:
    for seeds in ((0, 1), (2, 3)):
        add_run(tmp_path, GOALS, FOCAL, seeds=seeds)
    one, other = read_ledger(tmp_path).runs
    Ledger((one, other), ()).select()

    def with_loss(**changes: object) -> Run:
        tree = {**other.card.algorithm, "task_loss": {**other.card.algorithm["task_loss"], **changes}}
        return replace(other, card=other.card.model_copy(update={"algorithm": tree}))

    Ledger((one, with_loss(newer=True)), ()).select()
    names = f"{one.path.name} and {other.path.name}"
    with pytest.raises(BadInput, match=rf"{names} .*task_loss.momentum is 0.9 there and 0.5 here\); move"):
        Ledger((one, with_loss(momentum=0.5)), ()).select()


def bytes_of(write: Callable[[io.BytesIO], object]) -> bytes:
    write(file := io.BytesIO())
    return file.getvalue()


def without_score(content: bytes) -> bytes:
    return csv_bytes(csv_table(content).drop(columns="dense"))


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "ragged": ("returns.csv", lambda content: content + b"1,2\n", "row 25 of a table has 2 cells, not 7"),
    "a cell without end": ("curves.csv", lambda content: content + b"x" * 200_000, "no table"),
    "an empty npz": ("probe.npz", lambda _: b"", "no npz file"),
    "an npy": ("probe.npz", lambda _: bytes_of(lambda f: np.save(f, np.ones(3))), "no npz file"),
    "flipped": ("probe.npz", flipped, "no npz file"),
    "encrypted": ("probe.npz", set_encrypted, "no npz file .*encrypted"),
    "no score in the last test": ("returns.csv", without_score, "returns.csv has no column dense"),
    "no score in the curves": ("curves.csv", without_score, "curves.csv has no column dense"),
    "a word for a score": ("returns.csv", lambda c: c.rstrip(b"\n")[:-2] + b"high\n", "could not convert"),
    "half a test": ("returns.csv", lambda c: b"\n".join(c.splitlines()[:-3]), "not the test of every seed"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_a_file_that_is_none_is_a_sentence_though_its_hash_fits(tmp_path: Path, name: str) -> None:
    file, harm, sentence = DAMAGE[name]
    path = add_run(tmp_path, GOALS, FOCALPP, draws=2)
    damaged = harm((path / file).read_bytes())
    (path / file).write_bytes(damaged)
    files = json.loads((path / "run.json").read_text())["files"]
    resigned(path, files=files | {file: sha256(damaged)})
    with pytest.raises(BadInput, match=rf"{path.name}: unreadable .*: .*{sentence}.*; delete") as error:
        read_ledger(tmp_path)
    assert "\n" not in str(error.value)
