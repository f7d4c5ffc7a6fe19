//! The options of a list or watch, and which of them go together (apimachinery: `ValidateListOptions`).

use super::super::call::Call;
use crate::error::{ApiError, Cause};
use crate::store::KindNames;

/// Which moment a list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    Exact,
    NotOlderThan,
}

/// What a list or a watch asks for, selectors aside.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) version: Option<u64>,
    pub(super) version_match: Option<Match>,
    pub(super) limit: Option<usize>,
    pub(super) timeout_seconds: Option<u64>,
    pub(super) initial_events: bool,
}

const LIST_OPTIONS: KindNames = KindNames {
    group: "meta.k8s.io",
    version: "v1",
    api_version: "meta.k8s.io/v1",
    kind: "ListOptions",
    plural: "listoptions",
};

fn refused(reason: &str, field: &str, message: String) -> ApiError {
    let fault = Cause { reason: reason.to_owned(), message, field: Some(field.to_owned()) };
    ApiError::invalid(LIST_OPTIONS, "", vec![fault])
}

fn forbidden(field: &str, why: &str) -> ApiError {
    refused("FieldValueForbidden", field, format!("Forbidden: {why}"))
}

impl Options {
    pub(super) fn of(call: &Call, watch: bool) -> Result<Self, ApiError> {
        const MATCH: &str = "resourceVersionMatch";
        const INITIAL: &str = "sendInitialEvents";
        let number = |name: &str| {
            let given = call.parameter(name).map(str::parse::<u64>).transpose();
            given.map_err(|_| ApiError::bad_request(format!("{name} is not a number")))
        };
        let version_match = match call.parameter(MATCH) {
            None => None,
            Some("Exact") => Some(Match::Exact),
            Some("NotOlderThan") => Some(Match::NotOlderThan),
            Some(other) => {
                let message =
                    format!("Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\"");
                return Err(refused("FieldValueNotSupported", MATCH, message));
            }
        };
        let options = Self {
            version: number("resourceVersion")?,
            version_match,
            limit: number("limit")?.filter(|limit| *limit > 0).and_then(|limit| usize::try_from(limit).ok()),
            timeout_seconds: number("timeoutSeconds")?.filter(|seconds| *seconds > 0),
            initial_events: call.flag(INITIAL),
        };
        let asked_for_events = call.parameter(INITIAL).is_some();
        match (watch, version_match) {
            (false, _) if asked_for_events => {
                return Err(forbidden(INITIAL, "sendInitialEvents is forbidden for list"));
            }
            (true, Some(Match::Exact) | None) if asked_for_events => {
                return Err(forbidden(
                    MATCH,
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                ));
            }
            (true, Some(_)) if !asked_for_events => {
                return Err(forbidden(
                    MATCH,
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ));
            }
            (false, Some(_)) if call.parameter("continue").is_some() => {
                return Err(forbidden(MATCH, "resourceVersionMatch is forbidden when continue is provided"));
            }
            (false, Some(_)) if options.version.is_none() => {
                return Err(forbidden(
                    MATCH,
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                ));
            }
            (false, Some(Match::Exact)) if options.version == Some(0) => {
                return Err(forbidden(
                    MATCH,
                    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                ));
            }
            _ => {}
        }
        Ok(options)
    }

    /// Nobody can show a moment that has not come.
    pub(super) fn check_reached(&self, revision: u64) -> Result<(), ApiError> {
        let Some(wanted) = self.version.filter(|wanted| *wanted > revision) else { return Ok(()) };
        let cause = Cause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: None,
        };
        let message = format!("Timeout: Too large resource version: {wanted}, current: {revision}");
        Err(ApiError {
            causes: vec![cause],
            retry_after_seconds: 1,
            ..ApiError::new(504, "Timeout", message)
        })
    }
}
