use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;

use jiff::Timestamp;
use upgrade_core::model::{AvailableUpgrade, NodeName, Resources, Taint, TaintEffect};

use super::ground::{Drained, Machine};
use super::*;
use crate::timing::TimingModel;

mod changes;
mod region;
mod trouble;

/// A world of machines and nothing else: they are Ready a minute after they were asked for.
struct Yard {
    now: Timestamp,
    rng: fastrand::Rng,
    due: BTreeMap<(Timestamp, u64), OperationId>,
    asked: u64,
    machines: BTreeMap<NodeName, (KubeVersion, Timestamp)>,
    cordoned: BTreeSet<NodeName>,
    /// Machines whose pods a budget keeps.
    stuck: BTreeSet<NodeName>,
    frozen: Option<String>,
    /// What was done to machines, in order.
    story: VecDeque<String>,
}

impl Ground for Yard {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn draw(&mut self, range: RangeInclusive<u64>) -> u64 {
        self.rng.u64(range)
    }

    fn takes(&mut self, timing: Timing) -> Duration {
        Duration::from_millis(TimingModel::default()[timing].draw(&mut self.rng))
    }

    fn wake_azure(&mut self, after: Duration, operation: OperationId) {
        self.asked += 1;
        self.due.insert((self.now + after, self.asked), operation);
    }

    fn allocatable(&self, _: &str) -> Resources {
        Resources::new(3860, 13_000)
    }

    fn known_sizes(&self) -> Vec<String> {
        Vec::new()
    }

    fn add_machine(&mut self, pool: &PoolSpec) -> NodeName {
        self.asked += 1;
        let name = NodeName::new(format!("aks-{}-{}", pool.name, self.asked)).unwrap();
        self.machines.insert(name.clone(), (pool.version, self.now + Duration::from_secs(60)));
        self.story.push_back(format!("add {name}"));
        name
    }

    fn remove_machine(&mut self, node: &NodeName) {
        self.machines.remove(node);
        self.cordoned.remove(node);
        self.story.push_back(format!("remove {node}"));
    }

    fn reimage_machine(&mut self, node: &NodeName, version: KubeVersion) {
        self.machines.insert(node.clone(), (version, self.now + Duration::from_secs(60)));
        self.cordoned.remove(node);
        self.story.push_back(format!("reimage {node}"));
    }

    fn machine(&self, node: &NodeName) -> Machine {
        let Some((version, ready)) = self.machines.get(node) else { return Machine::default() };
        Machine { ready: self.now >= *ready, kubelet: Some(*version) }
    }

    fn set_unschedulable(&mut self, node: &NodeName, unschedulable: bool) {
        if unschedulable {
            self.cordoned.insert(node.clone());
        } else {
            self.cordoned.remove(node);
        }
    }

    fn drain(&mut self, node: &NodeName, ignore_budgets: bool) -> Drained {
        assert!(self.cordoned.contains(node), "{node} is drained and takes pods");
        if self.stuck.contains(node) && !ignore_budgets {
            return Drained {
                left: 1,
                blocked: Some(
                    "shop/web: Cannot evict pod as it would violate the pod's disruption budget.".into(),
                ),
            };
        }
        Drained::default()
    }

    fn unsatisfiable_budget(&self) -> Option<String> {
        self.frozen.clone()
    }

    fn control_plane_runs(&mut self, version: KubeVersion) {
        self.story.push_back(format!("control plane {version}"));
    }
}

fn version(text: &str) -> KubeVersion {
    text.parse().unwrap()
}

/// The demo's Azure, with a wider offer.
fn begin() -> (Azure, Yard) {
    let mut scenario = Scenario::demo();
    scenario.cluster.version = version("1.34.2");
    scenario.cluster.upgrades = ["1.33.5", "1.34.3", "1.35.1", "1.36.0"]
        .map(|v| AvailableUpgrade { version: version(v), preview: false })
        .to_vec();
    let azure = Azure::new(&scenario);
    let machines = scenario.pools.iter().flat_map(|pool| {
        scenario.machine_names(&pool.name).into_iter().map(|name| (name, (pool.version, scenario.start)))
    });
    let yard = Yard {
        now: scenario.start,
        rng: fastrand::Rng::with_seed(1),
        due: BTreeMap::new(),
        asked: 0,
        machines: machines.collect(),
        cordoned: BTreeSet::new(),
        stuck: BTreeSet::new(),
        frozen: None,
        story: VecDeque::new(),
    };
    (azure, yard)
}

/// Lets everything happen that will, and returns how long it took.
fn settle(azure: &mut Azure, yard: &mut Yard) -> Duration {
    let start = yard.now;
    while let Some(((at, _), id)) = yard.due.pop_first() {
        yard.now = at;
        azure.on_wake(yard, id);
    }
    yard.now.duration_since(start).unsigned_abs()
}

/// What a client sends back: the GET without what must not be echoed.
fn echo(azure: &Azure) -> Value {
    let mut body = azure.cluster();
    let properties = body["properties"].as_object_mut().unwrap();
    properties.remove("servicePrincipalProfile");
    for pool in properties["agentPoolProfiles"].as_array_mut().unwrap() {
        pool.as_object_mut().unwrap().remove("nodeImageVersion");
    }
    body
}

fn control_plane_to(azure: &Azure, to: &str) -> Value {
    let mut body = echo(azure);
    body["properties"]["kubernetesVersion"] = to.into();
    body
}

fn pool_body(azure: &Azure, name: &str, change: &[(&str, Value)]) -> Value {
    let mut body = azure.pool(name).unwrap();
    for (member, value) in change {
        body["properties"][*member] = value.clone();
    }
    body["properties"].as_object_mut().unwrap().remove("nodeImageVersion");
    json!({ "properties": body["properties"] })
}

fn new_pool(change: &[(&str, Value)]) -> Value {
    let mut properties = json!({
        "count": 2, "vmSize": "Standard_D8s_v5", "mode": "User", "osType": "Linux", "maxPods": 110,
        "orchestratorVersion": "1.34.2", "tags": { "drover-run": "r1" }, "brandNew": { "kept": [1] },
    });
    for (member, value) in change {
        properties[*member] = value.clone();
    }
    json!({ "properties": properties })
}

const FREE: Conditions = Conditions { if_match: None, if_none_match: None };

fn only_new() -> Conditions {
    Conditions { if_match: None, if_none_match: Some("*".into()) }
}

fn state_of(azure: &Azure, pool: &str) -> String {
    azure.pool(pool).unwrap()["properties"]["provisioningState"].as_str().unwrap().to_owned()
}

fn at_1_35() -> (Azure, Yard) {
    let (mut azure, mut yard) = begin();
    let body = control_plane_to(&azure, "1.35.1");
    azure.put_cluster(&mut yard, &FREE, &body).unwrap();
    settle(&mut azure, &mut yard);
    yard.story.clear();
    (azure, yard)
}

#[test]
fn a_control_plane_upgrade_takes_minutes_and_touches_no_pool() {
    let (mut azure, mut yard) = begin();
    let before = azure.cluster();
    let body = control_plane_to(&azure, "1.35.1");
    let fenced = Conditions { if_match: before["eTag"].as_str().map(str::to_owned), if_none_match: None };
    let accepted = azure.put_cluster(&mut yard, &fenced, &body).unwrap();
    let operation = accepted.operation.unwrap();
    assert_eq!(accepted.status, 200);
    let during = azure.cluster();
    assert_eq!(during["properties"]["provisioningState"], "Upgrading");
    assert_eq!(during["properties"]["currentKubernetesVersion"], "1.34.2");
    assert_ne!(during["eTag"], before["eTag"]);
    assert_eq!(azure.operation(operation).unwrap()["status"], "InProgress");
    let took = settle(&mut azure, &mut yard);
    assert!((300..=600).contains(&took.as_secs()), "{took:?}");
    let after = azure.cluster();
    assert_eq!(after["properties"]["currentKubernetesVersion"], "1.35.1");
    assert_eq!(after["properties"]["provisioningState"], "Succeeded");
    assert_eq!(azure.operation(operation).unwrap()["status"], "Succeeded");
    for (was, is) in before["properties"]["agentPoolProfiles"]
        .as_array()
        .unwrap()
        .iter()
        .zip(after["properties"]["agentPoolProfiles"].as_array().unwrap())
    {
        assert_eq!(was["currentOrchestratorVersion"], is["currentOrchestratorVersion"]);
        assert_ne!(was["eTag"], is["eTag"], "a write to the cluster changes the pools' eTags");
    }
    assert_eq!(yard.story, ["control plane 1.35.1"]);
}

#[test]
fn each_refusal_of_a_write_on_the_cluster_has_its_code() {
    let rule = "NotAllAgentPoolOrchestratorVersionSpecifiedAndUnchanged";
    let with = |change: fn(&mut Value)| {
        let (azure, _) = begin();
        let mut body = control_plane_to(&azure, "1.35.1");
        change(&mut body);
        body
    };
    let (azure, _) = begin();
    let table = [
        (control_plane_to(&azure, "1.99.0"), 400, "K8sVersionNotSupported"),
        (control_plane_to(&azure, "latest"), 400, "K8sVersionNotSupported"),
        (control_plane_to(&azure, "1.33.5"), 400, "OperationNotAllowed"),
        (control_plane_to(&azure, "1.36.0"), 400, "OperationNotAllowed"),
        (with(|b| b["properties"]["agentPoolProfiles"][0]["orchestratorVersion"] = Value::Null), 400, rule),
        (
            with(|b| b["properties"]["agentPoolProfiles"][0]["orchestratorVersion"] = "1.33.5".into()),
            400,
            rule,
        ),
        (
            with(|b| b["properties"]["servicePrincipalProfile"] = json!({ "clientId": "msi" })),
            400,
            "InvalidParameter",
        ),
        (with(|b| b["location"] = "elsewhere".into()), 400, "LocationRequired"),
        (with(|b| b["properties"]["agentPoolProfiles"][0]["count"] = 9.into()), 501, "NotModelledByTheLab"),
        (with(|b| *b = json!([])), 400, "BadRequest"),
    ];
    for (body, status, code) in table {
        let (mut azure, mut yard) = begin();
        let before = azure.cluster();
        let error = azure.put_cluster(&mut yard, &FREE, &body).unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (status, code), "{error}");
        assert_eq!(azure.cluster(), before, "{error}");
    }
}

#[test]
fn pools_may_be_left_out_all_together_and_an_alias_upgrades_nothing() {
    let (mut azure, mut yard) = begin();
    let mut body = control_plane_to(&azure, "1.34");
    body["properties"].as_object_mut().unwrap().remove("agentPoolProfiles");
    azure.put_cluster(&mut yard, &FREE, &body).unwrap();
    settle(&mut azure, &mut yard);
    assert_eq!(azure.version(), version("1.34.2"));
    // The same again has nothing to do and begins no operation.
    assert_eq!(azure.put_cluster(&mut yard, &FREE, &body).unwrap().operation, None);
}

#[test]
fn an_automatic_channel_rules_out_an_upgrade_of_the_control_plane_alone() {
    let mut scenario = Scenario::demo();
    scenario.cluster.auto_upgrade_channel = Some("stable".into());
    let mut azure = Azure::new(&scenario);
    let (_, mut yard) = begin();
    let body = control_plane_to(&azure, "1.35.1");
    let error = azure.put_cluster(&mut yard, &FREE, &body).unwrap_err();
    assert_eq!(error.code, "NotAllAgentPoolOrchestratorVersionSpecifiedAndUnchanged");
}

#[test]
fn a_pool_too_far_behind_keeps_the_control_plane_back() {
    let mut scenario = Scenario::demo();
    scenario.pools[1].version = version("1.31.9");
    let mut azure = Azure::new(&scenario);
    let (_, mut yard) = begin();
    let body = control_plane_to(&azure, "1.35.1");
    let error = azure.put_cluster(&mut yard, &FREE, &body).unwrap_err();
    assert_eq!((error.status, error.code.as_str()), (400, "NodePoolMcVersionIncompatible"), "{error}");
}

#[test]
fn etags_fence_writers_and_conditions_are_checked() {
    let (mut azure, mut yard) = begin();
    let body = pool_body(&azure, "user", &[("tags", json!({ "a": "b" }))]);
    let stale = Conditions { if_match: Some("old".into()), if_none_match: None };
    let odd = Conditions { if_match: None, if_none_match: Some("abc".into()) };
    let both = Conditions { if_match: Some("old".into()), if_none_match: Some("*".into()) };
    for (conditions, status) in [(stale.clone(), 412), (only_new(), 412), (odd, 400), (both, 400)] {
        let error = azure.put_pool(&mut yard, "user", &conditions, &body).unwrap_err();
        assert_eq!(error.status, status, "{error}");
    }
    assert_eq!(azure.put_pool(&mut yard, "ghost", &stale, &new_pool(&[])).unwrap_err().status, 412);
    assert_eq!(azure.put_cluster(&mut yard, &stale, &echo(&azure.clone())).unwrap_err().status, 412);
    let other = azure.pool("system").unwrap();
    azure.put_pool(&mut yard, "user", &FREE, &body).unwrap();
    assert_eq!(azure.pool("system").unwrap(), other, "a write to a pool changes only its own eTag");
}

#[test]
fn a_pool_is_made_with_everything_it_was_given_and_deleted_again() {
    let (mut azure, mut yard) = begin();
    let accepted = azure.put_pool(&mut yard, "userbf", &only_new(), &new_pool(&[])).unwrap();
    assert_eq!((accepted.status, state_of(&azure, "userbf").as_str()), (201, "Creating"));
    let took = settle(&mut azure, &mut yard);
    assert!((150..=215).contains(&took.as_secs()), "{took:?}");
    let pool = azure.pool("userbf").unwrap();
    assert_eq!(pool["properties"]["provisioningState"], "Succeeded");
    assert_eq!(pool["properties"]["tags"]["drover-run"], "r1");
    assert_eq!(pool["properties"]["brandNew"]["kept"][0], 1);
    assert_eq!(pool["properties"]["currentOrchestratorVersion"], "1.34.2");
    assert_eq!(azure.put_pool(&mut yard, "userbf", &only_new(), &new_pool(&[])).unwrap_err().status, 412);
    let accepted = azure.delete_pool(&mut yard, "userbf", &FREE, true).unwrap();
    assert_eq!((accepted.status, state_of(&azure, "userbf").as_str()), (202, "Deleting"));
    settle(&mut azure, &mut yard);
    assert_eq!(azure.pool("userbf").unwrap_err().status, 404);
    assert_eq!(azure.delete_pool(&mut yard, "userbf", &FREE, true).unwrap().status, 204);
    assert_eq!(yard.machines.len(), 9);
}

#[test]
fn each_refusal_of_a_new_pool_has_its_code() {
    let system = |extra: (&'static str, Value)| new_pool(&[("mode", "System".into()), extra]);
    let table = [
        ("Big", new_pool(&[]), "InvalidParameter"),
        ("aksmanagedap", new_pool(&[]), "InvalidParameter"),
        ("windowsy", new_pool(&[("osType", "Windows".into())]), "WindowsAgentPoolNameTooLong"),
        ("np", new_pool(&[("orchestratorVersion", "1.35.1".into())]), "NodePoolMcVersionIncompatible"),
        ("np", new_pool(&[("orchestratorVersion", "1.34.1".into())]), "AgentPoolK8sVersionNotSupported"),
        ("np", new_pool(&[("orchestratorVersion", "1.32".into())]), "AgentPoolK8sVersionNotSupported"),
        ("np", new_pool(&[("mode", "user".into())]), "InvalidParameter"),
        ("np", new_pool(&[("count", 1001.into())]), "InvalidParameter"),
        ("np", new_pool(&[("count", (-1).into())]), "BadRequest"),
        ("np", new_pool(&[("minCount", 1.into())]), "InvalidParameter"),
        ("np", new_pool(&[("nodeLabels", json!({ "kubernetes.azure.com/x": "y" }))]), "InvalidParameter"),
        ("np", new_pool(&[("nodeTaints", json!(["nonsense"]))]), "InvalidParameter"),
        ("np", system(("count", 0.into())), "InvalidParameter"),
        ("np", system(("nodeTaints", json!(["team=a:NoSchedule"]))), "SystemPoolHasRestrictedTaint"),
        ("np", system(("osType", "Windows".into())), "InvalidParameter"),
        (
            "np",
            system(("upgradeSettings", json!({ "maxSurge": "0", "maxUnavailable": "1" }))),
            "InvalidParameter",
        ),
        ("np", json!({ "count": 1 }), "BadRequest"),
    ];
    for (name, body, code) in table {
        let (mut azure, mut yard) = begin();
        let error = azure.put_pool(&mut yard, name, &only_new(), &body).unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (400, code), "{name} {error}");
        assert_eq!((azure.pools().len(), yard.machines.len()), (2, 9), "{error}");
    }
    let (mut azure, mut yard) = begin();
    azure.cluster.max_pools = 2;
    let error = azure.put_pool(&mut yard, "np", &only_new(), &new_pool(&[])).unwrap_err();
    assert_eq!(error.code, "MaxAgentPoolCountReached");
}

#[test]
fn an_alias_of_a_new_pool_is_its_newest_patch_that_the_control_plane_allows() {
    let (mut azure, mut yard) = begin();
    let body = new_pool(&[("orchestratorVersion", "1.34".into())]);
    azure.put_pool(&mut yard, "np", &only_new(), &body).unwrap();
    assert_eq!(azure.pool("np").unwrap()["properties"]["currentOrchestratorVersion"], "1.34.2");
}

#[test]
fn offers_follow_the_control_plane() {
    let offered = |profile: &Value| -> Vec<String> {
        let upgrades = profile["properties"]["controlPlaneProfile"]["upgrades"].as_array().unwrap();
        upgrades.iter().map(|u| u["kubernetesVersion"].as_str().unwrap().to_owned()).collect()
    };
    let (azure, _) = begin();
    assert_eq!(offered(&azure.upgrade_profile()), ["1.34.3", "1.35.1"]);
    let (azure, _) = at_1_35();
    assert_eq!(offered(&azure.upgrade_profile()), ["1.36.0"]);
    let versions = azure.available_pool_versions();
    let versions = versions["properties"]["agentPoolVersions"].as_array().unwrap().len();
    assert_eq!(versions, 4, "everything up to the control plane's own");
    let pool = azure.pool_upgrade_profile("user", Scenario::demo().start).unwrap();
    assert_eq!(pool["properties"]["upgrades"].as_array().unwrap().len(), 2);
    assert_eq!(azure.region_versions()["values"].as_array().unwrap().len(), 4);
}

#[test]
fn an_operation_is_named_by_a_guid_and_nothing_else() {
    let id = OperationId::new(0x1234, 7);
    assert_eq!(id.to_string().parse::<OperationId>(), Ok(id));
    for bad in ["", "x", "00000000-0000-0000-0000-00000000000g", "0000000000000000-0000-0000-0000-0000"] {
        assert!(bad.parse::<OperationId>().is_err(), "{bad}");
    }
}

#[test]
fn both_error_envelopes_are_written() {
    let flat = ArmError::aks(409, "OperationNotAllowed", "busy").body();
    assert_eq!((flat["code"].as_str(), flat["error"].is_null()), (Some("OperationNotAllowed"), true));
    let wrapped = ArmError::arm(404, "ResourceNotFound", "no").body();
    assert_eq!(wrapped["error"]["code"], "ResourceNotFound");
}

#[test]
fn pools_of_an_inventory_come_back_as_they_were_however_odd() {
    let mut scenario = Scenario::demo();
    let plain = scenario.pools[1].clone();
    let odd = |name: &str, change: fn(&mut Pool)| {
        let mut pool = Pool { name: PoolName::new(name).unwrap(), ..plain.clone() };
        change(&mut pool);
        pool
    };
    let taint = |key: &str, effect| Taint { key: key.to_owned(), value: String::new(), effect };
    let mut tainted = odd("g", |_| {});
    tainted.taints =
        vec![taint("", TaintEffect::NoExecute), taint("a:b", TaintEffect::Unknown("Never".to_owned()))];
    scenario.pools.extend([
        odd("a", |pool| pool.mode = PoolMode::Other("Gateway".into())),
        odd("b", |pool| pool.os = OsType::Other("Plan9".into())),
        odd("c", |pool| pool.autoscaling = Some((7, 9))),
        odd("d", |pool| (pool.stopped, pool.spot, pool.scale_set) = (true, true, false)),
        odd("e", |pool| pool.upgrade.max_surge = Some("plenty".into())),
        odd("f", |pool| pool.zones = Vec::new()),
        tainted,
    ]);
    scenario.pools.sort_by(|a, b| a.name.cmp(&b.name));
    let azure = Azure::new(&scenario);
    assert_eq!(azure.pool_models(), scenario.pools);
    assert_eq!(azure.cluster_model(scenario.start).upgrades, scenario.cluster.upgrades);
}
