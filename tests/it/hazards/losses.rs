//! A machine dies in the middle of a move, and the API server answers badly just then: nobody is without what is left.

use std::future::pending;
use std::time::Duration;

use cluster_lab::{Effect, Fault, What, When, WriteKind};
use futures::future::{Either, select};
use upgrade_core::journal::RunState;
use upgrade_core::model::{NodeName, Pod};
use upgrade_core::run::{drive, stop_signal};

use super::*;

/// How long a machine is silent that comes back: longer than its pods are waited for (five minutes), shorter than a move may take.
const SILENCE: Duration = Duration::from_secs(10 * 60);

/// One second: how often somebody looks whether it is time for the machine to die.
const LOOK: Duration = Duration::from_secs(1);

/// The API server at its worst: the first restart is carried out and its answer lost, so is the first eviction, the second one is an
/// error before its effect, and every watch breaks.
fn bad_answers(night: &Night) {
    let at = |write, nth, what| Fault::new(When::Call { write, nth }, what).unwrap();
    let faults = [
        at(WriteKind::Restart, 1, What::Cut(Effect::Done)),
        at(WriteKind::Evict, 1, What::Cut(Effect::Done)),
        at(WriteKind::Evict, 1, What::WatchesCut),
        at(WriteKind::Evict, 2, What::Error(Effect::NotDone)),
    ];
    night.lab.with(|world| faults.iter().for_each(|fault| world.add_fault(fault)));
}

/// Carries a plan out in bad weather; the first machine that `victim` names dies, and comes back after `silent` or never.
fn run(
    night: &Night,
    start: Start,
    victim: impl Fn(&Inventory) -> Option<NodeName>,
    silent: Option<Duration>,
) -> Report {
    bad_answers(night);
    let (lab, clock) = (night.lab.clone(), night.ports().clock);
    let trouble = Box::pin(async move {
        let node = loop {
            clock.sleep_until(clock.now() + LOOK).await;
            if let Some(node) = victim(&lab.inventory()) {
                break node;
            }
        };
        lab.with(|world| world.silence_machine(&node));
        if let Some(silent) = silent {
            clock.sleep_until(clock.now() + silent).await;
            lab.with(|world| world.wake_machine(&node));
        }
        pending::<()>().await;
    });
    let (_handle, stop) = stop_signal();
    let run = Box::pin(drive(start, night.ports(), stop));
    match night.lab.block_on(select(run, trouble)).expect("somebody goes on") {
        Either::Left((report, _)) => report.unwrap(),
        Either::Right(_) => panic!("trouble never ends"),
    }
}

/// The pods of an app, each with its node's pool.
fn pods<'a>(inventory: &'a Inventory, app: &str) -> Vec<(&'a Pod, &'a NodeName, String)> {
    let of_app = inventory.pods.iter().filter(|pod| pod.labels.get("app").is_some_and(|own| own == app));
    let placed = of_app.filter_map(|pod| {
        let node = inventory.nodes.iter().find(|node| Some(&node.name) == pod.node.as_ref())?;
        Some((pod, &node.name, node.pool()?.to_string()))
    });
    placed.collect()
}

fn fresh(plan: Plan) -> Start {
    Start::Fresh { plan, run: RunId::new("hazard-1").unwrap(), tool: "test".into() }
}

/// How many ready endpoints a Service had at the start and the fewest it had, and how many gaps.
fn ledger(report: &Report, service: &str) -> (u32, u32, usize) {
    let record = report.ledger.iter().find(|record| record.service.to_string() == service).unwrap();
    (record.start, record.fewest, record.gaps.len())
}

/// How many evictions were asked for in a time.
fn evictions_while_down(night: &Night, from: jiff::Timestamp, to: jiff::Timestamp) -> usize {
    let records = night.records();
    let within = records.iter().filter(|record| (from..to).contains(&record.at));
    within.filter(|record| matches!(&record.entry, Entry::Intent { write: Write::Evict { .. }, .. })).count()
}

#[test]
fn of_two_replicas_one_loses_its_machine_in_the_middle_and_the_other_goes_on() {
    let town = Town::of([app("web", 2, json!({}))]);
    let (plan, night) = (town.plan(), Night::of(Lab::new(&town.scenario, 1)));
    // A new pod has come, and an old one still works: its machine dies, and stays dead.
    let victim = |seen: &Inventory| {
        let pods = pods(seen, "web");
        let came = pods.iter().any(|(_, _, pool)| pool == "userbf");
        pods.iter()
            .find(|(pod, _, pool)| came && pod.ready && pool == "user")
            .map(|(_, node, _)| (*node).clone())
    };
    let report = run(&night, fresh(plan.clone()), victim, None);
    let RunOutcome::Held { cause, .. } = &report.outcome else { panic!("{:?}", report.outcome) };
    let told = [
        "waited 30m (`move_timeout`), since ",
        " for pod shop/web-",
        " has been told to end and is still there",
        "whether its node answers",
    ];
    assert!(told.iter().all(|part| cause.contains(part)), "{cause}");
    let (start, fewest, gaps) = ledger(&report, "shop/web");
    assert_eq!((start, gaps), (2, 0));
    assert!(fewest >= 1, "the other one serves all the time");
    let restarts = night
        .records()
        .iter()
        .filter(|record| matches!(&record.entry, Entry::Intent { write: Write::Restart { .. }, .. }))
        .count();
    assert_eq!(restarts, 1, "the lost answer was looked for, not asked again");

    // Somebody brings the machine back.
    let dead = night.inventory().nodes.into_iter().find(|node| !node.ready).unwrap();
    night.lab.with(|world| world.wake_machine(&dead.name));
    let report = night.run(Start::Resumed(RunState::replay(night.records()).unwrap())).unwrap();
    assert_eq!((report.outcome, report.holding), (RunOutcome::Done, Vec::<String>::new()));
}

#[test]
fn one_replica_whose_successor_loses_its_machine_serves_until_there_is_another() {
    let town = Town::of([app("web", 1, json!({}))]);
    let night = Night::of(Lab::new(&town.scenario, 1));
    let victim = |seen: &Inventory| {
        let successor = pods(seen, "web").into_iter().find(|(pod, _, pool)| !pod.ready && pool == "userbf");
        successor.map(|(_, node, _)| node.clone())
    };
    let report = run(&night, fresh(town.plan()), victim, Some(SILENCE));
    assert_eq!((report.outcome.clone(), report.holding.clone()), (RunOutcome::Done, Vec::<String>::new()));
    assert_eq!(ledger(&report, "shop/web"), (1, 1, 0));
}

#[test]
fn of_three_members_one_loses_its_machine_and_nobody_else_goes_until_it_is_back() {
    let quorum = object::<k8s_openapi::api::policy::v1::PodDisruptionBudget>(json!({
        "metadata": { "name": "db", "namespace": "shop" },
        "spec": { "minAvailable": 2, "selector": { "matchLabels": { "app": "db" } } },
    }));
    let mut objects = stateful_set("db", 3, 0, json!({}));
    objects.push(quorum);
    let town = Town::of([objects]);
    let night = Night::of(Lab::new(&town.scenario, 1));
    let died = std::sync::Arc::new(std::sync::Mutex::new(None));
    let (seen_at, lab) = (std::sync::Arc::clone(&died), night.lab.clone());
    // One member is over there and works, two are not: the machine of the first dies.
    let victim = move |seen: &Inventory| {
        let pods = pods(seen, "db");
        let over: Vec<_> = pods.iter().filter(|(pod, _, pool)| pod.ready && pool == "userbf").collect();
        let there = pods.iter().filter(|(pod, _, pool)| pod.ready && pool == "user").count();
        let victim = (over.len() == 1 && there == 2).then(|| over[0].1.clone());
        if victim.is_some() {
            *seen_at.lock().unwrap() = Some(lab.with(|world| world.now()));
        }
        victim
    };
    let report = run(&night, fresh(town.plan()), victim, Some(SILENCE));
    assert_eq!((report.outcome.clone(), report.holding.clone()), (RunOutcome::Done, Vec::<String>::new()));
    // For 40 s nobody can know that the machine is dead: whoever was asked to go meanwhile is missing, too, for a moment.
    let (start, fewest, gaps) = ledger(&report, "shop/db");
    assert_eq!((start, gaps), (3, 0));
    assert!(fewest >= 1);
    let died = died.lock().unwrap().expect("a member was over there alone");
    // The node counts as lost some 40 s after its kubelet fell silent.
    let (noticed, back) = (died + Duration::from_secs(60), died + SILENCE);
    assert_eq!(evictions_while_down(&night, noticed, back), 0, "nobody else goes meanwhile");
}
