"""Upgrades AKS clusters with zero downtime, through Rancher and ARM.

From the configuration to the proof:

    import aks_drover as drover

    cluster = drover.connect("drover.toml", "shop-acc")
    plan = cluster.plan(to="1.36")
    print(plan)
    with cluster.apply(plan) as run:
        for event in run:
            print(event)
    report = run.result()
"""

from . import errors, events, model
from ._native import __version__
from .cluster import Cluster, connect
from .errors import (
    Aborted,
    Blocked,
    ConfigError,
    DroverError,
    IdentityError,
    IdentityLost,
    Locked,
    Paused,
    RemoteError,
    RunNotDone,
    StalePlan,
    UpgradeFailed,
)
from .model import (
    AbortReport,
    CleanReport,
    Finding,
    Forecast,
    Identity,
    Leftover,
    Leftovers,
    Question,
    Report,
)
from .plan import Inventory, Plan
from .run import Gate, Probe, Run

__all__ = [
    "AbortReport",
    "Aborted",
    "Blocked",
    "CleanReport",
    "Cluster",
    "ConfigError",
    "DroverError",
    "Finding",
    "Forecast",
    "Gate",
    "Identity",
    "IdentityError",
    "IdentityLost",
    "Inventory",
    "Leftover",
    "Leftovers",
    "Locked",
    "Paused",
    "Plan",
    "Probe",
    "Question",
    "RemoteError",
    "Report",
    "Run",
    "RunNotDone",
    "StalePlan",
    "UpgradeFailed",
    "__version__",
    "connect",
    "errors",
    "events",
    "model",
]
