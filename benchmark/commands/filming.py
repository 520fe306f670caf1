"""A trained policy to look at: bench film."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from comrl.ground.errors import BadInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from comrl.benchmark.training.watch import Watched

Arguments = argparse.Namespace
FORMATS = ("gif", "mp4")
PAUSE = 10  # frames for which the last one stands


def add_commands(add: Callable[[str, Callable[[Arguments], int], str, str], argparse.ArgumentParser]) -> None:
    """Let the command line take it."""
    text = "film a trained policy in chosen tasks: the first episode of its test, a file for each task"
    sub = add("film", film, text, "data machine")
    sub.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="the folder of a run")
    sub.add_argument("--task", nargs="+", type=int, required=True, metavar="TASK", help="one or more tasks")
    sub.add_argument("--seed", type=int, metavar="SEED", help="whose policy (default: the run's first)")
    text = "gif (default), or mp4, which takes the extra [film]"
    sub.add_argument("--format", choices=FORMATS, default="gif", help=text)
    text = "where to write them (default: films/ in the results folder of the run)"
    sub.add_argument("--out", type=Path, metavar="FOLDER", help=text)


def film(arguments: Arguments) -> int:
    """Play, draw and write, and print a row for each film."""
    from comrl.benchmark.commands.cli import show
    from comrl.benchmark.training.watch import watch
    from comrl.envs.gym import frames_per_second
    from comrl.ground.files import write_whole
    from comrl.ground.machine import Machine, prepare

    encode = encoder(arguments.format)
    device = prepare(Machine(arguments.device, arguments.threads, arguments.precision))
    run = arguments.run.resolve()
    out, rows = arguments.out or run.parent.parent / "films", []
    for seen in watch(run, arguments.data, device, arguments.task, arguments.seed):
        content = encode(drawn(seen), frames_per_second(seen.family))
        path = out / f"{run.name}.task-{seen.task:03d}.seed-{seen.seed}.{arguments.format}"
        with write_whole(path) as part:
            part.write_bytes(content)
        score = {"score": seen.family.scores[0].name, "return": round(seen.score, 3)}
        about = {"task": seen.task, "seed": seen.seed, "steps": len(seen.obs) - 1}
        rows.append({**about, **score, "film": str(path)})
    show(rows)
    return 0


def drawn(seen: Watched) -> NDArray[np.uint8]:
    """The pictures of an episode; BadInput where they cannot be drawn here.  -> [F, height, width, 3]."""
    from comrl.benchmark.reporting.drawing import REMEDY, draw_films
    from comrl.envs.plane import pictures

    try:
        if seen.family.film is not None:  # in a process of its own, whatever graphics do there
            return draw_films({seen.family.name: seen.obs.astype("float32")})[seen.family.name]
        return pictures(seen.family, seen.obs, seen.params)
    except OSError as error:
        raise BadInput(f"{seen.family.name} cannot be drawn here ({error}); {REMEDY}") from error


def encoder(kind: str) -> Callable[[NDArray[np.uint8], int], bytes]:
    """What makes a file of frames [F, height, width, 3] and frames a second; BadInput without its library."""
    if kind == "gif":
        return as_gif
    try:
        import imageio_ffmpeg  # noqa: F401
    except ImportError as error:
        raise BadInput(
            f"nothing here writes MP4 ({error}); pip install 'comrl-bench[film]', or give --format gif"
        ) from None
    return as_mp4


def as_gif(frames: NDArray[np.uint8], fps: int) -> bytes:
    """An endless GIF whose last frame stands for a while."""
    from PIL import Image

    first, *rest = (Image.fromarray(frame) for frame in frames)
    took = [1000 // fps] * len(rest) + [PAUSE * 1000 // fps]
    memory = io.BytesIO()
    first.save(memory, "gif", save_all=True, append_images=rest, duration=took, loop=0)
    return memory.getvalue()


def as_mp4(frames: NDArray[np.uint8], fps: int) -> bytes:
    """An H.264 film."""
    import tempfile

    import imageio_ffmpeg

    height, width = frames.shape[1:3]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        writer = imageio_ffmpeg.write_frames(str(path), (width, height), fps=fps, macro_block_size=2)
        writer.send(None)
        for frame in frames:
            writer.send(frame.tobytes())
        writer.close()
        return path.read_bytes()
