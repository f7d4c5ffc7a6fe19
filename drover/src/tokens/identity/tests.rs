//! Each kind against its services, through the real crate and the real transport; only the services are made up.

mod alone;
mod failures;
mod mock;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use aks_client::{AksClient, ApiVersion, Endpoint, TokenSource};
use jiff::ToSpan;
use serde_json::json;
use upgrade_core::ports::Clock;

use super::*;
use crate::config::Config;
use crate::tokens::azure::AzureTokens;
use crate::tokens::testing::{Standing, config};
use alone::alone;
use mock::{Answer, Mock, Seen};

const SCOPE: &str = "https://management.azure.com/.default";
const ENTRA: &str = "login.microsoftonline.com";
const SECRET: &str = "hunter2/+s3cret";
const ASSERTION: &str = "assertion.of.kubernetes";
const PIPELINE_TOKEN: &str = "pipeline-s3cret";

/// Entra, Azure Pipelines and the metadata service at their best. Each token is another one, good for an hour.
fn service() -> impl Fn(&Seen) -> Answer + Send + Sync + 'static {
    let number = std::sync::atomic::AtomicUsize::new(0);
    move |seen| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        let token = format!("tok-s3cret-{number}");
        match seen.host() {
            "vstoken.dev.azure.com" => Answer::json(200, &json!({ "oidcToken": "assertion.of.pipelines" })),
            "169.254.169.254" => {
                let end = (now() + 1.hour()).as_second().to_string();
                let answer = json!({
                    "access_token": token, "expires_on": end, "token_type": "Bearer", "resource": "x",
                });
                Answer::json(200, &answer)
            }
            host if host.starts_with("login.") => Answer::json(
                200,
                &json!({ "token_type": "Bearer", "expires_in": 3600, "ext_expires_in": 3600, "access_token": token }),
            ),
            other => panic!("nobody was to ask {other}"),
        }
    }
}

/// `azure_identity` reckons the end of a token by the machine's clock, so the tests begin there.
fn now() -> Timestamp {
    Clock::now(&crate::clock::SystemClock)
}

/// A file of one test, with this content.
struct File(tempfile::TempDir);

impl File {
    fn new(content: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), content).unwrap();
        Self(folder)
    }

    fn path(&self) -> String {
        self.0.path().join("file").display().to_string()
    }
}

fn client_secret(file: &File) -> String {
    format!(
        "{{ kind = \"client-secret\", tenant_id = \"contoso\", client_id = \"drover-app\", client_secret = {{ file = {:?} }} }}",
        file.path()
    )
}

async fn identity(mock: &Mock, config: &Config) -> Identity {
    let azure = &config.environments["e"].azure;
    Identity::new(&azure.into(), mock.client(), RetryOptions::none())
        .await
        .map_err(|error| error.to_string())
        .unwrap()
}

/// The tokens of this credential, by a clock that stands at the machine's time.
async fn tokens(mock: &Mock, endpoint: &str, credential: &str) -> (AzureTokens, Arc<Standing>) {
    let config = config(endpoint, credential);
    let clock = Standing::at(now());
    let origin = Box::new(identity(mock, &config).await);
    let kind = &config.environments["e"].azure.credential.kind;
    (AzureTokens::of(kind, origin, Arc::clone(&clock) as Arc<dyn Clock>), clock)
}

async fn get(tokens: &AzureTokens) -> String {
    tokens.token(SCOPE).await.unwrap().secret.expose_secret().to_owned()
}

fn fields<'f>(fields: impl IntoIterator<Item = (&'f str, &'f str)>) -> BTreeMap<String, String> {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[tokio::test]
async fn a_client_secret_is_sent_to_its_tenant_at_entra() {
    let (mock, file) = (Mock::start(service()).await, File::new(&format!("{SECRET}\n")));
    let (tokens, _) = tokens(&mock, "", &client_secret(&file)).await;
    assert_eq!((get(&tokens).await.as_str(), tokens.kind()), ("tok-s3cret-1", "client-secret"));
    let [seen] = &mock.seen()[..] else { panic!("{:?}", mock.seen()) };
    assert_eq!(
        (seen.method.as_str(), seen.url.as_str()),
        ("POST", "https://login.microsoftonline.com/contoso/oauth2/v2.0/token")
    );
    let wanted = [
        ("client_id", "drover-app"),
        ("client_secret", SECRET),
        ("grant_type", "client_credentials"),
        ("scope", SCOPE),
    ];
    assert_eq!(seen.fields(), fields(wanted));
}

#[tokio::test]
async fn a_workload_identity_sends_what_its_file_holds_at_that_time() {
    let (mock, file) = (Mock::start(service()).await, File::new(ASSERTION));
    let credential = format!(
        "{{ kind = \"workload-identity\", tenant_id = \"contoso\", client_id = \"drover-app\", token_file = {:?} }}",
        file.path()
    );
    let (tokens, _) = tokens(&mock, "", &credential).await;
    get(&tokens).await;
    // Kubernetes replaces the file every hour.
    std::fs::write(file.path(), "the.next.one").unwrap();
    tokens.invalidate();
    get(&tokens).await;
    let seen = mock.seen();
    let wanted = |assertion| {
        fields([
            ("client_assertion", assertion),
            ("client_assertion_type", JWT_BEARER),
            ("client_id", "drover-app"),
            ("grant_type", "client_credentials"),
            ("scope", SCOPE),
        ])
    };
    assert_eq!([seen[0].fields(), seen[1].fields()], [wanted(ASSERTION), wanted("the.next.one")]);
    assert!(
        seen.iter()
            .all(|seen| seen.url.as_str() == "https://login.microsoftonline.com/contoso/oauth2/v2.0/token")
    );
}

#[tokio::test]
async fn a_managed_identity_is_asked_of_the_machines_metadata_service() {
    let mock = Mock::start(service()).await;
    for (credential, client) in [
        ("{ kind = \"managed-identity\" }", None),
        ("{ kind = \"managed-identity\", client_id = \"drover-mi\" }", Some(("client_id", "drover-mi"))),
    ] {
        let (tokens, _) = tokens(&mock, "", credential).await;
        assert!(get(&tokens).await.starts_with("tok-s3cret"), "{credential}");
        let seen = mock.seen().pop().unwrap();
        assert_eq!((seen.method.as_str(), seen.header("metadata")), ("GET", "true"));
        assert!(
            seen.url.as_str().starts_with("http://169.254.169.254/metadata/identity/oauth2/token?"),
            "{}",
            seen.url
        );
        let wanted = [("api-version", "2019-08-01"), ("resource", "https://management.azure.com")];
        assert_eq!(seen.fields(), fields(wanted.into_iter().chain(client)));
    }
    assert_eq!(mock.count("169.254.169.254"), 2);
}

#[tokio::test]
async fn a_service_connection_is_asked_of_azure_pipelines_and_then_of_entra() {
    let address =
        "https://vstoken.dev.azure.com/org/_apis/distributedtask/hubs/build/plans/p/jobs/j/oidctoken";
    if !alone(
        "a_service_connection_is_asked_of_azure_pipelines_and_then_of_entra",
        &[("SYSTEM_OIDCREQUESTURI", address), ("SYSTEM_ACCESSTOKEN", PIPELINE_TOKEN)],
    ) {
        return;
    }
    let mock = Mock::start(service()).await;
    let credential = "{ kind = \"azure-pipelines\", tenant_id = \"contoso\", client_id = \"drover-app\", \
                      service_connection_id = \"sc-1\" }";
    let (tokens, _) = tokens(&mock, "", credential).await;
    assert_eq!(get(&tokens).await, "tok-s3cret-2");
    let [pipelines, entra] = &mock.seen()[..] else { panic!("{:?}", mock.seen()) };
    assert_eq!(pipelines.method, "POST");
    assert_eq!(pipelines.url.as_str(), format!("{address}?api-version=7.1&serviceConnectionId=sc-1"));
    assert_eq!(pipelines.header("authorization"), format!("Bearer {PIPELINE_TOKEN}"));
    assert_eq!(entra.url.as_str(), "https://login.microsoftonline.com/contoso/oauth2/v2.0/token");
    assert_eq!(entra.header("authorization"), "", "the pipeline's token is none of Entra's business");
    let wanted = [
        ("client_assertion", "assertion.of.pipelines"),
        ("client_assertion_type", JWT_BEARER),
        ("client_id", "drover-app"),
        ("grant_type", "client_credentials"),
        ("scope", SCOPE),
    ];
    assert_eq!(entra.fields(), fields(wanted));
}

#[tokio::test]
async fn the_pipelines_token_goes_to_an_https_address_only() {
    let name = "the_pipelines_token_goes_to_an_https_address_only";
    if !alone(name, &[("SYSTEM_OIDCREQUESTURI", "http://elsewhere.example"), ("SYSTEM_ACCESSTOKEN", "x")]) {
        return;
    }
    let mock = Mock::start(service()).await;
    let credential =
        "{ kind = \"azure-pipelines\", tenant_id = \"t\", client_id = \"c\", service_connection_id = \"s\" }";
    let config = config("", credential);
    let azure = &config.environments["e"].azure;
    let error = Identity::new(&azure.into(), mock.client(), RetryOptions::none()).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "drover.toml:5: environments.e.azure.credential: the variable `SYSTEM_OIDCREQUESTURI` is no https address"
    );
    assert_eq!(mock.seen().len(), 0);
}

/// An `az` that notes how it was called and hands out a token.
const AZ: &str = r#"#!/bin/sh
echo "$@" >> "${0%/*}/calls"
[ -f "${0%/*}/broken" ] && { echo "ERROR: Please run 'az login' to setup account." >&2; exit 1; }
echo '{"accessToken": "tok-s3cret-az", "expires_on": 4102444800, "tokenType": "Bearer"}'
"#;

#[tokio::test]
async fn az_is_told_which_account_is_meant_and_speaks_for_itself_when_it_fails() {
    let bin = tempfile::tempdir().unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.path().display());
    let script = bin.path().join("az");
    std::fs::write(&script, AZ).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let name = "az_is_told_which_account_is_meant_and_speaks_for_itself_when_it_fails";
    if !alone(name, &[("PATH", &path)]) {
        return;
    }
    // In the other process: its own folder is not on the path, the parent's is.
    let path = env::text("PATH").unwrap();
    let bin = std::path::Path::new(path.split(':').next().unwrap());
    let mock = Mock::start(service()).await;
    let az = async |credential: &str, endpoint: &str| tokens(&mock, endpoint, credential).await.0;
    assert_eq!(get(&az("{ kind = \"azure-cli\" }", "").await).await, "tok-s3cret-az");
    get(&az("{ kind = \"azure-cli\", tenant_id = \"contoso\" }", "https://arm.local").await).await;
    let common = format!("account get-access-token -o json --scope {SCOPE}");
    let wanted =
        format!("{common} --subscription 00000000-0000-0000-0000-000000000001\n{common} --tenant contoso\n");
    assert_eq!(std::fs::read_to_string(bin.join("calls")).unwrap(), wanted);

    std::fs::write(bin.join("broken"), "").unwrap();
    let error = az("{ kind = \"azure-cli\" }", "").await.token(SCOPE).await.unwrap_err();
    assert!(!error.is_retryable());
    assert!(error.to_string().contains("Please run 'az login' to setup account."), "{error}");
    std::fs::remove_file(bin.join("az")).unwrap();
    let error = az("{ kind = \"azure-cli\" }", "").await.token(SCOPE).await.unwrap_err();
    assert!(error.to_string().contains("az not found on PATH"), "{error}");
    assert!(error.to_string().contains("install the Azure CLI"), "{error}");
}

#[tokio::test]
async fn the_identity_service_and_the_scope_are_those_of_the_endpoints_cloud() {
    let (mock, file) = (Mock::start(service()).await, File::new(SECRET));
    for (endpoint, login, scope) in [
        ("", ENTRA, SCOPE),
        ("https://westeurope.management.azure.com", ENTRA, SCOPE),
        (
            "https://management.usgovcloudapi.net",
            "login.microsoftonline.us",
            "https://management.usgovcloudapi.net/.default",
        ),
        (
            "https://management.chinacloudapi.cn/",
            "login.chinacloudapi.cn",
            "https://management.chinacloudapi.cn/.default",
        ),
    ] {
        let (tokens, _) = tokens(&mock, endpoint, &client_secret(&file)).await;
        let asked = config(endpoint, &client_secret(&file)).environments["e"].azure.endpoint.scope();
        tokens.token(&asked).await.unwrap();
        let seen = mock.seen().pop().unwrap();
        assert_eq!((seen.host(), seen.fields()["scope"].as_str()), (login, scope), "{endpoint}");
    }
    let config = config("https://arm.local", &client_secret(&file));
    let azure = &config.environments["e"].azure;
    let error =
        Identity::new(&azure.into(), mock.client(), RetryOptions::none()).await.err().unwrap().to_string();
    let wanted = "drover.toml:5: environments.e.azure.credential: for `https://arm.local` it is not known which identity \
                  service hands out tokens";
    assert_eq!(error, wanted);
}

#[tokio::test]
async fn a_token_is_renewed_five_minutes_before_its_end_by_the_clock_of_the_house() {
    let (mock, file) = (Mock::start(service()).await, File::new(SECRET));
    let (tokens, clock) = tokens(&mock, "", &client_secret(&file)).await;
    let begin = clock.now();
    let mut got = Vec::new();
    for minutes in [0, 30, 54, 56] {
        clock.put(begin + minutes.minutes());
        got.push(get(&tokens).await);
    }
    assert_eq!(got, ["tok-s3cret-1", "tok-s3cret-1", "tok-s3cret-1", "tok-s3cret-2"]);
}

/// ARM, which refuses as many tokens as it is told, and Entra.
async fn arm(refusals: usize, file: &File) -> (Mock, AksClient) {
    let entra = service();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let mock = Mock::start(move |seen| {
        if seen.host() != "management.azure.com" {
            return entra(seen);
        }
        if asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < refusals {
            return Answer::json(
                401,
                &json!({ "error": { "code": "ExpiredAuthenticationToken", "message": "no" } }),
            );
        }
        Answer::json(200, &json!({ "values": [] }))
    })
    .await;
    let (tokens, _) = tokens(&mock, "", &client_secret(file)).await;
    let client = AksClient::new(mock.client(), Endpoint::default(), ApiVersion::default(), Arc::new(tokens));
    (mock, client)
}

#[tokio::test]
async fn a_refused_token_is_replaced_exactly_once() {
    let subscription = "00000000-0000-0000-0000-000000000001".parse().unwrap();
    let file = File::new(SECRET);
    for (refusals, tokens, requests, works) in [(0, 1, 1, true), (1, 2, 2, true), (9, 2, 2, false)] {
        let (mock, client) = arm(refusals, &file).await;
        let answer = client.region_versions(subscription, "westeurope").await;
        assert_eq!(answer.is_ok(), works, "{answer:?}");
        assert_eq!((mock.count(ENTRA), mock.count("management.azure.com")), (tokens, requests), "{refusals}");
        let sent: Vec<_> = mock
            .seen()
            .iter()
            .filter(|seen| seen.host() != ENTRA)
            .map(|seen| seen.header("authorization").to_owned())
            .collect();
        assert!(sent.windows(2).all(|two| two[0] != two[1]), "another token each time: {sent:?}");
    }
}
