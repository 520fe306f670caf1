"""FOCAL++'s encoder: batch-wise gated attention over transitions, sequence-wise self-attention within
each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from comrl.algorithms.algorithm import Space
from comrl.algorithms.belief import Belief
from comrl.algorithms.stack import StackedLinear
from comrl.datasets.transitions import Context
from comrl.ground.errors import BadInput
from comrl.ground.noise import Stream
from comrl.ground.settings import BelowOne, Count, Positive, Whole, setting


def mean_one(score: Tensor) -> Tensor:
    """Positive weights with mean 1 over the context, all 1 where scores are equal. [focalpp def. 3.7]

    score: [S, M, K] -> [S, M, K]
    """
    return score.softmax(-1) * score.shape[-1]


def weighted_mean(weight: Tensor, embedding: Tensor) -> Tensor:
    """The gated estimate of a task's mean embedding. [focalpp eq. 18]

    [S, M, K], [S, M, K, Z] -> [S, M, Z].
    """
    return (weight[..., None] * embedding).mean(2)


def drop(x: Tensor, rate: float, stream: Stream | None) -> Tensor:
    """Inverted dropout from each member's own generator; the identity without a stream.

    [S, ...] -> [S, ...].
    """
    if stream is None or rate == 0.0:
        return x
    return x * (stream.uniform(*x.shape[1:]) >= rate) / (1.0 - rate)


class StackedNorm(nn.Module):
    """Layer normalisation with gain and offset a member.  [S, N, D] -> [S, N, D]."""

    def __init__(self, width: int, stream: Stream) -> None:
        super().__init__()
        members = len(stream.generators)
        self.gain = nn.Parameter(torch.ones(members, 1, width, device=stream.device))  # [S, 1, D]
        self.offset = nn.Parameter(torch.zeros(members, 1, width, device=stream.device))  # [S, 1, D]

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each row."""
        return torch.addcmul(self.offset, functional.layer_norm(x, x.shape[-1:]), self.gain)


class Block(nn.Module):
    """A pre-norm residual block over L tokens a transition: self-attention where asked for, then a
    feed-forward.
    """

    def __init__(self, part: Attention, stream: Stream) -> None:
        super().__init__()
        width = part.width
        self.heads, self.dropout, self.sequence_wise = part.heads, part.dropout, part.sequence_wise
        if part.sequence_wise:
            self.attention_norm = StackedNorm(width, stream)
            self.query_key_value = StackedLinear(width, 3 * width, stream)
            self.mix = StackedLinear(width, width, stream)
        self.forward_norm = StackedNorm(width, stream)
        self.expand = StackedLinear(width, 4 * width, stream)
        self.contract = StackedLinear(4 * width, width, stream)

    def attend(self, x: Tensor, tokens: int) -> Tensor:
        """Self-attention among each transition's tokens.  [S, N * L, D] -> [S, N * L, D]."""
        parts = self.query_key_value(x).view(x.shape[0], -1, tokens, 3, self.heads, x.shape[-1] // self.heads)
        query, key, value = parts.permute(3, 0, 1, 4, 2, 5)  # each [S, N, heads, L, D / heads]
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5  # [S, N, heads, L, L]
        mixed = scores.softmax(-1) @ value  # [S, N, heads, L, D / heads]
        return self.mix(mixed.transpose(2, 3).reshape(x.shape))

    def forward(self, x: Tensor, tokens: int, dropout: Stream | None) -> Tensor:
        """Add both branches to the residual stream."""
        if self.sequence_wise:
            x = x + drop(self.attend(self.attention_norm(x), tokens), self.dropout, dropout)
        hidden = functional.gelu(self.expand(self.forward_norm(x)), approximate="tanh")
        return x + drop(self.contract(hidden), self.dropout, dropout)


class AttentionNet(nn.Module):
    """The parameters of `Attention`: token embeddings, blocks, head, and the gate's bottleneck."""

    def __init__(self, part: Attention, space: Space, stream: Stream) -> None:
        super().__init__()
        width, widths = part.width, part.token_widths(space)
        self.token_widths = widths
        self.embed = nn.ModuleList(StackedLinear(inputs, width, stream) for inputs in widths)
        self.blocks = nn.ModuleList(Block(part, stream) for _ in range(part.blocks))
        self.head = StackedLinear(width, part.latent, stream)
        if part.batch_wise:
            inputs = sum(space.context_widths)
            self.gate_embed = StackedLinear(inputs, width, stream)
            self.squeeze = StackedLinear(width, max(1, width // part.reduction), stream)
            self.excite = StackedLinear(max(1, width // part.reduction), 1, stream)
            nn.init.zeros_(self.excite.weight)  # equal weights at the start: the gate begins as the identity
            nn.init.zeros_(self.excite.bias)


@dataclass(frozen=True)
class Attention:
    """Transitions embedded by blocks of self-attention over their fields, pooled with a learned weight each.

    The two kinds of attention read the transition in parallel and meet in the weighted mean of eq. 18.
    `tokens`: "fields" (s, a, r (, s'), as the text describes), "single" (the transition as one token, as
    the authors' code) or "scalar" (every number its own token). `gate`: "mean_one" (Definition 3.7) or
    "sigmoid" (the authors' code).
    """

    batch_wise: bool = setting(True, "a learned weight for each transition")
    sequence_wise: bool = setting(True, "self-attention among a transition's tokens")
    tokens: Literal["fields", "single", "scalar"] = setting("fields", "what a transition is cut into")
    gate: Literal["mean_one", "sigmoid"] = setting("mean_one", "how scores become weights")
    latent: Count = setting(5, "width Z of the embedding", paper="5 points, 20 bodies (Table 6)")
    width: Count = setting(128, "numbers a token", paper="128 (Table 6)")
    heads: Count = setting(8, "heads of the self-attention", paper="8 (Table 6)")
    blocks: Count = setting(3, "residual blocks", paper="3 (Table 6)")
    reduction: Count = setting(16, "factor by which the gate's bottleneck is narrower", paper="16 (Table 6)")
    dropout: BelowOne = setting(0.1, "share of a block's numbers dropped in training", paper="0.1 (Table 6)")
    lr: Positive = setting(1e-3, "Adam's rate at the start", paper="1e-3 points, 3e-3 bodies (Table 6)")
    steps: Whole = setting(100_000, "gradient steps after which the encoder stands still", paper="all")

    def idle(self) -> set[str]:
        """The settings of the kind of attention that is absent."""
        gate = set() if self.batch_wise else {"gate", "reduction"}
        return gate | (set() if self.sequence_wise else {"tokens", "heads"})

    def latent_width(self, space: Space) -> int:
        """The width Z of the embedding."""
        return self.latent

    def token_widths(self, space: Space) -> tuple[int, ...]:
        """The widths of a transition's tokens; without sequence-wise attention a transition is one token."""
        fields = space.context_widths
        if self.tokens == "single" or not self.sequence_wise:
            return (sum(fields),)
        return fields if self.tokens == "fields" else (1,) * sum(fields)

    def build(self, space: Space, stream: Stream) -> nn.Module:
        """The network; BadInput where the heads do not divide the width."""
        if self.sequence_wise and self.width % self.heads:
            raise BadInput(f"encoder.heads {self.heads} must divide encoder.width {self.width}")
        return AttentionNet(self, space, stream)

    def encode(
        self, net: AttentionNet, context: Context, params: Tensor | None = None, dropout: Stream | None = None
    ) -> Belief:
        """The gated mean embedding.  [S, M, K, ·] -> [S, M, Z]."""
        each, weight = self.each(net, context, dropout), self.weights(net, context)
        return Belief(each.mean(2) if weight is None else weighted_mean(weight, each))

    def each(self, net: AttentionNet, context: Context, dropout: Stream | None = None) -> Tensor:
        """One embedding a transition, bounded by tanh.  [S, M, K, ·] -> [S, M, K, Z]."""
        x = torch.cat(context.fields, -1).flatten(1, 2)  # [S, M * K, C]
        tokens = x.split(net.token_widths, -1)
        x = torch.stack(
            [embed(token) for embed, token in zip(net.embed, tokens, strict=True)], 2
        )  # [S, M * K, L, D]
        x = x.flatten(1, 2)
        for block in net.blocks:
            x = block(x, len(tokens), dropout)
        pooled = x.unflatten(1, (-1, len(tokens))).mean(2)  # [S, M * K, D]
        return net.head(pooled).tanh().unflatten(1, context.obs.shape[1:3])

    def weights(self, net: AttentionNet, context: Context) -> Tensor | None:
        """The batch-wise gate, a scalar a transition from a bottleneck; None without.  -> [S, M, K]."""
        if not self.batch_wise:
            return None
        x = net.gate_embed(torch.cat(context.fields, -1).flatten(1, 2)).relu()
        score = net.excite(net.squeeze(x).tanh()).view(context.obs.shape[:3])
        # departs: the authors squash each score alone, so their weights neither compare nor sum
        return mean_one(score) if self.gate == "mean_one" else 2.0 * score.sigmoid()
