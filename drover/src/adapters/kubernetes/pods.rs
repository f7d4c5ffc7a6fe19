//! Pods and pod templates: what they ask for and where they may run.

use jiff::Timestamp;
use upgrade_core::model::{
    AffinityTerm, ContainerReport, ImagePull, LabelExpression, LabelOperator, NodeRequirement,
    NodeSelectorOperator, NodeSelectorTerm, PREWARM_LABEL, Pod, PodPhase, PodTemplate, PullAccess, PullState,
    Pulling, Resources, RestartId, RunId, SchedulingRules, SpreadRule, Toleration, TolerationOperator,
};
use upgrade_core::prewarm::PREWARM_CONTAINER;

use super::decode::{
    DecodeError, condition, effect, node_name, object_name, owner, resources, selector, uid,
};
use super::wire;

/// What Kubernetes gives a pod that does not say how long it may take to end (core/v1 defaults).
const DEFAULT_GRACE: u32 = 30;

pub(super) fn pod(pod: wire::Pod) -> Result<Pod, DecodeError> {
    let wire::Pod { metadata: meta, spec, status } = pod;
    let ready = condition(status.conditions.as_ref(), "Ready").filter(|ready| ready.status == "True");
    let since = ready.and_then(|ready| ready.last_transition_time.as_deref());
    Ok(Pod {
        name: object_name(&meta)?,
        uid: uid(&meta)?,
        node: spec
            .node_name
            .clone()
            .filter(|name| !name.is_empty())
            .map(|name| node_name(&meta, name))
            .transpose()?,
        owner: owner(&meta)?,
        phase: phase(status.phase.as_deref()),
        ready: ready.is_some(),
        ready_since: since.and_then(|text| text.parse::<Timestamp>().ok()),
        terminating: meta.deletion_timestamp.is_some(),
        mirror: meta.annotations.as_ref().is_some_and(|annotations| annotations.mirror.is_some()),
        requests: requests(&meta, &spec)?,
        priority: spec.priority.unwrap_or(0),
        claims: claims(&spec),
        empty_dir: has_empty_dir(&spec),
        images: images(spec.containers.as_ref()),
        init_images: images(spec.init_containers.as_ref()),
        image_ids: image_ids(&spec, &status).into(),
        pull_access: pull_access(&spec).into(),
        pulling: pulling(&meta, &spec, &status),
        grace_seconds: grace(&spec),
        restarts: restarts(&status),
        trouble: trouble(&status),
        rules: rules(spec).into(),
        labels: meta.labels.unwrap_or_default().into(),
    })
}

/// A template; `claim_templates` is the StatefulSet's to say.
pub(super) fn template(
    meta: &wire::Meta,
    template: wire::Template,
    claim_templates: bool,
) -> Result<PodTemplate, DecodeError> {
    let wire::Template { metadata, spec } = template;
    let (readiness_probe, unprobed) = says_when_ready(&spec);
    let restart_id = metadata.annotations.and_then(|annotations| annotations.restart_id);
    Ok(PodTemplate {
        labels: metadata.labels.unwrap_or_default(),
        // Somebody else's value is nobody's restart.
        restart_id: restart_id.and_then(|text| RestartId::new(text).ok()),
        requests: requests(meta, &spec)?,
        readiness_probe,
        unprobed,
        claims: claims(&spec),
        claim_templates,
        limits: limits(meta, &spec)?,
        empty_dir: has_empty_dir(&spec),
        host_path: spec.volumes.iter().flatten().any(|volume| volume.host_path.is_some()),
        pre_stop: spec.containers.iter().flatten().any(waits_before_its_end),
        kubelet_features: kubelet_features(&spec),
        images: images(spec.containers.as_ref()),
        init_images: images(spec.init_containers.as_ref()),
        pull_access: pull_access(&spec),
        grace_seconds: grace(&spec),
        priority: spec.priority.unwrap_or(0),
        rules: rules(spec),
    })
}

fn phase(text: Option<&str>) -> PodPhase {
    match text.unwrap_or_default() {
        "Pending" | "" => PodPhase::Pending,
        "Running" => PodPhase::Running,
        "Succeeded" => PodPhase::Succeeded,
        "Failed" => PodPhase::Failed,
        other => PodPhase::Unknown(other.to_owned()),
    }
}

/// Does every container have a readiness probe, or the pod a readiness gate; and is there none of either?
fn says_when_ready(spec: &wire::PodSpec) -> (bool, bool) {
    let gated = spec.readiness_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    let containers = spec.containers.as_deref().unwrap_or_default();
    let probed = containers.iter().filter(|container| container.readiness_probe.is_some()).count();
    (gated || probed > 0 && probed == containers.len(), !gated && probed == 0)
}

/// Does it keep data on the node's disk that goes with it?
fn has_empty_dir(spec: &wire::PodSpec) -> bool {
    let dirs = spec.volumes.iter().flatten().filter_map(|volume| volume.empty_dir.as_ref());
    dirs.into_iter().any(|dir| dir.medium.as_deref() != Some("Memory"))
}

fn waits_before_its_end(container: &wire::Container) -> bool {
    container.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.pre_stop.is_some())
}

/// What only kubelets of 1.36 or newer can do, and the scheduler of such a control plane asks of a node (Kubernetes: plugin
/// NodeDeclaredFeatures).
fn kubelet_features(spec: &wire::PodSpec) -> Vec<String> {
    let rules = spec
        .containers
        .iter()
        .flatten()
        .flat_map(|container| container.restart_policy_rules.iter().flatten());
    let restarts_all = rules.into_iter().any(|rule| rule.action.as_deref() == Some("RestartAllContainers"));
    let users_on_host = spec.host_users == Some(false) && spec.host_network == Some(true);
    [
        (restarts_all, "restarting all containers by rule"),
        (users_on_host, "user namespaces on the host's network"),
    ]
    .into_iter()
    .filter(|(asked, _)| *asked)
    .map(|(_, feature)| feature.to_owned())
    .collect()
}

/// The limits of the containers together, as a quota counts them.
fn limits(meta: &wire::Meta, spec: &wire::PodSpec) -> Result<Resources, DecodeError> {
    let mut limits = Resources::default();
    for container in spec.containers.iter().flatten() {
        let of = container.resources.as_ref().and_then(|requirements| requirements.limits.as_ref());
        limits += resources(meta, of)?;
    }
    Ok(limits)
}

fn claims(spec: &wire::PodSpec) -> Vec<String> {
    let volumes = spec.volumes.iter().flatten();
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone())).collect()
}

fn images(containers: Option<&Vec<wire::Container>>) -> Vec<String> {
    containers.into_iter().flatten().filter_map(|container| container.image.clone()).collect()
}

/// What the images of the containers are, as far as they are there; nothing while none is.
fn image_ids(spec: &wire::PodSpec, status: &wire::PodStatus) -> Vec<String> {
    let containers = spec.containers.iter().flatten().filter(|container| container.image.is_some());
    let id = |container: &wire::Container| reported(status, container)?.image_id.clone();
    let ids: Vec<String> = containers.map(|container| id(container).unwrap_or_default()).collect();
    if ids.iter().all(String::is_empty) { Vec::new() } else { ids }
}

fn reported<'s>(
    status: &'s wire::PodStatus,
    container: &wire::Container,
) -> Option<&'s wire::ContainerStatus> {
    let mut statuses = status.container_statuses.iter().flatten();
    statuses.find(|status| status.name.is_some() && status.name == container.name)
}

/// Restarts of all its containers, those that only prepare among them.
fn restarts(status: &wire::PodStatus) -> u32 {
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let counts = containers.filter_map(|container| u32::try_from(container.restart_count?).ok());
    counts.fold(0, u32::saturating_add)
}

fn pull_access(spec: &wire::PodSpec) -> PullAccess {
    let secrets = spec.image_pull_secrets.iter().flatten().filter_map(|secret| secret.name.clone());
    PullAccess {
        service_account: spec.service_account_name.clone().filter(|name| !name.is_empty()),
        secrets: secrets.filter(|name| !name.is_empty()).collect(),
    }
}

/// How far a pod is that a run has made to have images pulled; `None` for every other pod.
fn pulling(meta: &wire::Meta, spec: &wire::PodSpec, status: &wire::PodStatus) -> Option<Box<Pulling>> {
    meta.labels.as_ref()?.get(PREWARM_LABEL)?;
    let run = RunId::new(meta.annotations.as_ref()?.run.clone()?).ok()?;
    // Whoever adds containers to every pod has not added one of ours.
    let ours = |container: &&wire::Container| {
        container.name.as_ref().is_some_and(|name| name.starts_with(PREWARM_CONTAINER))
    };
    let images = spec.containers.iter().flatten().filter(ours).map(|container| ImagePull {
        image: container.image.clone().unwrap_or_default(),
        state: reported(status, container).map_or(PullState::Waiting, pull_state),
    });
    let failed = phase(status.phase.as_deref()) == PodPhase::Failed;
    let refused = status.reason.as_ref().filter(|_| failed).map(|reason| match &status.message {
        Some(message) => format!("{reason}: {message}"),
        None => reason.clone(),
    });
    Some(Box::new(Pulling { run, images: images.collect(), refused }))
}

fn pull_state(status: &wire::ContainerStatus) -> PullState {
    let state = status.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let ended = state.and_then(|state| state.terminated.as_ref());
    PullState::of(ContainerReport {
        image_id: status.image_id.as_deref().unwrap_or_default(),
        has_run: state.is_some_and(|state| state.running.is_some())
            || ended.is_some_and(|ended| ended.reason.as_deref() != Some(NOBODY_KNOWS)),
        reason: waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default(),
        message: waiting.and_then(|waiting| waiting.message.as_deref()).unwrap_or_default(),
    })
}

fn grace(spec: &wire::PodSpec) -> u32 {
    // Negative is legal and means "at once".
    spec.termination_grace_period_seconds.map_or(DEFAULT_GRACE, |seconds| u32::try_from(seconds).unwrap_or(0))
}

/// What the scheduler reserves (Kubernetes: "effective request"): the containers and the sidecars together, or the hungriest
/// init container with the sidecars started before it, whichever is more; requests of the whole pod win over both; and
/// the runtime's overhead.
fn requests(meta: &wire::Meta, spec: &wire::PodSpec) -> Result<Resources, DecodeError> {
    let of = |requirements: Option<&wire::Requirements>| {
        resources(meta, requirements.and_then(|requirements| requirements.requests.as_ref()))
    };
    let mut sidecars = Resources::default();
    let mut hungriest = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let wanted = of(container.resources.as_ref())?;
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars += wanted;
            hungriest = hungriest.max(sidecars);
        } else {
            hungriest = hungriest.max(sidecars + wanted);
        }
    }
    let mut running = sidecars;
    for container in spec.containers.iter().flatten() {
        running += of(container.resources.as_ref())?;
    }
    let mut effective = running.max(hungriest);
    let whole_pod = spec.resources.as_ref().and_then(|requirements| requirements.requests.as_ref());
    if let Some(amounts) = whole_pod {
        let asked = resources(meta, Some(amounts))?;
        if amounts.contains_key("cpu") {
            effective.cpu = asked.cpu;
        }
        if amounts.contains_key("memory") {
            effective.memory = asked.memory;
        }
    }
    Ok(effective + resources(meta, spec.overhead.as_ref())?)
}

/// What the kubelet says of a container that it has lost, or never had.
const NOBODY_KNOWS: &str = "ContainerStatusUnknown";

/// Steps of an ordinary start, which are no trouble.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// Why a pod is not running, in the scheduler's or the kubelet's word.
fn trouble(status: &wire::PodStatus) -> Option<String> {
    let scheduled = condition(status.conditions.as_ref(), "PodScheduled");
    if let Some(reason) = scheduled.filter(|c| c.status == "False").and_then(|c| c.reason.clone()) {
        return Some(reason);
    }
    let init = status.init_container_statuses.iter().flatten();
    let containers = init.chain(status.container_statuses.iter().flatten());
    let mut reasons = containers.filter_map(|c| c.state.as_ref()?.waiting.as_ref()?.reason.as_ref());
    reasons.find(|reason| !STARTING.contains(&reason.as_str())).cloned()
}

fn rules(spec: wire::PodSpec) -> SchedulingRules {
    let host_ports = host_ports(&spec);
    let affinity = spec.affinity;
    let (node, pod, anti) = match affinity {
        Some(affinity) => (affinity.nodes, affinity.pods, affinity.not_pods),
        None => (None, None, None),
    };
    let required = node.and_then(|node| node.required);
    let terms = required.and_then(|required| required.node_selector_terms).unwrap_or_default();
    let spread = spec.topology_spread_constraints.unwrap_or_default();
    SchedulingRules {
        node_selector: spec.node_selector.unwrap_or_default(),
        node_affinity: terms.into_iter().map(node_term).collect(),
        tolerations: spec.tolerations.unwrap_or_default().into_iter().map(toleration).collect(),
        pod_affinity: affinity_terms(pod),
        pod_anti_affinity: affinity_terms(anti),
        spread: spread.into_iter().filter_map(spread_rule).collect(),
        host_ports,
    }
}

/// On the host's network every port of a container is a port of the node.
fn host_ports(spec: &wire::PodSpec) -> Vec<u16> {
    let on_host = spec.host_network.unwrap_or(false);
    let ports = spec.containers.iter().flatten().flat_map(|container| container.ports.iter().flatten());
    let taken = ports.filter_map(|port| port.host_port.or(port.container_port.filter(|_| on_host)));
    taken.filter(|port| *port != 0).collect()
}

pub(super) fn node_term(term: wire::NodeSelectorTerm) -> NodeSelectorTerm {
    let requirements = |list: Option<Vec<wire::Requirement>>| {
        list.unwrap_or_default().into_iter().map(node_requirement).collect()
    };
    NodeSelectorTerm { labels: requirements(term.match_expressions), fields: requirements(term.match_fields) }
}

fn node_requirement(requirement: wire::Requirement) -> NodeRequirement {
    let operator = match requirement.operator.as_str() {
        "In" => NodeSelectorOperator::In,
        "NotIn" => NodeSelectorOperator::NotIn,
        "Exists" => NodeSelectorOperator::Exists,
        "DoesNotExist" => NodeSelectorOperator::DoesNotExist,
        "Gt" => NodeSelectorOperator::Gt,
        "Lt" => NodeSelectorOperator::Lt,
        other => NodeSelectorOperator::Unknown(other.to_owned()),
    };
    NodeRequirement { key: requirement.key, operator, values: requirement.values.unwrap_or_default() }
}

pub(super) fn label_expression(requirement: wire::Requirement) -> LabelExpression {
    let operator = match requirement.operator.as_str() {
        "In" => LabelOperator::In,
        "NotIn" => LabelOperator::NotIn,
        "Exists" => LabelOperator::Exists,
        "DoesNotExist" => LabelOperator::DoesNotExist,
        other => LabelOperator::Unknown(other.to_owned()),
    };
    LabelExpression { key: requirement.key, operator, values: requirement.values.unwrap_or_default() }
}

fn toleration(toleration: wire::Toleration) -> Toleration {
    let operator = match toleration.operator.as_deref() {
        None | Some("" | "Equal") => TolerationOperator::Equal,
        Some("Exists") => TolerationOperator::Exists,
        Some(other) => TolerationOperator::Unknown(other.to_owned()),
    };
    Toleration {
        key: toleration.key.filter(|key| !key.is_empty()),
        operator,
        value: toleration.value.unwrap_or_default(),
        effect: toleration.effect.filter(|effect| !effect.is_empty()).map(|text| effect(&text)),
    }
}

/// The required terms. One without a selector means no pod at all, and asks nothing.
fn affinity_terms(affinity: Option<wire::PodAffinity>) -> Vec<AffinityTerm> {
    let terms = affinity.and_then(|affinity| affinity.required).unwrap_or_default();
    let term = |term: wire::PodAffinityTerm| {
        Some(AffinityTerm {
            selector: selector(term.label_selector?),
            topology_key: term.topology_key,
            namespaces: term.namespaces.unwrap_or_default(),
            same_template: same_template(term.match_label_keys.as_deref()),
        })
    };
    terms.into_iter().filter_map(term).collect()
}

/// A constraint without a selector counts no pod, and asks nothing.
fn spread_rule(spread: wire::Spread) -> Option<SpreadRule> {
    Some(SpreadRule {
        max_skew: spread.max_skew,
        topology_key: spread.topology_key,
        selector: selector(spread.label_selector?),
        required: spread.when_unsatisfiable.as_deref() == Some("DoNotSchedule"),
        honors_taints: spread.node_taints_policy.as_deref() == Some("Honor"),
        same_template: same_template(spread.match_label_keys.as_deref()),
    })
}

/// The label by which a Deployment tells the pods of one template from those of another.
const TEMPLATE_LABEL: &str = "pod-template-hash";

fn same_template(keys: Option<&[String]>) -> bool {
    keys.unwrap_or_default().iter().any(|key| key == TEMPLATE_LABEL)
}
