"""A cluster whose identity is proven: the way to everything else."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Literal

from . import _native
from ._decode import from_json, list_from_json
from .model import AbortReport, CleanReport, Finding, Identity, Leftovers
from .plan import Inventory, Plan
from .run import Gate, Probe, Run, checked, checked_probes


def connect(config: str | os.PathLike[str], name: str) -> Cluster:
    """Connect to a cluster of a `drover.toml` and prove that Rancher, Azure and Kubernetes mean the same one.

    Reads only; nothing ambient (kubeconfig, `az` login) counts, unless the file names it. Raises `ConfigError` before
    anything is contacted, `IdentityError` if the proof fails, and `RemoteError` if a service does not answer.
    """
    return Cluster(_native.connect(config, name))


class Cluster:
    """A cluster whose identity is proven. Made by `connect`."""

    def __init__(self, native: _native.Cluster) -> None:
        """Come from `connect`."""
        self._native = native

    @property
    def name(self) -> str:
        """The name in `drover.toml`."""
        return self._native.name

    @functools.cached_property
    def identity(self) -> Identity:
        """The names that Rancher, Azure and Kubernetes have for it, with the proof."""
        return from_json(Identity, self._native.identity)

    def inventory(self) -> Inventory:
        """Read everything that a plan rests on."""
        return Inventory(self._native.inventory())

    def check(self, *, to: str) -> list[Finding]:
        """Read the cluster and say what stands in the way of the version `to`; what blocks comes first. Never writes.

        `to` is `1.36`, the newest patch that Azure offers, or `1.36.2`.
        """
        return list_from_json(Finding, self._native.check(to))

    def plan(self, *, to: str) -> Plan:
        """Read the cluster, check it, and plan the upgrade to the version `to`. Never writes.

        Raises `Blocked`, with every finding, if something stands in the way.
        """
        return Plan(self._native.plan(to))

    def apply(
        self,
        plan: Plan,
        *,
        gate: Gate | None = None,
        probes: Mapping[str, Probe] | None = None,
        journal: str | os.PathLike[str] = "./journal",
        approve: Literal["none", "stage", "step"] = "none",
        on_failure: Literal["hold", "reverse"] = "hold",
    ) -> Run:
        """Begin to execute a plan.

        Raises `StalePlan` or `IdentityError`, and changes nothing, if the cluster is not as it was when the plan was made.
        The run works in the background from now on; see `Run` for how to follow and to stop it.

        `gate` is asked what only a person can answer: it takes a `Question` and returns `True` to go on or `False` to pause
        the run. It is called on another thread and may take its time. Without a gate every question pauses the run.

        `probes` are signs of your own that all is well, by name, beside those of the policy: each is called before every stage,
        and every minute while a soak lasts. It takes nothing and returns `True`, or else `False` or a text that says what is
        not well; an exception means that it could not be asked. Whatever is not `True` makes the run ask the gate. Called on
        another thread.

        `journal` is where the run is written down: a directory, or `az://CONTAINER/FOLDER` in the storage account of the table
        `[journal]` of `drover.toml`.

        `approve` is before what the gate is asked, beside what it is asked in any case (a gap that nobody accepted, a freeze of
        the policy, a probe that is not green, a soak that does not end, maintenance of Azure's own): before nothing else, each
        stage, or each step that changes something.

        `on_failure` is what happens when a step fails: the run holds, or it brings the workloads back to the nodes that they
        came from and deletes the buffer, as long as those nodes are not upgraded.
        """
        return Run(
            self._native.apply(
                plan._native, journal, checked(gate), checked_probes(probes), approve, on_failure
            )
        )

    def resume(
        self,
        run: str | os.PathLike[str],
        *,
        gate: Gate | None = None,
        probes: Mapping[str, Probe] | None = None,
        journal: str | os.PathLike[str] = "./journal",
        approve: str | None = None,
        on_failure: Literal["hold", "reverse"] | None = None,
    ) -> Run:
        """Go on with a run that was paused, aborted, held or killed.

        `run` is the run's id, looked up where `journal` says, or its journal: a file, or `az://CONTAINER/FOLDER/RUN`.

        A run that was begun with `probes` asks them to its end: give them again.

        `approve` is the id of the question that a paused run waits for (`Paused.question`), and means "go on".

        `on_failure` is what happens when a step fails from now on; without it, what was said when the run began.
        """
        return Run(
            self._native.resume(run, journal, checked(gate), checked_probes(probes), approve, on_failure)
        )

    def abort(self, run: str, *, at_once: bool = False, wait: float = 600) -> AbortReport:
        """Ask a run to stop that works elsewhere: in another process, or on another machine.

        The request travels through the cluster's lock, which the run's process renews; the run stops at a safe point,
        as after Ctrl-C, and raises `Aborted` there. With `at_once` it does not wait for what is under way. Waits until
        the run has let go of the cluster, but no longer than `wait` seconds. Where no run, another run or a dead process
        holds the lock, nothing is written, and `result` says so.
        """
        return from_json(AbortReport, self._native.abort(run, at_once, wait))

    def leftovers(self, *, journal: str | os.PathLike[str] = "./journal") -> Leftovers:
        """Find what interrupted runs have left behind. Never writes.

        Looks at the cluster, at Azure and into the journals at `journal`; where somebody holds the lock, up to a minute
        is waited for a sign of life.
        """
        return from_json(Leftovers, self._native.leftovers(journal))

    def clean(self, *, journal: str | os.PathLike[str] = "./journal") -> CleanReport:
        """Give back what interrupted runs have left behind, under the lock of the cluster.

        Those runs are given up: they cannot be resumed. What can only be given back by hand is in `rest.left`, with the
        command. Raises `Locked`, as a run does, and changes nothing, if a run is at work on the cluster. Ctrl-C stops
        before the next write.
        """
        return from_json(CleanReport, self._native.clean(journal))

    def __repr__(self) -> str:
        return f"<Cluster {self.name}>"
