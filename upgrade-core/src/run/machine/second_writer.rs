//! Rancher as a second writer to Azure: what is asked before, between and after the run's own changes.
//!
//! Before each change in Azure it is read anew who decides about the cluster; where that is Rancher, too, it has to be at rest
//! and want what Azure has. After each change a step waits until it does so again. And while a buffer stands, it is watched:
//! a Rancher that has not adopted it deletes it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{Effect, Machine, Memory, Phase, signed};
use crate::event::{EventKind, RunOutcome};
use crate::inventory::{Ownership, RancherFacts, SecondWriter};
use crate::journal::Write;
use crate::model::{Node, PoolName, ProvisioningState, StepId};
use crate::moves::back_in;
use crate::plan::{Action, Plan, Stage, Step};
use crate::ports::PortError;
use crate::run::failure::Failure;
use crate::run::{Verdict, azure};
use crate::span;

/// How often Rancher is asked while something waits for it. It reads Azure far less often.
const PACE: Duration = Duration::from_secs(15);
/// How often it is asked while nothing does, and a buffer stands that it could take back.
const WATCH: Duration = Duration::from_secs(60);

/// What Rancher said last, and when it is asked again.
#[derive(Debug, Default)]
pub(super) struct RancherReading {
    /// When the question that is under way was asked.
    asked: Option<Timestamp>,
    /// When to ask again.
    pub(super) ask_at: Option<Timestamp>,
    /// When the question was asked that has this answer.
    said: Option<(Timestamp, RancherFacts)>,
    /// The answer came in just now: nothing has been decided since.
    fresh: bool,
    /// Why it could not be read, last.
    failure: Option<String>,
    /// The disagreement that was warned of last.
    warned: Option<String>,
    /// Since when the end of the run waits for it.
    ending_since: Option<Timestamp>,
}

impl RancherReading {
    /// Whatever is decided from now on needs a new answer.
    pub(super) fn grow_old(&mut self) {
        self.fresh = false;
    }
}

/// The steps between which a buffer stands.
#[derive(Debug)]
pub(super) struct BufferSteps {
    name: PoolName,
    create: StepId,
    delete: Option<StepId>,
}

impl BufferSteps {
    /// Every buffer of the plan.
    pub(super) fn of(plan: &Plan) -> Vec<Self> {
        let deletes: BTreeMap<&PoolName, &StepId> = plan
            .steps()
            .filter_map(|step| match &step.action {
                Action::DeleteBuffer { pool } => Some((pool, &step.id)),
                _ => None,
            })
            .collect();
        let creates = plan.steps().filter_map(|step| match &step.action {
            Action::CreateBuffer { buffer } => Some((&buffer.name, &step.id)),
            _ => None,
        });
        let of = |(name, create): (&PoolName, &StepId)| Self {
            name: name.clone(),
            create: create.clone(),
            delete: deletes.get(name).map(|&step| step.clone()),
        };
        creates.map(of).collect()
    }
}

/// What a step remembers of Rancher while it is under way.
#[derive(Clone, Debug, Default)]
pub(super) struct StepWithRancher {
    /// Since when it waits to be allowed to change something in Azure.
    waits_since: Option<Timestamp>,
    /// When Rancher had read Azure, as it was said first in this step.
    first_refresh: Option<Timestamp>,
}

impl Machine {
    /// Asks what Rancher says, unless a question is under way or it is too early.
    pub(super) fn ask_rancher(&mut self, now: Timestamp) {
        if self.rancher.asked.is_none() && self.rancher.ask_at.is_none_or(|at| at <= now) {
            self.rancher.asked = Some(now);
            self.rancher.ask_at = None;
            self.out.push(Effect::ReadRancher);
        }
    }

    pub(super) fn rancher_says(&mut self, now: Timestamp, facts: Result<RancherFacts, PortError>) {
        let Some(asked) = self.rancher.asked.take() else { return };
        match facts {
            Ok(facts) => {
                self.rancher.ask_at = Some(now + PACE);
                self.rancher.failure = None;
                if let Ownership::Managed(writer) = &facts.ownership {
                    self.managed(now, asked, writer);
                }
                self.rancher.said = Some((asked, facts));
                self.rancher.fresh = true;
            }
            Err(error) => {
                self.rancher.ask_at = Some(now + error.retry_after.unwrap_or(PACE).max(PACE));
                self.rancher.failure = Some(error.to_string());
                self.cannot_see(now, "what Rancher says of the cluster could not be read", &error);
            }
        }
    }

    /// Rancher writes to Azure, too: was that agreed to, and does it want what Azure has?
    fn managed(&mut self, now: Timestamp, asked: Timestamp, writer: &SecondWriter) {
        if !self.lock_step {
            return self.fails(now, None, Failure::SecondWriter, CONSENT.to_owned());
        }
        for memory in self.steps.values_mut().filter(|memory| memory.since <= asked) {
            let first = &mut memory.second_writer.first_refresh;
            *first = first.or(writer.last_refresh);
        }
        let reasons = (!writer.out_of_sync.is_empty()).then(|| writer.out_of_sync.join("; "));
        if self.expects_rancher_to_agree() && reasons != self.rancher.warned {
            if let Some(reasons) = &reasons {
                let message = format!(
                    "Rancher and Azure have ceased to agree, and Rancher may take back what was changed: {reasons}"
                );
                self.emit(now, EventKind::Warning { message });
            }
            self.rancher.warned = reasons;
        }
    }

    /// Nothing under way makes Azure differ from what Rancher has seen.
    fn expects_rancher_to_agree(&self) -> bool {
        let Phase::Running(number) = self.phase else { return false };
        let changes = |step: &Step| azure::carries_out(&step.action);
        self.plan.stage(number).is_some_and(|stage| !stage.steps().any(changes))
    }

    /// Keeps asking while a step waits for Rancher or a buffer stands that it could take back.
    pub(super) fn look_at_rancher(&mut self, now: Timestamp, stage: &Stage) {
        let open = |lane| self.agenda.open(stage, lane);
        let is_wait = |step: &Step| matches!(step.action, Action::AwaitRancher { .. });
        let waits = self.agenda.others().filter_map(open).any(is_wait);
        let watches = self.lock_step && self.holds_buffer();
        let seldom = self.rancher.said.as_ref().is_none_or(|(asked, _)| *asked + WATCH <= now);
        if waits || watches && seldom {
            self.ask_rancher(now);
        }
    }

    /// May the step change something in Azure now? Only right after an answer of Rancher's: it is asked for each change.
    pub(super) fn may_change_azure(&mut self, now: Timestamp, step: &Step) -> Result<(), Verdict> {
        let Some(memory) = self.steps.get_mut(&step.id) else { return Err(Verdict::Patience(String::new())) };
        let since = *memory.second_writer.waits_since.get_or_insert(now);
        let fresh = self.rancher.fresh;
        let (why_not, limit) = match self.rancher.said.as_ref().map(|(_, facts)| &facts.ownership) {
            Some(Ownership::Managed(_)) if !self.lock_step => {
                return Err(Verdict::Fail(Failure::SecondWriter, CONSENT.to_owned()));
            }
            Some(Ownership::Managed(writer)) if !writer.out_of_sync.is_empty() => {
                (writer.out_of_sync.join("; "), writer.longest_wait())
            }
            Some(Ownership::Unclear { reason }) => (reason.clone(), SecondWriter::usual_wait()),
            Some(Ownership::Generic | Ownership::Unmanaged | Ownership::Managed(_)) if fresh => {
                // Azure may refuse the change for a while; the next try waits anew.
                if let Some(memory) = self.steps.get_mut(&step.id) {
                    memory.second_writer.waits_since = None;
                }
                return Ok(());
            }
            Some(_) | None => {
                let why = self.rancher.failure.clone().unwrap_or_else(|| "it is asked".to_owned());
                (why, SecondWriter::usual_wait())
            }
        };
        if now.duration_since(since) > signed(limit) {
            let waited = span::show(limit);
            return Err(Verdict::Fail(
                Failure::SecondWriter,
                format!("no change may be made in Azure, waited {waited}: {why_not}"),
            ));
        }
        self.ask_rancher(now);
        Err(Verdict::Patience(format!("Rancher, before Azure is changed: {why_not}")))
    }

    /// Does Rancher want what Azure has, after the change that came before this step?
    pub(super) fn adopted(&self, now: Timestamp, memory: &Memory, once_more: bool) -> Verdict {
        // An answer to a question from before the change says nothing about it.
        let said = self.rancher.said.as_ref().filter(|(asked, _)| *asked >= memory.since);
        let (why_not, limit) = match said.map(|(_, facts)| &facts.ownership) {
            Some(Ownership::Generic | Ownership::Unmanaged) => {
                return Verdict::Done("Rancher decides neither about the version nor about pools".into());
            }
            Some(Ownership::Managed(writer)) => {
                let seen = memory.second_writer.first_refresh;
                let read_again = writer.last_refresh.is_some() && writer.last_refresh != seen;
                let why_not = if !writer.out_of_sync.is_empty() {
                    writer.out_of_sync.join("; ")
                } else if once_more && !read_again {
                    "Rancher has not read Azure once more".to_owned()
                } else {
                    return Verdict::Done("Rancher wants what Azure has".into());
                };
                (why_not, writer.longest_wait())
            }
            Some(Ownership::Unclear { reason }) => (reason.clone(), SecondWriter::usual_wait()),
            None => {
                let why =
                    self.rancher.failure.clone().unwrap_or_else(|| "Rancher was not read yet".to_owned());
                (why, SecondWriter::usual_wait())
            }
        };
        if now.duration_since(memory.since) > signed(limit) {
            let waited = span::show(limit);
            return Verdict::Fail(
                Failure::SecondWriter,
                format!("Rancher has not adopted the change in {waited}: {why_not}"),
            );
        }
        let asked = said.map_or(memory.since, |(asked, _)| *asked).duration_since(memory.since);
        let waited = span::show(Duration::try_from(asked).unwrap_or_default());
        Verdict::Patience(format!("Rancher, for {waited} of at most {}: {why_not}", span::show(limit)))
    }

    /// The buffers that were made and are not yet on their way out.
    fn buffers(&self) -> impl Iterator<Item = &PoolName> {
        let leaving = |step: &StepId| self.state.writes(step) > 0 || self.state.outcome(step).is_some();
        let stands = move |buffer: &&BufferSteps| {
            self.state.outcome(&buffer.create).is_some() && !buffer.delete.as_ref().is_some_and(leaving)
        };
        self.buffer_steps.iter().filter(stands).map(|buffer| &buffer.name)
    }

    pub(super) fn holds_buffer(&self) -> bool {
        self.buffers().next().is_some()
    }

    /// Is every buffer as it was made, and known to be? One that is not ends the run, before anything more is moved there.
    pub(super) fn buffers_stand(&mut self, now: Timestamp, stage: &Stage) -> bool {
        let mut buffers = self.buffers().peekable();
        // Whoever takes it away on the way back does what the run does.
        if buffers.peek().is_none() || self.state.reversal().is_some() {
            return true;
        }
        let Some(azure) = &self.azure else { return false };
        let lost = buffers.find_map(|name| {
            let why = match azure.pools.iter().find(|pool| pool.name == *name) {
                None => "is gone from Azure".to_owned(),
                Some(pool) if !pool.is_made_by(&self.run) => "is another one under the same name".to_owned(),
                Some(pool) if pool.state != ProvisioningState::Succeeded => {
                    format!("is {} in Azure", pool.state)
                }
                Some(_) => return None,
            };
            Some((name.clone(), why))
        });
        drop(buffers);
        let Some((buffer, why)) = lost else { return true };
        let open: Vec<&Step> = self.open_steps(stage).collect();
        self.give_back_cordons(now, &buffer, &open);
        let cause = format!(
            "buffer {buffer} {why}, and this run did not do that; somebody (Rancher?) changes the pools, too"
        );
        self.emit(now, EventKind::Warning { message: format!("alarm: {cause}") });
        self.fails(now, open.first().map(|step| &step.id), Failure::BufferLost, cause);
        false
    }

    /// The pods of a lost buffer need a place: the nodes that this run has cordoned take them again, but those that Azure is
    /// about to replace.
    fn give_back_cordons(&mut self, now: Timestamp, buffer: &PoolName, open: &[&Step]) {
        let Some(step) = open.first() else { return };
        let replaced = |node: &Node| {
            let upgraded =
                |s: &Step| matches!(&s.action, Action::UpgradePool { pool, .. } if node.is_in(pool));
            node.is_in(buffer) || open.iter().any(|s| upgraded(s) && self.state.writes(&s.id) > 0)
        };
        let cordons = self.state.cordons();
        let ours = |node: &Node| node.unschedulable && cordons.contains(&(&node.name, &node.uid));
        let borrowed = self.view.nodes().filter(|node| ours(node) && !replaced(node));
        let writes: Vec<Write> =
            borrowed.map(|node| Write::Uncordon { node: node.name.clone(), uid: node.uid.clone() }).collect();
        let place = self.view.nodes().filter(|node| !replaced(node));
        let back_in = back_in(&self.run, place);
        for write in writes.into_iter().chain(back_in) {
            self.send(now, step, write);
        }
    }

    /// May the run end like this? One that is asked to stop leaves no change behind that Rancher would take back: it waits
    /// until Rancher has adopted it, as long as that may take.
    pub(super) fn is_adopted(&mut self, now: Timestamp, outcome: &RunOutcome) -> bool {
        if *outcome != RunOutcome::Aborted || self.unadopted().is_none() {
            return true;
        }
        if self.rancher.ending_since.is_none() {
            let message =
                "stopping as soon as Rancher has adopted the last change; ask again to stop at once";
            self.emit(now, EventKind::Warning { message: message.into() });
        }
        let since = *self.rancher.ending_since.get_or_insert(now);
        let said = self.rancher.said.as_ref().filter(|(asked, _)| *asked >= since);
        let (adopted, limit) = match said.map(|(_, facts)| &facts.ownership) {
            Some(Ownership::Managed(writer)) => (writer.out_of_sync.is_empty(), writer.longest_wait()),
            Some(Ownership::Generic | Ownership::Unmanaged) => (true, Duration::ZERO),
            Some(Ownership::Unclear { .. }) | None => (false, SecondWriter::usual_wait()),
        };
        if adopted {
            return true;
        }
        if now.duration_since(since) > signed(limit) {
            let message = "Rancher has not adopted the last change: it may take it back";
            self.emit(now, EventKind::Warning { message: message.into() });
            return true;
        }
        self.ask_rancher(now);
        false
    }

    /// The step that would wait for Rancher to adopt a change that this stage has begun.
    fn unadopted(&self) -> Option<&StepId> {
        let stage = self.state.current_stage().and_then(|number| self.plan.stage(number))?;
        stage.lanes.iter().find_map(|lane| {
            let wait = lane.steps.iter().find(|step| matches!(step.action, Action::AwaitRancher { .. }))?;
            let begun = lane.steps.iter().any(|step| self.state.writes(&step.id) > 0);
            (begun && self.state.outcome(&wait.id).is_none()).then_some(&wait.id)
        })
    }
}

/// Nobody has agreed to a second writer.
const CONSENT: &str = "Rancher manages this cluster's version and pools now, and may take back what is changed; agree to it with `rancher_managed = \"lock-step\"` and plan anew";

#[cfg(test)]
pub(super) mod tests;
