"""The cards of results, each defined once: run.json and portrait.json, written and read as these records."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AliasChoices, Field

from comrl.benchmark.spec import RunSpec
from comrl.datasets.cards import TaskSetCard
from comrl.ground.cards import Card, Tree

FORMAT = 2


class ResultCard(Card):
    """What the cards of runs and portraits have in common; the ledger adds what the files hash to."""

    FILE: ClassVar[str]
    format: int = FORMAT
    files: dict[str, str] = Field(default_factory=dict)
    """The hash of every file beside the card; none until it is written."""

    @property
    def name(self) -> str:
        """The name of its folder."""
        raise NotImplementedError

    def to_json(self) -> Tree:
        """As plain JSON values, without what the ledger adds."""
        return self.model_dump(mode="json", exclude={"format", "files"})


class Provenance(Card):
    """What a run was made with."""

    git: str
    packages: dict[str, str]
    threads: int
    device: str
    precision: str = "fp32"
    processor: str = ""
    """Name, family, model and vector instructions; of older runs not known."""


class Cost(Card):
    """What a run took. Before there were stages, what was trained before a run was its teachers."""

    train_seconds: float
    gradient_steps: int
    before_seconds: float = Field(
        default=0.0, validation_alias=AliasChoices("before_seconds", "teacher_seconds")
    )
    before_steps: int = Field(default=0, validation_alias=AliasChoices("before_steps", "teacher_steps"))
    encoder_parameters: int
    parameters: int | None = None
    """Of one seed; None: not counted."""
    infer_ms: float | None = None
    act_ms: float | None = None
    """Milliseconds of a test, all seeds at once; None: not measured."""


class RunCard(ResultCard):
    """The card of a run, run.json: what was asked for, what was read, and what it cost."""

    FILE: ClassVar[str] = "run.json"
    id: str
    settings_id: str | None = None
    """The id without seeds; None: the run is an experiment of its own."""
    spec: RunSpec
    role: Literal["method", "upper", "top", "lower"]
    label: str
    env_label: str
    algorithm: Tree
    """The tree of parts."""
    training: Tree
    """The protocol's settings, and in older runs those of parts too."""
    preset_parts: Tree = Field(default_factory=dict)
    """What the preset gave to parts, by class; of older runs not known."""
    horizon: int
    scores: tuple[tuple[str, str], ...]
    """Name and label of each; the first is the headline."""
    task_set: TaskSetCard
    data_sha256: str
    train_split_radius: float | None
    provenance: Provenance
    cost: Cost
    doubts: tuple[str, ...] = ()
    """What the algorithm's parts say against the training, a sentence each."""
    weights_sha256: str | None = None
    """None: no weights were kept."""

    @property
    def name(self) -> str:
        """<env>.<split>.<preset>.<algo>.<id8>."""
        return run_name(self.spec, self.id)

    def to_json(self) -> Tree:
        """As plain JSON values; where test contexts came from is no part of a training."""
        tests = {"context", "explore", "explore_steps"}
        body = super().to_json() | {"spec": self.spec.model_dump(mode="json", exclude=tests)}
        return (
            body
            if self.weights_sha256
            else {key: value for key, value in body.items() if key != "weights_sha256"}
        )


class PortraitCard(ResultCard):
    """What is told of a data set, portrait.json. Portraits of older versions know less by split."""

    FILE: ClassVar[str] = "portrait.json"
    env: str
    env_label: str
    sha256: str
    preset: str
    trainer: str
    settings: Tree = Field(default_factory=dict)
    task_set: TaskSetCard
    scores: tuple[tuple[str, str], ...]
    """Name and label of each; the first is the headline."""
    generation_seconds: float | None = None
    """None: nobody knows, as of data that came another way."""
    episodes: int
    """Per quality and task."""
    transitions: dict[str, int] = Field(default_factory=dict)
    fewest_transitions: dict[str, int] = Field(default_factory=dict)
    """The most and the fewest of any task, by split."""
    radius: dict[str, float] = Field(default_factory=dict)
    """Goal radius of the context's reward, by split; no split where contexts are dense."""
    nonsparse_rate: dict[str, float] = Field(default_factory=dict)
    """Share of transitions with a context reward, by split."""
    nonsparse_rate_at: dict[str, tuple[tuple[float, float], ...]] = Field(default_factory=dict)
    """Radius and share under the family's other readings of the radius, by split."""

    @property
    def name(self) -> str:
        """<env>.<sha8>."""
        return portrait_name(self.env, self.sha256)


def run_name(spec: RunSpec, identity: str) -> str:
    """The folder of a run."""
    return f"{spec.env}.{spec.split}.{spec.preset}.{spec.algo}.{identity}"


def portrait_name(env: str, sha256: str) -> str:
    """The folder of a data set's portrait."""
    return f"{env}.{sha256[:8]}"
