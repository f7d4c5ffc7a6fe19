//! The facts a plan rests on, and what changed since.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::inventory::Inventory;
use crate::model::{KubeVersion, Pool, WorkloadKind};
use crate::plan::route::RouteChoice;
use crate::policy::Policy;
use crate::ports::AzureView;
use crate::view::View;

/// The facts a plan rests on. What may change by itself during a quiet day (pods, Jobs, replica counts of a workload) is not
/// among them; what would make another plan is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Basis {
    facts: BTreeMap<String, Fact>,
}

/// What the name of a pool's fact begins with.
const POOL: &str = "pool ";

/// One fact's value, as people read it.
pub type Fact = String;

/// A fact that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Which fact.
    pub what: String,
    /// What the plan rests on; `None` if it was not there.
    pub was: Option<Fact>,
    /// What is so now; `None` if it is gone.
    pub is: Option<Fact>,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.was, &self.is) {
            (Some(was), Some(is)) => write!(f, "{}: was {was}, is {is}", self.what),
            (Some(was), None) => write!(f, "{}: was {was}, is gone", self.what),
            (None, Some(is)) => write!(f, "{}: is new ({is})", self.what),
            (None, None) => write!(f, "{}: unchanged", self.what),
        }
    }
}

impl Basis {
    /// What of the control plane and of the pools is neither as it was when the plan was made nor, with the `target` version, as the
    /// plan makes it: somebody else has changed it since.
    pub(crate) fn changed_in_azure(&self, azure: &AzureView, target: KubeVersion) -> Vec<Drift> {
        let drift = |what: &str, is: Option<String>, fits: &dyn Fn(&str) -> bool| {
            let was = self.facts.get(what).filter(|was| !fits(was))?;
            Some(Drift { what: what.to_owned(), was: Some(format!("{was} or {target}")), is })
        };
        let version = azure.cluster.version;
        let control_plane = drift("control plane", Some(version.to_string()), &|was| {
            version == target || was == version.to_string()
        });
        let pools =
            self.facts.range(POOL.to_owned()..).map_while(|(what, _)| Some((what, what.strip_prefix(POOL)?)));
        let pools = pools.filter_map(|(what, name)| {
            let pool = azure.pools.iter().find(|pool| pool.name.as_str() == name);
            drift(what, pool.map(describe_pool), &|was| {
                let shape = was.rsplit_once(" at ").map_or(was, |(shape, _)| shape);
                pool.is_some_and(|pool| {
                    was == describe_pool(pool) || pool.version == target && shape == shape_of_pool(pool)
                })
            })
        });
        control_plane.into_iter().chain(pools).collect()
    }

    /// The facts of an inventory under a policy.
    pub fn of(inventory: &Inventory, policy: &Policy) -> Self {
        Self::with_view(inventory, policy, &inventory.view())
    }

    pub(crate) fn with_view(inventory: &Inventory, policy: &Policy, view: &View) -> Self {
        let mut facts = BTreeMap::new();
        let id = &inventory.identity;
        facts.insert("cluster".to_owned(), format!("{} = {} ({})", id.rancher_id, id.arm_id, id.kube_system));
        facts.insert("control plane".to_owned(), inventory.cluster.version.to_string());
        facts.insert("policy".to_owned(), serde_json::to_string(policy).expect("a policy is plain data"));
        for pool in &inventory.pools {
            facts.insert(format!("{POOL}{}", pool.name), describe_pool(pool));
        }
        for budget in view.budgets() {
            facts.insert(format!("budget {}", budget.name), format!("{:?}", budget.limit));
        }
        let lasting = view.workloads().filter(|w| w.reference.kind != WorkloadKind::Job && w.owner.is_none());
        for workload in lasting {
            if let Some(choice) = RouteChoice::of(workload, view, policy) {
                facts.insert(workload.reference.to_string(), format!("moves by {}", choice.route));
            }
        }
        Self { facts }
    }

    /// What is different in `now`.
    pub fn drift(&self, now: &Self) -> Vec<Drift> {
        let names = self.facts.keys().chain(now.facts.keys().filter(|name| !self.facts.contains_key(*name)));
        let compared = names.map(|name| Drift {
            what: name.clone(),
            was: self.facts.get(name).cloned(),
            is: now.facts.get(name).cloned(),
        });
        compared.filter(|drift| drift.was != drift.is).collect()
    }
}

fn describe_pool(pool: &Pool) -> String {
    format!("{} at {}", shape_of_pool(pool), pool.version)
}

/// A pool in a few words, all but its version.
fn shape_of_pool(pool: &Pool) -> String {
    let mode = serde_json::to_string(&pool.mode).unwrap_or_default().replace('"', "");
    let nodes = match pool.autoscaling {
        Some((min, max)) => format!("autoscaled {min} to {max}"),
        None => format!("{} nodes", pool.count),
    };
    format!("{mode}, {nodes}, {}", pool.vm_size)
}
