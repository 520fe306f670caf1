"""Theorems 3.1 and 3.2 evaluated on trained encoders."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from comrl.benchmark.reporting.figures import Figure
from comrl.benchmark.reporting.figures.views import entries
from comrl.benchmark.reporting.ledger import Ledger
from comrl.benchmark.reporting.tables import number, once

ROUNDING = 1e-4  # relative to each seed's own losses; embeddings are float32
FLOOR = 1e-6  # the losses are log(1 + ...), and a float32 tells 1 from its neighbours by 1e-7


def theorem_check(ledger: Ledger) -> pd.DataFrame | None:
    """The identity and the chain of inequalities, the worst seed of each. [focalpp Theorems 3.1, 3.2]"""
    rows = []
    for entry in entries(ledger, role="method"):
        identity, chain = entry.probe("theorem31"), entry.probe("theorem32")  # [S, 2], [S, 3]
        if identity is None or chain is None:
            continue
        gap = float(abs(identity[:, 0] - identity[:, 1]).max())
        rows.append(
            {
                "environment": entry.setting,
                "encoder": entry.label,
                "contrast": float(identity[:, 0].mean()),
                "mean_classifier": float(identity[:, 1].mean()),
                "gap": gap,
                "equal": bool(equal_losses(identity).all()),
                "supervised": float(chain[:, 0].mean()),
                "supervised_mean": float(chain[:, 1].mean()),
                "unsupervised": float(chain[:, 2].mean()),
                "ordered": bool(ordered_losses(chain).all()),
            }
        )
    return pd.DataFrame(rows) if rows else None


def equal_losses(identity: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether the two losses of Theorem 3.1 are one, within rounding.  [S, 2] -> [S]."""
    scale = abs(identity).max(1)  # [S]
    return abs(identity[:, 0] - identity[:, 1]) <= ROUNDING * scale + FLOOR


def ordered_losses(chain: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether the three losses of Theorem 3.2 are in order, within rounding.  [S, 3] -> [S]."""
    smaller, larger = chain[:, :-1], chain[:, 1:]  # [S, 2]
    holds = smaller <= larger + ROUNDING * abs(larger) + FLOOR
    return holds[:, 0] & holds[:, 1]


def show_theorems(frame: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds; `equal` and `ordered` hold for every seed."""
    return pd.DataFrame(
        {
            "environment": once(frame["environment"]),
            "encoder": frame["encoder"],
            "eq. 8 / T": frame["contrast"].map("{:.4f}".format),
            "mean classifier": frame["mean_classifier"].map("{:.4f}".format),
            "gap": frame["gap"].map(number),
            "equal": frame["equal"].map({True: "yes", False: "no"}),
            "eq. 12": frame["supervised"].map("{:.4f}".format),
            "eq. 13": frame["supervised_mean"].map("{:.4f}".format),
            "eq. 14": frame["unsupervised"].map("{:.4f}".format),
            "ordered": frame["ordered"].map({True: "yes", False: "no"}),
        }
    )


FIGURES = (
    Figure(
        name="theorems",
        title="Theorems 3.1 and 3.2 on trained encoders",
        kind="table",
        make=theorem_check,
        show=show_theorems,
        caption="Theorem 3.1: the matrix-form objective (eq. 8 over T) equals the loss of the mean task "
        "classifier. Theorem 3.2: supervised loss (eq. 12, best linear classifier) ≤ that of the mean "
        "classifier (eq. 13) ≤ unsupervised contrastive loss (eq. 14). Mean over seeds, the largest gap of "
        "all; equal and ordered are judged on every seed, within rounding of float32.",
        section="Task embeddings",
        needs="bench run --env {envs} --algo {algos}",
    ),
)
