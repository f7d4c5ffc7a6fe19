//! What the API server answers when it does not do as asked.

use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusCause, StatusDetails};

use crate::store::KindNames;

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
    /// The API group of the kind it is about; empty for the core group and where it is about none.
    pub group: &'static str,
    /// The kind it is about, if any: its plural, of a 422 its name.
    pub kind: Option<&'static str>,
    /// The name it is about, if any.
    pub name: Option<Box<str>>,
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
    /// The field it is about, if it is about one (`spec.replicas`).
    pub field: Option<String>,
}

impl ApiError {
    /// A refusal without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            group: "",
            kind: None,
            name: None,
            causes: Vec::new(),
            retry_after_seconds: 0,
        }
    }

    fn about(mut self, names: KindNames, name: &str) -> Self {
        self.group = names.group;
        self.kind = Some(names.plural);
        self.name = Some(name.into());
        self
    }

    /// 404.
    pub fn not_found<T: Resource>(name: &str) -> Self {
        let names = KindNames::of::<T>();
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", qualified(names))).about(names, name)
    }

    /// 409, the name is taken.
    pub fn already_exists<T: Resource>(name: &str) -> Self {
        let names = KindNames::of::<T>();
        Self::new(409, "AlreadyExists", format!("{} \"{name}\" already exists", qualified(names)))
            .about(names, name)
    }

    /// 409, somebody else was faster or the object is another one.
    pub fn conflict<T: Resource>(name: &str, why: &str) -> Self {
        Self::conflict_of(KindNames::of::<T>(), name, why)
    }

    /// The same, of a kind known only at run time.
    pub fn conflict_of(names: KindNames, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", qualified(names));
        Self::new(409, "Conflict", message).about(names, name)
    }

    /// 409, the precondition on the uid does not hold.
    pub fn wrong_uid<T: Resource>(name: &str, wanted: &str, actual: &str) -> Self {
        Self::wrong_uid_of(KindNames::of::<T>(), name, wanted, actual)
    }

    /// The same, of a kind known only at run time.
    pub fn wrong_uid_of(names: KindNames, name: &str, wanted: &str, actual: &str) -> Self {
        let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {actual}");
        Self::conflict_of(names, name, &why)
    }

    /// 409, the object was read before its last change.
    pub fn stale<T: Resource>(name: &str) -> Self {
        Self::stale_of(KindNames::of::<T>(), name)
    }

    /// The same, of a kind known only at run time.
    pub fn stale_of(names: KindNames, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict_of(names, name, why)
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 403, an object of this kind.
    pub fn forbidden(names: KindNames, name: &str, why: &str) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {why}", qualified(names));
        Self::new(403, "Forbidden", message).about(names, name)
    }

    /// 422, with what is wrong, field by field.
    pub fn invalid(names: KindNames, name: &str, faults: Vec<Cause>) -> Self {
        let group = if names.group.is_empty() { String::new() } else { format!(".{}", names.group) };
        let say =
            |fault: &Cause| format!("{}: {}", fault.field.as_deref().unwrap_or_default(), fault.message);
        let why = match &faults[..] {
            [one] => say(one),
            many => format!("[{}]", many.iter().map(say).collect::<Vec<_>>().join(", ")),
        };
        let message = format!("{}{group} \"{name}\" is invalid: {why}", names.kind);
        // Of a refusal the details name the kind itself, not its plural.
        let error = Self::new(422, "Invalid", message).about(names, name);
        Self { kind: Some(names.kind), causes: faults, ..error }
    }

    /// As the API's own object.
    pub fn status(&self) -> Status {
        let causes = self.causes.iter().map(|cause| StatusCause {
            field: cause.field.clone(),
            message: Some(cause.message.clone()),
            reason: Some(cause.reason.clone()),
        });
        let causes: Vec<_> = causes.collect();
        let details = StatusDetails {
            causes: (!causes.is_empty()).then_some(causes),
            group: (!self.group.is_empty()).then(|| self.group.to_owned()),
            kind: self.kind.map(str::to_owned),
            name: self.name.as_deref().map(str::to_owned),
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
fn qualified(names: KindNames) -> String {
    if names.group.is_empty() { names.plural.to_owned() } else { format!("{}.{}", names.plural, names.group) }
}
