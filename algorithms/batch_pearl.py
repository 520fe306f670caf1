"""Batch PEARL: a probabilistic embedding that the critic trains, offline (Rakelly et al., ICML 2019)."""

from comrl.algorithms.algorithm import Algorithm
from comrl.algorithms.control_sac import Sac
from comrl.algorithms.encoders import GaussianProduct
from comrl.algorithms.task_losses import KLToPrior

BATCH_PEARL = Algorithm(
    name="batch-pearl",
    label="Batch PEARL",
    encoder=GaussianProduct(),
    task_loss=KLToPrior(),
    control=Sac(),
    encoder_learns_from=("critic",),
)

ALGORITHMS = (BATCH_PEARL,)
