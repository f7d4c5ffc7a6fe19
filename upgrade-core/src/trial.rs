//! Trials: the API server is asked what it would say to the writes of a plan, without doing them (`dryRun=All`).
//!
//! A trial passes authentication, authorization, admission webhooks and validation, so it finds what no look at the objects can:
//! the policy engine that refuses every change of a Deployment that was admitted before the policy came. It says nothing
//! about budgets, which allow today what they refuse tonight.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::{NodeName, ObjectName, RestartId, RunId, Settings, Uid, Workload, WorkloadRef};
use crate::plan::{Action, Plan, Route, lent_by};
use crate::ports::{Kubernetes, PortError, PortErrorKind, WriteMode};
use crate::prewarm::{PrewarmPod, samples};
use crate::view::View;

/// How many trials are under way at the same time. Each passes every webhook of the cluster.
const IN_FLIGHT: usize = 8;

/// What an API server says whose webhook has side effects (Kubernetes: `NewDryRunUnsupportedErr`). It has refused the trial,
/// not the write.
const NO_DRY_RUN: &str = "does not support dry run";

/// What an API server says of a token that may not create pods (Kubernetes: RBAC authorizer). Controllers make the pods.
const NO_RIGHT: &str = "cannot create resource \"pods\"";

/// What an API server says of a quota that is used up (Kubernetes: admission plugin `ResourceQuota`). Whether a move needs room in it
/// is a question of its own, which the checks of quotas answer.
const NO_QUOTA: &str = "exceeded quota:";

/// A write to try.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trial {
    Cordon { node: NodeName, uid: Uid },
    Restart { workload: WorkloadRef, uid: Uid, id: RestartId },
    Lend { workload: WorkloadRef, uid: Uid, former: Settings, lent: Settings },
    Evict { pod: ObjectName, uid: Uid, of: WorkloadRef },
    Pull { pod: PrewarmPod, run: RunId },
    Pod { workload: WorkloadRef, uid: Uid },
}

/// A write that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// What was tried, for people: `restart Deployment shop/web`.
    pub write: String,
    /// What it was tried on: `namespace/name`, or a node.
    pub object: String,
    /// What the API server said.
    pub answer: TrialAnswer,
    /// The run does without it where it is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// What the API server says to a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum TrialAnswer {
    /// It would do it.
    Accepted,
    /// It would refuse.
    Refused {
        /// The server's words, which name the webhook or the rule.
        message: String,
    },
    /// It is not known.
    Untried {
        /// Why.
        why: String,
    },
}

/// The writes of a plan that are worth a trial: each restart and each loan; for each workload that is evicted one of its pods; for
/// each a new pod, which its controller will have to make; in each namespace a pod that pulls its images; and one node of each pool
/// that is cordoned, because what admits one admits all.
fn trials(plan: &Plan, view: &View) -> Vec<Trial> {
    let id = RestartId::new(format!("dry-run.{}", plan.hash())).expect("a hash is hexadecimal");
    let run = RunId::new("dry-run").expect("plain letters");
    let (mut seen, mut pulling) = (BTreeSet::new(), BTreeSet::new());
    let mut trials = Vec::new();
    for step in plan.steps() {
        match &step.action {
            Action::Cordon { pool } => {
                let node = view.nodes_of(pool).find(|node| !node.unschedulable);
                trials.extend(
                    node.map(|node| Trial::Cordon { node: node.name.clone(), uid: node.uid.clone() }),
                );
            }
            Action::Prewarm { for_pods_of, .. } => {
                let samples = samples(view, for_pods_of, &run).into_iter();
                let new = samples.filter(|pod| pulling.insert(pod.name.namespace().to_owned()));
                trials.extend(new.map(|pod| Trial::Pull { pod, run: run.clone() }));
            }
            Action::Move { workload, route, off, .. } if seen.insert(workload) => {
                let found = view.workload(workload);
                trials.extend(found.and_then(|found| loan(*route, found, view)));
                let pod =
                    |found: &Workload| Trial::Pod { workload: workload.clone(), uid: found.uid.clone() };
                trials.extend(found.map(pod));
                trials.extend(match found {
                    Some(found) if route.restarts() => Some(Trial::Restart {
                        workload: workload.clone(),
                        uid: found.uid.clone(),
                        id: id.clone(),
                    }),
                    _ => view
                        .pods_in(off)
                        .filter(|pod| pod.is_healthy() && view.workload_of(pod).as_ref() == Some(workload))
                        .map(|pod| Trial::Evict {
                            pod: pod.name.clone(),
                            uid: pod.uid.clone(),
                            of: workload.clone(),
                        })
                        .next(),
                });
            }
            Action::Move { .. }
            | Action::UpgradeControlPlane { .. }
            | Action::CreateBuffer { .. }
            | Action::Soak { .. }
            | Action::Uncordon { .. }
            | Action::AwaitRancher { .. }
            | Action::Verify { .. }
            | Action::Drain { .. }
            | Action::UpgradePool { .. }
            | Action::DeleteBuffer { .. } => {}
        }
    }
    trials
}

/// A pod of a workload's template, as its controller would make it as far as admission is concerned: to be tried, never to be made.
/// `workload` is the object as the API writes it. The pod names a scheduler that nobody is: one that came to be all the same, because
/// something in between lost the word that it is a trial, would run nowhere.
pub fn pod_to_try(workload: &Value) -> Value {
    let member = |pointer: &str| workload.pointer(pointer).cloned().unwrap_or(Value::Null);
    let mut spec = member("/spec/template/spec");
    // The disks that a StatefulSet makes for each pod are in its template by name alone.
    let claims = member("/spec/volumeClaimTemplates");
    let names = claims.as_array().into_iter().flatten().filter_map(|claim| claim.pointer("/metadata/name"));
    let disks = names.map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
    let mut volumes: Vec<Value> = disks.collect();
    volumes.extend(member("/spec/template/spec/volumes").as_array().into_iter().flatten().cloned());
    if let Some(spec) = spec.as_object_mut() {
        spec.insert("schedulerName".into(), "aks-drover-trial".into());
        spec.insert("volumes".into(), volumes.into());
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "aks-drover-trial",
            "namespace": member("/metadata/namespace"),
            "labels": member("/spec/template/metadata/labels"),
            "annotations": member("/spec/template/metadata/annotations"),
        },
        "spec": spec,
    })
}

/// What the move would borrow.
fn loan(route: Route, workload: &Workload, view: &View) -> Option<Trial> {
    let now = Settings::of(workload);
    let lent = lent_by(route, workload, view).differing_from(&now);
    let (workload, uid) = (workload.reference.clone(), workload.uid.clone());
    (!lent.is_empty()).then(|| Trial::Lend { workload, uid, former: now.named_in(&lent), lent })
}

/// Tries the writes of a plan that the API server could refuse. Nothing is changed. The results are in the plan's order.
pub async fn try_out(kubernetes: &dyn Kubernetes, plan: &Plan, view: &View, now: Timestamp) -> Vec<Tried> {
    stream::iter(trials(plan, view))
        .map(|trial| trial.send(kubernetes, now))
        .buffered(IN_FLIGHT)
        .collect()
        .await
}

impl Trial {
    async fn send(self, kubernetes: &dyn Kubernetes, now: Timestamp) -> Tried {
        let mode = WriteMode::DryRun;
        let optional = matches!(self, Self::Pull { .. });
        let (write, object, result) = match self {
            Self::Cordon { node, uid } => {
                let result = kubernetes.set_unschedulable(&node, &uid, true, mode).await;
                (format!("cordon node {node}"), node.to_string(), result)
            }
            Self::Restart { workload, uid, id } => {
                let result = kubernetes.restart(&workload, &uid, &id, now, mode).await;
                (format!("restart {workload}"), workload.name.to_string(), result)
            }
            Self::Lend { workload, uid, former, lent } => {
                let result = kubernetes.change_settings(&workload, &uid, &former, &lent, mode).await;
                (format!("borrow {lent} of {workload}"), workload.name.to_string(), result)
            }
            Self::Pull { pod, run } => {
                let result = kubernetes.create_prewarm_pod(&pod, &run, mode).await;
                let namespace = pod.name.namespace().to_owned();
                (format!("create a pod that pulls images in namespace {namespace}"), namespace, result)
            }
            Self::Pod { workload, uid } => {
                let result = kubernetes.try_pod(&workload, &uid).await;
                (format!("create a pod of {workload}"), workload.name.to_string(), result)
            }
            Self::Evict { pod, uid, of } => {
                // Every answer of the Eviction API means that the request was admitted.
                let result = kubernetes.evict(&pod, &uid, mode).await.map(drop);
                (format!("evict pod {pod} of {of}"), of.name.to_string(), result)
            }
        };
        Tried { write, object, answer: answer(result), optional }
    }
}

fn answer(result: Result<(), PortError>) -> TrialAnswer {
    let Err(error) = result else { return TrialAnswer::Accepted };
    match error.kind {
        PortErrorKind::Rejected if error.message.contains(NO_DRY_RUN) => {
            TrialAnswer::Untried { why: error.message }
        }
        PortErrorKind::Forbidden if error.message.contains(NO_RIGHT) => {
            TrialAnswer::Untried { why: error.message }
        }
        PortErrorKind::Forbidden if error.message.contains(NO_QUOTA) => TrialAnswer::Accepted,
        PortErrorKind::Forbidden | PortErrorKind::Rejected => TrialAnswer::Refused { message: error.message },
        // Gone, or another object by now: then this one is not written to either.
        PortErrorKind::NotFound | PortErrorKind::Conflict => TrialAnswer::Accepted,
        // The port says of every failed write without an answer that its outcome is unknown; a trial has none.
        PortErrorKind::Unauthorized
        | PortErrorKind::Throttled
        | PortErrorKind::Unreachable
        | PortErrorKind::Internal => TrialAnswer::Untried { why: error.message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests_support::inventory;
    use crate::model::{IntOrPercent, Strategy};
    use crate::policy::Policy;
    use crate::ports::{CallOutcome, RemoteService};

    fn error(kind: PortErrorKind, message: &str) -> PortError {
        PortError::new(RemoteService::Kubernetes, kind, CallOutcome::NothingDone, message)
    }

    #[test]
    fn each_workload_is_tried_once_by_its_own_route_and_one_node_of_each_pool() {
        let mut inventory = inventory();
        let names = |inventory: &crate::Inventory| -> Vec<String> {
            let plan = crate::plan(inventory, &Policy::default(), "1.35".parse().unwrap()).unwrap();
            let of = |trial: &Trial| match trial {
                Trial::Cordon { node, .. } => format!("cordon {node}"),
                Trial::Restart { workload, .. } => format!("restart {workload}"),
                Trial::Lend { workload, lent, .. } => format!("borrow {lent} of {workload}"),
                Trial::Evict { pod, .. } => format!("evict {pod}"),
                Trial::Pod { workload, .. } => format!("pod of {workload}"),
                Trial::Pull { pod, .. } => format!("pull in {} on {}", pod.name.namespace(), pod.node),
            };
            trials(&plan, &inventory.view()).iter().map(of).collect()
        };
        let pod = "pod of Deployment shop/web";
        assert_eq!(names(&inventory), ["cordon s0", "cordon u0", pod, "restart Deployment shop/web"]);
        let mut pulling = inventory.clone();
        pulling.pods[0].images = vec!["web:1".into()];
        assert_eq!(names(&pulling)[1], "pull in shop on u0");
        inventory.workloads[0].strategy =
            Strategy::Rolling { max_surge: IntOrPercent::Int(0), max_unavailable: IntOrPercent::Int(1) };
        assert_eq!(
            names(&inventory),
            [
                "cordon s0",
                "cordon u0",
                "borrow maxSurge 1 of Deployment shop/web",
                pod,
                "restart Deployment shop/web"
            ]
        );
        inventory.workloads[0].paused = true;
        assert_eq!(names(&inventory), ["cordon s0", "cordon u0", pod, "evict shop/web-1-a"]);
    }

    #[test]
    fn a_refusal_is_one_and_a_webhook_that_cannot_be_tried_is_not() {
        use PortErrorKind as Kind;
        let refused = |message: &str| TrialAnswer::Refused { message: message.into() };
        let untried = |why: &str| TrialAnswer::Untried { why: why.into() };
        let denied = "admission webhook \"policy.example\" denied the request: no label";
        let no_trial = "admission webhook \"audit.example\" does not support dry run";
        assert_eq!(answer(Ok(())), TrialAnswer::Accepted);
        assert_eq!(answer(Err(error(Kind::Forbidden, denied))), refused(denied));
        assert_eq!(answer(Err(error(Kind::Rejected, denied))), refused(denied));
        assert_eq!(answer(Err(error(Kind::Rejected, no_trial))), untried(no_trial));
        let no_right = "pods is forbidden: User \"drover\" cannot create resource \"pods\" in API group \"\"";
        assert_eq!(answer(Err(error(Kind::Forbidden, no_right))), untried(no_right));
        let no_quota =
            "pods \"aks-drover-trial\" is forbidden: exceeded quota: all, requested: pods=1, used: pods=3";
        assert_eq!(answer(Err(error(Kind::Forbidden, no_quota))), TrialAnswer::Accepted);
        assert_eq!(answer(Err(error(Kind::Unreachable, "EOF"))), untried("EOF"));
        assert_eq!(answer(Err(error(Kind::NotFound, "gone"))), TrialAnswer::Accepted);
    }
}
