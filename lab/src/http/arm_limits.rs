//! Requests to ARM are counted before anything else is done about them.

use axum::body::Body;
use axum::http::{Method, Response};
use upgrade_core::model::PoolName;

use super::arm::is;
use super::call::{Call, set_header};
use crate::azure::{ArmError, Handler, Verb};
use crate::world::World;

/// How many requests of a kind ARM would still take.
#[derive(Clone, Copy)]
pub(super) struct Left {
    verb: Verb,
    requests: u64,
}

impl Left {
    /// Tells the client.
    pub(super) fn tell(self, response: &mut Response<Body>) {
        let name = match self.verb {
            Verb::Read => "x-ms-ratelimit-remaining-subscription-reads",
            Verb::Write => "x-ms-ratelimit-remaining-subscription-writes",
            Verb::Delete => "x-ms-ratelimit-remaining-subscription-deletes",
        };
        set_header(response, name, &self.requests.to_string());
    }
}

/// Counts a request with ARM.
pub(super) fn manager(world: &mut World, call: &Call) -> Result<Left, ArmError> {
    let verb = match call.method {
        Method::GET | Method::HEAD => Verb::Read,
        Method::DELETE => Verb::Delete,
        _ => Verb::Write,
    };
    let now = world.now();
    let requests = world.azure.count_with_manager(verb, now)?;
    Ok(Left { verb, requests })
}

/// Counts a request with AKS, where it is one that AKS answers.
pub(super) fn provider(world: &mut World, call: &Call) -> Result<(), ArmError> {
    let now = world.now();
    handler(call).map_or(Ok(()), |handler| world.azure.count_with_provider(handler, now))
}

fn handler(call: &Call) -> Option<Handler> {
    let path = call.segments();
    let at = path.iter().position(|word| is(word, "Microsoft.ContainerService"))?;
    let is_put = call.method == Method::PUT;
    Some(match path[at + 1..] {
        [locations, _, what, _]
            if is(locations, "locations") && (is(what, "operations") || is(what, "operationresults")) =>
        {
            Handler::OperationStatus
        }
        [_, _] if is_put => Handler::PutCluster,
        [_, _] if call.method == Method::GET => Handler::GetCluster,
        [_, _, pools, pool] if is_put && is(pools, "agentPools") => {
            PoolName::new(pool).map_or(Handler::Other, Handler::PutPool)
        }
        _ => Handler::Other,
    })
}
