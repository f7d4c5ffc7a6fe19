"""What went wrong can be told apart by type, and everything that belongs to it travels with it."""

import dataclasses
import pickle
from pathlib import Path

import pytest

import aks_drover as drover
from aks_drover.errors import RunNotDone
from aks_drover.model import Drift, Evidence, LockHolder, Question, RunOutcome, StageRecord
from aks_drover.run import _refuse

EXIT_CODES = {
    drover.Aborted: 130,
    drover.Blocked: 3,
    drover.ConfigError: 2,
    drover.DroverError: 1,
    drover.IdentityError: 3,
    drover.IdentityLost: 3,
    drover.Locked: 3,
    drover.Paused: 4,
    drover.RemoteError: 1,
    drover.StalePlan: 5,
    drover.UpgradeFailed: 1,
}


def report(outcome: RunOutcome) -> drover.Report:
    return drover.Report(
        run="r-1",
        cluster="demo",
        from_version="1.35.1",
        target="1.36.0",
        outcome=outcome,
        stages=(),
        ledger=(),
        holding=("buffer userbf with 3 nodes",),
        duration_ms=1,
    )


@pytest.mark.parametrize("kind", EXIT_CODES)
def test_every_error_is_a_drover_error_with_its_exit_code(kind: type[drover.DroverError]) -> None:
    error = kind("it did not work", hint="try again")
    assert isinstance(error, drover.DroverError)
    assert (str(error), error.hint, error.exit_code) == ("it did not work", "try again", EXIT_CODES[kind])


def test_a_wrong_value_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="wrong"):
        raise drover.ConfigError("wrong")


def test_an_error_survives_the_way_to_another_process() -> None:
    drift = (Drift(what="pool user", was="3 nodes", is_=None),)
    error = pickle.loads(pickle.dumps(drover.StalePlan("stale", hint="plan again", drift=drift)))
    assert isinstance(error, drover.StalePlan)
    assert (str(error), error.hint, error.exit_code, error.drift) == ("stale", "plan again", 5, drift)


def test_the_evidence_of_a_wrong_cluster_is_kept() -> None:
    evidence = (Evidence(what="CA", verdict="contradicts", detail="a1 is not b2"),)
    assert drover.IdentityError("another cluster", evidence=evidence).evidence == evidence


def test_a_held_run_names_the_step_the_cause_and_the_way_on() -> None:
    held = RunOutcome(result="held", step="3.1.2", title="drain user", cause="a budget allows nothing")
    with pytest.raises(drover.UpgradeFailed) as caught:
        _refuse(report(held), Path("journal/r-1.jsonl"))
    error = caught.value
    assert (error.step, error.cause) == ("3.1.2", "a budget allows nothing")
    assert error.journal == Path("journal/r-1.jsonl")
    assert "drain user" in str(error)
    assert "buffer userbf" in str(error)
    assert error.hint == 'go on with `cluster.resume("journal/r-1.jsonl")`'


def test_a_reversed_run_names_what_stays_and_is_over() -> None:
    stays = ("the control plane runs 1.35.1",)
    back = RunOutcome(
        result="reversed", step="3.1.2", title="drain user", cause="a budget allows nothing", stays=stays
    )
    with pytest.raises(drover.UpgradeFailed, match="brought back; the control plane runs") as caught:
        _refuse(report(back), Path("journal/r-1.jsonl"))
    assert (caught.value.step, caught.value.cause) == ("3.1.2", "a budget allows nothing")
    assert caught.value.hint == "mend the cause, and make a new plan"


@pytest.mark.parametrize(
    ("outcome", "kind", "text"),
    [
        (RunOutcome(result="paused", question=Question(id="q", text="go on?")), drover.Paused, "go on?"),
        (RunOutcome(result="aborted"), drover.Aborted, "safe point"),
        (RunOutcome(result="identity_lost", why="another uid"), drover.IdentityLost, "another uid"),
        (
            RunOutcome(result="locked", by=LockHolder(holder="ann:build-7:4711", since=None, run="r-7")),
            drover.Locked,
            "locked by ann:build-7:4711 for run r-7",
        ),
    ],
)
def test_every_other_end_has_its_own_error(outcome: RunOutcome, kind: type[RunNotDone], text: str) -> None:
    with pytest.raises(kind, match=text) as caught:
        _refuse(report(outcome), Path("journal/r-1.jsonl"))
    assert caught.value.report is not None
    assert caught.value.report.outcome == outcome
    assert getattr(caught.value, "by", None) == outcome.by


def test_a_cluster_that_was_lost_in_the_middle_holds() -> None:
    lost = report(RunOutcome(result="identity_lost", why="another uid"))
    begun = dataclasses.replace(lost, stages=(StageRecord(number=1, title="control plane", duration_ms=7),))
    with pytest.raises(drover.IdentityLost) as caught:
        _refuse(begun, Path("journal/r-1.jsonl"))
    assert caught.value.exit_code == 1


def test_an_end_of_tomorrow_is_not_taken_for_success() -> None:
    with pytest.raises(drover.DroverError, match="teleported"):
        _refuse(report(RunOutcome(result="teleported")), Path("journal/r-1.jsonl"))


def test_a_paused_run_hands_over_its_question() -> None:
    question = Question(id="q", text="go on?")
    error = drover.Paused("paused", report=report(RunOutcome(result="paused", question=question)))
    assert error.question == question
