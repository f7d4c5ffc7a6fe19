//! What a killed run leaves is found by looking, and given back: the world is as it was before.

use std::collections::BTreeMap;
use std::time::Duration;

use aks_drover::report::text::leftovers;
use cluster_lab::{Lab, Manifest, Scenario};
use futures::future::join;
use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, from_value, json};
use upgrade_core::event::RunOutcome;
use upgrade_core::inventory::Ownership;
use upgrade_core::journal::{Entry, Record, RunState, Write, WriteAnswer};
use upgrade_core::leftovers::{CleanError, Cleaned, LeftBehind, LeftoverKind, Seen, clean};
use upgrade_core::lock::{LockTimes, Pulse, Sign, lock_name};
use upgrade_core::model::{PoolName, RunId, Settings, WorkloadKind};
use upgrade_core::policy::RancherManaged;
use upgrade_core::ports::{BufferSpec, WriteMode};
use upgrade_core::run::{DriveError, Start, drive, stop_signal};
use upgrade_core::{Policy, plan};

use crate::support::Night;

fn night() -> Night {
    Night::of(Lab::new(&Scenario::demo(), 1))
}

fn fresh(lab: &Lab) -> Start {
    let plan = plan(&lab.inventory(), &Policy::default(), "1.35".parse().unwrap()).unwrap();
    Start::Fresh { plan, run: RunId::new("night-1").unwrap(), tool: "test".into() }
}

/// The journal of a whole run in which nothing goes wrong.
fn whole() -> Vec<Record> {
    let night = night();
    assert_eq!(night.run(fresh(&night.lab)).unwrap().outcome, RunOutcome::Done);
    night.records()
}

fn state(night: &Night) -> RunState {
    RunState::replay(night.records()).unwrap()
}

/// What is left, as somebody finds it who has the journal.
fn find(night: &Night) -> LeftBehind {
    find_with(night, &[state(night)])
}

fn find_with(night: &Night, journals: &[RunState]) -> LeftBehind {
    let (kubernetes, azure, rancher) = (night.lab.kubernetes(), night.lab.azure(), night.lab.rancher());
    let clock = night.lab.clock();
    let looks = async {
        let mut pulse = Pulse::new(LockTimes::default());
        let sign = loop {
            let lease = kubernetes.lease(&lock_name()).await.unwrap();
            match pulse.on(clock.elapsed(), lease.as_ref()) {
                Sign::Unclear { look, .. } => {
                    clock.sleep_until(clock.now() + look.saturating_sub(clock.elapsed())).await;
                }
                sign => break sign,
            }
        };
        (sign, Seen::look(&*kubernetes, &*azure, &*rancher).await.unwrap())
    };
    let (sign, seen) = night.lab.block_on(looks).unwrap();
    LeftBehind::of(&night.inventory().identity, &sign, &seen, journals, Vec::new())
}

fn kinds(left_behind: &LeftBehind) -> Vec<LeftoverKind> {
    let mut kinds: Vec<_> = left_behind.left.iter().map(|left| left.kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

fn clean_up(night: &Night) -> Result<Cleaned, CleanError> {
    let (_handle, mut stop) = stop_signal();
    let ports = night.ports();
    night.lab.block_on(clean(state(night), &ports, "ann".into(), &mut stop, |_| ())).unwrap()
}

/// What a run borrows, and must give back: who takes pods, which pools there are, how workloads roll, pods that pull.
#[derive(Debug, PartialEq)]
struct World {
    cordoned: Vec<String>,
    pools: Vec<String>,
    settings: BTreeMap<String, Settings>,
    pulling: usize,
}

fn world(night: &Night) -> World {
    let inventory = night.inventory();
    let cordoned = inventory.nodes.iter().filter(|node| node.unschedulable);
    let of = |workload| Settings::of(workload);
    // How many pods a DaemonSet or a Job has is no setting of theirs.
    let lends = |kind: &WorkloadKind| matches!(kind, WorkloadKind::Deployment | WorkloadKind::StatefulSet);
    let lending = inventory.workloads.iter().filter(|w| lends(&w.reference.kind));
    World {
        cordoned: cordoned.map(|node| node.name.to_string()).collect(),
        pools: inventory.pools.iter().map(|pool| pool.name.to_string()).collect(),
        settings: lending.map(|w| (w.reference.to_string(), of(w))).collect(),
        pulling: inventory.pods.iter().filter(|pod| pod.pulling.is_some()).count(),
    }
}

/// After which record a run is killed: the first that is like this.
fn after(records: &[Record], like: impl Fn(&Entry) -> bool) -> usize {
    records.iter().position(|record| like(&record.entry)).expect("there is one") + 1
}

fn announces(write: fn(&Write) -> bool) -> impl Fn(&Entry) -> bool {
    move |entry| matches!(entry, Entry::Intent { write: own, .. } if write(own))
}

/// The number of the intent of the first write that is like this.
fn intent(records: &[Record], like: fn(&Write) -> bool) -> u64 {
    let intent = records.iter().find_map(|record| match &record.entry {
        Entry::Intent { id, write, .. } if like(write) => Some(*id),
        _ => None,
    });
    intent.expect("there is one")
}

fn answers(id: u64) -> impl Fn(&Entry) -> bool {
    move |entry| matches!(entry, Entry::Answered { id: own, answer: WriteAnswer::Done | WriteAnswer::Accepted { .. } } if *own == id)
}

/// Killed before the first pod has moved, a run leaves nothing that cannot be given back; the second look finds nothing.
#[test]
fn what_a_killed_run_has_left_is_listed_and_given_back_and_then_nothing_is_left() {
    let records = whole();
    let cordon: fn(&Write) -> bool = |write| matches!(write, Write::Cordon { .. });
    let buffer: fn(&Write) -> bool = |write| matches!(write, Write::CreatePool { .. });
    let first_move =
        after(&records, announces(|write| matches!(write, Write::Restart { .. } | Write::Evict { .. })));
    for (point, left) in [
        (after(&records, announces(buffer)), &[][..]),
        (after(&records, answers(intent(&records, buffer))), &[LeftoverKind::Buffer]),
        (
            after(
                &records,
                answers(intent(&records, |write| matches!(write, Write::CreatePrewarmPod { .. }))),
            ),
            &[LeftoverKind::Buffer, LeftoverKind::PrewarmPod],
        ),
        (after(&records, announces(cordon)), &[LeftoverKind::Buffer]),
        (after(&records, answers(intent(&records, cordon))), &[LeftoverKind::Buffer, LeftoverKind::Cordon]),
        (first_move - 1, &[LeftoverKind::Buffer, LeftoverKind::Cordon]),
    ] {
        let night = night();
        let before = world(&night);
        assert!(night.run_until_record(fresh(&night.lab), point), "not killed after {point}");
        let found = find(&night);
        let mut wanted = left.to_vec();
        wanted.push(LeftoverKind::Lock);
        // A pod that pulled and was told to go a moment ago may still be there.
        let found_kinds: Vec<_> = kinds(&found)
            .into_iter()
            .filter(|kind| left.contains(kind) || *kind != LeftoverKind::PrewarmPod)
            .collect();
        assert_eq!(found_kinds, wanted, "after {point}: {:?}", found.left);
        let cleaned = clean_up(&night).unwrap();
        assert_eq!((cleaned.left.as_slice(), cleaned.stopped), (&[][..], false), "after {point}");
        assert_eq!(world(&night), before, "after {point}: {:?}", cleaned.written);
        let again = find(&night);
        assert_eq!(
            (again.left.as_slice(), again.changed_since.as_slice()),
            (&[][..], &[][..]),
            "after {point}"
        );
        assert_eq!(
            clean_up(&night).unwrap().written,
            Vec::<String>::new(),
            "there was nothing left to write"
        );
        let state = state(&night);
        assert!(state.is_given_up() && state.closed() == Some(&RunOutcome::Aborted));
        let resumed = night.run(Start::Resumed(state));
        assert!(matches!(resumed, Err(DriveError::Illegal(_))), "{resumed:?}");
    }
}

/// Killed anywhere: cordons, settings and pods that pull come back; a buffer on which something runs stays, with the command for
/// a person, and what runs on it is not touched.
#[test]
fn killed_anywhere_a_run_leaves_only_what_pods_run_on() {
    let length = whole().len();
    for part in 1..8 {
        let night = night();
        let before = world(&night);
        let point = length * part / 8;
        assert!(night.run_until_record(fresh(&night.lab), point), "not killed after {point}");
        let cleaned = clean_up(&night).unwrap();
        let after = world(&night);
        let buffers: Vec<&str> = cleaned.left.iter().map(|left| left.object.as_str()).collect();
        for left in &cleaned.left {
            assert_eq!(left.kind, LeftoverKind::Buffer, "after {point}: {left:?}");
            assert!(left.obstacle.as_ref().is_some_and(|why| why.contains("pods run on it")), "{left:?}");
            assert!(
                left.by_hand.contains("az aks nodepool delete") && left.by_hand.contains("kubectl drain")
            );
        }
        let pools: Vec<&str> =
            after.pools.iter().map(String::as_str).filter(|pool| !buffers.contains(pool)).collect();
        assert_eq!(pools, before.pools, "after {point}");
        assert_eq!((&after.settings, after.pulling), (&before.settings, before.pulling), "after {point}");
        let inventory = night.inventory();
        let originals = inventory.nodes.iter().filter(|node| {
            node.unschedulable && !node.pool().is_some_and(|pool| buffers.contains(&pool.as_str()))
        });
        assert_eq!(originals.count(), 0, "after {point}: {:?}", after.cordoned);
        assert_eq!(find(&night).left.len(), cleaned.left.len(), "after {point}");
    }
}

/// The tag names a run that is not known here: perhaps it works from another agent.
#[test]
fn a_buffer_of_another_run_is_named_and_left_alone() {
    let night = night();
    let records = whole();
    let point = after(&records, announces(|write| matches!(write, Write::Cordon { .. })));
    assert!(night.run_until_record(fresh(&night.lab), point));
    let (azure, other) = (night.lab.azure(), RunId::new("night-2").unwrap());
    let spec = BufferSpec {
        name: PoolName::new("otherbf").unwrap(),
        like: PoolName::new("user").unwrap(),
        count: 1,
        version: night.inventory().cluster.version,
    };
    night.lab.block_on(azure.create_pool(&spec, &other)).unwrap().unwrap();
    let clock = night.lab.clock();
    night.lab.block_on(clock.sleep_until(clock.now() + SignedDuration::from_mins(30))).unwrap();
    let cleaned = clean_up(&night).unwrap();
    assert_eq!(cleaned.left, [], "{:?}", cleaned.written);
    let found = find(&night);
    let [left] = &found.left[..] else { panic!("{:?}", found.left) };
    assert_eq!((left.object.as_str(), left.run.as_ref()), ("otherbf", Some(&other)));
    assert_eq!(left.obstacle.as_deref(), Some("the journal of its run is not here"));
    // Without any journal it is the same: nothing is known of what the tag's run has cordoned or borrowed.
    assert_eq!(find_with(&night, &[]).left, found.left);
}

/// The demo cluster with a lone replica that a move borrows another one for.
fn lending() -> Lab {
    let labels = json!({"app": "lonely"});
    let container = json!({"name": "app", "image": "registry.example.com/shop/lonely:1"});
    let set = json!({
        "metadata": {"name": "lonely", "namespace": "shop"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    });
    let mut scenario = Scenario::demo();
    scenario.objects.push(Manifest::from(from_value::<ReplicaSet>(set).unwrap()));
    Lab::new(&scenario, 1)
}

/// A small cluster with `shop/web`, which has to lend a surge to roll without a gap, and `shop/front`, whose nodes have to leave a
/// load balancer before its last pod there goes.
fn surgeless_and_balanced() -> Lab {
    let set = |name: &str, strategy: Value| {
        let labels = json!({ "app": name });
        let container = json!({ "name": "app", "image": format!("registry.example.com/shop/{name}:1") });
        let template = json!({ "metadata": { "labels": labels }, "spec": { "containers": [container] } });
        let spec = json!({
            "replicas": 3, "selector": { "matchLabels": labels }, "strategy": strategy, "template": template,
        });
        let meta = json!({ "name": name, "namespace": "shop" });
        Manifest::from(from_value::<Deployment>(json!({ "metadata": meta, "spec": spec })).unwrap())
    };
    let balancer = json!({
        "metadata": { "name": "front", "namespace": "shop" },
        "spec": {
            "type": "LoadBalancer", "externalTrafficPolicy": "Local",
            "selector": { "app": "front" }, "ports": [{ "port": 80 }],
        },
    });
    let surgeless = json!({ "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 } });
    let mut scenario = Scenario::demo();
    for (pool, count) in scenario.pools.iter_mut().zip([1, 3]) {
        pool.count = count;
    }
    scenario.objects = vec![
        set("web", surgeless),
        set("front", json!({})),
        Manifest::from(from_value::<Service>(balancer).unwrap()),
    ];
    Lab::new(&scenario, 1)
}

/// Killed while a rollout has what it needs, or while a node gets nothing from outside: both are listed, in words that say what it
/// is and what it was, and both come back.
#[test]
fn a_surge_that_is_lent_and_a_node_out_of_its_load_balancers_are_listed_and_given_back() {
    let night = || Night::of(surgeless_and_balanced());
    let other = night();
    assert_eq!(other.run(fresh(&other.lab)).unwrap().outcome, RunOutcome::Done);
    let records = other.records();
    let lend = |write: &Write| matches!(write, Write::Lend { lent, .. } if lent.max_surge.is_some());
    let restart =
        |write: &Write| matches!(write, Write::Restart { workload, .. } if workload.name.name() == "web");
    let exclude = |write: &Write| matches!(write, Write::Exclude { .. });
    let surge = [
        "settings Deployment shop/web maxSurge 1 instead of maxSurge 0",
        "give back to Deployment shop/web: maxSurge 0",
    ];
    let out = [
        "load balancers NODE kept out of external load balancers",
        "let NODE be in external load balancers again",
    ];
    for (write, [listed, written]) in [
        (intent(&records, lend), surge),
        // The rollout is under way, and would make a gap without the surge: it is waited for.
        (intent(&records, restart), surge),
        (intent(&records, exclude), out),
    ] {
        let (night, point) = (night(), after(&records, answers(write)));
        let before = world(&night);
        assert!(night.run_until_record(fresh(&night.lab), point), "not killed after {point}");
        let labelled =
            || night.inventory().nodes.into_iter().find(|node| node.excluded_by() == Some("night-1"));
        let node = labelled().map(|node| node.name.to_string()).unwrap_or_default();
        let [listed, written] = [listed, written].map(|words| words.replace("NODE", &node));
        let page = leftovers(&find(&night)).to_string();
        let lines: Vec<String> =
            page.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert!(lines.contains(&format!("{listed} night-1")), "after {point}: {page}");
        let cleaned = clean_up(&night).unwrap();
        assert!(cleaned.written.contains(&written), "after {point}: {:?}", cleaned.written);
        let buffers = cleaned.left.iter().all(|left| left.kind == LeftoverKind::Buffer);
        assert!(buffers, "after {point}: {:?}", cleaned.left);
        assert_eq!(world(&night).settings, before.settings, "after {point}: {:?}", cleaned.written);
        assert_eq!(labelled().map(|node| node.name), None, "after {point}: {:?}", cleaned.written);
        let page = leftovers(&find(&night)).to_string();
        assert!(!page.contains("settings") && !page.contains("load balancers"), "after {point}: {page}");
    }
}

/// What somebody has set since is his.
#[test]
fn somebodys_later_change_is_kept_and_told() {
    let lend = |write: &Write| matches!(write, Write::Lend { .. });
    let other = Night::of(lending());
    assert_eq!(other.run(fresh(&other.lab)).unwrap().outcome, RunOutcome::Done);
    let (records, night) = (other.records(), Night::of(lending()));
    assert!(night.run_until_record(fresh(&night.lab), after(&records, answers(intent(&records, lend)))));
    let loans: Vec<_> = state(&night).loans().cloned().collect();
    let loan = &loans[0];
    let theirs = Settings { replicas: Some(5), ..Settings::default() };
    let kubernetes = night.lab.kubernetes();
    let (workload, uid) = (&loan.workload, &loan.uid);
    let from = loan.lent.named_in(&theirs);
    let change = kubernetes.change_settings(workload, uid, &from, &theirs, WriteMode::Commit);
    night.lab.block_on(change).unwrap().unwrap();
    let cleaned = clean_up(&night).unwrap();
    assert!(cleaned.left.iter().all(|left| left.kind == LeftoverKind::Buffer), "{:?}", cleaned.left);
    let inventory = night.inventory();
    let found = inventory.workloads.iter().find(|own| own.reference == *workload).unwrap();
    assert_eq!(Settings::of(found).named_in(&theirs), theirs, "it was set back");
    let told = find(&night).changed_since;
    assert!(
        told.iter().any(|told| told.contains(&workload.to_string()) && told.ends_with("it stays")),
        "{told:?}"
    );
}

/// A cordon that no journal accounts for is somebody's; whose is not guessed.
#[test]
fn a_cordon_that_nobody_accounts_for_is_named_and_left() {
    let night = night();
    let node = night.inventory().nodes[0].clone();
    let kubernetes = night.lab.kubernetes();
    night
        .lab
        .block_on(kubernetes.set_unschedulable(&node.name, &node.uid, true, WriteMode::Commit))
        .unwrap()
        .unwrap();
    let found = find_with(&night, &[]);
    assert_eq!(found.left, []);
    assert_eq!(
        found.unknown,
        [format!("cordoned, and no journal that was read says by whom: {}", node.name)]
    );
    let records = whole();
    let point = after(&records, announces(|write| matches!(write, Write::CreatePool { .. })));
    assert!(night.run_until_record(fresh(&night.lab), point));
    assert_eq!(clean_up(&night).unwrap().left, []);
    assert_eq!(world(&night).cordoned, [node.name.to_string()]);
}

/// Where Rancher writes to Azure, too, a buffer goes while the two agree, and the end is that they agree again.
#[test]
fn beside_a_rancher_that_manages_the_cluster_a_buffer_goes_in_lock_step() {
    let night = Night::of(Lab::new(&Scenario::demo().managed(Duration::from_secs(300)), 1));
    let before = world(&night);
    let policy = Policy { rancher_managed: RancherManaged::LockStep, ..Policy::default() };
    let plan = plan(&night.lab.inventory(), &policy, "1.35".parse().unwrap()).unwrap();
    let start =
        || Start::Fresh { plan: plan.clone(), run: RunId::new("night-1").unwrap(), tool: "test".into() };
    let other = Night::of(Lab::new(&Scenario::demo().managed(Duration::from_secs(300)), 1));
    assert_eq!(other.run(start()).unwrap().outcome, RunOutcome::Done);
    let records = other.records();
    // Azure has accepted the buffer, and Rancher has not read that yet.
    let point = after(&records, answers(intent(&records, |write| matches!(write, Write::CreatePool { .. }))));
    assert!(night.run_until_record(start(), point));
    let cleaned = clean_up(&night).unwrap();
    assert_eq!(cleaned.left, [], "{:?}", cleaned.written);
    assert!(cleaned.written.iter().any(|write| write.starts_with("delete pool ")), "{:?}", cleaned.written);
    assert_eq!(world(&night), before);
    let Ownership::Managed(writer) = night.inventory().rancher.ownership else { panic!("it is managed") };
    assert_eq!(writer.out_of_sync, Vec::<String>::new());
}

/// A run that is at work is not cleaned up after: it is named, and nothing is written.
#[test]
fn a_run_that_lives_is_refused_and_named() {
    let night = night();
    let (_handle, stop) = stop_signal();
    let run = drive(fresh(&night.lab), night.ports(), stop);
    let (_other, mut asked) = stop_signal();
    let ports = night.ports();
    let cleans = async {
        let clock = night.lab.clock();
        clock.sleep_until(clock.now() + SignedDuration::from_mins(20)).await;
        let length = night.records().len();
        let end = clean(state(&night), &ports, "ann".into(), &mut asked, |_| ()).await;
        (end, length)
    };
    let (report, (end, length)) = night.lab.block_on(join(run, cleans)).unwrap();
    let Err(CleanError::Locked(by)) = end else { panic!("{end:?}") };
    assert_eq!((by.holder.as_str(), by.run.unwrap().as_str()), ("process-1", "night-1"));
    assert_eq!(report.unwrap().outcome, RunOutcome::Done);
    assert!(night.records().len() > length && !state(&night).is_given_up());
    assert_eq!(find(&night).left, [], "a run that is done has left nothing");
}
