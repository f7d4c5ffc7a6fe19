"""Whole upgrades against the lab, through the same HTTP clients that a real cluster gets."""

from pathlib import Path

import pytest

import aks_drover as drover
from aks_drover import events


def test_an_upgrade_from_the_plan_to_the_proof(lab: Path) -> None:
    cluster = drover.connect("drover.toml", "demo")
    assert cluster.identity.name == cluster.name == "demo"
    assert {evidence.verdict for evidence in cluster.identity.evidence} == {"agrees"}

    # What stands in the way is data, and an exception where it counts.
    assert not [finding for finding in cluster.check(to="1.35") if finding.blocks]
    with pytest.raises(drover.Blocked) as blocked:
        cluster.plan(to="1.39")
    assert [finding.code for finding in blocked.value.findings if finding.blocks] == ["VER-001"]
    assert blocked.value.exit_code == 3

    # A plan is data: the same every time, the same again from its file.
    plan = cluster.plan(to="1.35")
    assert (plan.cluster, plan.from_version) == ("demo", "1.34.2")
    assert plan.target.startswith("1.35.")
    plan.save("plan.json")
    cluster.plan(to=plan.target).save("again.json")
    assert Path("plan.json").read_bytes() == Path("again.json").read_bytes()
    loaded = drover.Plan.load("plan.json")
    assert (loaded.hash, str(loaded)) == (plan.hash, str(plan))
    titles = [step.title for stage in plan.stages for step in stage.steps]
    assert titles[0] == f"upgrade the control plane to {plan.target}"
    assert titles[0] in str(plan)

    cluster.inventory().save("snapshot.json")
    assert len(cluster.inventory().to_dict()["inventory"]["nodes"]) == 9

    forecast = loaded.rehearse(runs=1, seed=7)
    assert (forecast.seed, forecast.runs, forecast.completed, forecast.failures) == (7, 1, 1, ())
    assert [stage.title for stage in forecast.stages] == [stage.title for stage in plan.stages]
    assert {service.runs_with_gap for service in forecast.services} == {0}
    assert forecast == loaded.rehearse(runs=1, seed=7)
    Path("slow.toml").write_text('[azure]\ncontrol_plane = "2h"\n')
    slow = loaded.rehearse(runs=1, seed=7, timing="slow.toml")
    assert slow.stages[0].duration_ms.min >= 7_200_000 > forecast.stages[0].duration_ms.max
    Path("slow.toml").write_text('[azure]\ncontrol_plan = "2h"\n')
    with pytest.raises(drover.ConfigError, match=r"azure\.control_plan: unknown key"):
        loaded.rehearse(runs=1, timing="slow.toml")

    heard = []
    with cluster.apply(loaded) as run:
        for event in run:
            heard.append(event)
    assert [event.seq for event in heard] == list(range(1, len(heard) + 1))
    assert isinstance(heard[0], events.RunStarted)
    assert isinstance(heard[-1], events.RunEnded)
    finished = [event.stage for event in heard if isinstance(event, events.StageFinished)]
    assert finished == [stage.number for stage in plan.stages]

    report = run.result()
    assert report.outcome.result == "done"
    assert report.gaps == ()
    assert len(report.ledger) >= 10
    assert min(record.fewest for record in report.ledger if record.start > 0) >= 1
    assert heard[-1].report == report
    assert Path(run.journal).exists()

    # The cluster is not as it was when the plan was made, and there is nothing left to do.
    with pytest.raises(drover.StalePlan) as stale:
        cluster.apply(plan)
    assert plan.target in [change.is_ for change in stale.value.drift]
    assert cluster.plan(to="1.35").stages == ()


def test_what_is_given_wrong_is_refused_before_anything_is_contacted(lab: Path) -> None:
    with pytest.raises(drover.ConfigError, match="no cluster `demmo`") as misspelt:
        drover.connect("drover.toml", "demmo")
    assert misspelt.value.hint == "did you mean `demo`?"
    assert misspelt.value.exit_code == 2

    with pytest.raises(drover.ConfigError, match=r"nowhere\.toml"):
        drover.connect("nowhere.toml", "demo")

    text = Path("drover.toml").read_text()
    Path("typo.toml").write_text(text.replace("rancher_id", "rancher_idd"))
    with pytest.raises(drover.ConfigError, match="rancher_idd") as typo:
        drover.connect("typo.toml", "demo")
    assert "rancher_id" in str(typo.value.hint)

    cluster = drover.connect("drover.toml", "demo")
    with pytest.raises(drover.ConfigError, match="`to`: `latest`"):
        cluster.plan(to="latest")
    with pytest.raises(drover.ConfigError, match=r"drover\.toml"):
        drover.Plan.load("drover.toml")
    with pytest.raises(drover.ConfigError, match="nothing-here"):
        cluster.resume("nothing-here")
    with pytest.raises(TypeError, match="plain function"):
        cluster.apply(cluster.plan(to="1.35"), gate=lambda_that_awaits)  # type: ignore[arg-type]


async def lambda_that_awaits(question: drover.Question) -> bool:
    return True


def test_where_no_run_is_at_work_there_is_nobody_to_stop_and_nothing_to_give_back(lab: Path) -> None:
    cluster = drover.connect("drover.toml", "demo")
    asked = cluster.abort("demo-20261124-230000-0001")
    assert (asked.result, asked.holder, asked.stopped) == ("nobody_works", None, True)
    with pytest.raises(drover.ConfigError, match="`run`"):
        cluster.abort("No Run")
    left = cluster.leftovers()
    assert (left.cluster, left.at_work, left.left, left.changed_since) == ("demo", None, (), ())
    assert left.unknown[0].startswith("no journal of a run on this cluster was found")
    cleaned = cluster.clean()
    assert (cleaned.written, cleaned.rest) == ((), left)
