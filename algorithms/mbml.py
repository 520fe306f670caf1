"""MBML: single-task teachers, distilled into one policy whose embedding learns from relabelled transitions
(Li et al., NeurIPS 2020).
"""

from comrl.algorithms.algorithm import Algorithm
from comrl.algorithms.control_distilled import Distilled
from comrl.algorithms.encoders import GaussianProduct
from comrl.algorithms.task_losses import Triplet
from comrl.algorithms.teachers import BcqTeachers

MBML = Algorithm(
    name="mbml",
    label="MBML",
    encoder=GaussianProduct(),
    task_loss=Triplet(margin=2.0),
    control=Distilled(),
    encoder_learns_from=("critic",),
    control_sees="both",
    before=(BcqTeachers(),),
)

ALGORITHMS = (MBML,)
