"""Plain data: what checks, plans and runs say. Frozen dataclasses, fit for `match` and `dataclasses.asdict`.

Words from a fixed list (`severity`, `verdict`, `result`) are plain strings, so that a word of a newer Drover is kept as it is.
Times are aware `datetime`s in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ._decode import renamed


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """One piece of evidence that Rancher's cluster is Azure's."""

    what: str
    """What was compared."""
    verdict: str
    """`agrees`, `contradicts` or `unavailable`."""
    detail: str
    """The values, for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Which cluster this is, in the names of Rancher, Azure and Kubernetes, with the proof that they are one."""

    name: str
    """The name in `drover.toml`."""
    rancher_id: str
    """The id in Rancher, such as `c-m-abcd1234`."""
    arm_id: str
    """The id in Azure."""
    kube_system: str
    """The uid of the namespace `kube-system`, which lives as long as the cluster."""
    evidence: tuple[Evidence, ...]
    """Why the three are one cluster."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A check's result about one object."""

    severity: str
    """`blocking`, `unknown` (the check could not see what it needs), `advisory` or `info`."""
    code: str
    """The check's code, such as `PDB-002`. Codes are never reused."""
    object: str
    """What it is about: `namespace/name`, a pool, or the cluster's name."""
    message: str
    """What is so."""
    remedy: str
    """What to do about it."""
    accepted: str | None = None
    """Why the policy accepts it, if it does."""

    @property
    def blocks(self) -> bool:
        """Does it stop the upgrade? Unknown is not a pass."""
        return self.accepted is None and self.severity in ("blocking", "unknown")


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """A fact a plan rests on that has changed since."""

    what: str
    """Which fact."""
    was: str | None
    """What the plan rests on; `None` if it was not there."""
    is_: str | None = renamed("is")
    """What is so now; `None` if it is gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A question that only a person, or a policy outside the plan, can answer."""

    id: str
    """Names the question within the run."""
    text: str
    """The question."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of a plan. Executing it twice is harmless."""

    id: str
    """`<stage>.<lane>.<step>`."""
    title: str
    """What it ensures, for people."""
    action: dict[str, Any]
    """What it ensures, as data; `kind` says which kind of action."""
    reversal: dict[str, Any]
    """What becomes of its effect when the run ends: `kind` is `loan` or `forward`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """Steps that follow each other."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A part of a plan that is finished before the next begins. Its lanes may run side by side."""

    number: int
    """Counted from 1."""
    title: str
    """What it does."""
    lanes: tuple[Lane, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """Its steps, in order."""
        return tuple(step for lane in self.lanes for step in lane.steps)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """A moment in which a Service had no ready endpoint."""

    service: str
    """`namespace/name`."""
    begin: datetime
    """When the last endpoint went."""
    end: datetime | None
    """When one came back; `None` while it lasts."""
    cause: str
    """What was going on."""
    accepted: bool
    """The plan accepts it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceRecord:
    """What the ledger knows of one Service."""

    service: str
    """`namespace/name`."""
    start: int
    """Ready endpoints when the run began to watch it."""
    fewest: int
    """The fewest at any time."""
    now: int
    """Ready endpoints at the end."""
    gaps: tuple[Gap, ...]
    """Its gaps, oldest first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepOutcome:
    """How a step ended well. A step that does not end well ends the run."""

    result: str
    """`done` or `already_so`."""
    message: str
    """What is so now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LockHolder:
    """Who has the lock of a cluster."""

    holder: str
    """The process, and with it where it runs."""
    since: datetime | None
    """Since when, by its own clock."""
    run: str | None
    """The run it is held for."""

    def __str__(self) -> str:
        """Return who, since when and for which run, as the command says it."""
        since = f" since {self.since:%Y-%m-%dT%H:%M:%SZ}" if self.since else ""
        return f"{self.holder}{since}{f' for run {self.run}' if self.run else ''}"


@dataclass(frozen=True, kw_only=True, slots=True)
class AbortReport:
    """What came of a request to stop a run."""

    run: str
    """The run."""
    result: str
    """`let_go`, `fell_silent`, `still_at_work`, `nobody_works`, `another_run`, `dead` or `deaf`."""
    holder: LockHolder | None = None
    """Who holds the lock of the cluster, where somebody does."""

    @property
    def stopped(self) -> bool:
        """The run is not at work any more, or was not before."""
        return self.result in ("let_go", "fell_silent", "nobody_works")


@dataclass(frozen=True, kw_only=True, slots=True)
class Leftover:
    """One thing that a run has left on a cluster."""

    run: str | None
    """The run, if it is known."""
    kind: str
    """`buffer`, `cordon`, `out-of-balancers`, `settings`, `prewarm-pod` or `lock`."""
    object: str
    """Its name."""
    detail: str
    """What is so about it."""
    obstacle: str | None
    """Why it cannot be given back now, if it cannot."""
    by_hand: str
    """The command by which a person gives it back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Leftovers:
    """Everything that runs have left on a cluster, as far as it could be seen."""

    cluster: str
    """The cluster's name."""
    at_work: LockHolder | None
    """The run that is at work there: what it holds is not left."""
    left: tuple[Leftover, ...]
    """What is left, newest run first, and of each run what was taken last first."""
    changed_since: tuple[str, ...]
    """What somebody has changed since, and which stays as it is."""
    unknown: tuple[str, ...]
    """What could not be seen, or belongs to nobody that is known here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CleanReport:
    """What was given back, and what is left then."""

    written: tuple[str, ...]
    """What was written, in words, in its order."""
    rest: Leftovers
    """What is left, as it was seen afterwards; each with the command for a person."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOutcome:
    """How a run ended. Which fields are there depends on `result`."""

    result: str
    """`done`, `held`, `reversed`, `paused`, `aborted`, `identity_lost` or `locked`."""
    step: str | None = None
    """The step that failed (`held`, `reversed`)."""
    title: str | None = None
    """What that step was to ensure (`held`, `reversed`)."""
    cause: str | None = None
    """Why it failed (`held`, `reversed`)."""
    stays: tuple[str, ...] | None = None
    """What could not be brought back (`reversed`)."""
    question: Question | None = None
    """What waits for a person (`paused`)."""
    why: str | None = None
    """What does not agree (`identity_lost`)."""
    by: LockHolder | None = None
    """Who works on the cluster (`locked`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageRecord:
    """How long a stage took."""

    number: int
    """Its number."""
    title: str
    """Its title."""
    duration_ms: int | None
    """Milliseconds; `None` if it is not finished."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """How a run ended, with the proof."""

    run: str
    """The run."""
    cluster: str
    """The cluster's name."""
    from_version: str = renamed("from")
    """The version it started from."""
    target: str
    """The version to reach."""
    outcome: RunOutcome
    """How it ended."""
    stages: tuple[StageRecord, ...]
    """The stages that were begun."""
    ledger: tuple[ServiceRecord, ...]
    """Every Service's fewest ready endpoints and its gaps."""
    holding: tuple[str, ...]
    """What the run still holds, in words: cordoned nodes, a buffer."""
    duration_ms: int
    """Milliseconds of work, all processes of the run together."""

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Every gap of every Service; empty is the proof of zero downtime."""
        return tuple(gap for record in self.ledger for gap in record.gaps)


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """A number over all rehearsals of a forecast."""

    min: int
    """The smallest."""
    median: int
    """The middle one."""
    p95: int
    """Nineteen of twenty are not greater."""
    max: int
    """The largest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageForecast:
    """How long a stage took in the rehearsals."""

    number: int
    """Its number."""
    title: str
    """Its title."""
    duration_ms: Spread
    """Milliseconds of the cluster's time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FamilyForecast:
    """What a plan takes of the quota of one family of machine sizes."""

    family: str
    """Azure's name of it, such as `standardDSv5Family`."""
    most_vcpus: Spread
    """The most vCPUs at one time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UsageForecast:
    """What a plan takes of the cluster and of Azure, beyond time."""

    most_nodes: Spread
    """The most nodes at one time."""
    most_pods: Spread
    """The most pods at one time, finished ones among them."""
    most_vcpus: Spread
    """The most vCPUs at one time, of all sizes together."""
    families: tuple[FamilyForecast, ...]
    """The most vCPUs of each family of sizes, by its name."""
    most_addresses: Spread
    """The most addresses at one time of a subnet from which pods take theirs, too; with overlay there is one for each node."""
    pulls: Spread
    """Image pulls, one per image and machine."""
    pulled_bytes: Spread
    """What they pulled, in bytes."""
    pulls_ahead: Spread
    """Those of the pulls that were made ahead, before a node was cordoned for them."""
    cold_pulls: Spread
    """Those that a pod waited for which had landed there: after the cordon."""
    buffer_node_minutes: Spread
    """How long each machine of the temporary pools exists, added up, in minutes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceForecast:
    """What a Service lived through in the rehearsals."""

    service: str
    """`namespace/name`."""
    start: int
    """Ready endpoints at the start."""
    fewest: int
    """The fewest in any rehearsal."""
    runs_with_gap: int
    """In how many rehearsals it had none for a while."""
    longest_gap_ms: int
    """The longest of these whiles, in milliseconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FailureForecast:
    """A rehearsal that was not done at its end."""

    seed: int
    """Rehearse again with this seed and `runs=1` to see the same."""
    outcome: RunOutcome
    """How it ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What a plan did when it was executed in a simulated copy of the cluster."""

    format: str
    """The format's version, `MAJOR.MINOR`."""
    seed: int
    """Where the chance of the first rehearsal began; the others count on from it."""
    runs: int
    """How many rehearsals."""
    completed: int
    """How many of them were done at their end."""
    duration_ms: Spread
    """How long the rehearsals took, in milliseconds of the cluster's time."""
    stages: tuple[StageForecast, ...]
    """The plan's stages."""
    usage: UsageForecast
    """What the rehearsals that were done used."""
    services: tuple[ServiceForecast, ...]
    """Every Service of the cluster."""
    failures: tuple[FailureForecast, ...]
    """The rehearsals that were not done."""
    probes: tuple[str, ...] = ()
    """The user's probes, which nobody can ask in a simulated cluster: they counted as green."""
