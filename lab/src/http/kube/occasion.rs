//! Which of a run's writes a request is.

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
        (Verb::Patch { .. }, Kind::Deployment | Kind::StatefulSet) => Some(WriteKind::Restart),
        (Verb::Create { .. } | Verb::Update { .. } | Verb::Patch { .. }, Kind::Lease) => {
            Some(WriteKind::Lease)
        }
        _ => None,
    }
}
