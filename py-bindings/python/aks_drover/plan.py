"""Inventories and plans: what was seen, and what will be done."""

from __future__ import annotations

import functools
import json
import os
from typing import Any

from . import _native
from ._decode import build, from_json, list_from_json
from .model import Finding, Forecast, Stage


class Inventory:
    """What was seen of a cluster, when, and what could not be seen. Holds no secret and no environment value."""

    def __init__(self, native: _native.Inventory) -> None:
        """Come from `Cluster.inventory`."""
        self._native = native

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the snapshot file, whole or not at all. `aks-drover rehearse` reads it."""
        self._native.save(path)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data, a new copy each time."""
        data: dict[str, Any] = json.loads(self._native.json())
        return data


class Plan:
    """An upgrade, decided: immutable data that leaves the run no choice.

    Made by `Cluster.plan` or read by `Plan.load`. `str(plan)` is the text that the command line shows. The same cluster,
    policy and version always give the same bytes.
    """

    def __init__(self, native: _native.Plan) -> None:
        """Come from `Cluster.plan` or `Plan.load`."""
        self._native = native

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plan:
        """Read a plan file. Raises `ConfigError` for a file that is not a plan, or one of another major format."""
        return cls(_native.Plan.load(path))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan file, whole or not at all. `aks-drover apply` takes it too."""
        self._native.save(path)

    @property
    def hash(self) -> str:
        """The plan's fingerprint, for approvals: 16 hexadecimal digits."""
        return self._native.hash

    @functools.cached_property
    def _data(self) -> dict[str, Any]:
        return self.to_dict()["plan"]  # type: ignore[no-any-return]

    @property
    def cluster(self) -> str:
        """The name of the cluster it is for."""
        name: str = self._data["cluster"]["name"]
        return name

    @property
    def from_version(self) -> str:
        """The control plane's version when the plan was made."""
        version: str = self._data["from"]
        return version

    @property
    def target(self) -> str:
        """The version to reach."""
        version: str = self._data["target"]
        return version

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the checks said; none of it blocks."""
        return tuple(build(Finding, raw) for raw in self._data["findings"])

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What will be done, in order. Empty if there is nothing to do."""
        return tuple(list_from_json(Stage, self._native.stages()))

    def to_dict(self) -> dict[str, Any]:
        """Give the plan file as plain data, a new copy each time."""
        data: dict[str, Any] = json.loads(self._native.json())
        return data

    def rehearse(
        self, *, runs: int = 20, seed: int = 1, timing: str | os.PathLike[str] | None = None
    ) -> Forecast:
        """Execute the plan `runs` times in a simulated copy of the cluster, in virtual time. Contacts nothing.

        The same plan, runs, seed and timing give the same forecast. `timing` is a file that says how long things take, in the
        form of the lab's own table (`lab/timing.toml`); what it leaves out stays as there.
        """
        return from_json(Forecast, self._native.rehearse(runs, seed, timing))

    def __str__(self) -> str:
        return self._native.text()

    def __repr__(self) -> str:
        return f"<Plan {self.hash}: {self.cluster} {self.from_version} to {self.target}>"
