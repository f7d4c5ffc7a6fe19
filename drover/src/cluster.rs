//! A cluster whose identity is proven.

use std::path::Path;
use std::sync::Arc;

use futures::try_join;
use jiff::Timestamp;
use upgrade_core::finding::Finding;
use upgrade_core::inventory::ClusterIdentity;
use upgrade_core::model::{RunId, VersionRequest};
use upgrade_core::plan::{Plan, PlanError};
use upgrade_core::ports::{Azure, Clock, EventSink, Gate, Journal, Kubernetes, Ports, Rancher};
use upgrade_core::{Inventory, Policy, access, trial};

use crate::abort::Abort;
use crate::apply::{Apply, DEFAULT_JOURNAL};
use crate::error::Error;
use crate::files::PlanFile;
use crate::holder;
use crate::journal::{JournalAccess, RunSelector};
use crate::leftovers::Leftovers;
use crate::probes::Probes;

/// The services of one cluster, as ports.
#[derive(Clone)]
pub struct Services {
    /// The API server.
    pub kubernetes: Arc<dyn Kubernetes>,
    /// Azure.
    pub azure: Arc<dyn Azure>,
    /// Rancher.
    pub rancher: Arc<dyn Rancher>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// A cluster whose identity is proven. Clones are cheap and share their connections.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    identity: ClusterIdentity,
    policy: Policy,
    services: Services,
    journals: JournalAccess,
    probes: Probes,
}

impl Cluster {
    /// Proves that Rancher, Azure and Kubernetes mean the same cluster. Reads only.
    ///
    /// [`Fleet::connect`](crate::Fleet::connect) does this over HTTP; here the services can be any, such as the lab's, and
    /// journals are files.
    ///
    /// # Errors
    /// [`Error::Identity`] if the evidence contradicts, or does not suffice (see [`upgrade_core::inventory::proof`]).
    pub async fn prove(policy: Policy, services: Services) -> Result<Self, Error> {
        Self::proven(policy, services, JournalAccess::default(), Probes::default()).await
    }

    pub(crate) async fn proven(
        policy: Policy,
        services: Services,
        journals: JournalAccess,
        probes: Probes,
    ) -> Result<Self, Error> {
        let identity = services.rancher.identity().await?;
        check_identity(&identity)?;
        Ok(Self { inner: Arc::new(Inner { identity, policy, services, journals, probes }) })
    }

    /// The name in the configuration.
    pub fn name(&self) -> &str {
        &self.inner.identity.name
    }

    /// The names that Rancher, Azure and Kubernetes have for it, with the proof.
    pub fn identity(&self) -> &ClusterIdentity {
        &self.inner.identity
    }

    /// What the user wants for this cluster.
    pub fn policy(&self) -> &Policy {
        &self.inner.policy
    }

    pub(crate) fn journal_access(&self) -> &JournalAccess {
        &self.inner.journals
    }

    pub(crate) fn probes(&self) -> &Probes {
        &self.inner.probes
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner.services.clock.now()
    }

    pub(crate) fn services(&self) -> &Services {
        &self.inner.services
    }

    /// Refuses a plan that is for another cluster.
    pub(crate) fn is_planned_for(&self, planned: &ClusterIdentity) -> Result<(), Error> {
        if self.identity().is_same_cluster(planned) {
            return Ok(());
        }
        Err(Error::Identity {
            cluster: self.name().to_owned(),
            why: format!("the plan is for another one: {}", self.identity().difference(planned)),
            evidence: self.identity().evidence.clone(),
        })
    }

    /// Reads everything that a plan rests on, the identity again among it. Never writes.
    pub async fn inventory(&self) -> Result<Inventory, Error> {
        let Services { kubernetes, azure, rancher, clock } = &self.inner.services;
        // Before the rest, and not beside it: the proof lists every node, which would be in memory twice.
        let identity = rancher.identity().await?;
        self.check_same(&identity)?;
        let (facts, azure, snapshot) = try_join!(rancher.facts(), azure.observe(), kubernetes.snapshot())?;
        if snapshot.kube_system != identity.kube_system {
            let why = format!(
                "the uid of kube-system changed from {} to {} while reading",
                identity.kube_system, snapshot.kube_system
            );
            return Err(identity_error(&identity, why));
        }
        let mut inventory = Inventory::of(clock.now(), identity, facts, azure, snapshot);
        inventory.access = access::review(&**kubernetes, &inventory).await;
        Ok(inventory)
    }

    fn check_same(&self, identity: &ClusterIdentity) -> Result<(), Error> {
        if identity.is_same_cluster(self.identity()) {
            return check_identity(identity);
        }
        Err(identity_error(identity, identity.difference(self.identity())))
    }

    /// Reads the cluster and says what stands in the way of a version. Never writes.
    pub async fn check(&self, to: VersionRequest) -> Result<Vec<Finding>, Error> {
        let inventory = self.inventory().await?;
        Ok(upgrade_core::check(&inventory, self.policy(), to))
    }

    /// Reads the cluster, checks it, plans the upgrade, and has the API server try the plan's writes (`dryRun=All`), so that
    /// what a webhook would refuse tonight is known now. Never writes.
    ///
    /// # Errors
    /// [`Error::Blocked`] with every finding if something stands in the way.
    pub async fn plan(&self, to: VersionRequest) -> Result<PlanFile, Error> {
        let mut inventory = self.inventory().await?;
        let plan = self.make_plan(&inventory, to)?;
        let Services { kubernetes, clock, .. } = &self.inner.services;
        inventory.trials = trial::try_out(&**kubernetes, &plan, &inventory.view(), clock.now()).await;
        let plan = self.make_plan(&inventory, to)?;
        Ok(PlanFile::new(plan, inventory))
    }

    fn make_plan(&self, inventory: &Inventory, to: VersionRequest) -> Result<Plan, Error> {
        upgrade_core::plan(inventory, self.policy(), to).map_err(|error| match error {
            PlanError::Blocked(findings) => Error::Blocked { findings },
            error => Error::NoPlan(error),
        })
    }

    /// Executes a plan, when started.
    pub fn apply(&self, plan: PlanFile) -> Apply {
        Apply::plan(self.clone(), plan)
    }

    /// Goes on with a run from its journal, when started.
    pub fn resume(&self, run: RunSelector) -> Apply {
        Apply::run(self.clone(), run)
    }

    /// Asks a run to stop that another process works on, when performed.
    pub fn abort(&self, run: RunId) -> Abort {
        Abort::new(self.clone(), run)
    }

    /// Looks for what runs have left on this cluster, and gives it back, when told to.
    pub fn leftovers(&self) -> Leftovers {
        Leftovers::new(self.clone(), Path::new(DEFAULT_JOURNAL).into())
    }

    /// The ports of a run on this cluster, by a process that nobody else is.
    pub fn ports(&self, journal: Arc<dyn Journal>, gate: Arc<dyn Gate>, events: Arc<dyn EventSink>) -> Ports {
        let Services { kubernetes, azure, rancher, clock } = self.inner.services.clone();
        Ports { kubernetes, azure, rancher, journal, clock, gate, events, holder: holder::new() }
    }
}

fn check_identity(identity: &ClusterIdentity) -> Result<(), Error> {
    identity.proof().map_err(|unproven| identity_error(identity, unproven.to_string()))
}

fn identity_error(identity: &ClusterIdentity, why: String) -> Error {
    Error::Identity { cluster: identity.name.clone(), why, evidence: identity.evidence.clone() }
}
