//! Bearer tokens for the two clients, from where the configuration says they come.

mod azure;
#[cfg(feature = "azure-identity")]
mod identity;
mod rancher;
#[cfg(test)]
mod testing;

pub(crate) use azure::AzureTokens;
pub(crate) use rancher::RancherTokens;
