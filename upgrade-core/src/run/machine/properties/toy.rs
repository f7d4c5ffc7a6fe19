//! A cluster of a few nodes and workloads, small enough for ten thousand nights: controllers, scheduler and kubelets in a few
//! lines each, with delays and mishaps from a seed.

mod writes;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::luck::Luck;
use crate::model::tests_support::{budget, node, pod, replica_set, service, slice};
use crate::model::{
    BudgetLimit, IntOrPercent, LabelSelector, Labels, Node, NodeName, ObjectName, Owner, Pod, Resources,
    RestartId, Settings, Strategy, Uid, Workload, WorkloadKind, WorkloadRef,
};
use crate::plan::Route;
use crate::view::{Change, Object, ResourceKind};

/// A pod with what will become of it.
struct Life {
    pod: Pod,
    app: usize,
    revision: u32,
    ready_at: Option<Timestamp>,
    gone_at: Option<Timestamp>,
}

/// A workload with its Service, and its budget if it has one.
pub(super) struct App {
    pub(super) workload: Workload,
    pub(super) route: Route,
    /// Its settings, which a run may borrow and has to give back.
    first: Settings,
    revision: u32,
    /// The workload whose Service and budget it shares: itself, or one that never rolls, as it does not.
    pub(super) leader: usize,
    /// The fewest healthy pods that its budget asks for.
    needs: Option<u32>,
    pub(super) restarts: BTreeMap<RestartId, u32>,
    made: u32,
}

/// The cluster.
pub(super) struct Toy {
    pub(super) luck: Luck,
    pub(super) now: Timestamp,
    /// Nothing fails but calls: whatever goes missing, the run has taken away.
    pub(super) calm: bool,
    nodes: BTreeMap<NodeName, Node>,
    pub(super) apps: Vec<App>,
    pods: BTreeMap<ObjectName, Life>,
    /// What has happened and was not told yet.
    news: Vec<Change>,
    /// What was reported last, by kind and name: nothing is told twice.
    reported: BTreeMap<(ResourceKind, String), Object>,
    /// The rules that were broken.
    pub(super) broken: Vec<String>,
}

fn labels(app: usize, leader: usize) -> Labels {
    Labels::from([("app".to_owned(), format!("a{app}")), behind(leader)])
}

/// The label that the Service and the budget of a workload select.
fn behind(leader: usize) -> (String, String) {
    ("front".to_owned(), format!("f{leader}"))
}

impl App {
    fn rolls(&self) -> bool {
        self.workload.rolling_limits().is_some_and(|(surge, _)| surge > 0)
    }
}

impl Toy {
    /// A cluster with one to four workloads, on nodes that are to be left for as many others.
    pub(super) fn new(seed: u64) -> Self {
        let mut luck = Luck::new(seed);
        let calm = !luck.one_in(3);
        let mut toy = Self {
            calm,
            now: Timestamp::from_second(1_000_000).expect("a time"),
            nodes: BTreeMap::new(),
            apps: Vec::new(),
            pods: BTreeMap::new(),
            news: Vec::new(),
            reported: BTreeMap::new(),
            broken: Vec::new(),
            luck,
        };
        let slots = 4 + u32::try_from(toy.luck.below(12)).expect("small");
        for (name, pool) in [("old0", "user"), ("old1", "user"), ("new0", "userbf"), ("new1", "userbf")] {
            let mut node = node(name, pool);
            node.max_pods = if pool == "user" { 110 } else { slots };
            toy.put_node(node);
        }
        for app in 0..=usize::try_from(toy.luck.below(4)).expect("small") {
            let made = toy.draw(app);
            toy.apps.push(made);
            toy.control(app, true);
        }
        toy.report();
        toy
    }

    fn draw(&mut self, app: usize) -> App {
        let replicas = 1 + u32::try_from(self.luck.below(5)).expect("small");
        let mut workload = replica_set(replicas);
        workload.owner = None;
        let kind = if self.luck.one_in(4) { WorkloadKind::StatefulSet } else { WorkloadKind::Deployment };
        let number = |luck: &mut Luck| IntOrPercent::Int(u32::try_from(luck.below(3)).expect("small"));
        workload.strategy = if kind == WorkloadKind::StatefulSet {
            Strategy::Ordered { partition: 0 }
        } else {
            Strategy::Rolling { max_surge: number(&mut self.luck), max_unavailable: number(&mut self.luck) }
        };
        workload.reference = WorkloadRef { kind, name: format!("shop/a{app}").parse().expect("a name") };
        workload.uid = Uid::new(format!("app-{app}")).expect("plain");
        let before = self.apps.last().filter(|before| before.leader + 1 == app && !before.rolls());
        let leader = match before.map(|before| before.leader) {
            Some(leader) if self.luck.one_in(2) => {
                if let Strategy::Rolling { max_surge, .. } = &mut workload.strategy {
                    *max_surge = IntOrPercent::Int(0);
                }
                leader
            }
            _ => app,
        };
        workload.selector = Some(LabelSelector::of_labels(labels(app, leader)).into());
        workload.template.to_mut().labels = labels(app, leader);
        workload.template.to_mut().requests = Resources::new(100, 100);
        // Where rollouts do not help, a budget may pin all of them.
        workload.paused = workload.reference.kind == WorkloadKind::Deployment && self.luck.one_in(5);
        let most = u64::from(replicas) + u64::from(workload.paused);
        let needs = self.luck.one_in(2).then(|| u32::try_from(self.luck.below(most)).expect("small"));
        let (first, restarts) = (Settings::of(&workload), BTreeMap::new());
        App { workload, route: Route::Gap, first, revision: 1, leader, needs, restarts, made: 0 }
    }

    fn put_node(&mut self, node: Node) {
        self.news.push(Change::Applied(Object::Node(node.clone())));
        self.nodes.insert(node.name.clone(), node);
    }

    fn after(&mut self, least: u64, spread: u64) -> Timestamp {
        let seconds = i64::try_from(least + self.luck.below(spread)).expect("small");
        self.now + SignedDuration::from_secs(seconds)
    }

    fn pods_of(&self, app: usize) -> impl Iterator<Item = &Life> {
        self.pods.values().filter(move |life| life.app == app)
    }

    fn staying(&self, app: usize) -> usize {
        self.pods_of(app).filter(|life| !life.pod.terminating).count()
    }

    /// The healthy pods behind the Service of a workload.
    fn healthy_behind(&self, leader: usize) -> u32 {
        let apps = (0..self.apps.len()).filter(|app| self.apps[*app].leader == leader);
        apps.map(|app| self.healthy(app)).sum()
    }

    fn healthy(&self, app: usize) -> u32 {
        u32::try_from(self.pods_of(app).filter(|life| life.pod.is_healthy()).count()).expect("small")
    }

    /// Time passes: pods become ready and go, mishaps happen, controllers and the scheduler do their work.
    pub(super) fn pass(&mut self, until: Timestamp) {
        self.now = until;
        let due: Vec<ObjectName> = self.pods.keys().cloned().collect();
        for name in due {
            let Some(life) = self.pods.get_mut(&name) else { continue };
            if life.gone_at.is_some_and(|at| at <= until) {
                self.pods.remove(&name);
                self.news.push(Change::Deleted { kind: ResourceKind::Pod, name: name.to_string() });
            } else if life.ready_at.is_some_and(|at| at <= until) {
                life.ready_at = None;
                life.pod.ready = !life.pod.terminating;
                self.news.push(Change::Applied(Object::Pod(life.pod.clone())));
            }
        }
        if !self.calm && self.luck.one_in(20) {
            self.mishap();
        }
        if !self.calm && self.luck.one_in(40) {
            self.revert();
        }
        for app in 0..self.apps.len() {
            self.control(app, false);
        }
        self.schedule();
        self.report();
    }

    /// A pod fails its readiness probe for a while.
    fn mishap(&mut self) {
        let back = self.after(1, 40);
        let names: Vec<ObjectName> = self.pods.keys().cloned().collect();
        let Some(which) = u64::try_from(names.len()).ok().filter(|count| *count > 0) else { return };
        let name = names[usize::try_from(self.luck.below(which)).expect("small")].clone();
        if let Some(life) = self.pods.get_mut(&name).filter(|life| life.pod.is_healthy()) {
            life.pod.ready = false;
            life.ready_at = Some(back);
            self.news.push(Change::Applied(Object::Pod(life.pod.clone())));
        }
    }

    /// Somebody's GitOps takes a restart out of a template again, which is a rollout of its own.
    fn revert(&mut self) {
        let which = self.luck.below(u64::try_from(self.apps.len()).expect("small"));
        let workload = &mut self.apps[usize::try_from(which).expect("small")];
        if workload.workload.template.to_mut().restart_id.take().is_some() {
            workload.workload.generation += 1;
            workload.revision += 1;
        }
    }

    /// What the workload's controller does; at first it makes everything at once.
    fn control(&mut self, app: usize, at_first: bool) {
        let (kind, replicas) =
            (self.apps[app].workload.reference.kind.clone(), self.apps[app].workload.replicas);
        if kind == WorkloadKind::StatefulSet {
            for ordinal in 0..replicas {
                let name: ObjectName = format!("shop/a{app}-{ordinal}").parse().expect("a name");
                match self.pods.get(&name) {
                    None => {
                        self.make(app, name, at_first);
                        if !at_first {
                            break;
                        }
                    }
                    Some(life) if life.pod.is_healthy() => {}
                    Some(_) => break,
                }
            }
            return;
        }
        let (surge, unavailable) = self.apps[app].workload.rolling_limits().expect("a Deployment");
        let revision = self.apps[app].revision;
        let newest = |life: &&Life| life.revision == revision && !life.pod.terminating;
        let mut new = self.pods_of(app).filter(newest).count();
        let most = usize::try_from(replicas + surge).expect("small");
        while new < usize::try_from(replicas).expect("small") && self.staying(app) < most {
            let name = format!("shop/a{app}-{revision}-{}", self.apps[app].made).parse().expect("a name");
            self.apps[app].made += 1;
            self.make(app, name, at_first);
            new += 1;
        }
        // Fewer are wanted than there are: those that do not work go first.
        let newest = |life: &&Life| life.revision == revision && !life.pod.terminating;
        let mut spare: Vec<(bool, ObjectName)> =
            self.pods_of(app).filter(newest).map(|life| (life.pod.ready, life.pod.name.clone())).collect();
        spare.sort();
        let too_many = spare.len().saturating_sub(usize::try_from(replicas).expect("small"));
        for (_, name) in spare.into_iter().take(too_many) {
            self.end(&name);
        }
        let old = |life: &&Life| life.revision != revision && !life.pod.terminating;
        let mut old: Vec<(bool, ObjectName)> =
            self.pods_of(app).filter(old).map(|life| (life.pod.ready, life.pod.name.clone())).collect();
        old.sort();
        for (ready, name) in old {
            if !ready || self.healthy(app) > replicas - unavailable {
                self.end(&name);
            }
        }
    }

    fn make(&mut self, app: usize, name: ObjectName, at_first: bool) {
        let ready_at = (!at_first).then(|| self.after(2, 12));
        let home = if self.luck.one_in(2) { "old0" } else { "old1" };
        let made = &mut self.apps[app];
        made.made += 1;
        let mut pod = pod(&name.to_string(), home);
        pod.uid = Uid::new(format!("uid-{app}-{}", made.made)).expect("plain");
        pod.labels = labels(app, made.leader).into();
        pod.owner = Some(if made.workload.reference.kind == WorkloadKind::StatefulSet {
            let (name, uid) = (made.workload.reference.name.name().to_owned(), made.workload.uid.clone());
            Owner { kind: WorkloadKind::StatefulSet, name, uid }
        } else {
            let name = format!("a{app}-{}", made.revision);
            Owner { kind: WorkloadKind::ReplicaSet, uid: Uid::new(&name).expect("plain"), name }
        });
        if !at_first {
            (pod.node, pod.ready) = (None, false);
        }
        self.news.push(Change::Applied(Object::Pod(pod.clone())));
        let revision = made.revision;
        self.pods.insert(name, Life { pod, app, revision, ready_at, gone_at: None });
    }

    fn end(&mut self, name: &ObjectName) {
        let gone = self.after(1, 8);
        if let Some(life) = self.pods.get_mut(name).filter(|life| !life.pod.terminating) {
            (life.pod.terminating, life.gone_at) = (true, Some(gone));
            if life.pod.node.is_none() {
                life.gone_at = Some(self.now);
            }
            self.news.push(Change::Applied(Object::Pod(life.pod.clone())));
        }
    }

    fn schedule(&mut self) {
        let waiting: Vec<ObjectName> = self
            .pods
            .values()
            .filter(|life| life.pod.node.is_none() && !life.pod.terminating)
            .map(|life| life.pod.name.clone())
            .collect();
        for name in waiting {
            let taken =
                |node: &Node| self.pods.values().filter(|l| l.pod.node.as_ref() == Some(&node.name)).count();
            let open = |node: &&Node| node.takes_pods() && taken(node) < node.max_pods as usize;
            let Some(node) = self.nodes.values().filter(open).min_by_key(|node| taken(node)) else { return };
            let node = node.name.clone();
            let ready_at = self.after(2, 12);
            let Some(life) = self.pods.get_mut(&name) else { continue };
            (life.pod.node, life.ready_at) = (Some(node), Some(ready_at));
            self.news.push(Change::Applied(Object::Pod(life.pod.clone())));
        }
    }

    /// The controllers report, and endpoints follow the pods.
    fn report(&mut self) {
        for app in 0..self.apps.len() {
            let healthy = self.healthy(app);
            let revision = self.apps[app].revision;
            let updated = |life: &&Life| life.revision == revision && !life.pod.terminating;
            let updated = self.pods_of(app).filter(updated).count();
            let staying = self.staying(app);
            let status = &mut self.apps[app].workload.status;
            status.replicas = u32::try_from(staying).expect("small");
            status.updated = u32::try_from(updated).expect("small");
            (status.ready, status.available) = (healthy, healthy);
            let generation = self.apps[app].workload.generation;
            self.apps[app].workload.status.observed_generation = generation;
            for object in self.around(app) {
                self.put(object);
            }
            let leads = self.apps[app].leader == app;
            let mut behind = self.apps.iter().filter(|other| other.leader == app);
            let unsafe_one = behind.any(|other| other.route == Route::Gap);
            if leads && self.healthy_behind(app) == 0 && self.calm && !unsafe_one {
                self.broken.push(format!("Service shop/a{app} has no ready endpoint"));
            }
        }
    }

    /// The workload with its ReplicaSet, its budget, its Service and the endpoints of that.
    fn around(&self, app: usize) -> Vec<Object> {
        let made = &self.apps[app];
        let name = made.workload.reference.name.to_string();
        let mut objects = vec![Object::Workload(made.workload.clone())];
        if made.workload.reference.kind == WorkloadKind::Deployment {
            let mut set = replica_set(made.workload.replicas);
            set.reference.name = format!("{name}-{}", made.revision).parse().expect("a name");
            set.uid = Uid::new(format!("a{app}-{}", made.revision)).expect("plain");
            let (owner, uid) = (made.workload.reference.name.name().to_owned(), made.workload.uid.clone());
            set.owner = Some(Owner { kind: WorkloadKind::Deployment, name: owner, uid });
            objects.push(Object::Workload(set));
        }
        if made.leader != app {
            return objects;
        }
        if let Some(needs) = made.needs {
            let limit = BudgetLimit::MinAvailable(IntOrPercent::Int(needs));
            let mut budget = budget(&name, limit, self.healthy_behind(app), needs);
            budget.selector = Some(LabelSelector::of_labels(Labels::from([behind(app)])));
            objects.push(Object::Budget(budget));
        }
        let mut front = service(&name);
        front.selector = Labels::from([behind(app)]);
        objects.push(Object::Service(front));
        let of_it = |life: &&Life| self.apps[life.app].leader == app && life.pod.is_healthy();
        let healthy = self.pods.values().filter(of_it);
        let names: Vec<String> = healthy.map(|life| life.pod.name.to_string()).collect();
        objects.push(Object::Slice(slice(&name, &names.iter().map(String::as_str).collect::<Vec<_>>())));
        objects
    }

    fn put(&mut self, object: Object) {
        let key = (object.kind().expect("all of them are read"), object.name());
        if self.reported.get(&key) != Some(&object) {
            self.news.push(Change::Applied(object.clone()));
            self.reported.insert(key, object);
        }
    }

    /// What has happened since this was asked last, in order.
    pub(super) fn take_news(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.news)
    }

    /// Everything there is, as first lists; nothing of it is news any more.
    pub(super) fn lists(&mut self) -> Vec<Change> {
        self.report();
        self.news.clear();
        let mut lists: BTreeMap<ResourceKind, Vec<Object>> =
            ResourceKind::ALL.iter().map(|kind| (*kind, Vec::new())).collect();
        let nodes = self.nodes.values().map(|node| Object::Node(node.clone()));
        let pods = self.pods.values().map(|life| Object::Pod(life.pod.clone()));
        for object in nodes.chain(pods).chain(self.reported.values().cloned()) {
            let kind = object.kind().expect("all of them are read");
            lists.entry(kind).or_default().push(object);
        }
        lists.into_iter().map(|(kind, objects)| Change::Listed { kind, objects }).collect()
    }

    /// One object as it is.
    pub(super) fn read(&self, kind: ResourceKind, name: &str) -> Option<Object> {
        let of_kind = |app: &&App| ResourceKind::of_workload(&app.workload.reference.kind) == Some(kind);
        match kind {
            ResourceKind::Node => self.nodes.get(&NodeName::new(name).ok()?).cloned().map(Object::Node),
            ResourceKind::Pod => self.pods.get(&name.parse().ok()?).map(|life| Object::Pod(life.pod.clone())),
            _ => {
                let named = |app: &&App| app.workload.reference.name.to_string() == name;
                let app = self.apps.iter().filter(of_kind).find(named)?;
                Some(Object::Workload(app.workload.clone()))
            }
        }
    }

    /// The workloads that have not got back what they lent.
    pub(super) fn owed(&self) -> impl Iterator<Item = &WorkloadRef> {
        let owed = self.apps.iter().filter(|app| Settings::of(&app.workload) != app.first);
        owed.map(|app| &app.workload.reference)
    }

    /// How many borrow something.
    pub(super) fn borrowing(&self) -> usize {
        self.apps.iter().filter(|app| app.route.borrows()).count()
    }

    /// How many restarts there were.
    pub(super) fn restarts(&self) -> usize {
        self.apps.iter().map(|app| app.restarts.len()).sum()
    }

    /// The pods that are still on nodes that were to be left.
    pub(super) fn left_behind(&self) -> Vec<&ObjectName> {
        let on_old =
            |life: &&Life| life.pod.node.as_ref().is_some_and(|node| node.as_str().starts_with("old"));
        self.pods.values().filter(on_old).map(|life| &life.pod.name).collect()
    }
}
