//! What the cluster does when it is written to.

use super::Toy;
use crate::journal::{Write, WriteAnswer};
use crate::model::{EXCLUDE_LABEL, ObjectName, Settings, Strategy, Uid, WorkloadRef};
use crate::ports::{EvictionAnswer, PortErrorKind};
use crate::view::{Change, Object};

impl Toy {
    /// Does what a write asks for, and looks whether it may be asked for.
    pub(in crate::run::machine::properties) fn act(&mut self, write: &Write) -> WriteAnswer {
        match write {
            Write::Cordon { node, .. } | Write::Uncordon { node, .. } => {
                if let Some(mut node) = self.nodes.get(node).cloned() {
                    node.unschedulable = matches!(write, Write::Cordon { .. });
                    self.put_node(node);
                }
                WriteAnswer::Done
            }
            Write::Exclude { node, .. } | Write::Include { node, .. } => {
                if let Some(mut node) = self.nodes.get(node).cloned() {
                    if matches!(write, Write::Exclude { .. }) {
                        node.labels.insert(EXCLUDE_LABEL.into(), "r".into());
                    } else {
                        node.labels.remove(EXCLUDE_LABEL);
                    }
                    self.put_node(node);
                }
                WriteAnswer::Done
            }
            Write::Restart { workload, restart, .. } => {
                let Some(app) = self.apps.iter_mut().find(|app| app.workload.reference == *workload) else {
                    return WriteAnswer::Failed {
                        message: "not found".into(),
                        kind: PortErrorKind::NotFound,
                    };
                };
                if app.workload.template.restart_id.as_ref() != Some(restart) {
                    app.workload.template.to_mut().restart_id = Some(restart.clone());
                    app.workload.generation += 1;
                    app.revision += 1;
                    *app.restarts.entry(restart.clone()).or_default() += 1;
                    self.news.push(Change::Applied(Object::Workload(app.workload.clone())));
                }
                WriteAnswer::Done
            }
            Write::Evict { pod, uid } => WriteAnswer::Eviction { eviction: self.evict(pod, uid) },
            Write::Lend { workload, former, lent, .. } => self.change(workload, former, lent),
            Write::GiveBack { workload, lent, former, .. } => self.change(workload, lent, former),
            other => WriteAnswer::Failed {
                message: format!("nobody asks for {other}"),
                kind: PortErrorKind::Rejected,
            },
        }
    }

    fn change(&mut self, workload: &WorkloadRef, from: &Settings, to: &Settings) -> WriteAnswer {
        let failed = |message: &str, kind| WriteAnswer::Failed { message: message.into(), kind };
        let Some(app) = self.apps.iter_mut().find(|app| app.workload.reference == *workload) else {
            return failed("not found", PortErrorKind::NotFound);
        };
        let now = Settings::of(&app.workload);
        let missing = to.differing_from(&now);
        if !from.named_in(&missing).differing_from(&now).is_empty() {
            return failed("conflict", PortErrorKind::Conflict);
        }
        if let Some(replicas) = missing.replicas {
            app.workload.replicas = replicas;
        }
        if let Strategy::Rolling { max_surge, max_unavailable } = &mut app.workload.strategy {
            *max_surge = missing.max_surge.unwrap_or(*max_surge);
            *max_unavailable = missing.max_unavailable.unwrap_or(*max_unavailable);
        }
        if !missing.is_empty() {
            app.workload.generation += 1;
            self.news.push(Change::Applied(Object::Workload(app.workload.clone())));
        }
        WriteAnswer::Done
    }

    fn evict(&mut self, name: &ObjectName, uid: &Uid) -> EvictionAnswer {
        let Some(life) = self.pods.get(name).filter(|life| life.pod.uid == *uid) else {
            return EvictionAnswer::Gone;
        };
        let (app, node) = (life.app, life.pod.node.clone());
        let takes_one = life.pod.is_healthy();
        if !node.is_some_and(|node| node.as_str().starts_with("old")) {
            self.broken.push(format!("{name} is on no doomed node and was evicted"));
        }
        if takes_one {
            let leader = self.apps[app].leader;
            let left = self.healthy_behind(leader) - 1;
            let overdrawn = self.apps[leader].needs.is_some_and(|needs| left < needs);
            if overdrawn && !self.calm {
                return EvictionAnswer::Refused { message: "not now".into(), retry_after_seconds: 0 };
            }
            if overdrawn {
                self.broken.push(format!("the budget of {name} is overdrawn: {left} healthy are left"));
            }
        }
        self.end(name);
        EvictionAnswer::Accepted
    }
}
