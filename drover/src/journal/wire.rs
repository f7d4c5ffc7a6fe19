//! Azure Blob Storage over our own HTTP client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aks_client::TokenSource;
use async_trait::async_trait;
use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use secrecy::ExposeSecret;
use upgrade_core::ports::Clock;

use super::{BlobFolder, unusable};
use crate::config::{JournalConfig, JournalCredential};
use crate::error::Error;
use crate::tokens::{AzureTokens, SignIn};
use crate::transport;

/// What tokens for storage are made out to, in every cloud (Microsoft: Authorize access to blobs using Microsoft Entra ID).
const SCOPE: &str = "https://storage.azure.com/.default";

/// How long one request may take, and until when a failed one is sent again. A run waits for its journal, and may write for 40 s
/// without a renewal of its lock: the two together, and a renewal before, fit in there.
const LONGEST: Duration = Duration::from_secs(18);
const REPEAT: Duration = Duration::from_secs(14);

/// The container, by what the configuration says of its account.
pub(super) async fn store(
    config: &JournalConfig,
    folder: &BlobFolder,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn ObjectStore>, Error> {
    let endpoint = config.endpoint.as_url();
    let http = transport::storage(config, LONGEST)?;
    let mut tokens = None;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(&config.account)
        .with_container_name(folder.container())
        .with_endpoint(endpoint.to_string())
        .with_retry(patience());
    match &config.credential {
        JournalCredential::AccountKey(secret) => {
            let key = secret.fetch_at_start().await.map_err(Box::new)?;
            builder = builder.with_access_key(key.expose_secret());
        }
        JournalCredential::Token(credential) => {
            let (cloud, service) = (config.cloud(), config.endpoint.to_string());
            let sign_in = SignIn { credential, service, cloud, subscription: None };
            let source =
                AzureTokens::new(sign_in, http.clone(), Arc::clone(clock)).await.map_err(Box::new)?;
            tokens = Some(Arc::new(source));
            // Requests are signed in `Wire`, which knows when a token is refused.
            builder = builder.with_skip_signature(true);
        }
    }
    let built = builder.with_http_connector(Wire { http, tokens }).build();
    // It contacts nothing; what it can refuse is a key that is none.
    let store = built.map_err(|_| match &config.credential {
        JournalCredential::AccountKey(secret) => Error::from(Box::new(
            secret.place.error("not the key of a storage account", "copy the whole key"),
        )),
        JournalCredential::Token(_) => unusable(folder, "no client can be made for it", None),
    })?;
    Ok(Arc::new(store))
}

fn patience() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(3),
            base: 2.0,
        },
        max_retries: 8,
        retry_timeout: REPEAT,
    }
}

/// Passes requests on; with a token, where one is used.
#[derive(Clone)]
struct Wire {
    http: reqwest::Client,
    tokens: Option<Arc<AzureTokens>>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl HttpConnector for Wire {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let Some(tokens) = &self.tokens else { return self.send(request).await };
        let answer = self.send(signed(request.clone(), tokens).await?).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        // Withdrawn before its end, perhaps: a new one is tried, once.
        tokens.invalidate();
        self.send(signed(request, tokens).await?).await
    }
}

async fn signed(mut request: HttpRequest, tokens: &AzureTokens) -> Result<HttpRequest, HttpError> {
    // Not repeated: the source of tokens has done so itself.
    let failed = |error| HttpError::new(HttpErrorKind::Unknown, error);
    let token = tokens.token(SCOPE).await.map_err(failed)?;
    let value = HeaderValue::from_str(&format!("Bearer {}", token.secret.expose_secret()));
    let mut value = value.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
    Ok(request)
}

impl Wire {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // Whatever went wrong on the way may be sent again: a journal's requests read, or create what must not be there yet.
        let failed = |error: reqwest::Error| HttpError::new(HttpErrorKind::Request, error.without_url());
        let (head, body) = request.into_parts();
        let url =
            head.uri.to_string().parse().map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let mut request = reqwest::Request::new(head.method, url);
        *request.headers_mut() = head.headers;
        *request.body_mut() = Some(reqwest::Body::wrap(body));
        let answer = self.http.execute(request).await.map_err(failed)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.map_err(failed)?;
        let mut answer = HttpResponse::new(body.into());
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}
