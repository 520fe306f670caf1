"""Packs: somebody's runs as one file, and the checks by which a report shows them beside ours."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from comrl.benchmark.reporting.cards import RunCard
from comrl.benchmark.reporting.folders import LARGEST, read_files
from comrl.benchmark.reporting.ledger import Ledger, Run, in_common, merge_seeds, read_run
from comrl.ground.cards import Tree
from comrl.ground.discovery import suggestion
from comrl.ground.errors import BadInput
from comrl.ground.files import write_whole
from comrl.ground.hashing import difference, dumps, sha256
from comrl.ground.reading import content_of, folders_in

CARD, FORMAT = "pack.json", 1
MEMBER = re.compile(r"runs/[\w.+-]+/[\w+-][\w.+-]*")
NAME = re.compile(r"[\w.+-]{1,40}")
WHEN = (1980, 1, 1, 0, 0, 0)  # of every member, so that the same runs make the same bytes
AGAIN = "ask for the pack again"


def write_pack(results: Path, out: Path, preset: str | None = None, algos: Sequence[str] = ()) -> list[Run]:
    """Write the runs of one protocol, or of some algorithms, as one file, without weights; what is in it.

    BadInput where they mix what no report would, or there are none.
    """
    every = [read_run(path) for path in folders_in(results / "runs")]
    for algo in algos:
        if algo not in {run.algo for run in every}:
            raise BadInput(
                f"{results} has no run of {algo!r}; {suggestion(algo, {run.algo for run in every})}"
            )
    wanted = [run for run in every if not algos or run.algo in algos]
    if not wanted:
        raise BadInput(f"{results}: no runs yet; make some with `bench run`")
    protocol = Ledger(merge_seeds(wanted), ()).select(preset).runs[0].protocol
    chosen = [run for run in wanted if run.protocol == protocol]
    _refuse_name(out)
    if (there := content_of(out)) is not None and not zipfile.is_zipfile(io.BytesIO(there)):
        raise BadInput(f"{out}: exists and is not a pack; choose another --out")
    members: dict[str, bytes] = {}
    for run in chosen:
        _, files = read_files(run.path, RunCard.FILE)
        files[RunCard.FILE] = content_of(run.path / RunCard.FILE) or b""
        members |= {f"runs/{run.path.name}/{name}": content for name, content in files.items()}
    hashes = {name: sha256(content) for name, content in sorted(members.items())}
    members[CARD] = (dumps({"format": FORMAT, "files": hashes}) + "\n").encode()
    with write_whole(out) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(members):
            file.writestr(zipfile.ZipInfo(name, WHEN), members[name], zipfile.ZIP_DEFLATED, 9)
    return chosen


def read_pack(path: Path) -> tuple[Run, ...]:
    """The runs of a pack, each compared with its hashes; BadInput names what is wrong with it."""
    _refuse_name(path)
    members = _members(path)
    runs = []
    with TemporaryDirectory() as folder:
        for name, content in members.items():
            file = Path(folder) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        for home in folders_in(Path(folder) / "runs"):
            try:
                run = read_run(home)
            except BadInput as error:
                why = str(error).replace(f"{folder}/", "").partition(";")[0]
                raise BadInput(f"{path}: {why}; {AGAIN}") from None
            runs.append(replace(run, path=path / home.name, origin=path.stem))
    if not runs:
        raise BadInput(f"{path}: holds no runs; make it with `bench pack`")
    return merge_seeds(runs)


def _refuse_name(path: Path) -> None:
    """Runs of a pack are shown under the file's name."""
    if not NAME.fullmatch(path.stem):
        raise BadInput(
            f"{path}: its runs are shown under this name; give it 40 letters at most, or digits or . _ + -"
        )


def _members(path: Path) -> dict[str, bytes]:
    """The files of a pack by their names, each compared with its hash."""
    content = content_of(path)
    if content is None:
        raise BadInput(f"{path}: there is no such file")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            _refuse_members(path, file.infolist())
            found = {info.filename: file.read(info) for info in file.infolist()}
        card = json.loads(found.pop(CARD))
        if card["format"] > FORMAT:
            raise BadInput(f"{path}: format {card['format']}, this code reads {FORMAT}; update comrl-bench")
        hashes = {str(name): value for name, value in card["files"].items()}
    except BadInput:
        raise
    except Exception as error:  # of zipfile, zlib or json: who knows what damaged bytes raise
        raise BadInput(f"{path}: not a pack, or a broken one ({error}); {AGAIN}") from error
    for name in sorted({*found, *hashes}):
        if name not in found or sha256(found[name]) != hashes.get(name):
            raise BadInput(f"{path}: {name} was altered since the pack was made; {AGAIN}")
    return found


def _refuse_members(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Before anything is unpacked: no name twice or out of its run's folder, and no flood of bytes."""
    names = [info.filename for info in members]
    for name in names:
        if name != CARD and (not MEMBER.fullmatch(name) or ".." in PurePosixPath(name).parts):
            raise BadInput(f"{path}: {name!r} does not lie in a run's folder; do not use this file")
        if names.count(name) > 1:
            raise BadInput(f"{path}: holds {name} twice; {AGAIN}")
    size = sum(info.file_size for info in members)
    if size > LARGEST:
        raise BadInput(f"{path}: would unpack to {size / 1e6:.0f} MB; a pack has {LARGEST / 1e6:.0f} at most")


def beside(ledger: Ledger, packs: Iterable[Path]) -> Ledger:
    """One protocol's ledger with the runs of packs; BadInput where they are no match for ours."""
    (protocol,) = ledger.protocols
    runs = list(ledger.runs)
    for path in packs:
        if path.stem in {run.origin for run in runs}:
            raise BadInput(f"{path}: another pack has the name {path.stem} already; rename one")
        theirs = read_pack(path)
        for run in theirs:
            if run.protocol != protocol:
                raise BadInput(
                    f"{path}: {run.path.name} follows {run.protocol}, and this report shows {protocol}; no "
                    "table mixes two protocols"
                )
            _refuse_other(path, run, ledger)
            _refuse_scores(path, run, [*runs, *theirs])
        runs += theirs
    return Ledger(tuple(runs), ledger.portraits).select()


def _refuse_other(path: Path, run: Run, ledger: Ledger) -> None:
    """BadInput where a run of a pack has other data than ours, or shares but the name of an algorithm."""
    for own in ledger.runs:
        if own.env == run.env and own.card.data_sha256 != run.card.data_sha256:
            raise BadInput(
                f"{path}: {run.path.name} was trained on another data set of {run.env} "
                f"({run.card.data_sha256[:8]}, ours is {own.card.data_sha256[:8]}); train both on one"
            )
        if own.algo == run.algo:
            if own.role != run.role:
                raise BadInput(
                    f"{path}: its {run.algo} is {run.role} where ours of that name is {own.role}; rename one"
                )
            mine, theirs = own.card.algorithm, run.card.algorithm
            if (own.env, own.split, own.spec.overrides) != (run.env, run.split, run.spec.overrides):
                mine, theirs = _classes(mine), _classes(theirs)  # settings may differ there
            what = difference(in_common(mine, theirs), in_common(theirs, mine))
            if what:
                raise BadInput(
                    f"{path}: its {run.algo} is another algorithm than ours of that name ({what}); rename one"
                )


def _refuse_scores(path: Path, run: Run, others: Iterable[Run]) -> None:
    """BadInput where a run of a pack was scored otherwise than another run of its environment."""
    for other in others:
        if other.env == run.env and list(other.scores) != list(run.scores):
            mine, theirs = ", ".join(other.scores), ", ".join(run.scores)
            raise BadInput(
                f"{path}: {run.path.name} has the scores {theirs}, and {other.path.name} has {mine}; train "
                "both with one version of comrl-bench"
            )


def _classes(tree: Tree) -> Tree:
    """Of a tree of parts, the parts' classes alone."""
    nested: Tree = {name: _classes(part) for name, part in tree.items() if isinstance(part, dict)}
    return nested | {name: value for name, value in tree.items() if name == "part"}
