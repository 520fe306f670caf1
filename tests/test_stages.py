"""Stages: a generator trained on all tasks and an encoder trained before control, ten lines each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
import torch
from support.runs import SPACE, begin, random_sampler
from torch import Tensor, nn

from comrl.algorithms.algorithm import Algorithm, Losses, Nets, Space, Training, find_algorithm
from comrl.algorithms.encoders import MeanPool, Zeros
from comrl.algorithms.learner import State, hand_over, knowing, update
from comrl.algorithms.stack import StackedMLP
from comrl.datasets.transitions import MetaBatch, Rows
from comrl.ground.errors import BadInput
from comrl.ground.noise import Stream
from comrl.ground.settings import Count, setting

FOCAL = find_algorithm("focal")


@dataclass(frozen=True)
class RewardModel:
    """A control that only predicts: the reward of an observation and an action."""

    tau: ClassVar[float] = 1.0

    def build(self, space: Space, latent: int, stream: Stream) -> dict[str, nn.Module]:
        return {"model": StackedMLP(space.obs + space.action, (8,), 1, stream)}

    def rates(self) -> dict[str, float]:
        return {"model": 1e-2}

    def noise_width(self, space: Space) -> int:
        return 0

    def losses(
        self, nets: Nets, rows: Rows, z: Mapping[str, Tensor], noise: Tensor, training: Training
    ) -> Losses:
        said = nets["model"](torch.cat([rows.obs, rows.action], -1))
        return {"model": (said - rows.reward).square().mean((1, 2))}

    def act(self, nets: Nets, obs: Tensor, z: Tensor) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class Generator:
    """One model a seed, trained on all tasks, that makes the rewards of the second context."""

    name: ClassVar[str] = "generator"
    per_task: ClassVar[bool] = False
    steps: Count = setting(4, "gradient steps of the generator")
    algorithm: ClassVar[Algorithm] = Algorithm("generator", "generator", Zeros(), None, RewardModel())

    def fits(self, algorithm: Algorithm) -> None:
        """Everything."""

    def hand_over(self, trained: Nets, nets: Nets) -> None:
        """Nothing: it goes on making batches."""

    def extend(self, trained: Nets, batch: MetaBatch, member: Tensor, noise: Stream) -> MetaBatch:
        pair = torch.cat([batch.key.obs, batch.key.action], -1)
        made = trained["model"](pair.flatten(1, 2)).detach().unflatten(1, pair.shape[1:3])
        return batch._replace(key=batch.key._replace(reward=made))


@dataclass(frozen=True)
class EncoderFirst:
    """FOCAL's encoder, trained before control begins and handed over to it."""

    name: ClassVar[str] = "first"
    per_task: ClassVar[bool] = False
    steps: Count = setting(4, "gradient steps of the encoder")
    encoder: MeanPool = field(default_factory=MeanPool)

    @property
    def algorithm(self) -> Algorithm:
        return replace(FOCAL, encoder=self.encoder, control=RewardModel())

    def fits(self, algorithm: Algorithm) -> None:
        """Everything."""

    def hand_over(self, trained: Nets, nets: Nets) -> None:
        nets["encoder"].load_state_dict(trained["encoder"].state_dict())

    def extend(self, trained: Nets, batch: MetaBatch, member: Tensor, noise: Stream) -> MetaBatch:
        return batch


def trained(algorithm: Algorithm, seeds: tuple[int, ...] = (4, 2), **changes: Any) -> State:
    state, sampler = begin(algorithm, seeds=seeds, steps=3, **changes), random_sampler()
    for stage in state.stages:
        while not stage.done:
            update(stage, stage.next_batch(sampler))
    return state


def weights(net: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in net.parameters()]


def test_a_generator_is_one_model_a_seed_and_makes_the_next_stages_batches() -> None:
    state = trained(replace(FOCAL, before=(Generator(),)))
    ((stage, model),) = state.before
    assert model.step == 4 and state.step == 3 and model.task is None
    task = torch.tensor([[3, 0], [4, 1]])
    assert knowing(model, task).tolist() == [[0, 0], [1, 1]]
    batch = state.next_batch(random_sampler())
    made = stage.extend(model.nets, batch, knowing(model, batch.task), state.noise)
    for member in range(2):
        pair = torch.cat([batch.key.obs, batch.key.action], -1)
        alone = model.nets["model"](pair.flatten(1, 2))[member].view(made.key.reward.shape[1:])
        torch.testing.assert_close(made.key.reward[member], alone)


def test_an_encoder_trained_first_is_the_one_that_control_goes_on_with() -> None:
    state = trained(replace(FOCAL, task_loss=None, before=(EncoderFirst(),)), encoder_steps=0)
    ((_, first),) = state.before
    assert all(map(torch.equal, weights(state.nets["encoder"]), weights(first.nets["encoder"])))
    state.nets["encoder"].layers[0].bias.data += 1
    hand_over(state)  # only at the start of a stage
    assert not all(map(torch.equal, weights(state.nets["encoder"]), weights(first.nets["encoder"])))


def test_a_later_stage_sees_what_the_earlier_ones_make_of_a_batch() -> None:
    state = begin(replace(FOCAL, before=(Generator(), EncoderFirst())))
    assert [earlier.stage.name for earlier in state.before] == ["generator", "first"]
    assert [earlier.stage.name for earlier in state.before[1].state.before] == ["generator"]
    assert state.before[0].state.before == ()


@pytest.mark.parametrize("stages", [(Generator(),), (Generator(), EncoderFirst())], ids=len)
def test_stages_are_each_seed_alone_and_resume(stages: tuple[Any, ...]) -> None:
    algorithm = replace(FOCAL, before=stages)
    together, again = trained(algorithm, (4, 2)), begin(algorithm, seeds=(4, 2), steps=3)
    for member, seed in enumerate((4, 2)):
        alone = trained(algorithm, (seed,))
        for ours, theirs in zip(weights(together.nets["policy"]), weights(alone.nets["policy"]), strict=True):
            torch.testing.assert_close(ours[member], theirs[0], rtol=1e-5, atol=1e-6)
    again.restore(together.snapshot())
    assert all(stage.done for stage in again.stages)
    assert all(map(torch.equal, weights(again.nets["policy"]), weights(together.nets["policy"])))


def test_a_stage_with_stages_of_its_own_is_refused() -> None:
    @dataclass(frozen=True)
    class Nested(EncoderFirst):
        @property
        def algorithm(self) -> Algorithm:
            return replace(FOCAL, before=(Generator(),))

    with pytest.raises(BadInput, match="stages of its own"):
        begin(replace(FOCAL, before=(Nested(),)), SPACE)
