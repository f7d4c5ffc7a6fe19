"""Kubernetes' official Python client on the lab, unchanged, through the lab's Rancher."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support import running_lab

kubernetes: Any = pytest.importorskip("kubernetes", reason="the package `kubernetes` is not installed")
client: Any = kubernetes.client

LABELS = {"app": "web"}
WEB = {
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {"containers": [{"name": "web", "image": "registry.example/web:1"}]},
        },
    },
}
BUDGET = {"metadata": {"name": "web"}, "spec": {"minAvailable": 2, "selector": {"matchLabels": LABELS}}}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Any]:
    with running_lab(tmp_path, time_scale=60):
        # The lab writes a kubeconfig whose address has the token in it.
        kubeconfig = json.loads((tmp_path / "kubeconfig").read_text())
        server = urlsplit(kubeconfig["clusters"][0]["cluster"]["server"])
        configuration = client.Configuration()
        configuration.host = f"http://{server.hostname}:{server.port}{server.path}"
        configuration.api_key = {"authorization": f"Bearer {server.username}:{server.password}"}
        with client.ApiClient(configuration) as connection:
            yield connection


def refused(call: Any, *arguments: Any, **named: Any) -> tuple[int, dict[str, Any]]:
    """Make a call that is refused, and give the status and the `Status` that says why."""
    with pytest.raises(client.ApiException) as refusal:
        call(*arguments, **named)
    status = json.loads(refusal.value.body)
    assert status["kind"] == "Status"
    assert status["code"] == refusal.value.status
    return refusal.value.status, status


def until_ready(apps: Any, deployment: Any) -> None:
    """Watch a Deployment from what was just read of it until its rollout has come to its end."""
    watch = kubernetes.watch.Watch()
    version = deployment.metadata.resource_version
    generation = deployment.metadata.generation
    for event in watch.stream(
        apps.list_namespaced_deployment, "web", resource_version=version, timeout_seconds=60
    ):
        status, wanted = event["object"].status, event["object"].spec.replicas
        counts = (status.replicas, status.updated_replicas, status.ready_replicas)
        if status.observed_generation == generation and counts == (wanted, wanted, wanted):
            return
    pytest.fail("the rollout did not come to its end")


def test_everything_is_listed_in_pages(api: Any) -> None:
    assert client.VersionApi(api).get_code().git_version.startswith("v1.34.")
    core = client.CoreV1Api(api)
    whole = [pod.metadata.uid for pod in core.list_pod_for_all_namespaces().items]
    page = core.list_pod_for_all_namespaces(limit=40)
    pages = [page]
    while page.metadata._continue:
        page = core.list_pod_for_all_namespaces(limit=40, _continue=page.metadata._continue)
        pages.append(page)
    assert len(pages) == 3
    assert [pod.metadata.uid for page in pages for pod in page.items] == whole
    nodes = core.list_node(label_selector="kubernetes.azure.com/mode=user").items
    assert len(nodes) == 6
    status, body = refused(core.list_pod_for_all_namespaces, _continue="nonsense")
    assert (status, body["reason"]) == (400, "BadRequest")


def test_a_deployment_is_made_patched_and_protected(api: Any) -> None:
    core, apps, policy = client.CoreV1Api(api), client.AppsV1Api(api), client.PolicyV1Api(api)
    core.create_namespace({"metadata": {"name": "web"}})
    made = apps.create_namespaced_deployment("web", WEB)
    assert made.spec.strategy.rolling_update.max_surge == "25%"
    until_ready(apps, made)

    # A dict is a strategic merge, a list a JSON patch.
    annotation = {"spec": {"template": {"metadata": {"annotations": {"restarted": "once"}}}}}
    patched = apps.patch_namespaced_deployment("web", "web", annotation)
    assert patched.metadata.generation == 2
    until_ready(apps, patched)
    pause = [{"op": "add", "path": "/metadata/annotations/note", "value": "seen"}]
    assert apps.patch_namespaced_deployment("web", "web", pause).metadata.annotations["note"] == "seen"
    scale = apps.read_namespaced_deployment_scale("web", "web")
    assert (scale.spec.replicas, scale.status.selector) == (2, "app=web")

    # An update with a version of long ago, and one that the rules forbid.
    assert refused(apps.replace_namespaced_deployment, "web", "web", made)[1]["reason"] == "Conflict"
    status, body = refused(
        apps.patch_namespaced_deployment,
        "web",
        "web",
        {"spec": {"selector": {"matchLabels": {"app": "other"}}}},
    )
    assert (status, body["reason"]) == (422, "Invalid")
    assert "spec.selector" in {cause["field"] for cause in body["details"]["causes"]}
    assert refused(core.read_namespaced_pod, "nobody", "web")[1]["reason"] == "NotFound"

    budget = policy.create_namespaced_pod_disruption_budget("web", BUDGET)
    watch = kubernetes.watch.Watch()
    for event in watch.stream(
        policy.list_namespaced_pod_disruption_budget,
        "web",
        resource_version=budget.metadata.resource_version,
        timeout_seconds=60,
    ):
        if event["object"].status.current_healthy == 2:
            break
    pods = core.list_namespaced_pod("web", label_selector="app=web").items
    pod = next(pod.metadata.name for pod in pods if pod.metadata.deletion_timestamp is None)
    eviction = {"metadata": {"name": pod}}
    status, body = refused(core.create_namespaced_pod_eviction, pod, "web", eviction)
    assert (status, body["details"]["causes"][0]["reason"]) == (429, "DisruptionBudget")
    policy.delete_namespaced_pod_disruption_budget("web", "web")
    core.create_namespaced_pod_eviction(pod, "web", eviction)
    reasons = {event.reason for event in core.list_namespaced_event("web").items}
    assert {"Scheduled", "Pulling", "Started", "ScalingReplicaSet"} <= reasons


def test_a_node_is_cordoned_and_drained_by_hand(api: Any) -> None:
    core = client.CoreV1Api(api)
    node = core.list_namespaced_pod("shop").items[0].spec.node_name
    assert core.patch_node(node, {"spec": {"unschedulable": True}}).spec.unschedulable is True
    pods = core.list_pod_for_all_namespaces(field_selector=f"spec.nodeName={node}")
    mine = [pod for pod in pods.items if pod.metadata.owner_references[0].kind == "ReplicaSet"]
    for pod in mine:
        name, namespace = pod.metadata.name, pod.metadata.namespace
        options = {"preconditions": {"uid": pod.metadata.uid}}
        try:
            core.create_namespaced_pod_eviction(
                name, namespace, {"metadata": {"name": name}, "deleteOptions": options}
            )
        except client.ApiException as refusal:
            assert refusal.status == 429  # noqa: PT017
    watch = kubernetes.watch.Watch()
    for event in watch.stream(
        core.list_pod_for_all_namespaces,
        field_selector=f"spec.nodeName={node}",
        resource_version=pods.metadata.resource_version,
        timeout_seconds=60,
    ):
        if event["type"] == "DELETED":
            break
    else:
        pytest.fail("nobody left")


def test_the_dynamic_client_discovers_the_kinds(api: Any) -> None:
    dynamic = kubernetes.dynamic.DynamicClient(api)
    deployments = dynamic.resources.get(api_version="apps/v1", kind="Deployment")
    assert {found.metadata.name for found in deployments.get(namespace="shop").items} >= {
        "web",
        "api",
        "cart",
    }
