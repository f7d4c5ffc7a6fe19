//! What happened, for people and programs.
//!
//! Events are numbered without holes. Exactly one [`EventKind::RunEnded`] comes, and nothing follows it. Progress may be
//! dropped by a slow reader; everything else is worth keeping.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ledger::{Gap, ServiceRecord};
use crate::lock::LockHolder;
use crate::model::{KubeVersion, NodeName, RunId, StepId};
use crate::ports::Question;

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts from 1 in each process that works on the run.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Milliseconds since this process took up the run.
    pub elapsed_ms: u64,
    /// The run.
    pub run: RunId,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Kinds of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum EventKind {
    /// The run has begun, or has been taken up again.
    RunStarted {
        /// The cluster's name.
        cluster: String,
        /// The version to reach.
        target: KubeVersion,
        /// The plan's hash.
        plan: String,
        /// How many stages the plan has.
        stages: u32,
        /// Taken up again from a journal.
        resumed: bool,
    },
    /// The identity of the cluster has been proven again.
    IdentityProven {
        /// The stage that is about to write.
        stage: u32,
    },
    /// A stage has begun.
    StageStarted {
        /// Its number.
        stage: u32,
        /// Its title.
        title: String,
    },
    /// A stage is finished.
    StageFinished {
        /// Its number.
        stage: u32,
        /// How long it took.
        duration_ms: u64,
    },
    /// A step has begun.
    StepStarted {
        /// Its id.
        step: StepId,
        /// What it ensures.
        title: String,
    },
    /// A step is finished.
    StepFinished {
        /// Its id.
        step: StepId,
        /// How it ended.
        outcome: StepOutcome,
    },
    /// A write is about to be made; its intent is in the journal.
    WriteStarted {
        /// The step it is for.
        step: StepId,
        /// What it does.
        what: String,
    },
    /// A write was answered.
    WriteAnswered {
        /// The step it is for.
        step: StepId,
        /// What it did.
        what: String,
        /// The answer, in a few words.
        answer: String,
        /// It was accepted.
        ok: bool,
    },
    /// An image was pulled ahead: it is on the disk of a node before a pod needs it there.
    ImagePulled {
        /// The step it is for.
        step: StepId,
        /// The node.
        node: NodeName,
        /// The image.
        image: String,
        /// What it weighs, in bytes, as a node reports it; `None` if none has said.
        bytes: Option<u64>,
        /// How long it took, as it was seen from here, in milliseconds.
        duration_ms: u64,
    },
    /// Where a stage stands. The latest replaces the ones before.
    Progress {
        /// The stage.
        stage: u32,
        /// Finished steps, or moved pods in a stage that moves.
        done: u32,
        /// Of so many.
        total: u32,
        /// `steps` or `pods`.
        unit: String,
        /// What the stage waits for now, one line each.
        waiting_for: Vec<String>,
    },
    /// A Service has lost its last ready endpoint.
    GapOpened {
        /// The gap.
        gap: Gap,
    },
    /// It has one again.
    GapClosed {
        /// The gap, with its end.
        gap: Gap,
    },
    /// Something worth knowing that stops nothing.
    Warning {
        /// What.
        message: String,
    },
    /// A user's probe has answered, otherwise than before.
    ProbeAnswered {
        /// Its name.
        probe: String,
        /// All is well. A probe that could not be asked says nothing, which is not well.
        green: bool,
        /// Its words.
        words: String,
    },
    /// A person is asked.
    Asked {
        /// What.
        question: Question,
    },
    /// The end. Nothing follows.
    RunEnded {
        /// How it ended.
        report: Report,
    },
    /// An event of a newer Drover.
    #[serde(other)]
    Unknown,
}

/// How a step ended well. A step that does not end well ends the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum StepOutcome {
    /// It did what it is for.
    Done {
        /// What is so now.
        message: String,
    },
    /// There was nothing to do.
    AlreadySo {
        /// What was found.
        message: String,
    },
}

impl StepOutcome {
    /// Its message.
    pub fn message(&self) -> &str {
        match self {
            Self::Done { message } | Self::AlreadySo { message } => message,
        }
    }
}

/// How a run ended, with the proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The run.
    pub run: RunId,
    /// The cluster's name.
    pub cluster: String,
    /// The version it started from.
    pub from: KubeVersion,
    /// The version to reach.
    pub target: KubeVersion,
    /// How it ended.
    pub outcome: RunOutcome,
    /// The stages that were begun.
    pub stages: Vec<StageRecord>,
    /// The ledger: every Service's fewest ready endpoints and its gaps.
    pub ledger: Vec<ServiceRecord>,
    /// What the run still holds, in words: cordoned nodes, a buffer.
    pub holding: Vec<String>,
    /// Milliseconds of work, all processes together.
    pub duration_ms: u64,
}

/// How long a stage took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Its number.
    pub number: u32,
    /// Its title.
    pub title: String,
    /// Milliseconds; `None` if it is not finished.
    pub duration_ms: Option<u64>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum RunOutcome {
    /// Everything in the plan is so.
    Done,
    /// A step failed. The run holds: capacity stays, nothing more is started.
    Held {
        /// The step.
        step: StepId,
        /// What it was to ensure.
        title: String,
        /// Why it failed.
        cause: String,
    },
    /// A step failed, and the run has brought back what it had in hand. It is over; the next attempt is a new plan.
    Reversed {
        /// The step.
        step: StepId,
        /// What it was to ensure.
        title: String,
        /// Why it failed.
        cause: String,
        /// What could not be brought back.
        stays: Vec<String>,
    },
    /// A question waits for a person.
    Paused {
        /// The question.
        question: Question,
    },
    /// Somebody asked to stop, and it stopped at a safe point.
    Aborted,
    /// The cluster is not, or no longer, the one the plan is for. Nothing was written after that was seen.
    IdentityLost {
        /// What does not agree.
        why: String,
    },
    /// Somebody else works on the cluster. Nothing was changed.
    Locked {
        /// Who.
        by: LockHolder,
    },
}

impl RunOutcome {
    /// The whole plan is done.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Nothing is left to go on with.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Done | Self::Reversed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_line_and_an_unknown_kind_is_kept_readable() {
        let line = r#"{"seq":3,"at":"2026-11-24T01:02:03Z","elapsed_ms":17,"run":"r-1","type":"warning","message":"m"}"#;
        let event: Event = serde_json::from_str(line).unwrap();
        assert_eq!(event.kind, EventKind::Warning { message: "m".into() });
        let json: serde_json::Value = serde_json::to_value(&event).unwrap();
        assert_eq!((json["type"].as_str(), json["seq"].as_u64()), (Some("warning"), Some(3)));
        let newer = line.replace("warning", "teleported");
        assert_eq!(serde_json::from_str::<Event>(&newer).unwrap().kind, EventKind::Unknown);
    }
}
