//! Who is to blame when there is no token, and what is said about it: never a secret.

use std::io::Write;
use std::sync::Mutex;

use aks_client::TokenError;

use super::*;

/// An Entra that gives this answer to everything.
async fn refusing(answer: impl Fn() -> Answer + Send + Sync + 'static) -> (Mock, File) {
    (Mock::start(move |_| answer()).await, File::new(SECRET))
}

fn entra(code: &str, text: &str) -> Answer {
    let description =
        format!("AADSTS{code}: {text} Trace ID: 1f Correlation ID: 2e Timestamp: 2026-11-25 01:02:03Z");
    let number: u32 = code.parse().unwrap();
    Answer::json(
        401,
        &json!({ "error": "invalid_client", "error_description": description, "error_codes": [number] }),
    )
}

fn page(status: u16) -> Answer {
    Answer(status, "text/html", "<html>The proxy \u{1b}[31mis sad</html>".to_owned())
}

#[tokio::test]
async fn a_refusal_is_told_from_a_service_that_is_away_and_both_say_what_to_do() {
    type Make = fn() -> Answer;
    let cases: [(Make, bool, &[&str]); 12] = [
        (
            || entra("7000215", "Invalid client secret provided."),
            false,
            &["AADSTS7000215: Invalid", "not its id"],
        ),
        (
            || entra("7000222", "The provided client secret keys are expired."),
            false,
            &["has expired: make a new one"],
        ),
        (|| entra("700016", "Application not found."), false, &["check `client_id`"]),
        (|| entra("90002", "Tenant not found."), false, &["check `tenant_id`"]),
        (|| entra("70021", "No matching federated identity record."), false, &["issuer and subject"]),
        (|| entra("700213", "No matching federated identity record."), false, &["issuer and subject"]),
        (|| entra("700024", "Client assertion is not within its valid time range."), false, &["the clock"]),
        (|| entra("53003", "Blocked by conditional access."), false, &["AADSTS53003: Blocked"]),
        (|| Answer::json(503, &json!({ "error": "temporarily_unavailable" })), true, &["status 503"]),
        (|| Answer::json(429, &json!({ "error_description": "slow down" })), true, &["slow down"]),
        (|| page(502), true, &["status 502, with 34 bytes of text/html"]),
        (|| page(407), false, &["status 407", "not an identity service's answer"]),
    ];
    for (answer, passing, parts) in cases {
        let (mock, file) = refusing(answer).await;
        let (tokens, _) = tokens(&mock, "", &client_secret(&file)).await;
        let error = tokens.token(SCOPE).await.unwrap_err();
        assert_eq!(error.is_retryable(), passing, "{error}");
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{parts:?}: {text}");
        assert!(!text.contains(char::is_control) && !text.contains("aka.ms"), "{text}");
        assert!(std::error::Error::source(&error).is_some(), "{text}");
    }
}

#[tokio::test]
async fn an_identity_that_the_machine_does_not_have_is_a_refusal() {
    let answer = || {
        Answer::json(400, &json!({ "error": "invalid_request", "error_description": "Identity not found" }))
    };
    let (mock, _file) = refusing(answer).await;
    let (tokens, _) = tokens(&mock, "", "{ kind = \"managed-identity\", client_id = \"drover-mi\" }").await;
    let error = tokens.token(SCOPE).await.unwrap_err();
    assert!(!error.is_retryable());
    assert!(
        error.to_string().contains("has not been assigned to this resource; assign the identity"),
        "{error}"
    );
}

#[tokio::test]
async fn a_service_that_nobody_answers_for_is_away() {
    let (mock, file) = refusing(|| page(500)).await;
    let config = config("", &client_secret(&file));
    // A client that does not trust the certificate, as where a proxy opens TLS and its authority is not known here.
    let http = mock.client_without_trust();
    let azure = &config.environments["e"].azure;
    let identity = Identity::new(&azure.into(), http, RetryOptions::none())
        .await
        .map_err(|error| error.to_string())
        .unwrap();
    let error = identity.fresh(SCOPE).await.unwrap_err();
    let text = error.to_string();
    assert!(error.is_retryable() && text.contains("certificate"), "{text}");
    assert_eq!(mock.seen().len(), 0, "the secret was not sent");
}

#[tokio::test]
async fn a_token_that_still_works_is_used_while_entra_is_away() {
    let good = service();
    let away = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let switch = Arc::clone(&away);
    let mock =
        Mock::start(
            move |seen| {
                if switch.load(std::sync::atomic::Ordering::SeqCst) { page(503) } else { good(seen) }
            },
        )
        .await;
    let file = File::new(SECRET);
    let (tokens, clock) = tokens(&mock, "", &client_secret(&file)).await;
    let begin = clock.now();
    let first = get(&tokens).await;
    away.store(true, std::sync::atomic::Ordering::SeqCst);
    clock.put(begin + 57.minutes());
    assert_eq!(get(&tokens).await, first);
    assert_eq!(mock.count(ENTRA), 2, "it was tried");
    clock.put(begin + 61.minutes());
    assert!(tokens.token(SCOPE).await.unwrap_err().is_retryable(), "but not beyond its end");
    clock.put(begin + 57.minutes());
    tokens.invalidate();
    assert!(tokens.token(SCOPE).await.is_err(), "and not after a refusal");
}

/// Everything that is logged in this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn everything() -> Self {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone());
        tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
        log
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// What the crate reads of the environment when it is not told, all of it wrong.
const AMBIENT: [(&str, &str); 10] = [
    ("AZURE_AUTHORITY_HOST", "https://evil.example"),
    ("AZURE_TENANT_ID", "evil-tenant"),
    ("AZURE_CLIENT_ID", "evil-client"),
    ("AZURE_CLIENT_SECRET", "evil-secret"),
    ("AZURE_FEDERATED_TOKEN_FILE", "/evil"),
    ("AZURE_USERNAME", "evil"),
    ("AZURE_SUBSCRIPTION_ID", "evil"),
    ("SYSTEM_OIDCREQUESTURI", "https://vstoken.dev.azure.com/oidc"),
    ("SYSTEM_ACCESSTOKEN", PIPELINE_TOKEN),
    ("AKS_DROVER_TEST_READY", "ready-s3cret"),
];

/// Every kind that is asked over HTTP, with its client id.
fn kinds(secret: &File, assertion: &File) -> [(String, &'static str); 5] {
    let common = "tenant_id = \"contoso\", client_id = \"drover-app\"";
    [
        (
            client_secret(secret),
            "credential=\"client-secret\" client_id=\"drover-app\" tenant_id=\"contoso\"",
        ),
        (
            format!("{{ kind = \"workload-identity\", {common}, token_file = {:?} }}", assertion.path()),
            "credential=\"workload-identity\" client_id=\"drover-app\" tenant_id=\"contoso\"",
        ),
        (
            format!("{{ kind = \"azure-pipelines\", {common}, service_connection_id = \"sc-1\" }}"),
            "credential=\"azure-pipelines\" client_id=\"drover-app\" tenant_id=\"contoso\"",
        ),
        (
            "{ kind = \"managed-identity\", client_id = \"drover-mi\" }".to_owned(),
            "credential=\"managed-identity\" client_id=\"drover-mi\"",
        ),
        ("{ kind = \"managed-identity\" }".to_owned(), "credential=\"managed-identity\""),
    ]
}

/// Each secret, also as a form has it.
const SECRETS: [&str; 7] = [
    SECRET,
    "hunter2%2F%2Bs3cret",
    ASSERTION,
    "assertion.of.pipelines",
    PIPELINE_TOKEN,
    "tok-s3cret",
    "ready-s3cret",
];

#[tokio::test]
async fn the_log_names_the_credential_and_neither_it_nor_an_error_holds_a_secret() {
    if !alone("failures::the_log_names_the_credential_and_neither_it_nor_an_error_holds_a_secret", &AMBIENT) {
        return;
    }
    let log = Log::everything();
    let (secret, assertion) = (File::new(SECRET), File::new(ASSERTION));
    let good = Mock::start(service()).await;
    // Whatever it was sent, it says it all again, as JSON or as a page. Refusals, because outages are asked about for long.
    let loud = Mock::start(|seen| {
        let said = format!("{} {:?} {}", seen.url, seen.headers, seen.body);
        match seen.header("content-type") {
            "" => Answer(400, "text/html", said),
            _ => Answer::json(400, &json!({ "error_description": said })),
        }
    })
    .await;
    for (credential, line) in kinds(&secret, &assertion) {
        let (right, _) = tokens(&good, "", &credential).await;
        get(&right).await;
        assert!(log.text().contains(line), "{line}: {}", log.text());
        let (wrong, _) = tokens(&loud, "", &credential).await;
        let error = wrong.token(SCOPE).await.unwrap_err();
        let texts = format!("{error} {error:?} {}", with_causes(&error));
        assert!(matches!(error, TokenError::Refused { .. }), "{texts}");
        for secret in SECRETS {
            assert!(!texts.contains(secret), "{secret}: {texts}");
        }
    }
    for seen in good.seen() {
        let all = format!("{seen:?}");
        assert!(!all.contains("evil"), "read from the environment: {all}");
    }
    // A ready token, and the kind that reads it from a program.
    for place in ["env = \"AKS_DROVER_TEST_READY\"", "command = [\"printenv\", \"AKS_DROVER_TEST_READY\"]"] {
        let config = config("", &format!("{{ kind = \"token\", {place} }}"));
        let azure = &config.environments["e"].azure;
        let clock: Arc<dyn Clock> = Standing::at(now());
        let ready =
            AzureTokens::new(azure, good.client(), clock).await.map_err(|error| error.to_string()).unwrap();
        assert_eq!(get(&ready).await, "ready-s3cret");
    }
    let text = log.text();
    assert!(text.contains("INFO") && text.contains("credential=\"token\""), "{text}");
    for secret in SECRETS {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}
