//! What the move engine must never do, over random clusters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::{MoveCase, OpenMove, Round, leftovers, restart_id};
use crate::journal::Write;
use crate::model::tests_support::{
    budget, deployment, exclusive_claim, node, pod, replica_set, service, slice,
};
use crate::model::{
    BudgetLimit, EXCLUDE_LABEL, IntOrPercent, Labels, NodeName, PoolName, Resources, RunId, ServiceType,
    StepId, Uid, WorkloadRef, ZONE_LABEL,
};
use crate::plan::Route;
use crate::run::Verdict;
use crate::view::{Change, Object, ResourceKind, View};

/// A Deployment `shop/web` with one pod per entry: on a doomed node or not, healthy or not.
fn cluster(pods: &[(bool, bool)], desired: Option<u32>) -> View {
    let mut view = View::default();
    let mut put = |object| view.apply(Change::Applied(object));
    put(Object::Node(node("old", "user")));
    put(Object::Node(node("new", "userbf")));
    let replicas = u32::try_from(pods.len()).unwrap();
    put(Object::Workload(deployment(replicas, "0", "1")));
    put(Object::Workload(replica_set(replicas)));
    put(Object::Service(service("shop/web")));
    let mut ready = Vec::new();
    for (index, (doomed, healthy)) in pods.iter().enumerate() {
        let name = format!("shop/web-1-{index}");
        let mut pod = pod(&name, if *doomed { "old" } else { "new" });
        pod.ready = *healthy;
        put(Object::Pod(pod));
        if *healthy {
            ready.push(name);
        }
    }
    put(Object::Slice(slice("shop/web", &ready.iter().map(String::as_str).collect::<Vec<_>>())));
    if let Some(desired) = desired {
        let limit = BudgetLimit::MinAvailable(IntOrPercent::Int(desired));
        put(Object::Budget(budget("shop/web", limit, u32::try_from(ready.len()).unwrap(), desired)));
    }
    view
}

/// What each of the moves does next, in the order given, if `slots` may begin.
fn next(case: &MoveCase<'_>, slots: u32, moves: &[OpenMove<'_>]) -> Vec<Verdict> {
    let mut round = Round::new(case, slots);
    let no_slot = || Verdict::Patience("a free slot".into());
    let next = |open: &OpenMove<'_>| {
        if open.begun || round.has_slot() {
            round.next(open)
        } else {
            round.finished(open).unwrap_or_else(no_slot)
        }
    };
    moves.iter().map(next).collect()
}

struct Fixture {
    run: RunId,
    step: StepId,
    workload: WorkloadRef,
    off: PoolName,
    leaving: BTreeSet<Uid>,
    excluded: BTreeMap<Uid, Timestamp>,
    disks_per_node: BTreeMap<PoolName, u32>,
    now: Timestamp,
}

impl Fixture {
    fn new() -> Self {
        Self {
            run: RunId::new("r").unwrap(),
            step: StepId::new("1.1.1").unwrap(),
            workload: deployment(1, "0", "1").reference,
            off: PoolName::new("user").unwrap(),
            leaving: BTreeSet::new(),
            excluded: BTreeMap::new(),
            disks_per_node: BTreeMap::new(),
            now: Timestamp::UNIX_EPOCH,
        }
    }

    fn case<'a>(&'a self, view: &'a View) -> MoveCase<'a> {
        MoveCase {
            view,
            run: &self.run,
            now: self.now,
            leaving: &self.leaving,
            excluded: &self.excluded,
            job_wait: Duration::from_secs(60),
            under_way: Vec::new(),
            disks_per_node: &self.disks_per_node,
            turned_back: false,
            may_grow: false,
        }
    }

    fn open(&self, route: Route) -> OpenMove<'_> {
        OpenMove {
            step: &self.step,
            workload: &self.workload,
            off: &self.off,
            route,
            begun: false,
            restart_seen: false,
            loan: None,
            loan_seen: false,
            lending: false,
            since: Timestamp::UNIX_EPOCH,
        }
    }

    fn one(&self, view: &View, route: Route) -> Verdict {
        next(&self.case(view), 10, &[self.open(route)]).remove(0)
    }
}

#[test]
fn a_restart_waits_for_strength_is_asked_for_once_and_ends_with_the_last_old_pod() {
    let fixture = Fixture::new();
    let mut view = cluster(&[(true, true), (true, true)], None);
    assert!(
        matches!(fixture.one(&view, Route::Restart), Verdict::Write(w) if matches!(w[0], Write::Restart { .. }))
    );
    let mut rolling = deployment(2, "1", "0");
    rolling.template.to_mut().restart_id = Some(restart_id(&fixture.run, &fixture.step));
    rolling.status.updated = 1;
    view.apply(Change::Applied(Object::Workload(rolling.clone())));
    assert_eq!(
        fixture.one(&view, Route::Restart),
        Verdict::Wait("Deployment shop/web: 1 of 2 pods new, 2 available".into())
    );
    // Complete by its status, but the old pods still end on the doomed node.
    rolling.status.updated = 2;
    view.apply(Change::Applied(Object::Workload(rolling)));
    for name in ["shop/web-1-0", "shop/web-1-1"] {
        let mut old = pod(name, "old");
        (old.terminating, old.ready) = (true, false);
        view.apply(Change::Applied(Object::Pod(old)));
    }
    assert_eq!(fixture.one(&view, Route::Restart), Verdict::Wait("pod shop/web-1-0 to end".into()));
    for name in ["shop/web-1-0", "shop/web-1-1"] {
        view.apply(Change::Deleted { kind: crate::view::ResourceKind::Pod, name: name.into() });
    }
    let mut open = fixture.open(Route::Restart);
    open.begun = true;
    assert!(matches!(next(&fixture.case(&view), 10, &[open]).remove(0), Verdict::Done(_)));
}

#[test]
fn a_workload_that_is_not_at_strength_is_not_restarted() {
    let fixture = Fixture::new();
    let mut view = cluster(&[(true, true), (true, false)], None);
    let mut weak = deployment(2, "1", "0");
    weak.status.available = 1;
    view.apply(Change::Applied(Object::Workload(weak)));
    assert!(
        matches!(fixture.one(&view, Route::Restart), Verdict::Wait(why) if why.contains("1 of 2 pods available"))
    );
}

#[test]
fn a_restart_that_somebody_took_out_of_the_template_becomes_evictions() {
    let fixture = Fixture::new();
    let view = cluster(&[(true, true), (false, true)], None);
    let mut open = fixture.open(Route::Restart);
    (open.begun, open.restart_seen) = (true, true);
    let verdict = next(&fixture.case(&view), 10, &[open]).remove(0);
    assert!(matches!(verdict, Verdict::Write(w) if matches!(w[0], Write::Evict { .. })));
}

#[test]
fn the_last_ready_endpoint_stays_unless_its_gap_is_accepted() {
    let fixture = Fixture::new();
    let view = cluster(&[(true, true)], None);
    let Verdict::Blocked(why) = fixture.one(&view, Route::Evict) else { panic!("evicted") };
    assert_eq!(why, "Service shop/web, of which pod shop/web-1-0 is the last ready endpoint");
    assert!(matches!(fixture.one(&view, Route::Gap), Verdict::Write(_)));
}

fn evicted(verdict: Verdict) -> Vec<String> {
    let Verdict::Write(writes) = verdict else { panic!("{verdict:?}") };
    let pod =
        |write| if let Write::Evict { pod, .. } = write { pod.to_string() } else { panic!("{write:?}") };
    writes.into_iter().map(pod).collect()
}

#[test]
fn as_many_go_at_a_time_as_rollouts_and_the_budget_let_go() {
    let mut fixture = Fixture::new();
    let mut view = cluster(&[(true, true); 5], Some(3));
    // Its rollouts let one be missing, whatever the budget would let go.
    assert_eq!(evicted(fixture.one(&view, Route::Evict)), ["shop/web-1-0"]);
    view.apply(Change::Applied(Object::Workload(deployment(5, "0", "3"))));
    let first = evicted(fixture.one(&view, Route::Evict));
    assert_eq!(first, ["shop/web-1-0", "shop/web-1-1"]);
    // They are on their way and the budget does not know it yet.
    let on_the_way = |name: &String| view.pod(&name.parse().unwrap()).unwrap().uid.clone();
    fixture.leaving = first.iter().map(on_the_way).collect();
    let Verdict::Blocked(why) = fixture.one(&view, Route::Evict) else { panic!("a third went") };
    assert_eq!(why, "budget shop/web, which allows no eviction now (5 healthy, 3 needed)");
}

#[test]
fn without_a_budget_they_go_one_by_one() {
    let fixture = Fixture::new();
    let view = cluster(&[(true, true); 5], None);
    assert_eq!(evicted(fixture.one(&view, Route::Evict)), ["shop/web-1-0"]);
}

#[test]
fn a_pod_that_does_not_work_takes_nothing_from_a_budget_that_has_what_it_needs() {
    let fixture = Fixture::new();
    let view = cluster(&[(true, true), (true, false), (true, true)], Some(2));
    assert_eq!(evicted(fixture.one(&view, Route::Evict)), ["shop/web-1-1"]);
    let view = cluster(&[(true, true), (true, false), (true, true)], Some(3));
    assert!(matches!(fixture.one(&view, Route::Evict), Verdict::Blocked(_)));
}

/// The Deployment's pods ask for so much, and each of the nodes has room for 4 CPUs.
fn asking(view: &mut View, milli_cpu: u64) {
    let pods: Vec<_> = view.pods().cloned().collect();
    for mut pod in pods {
        pod.requests = Resources::new(milli_cpu, 100);
        view.apply(Change::Applied(Object::Pod(pod)));
    }
    let mut web = deployment(u32::try_from(view.pods().count()).unwrap(), "1", "0");
    web.template.to_mut().requests = Resources::new(milli_cpu, 100);
    view.apply(Change::Applied(Object::Workload(web)));
    let mut old = node("old", "user");
    old.unschedulable = true;
    view.apply(Change::Applied(Object::Node(old)));
}

#[test]
fn no_pod_is_evicted_before_there_is_room_for_the_next() {
    let fixture = Fixture::new();
    let mut view = cluster(&[(true, true), (false, true)], None);
    asking(&mut view, 2500);
    let Verdict::NoRoom(why) = fixture.one(&view, Route::Evict) else { panic!("evicted") };
    assert_eq!(
        why,
        "room for the pods of Deployment shop/web (2500m CPU, 100 MiB each); node new has the most left: 1500m CPU, 15900 MiB, 109 pod(s)"
    );
    asking(&mut view, 2000);
    assert_eq!(evicted(fixture.one(&view, Route::Evict)), ["shop/web-1-0"]);
    // Where an autoscaler adds nodes, somebody has to wait for them first.
    asking(&mut view, 2500);
    let mut case = fixture.case(&view);
    case.may_grow = true;
    assert!(matches!(next(&case, 10, &[fixture.open(Route::Evict)]).remove(0), Verdict::Write(_)));
}

#[test]
fn a_restart_waits_for_room_for_all_its_pods_beside_those_under_way() {
    let fixture = Fixture::new();
    let mut view = cluster(&[(true, true), (true, true), (true, true)], None);
    asking(&mut view, 1200);
    let restarts = |case: &MoveCase<'_>| next(case, 10, &[fixture.open(Route::Restart)]).remove(0);
    assert!(matches!(restarts(&fixture.case(&view)), Verdict::Write(_)));
    // Another move has begun, and its pods are still to come.
    let mut api = deployment(1, "1", "0");
    api.reference.name = "shop/api".parse().unwrap();
    api.uid = Uid::new("api-uid").unwrap();
    api.template.to_mut().requests = Resources::new(500, 100);
    let other = api.reference.clone();
    view.apply(Change::Applied(Object::Workload(api)));
    let mut case = fixture.case(&view);
    case.under_way = vec![(&other, Route::Restart)];
    assert!(matches!(restarts(&case), Verdict::NoRoom(_)));
    // Alone it goes anyhow: old pods stay until new ones work, and the scheduler has the last word.
    asking(&mut view, 4000);
    assert!(matches!(restarts(&fixture.case(&view)), Verdict::Write(_)));
}

#[test]
fn a_pod_whose_disks_a_node_has_no_place_for_is_not_evicted() {
    let mut fixture = Fixture::new();
    let mut view = cluster(&[(true, true), (false, true)], None);
    asking(&mut view, 100);
    for name in ["a", "b", "c"] {
        view.apply(Change::Applied(Object::Claim(exclusive_claim(&format!("shop/{name}")))));
    }
    let takes = |view: &mut View, name: &str, claims: &[&str]| {
        let mut pod = view.pod(&name.parse().unwrap()).unwrap().clone();
        pod.claims = claims.iter().map(|claim| (*claim).to_owned()).collect();
        view.apply(Change::Applied(Object::Pod(pod)));
    };
    takes(&mut view, "shop/web-1-0", &["a", "b"]);
    takes(&mut view, "shop/web-1-1", &["c"]);
    assert_eq!(
        evicted(fixture.one(&view, Route::Evict)),
        ["shop/web-1-0"],
        "nobody says how many it can have"
    );
    fixture.disks_per_node = [(PoolName::new("userbf").unwrap(), 2)].into();
    let Verdict::NoRoom(why) = fixture.one(&view, Route::Evict) else { panic!("evicted") };
    assert_eq!(
        why,
        "room for the pods of Deployment shop/web (100m CPU, 100 MiB, 2 disk(s) each); node new has the most left: 3900m CPU, 15900 \
         MiB, 109 pod(s), 1 disk(s)"
    );
    fixture.disks_per_node = [(PoolName::new("userbf").unwrap(), 3)].into();
    assert_eq!(evicted(fixture.one(&view, Route::Evict)), ["shop/web-1-0"]);
    // A share is no disk.
    fixture.disks_per_node = [(PoolName::new("userbf").unwrap(), 2)].into();
    let mut share = exclusive_claim("shop/b");
    share.disk = false;
    view.apply(Change::Applied(Object::Claim(share)));
    assert_eq!(evicted(fixture.one(&view, Route::Evict)), ["shop/web-1-0"]);
}

#[test]
fn a_volume_needs_a_node_of_its_zone_and_a_host_port_a_node_without_it() {
    let fixture = Fixture::new();
    let mut view = cluster(&[(true, true), (false, true)], None);
    asking(&mut view, 100);
    let change = |view: &mut View, name: &str, by: &dyn Fn(&mut crate::model::Pod)| {
        let mut pod = view.pod(&name.parse().unwrap()).unwrap().clone();
        by(&mut pod);
        view.apply(Change::Applied(Object::Pod(pod)));
    };
    let mut claim = exclusive_claim("shop/disk");
    claim.zones = vec!["westeurope-1".into()];
    view.apply(Change::Applied(Object::Claim(claim)));
    change(&mut view, "shop/web-1-0", &|pod| pod.claims = vec!["disk".into()]);
    assert!(matches!(fixture.one(&view, Route::Evict), Verdict::NoRoom(_)), "no node is in the zone");
    let mut new = node("new", "userbf");
    new.labels.insert(ZONE_LABEL.into(), "westeurope-1".into());
    view.apply(Change::Applied(Object::Node(new)));
    assert!(matches!(fixture.one(&view, Route::Evict), Verdict::Write(_)));
    for name in ["shop/web-1-0", "shop/web-1-1"] {
        change(&mut view, name, &|pod| pod.rules.to_mut().host_ports = vec![8080]);
    }
    assert!(matches!(fixture.one(&view, Route::Evict), Verdict::NoRoom(_)), "the port is taken");
}

#[test]
fn a_job_gets_its_time_first() {
    let fixture = Fixture::new();
    let view = cluster(&[(true, true), (false, true)], None);
    let mut case = fixture.case(&view);
    let waiting = next(&case, 10, &[fixture.open(Route::WaitThenEvict)]).remove(0);
    assert_eq!(waiting, Verdict::Patience("Deployment shop/web to end by itself, 1m more at most".into()));
    case.now = Timestamp::from_second(60).unwrap();
    assert!(matches!(next(&case, 10, &[fixture.open(Route::WaitThenEvict)]).remove(0), Verdict::Write(_)));
}

#[test]
fn two_budgets_on_a_pod_are_named_and_never_hammered() {
    let fixture = Fixture::new();
    let mut view = cluster(&[(true, true), (true, true), (false, true)], Some(1));
    let second = budget("shop/other", BudgetLimit::MinAvailable(IntOrPercent::Int(1)), 3, 1);
    view.apply(Change::Applied(Object::Budget(second)));
    assert!(matches!(fixture.one(&view, Route::Evict), Verdict::Fail(_, why) if why.contains("two budgets")));
}

#[test]
fn a_bare_pod_that_appeared_later_is_waited_for_and_never_evicted() {
    let fixture = Fixture::new();
    let mut view = cluster(&[], None);
    let mut bare = pod("shop/bare", "old");
    bare.owner = None;
    view.apply(Change::Applied(Object::Pod(bare)));
    let verdict = leftovers(&fixture.case(&view), &fixture.off, Timestamp::UNIX_EPOCH);
    assert!(matches!(verdict, Verdict::Wait(why) if why.starts_with("bare pod shop/bare")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever the cluster looks like and whatever is already leaving: no budget is overdrawn, no Service loses its last
    /// ready endpoint, only pods on doomed nodes are evicted, and no more moves begin than there are slots.
    #[test]
    fn evictions_respect_budgets_endpoints_nodes_and_slots(
        pods in prop::collection::vec((any::<bool>(), any::<bool>()), 1..8),
        desired in prop::option::of(0_u32..6),
        leaving in prop::collection::vec(any::<bool>(), 8),
        moves in 1_usize..5,
        slots in 0_u32..4,
    ) {
        let mut fixture = Fixture::new();
        let view = cluster(&pods, desired);
        let by_uid: BTreeMap<Uid, _> = view.pods().map(|pod| (pod.uid.clone(), pod)).collect();
        fixture.leaving = by_uid.keys().zip(&leaving).filter(|(_, gone)| **gone).map(|(uid, _)| uid.clone()).collect();
        let case = fixture.case(&view);
        // Several moves over the same pods: what one takes, the others must not take again.
        let open: Vec<OpenMove<'_>> = (0..moves).map(|_| fixture.open(Route::Evict)).collect();
        let verdicts = next(&case, slots, &open);
        let evicted: BTreeSet<Uid> = verdicts
            .iter()
            .filter_map(|verdict| if let Verdict::Write(writes) = verdict { Some(writes) } else { None })
            .flatten()
            .map(|write| if let Write::Evict { uid, .. } = write { uid.clone() } else { panic!("not an eviction") })
            .collect();
        let begun = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Write(_))).count();
        prop_assert!(u32::try_from(begun).unwrap() <= slots);
        prop_assert!(evicted.iter().all(|uid| by_uid[uid].node.as_ref().unwrap().as_str() == "old"));
        let gone = |uid: &Uid| evicted.contains(uid) || fixture.leaving.contains(uid);
        let stay = by_uid.values().filter(|pod| pod.is_healthy() && !gone(&pod.uid)).count();
        let healthy_evicted = evicted.iter().filter(|uid| by_uid[*uid].is_healthy()).count();
        if healthy_evicted > 0 {
            prop_assert!(stay > 0, "a Service lost its last endpoint");
            if let Some(desired) = desired {
                prop_assert!(stay >= desired as usize, "the budget was overdrawn");
            }
        }
    }
}

/// Two pods on doomed nodes and one elsewhere, behind a load balancer that sends to nodes.
fn balanced() -> View {
    let mut view = cluster(&[(true, true), (true, true), (false, true)], None);
    let mut front = service("shop/web");
    (front.service_type, front.local_traffic_only) = (ServiceType::LoadBalancer, true);
    view.apply(Change::Applied(Object::Service(front)));
    view
}

/// The node as a watch shows it once the run has had it taken out.
fn out(name: &str, by: &str) -> Change {
    let mut node = node(name, if name == "new" { "userbf" } else { "user" });
    node.labels.insert(EXCLUDE_LABEL.into(), by.into());
    Change::Applied(Object::Node(node))
}

#[test]
fn a_node_leaves_load_balancers_before_its_last_pod_does() {
    let mut fixture = Fixture::new();
    let mut view = balanced();
    // Another pod on the node answers: the balancer loses nothing.
    let Verdict::Write(first) = fixture.one(&view, Route::Evict) else { panic!("a pod can go") };
    assert_eq!(first.iter().map(ToString::to_string).collect::<Vec<_>>(), ["evict shop/web-1-0"]);

    view.apply(Change::Deleted { kind: ResourceKind::Pod, name: "shop/web-1-0".into() });
    view.apply(Change::Applied(Object::Slice(slice("shop/web", &["shop/web-1-1", "shop/web-1-2"]))));
    view.apply(Change::Applied(Object::Workload(deployment(2, "0", "1"))));
    let Verdict::Write(writes) = fixture.one(&view, Route::Evict) else { panic!("the node can go") };
    assert_eq!(
        writes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["take old out of external load balancers"]
    );

    view.apply(out("old", "r"));
    assert!(
        matches!(fixture.one(&view, Route::Evict), Verdict::Write(w) if matches!(w[0], Write::Exclude { .. })),
        "nobody knows since when: the answer was lost"
    );
    let uid = view.node(&NodeName::new("old").unwrap()).unwrap().uid.clone();
    fixture.excluded.insert(uid, Timestamp::UNIX_EPOCH);
    fixture.now = Timestamp::from_second(29).unwrap();
    assert_eq!(
        fixture.one(&view, Route::Evict),
        Verdict::Patience("load balancers to leave node old, 1s more".into())
    );
    fixture.now = Timestamp::from_second(30).unwrap();
    assert!(
        matches!(fixture.one(&view, Route::Evict), Verdict::Write(w) if matches!(w[0], Write::Evict { .. }))
    );
    // Somebody else's label is as good.
    view.apply(out("old", "somebody"));
    fixture.now = Timestamp::UNIX_EPOCH;
    assert!(
        matches!(fixture.one(&view, Route::Evict), Verdict::Write(w) if matches!(w[0], Write::Evict { .. }))
    );
}

#[test]
fn a_node_stays_in_load_balancers_where_nothing_else_answers() {
    let fixture = Fixture::new();
    let mut view = balanced();
    view.apply(Change::Deleted { kind: ResourceKind::Pod, name: "shop/web-1-0".into() });
    view.apply(Change::Applied(Object::Slice(slice("shop/web", &["shop/web-1-1", "shop/web-1-2"]))));
    view.apply(Change::Applied(Object::Workload(deployment(2, "0", "1"))));
    // A second Service behind a balancer of its own has its one pod here.
    let mut other = service("shop/other");
    (other.service_type, other.local_traffic_only) = (ServiceType::LoadBalancer, true);
    other.selector = [("app".to_owned(), "other".to_owned())].into();
    view.apply(Change::Applied(Object::Service(other)));
    let mut alone = pod("shop/other-1", "old");
    alone.owner = None;
    alone.labels = Labels::from([("app".to_owned(), "other".to_owned())]).into();
    view.apply(Change::Applied(Object::Pod(alone)));
    view.apply(Change::Applied(Object::Slice(slice("shop/other", &["shop/other-1"]))));
    assert!(
        matches!(fixture.one(&view, Route::Evict), Verdict::Write(w) if matches!(w[0], Write::Evict { .. })),
        "taken out, the node would cut the other one off"
    );
    let case = fixture.case(&view);
    assert_eq!(case.balancers().before_nodes_go(&fixture.off), None);
    // Where it answers elsewhere, too, the node goes out before its machine does.
    let mut second = pod("shop/other-2", "new");
    second.owner = None;
    second.labels = Labels::from([("app".to_owned(), "other".to_owned())]).into();
    view.apply(Change::Applied(Object::Pod(second)));
    view.apply(Change::Applied(Object::Slice(slice("shop/other", &["shop/other-1", "shop/other-2"]))));
    let case = fixture.case(&view);
    assert!(
        matches!(case.balancers().before_nodes_go(&fixture.off), Some(Verdict::Write(w)) if w.len() == 1)
    );
    view.apply(out("new", "somebody"));
    let case = fixture.case(&view);
    assert_eq!(case.balancers().before_nodes_go(&fixture.off), None, "no other node is in");
}
