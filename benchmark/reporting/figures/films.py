"""Film strips: what a trained policy does in the two test tasks farthest apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from comrl.benchmark.reporting.drawing import REMEDY, draw_films
from comrl.benchmark.reporting.figures import Absent, Figure, style
from comrl.benchmark.reporting.figures.views import Entry, about_environments, entries, headline_split, paper
from comrl.benchmark.reporting.ledger import Ledger
from comrl.envs.family import TaskFamily, families

SHOWN = 6  # frames a strip


def films(ledger: Ledger) -> style.Drawing | Absent | None:
    """A strip of frames per task, two tasks per environment."""
    chosen = _chosen(ledger)
    if not chosen:
        return None
    shown = {entry.env: _frames(entry) for entry in chosen}
    try:
        pictures = draw_films({env: obs.reshape(-1, obs.shape[-1]) for env, (obs, _, _) in shown.items()})
    except OSError as error:
        return Absent(f"MuJoCo cannot draw here ({error})", REMEDY)
    import matplotlib.pyplot as plt

    strips = 2 * len(chosen)
    figure, axes = plt.subplots(strips, SHOWN, figsize=(style.PAGE, 1.04 * strips), squeeze=False)
    for entry, pair in zip(chosen, axes.reshape(-1, 2, SHOWN), strict=True):
        obs, steps, tasks = shown[entry.env]
        frames = pictures[entry.env].reshape(2, SHOWN, *pictures[entry.env].shape[1:])
        for row, line in enumerate(pair):
            _draw_strip(line, frames[row], obs[row], steps[row], _family(entry))
            line[0].set_ylabel(_task_name(entry, int(tasks[row])), fontsize=7)
        pair[0, 0].set_title(f"{entry.first.card.env_label}, {entry.label}")
    return figure


def _chosen(ledger: Ledger) -> list[Entry]:
    """One filmed method of ours per environment: the paper's last where it is there, else the first."""
    found: dict[str, Entry] = {}
    best = list(paper()["algorithms"])[-1]
    for entry in entries(ledger.own, split=headline_split(), role="method"):
        drawable = "film_obs" in entry.first.probe and _family(entry) is not None
        if drawable and (entry.env not in found or entry.first.algo == best):
            found[entry.env] = entry
    return list(found.values())


def _family(entry: Entry) -> TaskFamily | None:
    """The family that draws an entry's observations, where this benchmark still has it."""
    known = {family.name: family for family in families() if family.film}
    family = known.get(entry.env)
    return family if family and family.obs_dim == entry.first.probe["film_obs"].shape[-1] else None


def _frames(entry: Entry) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Some observations of the first seed's film, their steps, and the tasks: [2, F, O], [2, F], [2]."""
    obs, steps, tasks = (entry.first.probe[f"film_{name}"][0] for name in ("obs", "steps", "tasks"))
    picked = np.linspace(0, obs.shape[1] - 1, SHOWN).round().astype(int)
    return obs[:, picked], steps[:, picked], tasks


def _draw_strip(
    line: Sequence[Axes],
    frames: NDArray[np.uint8],
    obs: NDArray[np.float32],
    steps: NDArray[np.int64],
    family: TaskFamily | None,
) -> None:
    for axis, frame, seen, step in zip(line, frames, obs, steps, strict=True):
        axis.imshow(frame, interpolation="antialiased")
        axis.set(xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set(visible=True, color=style.QUIET)
        where = (
            f", x = {seen[-family.position_dim].round(1) + 0.0:.1f} m"
            if family and family.position_dim
            else ""
        )
        axis.set_xlabel(f"step {step}{where}".replace("-", "−"), fontsize=6.5, labelpad=1.5)


def _task_name(entry: Entry, task: int) -> str:
    """The task's parameter, where it has but one."""
    family, params = _family(entry), entry.first.card.task_set.params[task]
    if family is None or len(params) > 1:
        return f"task {task}"
    return f"{family.param_names[0]}\n{params[0]:.3g}".replace("-", "−")


FIGURES = (
    Figure(
        name="films",
        title="What the policies do",
        kind="figure",
        make=films,
        caption="Frames at equal distances of one episode: the deterministic policy of the first seed with "
        "offline context of the training split, in the test tasks with the lowest and the highest first "
        "parameter, from the start to the fall or the horizon. The camera goes with the body; x is where it "
        "is along the track.",
        note=about_environments,
        section="Learning",
        needs="bench run --env {envs} --algo {algos}",
    ),
)
