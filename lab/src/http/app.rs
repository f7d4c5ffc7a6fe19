//! What all handlers share, and who answers which path.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::Response;
use tokio::sync::watch;

use super::call::{self, Call};
use super::pace::Pace;
use super::{arm, kube, rancher, registry, weather};
use crate::faults::Sky;
use crate::lab::Lab;
use crate::world::World;

/// What all handlers share.
#[derive(Clone)]
pub(super) struct App(Arc<Shared>);

pub(super) struct Shared {
    pub(super) lab: Lab,
    pub(super) pace: Pace,
    pub(super) address: SocketAddr,
    /// ARM's bearer. Rancher's is among Rancher's own tokens.
    pub(super) azure_token: String,
    /// Turns true when the server stops; endless answers end then.
    pub(super) closing: watch::Receiver<bool>,
    /// Requests to ARM, for their ids.
    pub(super) requests: AtomicU64,
}

impl std::ops::Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    pub(super) fn new(shared: Shared) -> Self {
        // Here is somebody who can read them.
        shared.lab.with(World::tell_events);
        Self(Arc::new(shared))
    }

    /// The server's own address, without a slash at its end.
    pub(super) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The number of this request to ARM.
    pub(super) fn count(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn router(self) -> Router {
        Router::new().fallback(answer).with_state(self)
    }
}

pub(super) async fn answer(State(app): State<App>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Some(call) = Call::of(head.method, &head.uri, head.headers) else {
        return call::text(400, "the path is not readable");
    };
    let body = call::read(body).await;
    // What is due is done before anybody looks.
    app.lab.advance_to(app.pace.now());
    let Some(occasion) = weather::occasion(&app, &call, body.as_ref()) else {
        return in_fair_weather(&app, &call, body.as_ref());
    };
    match app.lab.with(|world| world.meet(occasion)) {
        Sky::Clear => in_fair_weather(&app, &call, body.as_ref()),
        Sky::Before(symptom) => weather::answer(&app, &call, occasion.service(), symptom),
        Sky::After(symptom) => {
            // Nobody learns what came of it.
            drop(in_fair_weather(&app, &call, body.as_ref()));
            weather::answer(&app, &call, occasion.service(), symptom)
        }
    }
}

fn in_fair_weather(app: &App, call: &Call, body: Option<&Bytes>) -> Response<Body> {
    match call.segments()[..] {
        [first, ..] if first.eq_ignore_ascii_case("subscriptions") => arm::answer(app, call, body),
        ["k8s", "clusters", ..] => kube::answer(app, call, body),
        ["v2", ..] => registry::answer(app, call),
        _ => rancher::answer(app, call),
    }
}
