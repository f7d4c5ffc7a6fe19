//! What the API server demands of a Lease (coordination/validation).

use k8s_openapi::api::coordination::v1::Lease;

use crate::error::ApiError;

/// The API's 422 for a Lease that cannot be.
pub(crate) fn valid(lease: &Lease) -> Result<(), ApiError> {
    let name = lease.metadata.name.as_deref().unwrap_or_default();
    let Some(spec) = &lease.spec else { return Ok(()) };
    if let Some(seconds) = spec.lease_duration_seconds.filter(|seconds| *seconds <= 0) {
        let why = format!("spec.leaseDurationSeconds: Invalid value: {seconds}: must be greater than 0");
        return Err(ApiError::invalid::<Lease>(name, &why));
    }
    if let Some(count) = spec.lease_transitions.filter(|count| *count < 0) {
        let why =
            format!("spec.leaseTransitions: Invalid value: {count}: must be greater than or equal to 0");
        return Err(ApiError::invalid::<Lease>(name, &why));
    }
    Ok(())
}
