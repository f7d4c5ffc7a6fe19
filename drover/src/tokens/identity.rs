//! The credential kinds of `azure_identity`, over our own HTTP client.
//!
//! Every setting that the crate would otherwise look for in the environment is given to it. What remains belongs to the
//! platform that a kind is for: `SYSTEM_OIDCREQUESTURI` of Azure Pipelines; `IDENTITY_ENDPOINT`, `IDENTITY_HEADER` and
//! `MSI_ENDPOINT` with which App Service and Container Apps say where their managed identity is; and the variables of `az`.

mod failure;
mod shell;
mod wire;

use std::sync::Arc;

use aks_client::{AccessToken, Cloud, SubscriptionId, TokenError};
use async_trait::async_trait;
use azure_core::cloud::CloudConfiguration;
use azure_core::credentials::{Secret as AzureSecret, TokenCredential};
use azure_core::http::{ClientOptions, ExponentialRetryOptions, RetryOptions, Transport};
use azure_core::time::Duration;
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, AzurePipelinesCredential, AzurePipelinesCredentialOptions,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use url::Url;

use super::SignIn;
use super::azure::Origin;
use crate::adapters::text::{one_line, with_causes};
use crate::config::CredentialKind;
use crate::env;
use crate::error::ConfigError;
use failure::{Failure, token_error};
use shell::Shell;
use wire::Wire;

/// Where a job of Azure Pipelines gets the assertion for a service connection.
const OIDC_VARIABLE: &str = "SYSTEM_OIDCREQUESTURI";

/// Makes a credential for each token: a credential of the crate keeps its tokens by a clock of its own, and holds on to the
/// secrets it was made with.
pub(super) struct Identity {
    kind: CredentialKind,
    subscription: Option<SubscriptionId>,
    options: ClientOptions,
}

impl Identity {
    /// Makes the credential once, so that what is missing for it is told before anything is contacted.
    pub(super) async fn new(
        sign_in: &SignIn<'_>,
        http: reqwest::Client,
        retry: RetryOptions,
    ) -> Result<Self, ConfigError> {
        let SignIn { credential, service, subscription, .. } = sign_in;
        let cloud = sign_in.cloud.and_then(cloud);
        if cloud.is_none() && asks_entra(&credential.kind) {
            return Err(credential.place.error(
                format!("for `{service}` it is not known which identity service hands out tokens"),
                "use kind `token`, `managed-identity` or `azure-cli`, or the endpoint of a cloud that Microsoft operates",
            ));
        }
        let options = ClientOptions {
            transport: Some(Transport::new(Arc::new(Wire::new(http)))),
            retry,
            cloud: cloud.map(Arc::new),
            ..ClientOptions::default()
        };
        let identity = Self { kind: credential.kind.clone(), subscription: *subscription, options };
        identity.make().await.map_err(|failure| credential.place.error(failure.problem, failure.remedy))?;
        Ok(identity)
    }

    async fn make(&self) -> Result<Arc<dyn TokenCredential>, Failure> {
        let client_options = self.options.clone();
        let assertion = |client_options| ClientAssertionCredentialOptions { client_options };
        Ok(match &self.kind {
            CredentialKind::AzurePipelines { tenant_id, client_id, service_connection_id, access_token } => {
                pipelines_address()?;
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
                let options = WorkloadIdentityCredentialOptions {
                    credential_options: assertion(client_options),
                    client_id: Some(client_id.clone()),
                    tenant_id: Some(tenant_id.clone()),
                    token_file_path: Some(token_file.clone()),
                };
                WorkloadIdentityCredential::new(Some(options)).map_err(|error| Failure {
                    problem: one_line(&with_causes(&error)),
                    remedy: "Azure Workload Identity mounts the token into pods that are labelled for it; `token_file` \
                             names another place",
                })?
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
                    subscription: self.subscription.filter(|_| tenant_id.is_none()).map(|id| id.to_string()),
                    tenant_id: tenant_id.clone(),
                    executor: Some(Arc::new(Shell)),
                }))?
            }
            CredentialKind::Token(secret) => {
                return Err(Failure {
                    problem: format!("{} needs no identity service", secret.place.path()),
                    remedy: "read the token from its place",
                });
            }
        })
    }
}

#[async_trait]
impl Origin for Identity {
    async fn fresh(&self, scope: &str) -> Result<AccessToken, TokenError> {
        let credential = self.make().await?;
        let token =
            credential.get_token(&[scope], None).await.map_err(|error| token_error(&self.kind, error))?;
        let expires_at = Timestamp::from_second(token.expires_on.unix_timestamp()).ok();
        Ok(AccessToken { secret: token.token.secret().into(), expires_at })
    }
}

/// How often Entra is asked again. The requests of a whole run wait for one token, and the client repeats its reads anyway.
pub(super) fn patience() -> RetryOptions {
    RetryOptions::exponential(ExponentialRetryOptions {
        initial_delay: Duration::seconds(1),
        max_retries: 3,
        max_total_elapsed: Duration::seconds(20),
        ..ExponentialRetryOptions::default()
    })
}

/// The identity service of each of Microsoft's clouds is known to `azure_core`. Without one, `azure_identity` would look for
/// `AZURE_AUTHORITY_HOST`.
fn cloud(cloud: Cloud) -> Option<CloudConfiguration> {
    match cloud {
        Cloud::Public => Some(CloudConfiguration::AzurePublic),
        Cloud::UsGovernment => Some(CloudConfiguration::AzureGovernment),
        Cloud::China => Some(CloudConfiguration::AzureChina),
        _ => None,
    }
}

fn asks_entra(kind: &CredentialKind) -> bool {
    match kind {
        CredentialKind::AzurePipelines { .. }
        | CredentialKind::WorkloadIdentity { .. }
        | CredentialKind::ClientSecret { .. } => true,
        CredentialKind::ManagedIdentity { .. }
        | CredentialKind::AzureCli { .. }
        | CredentialKind::Token(_) => false,
    }
}

/// The pipeline's token is sent to the address in the variable, so the address must be safe to send it to.
fn pipelines_address() -> Result<(), Failure> {
    let failure = |problem: &str| Failure {
        problem: format!("the variable `{OIDC_VARIABLE}` {problem}"),
        remedy: "Azure Pipelines sets it in every job; elsewhere use another kind of credential",
    };
    let address = env::text(OIDC_VARIABLE).ok_or_else(|| failure("is not set"))?;
    match Url::parse(&address) {
        Ok(url) if url.scheme() == "https" => Ok(()),
        _ => Err(failure("is no https address")),
    }
}

#[cfg(test)]
mod tests;
