"""A run: one execution of a plan, followed event by event."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from . import _native
from ._decode import from_json
from .errors import Aborted, DroverError, IdentityLost, Locked, Paused, UpgradeFailed, journal_place
from .events import Event, read
from .model import Question, Report

Gate = Callable[[Question], bool]
"""Takes a question; returns `True` to go on, `False` to pause the run."""


Probe = Callable[[], bool | str]
"""Takes nothing; returns `True` if all is well, else `False` or a text that says what is not."""


class Run:
    """One execution of a plan, under way in the background. Made by `Cluster.apply` and `Cluster.resume`.

    Iterate over it for its events; the loop ends with the run. Leaving a `with` block before the run has ended stops the run
    at a safe point and waits for that. `result()` says how it ended.

    While Python waits for the run, the first Ctrl-C asks it to stop at a safe point and goes on waiting; a second stops it at
    once. Then `KeyboardInterrupt` is raised. Whatever happens, `Cluster.resume` goes on from the journal.

    An exception of the gate pauses the run, and is raised by the iteration and by `result()` when the run has ended.
    """

    def __init__(self, native: _native.Run) -> None:
        """Come from `Cluster.apply` or `Cluster.resume`."""
        self._native = native

    @property
    def id(self) -> str:
        """The run's id, which everything it makes in Azure and in the cluster carries."""
        return self._native.id

    @property
    def journal(self) -> Path | str:
        """The run's journal: its file, or its address (`az://...`), as `Cluster.resume` takes it."""
        return journal_place(self._native.journal)

    def stop(self) -> None:
        """Ask the run to stop at a safe point, and return without waiting; asked again, it stops at once.

        May be called from any thread. A run that has ended does not care.
        """
        self._native.stop()

    def result(self) -> Report:
        """Wait for the end and return the report of a run that is done.

        Raises `UpgradeFailed`, `Paused`, `Aborted`, `IdentityLost` or `Locked` if it ended otherwise. May be called again;
        events that nobody has taken yet can still be taken afterwards.
        """
        report = self._report
        if report.outcome.result != "done":
            _refuse(report, self.journal)
        return report

    @functools.cached_property
    def _report(self) -> Report:
        return from_json(Report, self._native.finish())

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        """Wait for the next event."""
        line = self._native.next()
        if line is None:
            raise StopIteration
        return read(line)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._native.close()
        except DroverError:
            # What already goes wrong in the block is the news; `result()` still tells the rest.
            if error is None:
                raise

    def __repr__(self) -> str:
        return f"<Run {self.id}>"


def checked(gate: Gate | None) -> Callable[[str], bool] | None:
    """Refuse what cannot be a gate now, not in the middle of the night; make the rest take JSON."""
    if gate is None:
        return None
    _check_plain("a gate", gate)

    def ask(question: str) -> bool:
        answer = gate(from_json(Question, question))
        # A gate that forgets to return something has not said "go on", and `"no"` would count as true.
        if not isinstance(answer, bool):
            raise TypeError(f"a gate must return True (go on) or False (pause), not {answer!r}")
        return answer

    return ask


def checked_probes(probes: Mapping[str, Probe] | None) -> dict[str, Callable[[], tuple[bool, str]]]:
    """Refuse what cannot be a probe now; make the rest say a bool and their words."""
    for name, probe in (probes or {}).items():
        _check_plain(f"probe {name!r}", probe)
    return {name: functools.partial(_answer, probe) for name, probe in (probes or {}).items()}


def _answer(probe: Probe) -> tuple[bool, str]:
    answer = probe()
    if isinstance(answer, str):
        return False, answer
    # A probe that forgets to return something has not said that all is well.
    if not isinstance(answer, bool):
        raise TypeError(
            f"a probe must return True, False or a text that says what is not well, not {answer!r}"
        )
    return answer, "all is well" if answer else "it returned False"


def _check_plain(what: str, function: object) -> None:
    if not callable(function):
        raise TypeError(f"{what} must be callable, not {type(function).__name__}")
    # `functools.partial` and instances with an `async def __call__` are functions that return coroutines, too.
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    if inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(type(inner).__call__):
        raise TypeError(f"{what} must be a plain function: there is no event loop to run an `async def` on")


def _refuse(report: Report, journal: Path | str) -> NoReturn:
    """Raise what a run that is not done ended with."""
    outcome = report.outcome
    hint = f'go on with `cluster.resume("{journal}")`'
    exit_code: int | None = None
    kind: type[UpgradeFailed | Paused | Aborted | IdentityLost | Locked]
    match outcome.result:
        case "held":
            kind, message = UpgradeFailed, f"step {outcome.step} ({outcome.title}) failed: {outcome.cause}"
        case "reversed":
            kind = UpgradeFailed
            message = f"step {outcome.step} ({outcome.title}) failed: {outcome.cause}; everything else was brought back"
            if outcome.stays:
                message += f"; {', '.join(outcome.stays)}"
            hint = "mend the cause, and make a new plan"
        case "paused":
            asked = outcome.question.text if outcome.question else "a question"
            kind, message = Paused, f"the run is paused: {asked}"
        case "aborted":
            kind, message = Aborted, "the run was stopped at a safe point"
        case "identity_lost":
            kind, message = IdentityLost, f"this is not the cluster that the plan is for: {outcome.why}"
            exit_code = 1 if report.stages else None
        case "locked":
            kind, message = Locked, f"somebody else works on the cluster: it is locked by {outcome.by}"
        case other:
            raise DroverError(f"the run ended in a way that this version does not know: {other}")
    if report.holding:
        message += f"; it still holds {', '.join(report.holding)}"
    raise kind(message, hint=hint, exit_code=exit_code, report=report, journal=journal)
