//! Bearer tokens for the two clients, from where the configuration says they come.

mod azure;
#[cfg(feature = "azure-identity")]
mod identity;
mod rancher;
#[cfg(test)]
mod testing;

use aks_client::{Cloud, SubscriptionId};

pub(crate) use azure::AzureTokens;
pub(crate) use rancher::RancherTokens;

use crate::config::{AzureConfig, Credential};

/// Who signs in to which of Azure's clouds.
#[derive(Clone)]
pub(crate) struct SignIn<'a> {
    pub(crate) credential: &'a Credential,
    /// The address of what the tokens are for.
    pub(crate) service: String,
    /// The cloud it belongs to, if it is one of those that Microsoft operates.
    pub(crate) cloud: Option<Cloud>,
    /// The subscription by which `az` finds its account, where no tenant is named.
    pub(crate) subscription: Option<SubscriptionId>,
}

impl<'a> From<&'a AzureConfig> for SignIn<'a> {
    fn from(config: &'a AzureConfig) -> Self {
        Self {
            credential: &config.credential,
            service: config.endpoint.to_string(),
            cloud: config.endpoint.cloud(),
            subscription: Some(config.subscription),
        }
    }
}
