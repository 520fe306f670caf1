"""FOCAL: a deterministic task embedding trained by a distance metric, apart from the policy (Li et
al., ICLR 2021).
"""

from comrl.algorithms.algorithm import Algorithm
from comrl.algorithms.control_brac import Brac
from comrl.algorithms.encoders import MeanPool
from comrl.algorithms.task_losses import DistanceMetric

FOCAL = Algorithm(
    name="focal",
    label="FOCAL",
    encoder=MeanPool(),
    task_loss=DistanceMetric(power=2, eps=0.1),
    control=Brac(),
)

ALGORITHMS = (FOCAL,)
