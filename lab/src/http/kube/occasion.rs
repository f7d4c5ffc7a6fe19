//! Which of a run's writes a request is.

use serde_json::Value;

use super::super::call::Call;
use super::path::Target;
use super::verbs::Verb;
use crate::faults::WriteKind;
use crate::store::Kind;

/// The write, if the request is one that a run makes and not only a trial. What cannot be read is none.
pub(in super::super) fn write_of(call: &Call, path: &[&str], body: &[u8]) -> Option<WriteKind> {
    let target = Target::of(path)?;
    let verb = Verb::of(call, &target, body).ok().filter(|verb| verb.writes() && !verb.is_dry_run())?;
    match (verb, target.kind) {
        (Verb::Evict(_), _) => Some(WriteKind::Evict),
        (Verb::Patch { .. } | Verb::Update { .. }, Kind::Node) => Some(WriteKind::Cordon),
        (Verb::Create { .. } | Verb::Delete { .. }, Kind::Pod) => Some(WriteKind::Prewarm),
        (Verb::Patch { .. }, Kind::Deployment | Kind::StatefulSet) if is_about_template(body) => {
            Some(WriteKind::Restart)
        }
        (Verb::Patch { .. }, Kind::Deployment | Kind::ReplicaSet) => Some(WriteKind::Loan),
        (Verb::Create { .. } | Verb::Update { .. } | Verb::Patch { .. }, Kind::Lease) => {
            Some(WriteKind::Lease)
        }
        _ => None,
    }
}

/// Does a merge patch change the pod template?
fn is_about_template(patch: &[u8]) -> bool {
    let patch: Value = serde_json::from_slice(patch).unwrap_or_default();
    patch.pointer("/spec/template").is_some()
}
