"""Batch-constrained Q-learning: its losses, targets and policy against literal loops."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from support import baseline_oracles as oracles
from support.beliefs import SCALES, SEEDS
from support.compare import close, draws
from support.runs import SPACE, shared
from torch import Tensor

from comrl.algorithms.algorithm import Space
from comrl.algorithms.control_bcq import (
    Bcq,
    Proposals,
    cautious_value,
    corrected,
    decoded,
    even_latents,
    vae_loss,
)
from comrl.datasets.transitions import Rows
from comrl.ground.noise import Stream


@given(SEEDS, SCALES, st.floats(0, 2))
def test_vae_loss(seed: int, scale: float, prior_weight: float) -> None:
    copied, action = draws(seed, 2, 5, 3), draws(seed + 1, 2, 5, 3)
    mean, log_std = draws(seed + 2, 2, 5, 4, scale=scale), draws(seed + 3, 2, 5, 4)
    ours = vae_loss(copied, action, mean, log_std, prior_weight)
    close(
        ours,
        [oracles.vae_loss(copied[s], action[s], mean[s], log_std[s], prior_weight) for s in range(2)],
        1e-8,
    )


@given(SEEDS, st.floats(0, 1))
def test_cautious_value(seed: int, caution: float) -> None:
    q = draws(seed, 2, 3, 6, 1)
    targets = cautious_value(q, caution).amax(1)  # the best of six candidates
    for s in range(3):
        values = [(float(q[0, s, c]), float(q[1, s, c])) for c in range(6)]
        close(targets[s, 0], oracles.bcq_target(0.0, True, values, caution, 1.0))


def bcq(seed: int = 0, **options: Any) -> tuple[Bcq, dict[str, Any], Rows, Tensor, Tensor]:
    """A BCQ in double precision, rows, embeddings and noise."""
    part = Bcq(Proposals(**options), width=16, depth=2)
    nets: dict[str, Any] = {name: net.double() for name, net in part.build(SPACE, 2, Stream([1, 2])).items()}
    for parameter in nets["critic_target"].parameters():
        parameter.data *= 1.3
    shapes = (3, 2, 1, 3)
    obs, action, reward, next_obs = (draws(seed + i, 2, 7, width) for i, width in enumerate(shapes))
    alive = (draws(seed + 8, 2, 7, 1) > -1).double()
    rows = Rows(obs, action.tanh(), reward, next_obs, alive, reward)
    return (
        part,
        nets,
        rows,
        draws(seed + 5, 2, 7, 2),
        draws(seed + 6, 2, 7, part.noise_width(SPACE)),
    )


def test_the_critics_target_is_the_best_cautious_candidate() -> None:
    """Row by row and candidate by candidate; the autoencoder and the correction's target propose."""
    part, nets, rows, z, noise = bcq()
    training = shared(discount=0.9, reward_scale=3.0)
    found = part.losses(nets, rows, dict.fromkeys(part.rates(), z), noise, training)
    width, total = part.proposals.latent_width(2), torch.zeros(2, dtype=torch.float64)
    q = nets["critic"](torch.cat([rows.obs, z, rows.action], -1)).detach()
    for n in range(7):
        state = torch.cat([rows.next_obs, z], -1)[:, n : n + 1]
        values = []
        for c in range(part.proposals.candidates):
            latent = noise[:, n : n + 1, (2 + c) * width : (3 + c) * width].clamp(-0.5, 0.5)
            action = nets["vae"].decoder(torch.cat([state, latent], -1)).tanh()
            moved = action + 0.05 * nets["perturbation_target"](torch.cat([state, action], -1)).tanh()
            values.append(nets["critic_target"](torch.cat([state, moved.clamp(-1, 1)], -1)).detach())
        for s in range(2):
            both = [(float(v[0, s, 0, 0]), float(v[1, s, 0, 0])) for v in values]
            target = oracles.bcq_target(
                3 * float(rows.reward[s, n]), bool(rows.alive[s, n]), both, part.caution, 0.9
            )
            total[s] += sum((float(q[k, s, n]) - target) ** 2 for k in range(2)) / 7
    close(found["critic"].detach(), total)


def test_the_correction_climbs_the_first_critic() -> None:
    part, nets, rows, z, noise = bcq(3)
    found = part.losses(nets, rows, dict.fromkeys(part.rates(), z), noise, shared())
    width, state = part.proposals.latent_width(2), torch.cat([rows.obs, z], -1)
    proposed = decoded(nets["vae"].decoder, state, noise[..., width : 2 * width].clamp(-0.5, 0.5))
    action = corrected(nets["perturbation"], state, proposed, 0.05)
    assert float((action - proposed).detach().abs().max()) <= 0.05
    climbed = nets["critic"](torch.cat([state, action], -1))[0]
    close(found["perturbation"].detach(), -climbed.detach().mean((1, 2)))


def test_bcq_acts_by_the_best_of_its_candidates() -> None:
    part, nets, rows, z, _ = bcq(4, candidates=6)
    ours, state = part.act(nets, rows.obs, z), torch.cat([rows.obs, z], -1)
    spread = even_latents(6, part.proposals.latent_width(2)).double().clamp(-0.5, 0.5)
    best, chosen = torch.full((2, 7, 1), -torch.inf).double(), torch.zeros(2, 7, 2).double()
    for latent in spread:
        proposed = decoded(nets["vae"].decoder, state, latent.expand(2, 7, -1))
        action = corrected(nets["perturbation"], state, proposed, part.proposals.perturbation)
        value = nets["critic"](torch.cat([state, action], -1))[0]
        chosen = torch.where(value > best, action, chosen)
        best = torch.maximum(best, value)
    close(ours.detach(), chosen.detach())


def test_spread_latents_are_the_same_normal_numbers_every_time() -> None:
    spread = even_latents(4095, 4)
    assert torch.equal(spread, even_latents(4095, 4)) and not even_latents(10, 4)[0].any()
    torch.testing.assert_close(spread.mean(0), torch.zeros(4), rtol=0, atol=0.01)
    torch.testing.assert_close(spread.std(0), torch.ones(4), rtol=0, atol=0.02)


def test_the_autoencoder_proposes_actions_like_the_datas() -> None:
    """Where the data know two actions, candidates are near one or the other, and never far from both."""
    part, training = Bcq(Proposals(perturbation=0.0), width=32, depth=2), shared()
    space = Space(1, 1, 1, False)
    nets = part.build(space, 1, Stream([0]))
    adam = torch.optim.Adam(nets["vae"].parameters(), lr=5e-3)
    draw = torch.Generator().manual_seed(0)
    z = dict.fromkeys(part.rates(), torch.zeros(1, 64, 1))
    for _ in range(600):
        side = torch.randint(0, 2, (1, 64, 1), generator=draw) * 1.2 - 0.6
        obs = torch.randn(1, 64, 1, generator=draw)
        rows = Rows(obs, side, side, obs, torch.ones(1, 64, 1), side)
        noise = torch.randn(1, 64, part.noise_width(space), generator=draw)
        adam.zero_grad()
        part.losses(nets, rows, z, noise, training)["vae"].sum().backward()
        adam.step()
    state = torch.zeros(1, 200, 2)
    latents = torch.randn(1, 200, 2, generator=draw)
    action = decoded(nets["vae"].decoder, state, latents)  # type: ignore[arg-type]
    near = ((action.abs() - 0.6).abs() < 0.25).float().mean()
    assert float(near) > 0.7 and bool((action > 0.3).any()) and bool((action < -0.3).any())
