//! The credential kinds of `azure_identity`, over our own HTTP client.

use std::sync::{Arc, Mutex, PoisonError};

use aks_client::{AccessToken, SubscriptionId, TokenError};
use async_trait::async_trait;
use azure_core::credentials::{Secret as AzureSecret, TokenCredential};
use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, Transport};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, AzurePipelinesCredential, AzurePipelinesCredentialOptions,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use jiff::Timestamp;
use secrecy::ExposeSecret;

use super::azure::Origin;
use crate::adapters::text::one_line;
use crate::config::{CredentialKind, Place};
use crate::error::ConfigError;

/// A credential that is made anew after a refusal, because each keeps tokens of its own.
pub(super) struct Identity {
    kind: CredentialKind,
    subscription: SubscriptionId,
    http: reqwest::Client,
    current: Mutex<Option<Arc<dyn TokenCredential>>>,
}

impl Identity {
    /// Makes the credential once, so that what is missing for it is told before anything is contacted.
    pub(super) async fn new(
        kind: &CredentialKind,
        place: &Place,
        subscription: SubscriptionId,
        http: reqwest::Client,
    ) -> Result<Self, ConfigError> {
        let identity = Self { kind: kind.clone(), subscription, http, current: Mutex::new(None) };
        let credential = identity.make().await.map_err(|error| match &error {
            Failure::Secret(error) => {
                place.error(error.as_str(), "see where the secret of this credential is")
            }
            Failure::Azure(error) => place.error(one_line(&error.to_string()), "check what this kind needs"),
        })?;
        *identity.lock() = Some(credential);
        Ok(identity)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<dyn TokenCredential>>> {
        // Replaced as a whole, so a panic elsewhere cannot leave half of it.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make(&self) -> Result<Arc<dyn TokenCredential>, Failure> {
        let client_options = ClientOptions {
            transport: Some(Transport::new(Arc::new(self.http.clone()))),
            ..ClientOptions::default()
        };
        let assertion = |client_options| ClientAssertionCredentialOptions { client_options };
        Ok(match &self.kind {
            CredentialKind::AzurePipelines { tenant_id, client_id, service_connection_id, access_token } => {
                let access_token = access_token.fetch().await?;
                let options =
                    AzurePipelinesCredentialOptions { credential_options: assertion(client_options) };
                AzurePipelinesCredential::new(
                    tenant_id.clone(),
                    client_id.clone(),
                    service_connection_id,
                    access_token.expose_secret().to_owned(),
                    Some(options),
                )?
            }
            CredentialKind::WorkloadIdentity { tenant_id, client_id, token_file } => {
                WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                    credential_options: assertion(client_options),
                    client_id: Some(client_id.clone()),
                    tenant_id: Some(tenant_id.clone()),
                    token_file_path: Some(token_file.clone()),
                }))?
            }
            CredentialKind::ManagedIdentity { client_id } => {
                ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                    user_assigned_id: client_id.clone().map(UserAssignedId::ClientId),
                    client_options,
                }))?
            }
            CredentialKind::ClientSecret { tenant_id, client_id, client_secret } => {
                let secret = client_secret.fetch().await?;
                let secret = AzureSecret::new(secret.expose_secret().to_owned());
                let options = ClientSecretCredentialOptions { client_options };
                ClientSecretCredential::new(tenant_id, client_id.clone(), secret, Some(options))?
            }
            // Something is always named, so that the account which `az` happens to have chosen does not count; `az` takes
            // one of the two.
            CredentialKind::AzureCli { tenant_id } => {
                AzureCliCredential::new(Some(AzureCliCredentialOptions {
                    subscription: tenant_id.is_none().then(|| self.subscription.to_string()),
                    tenant_id: tenant_id.clone(),
                    ..AzureCliCredentialOptions::default()
                }))?
            }
            CredentialKind::Token(secret) => {
                // Not one of this room's kinds; the caller keeps it.
                return Err(Failure::Secret(format!("{} needs no identity service", secret.place.path())));
            }
        })
    }

    async fn credential(&self) -> Result<Arc<dyn TokenCredential>, Failure> {
        if let Some(credential) = self.lock().clone() {
            return Ok(credential);
        }
        let made = self.make().await?;
        *self.lock() = Some(Arc::clone(&made));
        Ok(made)
    }
}

/// Why there is no credential, or no token.
enum Failure {
    Secret(String),
    Azure(azure_core::Error),
}

impl From<crate::secrets::SecretError> for Failure {
    fn from(error: crate::secrets::SecretError) -> Self {
        Self::Secret(error.to_string())
    }
}

impl From<azure_core::Error> for Failure {
    fn from(error: azure_core::Error) -> Self {
        Self::Azure(error)
    }
}

impl From<Failure> for TokenError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Secret(reason) => Self::Refused { reason, source: None },
            Failure::Azure(error) => {
                let reason = one_line(&error.to_string());
                let passing = match error.kind() {
                    ErrorKind::Connection | ErrorKind::Io => true,
                    ErrorKind::HttpResponse { status, .. } => {
                        let status = u16::from(*status);
                        status == 429 || status >= 500
                    }
                    _ => false,
                };
                let source = Some(Box::new(error) as Box<dyn std::error::Error + Send + Sync>);
                if passing { Self::Unavailable { reason, source } } else { Self::Refused { reason, source } }
            }
        }
    }
}

#[async_trait]
impl Origin for Identity {
    async fn fresh(&self, scope: &str) -> Result<AccessToken, TokenError> {
        let credential = self.credential().await?;
        let token = credential.get_token(&[scope], None).await.map_err(Failure::from)?;
        let expires_at = Timestamp::from_second(token.expires_on.unix_timestamp()).ok();
        Ok(AccessToken { secret: token.token.secret().into(), expires_at })
    }

    fn forget(&self) {
        *self.lock() = None;
    }
}
