"""A Service that loses its last endpoint makes the run ask, and a gate in Python answers."""

import json
import re
import urllib.request
from pathlib import Path

import pytest

import aks_drover as drover
from aks_drover import events
from support import running_lab


def delete_the_pod(folder: Path, namespace: str, workload: str) -> None:
    """Do what somebody else does at the worst moment: delete a workload's only pod, which no budget prevents."""
    text = (folder / "drover.toml").read_text()
    (url,) = set(re.findall(r'^url = "(.*)"$', text, re.MULTILINE))
    (cluster,) = re.findall(r'^rancher_id = "(.*)"$', text, re.MULTILINE)
    (token,) = re.findall(r'^token = { file = "(.*)" }$', text, re.MULTILINE)
    pods = f"{url}/k8s/clusters/{cluster}/api/v1/namespaces/{namespace}/pods"
    headers = {"Authorization": f"Bearer {Path(token).read_text().strip()}"}
    with urllib.request.urlopen(urllib.request.Request(pods, headers=headers)) as answer:
        names = [pod["metadata"]["name"] for pod in json.load(answer)["items"]]
    (name,) = [name for name in names if name.startswith(f"{workload}-")]
    urllib.request.urlopen(urllib.request.Request(f"{pods}/{name}", headers=headers, method="DELETE")).close()


def test_a_gap_that_nobody_accepted_is_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    questions: list[drover.Question] = []

    def nobody_answers(question: drover.Question) -> bool:
        questions.append(question)
        raise LookupError("nobody answers the telephone")

    def go_on(question: drover.Question) -> bool:
        questions.append(question)
        return True

    # Slow enough for a pod's start to be seen by everybody.
    with running_lab(tmp_path, time_scale=60):
        cluster = drover.connect("drover.toml", "demo")
        run = cluster.apply(cluster.plan(to="1.35"), gate=nobody_answers)
        heard: list[events.Event] = []
        with pytest.raises(LookupError, match="telephone"):
            for event in run:
                heard.append(event)
                if isinstance(event, events.StageStarted):
                    delete_the_pod(tmp_path, "docs", "blog")
        with pytest.raises(LookupError, match="telephone"):
            run.result()
        ended = heard[-1]
        assert isinstance(ended, events.RunEnded)
        assert ended.report.outcome.result == "paused"
        assert [event.question for event in heard if isinstance(event, events.Asked)] == questions
        assert "docs/blog" in questions[0].text

        # Whoever takes the run up again has somebody who answers.
        questions.clear()
        with cluster.resume(run.journal, gate=go_on) as run:
            for event in run:
                if isinstance(event, events.StageStarted):
                    delete_the_pod(tmp_path, "docs", "blog")
                if questions and isinstance(event, events.GapClosed):
                    assert event.gap.service == "docs/blog"
                    break
        assert len(questions) == 1
        with pytest.raises(drover.Aborted) as stopped:
            run.result()
        assert stopped.value.report is not None
        assert {gap.service for gap in stopped.value.report.gaps} == {"docs/blog"}
