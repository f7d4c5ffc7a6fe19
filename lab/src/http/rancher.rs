//! Rancher's own pages and its API `/v3`.

use axum::body::Body;
use axum::http::{Method, Response};
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::{Value, json};

use super::app::App;
use super::call::{self, Call, set_header};
use crate::rancher::{self, Query, Rancher, RancherError, collection, must_authenticate};

/// Answers everything that is neither Kubernetes nor Azure.
pub(super) fn answer(app: &App, call: &Call) -> Response<Body> {
    let authenticated = authenticate(app, call);
    let mut response = match (call.segments().as_slice(), authenticated) {
        (["ping"], _) => call::text(200, "pong"),
        (["healthz"], _) => call::text(200, "ok"),
        (["cacerts"], _) => call::text(200, ""),
        (["rancherversion"], _) => {
            let version = app.lab.with(|world| world.rancher.version().to_owned());
            call::json(200, &json!({ "Version": version, "GitCommit": "lab", "RancherPrime": "false" }))
        }
        (["v3", "settings", name], _) if Rancher::is_open_setting(name) => v3(app, call),
        (["v3", ..], true) => v3(app, call),
        (["v3", ..], false) => unauthorized(),
        _ => norman(&RancherError { status: 404, code: "NotFound", message: "not found".to_owned() }),
    };
    set_auth(&mut response, authenticated);
    // A server's date is its own clock's: clients tell by it how old is what Rancher says.
    if let Ok(date) = DateTimePrinter::new().timestamp_to_rfc9110_string(&app.lab.now()) {
        set_header(&mut response, "date", &date);
    }
    response
}

/// Does the request carry one of Rancher's tokens, as a bearer or as name and password? kubectl sends no bearer to a server
/// without TLS.
pub(super) fn authenticate(app: &App, call: &Call) -> bool {
    let path = call.segments();
    let good =
        |token: &str| app.lab.with(|world| world.rancher.authenticate(token, &path, world.now()).is_some());
    call.bearer().is_some_and(good) || call.basic().is_some_and(|token| good(&token))
}

/// The header by which a client tells a bad token from a missing permission (Rancher: `pkg/auth/server.go`).
pub(super) fn set_auth(response: &mut Response<Body>, authenticated: bool) {
    set_header(response, "x-api-cattle-auth", if authenticated { "true" } else { "false" });
}

pub(super) fn unauthorized() -> Response<Body> {
    let mut body = must_authenticate().to_string();
    body.push('\n');
    let mut response = call::text(401, body);
    set_header(&mut response, "content-type", "application/json");
    response
}

fn norman(error: &RancherError) -> Response<Body> {
    call::json(error.status, &error.body())
}

fn v3(app: &App, call: &Call) -> Response<Body> {
    if call.method != Method::GET {
        return norman(&RancherError::method_not_allowed());
    }
    let result: Result<Value, RancherError> = app.lab.with(|world| match call.segments()[..] {
        ["v3", "clusters"] => {
            let address = format!("{}/v3/clusters", app.base());
            Ok(collection("cluster", rancher::clusters(world), &Query(call.query.clone()), &address))
        }
        ["v3", "clusters", id] => rancher::find_cluster(world, id),
        ["v3", "cloudcredentials", id] => rancher::cloud_credential(world, id),
        ["v3", "tokens", name] => world.rancher.token(name, world.now()),
        ["v3", "settings", name] => world.rancher.setting(name),
        _ => Err(RancherError {
            status: 404,
            code: "NotFound",
            message: "the lab does not model this".to_owned(),
        }),
    });
    match result {
        Ok(body) => call::json(200, &body),
        Err(error) => norman(&error),
    }
}
