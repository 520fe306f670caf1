"""A result names the code it was made with, and never somebody else's commit."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from comrl.benchmark import provenance
from comrl.benchmark.provenance import DISTRIBUTION, code_revision


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
