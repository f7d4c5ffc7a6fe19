//! What happened, taken in.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::agenda::Agenda;
use super::{Doubt, Input, Look, Machine, Phase, TICK, signed};
use crate::event::{EventKind, RunOutcome};
use crate::inventory::{ClusterIdentity, Unproven};
use crate::journal::{Entry, Write, WriteAnswer};
use crate::ledger::Notice;
use crate::model::{ObjectName, WorkloadRef};
use crate::plan::Action;
use crate::ports::{EvictionAnswer, PortError};
use crate::run::failure::{Failure, Next};
use crate::view::{Change, ResourceKind};

impl Machine {
    pub(super) fn take_in(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Changes(changes) => self.changes(now, changes),
            Input::ContactLost(error) => {
                let cause = format!("contact lost: {error}");
                if self.contact_error.as_ref() != Some(&cause) {
                    self.fails(now, None, Failure::ContactLost, cause.clone());
                }
                self.contact_error = Some(cause);
                self.contact_lost = Some(now);
            }
            Input::Azure(look) => self.looked(now, look),
            Input::Identity(identity) => self.identity(now, identity),
            Input::Room(short) => self.room_says(now, short),
            Input::Rancher(facts) => self.rancher_says(now, facts),
            Input::Answered { id, answer, retry_after } => self.answered(now, id, &answer, retry_after),
            Input::Gate(answer) => self.gate(now, answer),
            Input::Probed { probe, answer } => self.probed(now, probe, answer),
            Input::Lock(news) => self.lock_says(now, news),
            Input::Tick => {}
            Input::Stop => self.stop(now, self.stops + 1),
        }
    }

    /// Somebody asks to stop: the first time at a safe point, the second time at once. `times`: how often it was asked, counting
    /// this one; whoever asks from afar and whoever presses Ctrl-C need not know of each other.
    pub(super) fn stop(&mut self, now: Timestamp, times: u32) {
        if self.stops == 0 && times == 1 {
            let message = "stopping: writes in hand are answered first; ask again to stop at once";
            self.emit(now, EventKind::Warning { message: message.into() });
        }
        self.stops = self.stops.max(times);
        if !matches!(self.phase, Phase::Ending(_)) {
            self.phase = Phase::Ending(RunOutcome::Aborted);
        }
    }

    fn changes(&mut self, now: Timestamp, changes: Vec<Change>) {
        self.contact_error = None;
        for change in changes {
            if let Change::Listed { kind, .. } = &change {
                self.listed.insert(*kind);
            }
            // Before the first lists are complete a Service looks empty because nobody has counted yet. From then on it is
            // counted after each change: a gap that opens and closes within one burst is a gap.
            let touched = self.view.apply(change);
            self.agenda.touched(&touched);
            self.noted.extend(touched.services);
            if self.listed.len() == ResourceKind::ALL.len() {
                for service in std::mem::take(&mut self.noted) {
                    self.note(now, &service);
                }
            }
        }
    }

    /// Enters a Service's ready endpoints into the ledger.
    fn note(&mut self, now: Timestamp, name: &ObjectName) {
        let Some(service) = self.view.service(name) else { return self.ledger.forget(name, now) };
        if service.publishes_unready {
            return;
        }
        let ready = self.view.ready_endpoints(name);
        let accepted = self.plan.accepted_gaps.contains(name);
        let opens = ready == 0 && self.ledger.is_up(name);
        let cause = if opens { self.under_way(name) } else { String::new() };
        match self.ledger.note(name, ready, now, accepted, || cause) {
            Some(Notice::Opened(gap)) => self.emit(now, EventKind::GapOpened { gap }),
            Some(Notice::Closed(gap)) => self.emit(now, EventKind::GapClosed { gap }),
            None => {}
        }
    }

    fn under_way(&self, service: &ObjectName) -> String {
        match &self.phase {
            Phase::Running(stage)
            | Phase::Asking { stage, .. }
            | Phase::Probing { stage, .. }
            | Phase::Proving(stage) => self.cause(*stage, service),
            Phase::Syncing | Phase::Locking { .. } | Phase::Ending(_) | Phase::Ended => {
                "no stage was under way".to_owned()
            }
        }
    }

    /// What was going on: the stage, and the moves begun of workloads behind the Service.
    fn cause(&self, number: u32, service: &ObjectName) -> String {
        let Some(stage) = self.plan.stage(number) else { return String::new() };
        let behind = |workload: &WorkloadRef| {
            let template = self.view.workload(workload).map(|w| &w.template.labels);
            let service = self.view.service(service);
            template
                .zip(service)
                .is_some_and(|(labels, service)| service.selects(workload.name.namespace(), labels))
        };
        let moving: Vec<String> = stage
            .steps()
            .filter(|step| self.state.writes(&step.id) > 0 && self.state.outcome(&step.id).is_none())
            .filter_map(|step| match &step.action {
                Action::Move { workload, .. } if behind(workload) => Some(workload.to_string()),
                _ => None,
            })
            .collect();
        let who = if moving.is_empty() { String::new() } else { format!(", moving {}", moving.join(", ")) };
        format!("stage {number} ({}){who}", stage.title)
    }

    fn looked(&mut self, now: Timestamp, look: Result<Look, PortError>) {
        self.looking = false;
        match look {
            Ok(look) => {
                self.look_at = Some(now + look.view.look_again);
                self.changed = self.plan.basis.changed_in_azure(&look.view, self.plan.target);
                self.azure = Some(look.view);
                self.seen_at = self.looked_at;
                self.operations.extend(look.operations);
            }
            Err(error) => {
                self.look_at = Some(now + error.retry_after.unwrap_or(TICK).max(TICK));
                self.cannot_see(now, "looking at Azure failed", &error);
            }
        }
    }

    fn identity(&mut self, now: Timestamp, identity: Result<ClusterIdentity, PortError>) {
        let Phase::Proving(stage) = self.phase else { return };
        let identity = match identity {
            Ok(identity) => identity,
            Err(error) => {
                let why = format!("the identity could not be read: {error}");
                return self.doubt(now, Failure::of_look(&error), why, error.retry_after);
            }
        };
        if !identity.is_same_cluster(&self.plan.cluster) {
            let why = identity.difference(&self.plan.cluster);
            return self.ends(Failure::OtherCluster, RunOutcome::IdentityLost { why });
        }
        match identity.proof() {
            Ok(()) => {
                self.doubted = None;
                self.emit(now, EventKind::IdentityProven { stage });
                self.lock_and_start(now, stage);
            }
            Err(unproven @ Unproven::Contradicted { .. }) => {
                self.ends(Failure::OtherCluster, RunOutcome::IdentityLost { why: unproven.to_string() });
            }
            // What is missing may come back: a new node gets its provider id, a permission that was just given takes effect.
            Err(unproven @ Unproven::Insufficient { .. }) => {
                let why = format!("the identity is not proven: {unproven} ({})", unproven.remedy());
                self.doubt(now, Failure::NotProven, why, None);
            }
        }
    }

    /// Reads the identity again in a moment; holds when that has gone on for too long. Meanwhile nothing is written.
    fn doubt(&mut self, now: Timestamp, failure: Failure, why: String, retry_after: Option<Duration>) {
        let (Next::Retry(limit) | Next::Observe(limit)) = self.next_after(None, failure) else {
            return self.fails(now, None, failure, why);
        };
        let since = self.doubted.as_ref().map_or(now, |doubt| doubt.since);
        if now.duration_since(since) > signed(limit.lasts(&self.plan.policy)) {
            let why = format!("{why}; nothing was written for {limit} because of that");
            return self.fails(now, None, Failure::TimedOut, why);
        }
        if self.doubted.as_ref().is_none_or(|doubt| doubt.why != why) {
            self.fails(now, None, failure, why.clone());
        }
        let look_again = Some(now + retry_after.unwrap_or(TICK).max(TICK));
        self.doubted = Some(Doubt { since, why, look_again });
    }

    pub(super) fn start_stage(&mut self, now: Timestamp, number: u32) {
        if !self.asks_before_stage(now, number) && !self.probes_before_stage(now, number) {
            self.begin_stage(now, number);
        }
    }

    /// Nothing and nobody is against it.
    pub(super) fn begin_stage(&mut self, now: Timestamp, number: u32) {
        if self.state.stage_started(number).is_none() {
            self.record(now, Entry::StageStarted { stage: number });
        }
        let plan = Arc::clone(&self.plan);
        let Some(stage) = plan.stage(number) else { return };
        self.agenda = Agenda::of(stage, &self.state, now);
        // Said once, however often a step of it waits for somebody's word.
        if self.told_stage.replace(number) != Some(number) {
            let title = stage.title.clone();
            self.emit(now, EventKind::StageStarted { stage: number, title });
        }
        self.phase = Phase::Running(number);
        self.steps.clear();
        self.warming = None;
        self.soaking = None;
        self.moving_total = 0;
        self.look_at = Some(now);
        self.rancher.ask_at = None;
        self.ask_rancher(now);
    }

    fn answered(&mut self, now: Timestamp, id: u64, answer: &WriteAnswer, retry_after: Option<Duration>) {
        let Some((step, write)) = self.sent.returned(id) else { return };
        let (text, ok) = describe(answer);
        self.record(now, Entry::Answered { id, answer: answer.clone() });
        self.emit(
            now,
            EventKind::WriteAnswered { step: step.clone(), what: write.to_string(), answer: text, ok },
        );
        let pause = self.pause_after(now, &step, ok, retry_after);
        self.agenda.answered(&step);
        self.note_return(&step, &write, answer);
        if let (Write::Lend { .. }, WriteAnswer::Unknown { .. }) = (&write, answer) {
            // What may have been borrowed has to come back: it gets its time to show.
            self.sent.took_effect(write.clone(), now);
        }
        match answer {
            WriteAnswer::Done | WriteAnswer::Accepted { .. } => {
                self.sent.took_effect(write, now);
                self.look_at = Some(now);
            }
            WriteAnswer::Eviction { eviction: EvictionAnswer::Accepted | EvictionAnswer::Gone } => {
                self.sent.took_effect(write, now);
            }
            WriteAnswer::Eviction {
                eviction: EvictionAnswer::Refused { .. } | EvictionAnswer::Misconfigured { .. },
            }
            | WriteAnswer::Failed { .. }
            | WriteAnswer::Unknown { .. } => self.write_failed(now, &step, &write, answer, pause),
        }
    }
}

/// An answer in a few words, and whether it is a good one.
fn describe(answer: &WriteAnswer) -> (String, bool) {
    match answer {
        WriteAnswer::Done => ("done".into(), true),
        WriteAnswer::Accepted { .. } => ("accepted by Azure".into(), true),
        WriteAnswer::Eviction { eviction } => match eviction {
            EvictionAnswer::Accepted => ("accepted".into(), true),
            EvictionAnswer::Gone => ("already gone".into(), true),
            EvictionAnswer::Refused { message, .. } => (format!("refused: {message}"), false),
            EvictionAnswer::Misconfigured { message } => (format!("impossible: {message}"), false),
        },
        WriteAnswer::Failed { message, .. } => (format!("failed: {message}"), false),
        WriteAnswer::Unknown { message } => (format!("no answer, will be observed: {message}"), false),
    }
}
