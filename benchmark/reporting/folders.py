"""A folder of results as bytes: files, and the card that says what they hash to; written once and whole."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

from comrl.benchmark.reporting.cards import FORMAT
from comrl.ground.cards import Tree
from comrl.ground.errors import BadInput
from comrl.ground.files import write_folder_whole
from comrl.ground.hashing import sha256
from comrl.ground.reading import content_of

WEIGHTS = "weights.pt"
PACKED = ".gz"
LARGEST = 500_000_000  # bytes of what is unpacked: more is a trap
NAME = re.compile(r"\w[\w.+-]*")
AGAIN = "give the command that made it again"


def write_files(
    folder: Path, name: str, card: Tree, files: Mapping[str, bytes], weights: bytes | None = None
) -> Path:
    """A folder of files and the card that says what they are and what they hash to, itself included.

    Weights have a hash of their own in the card and may be missing later: a report needs none.
    """
    extra = {} if weights is None else {WEIGHTS: weights}
    body: Tree = {**card, "format": FORMAT, "files": {name: sha256(files[name]) for name in sorted(files)}}
    body["sha256_of_card"] = _card_hash(body)
    text = json.dumps(body, indent=1, allow_nan=False) + "\n"
    with write_folder_whole(folder) as part:
        for file, content in {**files, **extra, name: text.encode()}.items():
            (part / file).write_bytes(content)
    return folder


def read_files(path: Path, name: str) -> tuple[Tree, dict[str, bytes]]:
    """A card as it was written and the bytes of its files, each compared with its hash."""
    try:
        body = json.loads(_content(path / name))
        if body["format"] > FORMAT:
            newer = f"format {body['format']}, this code reads {FORMAT}"
            raise BadInput(f"{path / name}: {newer}; update comrl-bench")
        files = {file: _content(path / _plain(file), packed=True) for file in body["files"]}
        whole = body["sha256_of_card"] == _card_hash(body)
        changed = [file for file in files if sha256(files[file]) != body["files"][file]]
    except BadInput:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise unreadable(path, error) from error
    for file in changed if whole else [name]:
        raise altered(path / file)
    return body, files


def _plain(file: str) -> str:
    """The name of a file beside its card, or ValueError: a card may be anybody's, and name any place."""
    if not NAME.fullmatch(file):
        raise ValueError(f"{file!r} is no name of a file in the folder")
    return file


def _content(path: Path, *, packed: bool = False) -> bytes:
    content = content_of(path)
    if content is None and packed:
        content = _unpacked(path.with_name(path.name + PACKED))
    if content is None:
        raise BadInput(f"{path} is missing; it is no folder of results, or one to be removed: then {AGAIN}")
    return content


def _unpacked(path: Path) -> bytes | None:
    """The content of a gzipped file, as good as the file itself; None where there is none."""
    packed = content_of(path)
    if packed is None:
        return None
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            content = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from error
    if len(content) > LARGEST:
        raise BadInput(f"{path}: unpacks to more than {LARGEST / 1e6:.0f} MB; delete the folder and {AGAIN}")
    return content


def altered(path: Path) -> BadInput:
    """The error of a file that is not as it was written."""
    return BadInput(f"{path}: altered since it was written; delete its folder and {AGAIN}")


def unreadable(path: Path, error: Exception) -> BadInput:
    """The error of a folder that cannot be read."""
    why = f"{type(error).__name__}: {error}"
    return BadInput(f"{path}: unreadable ({why}); delete the folder and {AGAIN}")


def _card_hash(body: Tree) -> str:
    rest = {key: value for key, value in body.items() if key != "sha256_of_card"}
    return sha256(json.dumps(rest, sort_keys=True).encode())
