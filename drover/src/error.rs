//! What can go wrong, in the user's terms.

use std::fmt;
use std::io;
use std::path::PathBuf;

use upgrade_core::event::{Report, RunOutcome};
use upgrade_core::finding::Finding;
use upgrade_core::inventory::{Evidence, proof};
use upgrade_core::leftovers::CleanError;
use upgrade_core::lock::LockHolder;
use upgrade_core::model::{KubeVersion, RunId};
use upgrade_core::plan::{Drift, PlanError};
use upgrade_core::ports::{PortError, PortErrorKind, RemoteService};
use upgrade_core::run::DriveError;

/// Why something could not be done.
///
/// Its text is one line that says what happened; [`hint`](Self::hint) says what to do, and
/// [`exit_code`](Self::exit_code) what the command exits with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something in the configuration is wrong. Nothing was contacted.
    #[error(transparent)]
    Config(#[from] Box<ConfigError>),
    /// The configuration names no such cluster.
    #[error("{} names no cluster `{name}`", .file.display())]
    NoSuchCluster {
        /// The name that was asked for.
        name: String,
        /// The configuration file.
        file: PathBuf,
        /// The clusters it names.
        known: Vec<String>,
        /// The one with the most similar name.
        nearest: Option<String>,
    },
    /// A file of Drover's (a plan, a snapshot) could not be read.
    #[error("{what} {} cannot be read: {problem}", .path.display())]
    Unreadable {
        /// What it was taken for: `plan`, `snapshot`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// The error underneath.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A file could not be written. What was there before is still there.
    #[error("{} cannot be written", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not proven that Rancher, Azure and Kubernetes mean the same cluster, or it is another one than planned for.
    #[error("the identity of cluster `{cluster}` is not proven: {why}")]
    Identity {
        /// The cluster's name in the configuration.
        cluster: String,
        /// What does not agree.
        why: String,
        /// Everything that was compared; empty if it did not come to that.
        evidence: Vec<Evidence>,
    },
    /// Findings stand in the way. Nothing was changed.
    #[error("{}", blocked_text(.findings))]
    Blocked {
        /// Every finding, those that block first.
        findings: Vec<Finding>,
    },
    /// The policy asks for something that cannot be planned.
    #[error("there is no plan")]
    NoPlan(#[source] PlanError),
    /// The cluster is not as it was when the plan was made. Nothing was changed.
    #[error("the plan is {}: {}", stale_text(*.reached), drift_text(.drift))]
    Stale {
        /// What has changed.
        drift: Vec<Drift>,
        /// The version that the plan leads to, if the control plane and every pool run it: the plan was carried out, or somebody
        /// else has done the same.
        reached: Option<KubeVersion>,
    },
    /// A call to Rancher, Kubernetes or Azure failed.
    #[error(transparent)]
    Remote(#[from] PortError),
    /// A run's journal cannot be used.
    #[error("journal {place}{}: {problem}", line_text(*.line))]
    Journal {
        /// The file or blob, or the directory or folder it was looked for in.
        place: String,
        /// The line, if it is about one.
        line: Option<usize>,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        remedy: Option<String>,
        /// The error underneath.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A run is at work on the cluster. Nothing was changed.
    #[error("somebody works on the cluster: it is locked by {by}; nothing was changed")]
    Locked {
        /// Who.
        by: LockHolder,
    },
    /// What runs have left could not be given back. What was written before is in their journals.
    #[error("what is left on `{cluster}` could not be given back")]
    NotCleaned {
        /// The cluster's name in the configuration.
        cluster: String,
        /// Why.
        #[source]
        source: CleanError,
    },
    /// A run could not be brought to an end of its own: its journal failed under it.
    #[error("run {run} was given up")]
    RunFailed {
        /// The run.
        run: RunId,
        /// Its journal.
        journal: String,
        /// Why.
        #[source]
        source: DriveError,
    },
    /// The task that worked on the run ended without a word. What it did is in the journal.
    #[error("the work on run {run} ended unexpectedly")]
    RunLost {
        /// The run.
        run: RunId,
        /// Its journal.
        journal: String,
        /// What the runtime said.
        #[source]
        source: tokio::task::JoinError,
    },
}

/// Something in `drover.toml`, or in a timing file, that is not as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1; `None` if it is about the whole file.
    pub line: Option<usize>,
    /// The key with its table, such as `clusters.shop-acc.rancher_id`; empty if it is about the whole file.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.place.is_empty() {
            write!(f, ": {}", self.place)?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for ConfigError {}

fn blocked_text(findings: &[Finding]) -> String {
    let blocking: Vec<&Finding> = findings.iter().filter(|finding| finding.blocks()).collect();
    match blocking[..] {
        [only] => format!("1 finding blocks the upgrade: {} {}", only.code, only.object),
        _ => format!("{} findings block the upgrade", blocking.len()),
    }
}

/// What is so with a plan that is refused.
pub(crate) fn stale_text(reached: Option<KubeVersion>) -> String {
    match reached {
        Some(version) => format!("done already, the control plane and every pool run {version}"),
        None => "stale".to_owned(),
    }
}

fn drift_text(drift: &[Drift]) -> String {
    let all: Vec<String> = drift.iter().map(ToString::to_string).collect();
    all.join("; ")
}

fn line_text(line: Option<usize>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

impl Error {
    /// What the command exits with (see the table in the reference).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::NoSuchCluster { .. }
            | Self::Unreadable { .. }
            | Self::NoPlan(_)
            | Self::Journal { .. } => 2,
            Self::Identity { .. } | Self::Blocked { .. } | Self::Locked { .. } => 3,
            Self::Stale { .. } => 5,
            Self::Unwritable { .. }
            | Self::Remote(_)
            | Self::NotCleaned { .. }
            | Self::RunFailed { .. }
            | Self::RunLost { .. } => 1,
        }
    }

    /// What to do about it, if there is something to say.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.remedy.clone(),
            Self::NoSuchCluster { nearest: Some(nearest), .. } => Some(format!("did you mean `{nearest}`?")),
            Self::NoSuchCluster { known, .. } if known.is_empty() => {
                Some("add a table `[clusters.NAME]`".to_owned())
            }
            Self::NoSuchCluster { known, .. } => Some(format!("it names {}", known.join(", "))),
            Self::Identity { evidence, .. } => identity_hint(evidence),
            Self::Blocked { .. } => Some(
                "each finding says what to do; one that is meant to be so can be accepted in the policy"
                    .to_owned(),
            ),
            Self::Stale { reached: Some(_), .. } => {
                Some("nothing is left to do; `status` shows how the run that did it has ended".to_owned())
            }
            Self::Stale { reached: None, .. } => {
                Some("make a new plan, and compare it with this one".to_owned())
            }
            Self::Remote(error) => remote_hint(error),
            Self::RunFailed { journal, .. } | Self::RunLost { journal, .. } => Some(format!(
                "the run holds; when the cause is mended, go on with `aks-drover resume {journal}`",
            )),
            Self::Journal { remedy, .. } => remedy.clone(),
            Self::Locked { by } => by.run.as_ref().map(|run| {
                format!("wait until that run has ended, or stop it with `aks-drover abort {run}`")
            }),
            Self::NotCleaned { cluster, .. } => {
                Some(format!("see what is left with `aks-drover leftovers {cluster}`, then try again"))
            }
            Self::Unreadable { .. } | Self::Unwritable { .. } | Self::NoPlan(_) => None,
        }
    }

    /// Is it known what was done? Only a call that failed in the middle, or a run that was given up, leaves that open:
    /// then observe before anything else.
    pub fn outcome_known(&self) -> bool {
        match self {
            Self::Remote(error) => error.outcome_known(),
            Self::NotCleaned { .. } | Self::RunFailed { .. } | Self::RunLost { .. } => false,
            _ => true,
        }
    }
}

/// Evidence that proves is of a cluster that is not the one of the plan.
fn identity_hint(evidence: &[Evidence]) -> Option<String> {
    if evidence.is_empty() {
        return None;
    }
    Some(match proof(evidence) {
        Err(unproven) => unproven.remedy(),
        Ok(()) => {
            "a plan is for one cluster: check which one drover.toml means, or make a new plan".to_owned()
        }
    })
}

fn remote_hint(error: &PortError) -> Option<String> {
    let hint = match (error.kind, error.service) {
        (PortErrorKind::Unauthorized, RemoteService::Azure) => {
            "check the credential of the environment's `azure` table"
        }
        (PortErrorKind::Unauthorized | PortErrorKind::Forbidden, RemoteService::Journal) => {
            "check `account` and `credential` of the table `[journal]`; the credential needs the role `Storage Blob Data \
             Contributor` on the container"
        }
        (PortErrorKind::Unauthorized, _) => "check the token of the environment's `rancher` table",
        (PortErrorKind::Forbidden, _) => "give the credential the permission it lacks",
        (PortErrorKind::Unreachable, _) => "check the address, the network and the proxy, then try again",
        (PortErrorKind::Throttled, _) => "wait a moment, then try again",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// What the command exits with when a run has ended like this. A run that lost its cluster before its first stage has changed
/// nothing; later it holds like any other that cannot go on.
pub fn exit_code(report: &Report) -> u8 {
    match &report.outcome {
        RunOutcome::Done => 0,
        RunOutcome::IdentityLost { .. } if report.stages.is_empty() => 3,
        RunOutcome::Locked { .. } => 3,
        RunOutcome::Held { .. } | RunOutcome::Reversed { .. } | RunOutcome::IdentityLost { .. } => 1,
        RunOutcome::Paused { .. } => 4,
        RunOutcome::Aborted => 130,
    }
}
