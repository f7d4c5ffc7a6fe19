//! What is a leftover, and what gives it back.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Leftover, LeftoverKind, Seen};
use crate::inventory::{ClusterIdentity, Ownership, SecondWriter};
use crate::journal::{Cordoned, Loan, RunState, Write};
use crate::model::{
    EXCLUDE_LABEL, Node, NodeName, Pod, Pool, PoolName, ProvisioningState, RunId, Settings, StepId,
};
use crate::moves;
use crate::plan::{Action, Plan};
use crate::view::ResourceKind;

/// How many names a line has.
const NAMED: usize = 3;

/// How long a rollout may take that needs what was borrowed for it.
const ROLLOUT: Duration = Duration::from_secs(180);
/// How long Azure may take.
const AZURE: Duration = Duration::from_secs(3600);

/// What gives a leftover back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// These writes.
    Write(Vec<Write>),
    /// Time, but no more than so much.
    Wait {
        /// What is waited for.
        what: String,
        /// For how long at most.
        limit: Duration,
    },
    /// A person.
    Stuck(String),
}

/// A leftover of a run, and what is done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    /// What it is.
    pub(super) leftover: Leftover,
    /// The step that has taken it.
    pub(super) step: StepId,
    /// When it was taken: what was taken last is given back first.
    taken: u64,
    /// What gives it back.
    pub(super) next: Next,
}

impl Task {
    fn new(leftover: Leftover, step: &StepId, taken: u64, next: Next) -> Self {
        let obstacle = match &next {
            Next::Stuck(why) => Some(why.clone()),
            Next::Write(_) | Next::Wait { .. } => None,
        };
        Self { leftover: Leftover { obstacle, ..leftover }, step: step.clone(), taken, next }
    }
}

/// What the run has left, what it took last first. Everything in it is accounted for by the run's journal and seen to be so.
pub(super) fn tasks(state: &RunState, seen: &Seen, identity: &ClusterIdentity) -> Vec<Task> {
    let (Some(run), Some(plan)) = (state.run(), state.plan()) else { return Vec::new() };
    let case = Case { state, run, plan, seen, identity };
    let mut tasks: Vec<Task> = case.buffers().chain(case.cordons()).chain(case.excluded()).collect();
    tasks.extend(case.pods().chain(case.loans()));
    if state.is_over() {
        // Its journal takes no more records, and without one nothing is written.
        let over = || Next::Stuck("the run is over".to_owned());
        tasks =
            tasks.into_iter().map(|task| Task::new(task.leftover, &task.step, task.taken, over())).collect();
    }
    tasks.sort_by_key(|task| std::cmp::Reverse(task.taken));
    tasks
}

/// What somebody else has set otherwise since the run has borrowed it. It is his, and stays.
pub(super) fn changed_since(state: &RunState, seen: &Seen) -> Vec<String> {
    let changed = state.loans().filter_map(|loan| {
        let workload = seen.view.workload(&loan.workload).filter(|found| found.uid == loan.uid)?;
        let now = Settings::of(workload).named_in(&loan.lent);
        let theirs = now.differing_from(&loan.lent).differing_from(&loan.former);
        let loan_of =
            |what: &Settings| format!("{what} of {} was set by somebody since; it stays", loan.workload);
        (!theirs.is_empty()).then(|| loan_of(&theirs))
    });
    changed.collect()
}

/// What bears the name of a run whose journal is not here. It is nobody's to delete who does not know the run.
pub(super) fn without_journal(
    seen: &Seen,
    identity: &ClusterIdentity,
    journals: &[RunState],
    working: Option<&RunId>,
) -> Vec<Leftover> {
    let known: BTreeSet<&str> = journals.iter().filter_map(RunState::run).map(RunId::as_str).collect();
    let is_other = |run: &str| !known.contains(run) && working.is_none_or(|working| working.as_str() != run);
    let obstacle = || Some("the journal of its run is not here".to_owned());
    let pools = seen.pools.iter().filter_map(|pool| {
        let run = pool.made_by().filter(|run| is_other(run))?;
        let leftover = buffer(seen, identity, RunId::new(run).ok(), pool);
        Some(Leftover { obstacle: obstacle(), ..leftover })
    });
    let pods = seen.view.pulling_pods().filter_map(|pod| {
        let pulling = pod.pulling.as_ref().filter(|own| is_other(own.run.as_str()) && !pod.terminating)?;
        Some(Leftover { obstacle: obstacle(), ..prewarm(&pulling.run, pod) })
    });
    let nodes = seen.view.nodes().filter_map(|node| {
        // Somebody who keeps a node out for good writes `true`.
        let run = node.excluded_by().filter(|run| is_other(run) && !matches!(*run, "true" | "false"))?;
        Some(Leftover { obstacle: obstacle(), ..excluded(&RunId::new(run).ok()?, node) })
    });
    pools.chain(pods).chain(nodes).collect()
}

/// Cordons that no journal accounts for: whose they are is not known.
pub(super) fn unaccounted_cordons(seen: &Seen, journals: &[RunState]) -> Option<String> {
    let ours: BTreeSet<_> =
        journals.iter().flat_map(|state| open_cordons(state, seen)).map(|c| &c.uid).collect();
    let others: Vec<&NodeName> = seen
        .view
        .nodes()
        .filter(|node| node.unschedulable && !ours.contains(&node.uid))
        .map(|node| &node.name)
        .collect();
    (!others.is_empty()).then(|| {
        format!(
            "cordoned, and no journal that was read says by whom: {}",
            names(others.iter().copied(), others.len())
        )
    })
}

fn many(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn names<T: ToString>(all: impl Iterator<Item = T>, count: usize) -> String {
    let named: Vec<String> = all.take(NAMED).map(|name| name.to_string()).collect();
    let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
    format!("{}{more}", named.join(", "))
}

/// The run's cordons that still are. What an upgrade of the pool has opened again, and what goes with a buffer, is none.
fn open_cordons<'a>(state: &'a RunState, seen: &'a Seen) -> impl Iterator<Item = &'a Cordoned> {
    let plan = state.plan();
    state.open_cordons().filter(move |cordon| {
        let node = seen.view.node(&cordon.node).filter(|node| node.uid == cordon.uid && node.unschedulable);
        let Some(pool) = node.map(Node::pool) else { return false };
        let upgraded = |pool: &PoolName| {
            plan.into_iter().flat_map(Plan::steps).any(|step| {
                matches!(&step.action, Action::UpgradePool { pool: own, .. } if own == pool)
                    && state.outcome(&step.id).is_some()
            })
        };
        pool.is_none_or(|pool| !upgraded(&pool))
    })
}

fn buffer(seen: &Seen, identity: &ClusterIdentity, run: Option<RunId>, pool: &Pool) -> Leftover {
    let nodes = seen.view.nodes_of(&pool.name).count();
    let pods = seen.view.pods_to_move_from(&pool.name);
    let arm = &identity.arm_id;
    let drain = if pods == 0 {
        String::new()
    } else {
        format!("kubectl drain -l kubernetes.azure.com/agentpool={} --ignore-daemonsets && ", pool.name)
    };
    Leftover {
        run,
        kind: LeftoverKind::Buffer,
        object: pool.name.to_string(),
        detail: format!("{} in Azure, {}, {} to move", pool.state, many(nodes, "node"), many(pods, "pod")),
        obstacle: None,
        by_hand: format!(
            "{drain}az aks nodepool delete --subscription {} --resource-group {} --cluster-name {} --name {}",
            arm.subscription(),
            arm.resource_group(),
            arm.name(),
            pool.name
        ),
    }
}

fn prewarm(run: &RunId, pod: &Pod) -> Leftover {
    let on = pod.node.as_ref().map_or_else(|| "no node".to_owned(), ToString::to_string);
    Leftover {
        run: Some(run.clone()),
        kind: LeftoverKind::PrewarmPod,
        object: pod.name.to_string(),
        detail: format!("pulls images onto {on}"),
        obstacle: None,
        by_hand: format!("kubectl -n {} delete pod {}", pod.name.namespace(), pod.name.name()),
    }
}

fn excluded(run: &RunId, node: &Node) -> Leftover {
    Leftover {
        run: Some(run.clone()),
        kind: LeftoverKind::OutOfBalancers,
        object: node.name.to_string(),
        detail: "kept out of external load balancers".to_owned(),
        obstacle: None,
        by_hand: format!("kubectl label node {} {EXCLUDE_LABEL}-", node.name),
    }
}

/// One run, and what is seen.
struct Case<'a> {
    state: &'a RunState,
    run: &'a RunId,
    plan: &'a Plan,
    seen: &'a Seen,
    identity: &'a ClusterIdentity,
}

impl Case<'_> {
    /// The pools that the journal says were made, and that bear the run's tag.
    fn buffers(&self) -> impl Iterator<Item = Task> {
        let mut made: Vec<(u64, &StepId, &PoolName)> = Vec::new();
        for (id, step, write) in self.state.intents() {
            if let Write::CreatePool { name, .. } = write
                && !made.iter().any(|(_, _, known)| *known == name)
            {
                made.push((id, step, name));
            }
        }
        made.into_iter().filter_map(|(id, step, name)| {
            match self.seen.pools.iter().find(|pool| pool.name == *name) {
                Some(pool) if pool.is_made_by(self.run) => {
                    let leftover = buffer(self.seen, self.identity, Some(self.run.clone()), pool);
                    Some(Task::new(leftover, step, id, self.delete(pool)))
                }
                Some(_) => None,
                None => self.gone(id, step, name),
            }
        })
    }

    /// A pool that Azure has deleted for us, while somebody does not know it yet.
    fn gone(&self, id: u64, step: &StepId, name: &PoolName) -> Option<Task> {
        let deleted = |write: &Write| matches!(write, Write::DeletePool { pool } if pool == name);
        if !self.state.is_given_up() || !self.state.announced().any(deleted) {
            return None;
        }
        let nodes = self.seen.view.nodes_of(name).count();
        let (what, limit) = match &self.seen.ownership {
            _ if nodes > 0 => (format!("Kubernetes still lists {} of {name}", many(nodes, "node")), AZURE),
            Ownership::Managed(writer) if !writer.out_of_sync.is_empty() => {
                (format!("Rancher: {}", writer.out_of_sync.join("; ")), writer.longest_wait())
            }
            _ => return None,
        };
        let leftover = Leftover {
            run: Some(self.run.clone()),
            kind: LeftoverKind::Buffer,
            object: name.to_string(),
            detail: format!("deleted in Azure; {what}"),
            obstacle: None,
            by_hand: format!("kubectl get nodes -l kubernetes.azure.com/agentpool={name}"),
        };
        Some(Task::new(leftover, step, id, Next::Wait { what, limit }))
    }

    /// A buffer goes when nothing runs on it that has to move, and nothing can come onto it any more.
    fn delete(&self, pool: &Pool) -> Next {
        let view = &self.seen.view;
        let movers: Vec<&Pod> = view.pods_in(&pool.name).filter(|pod| !pod.leaves_with_node()).collect();
        if let ProvisioningState::Busy(word) = &pool.state {
            return Next::Wait { what: format!("Azure: pool {} is {word}", pool.name), limit: AZURE };
        }
        // Pods that cannot be seen are not taken for none.
        let sees = [ResourceKind::Pod, ResourceKind::Node].map(ResourceKind::plural);
        if let Some(unseen) = self.seen.unseen.iter().find(|unseen| sees.contains(&unseen.what.as_str())) {
            return Next::Stuck(format!("{} could not be seen: {}", unseen.what, unseen.why));
        }
        if !movers.is_empty() {
            let named = names(movers.iter().map(|pod| &pod.name), movers.len());
            return Next::Stuck(format!("pods run on it ({}): {named}", movers.len()));
        }
        let open = view.uncordoned_nodes_of(&pool.name);
        let cordons: Vec<Write> =
            open.map(|node| Write::Cordon { node: node.name.clone(), uid: node.uid.clone() }).collect();
        if !cordons.is_empty() {
            return Next::Write(cordons);
        }
        let busy = |what: String| Next::Wait { what, limit: AZURE };
        if let ProvisioningState::Busy(word) = &self.seen.cluster.state {
            return busy(format!("Azure: the cluster is {word}"));
        }
        let others = self.seen.pools.iter().find(|other| matches!(other.state, ProvisioningState::Busy(_)));
        if let Some(other) = others {
            return busy(format!("Azure: pool {} is {}", other.name, other.state));
        }
        match &self.seen.ownership {
            Ownership::Managed(_) if !self.plan.is_in_lock_step() => {
                let why = "Rancher manages this cluster's pools now, and the run was not planned for that";
                return Next::Stuck(why.to_owned());
            }
            Ownership::Managed(writer) if !writer.out_of_sync.is_empty() => {
                let what = format!("Rancher: {}", writer.out_of_sync.join("; "));
                return Next::Wait { what, limit: writer.longest_wait() };
            }
            Ownership::Managed(_) | Ownership::Generic | Ownership::Unmanaged => {}
            Ownership::Unclear { reason } => {
                let what = format!("Rancher: {reason}");
                return Next::Wait { what, limit: SecondWriter::usual_wait() };
            }
        }
        Next::Write(vec![Write::DeletePool { pool: pool.name.clone() }])
    }

    /// Is the node one of a buffer of the run? What is lent of it goes with it.
    fn goes_with_buffer(&self, node: &Node) -> bool {
        let made = |write: &Write| matches!(write, Write::CreatePool { name, .. } if node.is_in(name));
        self.state.announced().any(made)
    }

    /// The nodes whose label names the run.
    fn excluded(&self) -> impl Iterator<Item = Task> {
        let ours =
            |node: &&Node| node.excluded_by() == Some(self.run.as_str()) && !self.goes_with_buffer(node);
        self.seen.view.nodes().filter(ours).filter_map(|node| {
            let taken = |write: &Write| matches!(write, Write::Exclude { uid, .. } if *uid == node.uid);
            let (id, step, _) = self.state.intents().find(|(_, _, write)| taken(write))?;
            let write = Write::Include { node: node.name.clone(), uid: node.uid.clone() };
            Some(Task::new(excluded(self.run, node), step, id, Next::Write(vec![write])))
        })
    }

    fn cordons(&self) -> impl Iterator<Item = Task> {
        let lent = open_cordons(self.state, self.seen).filter(|cordon| {
            let node = self.seen.view.node(&cordon.node);
            !node.is_some_and(|node| self.goes_with_buffer(node))
        });
        lent.map(|cordon| {
            let leftover = Leftover {
                run: Some(self.run.clone()),
                kind: LeftoverKind::Cordon,
                object: cordon.node.to_string(),
                detail: "cordoned".to_owned(),
                obstacle: None,
                by_hand: format!("kubectl uncordon {}", cordon.node),
            };
            let write = Write::Uncordon { node: cordon.node.clone(), uid: cordon.uid.clone() };
            Task::new(leftover, &cordon.step, cordon.id, Next::Write(vec![write]))
        })
    }

    fn pods(&self) -> impl Iterator<Item = Task> {
        self.seen.view.pulling_pods().filter_map(|pod| {
            let own = pod.pulling.as_ref().is_some_and(|own| own.run == *self.run);
            let (id, step, _) = self.state.intents().find(|(_, _, write)| {
                matches!(write, Write::CreatePrewarmPod { pod: made } if made.name == pod.name)
            })?;
            let next = if pod.terminating {
                let what = format!("pod {} to end", pod.name);
                Next::Wait { what, limit: ROLLOUT }
            } else {
                let write = Write::DeletePrewarmPod { pod: pod.name.clone(), uid: pod.uid.clone() };
                Next::Write(vec![write])
            };
            own.then(|| Task::new(prewarm(self.run, pod), step, id, next))
        })
    }

    fn loans(&self) -> impl Iterator<Item = Task> {
        self.state.loans().filter_map(|loan| self.loan(loan))
    }

    fn loan(&self, loan: &Loan) -> Option<Task> {
        let workload = self.seen.view.workload(&loan.workload)?;
        let still = loan.still_lent(workload);
        if still.is_empty() {
            return None;
        }
        let write = moves::give_back(loan, workload)?;
        let next = if workload.is_settled() {
            Next::Write(vec![write])
        } else {
            let what = format!("the rollout of {}, which needs it, to end", loan.workload);
            Next::Wait { what, limit: ROLLOUT }
        };
        let mut intents = self.state.intents();
        let lend =
            intents.rfind(|(_, step, write)| **step == loan.step && matches!(write, Write::Lend { .. }));
        let leftover = Leftover {
            run: Some(self.run.clone()),
            kind: LeftoverKind::Settings,
            object: loan.workload.to_string(),
            detail: format!("{still} instead of {}", loan.former.named_in(&still)),
            obstacle: None,
            by_hand: loan.manual_return(&still),
        };
        Some(Task::new(leftover, &loan.step, lend.map_or(0, |(id, ..)| id), next))
    }
}
