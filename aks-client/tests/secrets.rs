//! No secret in anything that is shown: the token, and the signature in an operation's URL.
//!
//! One test drives every public type and every error through `Debug`, `Display`, JSON and everything that is traced, against
//! a service that repeats the token in all it says. A process of its own, because what is traced is a matter of the process.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside the functions marked as tests")]

use std::collections::BTreeSet;
use std::error::Error as _;
use std::fmt::{Debug, Display, Write as _};
use std::sync::{Arc, Mutex};

use aks_client::{
    AccessToken, AddressNeed, AgentPool, AksClient, ApiVersion, AvailableUpgrade, BodyError, ClosedSpan,
    Cloud, ClusterId, Endpoint, Error, Lock, LockLevel, Machine, MaintenanceConfiguration, MirrorSpec,
    NetworkMode, Operation, OperationKind, OperationProgress, OperationUrl, ParseError, Permissions,
    PoolVersion, ProvisioningState, QuotaShortage, RegionVersion, ResourceId, Restriction, ServiceError,
    ShapeError, StaticToken, Subnet, SubnetUsage, SubscriptionId, TokenError, TokenSource, TokioPause, Usage,
    VmSize, WeekSlot, quota_shortages,
};
use futures::StreamExt;
use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::support::{Arm, SECRET, answer, cluster, describe, http, id, ok, operation, pool, pool_path};

#[expect(dead_code, reason = "shared with the wire tests, which use all of it")]
#[path = "wire/support.rs"]
mod support;

const SIGNATURE: &str = "S1GNATURE";

/// All that was shown, and the names of the types that were.
#[derive(Default)]
struct Shown {
    text: String,
    types: BTreeSet<String>,
}

impl Shown {
    fn debug<T: Debug>(&mut self, value: &T) {
        self.types.insert(short_name::<T>());
        write!(self.text, "{value:?}\n{value:#?}\n").unwrap();
    }

    fn display<T: Debug + Display>(&mut self, value: &T) {
        self.debug(value);
        write!(self.text, "{value}\n{value:#}\n").unwrap();
    }

    fn json<T: Serialize>(&mut self, value: &T) {
        self.text.push_str(&serde_json::to_string(value).unwrap());
    }

    fn error(&mut self, error: &Error) {
        self.display(error);
        let mut source = error.source();
        while let Some(inner) = source {
            write!(self.text, "{inner}\n{inner:?}\n").unwrap();
            source = inner.source();
        }
        if let Some(answer) = error.answer() {
            self.display(answer);
            self.display(&answer.error);
            self.json(&answer.error);
        }
        if let Some(trace) = error.trace() {
            self.debug(trace);
        }
        if let Error::Forbidden { missing: Some(missing), .. } = error {
            self.display(missing);
            self.json(missing);
        }
    }

    fn silent(&self, secrets: &[&str]) {
        for secret in secrets {
            let at = self.text.find(secret);
            let around =
                at.map(|at| self.text[at.saturating_sub(200)..].chars().take(400).collect::<String>());
            assert_eq!(around, None, "{secret} is shown");
        }
    }
}

/// The name of a type, without its path and parameters.
fn short_name<T>() -> String {
    let name = std::any::type_name::<T>();
    let name = name.split('<').next().unwrap_or(name);
    name.rsplit("::").next().unwrap_or(name).to_owned()
}

/// Everything traced, at every level, by this crate and those below it.
#[derive(Clone, Default)]
struct Traced(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a proxy's or a chatty service's refusal may say.
fn telltale(code: &str) -> serde_json::Value {
    telltale_of(code, 1)
}

fn telltale_of(code: &str, token: u32) -> serde_json::Value {
    let message = format!(
        "The client 'c' does not have authorization to perform action 'A.B/c/write' over scope '/s'. \
        You sent Authorization: Bearer {SECRET}-{token}, yes, {SECRET}-{token}"
    );
    json!({"error": {"code": code, "message": message, "details": [{"code": "Inner", "message": message}]}})
}

struct NoToken;

impl TokenSource for NoToken {
    fn token(&self, _scope: &str) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        Box::pin(async { Ok(AccessToken { secret: format!("{SECRET}\n").into(), expires_at: None }) })
    }

    fn kind(&self) -> &'static str {
        "broken"
    }
}

fn client(endpoint: &str, tokens: Arc<dyn TokenSource>, arm: &Arm) -> AksClient {
    let http = http(reqwest::redirect::Policy::none());
    AksClient::new(http, endpoint.parse().unwrap(), ApiVersion::default(), tokens)
        .with_pause(arm.waits.clone())
}

/// One error of every kind.
async fn errors(arm: &Arm) -> Vec<Error> {
    let create = |client: &AksClient| {
        let client = client.clone();
        async move { client.begin_create_pool(&id(), "p", &json!({})).await.unwrap_err() }
    };
    let mut errors = Vec::new();
    let busy = json!({"code": "OperationNotAllowed", "message": format!("Another operation is in progress {SECRET}-1")});
    let not_allowed = json!({"code": "OperationNotAllowed", "message": format!("quota {SECRET}-1")});
    for (status, body) in [
        (409, busy),
        (409, not_allowed),
        (409, telltale("EtagMismatch")),
        (412, telltale("PreconditionFailed")),
        (429, telltale("Throttled")),
        (404, telltale("NotFound")),
        (403, telltale("AuthorizationFailed")),
        (500, telltale("InternalServerError")),
    ] {
        arm.once("PUT", &pool_path("p"), answer(status, &body)).await;
        errors.push(create(&arm.client).await);
    }
    let page = format!("<html>Authorization: Bearer {SECRET}-1</html>");
    for refused in [
        ResponseTemplate::new(400).set_body_string(page.as_str()),
        ResponseTemplate::new(200).set_body_string(page.as_str()),
        ResponseTemplate::new(302).insert_header("Location", format!("/x?token={SECRET}-1")),
        ResponseTemplate::new(200).set_body_bytes(vec![b' '; 8 * 1024 * 1024 + 1]),
    ] {
        arm.once("PUT", &pool_path("p"), refused).await;
        errors.push(create(&arm.client).await);
    }
    errors.push(create(&client(&arm.server.uri(), Arc::new(NoToken), arm)).await);
    errors.push(arm.client.begin_upgrade_pool(&id(), "p", "1.35").await.unwrap_err());
    errors.push(arm.client.pool(&id(), "../x").await.unwrap_err());
    // A transport error repeats the URL unless told not to.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let nobody = client(&closed, arm.tokens.clone(), arm);
    let url = OperationUrl::parse(&format!("{closed}/op/1?s={SIGNATURE}"));
    let unreachable = Operation { azure_async_operation: url, ..operation(OperationKind::CreatePool) };
    errors.push(nobody.poll(&unreachable).await.unwrap_err());
    // Refused, and the token after it, too.
    for token in [1, 2] {
        arm.once("PUT", &pool_path("p"), answer(401, &telltale_of("InvalidAuthenticationToken", token)))
            .await;
    }
    errors.push(create(&arm.client).await);
    errors
}

/// An operation in every state, with its signed URLs.
async fn operations(arm: &Arm, shown: &mut Shown) {
    let signed = Operation {
        azure_async_operation: Some(arm.url(&format!("/op/1?t=1&s={SIGNATURE}"))),
        location: Some(arm.url(&format!("/op/2?s={SIGNATURE}"))),
        ..operation(OperationKind::CreatePool)
    };
    shown.display(&signed);
    shown.debug(&signed.kind);
    shown.display(signed.location.as_ref().unwrap());
    // The stored text holds the signature, which resuming needs, and never the token.
    assert!(!serde_json::to_string(&signed).unwrap().contains(SECRET));
    let failed = json!({"status": "Failed", "error": {"code": "X", "message": "m"}});
    let found =
        [ok(&json!({"status": "InProgress"})), answer(500, &telltale("InternalServerError")), ok(&failed)];
    for (answer, times) in found.into_iter().zip([1, 5, 1]) {
        for _ in 0..times {
            arm.status("/op/1", answer.clone()).await;
        }
    }
    let progress: Vec<_> = arm.client.follow(&signed).collect().await;
    for item in &progress {
        shown.debug(item);
        if let OperationProgress::Status(status) = item {
            shown.debug(status);
            write!(shown.text, "{:?}", status.outcome()).unwrap();
        }
    }
    assert_eq!(progress.len(), 3);
    arm.status("/op/1", answer(403, &telltale("AuthorizationFailed"))).await;
    shown.debug(&arm.client.follow(&signed).next().await.unwrap());
    arm.status("/op/1", ok(&failed)).await;
    shown.debug(&arm.client.wait(&signed, |_| {}).await.unwrap());
}

/// Everything else that a user of the crate can hold.
fn values(arm: &Arm, shown: &mut Shown) {
    let secret = || AccessToken { secret: SECRET.into(), expires_at: None };
    shown.debug(&secret());
    shown.debug(&StaticToken::new(SECRET.into()).unwrap());
    shown.display(&StaticToken::new(format!("{SECRET}\n").into()).unwrap_err());
    shown.debug(&arm.client);
    shown.debug(&TokioPause);
    shown.debug(&arm.client.remaining_requests());
    shown.display(arm.client.endpoint());
    shown.debug(&Cloud::Public);
    let with_password = format!("https://u:{SECRET}@management.azure.com").parse::<Endpoint>().unwrap_err();
    shown.display::<ParseError>(&with_password);
    shown.display(arm.client.api_version());
    shown.display::<ClusterId>(&id());
    shown.display::<SubscriptionId>(&id().subscription());
    let scope = ResourceId::from(&id());
    shown.display(&scope);
    shown.json(&(id(), id().subscription(), &scope, arm.client.api_version(), arm.client.endpoint()));

    let cluster = aks_client::ManagedCluster::from_value(cluster("Succeeded", "1.34.6")).unwrap();
    shown.debug(&cluster);
    shown.debug(&cluster.force_upgrade().unwrap_or(aks_client::ForceUpgrade { force: true, until: None }));
    shown.display::<ProvisioningState>(&cluster.provisioning_state());
    let pool = AgentPool::from_value(pool("p", "Succeeded", "1.34.6")).unwrap();
    shown.debug(&pool);
    shown.debug(&pool.upgrade_settings());
    shown.display::<ShapeError>(&AgentPool::from_value(json!({})).unwrap_err());
    shown.display(&BodyError::NoPools);
    shown.debug(&MirrorSpec::default());
    shown.display(&ServiceError::default());
    shown.debug(&Machine::from_value(json!({"name": "m"})).unwrap());
    let maintenance = json!({"name": "default", "properties": {"maintenanceWindow": {"schedule": {"x": 1}},
        "timeInWeek": [{"day": "Monday"}], "notAllowedTime": [{"start": "a", "end": "b"}]}});
    let maintenance = MaintenanceConfiguration::from_value(maintenance).unwrap();
    shown.debug(&maintenance);
    shown.debug(&maintenance.purpose());
    shown.debug(&maintenance.window().unwrap());
    shown.debug(&maintenance.window().unwrap().schedule);
    shown.debug::<WeekSlot>(&maintenance.week_slots()[0]);
    shown.debug::<ClosedSpan>(&maintenance.not_allowed()[0]);

    let lock = Lock { name: "l".to_owned(), level: LockLevel::ReadOnly, notes: None, scope };
    shown.display(&lock);
    shown.debug(&lock.level);
    shown.debug(&Permissions::from_values(&[json!({"actions": ["*"]})]));
    let size = json!({"resourceType": "virtualMachines", "name": "s", "capabilities": [{"name": "vCPUs", "value": "4"}],
        "restrictions": [{"type": "Location", "reasonCode": "QuotaId"}]});
    let size = VmSize::from_value(size).unwrap();
    shown.debug(&size);
    shown.debug::<Restriction>(&size.restriction("westeurope", &[]).unwrap());
    let usage = Usage { name: "cores".to_owned(), display_name: None, used: 1, limit: 2 };
    shown.debug(&usage);
    shown.display::<QuotaShortage>(&quota_shortages(&[usage], &size, 4, false).unwrap()[0]);
    let subnet = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/n/providers/A.B/c/d";
    shown.debug(&Subnet::from_value(json!({"id": subnet, "properties": {}})).unwrap());
    shown.debug(&SubnetUsage { subnet: subnet.parse().unwrap(), used: 1, limit: 2 });
    shown.debug(&NetworkMode::Overlay);
    shown.debug::<AddressNeed>(&NetworkMode::Overlay.addresses_needed(1));

    let version = "1.35.2".to_owned();
    shown.debug(&AvailableUpgrade { version: version.clone(), preview: false });
    shown.debug(&PoolVersion { version: version.clone(), default: false, preview: false });
    let patch = aks_client::PatchVersion { version: version.clone(), upgrades: Vec::new() };
    shown.debug(&patch);
    let patches = vec![patch];
    let region = RegionVersion {
        version: version.clone(),
        default: false,
        preview: false,
        support_plans: vec![],
        patches,
    };
    shown.debug(&region);
    let used = aks_client::NodeImageUse { version, node_image: "i".to_owned(), timestamp: None };
    shown.debug(&used);
    let recently_used = vec![used];
    let profile = aks_client::PoolUpgradeProfile {
        version: None,
        upgrades: vec![],
        latest_node_image: None,
        recently_used,
    };
    shown.debug(&profile);
}

#[tokio::test]
async fn no_secret_is_in_anything_that_is_shown_traced_or_stored() {
    let traced = Traced::default();
    let writer = traced.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let arm = Arm::start().await;
    let mut shown = Shown::default();
    values(&arm, &mut shown);
    operations(&arm, &mut shown).await;
    let errors = errors(&arm).await;
    for error in &errors {
        shown.error(error);
        if let Error::Token { source, .. } = error {
            shown.display(source);
        }
    }
    drop(guard);
    let traced = String::from_utf8(traced.0.lock().unwrap().clone()).unwrap();
    assert!(
        traced.contains("arm answered") && traced.contains("token refused"),
        "nothing was traced: {traced}"
    );
    shown.text.push_str(&traced);

    // It was there to be found: the service repeated it, and the page of the proxy is told without it.
    assert!(shown.text.contains("Bearer [token]"), "the service's words are gone altogether");
    shown.silent(&[SECRET, SIGNATURE]);

    let kinds: BTreeSet<String> =
        errors.iter().map(|error| describe(error).split(',').next().unwrap_or_default().to_owned()).collect();
    let all = [
        "api",
        "argument",
        "body",
        "conflict",
        "exists",
        "forbidden",
        "not allowed",
        "not found",
        "redirected",
        "throttled",
        "token",
        "too large",
        "unauthorized",
        "unexpected",
        "unreachable",
    ];
    let missing: Vec<_> = all.iter().filter(|kind| !kinds.contains(**kind)).collect();
    assert!(missing.is_empty() && kinds.contains("etag"), "no error of kind {missing:?} in {kinds:?}");
    assert_eq!(types_not_shown(&shown.types), Vec::<String>::new());
}

/// The public names of the crate that were not shown; those that cannot be are left out.
fn types_not_shown(types: &BTreeSet<String>) -> Vec<String> {
    const NO_VALUES: [&str; 2] = ["Pause", "TokenSource"];
    let lib = include_str!("../src/lib.rs");
    let uses = lib.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next());
    let names = uses.flat_map(|path| path.split(['{', '}', ',', ' ', '\n', ':']));
    // Types are in camel case; constants and functions are not.
    let is_type = |name: &&str| {
        name.starts_with(|c: char| c.is_ascii_uppercase()) && name.contains(|c: char| c.is_ascii_lowercase())
    };
    let names = names.filter(is_type).filter(|name| !NO_VALUES.contains(name) && !types.contains(*name));
    names.map(str::to_owned).collect()
}
