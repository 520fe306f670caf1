"""FOCAL++: attention within a task, momentum contrast between tasks (Li et al., ICLR 2022), and its
ablations.
"""

from dataclasses import replace

from comrl.algorithms.attention import Attention
from comrl.algorithms.focal import FOCAL
from comrl.algorithms.task_losses import MomentumContrast

BOTH = Attention(batch_wise=True, sequence_wise=True)
CONTRAST = MomentumContrast(temperature=0.5, momentum=0.9)

FOCALPP = replace(
    FOCAL,
    name="focalpp",
    label="FOCAL++",
    encoder=BOTH,
    task_loss=replace(CONTRAST, temperature=0.125),  # 0.5 of the sum of both branches, of which z is half
)
ONE_BRANCH = replace(FOCALPP, task_loss=CONTRAST)

ALGORITHMS = (
    FOCALPP,
    replace(
        ONE_BRANCH,
        name="focalpp-contrastive",
        label="FOCAL++ (contrastive)",
        encoder=FOCAL.encoder,
    ),
    replace(
        ONE_BRANCH,
        name="focalpp-batch",
        label="FOCAL++ (batch-wise)",
        encoder=replace(BOTH, sequence_wise=False),
    ),
    replace(
        ONE_BRANCH,
        name="focalpp-seq",
        label="FOCAL++ (seq-wise)",
        encoder=replace(BOTH, batch_wise=False),
    ),
)
