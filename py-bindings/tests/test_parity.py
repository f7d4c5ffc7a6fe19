"""The Python classes say the same as the Rust types they are read from.

The two are written by hand, in two languages: a field added on one side and forgotten on the other would be lost in silence.
"""

import dataclasses
import inspect
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from aks_drover import errors, events, model

ROOT = Path(__file__).parents[2]
FIELD = re.compile(r"^\s+(?:pub )?(\w+): ", re.MULTILINE)


def body(file: str, kind: str, name: str, indent: str = "") -> str:
    """Find the text between the braces of a Rust type or variant."""
    folder = ROOT / "upgrade-core" / "src"
    source = (ROOT / file if file.startswith("lab/") else folder / file).read_text()
    head = f"{kind} {name}".strip()
    found = re.search(rf"^{indent}(?:pub )?{head} \{{\n(.*?)^{indent}\}}", source, re.MULTILINE | re.DOTALL)
    assert found, f"{file} has no {head}"
    return found[1]


def snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def json_names(kind: type[Any]) -> set[str]:
    return {field.metadata.get("json", field.name) for field in dataclasses.fields(kind)}


def test_every_kind_of_event_has_a_class() -> None:
    variants = re.findall(r"^    ([A-Z]\w*)(?: \{|,|\()", body("event.rs", "enum", "EventKind"), re.MULTILINE)
    assert len(variants) > 10
    assert {snake(variant) for variant in variants} == {*events.KINDS, "unknown"}


@pytest.mark.parametrize("kind", [*events.KINDS.values()], ids=lambda kind: kind.type)
def test_every_field_of_an_event_is_read(kind: type[events.Event]) -> None:
    common = set(FIELD.findall(body("event.rs", "struct", "Event"))) - {"kind"}
    own = set(FIELD.findall(body("event.rs", "", kind.__name__, "    ")))
    assert json_names(kind) == common | own


@pytest.mark.parametrize(
    ("file", "name", "kind"),
    [
        ("event.rs", "Report", model.Report),
        ("event.rs", "StageRecord", model.StageRecord),
        ("finding.rs", "Finding", model.Finding),
        ("inventory/identity.rs", "ClusterIdentity", model.Identity),
        ("inventory/identity.rs", "Evidence", model.Evidence),
        ("ledger.rs", "Gap", model.Gap),
        ("ledger.rs", "ServiceRecord", model.ServiceRecord),
        ("leftovers/mod.rs", "LeftBehind", model.Leftovers),
        ("leftovers/mod.rs", "Leftover", model.Leftover),
        ("lock/mod.rs", "LockHolder", model.LockHolder),
        ("plan/basis.rs", "Drift", model.Drift),
        ("plan/mod.rs", "Lane", model.Lane),
        ("plan/mod.rs", "Stage", model.Stage),
        ("ports.rs", "Question", model.Question),
        ("lab/src/forecast.rs", "FamilyForecast", model.FamilyForecast),
        ("lab/src/forecast.rs", "Forecast", model.Forecast),
        ("lab/src/forecast.rs", "Spread", model.Spread),
        ("lab/src/forecast.rs", "StageForecast", model.StageForecast),
        ("lab/src/forecast.rs", "UsageForecast", model.UsageForecast),
        ("lab/src/forecast.rs", "ServiceForecast", model.ServiceForecast),
        ("lab/src/forecast.rs", "FailureForecast", model.FailureForecast),
    ],
)
def test_every_field_of_the_model_is_read(file: str, name: str, kind: type[Any]) -> None:
    assert json_names(kind) == set(FIELD.findall(body(file, "struct", name)))


@pytest.mark.parametrize(
    ("name", "kind"), [("RunOutcome", model.RunOutcome), ("StepOutcome", model.StepOutcome)]
)
def test_an_outcome_has_the_fields_of_every_variant(name: str, kind: type[Any]) -> None:
    assert json_names(kind) == {*FIELD.findall(body("event.rs", "enum", name)), "result"}


def test_every_error_that_the_native_module_raises_has_a_class_with_its_parts() -> None:
    source = (ROOT / "py-bindings" / "src" / "error.rs").read_text()
    raised = re.findall(r'=> (?:\{\s+)?\("(\w+)", (?:json!\(\{(.*?)\}\)|remote)', source)
    assert {"ConfigError", "Locked", "RunNotDone", "StalePlan"} <= {name for name, _ in raised}
    for name, parts in raised:
        kind = getattr(errors, name)
        assert issubclass(kind, errors.DroverError)
        assert set(re.findall(r'"(\w+)":', parts)) <= set(inspect.signature(kind).parameters)


def test_a_held_lock_is_the_same_exception_wherever_it_is_met() -> None:
    parts = '{"by": {"holder": "ann:build-7:4711", "since": "2026-11-24T23:05:09Z", "run": "r-7"}}'
    error = errors.from_native("Locked", "somebody works on the cluster", parts, hint="wait", exit_code=3)
    assert isinstance(error, errors.Locked)
    assert (error.exit_code, error.hint, error.report, error.journal) == (3, "wait", None, None)
    assert str(error.by) == "ann:build-7:4711 since 2026-11-24T23:05:09Z for run r-7"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.by) == (str(error), error.by)
