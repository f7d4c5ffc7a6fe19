//! What the API server answers when it does not do as asked.

use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusCause, StatusDetails};

/// A refusal of the API server: what a `metav1.Status` carries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub code: u16,
    /// The machine's reason (`NotFound`, `Conflict`); empty where the API server leaves it empty.
    pub reason: &'static str,
    /// The server's words.
    pub message: String,
    /// The plural of the kind it is about, if any.
    pub kind: Option<&'static str>,
    /// The name it is about, if any.
    pub name: Option<String>,
    /// Causes.
    pub causes: Vec<Cause>,
    /// How long to wait; 0 means that the server does not say.
    pub retry_after_seconds: i32,
}

/// One cause of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The machine's reason (`DisruptionBudget`).
    pub reason: String,
    /// The server's words.
    pub message: String,
}

impl ApiError {
    /// A refusal without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            kind: None,
            name: None,
            causes: Vec::new(),
            retry_after_seconds: 0,
        }
    }

    fn about<T: Resource>(mut self, name: &str) -> Self {
        self.kind = Some(T::URL_PATH_SEGMENT);
        self.name = Some(name.to_owned());
        self
    }

    /// 404.
    pub fn not_found<T: Resource>(name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", qualified::<T>())).about::<T>(name)
    }

    /// 409, the name is taken.
    pub fn already_exists<T: Resource>(name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} \"{name}\" already exists", qualified::<T>()))
            .about::<T>(name)
    }

    /// 409, somebody else was faster or the object is another one.
    pub fn conflict<T: Resource>(name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", qualified::<T>());
        Self::new(409, "Conflict", message).about::<T>(name)
    }

    /// 409, the precondition on the uid does not hold.
    pub fn wrong_uid<T: Resource>(name: &str, wanted: &str, actual: &str) -> Self {
        Self::conflict::<T>(
            name,
            &format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {actual}"),
        )
    }

    /// 409, the object was read before its last change.
    pub fn stale<T: Resource>(name: &str) -> Self {
        Self::conflict::<T>(
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 422.
    pub fn invalid<T: Resource>(name: &str, why: &str) -> Self {
        Self::new(422, "Invalid", format!("{} \"{name}\" is invalid: {why}", T::KIND)).about::<T>(name)
    }

    /// As the API's own object.
    pub fn status(&self) -> Status {
        let causes = self.causes.iter().map(|cause| StatusCause {
            field: None,
            message: Some(cause.message.clone()),
            reason: Some(cause.reason.clone()),
        });
        let causes: Vec<_> = causes.collect();
        let details = StatusDetails {
            causes: (!causes.is_empty()).then_some(causes),
            kind: self.kind.map(str::to_owned),
            name: self.name.clone(),
            retry_after_seconds: (self.retry_after_seconds > 0).then_some(self.retry_after_seconds),
            ..StatusDetails::default()
        };
        Status {
            code: Some(i32::from(self.code)),
            details: (details != StatusDetails::default()).then_some(details),
            message: Some(self.message.clone()),
            reason: (!self.reason.is_empty()).then(|| self.reason.to_owned()),
            status: Some("Failure".to_owned()),
            ..Status::default()
        }
    }
}

/// `pods`, `deployments.apps`: how the API server names a kind in its messages.
fn qualified<T: Resource>() -> String {
    if T::GROUP.is_empty() {
        T::URL_PATH_SEGMENT.to_owned()
    } else {
        format!("{}.{}", T::URL_PATH_SEGMENT, T::GROUP)
    }
}
