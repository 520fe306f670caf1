"""Contextual BCQ: batch-constrained Q-learning that sees a probabilistic embedding (Fujimoto et al., ICML
2019; Li et al., NeurIPS 2020).
"""

from comrl.algorithms.algorithm import Algorithm
from comrl.algorithms.control_bcq import Bcq
from comrl.algorithms.encoders import GaussianProduct

CONTEXTUAL_BCQ = Algorithm(
    name="contextual-bcq",
    label="Contextual BCQ",
    encoder=GaussianProduct(),
    task_loss=None,
    control=Bcq(),
    encoder_learns_from=("vae", "critic"),
)

ALGORITHMS = (CONTEXTUAL_BCQ,)
