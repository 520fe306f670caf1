"""Where a result comes from."""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

DISTRIBUTION = "comrl-bench"


def code_revision(file: Path = Path(__file__)) -> str:
    """The git revision of the code, `+` where files were changed since.

    Code that its repository does not know, such as a package installed within somebody else's, has the
    package's version, or `unknown`.
    """
    folder = file.resolve().parent
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=folder, env=surroundings, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", file.resolve().name)
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":(top)*.py", ":(top)*.toml")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        pass
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
