"""The native module: handles and JSON. Everything public is in the modules beside it.

Every method that waits for the outside world releases the interpreter and looks for signals ten times a second.
"""

from collections.abc import Callable
from os import PathLike
from typing import final

__all__ = ["Cluster", "Inventory", "Plan", "Run", "__version__", "connect", "main"]

__version__: str

def connect(config: str | PathLike[str], name: str) -> Cluster:
    """Read the configuration and prove the cluster's identity."""

def main(arguments: list[str]) -> int:
    """Run the command line; `arguments` begin with the program's name. Returns the exit code."""

@final
class Cluster:
    """A cluster whose identity is proven."""

    @property
    def name(self) -> str:
        """The name in the configuration."""

    @property
    def identity(self) -> str:
        """The identity, as JSON."""

    def inventory(self) -> Inventory:
        """Read everything a plan rests on."""

    def check(self, to: str) -> str:
        """Read and check; the findings, as JSON."""

    def plan(self, to: str) -> Plan:
        """Read, check and plan."""

    def apply(
        self,
        plan: Plan,
        journal: str | PathLike[str],
        gate: Callable[[str], bool] | None,
        probes: dict[str, Callable[[], tuple[bool, str]]],
        approve: str,
        on_failure: str,
    ) -> Run:
        """Refuse a stale plan, or begin a run of it. The gate takes a question as JSON; a probe gives a bool and its words."""

    def resume(
        self,
        run: str | PathLike[str],
        journal: str | PathLike[str],
        gate: Callable[[str], bool] | None,
        probes: dict[str, Callable[[], tuple[bool, str]]],
        approve: str | None,
        on_failure: str | None,
    ) -> Run:
        """Go on with a run from its journal."""

    def abort(self, run: str, at_once: bool, wait: float) -> str:
        """Ask a run to stop that works elsewhere; what came of it, as JSON."""

    def leftovers(self, journal: str | PathLike[str]) -> str:
        """Find what runs have left, as JSON."""

    def clean(self, journal: str | PathLike[str]) -> str:
        """Give back what runs have left; what was written and what is left, as JSON."""

@final
class Inventory:
    """What was seen."""

    def json(self) -> str:
        """Everything, as JSON."""

    def save(self, path: str | PathLike[str]) -> None:
        """Write the snapshot file."""

@final
class Plan:
    """A plan with the inventory it was made from."""

    @staticmethod
    def load(path: str | PathLike[str]) -> Plan:
        """Read a plan file."""

    def save(self, path: str | PathLike[str]) -> None:
        """Write the plan file."""

    @property
    def hash(self) -> str:
        """The plan's fingerprint."""

    def text(self) -> str:
        """Show the plan as the command line does."""

    def json(self) -> str:
        """Everything, as JSON."""

    def stages(self) -> str:
        """Give the stages, with a title for each step, as JSON."""

    def rehearse(self, runs: int, seed: int, timing: str | PathLike[str] | None) -> str:
        """Execute the plan in the lab, with the times of a file where one is given; the forecast, as JSON."""

@final
class Run:
    """A run under way, or ended."""

    @property
    def id(self) -> str:
        """The run's id."""

    @property
    def journal(self) -> str:
        """The place of the run's journal: a path, or an address."""

    def next(self) -> str | None:
        """Wait for the next event, as JSON; `None` after the last."""

    def stop(self) -> None:
        """Ask the run to stop at a safe point; asked again, at once."""

    def finish(self) -> str:
        """Wait for the end; the report, as JSON."""

    def close(self) -> None:
        """Ask the run to stop at a safe point, unless it was asked before, and wait for the end."""
