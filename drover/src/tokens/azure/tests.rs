use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::tokens::testing::{Standing, config};

/// Counts what it hands out; each token lasts an hour from the beginning.
#[derive(Default)]
struct Counting {
    asked: AtomicUsize,
}

#[async_trait]
impl Origin for Arc<Counting> {
    async fn fresh(&self, scope: &str) -> Result<AccessToken, TokenError> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let expires_at = Some(Timestamp::from_second(3600).unwrap());
        Ok(AccessToken { secret: format!("{scope}#{number}").into(), expires_at })
    }
}

#[tokio::test]
async fn a_token_is_kept_until_shortly_before_its_end_or_until_it_is_refused() {
    let clock = Standing::at(Timestamp::UNIX_EPOCH);
    let origin = Arc::new(Counting::default());
    let kind = CredentialKind::ManagedIdentity { client_id: None };
    let tokens = AzureTokens::of(&kind, Box::new(Arc::clone(&origin)), Arc::clone(&clock) as Arc<dyn Clock>);
    let get = async |scope: &str| tokens.token(scope).await.unwrap().secret.expose_secret().to_owned();
    assert_eq!((get("a").await, get("a").await), ("a#1".to_owned(), "a#1".to_owned()));
    assert_eq!(get("b").await, "b#2", "a token is good for its scope alone");
    clock.put(Timestamp::from_second(3600 - 301).unwrap());
    assert_eq!(get("b").await, "b#2");
    clock.put(Timestamp::from_second(3600 - 299).unwrap());
    assert_eq!(get("b").await, "b#3");
    clock.put(Timestamp::UNIX_EPOCH);
    tokens.invalidate();
    assert_eq!((get("b").await.as_str(), get("b").await.as_str()), ("b#4", "b#4"), "asked once, then kept");
}

#[test]
fn the_end_of_a_json_web_token_is_read_and_of_nothing_else() {
    let claims = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let jwt = format!("e30.{}.c2ln", claims(r#"{"exp":1795500000,"aud":"x"}"#));
    assert_eq!(end_of(&jwt.into()).unwrap().as_second(), 1_795_500_000);
    for other in ["opaque".to_owned(), "a.b.c".to_owned(), format!("e30.{}.c2ln", claims(r#"{"aud":"x"}"#))] {
        assert_eq!(end_of(&other.into()), None);
    }
}

async fn made(credential: &str) -> Result<AzureTokens, String> {
    let config = config("", credential);
    let azure = &config.environments["e"].azure;
    let http = crate::transport::azure("shop", azure.endpoint.as_url(), None).unwrap();
    let clock = Arc::new(crate::clock::SystemClock);
    AzureTokens::new(azure, http, clock).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_ready_token_is_read_anew_from_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "first\n").unwrap();
    let tokens =
        made(&format!("{{ kind = \"token\", file = {:?} }}", path.display().to_string())).await.unwrap();
    let get = async || tokens.token("s").await.unwrap().secret.expose_secret().to_owned();
    assert_eq!((get().await.as_str(), tokens.kind()), ("first", "token"));
    std::fs::write(&path, "second").unwrap();
    assert_eq!(get().await, "first", "good until it is refused");
    tokens.invalidate();
    assert_eq!(get().await, "second");
}

#[cfg(feature = "azure-identity")]
#[tokio::test]
async fn what_a_credential_needs_from_this_machine_is_told_before_anything_is_contacted() {
    const SECRET: &str = "env = \"AKS_DROVER_TEST_NOT_SET\"";
    let place = "drover.toml:5: environments.e.azure.credential";
    for (credential, problem) in [
        (format!("{{ kind = \"token\", {SECRET} }}"), "the variable `AKS_DROVER_TEST_NOT_SET` is not set"),
        (
            format!("{{ kind = \"client-secret\", tenant_id = \"t\", client_id = \"c\", client_secret = {{ {SECRET} }} }}"),
            "the variable `AKS_DROVER_TEST_NOT_SET` is not set",
        ),
        (
            "{ kind = \"azure-pipelines\", tenant_id = \"t\", client_id = \"c\", service_connection_id = \"s\", \
             access_token = { command = [\"echo\", \"x\"] } }"
                .to_owned(),
            "SYSTEM_OIDCREQUESTURI",
        ),
        (
            "{ kind = \"workload-identity\", tenant_id = \"t\", client_id = \"c\", token_file = \"/nowhere/token\" }".to_owned(),
            "/nowhere/token",
        ),
    ] {
        let Err(error) = made(&credential).await else { panic!("{credential}") };
        assert!(error.starts_with(place) && error.contains(problem), "{error}");
    }
    for credential in ["{ kind = \"managed-identity\" }", "{ kind = \"azure-cli\" }"] {
        assert!(made(credential).await.is_ok(), "{credential}");
    }
}

#[cfg(not(feature = "azure-identity"))]
#[tokio::test]
async fn kinds_that_this_build_lacks_are_refused_by_name() {
    let Err(error) = made("{ kind = \"managed-identity\" }").await else { panic!("made of nothing") };
    assert!(error.ends_with("credential kind `managed-identity` is not part of this build"), "{error}");
}
