"""What happens in a run, as it happens.

Events are numbered without holes. Exactly one `RunEnded` comes, and nothing follows it. A kind that this version does not
know is an `Unknown` with everything it carries.

    match event:
        case events.Progress(done=done, total=total):
            ...
        case events.GapOpened(gap=gap) if not gap.accepted:
            ...
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from ._decode import build, timestamp
from .model import Gap, Question, Report, StepOutcome

__all__ = [
    "KINDS",
    "Asked",
    "Event",
    "GapClosed",
    "GapOpened",
    "IdentityProven",
    "Progress",
    "RunEnded",
    "RunStarted",
    "StageFinished",
    "StageStarted",
    "StepFinished",
    "StepStarted",
    "Unknown",
    "Warning",
    "WriteAnswered",
    "WriteStarted",
    "read",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened in a run."""

    type: ClassVar[str]
    """The kind's name in JSON."""

    seq: int
    """Counts from 1 in each process that works on the run."""
    at: datetime
    """When."""
    elapsed_ms: int
    """Milliseconds since this process took up the run."""
    run: str
    """The run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStarted(Event):
    """The run has begun, or has been taken up again."""

    type: ClassVar[str] = "run_started"
    cluster: str
    """The cluster's name."""
    target: str
    """The version to reach."""
    plan: str
    """The plan's hash."""
    stages: int
    """How many stages the plan has."""
    resumed: bool
    """Taken up again from a journal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IdentityProven(Event):
    """The identity of the cluster has been proven again."""

    type: ClassVar[str] = "identity_proven"
    stage: int
    """The stage that is about to write."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageStarted(Event):
    """A stage has begun."""

    type: ClassVar[str] = "stage_started"
    stage: int
    """Its number."""
    title: str
    """Its title."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageFinished(Event):
    """A stage is finished."""

    type: ClassVar[str] = "stage_finished"
    stage: int
    """Its number."""
    duration_ms: int
    """How long it took."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepStarted(Event):
    """A step has begun."""

    type: ClassVar[str] = "step_started"
    step: str
    """Its id."""
    title: str
    """What it ensures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFinished(Event):
    """A step is finished."""

    type: ClassVar[str] = "step_finished"
    step: str
    """Its id."""
    outcome: StepOutcome
    """How it ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteStarted(Event):
    """A write is about to be made; its intent is in the journal."""

    type: ClassVar[str] = "write_started"
    step: str
    """The step it is for."""
    what: str
    """What it does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteAnswered(Event):
    """A write was answered."""

    type: ClassVar[str] = "write_answered"
    step: str
    """The step it is for."""
    what: str
    """What it did."""
    answer: str
    """The answer, in a few words."""
    ok: bool
    """It was accepted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagePulled(Event):
    """An image was pulled ahead: it is on the disk of a node before a pod needs it there."""

    type: ClassVar[str] = "image_pulled"
    step: str
    """The step it is for."""
    node: str
    """The node."""
    image: str
    """The image."""
    bytes: int | None
    """What it weighs, as a node reports it; `None` if none has said."""
    duration_ms: int
    """How long it took, as it was seen from here, in milliseconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress(Event):
    """Where a stage stands. The latest replaces the ones before."""

    type: ClassVar[str] = "progress"
    stage: int
    """The stage."""
    done: int
    """Finished steps, or moved pods in a stage that moves."""
    total: int
    """Of so many."""
    unit: str
    """`steps` or `pods`."""
    waiting_for: tuple[str, ...]
    """What the stage waits for now, one line each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GapOpened(Event):
    """A Service has lost its last ready endpoint."""

    type: ClassVar[str] = "gap_opened"
    gap: Gap


@dataclass(frozen=True, kw_only=True, slots=True)
class GapClosed(Event):
    """It has one again."""

    type: ClassVar[str] = "gap_closed"
    gap: Gap
    """The gap, with its end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Warning(Event):  # noqa: A001 - the kind's name in every stream of Drover; used as `events.Warning`
    """Something worth knowing that stops nothing."""

    type: ClassVar[str] = "warning"
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeAnswered(Event):
    """A user's probe has answered, otherwise than before."""

    type: ClassVar[str] = "probe_answered"
    probe: str
    """Its name."""
    green: bool
    """All is well. A probe that could not be asked says nothing, which is not well."""
    words: str
    """Its words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked(Event):
    """A person is asked."""

    type: ClassVar[str] = "asked"
    question: Question


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEnded(Event):
    """The end. Nothing follows."""

    type: ClassVar[str] = "run_ended"
    report: Report
    """How it ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown(Event):
    """An event of a newer Drover."""

    type: ClassVar[str] = "unknown"
    raw: dict[str, Any]
    """The whole event, with its own `type`."""


KINDS: dict[str, type[Event]] = {
    kind.type: kind
    for kind in (
        RunStarted,
        IdentityProven,
        StageStarted,
        StageFinished,
        StepStarted,
        StepFinished,
        WriteStarted,
        WriteAnswered,
        ImagePulled,
        Progress,
        GapOpened,
        GapClosed,
        Warning,
        ProbeAnswered,
        Asked,
        RunEnded,
    )
}
"""Every kind by its name in JSON, but for `Unknown`, which is none of them."""


def read(line: str) -> Event:
    """Read one line of an event stream, as `aks-drover apply --output json` writes them too."""
    raw: dict[str, Any] = json.loads(line)
    kind = KINDS.get(raw["type"])
    if kind is not None:
        return build(kind, raw)
    at = timestamp(raw["at"])
    return Unknown(seq=raw["seq"], at=at, elapsed_ms=raw["elapsed_ms"], run=raw["run"], raw=raw)
