"""An algorithm is a tree of frozen parts, encoder × task loss × control; the tree is the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from comrl.algorithms.belief import Belief
from comrl.datasets.transitions import Context, MetaBatch, Rows
from comrl.ground.discovery import by_name, declared
from comrl.ground.noise import Stream


class Space(NamedTuple):
    """What an algorithm knows of a family: widths, and whether the context shows the next observation."""

    obs: int
    action: int
    params: int
    next_obs_in_context: bool
    tasks: tuple[int, ...] = ()
    """The training tasks' numbers."""

    @property
    def context_widths(self) -> tuple[int, ...]:
        """The widths of the context's fields, in the order s, a, r (, s')."""
        return self.obs, self.action, 1, *([self.obs] if self.next_obs_in_context else [])


class Training(BaseModel):
    """The numbers of a preset; every algorithm shares them.  Names and paper values: docs/protocol.md."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(ge=1)
    encoder_steps: int = Field(ge=1)
    """The encoder learns for so many steps and then stands still, while control goes on learning what
    it says.
    """
    eval_every: int = Field(ge=1)
    eval_episodes: int = Field(ge=1)
    meta_batch: int = Field(ge=2)
    context_batch: int = Field(ge=2)
    control_batch: int = Field(ge=1)
    test_context: int = Field(ge=1)
    latent: int = Field(ge=1)
    width: int = Field(ge=1)
    depth: int = Field(ge=1)
    encoder_width: int = Field(ge=1)
    encoder_depth: int = Field(ge=1)
    attention_width: int = Field(ge=1)
    attention_heads: int = Field(ge=1)
    attention_blocks: int = Field(ge=1)
    attention_reduction: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    encoder_lr: float = Field(gt=0)
    actor_lr: float = Field(gt=0)
    critic_lr: float = Field(gt=0)
    lr_schedule: Literal["constant", "linear"]
    discount: float = Field(ge=0, lt=1)
    reward_scale: float = Field(gt=0)
    temperature: float = Field(ge=0)
    tau: float = Field(gt=0, le=1)
    divergence: Literal["dual", "primal"]
    """How the policy's KL divergence from the data's is estimated: by a critic, or from a fitted policy."""
    strength: float = Field(ge=0)
    """Behaviour regularisation at the start; 0 switches it off."""
    strength_max: float = Field(ge=0)
    target_divergence: float
    divergence_lr: float = Field(gt=0)
    strength_lr: float = Field(gt=0)
    relabeled_pool: int = Field(ge=1)
    prior_weight: float = Field(ge=0)
    """Of a Gaussian embedding's divergence from a standard normal, in an encoder's loss."""
    teacher_steps: int = Field(ge=1)
    """Gradient steps of the teachers of an algorithm that has some, before its own begin."""
    teacher_width: int = Field(ge=1)
    ensemble: int = Field(ge=2)
    """Models in an ensemble whose members must agree."""
    sees_place: bool = False
    """Whether policy and encoder see where in the world the body is, as in the authors' cheetahs."""
    context_radius: float | None = None
    """Goal radius of the context in place of the family's."""

    @property
    def hidden(self) -> tuple[int, ...]:
        """The hidden widths of policy, critic and value."""
        return (self.width,) * self.depth

    @property
    def encoder_hidden(self) -> tuple[int, ...]:
        """The hidden widths of an MLP encoder."""
        return (self.encoder_width,) * self.encoder_depth


class Encoder(Protocol):
    """From a context to a belief about its task."""

    def latent(self, space: Space, numbers: Training) -> int:
        """The width Z of the embedding."""

    def build(self, space: Space, numbers: Training, stream: Stream) -> Any:
        """The network, an nn.Module; without parameters where there is nothing to learn."""

    def encode(self, net: Any, context: Context, params: Tensor, dropout: Stream | None) -> Belief:
        """The belief.  context: [S, M, K, ·], params: [S, M, P] -> [S, M, Z]; no dropout without a stream."""


class TaskLoss(Protocol):
    """What the encoder learns from besides control."""

    compares: ClassVar[bool]
    """Whether it looks at a second context draw of each task."""

    @property
    def momentum(self) -> float | None:
        """Momentum of the key encoder; None where the query encoder makes the keys, with gradient."""

    def loss(self, query: Belief, key: Belief, numbers: Training) -> Tensor:
        """Beliefs from two context draws of M distinct tasks: [S, M, Z], [S, M, Z] -> [S]."""


class Control(Protocol):
    """A task-conditioned actor-critic learner."""

    def build(self, space: Space, latent: int, numbers: Training, stream: Stream) -> dict[str, nn.Module]:
        """The networks by name; `<name>_target` follows `<name>` and is not trained."""

    def rates(self, numbers: Training) -> dict[str, float]:
        """The learning rate of every trained network."""

    def noise_width(self, space: Space, numbers: Training) -> int:
        """How many normal numbers a row the losses take."""

    def losses(
        self, nets: Nets, rows: Rows, z: Mapping[str, Tensor], noise: Tensor, numbers: Training
    ) -> Losses:
        """One loss [S] per trained network, which alone it trains; z: the rows' embedding as each loss
        sees it, noise: [S, N, noise_width].
        """

    def act(self, nets: Nets, obs: Tensor, z: Tensor) -> Tensor:
        """The deterministic action: [S, N, O], [S, N, Z] -> [S, N, A]."""


class Teachers(Protocol):
    """Single-task learners, one for each training task, that are trained before the algorithm itself."""

    @property
    def algorithm(self) -> Algorithm:
        """What each of them is: an algorithm that meets one task alone."""

    def numbers(self, numbers: Training) -> Training:
        """Their numbers in the place of the student's."""

    def teach(self, nets: Nets, batch: MetaBatch, teacher: Tensor, noise: Stream) -> MetaBatch:
        """The batch with what they make of it; teacher: the place in their stack of each task, [S, M]."""


Nets = Mapping[str, Any]
"""Networks by name; each part knows the kind of its own."""
Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Algorithm:
    """A point in the space encoder × task loss × control."""

    name: str
    label: str
    encoder: Encoder
    task_loss: TaskLoss | None
    control: Control
    encoder_learns_from: tuple[str, ...] = ()
    """The control losses whose gradient reaches the encoder; elsewhere z is detached."""
    teachers: Teachers | None = None
    role: Literal["method", "upper", "lower"] = "method"
    """upper and lower are the yardsticks between which scores are normalised."""


@cache
def algorithms() -> tuple[Algorithm, ...]:
    """Every declared algorithm."""
    return declared("comrl.algorithms", "ALGORITHMS")


def find_algorithm(name: str) -> Algorithm:
    """The algorithm of that name; BadInput with the nearest name where there is none."""
    return by_name(algorithms(), name, "algorithm")
