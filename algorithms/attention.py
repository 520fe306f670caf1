"""FOCAL++'s encoder: batch-wise attention gates transitions, sequence-wise attention joins their fields."""

from __future__ import annotations

from collections.abc import Sequence
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
from comrl.ground.settings import BelowOne, Count, Depth, Rate, Whole, Width, setting


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


class Gate(nn.Module):
    """One score a transition from a bottleneck; all are 0 at the start, and weights equal.

    [S, N, D] -> [S, N, 1].
    """

    def __init__(self, part: Attention, stream: Stream) -> None:
        super().__init__()
        narrow = max(1, part.width // part.reduction)
        self.squeeze = StackedLinear(part.width, narrow, stream)
        self.excite = StackedLinear(narrow, 1, stream)
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze and excite."""
        return self.excite(self.squeeze(x).tanh())


class Block(nn.Module):
    """A pre-norm residual block over L tokens a transition: attention of either kind where asked for, then
    a feed-forward.
    """

    def __init__(self, part: Attention, stream: Stream, *, attends: bool, gates: bool) -> None:
        super().__init__()
        width = part.width
        self.part, self.attends = part, attends
        if attends:
            self.attention_norm = StackedNorm(width, stream)
            self.query_key_value = StackedLinear(width, 3 * width, stream)
            self.mix = StackedLinear(width, width, stream)
        self.gate = Gate(part, stream) if gates else None
        self.forward_norm = StackedNorm(width, stream)
        self.expand = StackedLinear(width, 4 * width, stream)
        self.contract = StackedLinear(4 * width, width, stream)

    def attend(self, x: Tensor, tokens: int) -> Tensor:
        """Self-attention among each transition's tokens.  [S, N * L, D] -> [S, N * L, D]."""
        heads = self.part.heads
        parts = self.query_key_value(x).view(x.shape[0], -1, tokens, 3, heads, x.shape[-1] // heads)
        query, key, value = parts.permute(3, 0, 1, 4, 2, 5)  # each [S, N, heads, L, D / heads]
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5  # [S, N, heads, L, L]
        mixed = scores.softmax(-1) @ value  # [S, N, heads, L, D / heads]
        return self.mix(mixed.transpose(2, 3).reshape(x.shape))

    def weights(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """Each transition's weight, of its tokens' mean score.  [S, N * L, D], (S, M, K) -> [S, M, K]."""
        assert self.gate is not None
        return self.part.weigh(self.gate(self.attention_norm(x)).view(*shape, -1).mean(-1))

    def forward(self, x: Tensor, shape: Sequence[int], dropout: Stream | None) -> Tensor:
        """Add all branches to the residual stream.  [S, N * L, D], shape: (S, M, K) -> [S, N * L, D]."""
        rate = self.part.dropout
        if self.attends:
            tokens = x.shape[1] // (shape[1] * shape[2])
            normed = self.attention_norm(x)
            added = self.attend(normed, tokens)
            if self.gate is not None:
                weight = self.weights(x, shape).flatten(1).repeat_interleave(tokens, 1)  # [S, N * L]
                added = added + weight[..., None] * normed
            x = x + drop(added, rate, dropout)
        hidden = functional.gelu(self.expand(self.forward_norm(x)), approximate="tanh")
        return x + drop(self.contract(hidden), rate, dropout)


class Branch(nn.Module):
    """Transitions cut into tokens, through blocks, to one embedding each, bounded by tanh."""

    def __init__(
        self, part: Attention, widths: tuple[int, ...], stream: Stream, *, attends: bool, gates: bool = False
    ) -> None:
        super().__init__()
        self.widths = widths
        self.embed = nn.ModuleList(StackedLinear(inputs, part.width, stream) for inputs in widths)
        self.blocks: Sequence[Block] = nn.ModuleList(  # type: ignore[assignment]
            Block(part, stream, attends=attends, gates=gates) for _ in range(part.blocks)
        )
        self.head = StackedLinear(part.width, part.latent, stream)

    def tokens(self, context: Context) -> Tensor:
        """Every token's first embedding.  [S, M, K, ·] -> [S, N * L, D]."""
        fields = torch.cat(context.fields, -1).flatten(1, 2).split(self.widths, -1)  # each [S, N, ·]
        embedded = [embed(field) for embed, field in zip(self.embed, fields, strict=True)]
        return torch.stack(embedded, 2).flatten(1, 2)

    def forward(self, context: Context, dropout: Stream | None) -> Tensor:
        """One embedding a transition.  [S, M, K, ·] -> [S, M, K, Z]."""
        shape, x = context.obs.shape[:3], self.tokens(context)
        for block in self.blocks:
            x = block(x, shape, dropout)
        pooled = x.unflatten(1, (-1, len(self.widths))).mean(2)  # [S, N, D]
        return self.head(pooled).tanh().unflatten(1, shape[1:])


class AttentionNet(nn.Module):
    """The parameters of `Attention`: a branch for each kind, and the gate that weighs the first branch."""

    def __init__(self, part: Attention, space: Space, stream: Stream) -> None:
        super().__init__()
        single, fields = part.token_widths(space, sequence_wise=False), part.token_widths(space)
        self.branches: list[Branch] = nn.ModuleList()  # type: ignore[assignment]
        if part.batch_wise and (not part.sequence_wise or part.join == "sum"):
            self.branches.append(Branch(part, single, stream, attends=False))
        if part.sequence_wise or not part.batch_wise:
            self.branches.append(
                Branch(part, fields, stream, attends=part.sequence_wise, gates=part.gates_blocks)
            )
        if part.batch_wise and not part.gates_blocks:
            self.gate_embed = StackedLinear(sum(space.context_widths), part.width, stream)
            self.gate = Gate(part, stream)


@dataclass(frozen=True)
class Attention:
    """Transitions embedded by residual blocks and pooled to their mean, with attention of two kinds.

    The batch-wise kind gates: it weighs each transition in the mean of eq. 18. The sequence-wise kind is
    self-attention over a transition's fields.  `join`, where both are there: "sum" (two branches in parallel,
    whose means are added, as the text has it), "product" (one branch, whose embeddings the gate weighs) or
    "block" (both inside each block, as the authors' code).  `tokens`: "fields" (s, a, r (, s'), as the text
    describes), "single" (the transition as one token, as the authors' code) or "scalar" (every number its
    own token).  `gate`: "mean_one" (Definition 3.7) or "sigmoid" (the authors' code).
    """

    batch_wise: bool = setting(True, "a learned weight for each transition")
    sequence_wise: bool = setting(True, "self-attention among a transition's tokens")
    tokens: Literal["fields", "single", "scalar"] = setting("fields", "what a transition is cut into")
    gate: Literal["mean_one", "sigmoid"] = setting("mean_one", "how scores become weights")
    join: Literal["sum", "product", "block"] = setting(
        "sum", "how both kinds meet", paper="in parallel, by addition (section 3.2)"
    )
    latent: Width = setting(5, "width Z of the embedding", paper="5 points, 20 bodies (Table 6)")
    width: Width = setting(128, "numbers a token", paper="128 (Table 6)")
    heads: Width = setting(8, "heads of the self-attention", paper="8 (Table 6)")
    blocks: Depth = setting(3, "residual blocks", paper="3 (Table 6)")
    reduction: Count = setting(16, "factor by which the gate's bottleneck is narrower", paper="16 (Table 6)")
    dropout: BelowOne = setting(0.1, "share of a block's numbers dropped in training", paper="0.1 (Table 6)")
    lr: Rate = setting(1e-3, "Adam's rate at the start", paper="1e-3 points, 3e-3 bodies (Table 6)")
    steps: Whole = setting(100_000, "gradient steps after which the encoder stands still", paper="all")

    def idle(self) -> set[str]:
        """The settings of the kind of attention that is absent."""
        gate = set() if self.batch_wise else {"gate", "reduction", "join"}
        return gate | (set() if self.sequence_wise else {"tokens", "heads", "join"})

    @property
    def gates_blocks(self) -> bool:
        """Whether the gate is inside each block, and none weighs the mean."""
        return self.batch_wise and self.sequence_wise and self.join == "block"

    def latent_width(self, space: Space) -> int:
        """The width Z of the embedding."""
        return self.latent

    def token_widths(self, space: Space, sequence_wise: bool | None = None) -> tuple[int, ...]:
        """The widths of a transition's tokens; without sequence-wise attention a transition is one token."""
        fields = space.context_widths
        attends = self.sequence_wise if sequence_wise is None else sequence_wise
        if self.tokens == "single" or not attends:
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
        """The mean of the branches' mean embeddings, the first one's gated. [focalpp section 3.2]

        [S, M, K, ·] -> [S, M, Z].

        A sum of two branches that is halved stays in (-1, 1), as each branch does.
        """
        first, *others = self.embeddings(net, context, dropout)
        weight = None if self.gates_blocks else self.weights(net, context)
        gated = first.mean(2) if weight is None else weighted_mean(weight, first)
        return Belief(average([gated, *(embedding.mean(2) for embedding in others)]))

    def each(self, net: AttentionNet, context: Context, dropout: Stream | None = None) -> Tensor:
        """One embedding a transition, the mean of the branches'.  [S, M, K, ·] -> [S, M, K, Z]."""
        return average(self.embeddings(net, context, dropout))

    def embeddings(self, net: AttentionNet, context: Context, dropout: Stream | None = None) -> list[Tensor]:
        """Every branch's embedding of each transition, the gated branch first: [S, M, K, Z] each."""
        return [branch(context, dropout) for branch in net.branches]

    def weights(self, net: AttentionNet, context: Context) -> Tensor | None:
        """The batch-wise gate's weight of each transition, in blocks the mean of theirs; None without.

        -> [S, M, K].
        """
        if not self.batch_wise:
            return None
        if self.gates_blocks:
            return self._weights_in_blocks(net.branches[0], context)
        x = net.gate_embed(torch.cat(context.fields, -1).flatten(1, 2)).relu()
        return self.weigh(net.gate(x).view(context.obs.shape[:3]))

    def _weights_in_blocks(self, branch: Branch, context: Context) -> Tensor:
        """The mean of the blocks' weights: [S, M, K]."""
        shape, x, found = context.obs.shape[:3], branch.tokens(context), []
        for block in branch.blocks:
            found.append(block.weights(x, shape))
            x = block(x, shape, None)
        return average(found)

    def weigh(self, score: Tensor) -> Tensor:
        """Weights, 1 where scores are 0.  [S, M, K] -> [S, M, K]."""
        # departs: the authors squash each score alone, so their weights neither compare nor sum
        return mean_one(score) if self.gate == "mean_one" else 2.0 * score.sigmoid()


def average(tensors: Sequence[Tensor]) -> Tensor:
    """The mean of tensors of one shape, of one tensor the tensor itself."""
    return tensors[0] if len(tensors) == 1 else torch.stack(list(tensors)).mean(0)
