"""Pictures of points in the plane, which need no MuJoCo, and whether a family can be drawn at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from comrl.envs.family import Array, TaskFamily

SIZE = (210, 280)  # pixels: height, width
SPAN = 2.2  # metres from the middle to the upper edge
DOT = 0.07  # metres: radius of the point and of a goal without a radius of its own
PAPER, AXES, GOAL, POINT = (255, 255, 255), (215, 215, 215), (240, 190, 120), (0, 90, 170)


def drawable(family: TaskFamily) -> bool:
    """Whether there are pictures of the family: of its body, or of a map with its goals."""
    return family.film is not None or family.heading is not None


def pictures(family: TaskFamily, obs: Array, params: Array) -> NDArray[np.uint8]:
    """One picture an observation of one task; OSError where nothing can be drawn.

    obs: [F, O], params: [P] -> [F, height, width, 3].
    """
    if family.film is not None:
        return family.film(obs)
    if family.heading is None:
        raise OSError(f"{family.name} has neither film nor heading, so there is nothing to draw")
    goal = np.asarray(family.heading(params[None]))[0]
    return on_a_map(obs[:, :2], goal, abs(family.radius or DOT))


def on_a_map(points: Array, goal: Array, radius: float) -> NDArray[np.uint8]:
    """A map for each point: the axes, the goal with its radius, and the point; y is up.

    points: [F, 2], goal: [2] -> [F, height, width, 3].
    """
    height, width = SIZE
    metres = 2 * SPAN / height  # a pixel
    x = np.linspace(0.5 - width / 2, width / 2 - 0.5, width, dtype=np.float64) * metres  # [width]
    y = np.linspace(height / 2 - 0.5, 0.5 - height / 2, height, dtype=np.float64) * metres  # [height]
    ground = np.full((height, width, 3), PAPER, dtype=np.uint8)
    ground[np.abs(y) < metres] = AXES
    ground[:, np.abs(x) < metres] = AXES
    ground[_disc(x, y, goal, radius)] = GOAL
    frames = np.repeat(ground[None], len(points), 0)
    for frame, point in zip(frames, np.nan_to_num(points), strict=True):
        frame[_disc(x, y, np.clip(point, -2 * SPAN, 2 * SPAN), DOT)] = POINT
    return frames


def _disc(x: Array, y: Array, centre: Array, radius: float) -> NDArray[np.bool_]:
    """The pixels within a radius.  [width], [height], [2] -> [height, width]."""
    inside: NDArray[np.bool_] = np.hypot(x[None] - centre[0], y[:, None] - centre[1]) <= radius
    return inside
