"""A result names the code it was made with, and never somebody else's commit."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from support.runs import CPU

from comrl.benchmark import provenance
from comrl.benchmark.provenance import DISTRIBUTION, code_revision
from comrl.benchmark.reporting.cards import Provenance
from comrl.benchmark.reporting.ledger import read_ledger
from comrl.benchmark.spec import RunSpec
from comrl.benchmark.training import train as training
from comrl.benchmark.training.job import birth_of, prepare_job
from comrl.benchmark.training.run import run_job
from comrl.ground import machine


def git(folder: Path, *words: str) -> str:
    own = ("-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", *own, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a package in it, one commit."""
    package = tmp_path / "repository" / "package"
    package.mkdir(parents=True)
    for name in ("provenance.py", "other.py"):
        (package / name).write_text("1\n")
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-qm", "1")
    return package.parent


def test_a_checkout_has_its_revision_and_says_where_files_were_changed(repository: Path) -> None:
    file, head = repository / "package" / "provenance.py", git(repository, "rev-parse", "--short=12", "HEAD")
    assert code_revision(file) == head
    (repository / "elsewhere.py").write_text("not known to git\n")
    assert code_revision(file) == head
    git(repository, "mv", "package/other.py", "moved.py")  # a change outside of the file's own folder
    assert code_revision(file) == f"{head}+"


def test_a_package_installed_within_somebody_elses_repository_has_its_own_version(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = repository / ".venv" / "site-packages" / "comrl" / "provenance.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("1\n")
    assert code_revision(installed) == version(DISTRIBUTION)

    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(provenance, "version", absent)
    assert code_revision(installed) == "unknown"


def test_a_repository_that_the_surroundings_name_is_not_asked(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a git hook, where every command is told of the repository it runs for."""
    head = git(repository, "rev-parse", "--short=12", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nothing"))
    assert code_revision(repository / "package" / "provenance.py") == head


def test_a_training_that_goes_on_with_other_code_or_threads_says_so(
    smoke_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card has what it was begun with, and a sentence of what it went on with."""
    spec = RunSpec(
        env="sparse-point-robot", split="mixed", preset="smoke", algo="blind", seeds=(0,), overrides={}
    )
    job, seen = prepare_job(spec, smoke_data, CPU), []

    def stop(rows: Any) -> None:
        seen.append(rows)
        if len(seen) == 3:
            raise KeyboardInterrupt

    def birth(code: str, threads: int) -> Provenance:
        made = Provenance(git=code, packages={"torch": "2"}, threads=threads, device="cpu")
        monkeypatch.setattr(training, "birth_of", lambda device: made)
        return made

    begun, work = birth("aaa", 1), tmp_path / "work" / job.name
    work.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        training.train(job, work / "checkpoint.pt", stop)
    birth("bbb", 2)
    run_job(job, tmp_path)
    card = read_ledger(tmp_path).runs[0].card
    assert card.provenance == begun
    then, now = (f"code {code}, cpu (fp32, threads: {n})" for code, n in (("aaa", 1), ("bbb", 2)))
    assert card.doubts == (f"it went on with {now}, and until then with {then}",)


def test_the_processor_is_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    told = b"processor\t: 0\nmodel\t\t: 17\nmodel name\t: EPYC\n\nprocessor\t: 1\nmodel name\t: other\n"
    monkeypatch.setattr(machine, "content_of", lambda path: told)
    assert re.fullmatch(r"EPYC, model 17, \w+", machine.processor())
    monkeypatch.setattr(machine, "content_of", lambda path: None)  # no such file, as on macOS
    assert re.fullmatch(r"\w+, \w+", machine.processor())
    assert birth_of(CPU).processor == machine.processor()
