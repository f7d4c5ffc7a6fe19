//! Findings: what the checks have to say.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A check's result about one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The check's code, such as `PDB-002`. Codes are never reused.
    pub code: String,
    /// What it is about: `namespace/name`, a pool, or the cluster's name.
    pub object: String,
    /// What is so.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// Why it is accepted, if the policy accepts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The upgrade would fail or cause an outage.
    Blocking,
    /// The check could not see what it needs. Counts as blocking: unknown is not a pass.
    Unknown,
    /// Worth knowing before the night.
    Advisory,
    /// For the record.
    Info,
}

impl Finding {
    /// Does it stop the upgrade?
    pub fn blocks(&self) -> bool {
        self.accepted.is_none() && matches!(self.severity, Severity::Blocking | Severity::Unknown)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Blocking => "blocking",
            Self::Unknown => "unknown",
            Self::Advisory => "advisory",
            Self::Info => "info",
        })
    }
}
