"""Task embeddings: their variance over context draws, and how they lie on a plane."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from comrl.benchmark.reporting import metrics
from comrl.benchmark.reporting.figures import Figure, style
from comrl.benchmark.reporting.figures.views import (
    Entry,
    about_environments,
    by_setting,
    entries,
    headline_split,
    in_the_paper,
    published,
    report_entries,
)
from comrl.benchmark.reporting.ledger import Ledger
from comrl.benchmark.reporting.tables import mean_std, number, once

SHOWN_TASKS = 20  # [focalpp Fig. 4b]
ACROSS, WIDEST = 8, 16  # panels side by side, and letters of their names on one line


def variances(ledger: Ledger) -> pd.DataFrame | None:
    """Variance of z over context draws, and between tasks, on training tasks [focalpp Table 2]; and how much
    z tells of the test tasks' parameters.
    """
    rows = []
    for entry in entries(ledger, role="method"):
        z = entry.probe("z")
        if z is None:
            continue
        tasks = entry.first.card.task_set
        train = z[:, list(tasks.train)]  # [S, T, D, Z]
        within = [metrics.embedding_variance(seed) for seed in train]
        between = [metrics.between_task_variance(seed) for seed in train]
        known = [metrics.linear_r2(seed, tasks.array, tasks.train, tasks.test) for seed in z]
        printed = in_the_paper(entry.first) and entry.split == headline_split()
        told = published("table2", entry.env, entry.first.algo) if printed else None
        rows.append(
            {
                "environment": entry.setting,
                "algorithm": entry.label,
                "within": float(np.mean(within)),
                "within_std": metrics.std(within),
                "between": float(np.mean(between)),
                "ratio": float(np.mean(np.divide(within, between))),
                "task_r2": float(np.mean(known)),
                "paper": np.nan if told is None else told,
            }
        )
    return pd.DataFrame(rows) if rows else None


def show_variances(frame: pd.DataFrame) -> pd.DataFrame:
    """Variance with its spread over seeds, its scale and the paper's, and what z tells of the task."""
    return pd.DataFrame(
        {
            "environment": once(frame["environment"]),
            "algorithm": frame["algorithm"],
            "variance (std)": [
                mean_std(m, s, number) for m, s in zip(frame["within"], frame["within_std"], strict=True)
            ],
            "between tasks": frame["between"].map(number),
            "ratio": frame["ratio"].map(number),
            "paper": frame["paper"].map(number),
            "R² of the task": frame["task_r2"].map(number),
        }
    )


def embedding_maps(ledger: Ledger) -> style.Drawing | None:
    """t-SNE of many context draws: environments down, methods across, where there are many in several rows.

    [focalpp Fig. 4b, c]
    """
    chosen = report_entries(ledger, "z")
    if not chosen:
        return None
    import matplotlib.pyplot as plt

    groups = by_setting(chosen)
    most = max(len(group) for group in groups.values())
    across = max(2, -(-most // -(-most // ACROSS)))  # as many in every row
    rows = [group[i : i + across] for group in groups.values() for i in range(0, len(group), across)]
    size = min(style.PAGE / across, 2.2, max(1.0, 11.0 / len(rows)))
    figure, axes = plt.subplots(
        len(rows), across, figsize=(size * across, (size + 0.12) * len(rows) + 0.5), squeeze=False
    )
    for line, row in zip(axes, rows, strict=True):
        for axis in line[len(row) :]:
            axis.axis("off")
        for axis, entry in zip(line, row, strict=False):
            _draw_map(axis, entry)
        line[0].set_ylabel(style.on_lines(row[0].setting, WIDEST), fontsize=7)
    style.task_key(figure, list(axes.flat))
    return figure


def _draw_map(axis: Axes, entry: Entry) -> None:
    z = entry.probe("z")
    assert z is not None
    first = entry.first.card.task_set.array[:, 0]
    order = np.argsort(first, kind="stable")
    tasks = order[np.unique(np.linspace(0, len(order) - 1, SHOWN_TASKS).astype(int))]
    points = z[0][tasks]  # [T', D, Z]
    plane = project(points.reshape(-1, points.shape[-1]))
    own = plane.reshape(len(tasks), -1, 2)  # [T', D, 2]
    for shade, dots in zip(style.task_shades(len(tasks)), own, strict=True):
        axis.plot(
            *dots.T, ".", color=style.task_colour(shade), markersize=2.6 + 1.4 * (len(tasks) < 5), mew=0
        )
    axis.set_title(style.on_lines(entry.label, WIDEST), fontsize=6.5, loc="center")
    axis.set_xticks([])
    axis.set_yticks([])
    for side in ("top", "right"):
        axis.spines[side].set_visible(True)
    for spine in axis.spines.values():
        spine.set_color(style.QUIET)
    axis.set_box_aspect(1)


def project(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """t-SNE on one thread, so that it repeats; one number is its own map.  [N, Z] -> [N, 2]."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if np.ptp(points) < 1e-9:  # an encoder that collapsed has no map
        return np.zeros((len(points), 2))
    if points.shape[1] == 1:
        return np.pad(points, ((0, 0), (0, 1)))
    perplexity = min(30.0, (len(points) - 1) / 3)
    with threadpool_limits(1):
        plane = TSNE(perplexity=perplexity, init="pca", max_iter=500, random_state=0).fit_transform(points)
    return np.asarray(plane)


FIGURES = (
    Figure(
        name="table2",
        title="Table 2: variance of task embeddings",
        kind="table",
        make=variances,
        show=show_variances,
        caption="Variance of the mean embedding z over fresh context draws of the frozen encoder (dropout "
        "off), averaged over training tasks and latent dimensions. The paper does not say over what its "
        "variance is taken. A variance shrinks with the scale of z, so the variance between tasks stands "
        "beside it: the ratio is what can be compared. R² of the task: of the affine map from a task's mean "
        "embedding to its parameters, fitted on training tasks and scored on test tasks; 1 tells all, a "
        "constant tells 0.",
        section="Task embeddings",
        needs="bench run --env {envs} --algo {algos}",
    ),
    Figure(
        name="fig4b",
        title="Fig. 4b, c: task embeddings (t-SNE)",
        kind="figure",
        make=embedding_maps,
        caption="Each point is the embedding of one context draw, coloured by its task; 20 tasks at equal "
        "distances along the first task parameter (or all, where there are fewer), training and test tasks "
        "alike; first seed. t-SNE distances between clusters mean nothing: read whether points of one task "
        "lie together. An embedding of one number is drawn as it is.",
        note=about_environments,
        section="Task embeddings",
        needs="bench run --env {envs} --algo {algos}",
        slow=True,
    ),
)
