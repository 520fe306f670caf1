"""Packs and the leaderboard: others' runs stand beside ours after the same checks, and in no other case."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from support.archives import flipped, set_encrypted
from support.ledgers import BATCH, BLIND, FOCAL, FOCALPP, GOALS, MUJOCO, ORACLE, WIND, Algo, add_run

from comrl.benchmark.commands.cli import main
from comrl.benchmark.reporting import packs, report
from comrl.benchmark.reporting.cautions import cautions
from comrl.benchmark.reporting.claims.rules import verdicts
from comrl.benchmark.reporting.figures import films
from comrl.benchmark.reporting.figures.returns import headline_returns
from comrl.benchmark.reporting.figures.views import entries
from comrl.benchmark.reporting.leaderboard import standings
from comrl.benchmark.reporting.ledger import Ledger, read_ledger
from comrl.benchmark.reporting.packs import CARD, beside, read_pack, write_pack
from comrl.ground.errors import BadInput
from comrl.ground.hashing import sha256

MINE = Algo("mine", "Mine", 0.08)
Members = dict[str, bytes]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    results = tmp_path_factory.mktemp("ours")
    for env in (GOALS, WIND):
        for algo in (FOCAL, ORACLE, BLIND):
            add_run(results, env, algo, draws=2)
    return read_ledger(results).select()


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody's results: an algorithm of their own, and FOCAL with other seeds."""
    results = tmp_path_factory.mktemp("theirs")
    for env in (GOALS, WIND):
        (add_run(results, env, MINE, draws=2) / "weights.pt").write_bytes(b"not for others")
    add_run(results, GOALS, FOCAL, seeds=(7, 8), draws=2)
    return results


@pytest.fixture
def pack(theirs: Path, tmp_path: Path) -> Path:
    write_pack(theirs, tmp_path / "lab.zip")
    return tmp_path / "lab.zip"


def rewrite(pack: Path, change: Callable[[Members], object], *, hashed: bool = True) -> None:
    """Change the members of a pack; hashed: with the pack's own hashes made to fit."""
    with zipfile.ZipFile(pack) as file:
        members = {name: file.read(name) for name in file.namelist()}
    change(members)
    if hashed:
        card = json.loads(members[CARD])
        card["files"] = {name: sha256(content) for name, content in members.items() if name != CARD}
        members[CARD] = json.dumps(card).encode()
    with zipfile.ZipFile(pack, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


def one(members: Members, ending: str) -> str:
    return next(name for name in sorted(members) if name.endswith(ending))


def test_a_pack_has_the_runs_without_weights_and_is_the_same_bytes_again(pack: Path, theirs: Path) -> None:
    with zipfile.ZipFile(pack) as file:
        names = file.namelist()
    found = {name.rsplit("/")[-1] for name in names}
    assert {CARD, "run.json", "curves.csv", "returns.csv", "shifted.csv", "probe.npz"} <= found
    assert "weights.pt" not in found
    first = pack.read_bytes()
    write_pack(theirs, pack)
    assert pack.read_bytes() == first
    runs = read_pack(pack)
    assert {(run.algo, run.origin) for run in runs} == {("mine", "lab"), ("focal", "lab")}
    before = {run.card.id: run for run in read_ledger(theirs).runs}
    for run in runs:
        pd.testing.assert_frame_equal(run.returns, before[run.card.id].returns)
    assert [run.algo for run in write_pack(theirs, pack, algos=["mine"])] == ["mine", "mine"]


def test_their_runs_stand_beside_ours(pack: Path, ours: Ledger) -> None:
    joined = beside(ours, [pack])
    labels = {run.label for run in joined.runs}
    assert {"FOCAL", "FOCAL [pack lab]", "Mine [pack lab]"} <= labels
    assert joined.own.runs == ours.runs
    assert [v.word for v in verdicts(joined)] == [v.word for v in verdicts(ours)]  # claims are judged by ours


def test_the_report_shows_them_and_says_whose_they_are(
    pack: Path, ours: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(report, "declared_figures", list)  # the figures have tests of their own
    results = ours.runs[0].path.parent.parent
    out = ["--results", str(results), "--out", str(tmp_path / "report")]
    assert main(["report", *out, "--with", str(pack)]) == 0
    text = (tmp_path / "report" / "index.html").read_text()
    assert "runs of lab" in text and 'href="leaderboard.html"' in text
    assert "--algo mine" not in text  # nobody is asked to run what they may not have
    board = (tmp_path / "report" / "leaderboard.html").read_text()
    rows = re.findall(r"<tr[^>]*>\s*<td>(.*?)</td>.*?<td class=\"word\">(.*?)</td>", board, re.DOTALL)
    assert {("Mine", "lab"), ("FOCAL", "lab"), ("FOCAL", "this ledger")} <= set(rows)
    assert not re.search(r"(?:src|href)=\"(?!index\.html)|https?://|@import|url\(", board)  # no network
    assert main(["report", *out, "--with", str(pack)]) == 0
    assert (tmp_path / "report" / "leaderboard.html").read_text() == board


def test_standings_have_the_numbers_of_the_ledger(pack: Path, ours: Ledger) -> None:
    joined = beside(ours, [pack])
    environments, rows = standings(joined)
    assert environments == [GOALS.label, WIND.label]
    mean = {
        (run.env, run.label): run.returns.groupby("seed")[run.headline].mean().mean() for run in joined.runs
    }
    table = {(row.algorithm, row.origin): row for row in rows}
    shares = []
    for place, env in enumerate((GOALS.name, WIND.name)):
        low, high = mean[env, BLIND.label], mean[env, ORACLE.label]
        shares.append((mean[env, "Mine [pack lab]"] - low) / (high - low))
        assert table["Mine", "lab"].cells[place].value == pytest.approx(mean[env, "Mine [pack lab]"])
    assert table["Mine", "lab"].score.value == pytest.approx(sum(shares) / 2)
    lacking = table["FOCAL", "lab"]  # not run on the wind
    assert lacking.score.value is None and lacking.cells[1].text == "–" and lacking.seeds.text == "2"
    scored = [row.score.value for row in rows if row.score.value is not None]
    assert scored == sorted(scored, reverse=True) and rows[-1].score.value is None


def altered(members: Members) -> None:
    name = one(members, "returns.csv")
    members[name] = members[name].replace(b"1", b"2", 1)


def card_altered(members: Members) -> None:
    name = one(members, "run.json")
    members[name] = members[name].replace(b"Mine", b"Best").replace(b"FOCAL", b"FACOL")


def with_file(name: str, content: bytes = b"x") -> Callable[[Members], object]:
    return lambda members: members.update({name: content})


def without(ending: str) -> Callable[[Members], object]:
    return lambda members: members.pop(one(members, ending))


OUTSIDE = "does not lie in a run's folder"
BROKEN: dict[str, tuple[Callable[[Members], object], bool, str]] = {
    "altered": (altered, False, "was altered since the pack was made"),
    "altered with the pack's hash": (altered, True, "altered since it was written"),
    "a card altered": (card_altered, True, "altered since it was written"),
    "a file missing": (without("curves.csv"), False, "was altered"),
    "a file of a run missing": (without("curves.csv"), True, "is missing"),
    "a file too many": (with_file("runs/a/b.csv"), False, "was altered"),
    "out of its folder": (with_file("runs/../../evil.csv"), True, OUTSIDE),
    "absolute": (with_file("/tmp/evil.csv"), True, OUTSIDE),
    "behind": (with_file("runs/a/..\\..\\evil.csv"), True, OUTSIDE),
    "hidden": (with_file("runs/a/.evil"), True, OUTSIDE),
    "too deep": (with_file("runs/a/b/evil"), True, OUTSIDE),
    "no card": (without(CARD), False, "not a pack, or a broken one"),
    "a card that is no card": (with_file(CARD, b"[]"), False, "not a pack, or a broken one"),
    "newer": (with_file(CARD, b'{"format": 9, "files": {}}'), False, "update comrl-bench"),
    "empty": (lambda m: [m.pop(name) for name in list(m) if name != CARD], True, "holds no runs"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_pack_is_refused_in_a_sentence(pack: Path, ours: Ledger, tmp_path: Path, name: str) -> None:
    change, hashed, sentence = BROKEN[name]
    rewrite(pack, change, hashed=hashed)
    with pytest.raises(BadInput, match=sentence) as error:
        beside(ours, [pack])
    assert "lab.zip" in str(error.value) and "\n" not in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} == {"lab.zip"}


@pytest.mark.parametrize("content", [b"", b"not a zip", "half"])
def test_what_is_no_pack_is_refused(pack: Path, ours: Ledger, content: bytes | str) -> None:
    whole = pack.read_bytes()
    pack.write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    with pytest.raises(BadInput, match="not a pack, or a broken one"):
        beside(ours, [pack])


def test_a_flood_and_a_name_twice_are_refused_before_unpacking(
    pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "LARGEST", 1000)
    with pytest.raises(BadInput, match="would unpack to"):
        read_pack(pack)
    monkeypatch.undo()
    with zipfile.ZipFile(pack, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr(CARD, b"{}")
    with pytest.raises(BadInput, match="twice"):
        read_pack(pack)


def other(tmp_path: Path, algo: Algo = MINE, **how: object) -> Path:
    add_run(tmp_path / "other", GOALS, algo, draws=2, **how)  # type: ignore[arg-type]
    write_pack(tmp_path / "other", tmp_path / "other.zip")
    return tmp_path / "other.zip"


def test_runs_that_no_table_may_mix_are_refused(ours: Ledger, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"follows smoke, and this report shows lite"):
        beside(ours, [other(tmp_path / "a", preset="smoke")])
    with pytest.raises(BadInput, match="trained on another data set of sparse-point-robot"):
        beside(ours, [other(tmp_path / "b", data="f" * 64)])
    with pytest.raises(BadInput, match="different meta_batch"):
        beside(ours, [other(tmp_path / "c", training={"meta_batch": 4})])


def test_an_algorithm_of_the_same_name_with_other_parts_is_refused(ours: Ledger, tmp_path: Path) -> None:
    pack = other(tmp_path, FOCAL, seeds=(5,))
    (run,) = read_pack(pack)
    tree = {**run.card.algorithm, "task_loss": {**run.card.algorithm["task_loss"], "momentum": 0.5}}
    run = replace(run, card=run.card.model_copy(update={"algorithm": tree}))
    with pytest.raises(
        BadInput, match=r"its focal is another algorithm .*momentum is 0.9 there and 0.5 here"
    ):
        packs._refuse_other(pack, run, ours)
    elsewhere = run.card.spec.model_copy(update={"split": "expert"})  # another setting: numbers may differ
    moved = replace(run, card=run.card.model_copy(update={"spec": elsewhere}))
    packs._refuse_other(pack, moved, ours)


def test_names_of_packs_are_plain_and_different(pack: Path, ours: Ledger, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="another pack has the name lab"):
        beside(ours, [pack, pack])
    strange = pack.rename(tmp_path / "<b>lab.zip")
    with pytest.raises(BadInput, match="shown under this name"):
        read_pack(strange)


def test_what_cannot_be_packed_is_a_sentence(theirs: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.zip").write_text("years of work")
    with pytest.raises(BadInput, match="is not a pack"):
        write_pack(theirs, tmp_path / "thesis.zip")
    with pytest.raises(BadInput, match="did you mean 'mine'"):
        write_pack(theirs, tmp_path / "lab.zip", algos=["mien"])
    with pytest.raises(BadInput, match="no runs yet"):
        write_pack(tmp_path, tmp_path / "lab.zip")
    for preset in ("lite", "smoke"):
        add_run(tmp_path / "both", WIND, FOCALPP, preset=preset, draws=2)
    with pytest.raises(BadInput, match="choose one with --preset"):
        write_pack(tmp_path / "both", tmp_path / "lab.zip")
    assert (
        main(
            [
                "pack",
                "--results",
                str(tmp_path / "both"),
                "--out",
                str(tmp_path / "l.zip"),
                "--preset",
                "lite",
            ]
        )
        == 0
    )
    assert (tmp_path / "thesis.zip").read_text() == "years of work"


def test_a_pack_is_never_taken_for_an_ablation_of_its_name(tmp_path: Path) -> None:
    for folder, algo in ((tmp_path / "mine", BATCH), (tmp_path / "theirs", FOCALPP)):
        add_run(folder, GOALS, algo, draws=2)
    write_pack(tmp_path / "theirs", tmp_path / "batch-wise.zip")
    joined = beside(read_ledger(tmp_path / "mine"), [tmp_path / "batch-wise.zip"])
    assert [entry.label for entry in entries(joined)] == [BATCH.label, "FOCAL++ [pack batch-wise]"]


def test_yardsticks_and_films_are_our_own(ours: Ledger, tmp_path: Path) -> None:
    without = Ledger(tuple(run for run in ours.runs if run.role != "lower"), ())
    add_run(tmp_path / "other", GOALS, BLIND, draws=2)
    joined = beside(without, [other(tmp_path)])
    frame = headline_returns(joined)
    assert frame is not None and "blind [pack other]" in set(frame["algorithm"])
    assert frame["normalised"].isna().all()
    assert all(row.score.value is None for row in standings(joined)[1]) and cautions(joined) == []
    body = MUJOCO[0]
    for folder, algo in ((tmp_path / "mine", FOCAL), (tmp_path / "filmed", FOCALPP)):
        add_run(folder, body, algo, draws=2)
    write_pack(tmp_path / "filmed", tmp_path / "filmed.zip")
    chosen = films._chosen(beside(read_ledger(tmp_path / "mine"), [tmp_path / "filmed.zip"]))
    assert [entry.label for entry in chosen] == ["FOCAL"]


def test_an_algorithm_of_another_role_is_refused(ours: Ledger, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="its focal is upper where ours of that name is method; rename"):
        beside(ours, [other(tmp_path, replace(FOCAL, role="upper"))])


def test_other_scores_are_refused_at_the_door(ours: Ledger, tmp_path: Path) -> None:
    add_run(tmp_path / "other", replace(GOALS, scores=GOALS.scores[:1]), MINE, draws=2)
    write_pack(tmp_path / "other", tmp_path / "other.zip")
    with pytest.raises(BadInput, match=r"\S+ has the scores inside, and \S+ has inside, eq35, dense"):
        beside(ours, [tmp_path / "other.zip"])


@pytest.mark.parametrize("harm", [flipped, set_encrypted])
def test_an_archive_that_cannot_be_unpacked_is_a_sentence(
    pack: Path, ours: Ledger, harm: Callable[[bytes], bytes]
) -> None:
    pack.write_bytes(harm(pack.read_bytes()))
    with pytest.raises(BadInput, match=r"lab\.zip: not a pack, or a broken one") as error:
        beside(ours, [pack])
    assert "\n" not in str(error.value)
