"""Batch PEARL: a probabilistic embedding that the critic trains, offline (Rakelly et al., ICML 2019)."""

from algorithms.algorithm import Algorithm
from algorithms.control_sac import Sac
from algorithms.encoders import GaussianProduct
from algorithms.task_losses import KLToPrior

BATCH_PEARL = Algorithm(
    name="batch-pearl",
    label="Batch PEARL",
    encoder=GaussianProduct(),
    task_loss=KLToPrior(),
    control=Sac(),
    encoder_learns_from=("critic",),
)

ALGORITHMS = (BATCH_PEARL,)
