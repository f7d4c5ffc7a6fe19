//! A request to stop, on its way to the run that holds the lock.
//!
//! Two machines that work on one cluster surely share one thing: the cluster. So the request stands in the Lease, as an
//! annotation, and whoever holds the Lease reads it with his next renewal.

use std::fmt;

use crate::model::RunId;

/// The annotation of the Lease that asks its holder to stop. A person may write it by hand: `aks-drover/abort=RUN`.
pub const ABORT_ANNOTATION: &str = "aks-drover/abort";

/// Stands for "do not wait for what is under way".
const AT_ONCE: &str = "now";

/// Somebody asks a run to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopRequest {
    /// The run. A holder that works on another one does not care.
    pub run: RunId,
    /// Not at the next safe point but at once, as a second Ctrl-C.
    pub at_once: bool,
    /// Who asks, in his own words. For people.
    pub by: String,
}

impl StopRequest {
    /// From the annotation's value; `None` for one that names no run.
    pub fn parse(text: &str) -> Option<Self> {
        let (run, rest) = text.split_once(' ').unwrap_or((text, ""));
        let run = RunId::new(run).ok()?;
        let (at_once, by) = match rest.strip_prefix(AT_ONCE) {
            Some(by) if by.is_empty() || by.starts_with(' ') => (true, by),
            _ => (false, rest),
        };
        Some(Self { run, at_once, by: by.trim().to_owned() })
    }

    /// Asks for no more than the other does, for the same run.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.run == other.run && self.at_once <= other.at_once
    }
}

/// The annotation's value.
impl fmt::Display for StopRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.run)?;
        if self.at_once {
            write!(f, " {AT_ONCE}")?;
        }
        if self.by.is_empty() { Ok(()) } else { write!(f, " {}", self.by) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_that_a_person_can_write() {
        let request = |at_once, by: &str| {
            let run = RunId::new("shop-1").unwrap();
            Some(StopRequest { run, at_once, by: by.to_owned() })
        };
        for (text, means) in [
            ("shop-1", request(false, "")),
            ("shop-1 now", request(true, "")),
            ("shop-1 ann on build-7", request(false, "ann on build-7")),
            ("shop-1 now ann on build-7", request(true, "ann on build-7")),
            ("shop-1 nowhere", request(false, "nowhere")),
            ("", None),
            ("Shop 1", None),
        ] {
            assert_eq!(StopRequest::parse(text), means, "{text}");
            if let Some(request) = means {
                assert_eq!(request.to_string(), text);
            }
        }
    }
}
