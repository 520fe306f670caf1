"""Pictures of simulated bodies, where MuJoCo can draw without a screen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from envs.family import Array
from envs.physics import Body, compiled

Film = Callable[[Array], NDArray[np.uint8]]
"""One picture an observation: [F, O] -> [F, height, width, 3]; OSError where nothing can be drawn."""

SIZE = (180, 240)  # pixels: height, width


def filmed(body: Body) -> Film:
    """Draw a body as its own camera sees it."""

    def film(obs: Array) -> NDArray[np.uint8]:
        import mujoco

        model = compiled(body)[0]
        data, frames = mujoco.MjData(model), []
        try:
            renderer = mujoco.Renderer(model, *SIZE)
        except Exception as error:  # every back end fails in a way of its own
            raise OSError(f"MuJoCo cannot draw here ({error}); set MUJOCO_GL to egl or osmesa") from error
        with renderer:
            for positions in body.positions(obs):
                data.qpos[:] = positions
                mujoco.mj_forward(model, data)
                renderer.update_scene(data, camera="track")
                frames.append(renderer.render().copy())
        return np.stack(frames)

    return film
