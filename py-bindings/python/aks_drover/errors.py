"""What can go wrong, by what was met.

Every exception of Drover is a `DroverError`. Its text says what happened; `hint`, where there is one, says what to do;
`exit_code` is what the command line would exit with.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from ._decode import build
from .model import Drift, Evidence, Finding, LockHolder, Question, Report


class DroverError(Exception):
    """The base of every exception of Drover."""

    default_exit_code: ClassVar[int] = 1

    hint: str | None
    """What to do about it."""
    exit_code: int
    """What the command line exits with."""

    # Everything but the message is a keyword with a default: so `BaseException` can pickle every child by itself.
    def __init__(self, message: str, *, hint: str | None = None, exit_code: int | None = None) -> None:
        """Keep the message and what belongs to it."""
        super().__init__(message)
        self.hint = hint
        self.exit_code = self.default_exit_code if exit_code is None else exit_code


class ConfigError(DroverError, ValueError):
    """Something given is wrong: `drover.toml`, a version, a file. Nothing was contacted or changed."""

    default_exit_code = 2


class Blocked(DroverError):
    """Findings stand in the way. Nothing was changed."""

    default_exit_code = 3

    findings: tuple[Finding, ...]
    """Every finding, those that block first."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        exit_code: int | None = None,
        findings: tuple[Finding, ...] = (),
    ) -> None:
        """Keep the findings too."""
        super().__init__(message, hint=hint, exit_code=exit_code)
        self.findings = findings


class StalePlan(DroverError):
    """The cluster is not as it was when the plan was made. Nothing was changed."""

    default_exit_code = 5

    drift: tuple[Drift, ...]
    """What has changed."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        exit_code: int | None = None,
        drift: tuple[Drift, ...] = (),
    ) -> None:
        """Keep the drift too."""
        super().__init__(message, hint=hint, exit_code=exit_code)
        self.drift = drift


class IdentityError(DroverError):
    """It is not proven that this is the cluster that is meant. Nothing was changed."""

    default_exit_code = 3

    evidence: tuple[Evidence, ...]
    """What was compared; empty if it did not come to that."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        exit_code: int | None = None,
        evidence: tuple[Evidence, ...] = (),
    ) -> None:
        """Keep the evidence too."""
        super().__init__(message, hint=hint, exit_code=exit_code)
        self.evidence = evidence


class RemoteError(DroverError):
    """A call to Rancher, Kubernetes or Azure failed."""

    service: str
    """Who failed: `Rancher`, `Kubernetes` or `Azure`."""
    outcome_known: bool
    """The call surely changed nothing. If not, it may have been carried out: observe before anything else."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        exit_code: int | None = None,
        service: str = "",
        outcome_known: bool = False,
    ) -> None:
        """Keep who failed, and whether it is known what the call did."""
        super().__init__(message, hint=hint, exit_code=exit_code)
        self.service = service
        self.outcome_known = outcome_known


class RunNotDone(DroverError):
    """A run ended before its plan was done. The children say how; `Cluster.resume` goes on with it."""

    report: Report | None
    """The run's report, with what it still holds."""
    journal: Path | str | None
    """The run's journal."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        exit_code: int | None = None,
        report: Report | None = None,
        journal: Path | str | None = None,
    ) -> None:
        """Keep the report and the journal too."""
        super().__init__(message, hint=hint, exit_code=exit_code)
        self.report = report
        self.journal = journal


class UpgradeFailed(RunNotDone):
    """A step failed, and the run holds: capacity stays, nothing more is started."""

    @property
    def step(self) -> str | None:
        """The id of the step that failed."""
        return self.report.outcome.step if self.report else None

    @property
    def cause(self) -> str | None:
        """Why it failed."""
        return self.report.outcome.cause if self.report else None


class Paused(RunNotDone):
    """A question waits for a person: a gate did not say "go on", or a Service has a gap that nobody accepted."""

    default_exit_code = 4

    @property
    def question(self) -> Question | None:
        """What waits."""
        return self.report.outcome.question if self.report else None


class Aborted(RunNotDone):
    """Somebody asked the run to stop, and it stopped at a safe point."""

    default_exit_code = 130


class IdentityLost(RunNotDone):
    """The cluster is not, or no longer, the one the plan is for. Nothing was written after that was seen.

    Before the first stage nothing was written at all, and the exit code is 3; later the run holds, and it is 1.
    """

    default_exit_code = 3


class Locked(RunNotDone):
    """Somebody else works on the cluster. Nothing was changed. There is a `report` if a run was refused."""

    default_exit_code = 3

    by: LockHolder | None
    """Who."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        exit_code: int | None = None,
        report: Report | None = None,
        journal: Path | str | None = None,
        by: LockHolder | None = None,
    ) -> None:
        """Keep who it is, too."""
        super().__init__(message, hint=hint, exit_code=exit_code, report=report, journal=journal)
        self.by = report.outcome.by if by is None and report else by


def journal_place(text: str) -> Path | str:
    """Make a path of the place of a journal, unless it is an address: a path would lose one of its slashes."""
    return text if "://" in text else Path(text)


def from_native(kind: str, message: str, parts: str, *, hint: str | None, exit_code: int) -> DroverError:
    """Make the exception for an error of the native module. `parts` is what belongs to it, as JSON."""
    kinds = (DroverError, ConfigError, Blocked, StalePlan, IdentityError, RemoteError, RunNotDone, Locked)
    raw: dict[str, Any] = json.loads(parts)
    for key, item in (("findings", Finding), ("drift", Drift), ("evidence", Evidence)):
        if key in raw:
            raw[key] = tuple(build(item, each) for each in raw[key])
    if "by" in raw:
        raw["by"] = build(LockHolder, raw["by"])
    if "journal" in raw:
        raw["journal"] = journal_place(raw["journal"])
    found = {each.__name__: each for each in kinds}[kind]
    return found(message, hint=hint, exit_code=exit_code, **raw)
