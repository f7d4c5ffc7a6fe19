//! Azure Resource Manager, as far as one managed cluster needs it.

use axum::body::{Body, Bytes};
use axum::http::{Method, Response};
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::{Value, json};
use upgrade_core::model::PoolName;

use super::app::App;
use super::arm_limits;
use super::arm_reads;
use super::call::{self, Call, set_header, set_retry_after};
use crate::azure::{Accepted, ArmError, Azure, Conditions, OperationId, OperationStatus};
use crate::world::World;

/// The API version that Azure puts into the addresses of operations, which are opaque to clients.
const OPERATIONS_API: &str = "2025-01-01";

/// Answers everything below `/subscriptions`. The order is ARM's: token, API version, then from the outside in whether there
/// is such a resource.
pub(super) fn answer(app: &App, call: &Call, body: Option<&Bytes>) -> Response<Body> {
    let mut left = None;
    let result = check(app, call).and_then(|()| match body {
        None => Err(ArmError::arm(413, "RequestEntityTooLarge", "the request's body is too large")),
        Some(body) => app.lab.with(|world| {
            left = Some(arm_limits::manager(world, call)?);
            arm_limits::provider(world, call)?;
            route(app, world, call, body)
        }),
    });
    let mut response = match result {
        Ok(response) => stamped(app, call, response),
        Err(error) => refused(app, call, &error),
    };
    if let Some(left) = left {
        left.tell(&mut response);
    }
    response
}

/// A refusal as ARM writes it.
pub(super) fn refused(app: &App, call: &Call, error: &ArmError) -> Response<Body> {
    let mut response = call::json(error.status, &error.body());
    set_header(&mut response, "x-ms-error-code", &error.code);
    if let Some(wait) = error.retry_after {
        set_retry_after(&mut response, app.pace.retry_after(wait));
    }
    if error.status == 401 {
        set_header(
            &mut response,
            "www-authenticate",
            "Bearer authorization_uri=\"https://login.windows.net/common\"",
        );
    }
    stamped(app, call, response)
}

/// With the headers that every answer of ARM has.
fn stamped(app: &App, call: &Call, mut response: Response<Body>) -> Response<Body> {
    // A server's date is its own clock's: clients that pace themselves measure by it.
    if let Ok(date) = DateTimePrinter::new().timestamp_to_rfc9110_string(&app.lab.now()) {
        set_header(&mut response, "date", &date);
    }
    let id = OperationId::of_request(app.count()).to_string();
    set_header(&mut response, "x-ms-request-id", &id);
    set_header(
        &mut response,
        "x-ms-correlation-request-id",
        call.header("x-ms-correlation-request-id").unwrap_or(&id),
    );
    if let Some(asked) = call
        .header("x-ms-client-request-id")
        .filter(|_| call.header("x-ms-return-client-request-id") == Some("true"))
    {
        set_header(&mut response, "x-ms-client-request-id", asked);
    }
    response
}

fn check(app: &App, call: &Call) -> Result<(), ArmError> {
    match call.bearer() {
        Some(token) if token == app.azure_token => {}
        Some(_) => {
            return Err(ArmError::arm(401, "InvalidAuthenticationToken", "The access token is invalid."));
        }
        None => {
            let message = "Authentication failed. The 'Authorization' header is missing.";
            return Err(ArmError::arm(401, "AuthenticationFailed", message));
        }
    }
    let Some(version) = call.parameter("api-version") else {
        let message = "The api-version query parameter (?api-version=) is required for all requests.";
        return Err(ArmError::arm(400, "MissingApiVersionParameter", message));
    };
    let date = version.strip_suffix("-preview").unwrap_or(version);
    if date.len() == 10 && date.parse::<jiff::civil::Date>().is_ok() {
        return Ok(());
    }
    Err(ArmError::arm(400, "InvalidApiVersionParameter", format!("The api-version '{version}' is invalid.")))
}

pub(super) fn not_found(what: &str, name: &str) -> ArmError {
    match what {
        "subscription" => ArmError::arm(
            404,
            "SubscriptionNotFound",
            format!("The subscription '{name}' could not be found."),
        ),
        "group" => ArmError::arm(
            404,
            "ResourceGroupNotFound",
            format!("Resource group '{name}' could not be found."),
        ),
        _ => ArmError::arm(404, "ResourceNotFound", format!("The Resource '{name}' was not found.")),
    }
}

/// Words of ARM's paths are compared without case.
pub(super) fn is(word: &str, expected: &str) -> bool {
    word.eq_ignore_ascii_case(expected)
}

fn route(app: &App, world: &mut World, call: &Call, body: &[u8]) -> Result<Response<Body>, ArmError> {
    let path = call.segments();
    let id = world.azure.id().clone();
    let subscription = path.get(1).copied().unwrap_or_default();
    if !is(subscription, id.subscription()) {
        return Err(not_found("subscription", subscription));
    }
    match path[2..] {
        [providers, provider, locations, location, ref rest @ ..]
            if is(providers, "providers")
                && is(provider, "Microsoft.ContainerService")
                && is(locations, "locations") =>
        {
            in_location(app, &world.azure, call, location, rest)
        }
        ref below if let Some(answer) = arm_reads::beside(world, call, below) => {
            answer.map(|value| call::json(200, &value))
        }
        [groups, group, ..] if is(groups, "resourceGroups") && !is(group, id.resource_group()) => {
            Err(not_found("group", group))
        }
        [_, _, providers, provider, clusters, ref rest @ ..]
            if is(providers, "providers")
                && is(provider, "Microsoft.ContainerService")
                && is(clusters, "managedClusters") =>
        {
            match rest {
                [] if call.method == Method::GET => {
                    Ok(call::json(200, &json!({ "value": [world.azure.cluster()] })))
                }
                [name, rest @ ..] if is(name, id.name()) => on_cluster(app, world, call, rest, body),
                [name, ..] => {
                    Err(not_found("resource", &format!("Microsoft.ContainerService/managedClusters/{name}")))
                }
                [] => Err(method_not_allowed(call)),
            }
        }
        _ => Err(not_found("resource", &path.join("/"))),
    }
}

pub(super) fn method_not_allowed(call: &Call) -> ArmError {
    ArmError::arm(405, "MethodNotAllowed", format!("{} is not supported here.", call.method))
}

fn in_location(
    app: &App,
    azure: &Azure,
    call: &Call,
    location: &str,
    rest: &[&str],
) -> Result<Response<Body>, ArmError> {
    if !is(location, azure.location()) {
        return Err(not_found("resource", &format!("locations/{location}")));
    }
    let id = |text: &str| text.parse::<OperationId>().ok();
    let gone = || ArmError::arm(404, "OperationNotFound", "The operation could not be found.");
    match *rest {
        [what] if is(what, "kubernetesVersions") => Ok(call::json(200, &azure.region_versions())),
        [what, name] if is(what, "operations") => {
            let shown = id(name).and_then(|id| azure.operation(id)).ok_or_else(gone)?;
            let mut response = call::json(200, &shown);
            if shown["status"] == "InProgress" {
                set_retry_after(&mut response, app.pace.retry_after(azure.look_again()));
            }
            Ok(response)
        }
        [what, name] if is(what, "operationresults") => {
            let status = id(name).and_then(|id| azure.operation_status(id)).ok_or_else(gone)?;
            match status {
                OperationStatus::InProgress => {
                    let mut response = call::empty(202);
                    set_header(
                        &mut response,
                        "location",
                        &address(app, azure, call, "operationresults", name),
                    );
                    set_retry_after(&mut response, app.pace.retry_after(azure.look_again()));
                    Ok(response)
                }
                OperationStatus::Succeeded => Ok(call::empty(204)),
                OperationStatus::Failed(error) => Err(error.clone()),
                OperationStatus::Canceled => {
                    Err(ArmError::arm(409, "OperationCanceled", "The operation was canceled."))
                }
            }
        }
        _ => Err(not_found("resource", &rest.join("/"))),
    }
}

/// The address of an operation. It names the host by which the client came.
fn address(app: &App, azure: &Azure, call: &Call, what: &str, id: &str) -> String {
    let subscription = call.path.get(1).map(String::as_str).unwrap_or_default();
    let location = azure.location();
    let host = call.header("host").map_or_else(|| app.base(), |host| format!("http://{host}"));
    format!(
        "{host}/subscriptions/{subscription}/providers/Microsoft.ContainerService/locations/{location}/{what}/{id}?api-version={OPERATIONS_API}"
    )
}

fn on_cluster(
    app: &App,
    world: &mut World,
    call: &Call,
    rest: &[&str],
    body: &[u8],
) -> Result<Response<Body>, ArmError> {
    let ok = |value: Value| Ok(call::json(200, &value));
    let conditions = conditions(call);
    let accepted = match (call.method.as_str(), rest) {
        ("GET", []) => return ok(world.azure.cluster()),
        ("PUT", []) => {
            let body = parse(body)?;
            world.with_azure(|azure, ground| azure.put_cluster(ground, &conditions, &body))?
        }
        ("DELETE" | "PATCH", []) => return Err(ArmError::not_modelled("deleting or tagging a cluster")),
        ("POST", [what]) if is(what, "abort") => {
            world.with_azure(|azure, ground| azure.abort(ground, None))?
        }
        ("POST", [what]) if is(what, "listClusterUserCredential") => {
            return ok(world.azure.user_credential());
        }
        ("GET", [what, "default"]) if is(what, "upgradeProfiles") => {
            return ok(world.azure.upgrade_profile());
        }
        ("GET", [what]) if is(what, "availableAgentPoolVersions") => {
            return ok(world.azure.available_pool_versions());
        }
        ("GET", [what]) if is(what, "agentPools") => return ok(json!({ "value": world.azure.pools() })),
        ("GET", [what]) if is(what, "maintenanceConfigurations") => {
            return ok(world.azure.maintenance_configurations());
        }
        ("GET", [what, name]) if is(what, "maintenanceConfigurations") => {
            return world.azure.maintenance_configuration(name).map(|shown| call::json(200, &shown));
        }
        (_, [what, name, rest @ ..]) if is(what, "agentPools") => {
            match on_pool(world, call, name, rest, &conditions, body)? {
                PoolAnswer::Shown(shown) => return ok(shown),
                PoolAnswer::Accepted(accepted) => accepted,
            }
        }
        (_, []) => return Err(method_not_allowed(call)),
        _ => return Err(not_found("resource", &rest.join("/"))),
    };
    Ok(answer_accepted(app, world, call, &accepted))
}

enum PoolAnswer {
    Shown(Value),
    Accepted(Accepted),
}

fn on_pool(
    world: &mut World,
    call: &Call,
    name: &str,
    rest: &[&str],
    conditions: &Conditions,
    body: &[u8],
) -> Result<PoolAnswer, ArmError> {
    let accepted = match (call.method.as_str(), rest) {
        ("GET", []) => return world.azure.pool(name).map(PoolAnswer::Shown),
        ("GET", [what, "default"]) if is(what, "upgradeProfiles") => {
            return world.azure.pool_upgrade_profile(name, world.now()).map(PoolAnswer::Shown);
        }
        ("GET", [what]) if is(what, "machines") => return world.machines_shown(name).map(PoolAnswer::Shown),
        ("GET", [what, machine]) if is(what, "machines") => {
            return world.machine_shown(name, machine).map(PoolAnswer::Shown);
        }
        ("PUT", []) => {
            let body = parse(body)?;
            world.with_azure(|azure, ground| azure.put_pool(ground, name, conditions, &body))
        }
        ("DELETE", []) => {
            let ignore = call.flag("ignore-pod-disruption-budget");
            world.with_azure(|azure, ground| azure.delete_pool(ground, name, conditions, ignore))
        }
        ("POST", [what]) if is(what, "abort") => {
            world.azure.pool(name)?;
            let pool = PoolName::new(name).ok();
            world.with_azure(|azure, ground| azure.abort(ground, pool.as_ref()))
        }
        (_, []) => Err(method_not_allowed(call)),
        _ => Err(not_found("resource", &rest.join("/"))),
    };
    accepted.map(PoolAnswer::Accepted)
}

/// The answer to an accepted write: the resource, and where to ask for the operation.
fn answer_accepted(app: &App, world: &World, call: &Call, accepted: &Accepted) -> Response<Body> {
    let mut response = match &accepted.body {
        Some(body) => call::json(accepted.status, body),
        None => call::empty(accepted.status),
    };
    if let Some(id) = accepted.operation {
        let id = id.to_string();
        set_header(
            &mut response,
            "azure-asyncoperation",
            &address(app, &world.azure, call, "operations", &id),
        );
        if accepted.status == 202 {
            set_header(&mut response, "location", &address(app, &world.azure, call, "operationresults", &id));
        }
        set_retry_after(&mut response, app.pace.retry_after(world.azure.look_again()));
    }
    response
}

fn conditions(call: &Call) -> Conditions {
    let header = |name: &str| call.header(name).map(str::to_owned);
    Conditions { if_match: header("if-match"), if_none_match: header("if-none-match") }
}

fn parse(body: &[u8]) -> Result<Value, ArmError> {
    serde_json::from_slice(body).map_err(|error| {
        ArmError::arm(400, "InvalidRequestContent", format!("The request content was invalid: {error}"))
    })
}
