"""The form of a task's episodes: widths, types and lengths, and what does not have it."""

from __future__ import annotations

from comrl.datasets.taskfile import FIELDS, StoredEpisodes, StoredQuality
from comrl.envs.family import TaskFamily


def misfit(family: TaskFamily, quality: StoredQuality) -> str | None:
    """What of a quality does not have the form of the family's data, in words."""
    found = _misfit(family, StoredEpisodes(quality.transitions, quality.lengths))
    if found or quality.visits is None:
        return found
    hosts, episodes = quality.visits
    if hosts.shape != episodes.lengths.shape:
        return f"visits have {hosts.size} tasks for {episodes.lengths.size} episodes"
    found = _misfit(family, episodes)
    return found and f"visits' {found}"


def _misfit(family: TaskFamily, episodes: StoredEpisodes) -> str | None:
    rows, lengths = episodes
    widths = {"obs": (family.obs_dim,), "action": (family.action_dim,), "next_obs": (family.obs_dim,)}
    count = rows.reward.size
    if not count or not lengths.size:
        return "episodes are none"
    for field, values in rows._asdict().items():
        shape, dtype = (count, *widths.get(field, ())), "bool" if field == "terminated" else "float32"
        if values.shape != shape or values.dtype != dtype:
            return f"{FIELDS[field]} are {values.dtype} {values.shape} where {dtype} {shape} belong"
    if lengths.sum() != count or lengths.min() < 1 or lengths.max() > family.horizon:
        return f"episode lengths, {lengths.min()} to {lengths.max()}, sum to {lengths.sum()} of {count} rows"
    return None
