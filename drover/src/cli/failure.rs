//! Why a command ends early, and how that is told.

use std::error::Error as _;

use upgrade_core::inventory::{Evidence, proof};
use upgrade_core::model::KubeVersion;
use upgrade_core::plan::Drift;

use crate::error::{Error, stale_text};
use crate::report::{Page, Tone, text};

/// Exit codes, as the contract has them. The library's errors and outcomes bring their own.
pub(super) mod exit {
    /// Done, or nothing to do.
    pub(in crate::cli) const DONE: u8 = 0;
    /// Failed; a run holds.
    pub(in crate::cli) const FAILED: u8 = 1;
    /// Usage or configuration error; nothing was contacted or changed.
    pub(in crate::cli) const USAGE: u8 = 2;
    /// Blocked by findings; nothing was changed.
    pub(in crate::cli) const BLOCKED: u8 = 3;
    /// Aborted on request.
    pub(in crate::cli) const ABORTED: u8 = 130;
}

/// Why a command ends early.
#[derive(Debug)]
pub(super) enum Failure {
    /// What the library says.
    Library(Box<Error>),
    /// Something is wrong with how the command was called, or cannot be done by this version.
    Usage { message: String, hint: Option<String> },
    /// The machine under the command failed: no threads, no port.
    Ground { message: String, source: std::io::Error },
    /// Somebody pressed Ctrl-C before anything was begun.
    Interrupted,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Library(Box::new(error))
    }
}

impl Failure {
    pub(super) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: Some(hint.into()) }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Library(error) => error.exit_code(),
            Self::Usage { .. } => exit::USAGE,
            Self::Ground { .. } => exit::FAILED,
            Self::Interrupted => exit::ABORTED,
        }
    }

    /// What happened, what was underneath, and what to do.
    pub(super) fn page(&self) -> Page {
        if let Self::Library(error) = self
            && let Error::Stale { drift, reached } = error.as_ref()
        {
            return stale(drift, *reached, error.hint().as_deref());
        }
        if let Self::Library(error) = self
            && let Error::Identity { cluster, why, evidence } = error.as_ref()
            && !evidence.is_empty()
        {
            return unproven(cluster, why, evidence, error.hint().as_deref());
        }
        let (message, causes, hint) = match self {
            Self::Library(error) => (error.to_string(), chain(error.as_ref()), error.hint()),
            Self::Usage { message, hint } => (message.clone(), Vec::new(), hint.clone()),
            Self::Ground { message, source } => (message.clone(), vec![source.to_string()], None),
            Self::Interrupted => ("interrupted; nothing was changed".to_owned(), Vec::new(), None),
        };
        told(&message, &causes, hint.as_deref())
    }
}

/// What has changed, one a line: this is read in the middle of the night, before a plan is made anew.
fn stale(drift: &[Drift], reached: Option<KubeVersion>, hint: Option<&str>) -> Page {
    let mut page = Page::default();
    let lead = format!("the plan is {}; nothing was changed. Not as it was:", stale_text(reached));
    page.paragraph(0, "error: ", Tone::Bad, lead);
    for drift in drift {
        page.paragraph(2, "", Tone::Plain, drift);
    }
    if let Some(hint) = hint {
        page.paragraph(0, "hint: ", Tone::Plain, hint);
    }
    page
}

/// Which cluster this is, or is not, with all that was compared.
fn unproven(cluster: &str, why: &str, evidence: &[Evidence], hint: Option<&str>) -> Page {
    let mut page = Page::default();
    // The whole of the reason stands in the lines below, unless it is about something else than the evidence.
    let why = proof(evidence).err().map_or(why, |unproven| unproven.summary());
    let lead = format!("the identity of cluster `{cluster}` is not proven: {why}; nothing was changed");
    page.paragraph(0, "error: ", Tone::Bad, lead);
    page.append(text::evidence(evidence));
    if let Some(hint) = hint {
        page.paragraph(0, "hint: ", Tone::Plain, hint);
    }
    page
}

/// The errors underneath, each said once: some repeat in their text what the one above has said already.
fn chain(error: &Error) -> Vec<String> {
    let mut said = error.to_string();
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !said.contains(&text) {
            causes.push(text.clone());
            said = text;
        }
        next = cause.source();
    }
    causes
}

/// An error as people read it.
fn told(message: &str, causes: &[String], hint: Option<&str>) -> Page {
    let mut page = Page::default();
    page.paragraph(0, "error: ", Tone::Bad, message);
    for cause in causes {
        page.paragraph(2, "caused by: ", Tone::Plain, cause);
    }
    if let Some(hint) = hint {
        page.paragraph(0, "hint: ", Tone::Plain, hint);
    }
    page
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use upgrade_core::model::RunId;
    use upgrade_core::ports::{CallOutcome, PortError, PortErrorKind, RemoteService};
    use upgrade_core::run::DriveError;

    use super::*;

    #[test]
    fn errors_say_what_why_and_what_to_do() {
        let drift = |what: &str, was: Option<&str>, is: Option<&str>| Drift {
            what: what.into(),
            was: was.map(Into::into),
            is: is.map(Into::into),
        };
        let journal = PortError::new(
            RemoteService::Journal,
            PortErrorKind::Internal,
            CallOutcome::Unknown,
            "journal/r-1.jsonl cannot be written",
        );
        let failures: [Failure; 7] = [
            Error::NoSuchCluster {
                name: "shop-ac".into(),
                file: "drover.toml".into(),
                known: vec!["shop-acc".into()],
                nearest: Some("shop-acc".into()),
            }
            .into(),
            Error::Stale {
                drift: vec![
                    drift("control plane", Some("1.34.2"), Some("1.34.5")),
                    drift("budget shop/web", None, Some("minAvailable 1")),
                ],
                reached: None,
            }
            .into(),
            Error::Stale {
                drift: vec![drift("control plane", Some("1.34.2"), Some("1.35.1"))],
                reached: "1.35.1".parse().ok(),
            }
            .into(),
            Error::RunFailed {
                run: RunId::new("r-1").unwrap(),
                journal: "journal/r-1.jsonl".into(),
                source: DriveError::Journal(journal),
            }
            .into(),
            Error::Remote(PortError::new(
                RemoteService::Rancher,
                PortErrorKind::Unauthorized,
                CallOutcome::NothingDone,
                "the token was refused: \u{1b}[31m##vso[task.complete result=Succeeded]",
            ))
            .into(),
            Failure::usage("a plan has its version already", "leave out --to"),
            Failure::Ground {
                message: "port 80 cannot be opened".into(),
                source: std::io::Error::from(std::io::ErrorKind::PermissionDenied),
            },
        ];
        let all = failures.iter().map(|failure| format!("{}exit {}\n", failure.page(), failure.exit_code()));
        assert_snapshot!("errors", all.collect::<Vec<_>>().join("\n"));
    }
}
