"""The only update: the task loss and every control loss at one point of parameters, then one step of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from comrl.algorithms.algorithm import Algorithm, Each, Evidence, Space, Stage, Training, inferred
from comrl.algorithms.belief import Belief, one_of, together
from comrl.algorithms.stack import adam, minimise, polyak, set_rate
from comrl.datasets.sampler import Sampler
from comrl.datasets.transitions import Context, MetaBatch
from comrl.ground.discovery import suggestion
from comrl.ground.errors import BadInput
from comrl.ground.noise import Stream, derive_seed

KEY_ENCODER = "encoder_key"


class Before(NamedTuple):
    """A stage and the networks that it trains."""

    stage: Stage
    state: State


@dataclass(eq=False)
class State:
    """A stack of S runs of one algorithm: networks, optimiser, noise, and the step they have reached."""

    algorithm: Algorithm
    training: Training
    space: Space
    nets: dict[str, Any]
    optimiser: torch.optim.Adam
    noise: Stream  # batches, actions and dropout
    tasks: Tensor  # [T]  the training tasks
    task: Tensor | None = None  # [S, 1]  the one task of each run, of single-task learners
    before: tuple[Before, ...] = ()
    step: int = 0
    bank: Belief | None = None  # [S, T, C, Z]  of the training tasks, once the encoder stands still

    @property
    def done(self) -> bool:
        """Whether all steps were made."""
        return self.step >= self.training.steps

    @property
    def learning(self) -> bool:
        """Whether the encoder still learns."""
        return self.step < self.algorithm.encoder.steps

    @property
    def needs_contexts(self) -> bool:
        """Whether a batch has contexts: while the encoder learns, and where no bank takes their place."""
        return self.learning or self.training.context_bank == 0

    @property
    def stages(self) -> tuple[State, ...]:
        """What is trained one after another, the runs themselves last."""
        return (*(earlier.state for earlier in self.before), self)

    def snapshot(self) -> dict[str, Any]:
        """Everything that resumed runs need, all stages, as tensors and plain values."""
        return {"stages": [stage._snapshot() for stage in self.stages]}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from a snapshot of the same algorithm, training and seeds."""
        for stage, body in zip(self.stages, snapshot["stages"], strict=True):
            stage._restore(body)

    def _snapshot(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "nets": {name: net.state_dict() for name, net in self.nets.items()},
            "step": self.step,
        }
        if not self.done:
            body |= {"optimiser": self.optimiser.state_dict(), "noise": self.noise.state()}
            body["bank"] = None if self.bank is None else tuple(self.bank)
        return body

    def _restore(self, body: dict[str, Any]) -> None:
        for name, net in self.nets.items():
            net.load_state_dict(body["nets"][name])
        self.step = body["step"]
        if not self.done:
            self.optimiser.load_state_dict(body["optimiser"])
            self.noise.restore(body["noise"])
            self.bank = None if body["bank"] is None else Belief(*body["bank"])

    def next_batch(self, sampler: Sampler) -> MetaBatch:
        """The next batch: of random training tasks, or of each run's only one.

        Without contexts where the bank takes their place, which is filled first.
        """
        training = self.training
        if self.task is not None:
            return sampler.batch_of(self.task, self.noise, (0, training.control_batch))
        context = training.context_batch if self.needs_contexts else 0
        if not self.needs_contexts and self.bank is None and [*self.nets["encoder"].parameters()]:
            self.bank = filled_bank(self, sampler)
        sizes = (training.meta_batch, context, training.control_batch)
        return sampler.meta_batch(self.noise, self.tasks, sizes)


def start(
    algorithm: Algorithm, training: Training, space: Space, seeds: Sequence[int], device: torch.device
) -> State:
    """Fresh networks of every seed; member s depends on its seed alone."""
    _refuse_unknown_losses(algorithm)
    init = Stream([derive_seed(seed, "init") for seed in seeds])
    nets: dict[str, Any] = {"encoder": algorithm.encoder.build(space, init)}
    nets |= algorithm.control.build(space, algorithm.encoder.latent_width(space), init)
    task_loss = algorithm.task_loss
    rates: dict[str, float] = {}
    if task_loss:
        own = task_loss.build(space, algorithm.encoder.latent_width(space), init)
        if taken := {"encoder", KEY_ENCODER, *nets} & own.keys():
            raise BadInput(
                f"{algorithm.name}: its task loss and its control both have a network {min(taken)!r}"
            )
        nets |= own
        rates |= task_loss.rates()
    lifetimes = dict.fromkeys(("encoder", *rates), min(algorithm.encoder.steps, training.steps))
    if task_loss and task_loss.momentum is not None:
        nets[KEY_ENCODER] = algorithm.encoder.build(space, init)
        nets[KEY_ENCODER].load_state_dict(nets["encoder"].state_dict())
    nets = {name: net.to(device) for name, net in nets.items()}
    if list(nets["encoder"].parameters()):
        rates = {"encoder": algorithm.encoder.lr} | rates
    rates |= algorithm.control.rates()
    epsilons: dict[str, float] = getattr(algorithm.control, "epsilons", dict)()
    options = {name: {"eps": eps} for name, eps in epsilons.items()}
    groups = {
        name: {"lr": rate, "base": rate, "lifetime": lifetimes.get(name, training.steps)}
        for name, rate in rates.items()
    }
    optimiser = adam([(nets[name], group | options.get(name, {})) for name, group in groups.items()], device)
    noise = Stream([derive_seed(seed, "noise") for seed in seeds], device)
    tasks = torch.tensor(space.tasks, dtype=torch.long, device=device)
    state = State(algorithm, training, space, nets, optimiser, noise, tasks)
    state.before = _stages(algorithm, training, space, seeds, device)
    return state


def _stages(
    algorithm: Algorithm, training: Training, space: Space, seeds: Sequence[int], device: torch.device
) -> tuple[Before, ...]:
    """Fresh networks of every stage before the algorithm, each of which sees the ones before it."""
    found: list[Before] = []
    for stage in algorithm.before:
        if stage.algorithm.before:
            raise BadInput(
                f"stage {stage.name} has stages of its own; list them before it in {algorithm.name}"
            )
        stage.fits(algorithm)
        tasks = [(task,) for task in space.tasks] if stage.per_task else [()]
        members = [(seed, *task) for seed in seeds for task in tasks]
        own = [derive_seed(seed, stage.name, *task) for seed, *task in members]
        trained = start(stage.algorithm, replace(training, steps=stage.steps), space, own, device)
        if stage.per_task:
            trained.task = torch.tensor([[task] for _, task in members], device=device)
        trained.before = tuple(found)
        found.append(Before(stage, trained))
    return tuple(found)


def _refuse_unknown_losses(algorithm: Algorithm) -> None:
    """BadInput where the encoder is to learn from a loss that the control does not have."""
    known = algorithm.control.rates()
    for name in algorithm.encoder_learns_from:
        if name not in known:
            raise BadInput(
                f"{algorithm.name}: encoder_learns_from names {name!r}, which is no loss of its control; "
                f"{suggestion(name, known)}"
            )


class Terms(NamedTuple):
    """What an update minimises, and what it reports besides: {name: [S]} each."""

    losses: dict[str, Tensor]
    metrics: dict[str, Tensor]


def losses(state: State, batch: MetaBatch) -> Terms:
    """Every loss of the update, none of which reaches another's networks, and every metric.

    [focalpp Alg. 1, lines 12-21]
    """
    algorithm, nets, task_loss = state.algorithm, state.nets, state.algorithm.task_loss
    batch = extended(state, batch)
    found: dict[str, Tensor] = {}
    if state.bank is None:
        each = remembered(partial(algorithm.encoder.each, nets["encoder"]))
        belief, key = beliefs(state, batch, each)
        if state.learning and task_loss:
            own = {name: nets[name] for name in task_loss.rates()}
            place = place_of(batch.task, state.tasks)
            found |= task_loss.losses(Evidence(belief, key, batch, own, each, state.noise, place))
        if algorithm.control_sees == "both":
            belief = together(belief, key)
    else:
        belief = one_of(state.bank, place_of(batch.task, state.tasks), state.noise)
    z = belief.sample(state.noise)  # [S, M, Z]
    z = z.repeat_interleave(batch.rows.obs.shape[1] // z.shape[1], 1)  # [S, M * B, Z]
    joint = algorithm.encoder_learns_from
    seen = {name: z if name in joint else z.detach() for name in algorithm.control.rates()}
    width = algorithm.control.noise_width(state.space)
    noise = state.noise.normal(batch.rows.action.shape[1], width)  # [S, M * B, width]
    found |= algorithm.control.losses(nets, batch.rows, seen, noise, state.training)
    minimised = {"task", *algorithm.control.rates(), *(task_loss.rates() if task_loss else ())}
    return Terms(
        {name: term for name, term in found.items() if name in minimised},
        {name: term for name, term in found.items() if name not in minimised},
    )


def extended(state: State, batch: MetaBatch) -> MetaBatch:
    """The batch with what the stages before make of it."""
    for stage, trained in state.before:
        batch = stage.extend(trained.nets, batch, knowing(trained, batch.task), state.noise)
    return batch


def remembered(each: Each) -> Each:
    """The same embeddings, of a context that is asked for again from memory."""
    known: list[tuple[Context, Tensor]] = []

    def embedded(context: Context) -> Tensor:
        for before, found in known:
            if before is context:
                return found
        known.append((context, each(context)))
        return known[-1][1]

    return embedded


def beliefs(state: State, batch: MetaBatch, each: Each | None = None) -> tuple[Belief, Belief]:
    """What both contexts of each task say: the query's, and the key's where a loss compares or control sees
    it.

    each: where an encoder that pools takes its transitions' embeddings from.
    """
    algorithm, task_loss, learning = state.algorithm, state.algorithm.task_loss, state.learning
    dropout = state.noise if learning else None

    def encode(name: str, context: Context) -> Belief:
        pool = getattr(algorithm.encoder, "pool", None)
        if pool and each and name == "encoder":
            return pool(state.nets[name], each(context))  # [S, M, Z]
        return inferred(algorithm.encoder, state.nets[name], context, batch.params, dropout)  # [S, M, Z]

    slow = task_loss is not None and task_loss.momentum is not None
    with torch.set_grad_enabled(learning):
        query = key = encode("encoder", batch.query)
    if algorithm.control_sees == "both" or (learning and task_loss and task_loss.compares):
        with torch.set_grad_enabled(learning and not slow):
            key = encode(KEY_ENCODER if slow else "encoder", batch.key)
    return query, key


@torch.no_grad()
def filled_bank(state: State, sampler: Sampler) -> Belief:
    """What the encoder, which stands still, says of contexts of every training task: [S, T, C, Z]."""
    found = [_of_each_task(state, sampler) for _ in range(state.training.context_bank)]
    return _joined(partial(torch.stack, dim=2), found)


def _of_each_task(state: State, sampler: Sampler) -> Belief:
    """A belief about every training task, in their order: [S, T, Z].

    Stages may mix the tasks of a batch: where there are any, batches are those of a step, M random tasks.
    """
    count, sizes, parts = len(state.tasks), (state.training.context_batch, 1), []
    width = state.training.meta_batch if state.before else count
    given = torch.arange(count, device=state.tasks.device).expand(len(state.noise.generators), -1)  # [S, T]
    order = state.noise.uniform(count).argsort(-1) if state.before else given
    filled = order.repeat(1, 2)[:, : -(-count // width) * width]  # the last batch is as large as the others
    for place in filled.split(width, 1):
        one, other = beliefs(state, extended(state, sampler.batch_of(state.tasks[place], state.noise, sizes)))
        parts.append(together(one, other) if state.algorithm.control_sees == "both" else one)
    back = order.argsort(-1)[..., None]  # [S, T, 1]
    return _joined(lambda fields: torch.cat(fields, 1).take_along_dim(back, 1), parts)


def _joined(join: Callable[[tuple[Tensor, ...]], Tensor], parts: Sequence[Belief]) -> Belief:
    """Beliefs put together field by field."""
    means, variances = zip(*parts, strict=True)
    return Belief(join(means), None if variances[0] is None else join(variances))


def place_of(task: Tensor, tasks: Tensor) -> Tensor:
    """The row of each task among the training tasks.  task: [S, M], tasks: [T] -> [S, M]."""
    return (task[..., None] == tasks).int().argmax(-1)


def knowing(trained: State, task: Tensor) -> Tensor:
    """Which member of an earlier stage's stack knows each seed's task.  task: [S, M] -> [S, M]."""
    seed = torch.arange(len(task), device=task.device)[:, None]  # [S, 1]
    if trained.task is None:
        return seed.expand_as(task)
    known = trained.task.view(len(task), -1)  # [S, T]
    return seed * known.shape[1] + (task[..., None] == known[:, None]).int().argmax(-1)


def hand_over(state: State) -> None:
    """Begin a stage with what those before it hand over; nothing where it has begun."""
    if state.step == 0:
        for stage, trained in state.before:
            stage.hand_over(trained.nets, state.nets)


def set_rates(state: State) -> None:
    """Give every network its learning rate at this step; 0 once its lifetime is over."""
    for group in state.optimiser.param_groups:
        left = max(0.0, 1 - state.step / group["lifetime"]) if group["lifetime"] else 0.0
        rate = group["base"] * (left if state.training.lr_schedule == "linear" else float(left > 0))
        set_rate(group, rate)


def update(state: State, batch: MetaBatch) -> Terms:
    """One step of every network; the losses before it, detached, and the metrics."""
    hand_over(state)
    set_rates(state)
    terms = descend(state, batch)
    state.step += 1
    return terms


def descend(state: State, batch: MetaBatch) -> Terms:
    """Move every network by its rate; the losses before, detached, and the metrics.

    [focalpp Alg. 1, lines 22-25]  The host looks at no value, so that a graph can hold it.
    """
    nets, task_loss = state.nets, state.algorithm.task_loss
    terms = losses(state, batch)
    minimise(torch.stack(list(terms.losses.values())).sum(0), state.optimiser)
    for name in nets:
        if name.endswith("_target"):
            polyak(nets[name], nets[name.removesuffix("_target")], state.algorithm.control.tau)
    if "task" in terms.losses and task_loss and task_loss.momentum is not None:
        polyak(nets[KEY_ENCODER], nets["encoder"], 1 - task_loss.momentum)
    return Terms({name: loss.detach() for name, loss in terms.losses.items()}, terms.metrics)
