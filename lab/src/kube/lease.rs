//! What the API server demands of a Lease (coordination/validation).

use k8s_openapi::api::coordination::v1::Lease;

use crate::error::{ApiError, Cause};
use crate::store::KindNames;

/// The API's 422 for a Lease that cannot be.
pub(crate) fn valid(lease: &Lease) -> Result<(), ApiError> {
    let name = lease.metadata.name.as_deref().unwrap_or_default();
    let Some(spec) = &lease.spec else { return Ok(()) };
    let mut faults = Vec::new();
    let mut fault = |field: &str, value: i32, rule: &str| {
        let message = format!("Invalid value: {value}: {rule}");
        let field = Some(field.to_owned());
        faults.push(Cause { reason: "FieldValueInvalid".to_owned(), message, field });
    };
    if let Some(seconds) = spec.lease_duration_seconds.filter(|seconds| *seconds <= 0) {
        fault("spec.leaseDurationSeconds", seconds, "must be greater than 0");
    }
    if let Some(count) = spec.lease_transitions.filter(|count| *count < 0) {
        fault("spec.leaseTransitions", count, "must be greater than or equal to 0");
    }
    if faults.is_empty() { Ok(()) } else { Err(ApiError::invalid(KindNames::of::<Lease>(), name, faults)) }
}
