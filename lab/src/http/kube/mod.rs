//! The Kubernetes API behind Rancher's proxy, generic over every kind of the store.

mod defaults;
mod discovery;
mod forms;
mod list;
mod metrics;
mod names;
mod objects;
mod occasion;
mod options;
mod patch;
mod path;
mod protobuf;
mod remove;
mod review;
mod rights;
mod rules;
mod scale;
mod select;
mod strict;
mod table;
mod verbs;
mod watch;
mod write;

use axum::body::{Body, Bytes};
use axum::http::{Method, Response};
use upgrade_core::access::{self, Right};
use upgrade_core::ports::METRICS;

use super::app::App;
use super::call::{self, Call, set_retry_after};
use super::rancher::{authenticate, set_auth, unauthorized};
use crate::error::ApiError;
use crate::rancher::router_error;
use forms::Form;
pub(super) use occasion::write_of;
use path::{Place, Target};

/// Answers everything below `/k8s/clusters/`.
pub(super) fn answer(app: &App, call: &Call, body: Option<&Bytes>) -> Response<Body> {
    let authenticated = authenticate(app, call);
    let mut response = if authenticated { proxied(app, call, body) } else { unauthorized() };
    set_auth(&mut response, authenticated);
    response
}

/// What Rancher's proxy does before the API server sees anything.
fn proxied(app: &App, call: &Call, body: Option<&Bytes>) -> Response<Body> {
    let path = call.segments();
    let (cluster, rest) = (path.get(2).copied().unwrap_or_default(), path.get(3..).unwrap_or_default());
    let ours = app.lab.with(|world| world.rancher.id().as_str() == cluster);
    if !ours {
        // Without a content type of its own (Rancher: clusterrouter).
        return call::text(404, router_error(404, "NotFound", "No cluster available").to_string());
    }
    if rest.first() == Some(&"v1") {
        let message =
            format!("lost connection to cluster: failed to find Session for client stv-cluster-{cluster}");
        return call::text(500, message);
    }
    match body {
        Some(body) => api(app, call, rest, body),
        None => call::text(500, "error trying to reach service: http: request body too large"),
    }
}

/// The API server.
fn api(app: &App, call: &Call, path: &[&str], body: &[u8]) -> Response<Body> {
    // Generated clients ask for `/version/` and `/apis/apps/`.
    let path = path.strip_suffix(&[""]).unwrap_or(path);
    let result = match path {
        ["healthz" | "livez" | "readyz"] if call.method == Method::GET => return call::text(200, "ok"),
        ["version"] | ["api" | "apis" | "openapi", ..] if call.method == Method::GET => {
            match app.lab.with(|world| discovery::answer(world, path)) {
                Some(found) => return call::json(200, &found),
                None => on_target(app, call, path, body),
            }
        }
        ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"] if call.method == Method::POST => {
            review::read(call, body)
                .and_then(|review| app.lab.with(|world| review::answer(world, review)))
                .map(|review| call::json(201, &review))
        }
        ["metrics"] if call.method == Method::GET => app.lab.with(|world| {
            world.authorize(&Right::new(access::Verb::Get, "", METRICS), "")?;
            Ok(call::text(200, metrics::text(world)))
        }),
        _ => on_target(app, call, path, body),
    };
    result.unwrap_or_else(|error| refused(&error))
}

fn on_target(app: &App, call: &Call, path: &[&str], body: &[u8]) -> Result<Response<Body>, ApiError> {
    let target = Target::of(path).ok_or_else(no_such_resource)?;
    let right = rights::needed(call, &target)?;
    app.lab.with(|world| world.authorize(&right, target.name()))?;
    if call.method == Method::GET && target.place.is_collection() {
        return if call.flag("watch") {
            watch::answer(app, call, &target)
        } else {
            list::answer(app, call, &target)
        };
    }
    if call.method == Method::DELETE && target.place.is_collection() {
        return remove::all(app, call, &target, &right, body);
    }
    let form = Form::of(call)?;
    let verb = verbs::Verb::of(call, &target, body)?;
    let (outcome, now) = app.lab.with(|world| {
        if verb.writes() {
            world.admit(&right, &verb.labels(&world.store, &target), verb.is_dry_run())?;
        }
        Ok::<_, ApiError>((verb.carry_out(world, &target)?, world.now()))
    })?;
    let verbs::Outcome { status, body, warnings, is_object } = outcome;
    let body = if is_object { form.object(target.kind, body, now) } else { body };
    let mut response = call::json(status, &body);
    for warning in warnings {
        call::add_warning(&mut response, &warning);
    }
    Ok(response)
}

/// A refusal as the API writes it.
pub(super) fn refused(error: &ApiError) -> Response<Body> {
    let body = serde_json::to_value(error.status()).expect("a Status is plain data");
    let mut response = call::json(error.code, &body);
    if let Some(seconds) = u64::try_from(error.retry_after_seconds).ok().filter(|seconds| *seconds > 0) {
        set_retry_after(&mut response, seconds);
    }
    response
}

fn no_such_resource() -> ApiError {
    ApiError::new(404, "NotFound", "the server could not find the requested resource")
}

fn method_not_allowed() -> ApiError {
    ApiError::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
}

fn unreadable(error: &serde_json::Error) -> ApiError {
    ApiError::bad_request(format!("the object provided cannot be read: {error}"))
}

impl Place {
    fn is_collection(&self) -> bool {
        matches!(self, Self::Everywhere | Self::Namespace(_))
    }
}
