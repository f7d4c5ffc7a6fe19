//! Calls through the weather, and what the core sees of bad weather.

use std::time::Duration;

use upgrade_core::ports::{CallOutcome, PortError, PortErrorKind, RemoteService};

use crate::faults::{Call, Service, Sky, Symptom};
use crate::lab::Lab;
use crate::world::World;

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
        Symptom::Cut => (RemoteService::Rancher, PortErrorKind::Unreachable, may_have_acted),
        // Priority and fairness answers in a plain text that does not say whose it is.
        Symptom::Throttled { .. } if service == Service::Kubernetes => {
            (RemoteService::Rancher, PortErrorKind::Throttled, CallOutcome::NothingDone)
        }
        Symptom::Throttled { .. } => (remote, PortErrorKind::Throttled, CallOutcome::NothingDone),
        Symptom::AgentLost => (RemoteService::Rancher, PortErrorKind::Unreachable, may_have_acted),
        Symptom::TokenExpired if service == Service::Azure => {
            (remote, PortErrorKind::Unauthorized, CallOutcome::NothingDone)
        }
        Symptom::TokenExpired => {
            (RemoteService::Rancher, PortErrorKind::Unauthorized, CallOutcome::NothingDone)
        }
    };
    let retry_after = match symptom {
        Symptom::Throttled { retry_after } => Some(Duration::from_secs(retry_after.as_secs().max(1))),
        Symptom::Error | Symptom::Cut | Symptom::AgentLost | Symptom::TokenExpired => None,
    };
    PortError { retry_after, ..PortError::new(who, kind, outcome, symptom.words(service)) }
}
