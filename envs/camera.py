"""Pictures of simulated bodies, where MuJoCo can draw without a screen."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comrl.envs.engine import CHOICE, mujoco, no_drawing
from comrl.envs.family import Array
from comrl.envs.physics import Body, compiled

Film = Callable[[Array], NDArray[np.uint8]]
"""One picture an observation: [F, O] -> [F, height, width, 3]; OSError where nothing can be drawn."""

SIZE = (210, 280)  # pixels: height, width
SIDEWAYS, DOWN = 90.0, -14.0  # degrees: the camera sees the track from its side, a little from above
AWAY, HEIGHT = 2.5, 0.6  # metres: how far off it stands, and at what height it looks
NEAR = 3.0  # metres
LIGHT, DARK = 235, 200  # the ground's squares


def filmed(body: Body) -> Film:
    """Draw a body from the side, the camera going with it."""

    def film(obs: Array) -> NDArray[np.uint8]:
        model = stage(body)
        data, frames = mujoco.MjData(model), []
        try:
            renderer = mujoco.Renderer(model, *SIZE)
        except Exception as error:  # every back end fails in a way of its own
            why = no_drawing or error
            raise OSError(f"MuJoCo cannot draw here ({why}); set {CHOICE} to egl or osmesa") from error
        with renderer:
            for positions in body.positions(obs):
                data.qpos[:] = positions
                data.qpos[: body.root] %= period(model)  # the ground ends, and looks the same after this far
                mujoco.mj_forward(model, data)
                renderer.update_scene(data, camera=beside(data.subtree_com[1]))
                frames.append(renderer.render().copy())
        return np.stack(frames)

    return film


def beside(centre: NDArray[np.float64]) -> Any:
    """A camera that looks at a body from the side of its track."""
    camera = mujoco.MjvCamera()
    camera.lookat[:] = centre[0], centre[1], HEIGHT
    camera.azimuth, camera.elevation, camera.distance = SIDEWAYS, DOWN, AWAY
    return camera


def period(model: Any) -> float:
    """Metres after which the ground's squares repeat."""
    ground = int(np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE)[0])
    return float(2 * model.geom_size[ground, 0] / model.mat_texrepeat[model.geom_matid[ground], 0])


@cache
def stage(body: Body) -> Any:
    """A copy of the model in print colours: pale ground without mirrors, white sky."""
    model = copy.copy(compiled(body)[0])
    model.mat_reflectance[:] = 0.0
    model.mat_specular[:] = 0.2
    model.vis.headlight.ambient[:] = 0.3
    model.vis.headlight.diffuse[:] = 0.2
    model.light_diffuse[:] = 0.6
    model.stat.extent = NEAR  # shadows are cast no farther than this
    model.vis.map.shadowclip = 0.8
    for texture in range(model.ntex):
        start = model.tex_adr[texture]
        size = model.tex_height[texture] * model.tex_width[texture] * model.tex_nchannel[texture]
        pixels = model.tex_data[start : start + size]
        if model.tex_type[texture] == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
            pixels[:] = 255
        if model.tex_type[texture] == mujoco.mjtTexture.mjTEXTURE_2D:
            pixels[:] = np.where(pixels > 100, LIGHT, DARK)
    model.geom_rgba[model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE] = 1.0
    return model
