//! Calls through the weather, and what the core sees of bad weather.

use std::time::Duration;

use upgrade_core::ports::{CallOutcome, PortError, PortErrorKind, RemoteService};

use crate::faults::{Call, Service, Sky, Symptom};
use crate::lab::Lab;
use crate::world::World;

/// The pause that Kubernetes' priority and fairness asks for.
const FAIRNESS: Duration = Duration::from_secs(1);

impl Lab {
    /// One call of a port: carried out, or not, and answered, or not, as the weather has it.
    pub(super) fn through<T>(
        &self,
        call: Call,
        act: impl FnOnce(&mut World) -> Result<T, PortError>,
    ) -> Result<T, PortError> {
        self.with(|world| match world.meet(call) {
            Sky::Clear => act(world),
            Sky::Before(symptom) => Err(port_error(symptom, call)),
            Sky::After(symptom) => {
                // Nobody learns what came of it.
                drop(act(world));
                Err(port_error(symptom, call))
            }
        })
    }
}

/// The symptom as the real adapters translate it.
pub(super) fn port_error(symptom: Symptom, call: Call) -> PortError {
    let service = call.service();
    let may_have_acted = match call {
        Call::Other(_) => CallOutcome::NothingDone,
        Call::Write(_) => CallOutcome::Unknown,
    };
    let remote = match service {
        Service::Rancher => RemoteService::Rancher,
        Service::Kubernetes => RemoteService::Kubernetes,
        Service::Azure => RemoteService::Azure,
    };
    let (who, kind, outcome) = match symptom {
        Symptom::Error => (remote, PortErrorKind::Internal, may_have_acted),
        // It breaks on the way to Rancher, or behind it; who asks sees only the former.
        Symptom::Cut if service == Service::Azure => (remote, PortErrorKind::Unreachable, may_have_acted),
        Symptom::Cut | Symptom::AgentLost => {
            (RemoteService::Rancher, PortErrorKind::Unreachable, may_have_acted)
        }
        // Priority and fairness answers in a plain text that does not say whose it is.
        Symptom::Throttled => (RemoteService::Rancher, PortErrorKind::Throttled, CallOutcome::NothingDone),
        Symptom::TokenExpired if service == Service::Azure => {
            (remote, PortErrorKind::Unauthorized, CallOutcome::NothingDone)
        }
        Symptom::TokenExpired => {
            (RemoteService::Rancher, PortErrorKind::Unauthorized, CallOutcome::NothingDone)
        }
    };
    let retry_after = (symptom == Symptom::Throttled).then_some(FAIRNESS);
    PortError { retry_after, ..PortError::new(who, kind, outcome, symptom.words(service)) }
}
