"""Results and data may be anybody's with hashes that fit: nothing beyond their folder is read or written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from support.data import put_data_set
from support.ledgers import FOCAL, WIND, add_run

from comrl.benchmark.reporting.ledger import add_test, read_ledger
from comrl.datasets.store import open_dataset
from comrl.envs import find_family
from comrl.ground.errors import BadInput
from comrl.ground.hashing import identity, sha256
from comrl.ground.reading import content_of

FAMILY = find_family("sparse-point-robot")
REWARDS = "expert/rewards"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of numbers that is none of ours, as HDF5 and as plain bytes."""
    with h5py.File(tmp_path / "secret", "w") as file:
        file["rewards"] = np.full(1000, 42.0, dtype=np.float32)
    return tmp_path / "secret"


def elsewhere(file: h5py.File, secret: Path) -> None:
    shape = file[REWARDS].shape
    del file[REWARDS]
    file.create_dataset(REWARDS, shape, "float32", external=[(str(secret), 0, 4 * shape[0])])


def linked(file: h5py.File, secret: Path) -> None:
    del file[REWARDS]
    file[REWARDS] = h5py.ExternalLink(str(secret), "rewards")


def linked_whole(file: h5py.File, secret: Path) -> None:
    del file["medium"]
    file["medium"] = h5py.ExternalLink(str(secret), "/")


def renamed(file: h5py.File, secret: Path) -> None:
    file.move(REWARDS, "theirs")
    file[REWARDS] = h5py.SoftLink("/theirs")


def virtual(file: h5py.File, secret: Path) -> None:
    shape = file[REWARDS].shape
    del file[REWARDS]
    layout = h5py.VirtualLayout(shape=shape, dtype="float32")
    layout[:] = h5py.VirtualSource(secret, "rewards", shape=(1000,))[: shape[0]]
    file.create_virtual_dataset(REWARDS, layout)


def endless(file: h5py.File, secret: Path) -> None:
    del file[REWARDS]
    file.create_dataset(REWARDS, (10**13,), "float32", chunks=(1000,))  # takes no room until it is written


SAID = {
    elsewhere: "lies in another file",
    virtual: "lies in another file",
    endless: "says to have 4000000000",
}


@pytest.mark.parametrize("forge", [elsewhere, linked, linked_whole, renamed, virtual, endless])
def test_data_that_lie_elsewhere_are_refused_and_not_read(
    forge: Callable[[h5py.File, Path], None], secret: Path, tmp_path: Path
) -> None:
    folder = put_data_set(tmp_path / "data", FAMILY)
    with h5py.File(folder / "task-001.hdf5", "r+") as file:
        forge(file, secret)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["task-001.hdf5"] = sha256((folder / "task-001.hdf5").read_bytes())
    manifest["sha256"] = identity(manifest["files"])
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match=rf"task-001\.hdf5 .*{SAID.get(forge, 'is a link')}"):
        open_dataset(tmp_path / "data", FAMILY.name, check=True)


# --- files that a card names


def name_in_card(folder: Path, file: str, content: bytes) -> None:
    """Have a run's card name one more file, with hashes that fit."""
    card = json.loads((folder / "run.json").read_text())
    card["files"][file] = sha256(content)
    del card["sha256_of_card"]
    card["sha256_of_card"] = sha256(json.dumps(card, sort_keys=True).encode())
    (folder / "run.json").write_text(json.dumps(card))


@pytest.mark.parametrize("name", ["../secret", "{root}/secret", "sub/secret", "..", "", ".", "a\0b"])
def test_a_card_names_files_of_its_own_folder_alone(name: str, tmp_path: Path) -> None:
    folder = add_run(tmp_path / "results", WIND, FOCAL)
    for place in (folder.parent / "secret", tmp_path / "secret", folder / "sub" / "secret"):
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"theirs")
    name_in_card(folder, name.format(root=tmp_path), b"theirs")
    for use in (lambda: read_ledger(tmp_path / "results"), lambda: add_test(folder, "x.csv", pd.DataFrame())):
        with pytest.raises(BadInput, match="is no name of a file in the folder"):
            use()


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_has_no_end_is_not_read(kind: str, tmp_path: Path) -> None:
    folder = add_run(tmp_path, WIND, FOCAL)
    if kind == "pipe":
        os.mkfifo(folder / "more.csv")
    else:
        (folder / "more.csv").symlink_to("/dev/zero")
    name_in_card(folder, "more.csv", b"")
    with pytest.raises(BadInput, match=r"more\.csv is no file but a pipe, a socket or a device"):
        read_ledger(tmp_path)
    os.replace(folder / "more.csv", folder / "run.json")
    with pytest.raises(BadInput, match=r"run\.json is no file but"):
        read_ledger(tmp_path)


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    """Data that some tool keeps elsewhere lie behind links."""
    (tmp_path / "kept").write_bytes(b"ours")
    (tmp_path / "link").symlink_to("kept")
    assert content_of(tmp_path / "link") == b"ours"
    with pytest.raises(BadInput, match="is a directory"):
        content_of(tmp_path)
    assert content_of(tmp_path / "nothing") is None
