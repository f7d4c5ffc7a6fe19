//! Beginning a run, or going on with one.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc::unbounded_channel;
use upgrade_core::Inventory;
use upgrade_core::event::RunOutcome;
use upgrade_core::finding::Finding;
use upgrade_core::journal::RunState;
use upgrade_core::model::{Pool, RunId, VersionRequest};
use upgrade_core::plan::{Basis, Plan};
use upgrade_core::ports::{AskBefore, Gate, Journal};
use upgrade_core::run::failure::OnFailure;
use upgrade_core::run::{Start, drive, stop_signal};

use crate::cluster::Cluster;
use crate::error::Error;
use crate::files::PlanFile;
use crate::gate::{Doorkeeper, PauseAlways};
use crate::journal::{self, JournalPlace, RunPlace, RunSelector};
use crate::run::{Channel, Run};
use crate::run_id;

/// Where journals lie unless somebody says otherwise.
pub(crate) const DEFAULT_JOURNAL: &str = "journal";

/// What the journal says wrote it.
const TOOL: &str = concat!("aks-drover ", env!("CARGO_PKG_VERSION"));

/// A run that is about to begin, or to go on. Nothing happens before [`start`](Self::start).
#[must_use = "nothing happens before `start`"]
pub struct Apply {
    cluster: Cluster,
    what: What,
    journal: JournalPlace,
    gate: Arc<dyn Gate>,
    before: AskBefore,
    approved: Option<String>,
    on_failure: Option<OnFailure>,
}

#[expect(clippy::large_enum_variant, reason = "made once per run")]
enum What {
    Plan(PlanFile),
    Run(RunSelector),
}

impl Apply {
    pub(crate) fn plan(cluster: Cluster, plan: PlanFile) -> Self {
        Self::of(cluster, What::Plan(plan))
    }

    pub(crate) fn run(cluster: Cluster, run: RunSelector) -> Self {
        Self::of(cluster, What::Run(run))
    }

    fn of(cluster: Cluster, what: What) -> Self {
        let journal = Path::new(DEFAULT_JOURNAL).into();
        let gate = Arc::new(PauseAlways);
        Self { cluster, what, journal, gate, before: AskBefore::None, approved: None, on_failure: None }
    }

    /// Where journals are; the directory `./journal` unless set.
    pub fn journal(self, place: impl Into<JournalPlace>) -> Self {
        Self { journal: place.into(), ..self }
    }

    /// Who is asked what only a person can answer. Without a gate every question pauses the run.
    pub fn gate(self, gate: impl Gate + 'static) -> Self {
        Self { gate: Arc::new(gate), ..self }
    }

    /// Before what the gate is asked, beside what it is asked in any case. A run keeps to the most that was ever said.
    pub fn ask_before(self, before: AskBefore) -> Self {
        Self { before, ..self }
    }

    /// What to do when a step fails. Without it a new run holds, and one that goes on does what was said when it began.
    pub fn on_failure(self, then: OnFailure) -> Self {
        Self { on_failure: Some(then), ..self }
    }

    /// Answers the question that a paused run waits for with "go on", by its id. Every other question goes to the gate.
    pub fn approve(self, question: impl Into<String>) -> Self {
        Self { approved: Some(question.into()), ..self }
    }

    /// Makes sure that the cluster is the one that is meant, and (for a plan) that it is still as it was when the plan was
    /// made; then begins the journal, and the run on a task of this runtime.
    ///
    /// Until it returns `Ok` nothing was changed, neither in the cluster nor in Azure.
    ///
    /// # Errors
    /// [`Error::Identity`] for another cluster, [`Error::Stale`] if something changed that the plan rests on,
    /// [`Error::Blocked`] if something stands in the way now, [`Error::Journal`] if the journal cannot be used.
    pub async fn start(self) -> Result<Run, Error> {
        let Self { cluster, what, journal, gate, before, approved, on_failure } = self;
        cluster.probes().check_tokens().await?;
        let (start, run, place, journal) = match what {
            // Boxed: it reads the whole cluster.
            What::Plan(plan) => Box::pin(begin(&cluster, plan.plan, &journal)).await?,
            What::Run(selector) => take_up(&cluster, &selector.place(&journal), approved.as_deref()).await?,
        };
        let probes = cluster.probes().clone();
        let gate = Arc::new(Doorkeeper { gate, before, approved, on_failure, probes });
        let (sender, events) = unbounded_channel();
        let ports = cluster.ports(journal, gate, Arc::new(Channel(sender)));
        let (stop, signal) = stop_signal();
        let work = tokio::spawn(drive(start, ports, signal));
        Ok(Run { id: run, journal: place, stop, events, work })
    }
}

type Begun = (Start, RunId, RunPlace, Arc<dyn Journal>);

async fn begin(cluster: &Cluster, plan: Plan, place: &JournalPlace) -> Result<Begun, Error> {
    cluster.is_planned_for(&plan.cluster)?;
    let journals = cluster.journal_access().journals(place).await?;
    let inventory = cluster.inventory().await?;
    let drift = plan.basis.drift(&Basis::of(&inventory, cluster.policy()));
    if !drift.is_empty() {
        let reached = is_there(&plan, &inventory).then_some(plan.target);
        return Err(Error::Stale { drift, reached });
    }
    // What a plan rests on can be as it was, and something else stand in the way: a pool at work, an acceptance that ended.
    let findings = upgrade_core::check(&inventory, &plan.policy, VersionRequest::Exact(plan.target));
    if findings.iter().any(Finding::blocks) {
        return Err(Error::Blocked { findings });
    }
    let run = run_id::new(cluster.name(), cluster.now(), run_id::random());
    let own = journals.run(&run);
    let journal = own.create().await?;
    Ok((Start::Fresh { plan, run: run.clone(), tool: TOOL.to_owned() }, run, own.place(), journal))
}

/// Is the cluster where the plan leads? A buffer that stands tells of a run that is not through.
fn is_there(plan: &Plan, inventory: &Inventory) -> bool {
    let upgraded = |pool: &Pool| pool.version == plan.target && pool.made_by().is_none();
    inventory.cluster.version == plan.target && inventory.pools.iter().all(upgraded)
}

async fn take_up(cluster: &Cluster, place: &RunPlace, approved: Option<&str>) -> Result<Begun, Error> {
    let (journal, state) = cluster.journal_access().journal(place).await?.resume().await?;
    let (Some(run), Some(plan)) = (state.run().cloned(), state.plan()) else {
        return Err(journal::unusable(place, "it holds no run", None));
    };
    cluster.is_planned_for(&plan.cluster)?;
    if RunState::is_done(&state) {
        let problem = "the run is done, there is nothing to go on with";
        return Err(journal::unusable(place, problem, None));
    }
    if RunState::is_over(&state) {
        let problem = "the run failed and brought everything back, there is nothing to go on with";
        return Err(journal::unusable(place, problem, Some("make a new plan")));
    }
    if state.is_given_up() {
        let problem = "the run was given up, and what it held was given back (`leftovers --clean`)";
        return Err(journal::unusable(place, problem, Some("make a new plan")));
    }
    if let Some(approved) = approved {
        waits_for(&state, approved, place)?;
    }
    Ok((Start::Resumed(state), run, place.clone(), journal))
}

/// Refuses an answer to a question that was not asked: somebody has read about another run, or about this one before it went on.
fn waits_for(state: &RunState, approved: &str, place: &RunPlace) -> Result<(), Error> {
    let problem = format!("the run does not wait for an answer to `{approved}`");
    match state.closed() {
        Some(RunOutcome::Paused { question }) if question.id == approved => Ok(()),
        Some(RunOutcome::Paused { question }) => {
            let remedy = format!("it waits for one to `{}`: {}", question.id, question.text);
            Err(journal::unusable(place, &problem, Some(&remedy)))
        }
        _ => Err(journal::unusable(place, &problem, Some("it waits for none; resume it without an answer"))),
    }
}

#[cfg(test)]
mod tests;
