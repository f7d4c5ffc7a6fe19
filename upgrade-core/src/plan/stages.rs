//! The ten steps, laid out as stages.

use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::{Inventory, Ownership};
use crate::model::{
    BufferNameError, KubeVersion, Node, Pool, PoolMode, PoolName, StepId, Workload, WorkloadKind, WorkloadRef,
};
use crate::plan::order::{Mover, Turn, in_turns};
use crate::plan::places::nodes_needed;
use crate::plan::quota::crowded;
use crate::plan::route::RouteChoice;
use crate::plan::{Action, Lane, PoolBefore, Reversal, Stage, Step};
use crate::policy::{Policy, RancherManaged};
use crate::ports::BufferSpec;
use crate::view::View;

/// What has to be done, before it is laid out.
pub(super) struct Work {
    target: KubeVersion,
    control_plane: bool,
    pools: Vec<PoolWork>,
}

struct PoolWork {
    pool: PoolName,
    before: PoolBefore,
    /// `None` for a pool without nodes: nothing to move, Azure only changes its model.
    buffer: Option<BufferSpec>,
    moves: Vec<(Turn, Vec<Mover>)>,
    /// The namespaces in which workloads move one after another.
    crowded: BTreeSet<String>,
}

/// The order in which pools are upgraded: system pools first, because the cluster's own add-ons are the probe of the new
/// version before any user's workload depends on it; then by name.
pub(crate) fn pool_order(pools: &[Pool]) -> Vec<&Pool> {
    let mut ordered: Vec<&Pool> = pools.iter().collect();
    ordered.sort_by(|a, b| (a.mode != PoolMode::System, &a.name).cmp(&(b.mode != PoolMode::System, &b.name)));
    ordered
}

pub(super) fn work(
    inventory: &Inventory,
    view: &View,
    policy: &Policy,
    target: KubeVersion,
) -> Result<Work, BufferNameError> {
    let mut taken: Vec<PoolName> = inventory.pools.iter().map(|pool| pool.name.clone()).collect();
    let asked = inventory.surroundings.asked_services().collect();
    let mut pools = Vec::new();
    for pool in pool_order(&inventory.pools).into_iter().filter(|pool| pool.version != target) {
        let nodes: Vec<&Node> = view.nodes_of(&pool.name).collect();
        let buffer = if nodes.is_empty() {
            None
        } else {
            let count = nodes_needed(pool, &nodes, view);
            let name = pool.name.buffer(pool.is_windows(), &taken)?;
            taken.push(name.clone());
            Some(BufferSpec { name, like: pool.name.clone(), count, version: target })
        };
        let moves = if buffer.is_some() {
            in_turns(moves(view, policy, &pool.name, &nodes), &asked, view)
        } else {
            Vec::new()
        };
        let all: Vec<&Mover> = moves.iter().flat_map(|(_, movers)| movers).collect();
        let crowded = crowded(&inventory.surroundings.quotas, &all, view);
        let before = PoolBefore::of(pool, &nodes);
        pools.push(PoolWork { pool: pool.name.clone(), before, buffer, moves, crowded });
    }
    Ok(Work { target, control_plane: inventory.cluster.version != target, pools })
}

/// Every workload that an upgrade to this version moves, with its route, pool by pool; `None` if there is nothing to do. Empty
/// where no plan can be made for another reason, which is a finding of its own.
pub(crate) fn movers(
    inventory: &Inventory,
    view: &View,
    policy: &Policy,
    target: KubeVersion,
) -> Option<Vec<(WorkloadRef, RouteChoice)>> {
    let work = work(inventory, view, policy, target).ok()?;
    let idle = !work.control_plane && work.pools.is_empty();
    let moves = work.pools.into_iter().flat_map(|pool| pool.moves);
    (!idle).then(|| moves.flat_map(|(_, movers)| movers).collect())
}

/// The workloads that may have pods on these nodes when their turn comes, with their size: those that have, and those that
/// could.
fn moves(
    view: &View,
    policy: &Policy,
    pool: &PoolName,
    nodes: &[&Node],
) -> Vec<(u32, WorkloadRef, RouteChoice)> {
    let present = owners_on(view, pool);
    let could = |w: &Workload| w.replicas > 0 && nodes.iter().any(|node| w.template.rules.admits(node));
    let able =
        view.workloads().filter(|w| w.owner.is_none() && w.reference.kind != WorkloadKind::Job && could(w));
    able.map(|w| &w.reference)
        .chain(present.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .filter_map(|owner| {
            let pods = present.get(owner).copied().unwrap_or(0);
            let size = view.workload(owner).map_or(u32::try_from(pods).unwrap_or(u32::MAX), |w| w.replicas);
            Some((size, owner.clone(), RouteChoice::of_owner(owner, pods, view, policy)?))
        })
        .collect()
}

/// Whatever owns pods on the pool that have to move, with the number of those pods.
pub(crate) fn owners_on(view: &View, pool: &PoolName) -> BTreeMap<WorkloadRef, usize> {
    let mut owners = BTreeMap::new();
    for pod in view.pods_in(pool).filter(|pod| !pod.leaves_with_node()) {
        if let Some(owner) = view.workload_of(pod) {
            *owners.entry(owner).or_default() += 1;
        }
    }
    owners
}

/// Lays the work out as numbered stages.
pub(super) fn assemble(work: &Work, policy: &Policy, follows_rancher: bool) -> Vec<Stage> {
    let mut layout = Layout { stages: Vec::new(), policy, follows_rancher };
    if work.control_plane {
        let why = "Azure never takes a control plane back to an older version";
        layout.in_azure(
            "upgrade the control plane".into(),
            Action::UpgradeControlPlane { to: work.target },
            forward(why),
        );
    }
    for pool in &work.pools {
        match &pool.buffer {
            Some(buffer) => layout.round_trip(pool, buffer, work.target),
            None => layout.upgrade(&pool.pool, work.target),
        }
    }
    layout.leave_nothing_to_repair();
    if !layout.stages.is_empty() {
        let pools = work.pools.iter().map(|pool| pool.before.clone()).collect();
        let verify = Action::Verify { version: work.target, pools };
        layout.single("verify".into(), verify, forward("it only looks"));
    }
    layout.stages
}

/// Does each change in Azure wait for Rancher? So it is agreed in the policy, and Rancher has a record of the cluster in
/// Azure: one that says nothing about version and pools today can be edited any day.
pub(super) fn follows_rancher(inventory: &Inventory, policy: &Policy) -> bool {
    let has_record = match inventory.rancher.ownership {
        Ownership::Managed(_) | Ownership::Unmanaged => true,
        Ownership::Generic | Ownership::Unclear { .. } => false,
    };
    has_record && policy.rancher_managed == RancherManaged::LockStep
}

fn forward(why: &str) -> Reversal {
    Reversal::Forward { why: why.to_owned() }
}

fn loan(returned_by: String) -> Reversal {
    Reversal::Loan { returned_by }
}

struct Layout<'a> {
    stages: Vec<Stage>,
    policy: &'a Policy,
    follows_rancher: bool,
}

impl Layout<'_> {
    fn stage(&mut self, title: String, lanes: Vec<Vec<(Action, Reversal)>>) {
        let number = u32::try_from(self.stages.len() + 1).unwrap_or(u32::MAX);
        let lanes = lanes.into_iter().enumerate().map(|(lane, steps)| {
            let steps = steps.into_iter().enumerate().map(|(step, (action, reversal))| {
                let id = StepId::new(format!("{number}.{}.{}", lane + 1, step + 1)).expect("three numbers");
                Step { id, action, reversal }
            });
            Lane { steps: steps.collect() }
        });
        self.stages.push(Stage { number, title, lanes: lanes.collect() });
    }

    fn single(&mut self, title: String, action: Action, reversal: Reversal) {
        self.stage(title, vec![vec![(action, reversal)]]);
    }

    /// A change in Azure; where Rancher writes there too, followed by the wait until Rancher has adopted it.
    fn in_azure(&mut self, title: String, action: Action, reversal: Reversal) {
        let mut steps = vec![(action, reversal)];
        if self.follows_rancher {
            let why = "Rancher's record is what Azure has";
            steps.push((Action::AwaitRancher { once_more: false }, forward(why)));
        }
        self.stage(title, vec![steps]);
    }

    /// After the last change Rancher reads Azure once more: an operator that is restarted later finds nothing to repair.
    fn leave_nothing_to_repair(&mut self) {
        let steps =
            self.stages.iter_mut().flat_map(|stage| &mut stage.lanes).flat_map(|lane| &mut lane.steps);
        let waits = steps.filter_map(|step| match &mut step.action {
            Action::AwaitRancher { once_more } => Some(once_more),
            _ => None,
        });
        if let Some(once_more) = waits.last() {
            *once_more = true;
        }
    }

    fn upgrade(&mut self, pool: &PoolName, to: KubeVersion) {
        let action = Action::UpgradePool { pool: pool.clone(), to };
        self.in_azure(
            format!("{pool}: upgrade its nodes"),
            action,
            forward(&format!(
                "the nodes are new machines afterwards; from here on the workloads of {pool} are not brought back"
            )),
        );
    }

    /// Steps two to ten: buffer, cordon, move, drain, upgrade, cordon, move back, drain, delete. Before each cordon the images
    /// are pulled that will move.
    fn round_trip(&mut self, work: &PoolWork, buffer: &BufferSpec, to: KubeVersion) {
        let (pool, name) = (&work.pool, &buffer.name);
        let create = Action::CreateBuffer { buffer: buffer.clone() };
        self.in_azure(
            format!("{pool}: add buffer {name}"),
            create,
            loan(format!("deleting {name} at the end")),
        );
        self.prewarm(work, name, pool);
        self.leave(
            pool,
            work,
            &format!("{pool}: move onto {name}"),
            "the upgrade, after which the nodes take pods again",
        );
        self.upgrade(pool, to);
        self.prewarm(work, pool, name);
        self.leave(name, work, &format!("{pool}: move back from {name}"), "deleting the buffer");
        let delete = Action::DeleteBuffer { pool: name.clone() };
        self.in_azure(format!("{pool}: delete buffer {name}"), delete, forward("the buffer has served"));
    }

    /// The images of the pods of one pool, onto the nodes of another.
    fn prewarm(&mut self, work: &PoolWork, on: &PoolName, for_pods_of: &PoolName) {
        if self.policy.prewarm && !work.moves.is_empty() {
            let action = Action::Prewarm { on: on.clone(), for_pods_of: for_pods_of.clone() };
            let reversal = forward(
                "an image on a disk harms nobody, and the kubelet throws it away when it needs the room",
            );
            self.single(format!("{}: pull images onto {on}", work.pool), action, reversal);
        }
    }

    /// Cordon, move, soak, drain.
    fn leave(&mut self, off: &PoolName, work: &PoolWork, title: &str, uncordoned_by: &str) {
        self.single(
            format!("{title}: cordon {off}"),
            Action::Cordon { pool: off.clone() },
            loan(uncordoned_by.to_owned()),
        );
        let step = |(workload, choice): &Mover| {
            let action = Action::Move {
                workload: workload.clone(),
                off: off.clone(),
                route: choice.route,
                reason: choice.reason.clone(),
            };
            let reversal = if choice.route.borrows() {
                loan("the move itself at its end, or the end of the run".to_owned())
            } else {
                forward("pods are replaced, never moved back in time")
            };
            (action, reversal)
        };
        for (turn, movers) in &work.moves {
            let title = turn.words().map_or_else(|| title.to_owned(), |words| format!("{title}: {words}"));
            let lanes = in_lanes(movers, &work.crowded);
            self.stage(title, lanes.into_iter().map(|lane| lane.into_iter().map(step).collect()).collect());
        }
        if !self.policy.soak.is_zero() {
            let seconds = self.policy.soak.as_secs();
            self.single(format!("{title}: soak"), Action::Soak { seconds }, forward("time passes"));
        }
        self.single(
            format!("{title}: drain {off}"),
            Action::Drain { pool: off.clone() },
            forward("pods are replaced"),
        );
    }
}

/// A lane for each mover; one for all that would not have room in their namespace's quota side by side.
fn in_lanes<'m>(movers: &'m [Mover], crowded: &BTreeSet<String>) -> Vec<Vec<&'m Mover>> {
    let mut lanes: Vec<Vec<&Mover>> = Vec::new();
    let mut shared: BTreeMap<&str, usize> = BTreeMap::new();
    for mover in movers {
        let namespace = mover.0.name.namespace();
        if let Some(lane) = shared.get(namespace).and_then(|lane| lanes.get_mut(*lane)) {
            lane.push(mover);
            continue;
        }
        if crowded.contains(namespace) {
            shared.insert(namespace, lanes.len());
        }
        lanes.push(vec![mover]);
    }
    lanes
}
