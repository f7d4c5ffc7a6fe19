//! Bad weather as its callers see it: statuses, bodies, and connections that break.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::{Method, Response};
use futures::stream;

use super::app::App;
use super::call::{self, Call, set_retry_after};
use super::{arm, kube, rancher};
use crate::azure::ArmError;
use crate::error::ApiError;
use crate::faults::{self, Service, Symptom, WriteKind};
use crate::rancher::Rancher;

/// What the weather is asked about; nothing for the pages that are open to everybody.
pub(super) fn occasion(app: &App, call: &Call, body: Option<&Bytes>) -> Option<faults::Call> {
    let path = call.segments();
    let (service, write) = match path[..] {
        [first, ..] if arm::is(first, "subscriptions") => (Service::Azure, azure_write(app, call)),
        ["k8s", "clusters", _, ref rest @ ..] => {
            (Service::Kubernetes, body.and_then(|body| kube::write_of(call, rest, body)))
        }
        ["v3", "settings", name] if Rancher::is_open_setting(name) => return None,
        ["v3", ..] => (Service::Rancher, None),
        _ => return None,
    };
    Some(write.map_or(faults::Call::Other(service), faults::Call::Write))
}

/// Which of a run's writes a request to ARM is.
fn azure_write(app: &App, call: &Call) -> Option<WriteKind> {
    let path = call.segments();
    let place = path.iter().position(|word| arm::is(word, "managedClusters"))?;
    match path[place + 1..] {
        [_] if call.method == Method::PUT => Some(WriteKind::UpgradeControlPlane),
        [_, pools, pool] if arm::is(pools, "agentPools") => match call.method {
            Method::DELETE => Some(WriteKind::DeletePool),
            Method::PUT if app.lab.with(|world| world.azure.pool(pool).is_ok()) => {
                Some(WriteKind::UpgradePool)
            }
            Method::PUT => Some(WriteKind::CreatePool),
            _ => None,
        },
        _ => None,
    }
}

/// The answer to a call that meets bad weather.
pub(super) fn answer(app: &App, call: &Call, service: Service, symptom: Symptom) -> Response<Body> {
    let words = symptom.words(service);
    let arm = |status, code| arm::refused(app, call, &ArmError::arm(status, code, words.as_str()));
    let mut response = match (symptom, service) {
        (Symptom::Cut, _) => return broken(),
        (Symptom::Error, Service::Kubernetes) => {
            kube::refused(&ApiError::new(500, "InternalError", words.as_str()))
        }
        (Symptom::Error, Service::Azure) => arm(500, "InternalServerError"),
        (Symptom::TokenExpired, Service::Azure) => arm(401, "ExpiredAuthenticationToken"),
        (Symptom::TokenExpired, Service::Kubernetes | Service::Rancher) => rancher::unauthorized(),
        (Symptom::Throttled, _) => call::text(429, words),
        (Symptom::Error, Service::Rancher) | (Symptom::AgentLost, _) => call::text(500, words),
    };
    if symptom == Symptom::Throttled {
        // Kubernetes' priority and fairness always says this.
        set_retry_after(&mut response, 1);
    }
    if service != Service::Azure {
        rancher::set_auth(&mut response, symptom != Symptom::TokenExpired);
    }
    response
}

/// An answer that breaks off in the middle.
fn broken() -> Response<Body> {
    let pieces = [Ok(Bytes::from_static(b"{")), Err(cut())];
    Response::new(Body::from_stream(stream::iter(pieces)))
}

/// Why a body ends before its end.
pub(super) fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the weather")
}
