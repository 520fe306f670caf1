"""An algorithm is a tree of frozen parts, encoder × task loss × control; the tree is the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from torch import Tensor, nn

from comrl.algorithms.belief import Belief
from comrl.datasets.transitions import Context, MetaBatch, Rows
from comrl.datasets.transitions import Space as Space
from comrl.ground.discovery import by_name, declared
from comrl.ground.noise import Stream
from comrl.ground.settings import BelowOne, Count, Number, Pair, Positive, Tables, Whole, required, setting


@dataclass(frozen=True)
class Training:
    """The protocol that every algorithm shares; what one part alone reads is a setting of that part."""

    steps: Count = required("gradient steps", paper="0.1 M to 2 M (App. D)")
    eval_every: Count = required("gradient steps between two tests on the way")
    eval_episodes: Count = required("episodes a test task and seed")
    meta_batch: Pair = required("distinct tasks M in a batch", paper="16; 4 for Fwd-Back (Table 6)")
    context_batch: Pair = required("context transitions K a task", paper="512 (Table 6)")
    control_batch: Count = required("control transitions B a task", paper="256 (Table 6)")
    test_context: Count = required("context transitions a task at test")
    lr_schedule: Literal["constant", "linear"] = required("how learning rates go from their first value")
    discount: BelowOne = required("discount of the return", paper="0.9 points, 0.99 bodies (Table 6)")
    reward_scale: Positive = required("factor of control's rewards", paper="100 points, 5 bodies (Table 6)")
    context_bank: Whole = required(
        "contexts a task that control learns from once the encoder stands still; 0: new ones at every step",
        before=0,
    )
    relabeled_pool: Count = required("transitions a task of the relabeled split", paper="10 000 (Table 6)")
    sees_position: bool = setting(
        False, "policy and encoder see where the body is, as in the authors' cheetahs"
    )
    context_radius: Number | None = setting(None, "goal radius of the context in place of the family's")


class Encoder(Protocol):
    """From a context to a belief about its task.

    It may have one method more: `pool(net, each) -> Belief`, where its belief follows from the transitions'
    embeddings alone.  These are then made once, for the belief and for a loss that looks at them.
    """

    @property
    def lr(self) -> float:
        """The learning rate; of no meaning where nothing is learned."""

    @property
    def steps(self) -> int:
        """Gradient steps after which the encoder stands still, while control learns on."""

    def latent_width(self, space: Space) -> int:
        """The width Z of the embedding."""

    def build(self, space: Space, stream: Stream) -> Any:
        """The network, an nn.Module; without parameters where there is nothing to learn."""

    def encode(
        self, net: Any, context: Context, params: Tensor | None = None, dropout: Stream | None = None
    ) -> Belief:
        """The belief; no dropout without a stream.  context: [S, M, K, ·] -> [S, M, Z].

        params: the true parameters [S, M, P], given to an encoder alone that says `knows_task = True`.
        """

    def each(self, net: Any, context: Context) -> Tensor:
        """One embedding a transition, or its mean where that is uncertain.  [S, M, K, ·] -> [S, M, K, Z]."""


def inferred(
    encoder: Encoder, net: Any, context: Context, params: Tensor, dropout: Stream | None = None
) -> Belief:
    """The encoder's belief: true parameters reach the yardstick that knows them, and no other."""
    known = params if getattr(encoder, "knows_task", False) else None
    return encoder.encode(net, context, known, dropout)


Each = Callable[[Context], Tensor]
"""One embedding a transition.  [S, M, K, ·] -> [S, M, K, Z]."""


class Evidence(NamedTuple):
    """What a task loss may look at."""

    query: Belief  # [S, M, Z]  from the first context draw of each task, with gradient
    key: Belief  # [S, M, Z]  from the second, where the loss compares; else the query's
    batch: MetaBatch
    nets: Nets
    """The loss's own networks."""
    each: Each  # with gradient
    noise: Stream
    place: Tensor  # [S, M]  the row of each task among the training tasks


class TaskLoss(Protocol):
    """What the encoder learns from besides control."""

    compares: ClassVar[bool]
    """Whether it looks at a second context draw of each task."""

    @property
    def momentum(self) -> float | None:
        """Momentum of the key encoder; None where the query encoder makes the keys, with gradient."""

    def build(self, space: Space, latent: int, stream: Stream) -> dict[str, nn.Module]:
        """Its own networks by name; none for most."""

    def rates(self) -> dict[str, float]:
        """The learning rate of each of its networks, which learn as long as the encoder does."""

    def losses(self, seen: Evidence) -> Losses:
        """`task`, which trains the encoder, and the loss of every network of its own, [S] each.

        Other names are metrics: kept in the curves and not minimised.
        """


class Control(Protocol):
    """A task-conditioned actor-critic learner.

    It may have two methods more: `epsilons() -> {network: eps}`, Adam's epsilons where they are not the usual
    ones, and `doubts(means) -> [sentence]`, what its metrics' means over a training say against that.
    """

    @property
    def tau(self) -> float:
        """How far a target network moves at every step; of no meaning where there is none."""

    def build(self, space: Space, latent: int, stream: Stream) -> dict[str, nn.Module]:
        """The networks by name; `<name>_target` follows `<name>` and is not trained."""

    def rates(self) -> dict[str, float]:
        """The learning rate of every trained network."""

    def noise_width(self, space: Space) -> int:
        """How many normal numbers a row the losses take."""

    def losses(
        self, nets: Nets, rows: Rows, z: Mapping[str, Tensor], noise: Tensor, training: Training
    ) -> Losses:
        """One loss [S] per trained network, which alone it trains; other names are metrics [S].

        z: the rows' embedding as each loss sees it, noise: [S, N, noise_width].
        """

    def act(self, nets: Nets, obs: Tensor, z: Tensor) -> Tensor:
        """The deterministic action: [S, N, O], [S, N, Z] -> [S, N, A]."""


class Stage(Protocol):
    """An algorithm that is trained before another, and what the other has of it."""

    name: ClassVar[str]
    """Where its settings stand: `<name>.<setting>`."""
    per_task: ClassVar[bool]
    """One model a seed and training task, which meets that task alone; else one a seed, on all of them."""

    @property
    def steps(self) -> int:
        """Its gradient steps."""

    @property
    def algorithm(self) -> Algorithm:
        """What is trained."""

    def fits(self, algorithm: Algorithm) -> None:
        """BadInput where the algorithm after it cannot learn from it."""

    def hand_over(self, trained: Nets, nets: Nets) -> None:
        """Copy what the next stage begins with from the trained networks into its own."""

    def extend(self, trained: Nets, batch: MetaBatch, member: Tensor, noise: Stream) -> MetaBatch:
        """The next stages' batch with what the trained networks make of it.

        member: which member of their stack knows each task, [S, M].
        """


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
    control_sees: Literal["query", "both"] = "query"
    """The contexts that z comes from in training: the first draw, or both draws together."""
    before: tuple[Stage, ...] = ()
    """What is trained before it, one after another; each sees what the ones before it make of a batch."""
    role: Literal["method", "upper", "top", "lower"] = "method"
    """The others are yardsticks; scores lie between lower and top, or upper where there is no top."""
    sees_test_tasks: bool = False
    """Whether it is trained on the test tasks' data too."""
    presets: Mapping[str, Tables] = field(default_factory=dict, compare=False)
    """Values by part for a preset, laid over the preset file's: {preset: {part: {setting: value}}}."""

    def parts(self) -> dict[str, Any]:
        """The parts there are, by the first name of their settings."""
        own = {name: getattr(self, name) for name in ("encoder", "task_loss", "control")}
        return {name: part for name, part in own.items() if part is not None} | {
            s.name: s for s in self.before
        }

    def with_part(self, name: str, part: Any) -> Algorithm:
        """The algorithm with another part in the place of the one of that name."""
        if any(stage.name == name for stage in self.before):
            return replace(self, before=tuple(part if s.name == name else s for s in self.before))
        return replace(self, **{name: part})


@cache
def algorithms() -> tuple[Algorithm, ...]:
    """Every declared algorithm."""
    return declared("comrl.algorithms", "ALGORITHMS")


def find_algorithm(name: str) -> Algorithm:
    """The algorithm of that name; BadInput with the nearest name where there is none."""
    return by_name(algorithms(), name, "algorithm")
