"""FOCAL++: attention within a task, momentum contrast between tasks (Li et al., ICLR 2022), and its
ablations.
"""

from dataclasses import replace

from comrl.algorithms.attention import Attention
from comrl.algorithms.focal import FOCAL
from comrl.algorithms.task_losses import MomentumContrast

BOTH = Attention(batch_wise=True, sequence_wise=True)

FOCALPP = replace(
    FOCAL,
    name="focalpp",
    label="FOCAL++",
    encoder=BOTH,
    task_loss=MomentumContrast(temperature=0.5, momentum=0.9),
)

ALGORITHMS = (
    FOCALPP,
    replace(FOCALPP, name="focalpp-contrastive", label="FOCAL++ (contrastive)", encoder=FOCAL.encoder),
    replace(
        FOCALPP,
        name="focalpp-batch",
        label="FOCAL++ (batch-wise)",
        encoder=replace(BOTH, sequence_wise=False),
    ),
    replace(
        FOCALPP,
        name="focalpp-seq",
        label="FOCAL++ (seq-wise)",
        encoder=replace(BOTH, batch_wise=False),
    ),
)
