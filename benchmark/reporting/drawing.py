"""Draw bodies in a process of its own, so that a machine without graphics loses pictures and nothing else."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from comrl.envs.family import find_family

SECONDS = 120
BACK_ENDS = ("egl", "osmesa")  # without a screen, in the order of trial
REMEDY = "apt-get install libegl1 libosmesa6, or set MUJOCO_GL; then bench report"


def draw_films(films: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.uint8]]:
    """Pictures of observations by environment; OSError says why there are none.

    {env: [F, O]} -> {env: [F, height, width, 3]}.
    """
    order, why = io.BytesIO(), "no back end"
    np.savez(order, **films)  # type: ignore[arg-type]
    for choice in _choices():
        environ = os.environ | choice | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-P", "-m", "comrl.benchmark.reporting.drawing"]
        try:
            done = subprocess.run(
                command, input=order.getvalue(), capture_output=True, env=environ, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            why = f"no picture within {SECONDS} s"
            continue
        if done.returncode == 0:
            with np.load(io.BytesIO(done.stdout)) as file:
                return {name: file[name] for name in file.files}
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        why = last[0]
    raise OSError(why)


def _choices() -> list[dict[str, str]]:
    """The user's back end, or on Linux those that need no screen."""
    if os.environ.get("MUJOCO_GL") or sys.platform != "linux":
        return [{}]
    return [{"MUJOCO_GL": name} for name in BACK_ENDS]


def main() -> None:
    """Observations from standard input, pictures to standard output."""
    with np.load(io.BytesIO(sys.stdin.buffer.read())) as file:
        films = {name: file[name].astype(np.float64) for name in file.files}
    out = io.BytesIO()
    frames = {name: film(obs) for name, obs in films.items() if (film := find_family(name).film)}
    np.savez(out, **frames)  # type: ignore[arg-type]
    sys.stdout.buffer.write(out.getvalue())


if __name__ == "__main__":
    main()
