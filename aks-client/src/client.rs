//! The client: what it is made of, and every read.

use std::fmt;
use std::sync::Arc;

use reqwest::Method;
use serde_json::Value;
use url::Url;

use crate::error::Error;
use crate::id::{ApiVersion, ClusterId, Endpoint, SubscriptionId, is_pool_name};
use crate::kubeconfig;
use crate::model::{
    AgentPool, AvailableUpgrade, ManagedCluster, PoolUpgradeProfile, PoolVersion, RegionVersion,
};
use crate::pause::{Pause, TokioPause};
use crate::text;
use crate::token::TokenSource;
use crate::transport::{Reply, Request};
use crate::value::{list_at, text_at};

/// A list of pools has at most 100 entries; a chain of more pages than this is a loop.
const MOST_PAGES: usize = 100;

/// An ARM client for AKS. Cheap to clone; clones share connections and tokens.
///
/// Reads are repeated a few times on transient failures (408, 429, 5xx, a broken connection), waiting as the service
/// asks; writes are sent once. A 401 is answered with one fresh token and one repeat.
#[derive(Clone)]
pub struct AksClient {
    pub(crate) http: reqwest::Client,
    pub(crate) endpoint: Endpoint,
    pub(crate) api_version: ApiVersion,
    pub(crate) tokens: Arc<dyn TokenSource>,
    pub(crate) pause: Arc<dyn Pause>,
}

impl fmt::Debug for AksClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AksClient")
            .field("endpoint", &self.endpoint)
            .field("api_version", &self.api_version)
            .field("tokens", &self.tokens.kind())
            .finish_non_exhaustive()
    }
}

impl AksClient {
    /// A client that speaks through `http`, which should follow no redirects
    /// (`reqwest::redirect::Policy::none()`): ARM does not redirect, and an answer that came by one is refused.
    pub fn new(
        http: reqwest::Client,
        endpoint: Endpoint,
        api_version: ApiVersion,
        tokens: Arc<dyn TokenSource>,
    ) -> Self {
        Self { http, endpoint, api_version, tokens, pause: Arc::new(TokioPause) }
    }

    /// The same client waiting by `pause` instead of real time.
    #[must_use]
    pub fn with_pause(mut self, pause: Arc<dyn Pause>) -> Self {
        self.pause = pause;
        self
    }

    /// Where it sends requests.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The API version it speaks.
    pub fn api_version(&self) -> &ApiVersion {
        &self.api_version
    }

    /// The cluster, with its pools as it lists them.
    pub async fn cluster(&self, id: &ClusterId) -> Result<ManagedCluster, Error> {
        let reply = self.send(&Request::get(self.cluster_url(id, &[]))).await?;
        ManagedCluster::from_value(reply.json()?).map_err(|error| reply.unexpected(error.to_string()))
    }

    /// Every pool of the cluster, all pages.
    ///
    /// Links to further pages are followed on this client's own endpoint, whatever host they name. A page that names
    /// itself or an earlier one again ends in an error, not in an endless loop.
    pub async fn pools(&self, id: &ClusterId) -> Result<Vec<AgentPool>, Error> {
        let mut pools = Vec::new();
        let mut seen = Vec::new();
        let mut next = Some(self.cluster_url(id, &["agentPools"]));
        while let Some(url) = next {
            let reply = self.send(&Request::get(url.clone())).await?;
            let page = reply.json()?;
            if !page.get("value").is_some_and(Value::is_array) {
                return Err(reply.unexpected("a list of pools without `value`"));
            }
            for pool in list_at(&page, &["value"]) {
                let pool = AgentPool::from_value(pool.clone());
                pools.push(pool.map_err(|error| reply.unexpected(error.to_string()))?);
            }
            seen.push(url);
            next = self.next_page(&page, &reply)?;
            let again = next.as_ref().is_some_and(|next| seen.contains(next));
            if again || seen.len() == MOST_PAGES {
                return Err(reply.unexpected("pages that do not end"));
            }
        }
        Ok(pools)
    }

    fn next_page(&self, page: &Value, reply: &Reply) -> Result<Option<Url>, Error> {
        let Some(link) = text_at(page, &["nextLink"]) else { return Ok(None) };
        let link = Url::parse(link).or_else(|_| self.endpoint.as_url().join(link));
        let link = link.map_err(|_| reply.unexpected("a nextLink that is not a URL"))?;
        Ok(Some(self.endpoint.rebase(&link)))
    }

    /// One pool, or `None` where the cluster has none of that name (or there is no such cluster: ask for it too).
    pub async fn pool(&self, id: &ClusterId, name: &str) -> Result<Option<AgentPool>, Error> {
        let request = Request::get(self.pool_url(id, name, &[])?);
        match self.send(&request).await {
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
            Ok(reply) => match AgentPool::from_value(reply.json()?) {
                Ok(pool) => Ok(Some(pool)),
                Err(error) => Err(reply.unexpected(error.to_string())),
            },
        }
    }

    /// Versions the control plane can be upgraded to now. Empty: it has the newest, or one out of support.
    pub async fn upgrade_profile(&self, id: &ClusterId) -> Result<Vec<AvailableUpgrade>, Error> {
        let url = self.cluster_url(id, &["upgradeProfiles", "default"]);
        let (reply, answer) = self.get_json(url).await?;
        let profile = answer.pointer("/properties/controlPlaneProfile");
        profile
            .map(AvailableUpgrade::list)
            .ok_or_else(|| reply.unexpected("an upgrade profile without a control plane"))
    }

    /// What one pool can be upgraded to, its newest node image, and what it ran before.
    pub async fn pool_upgrade_profile(
        &self,
        id: &ClusterId,
        name: &str,
    ) -> Result<PoolUpgradeProfile, Error> {
        let url = self.pool_url(id, name, &["upgradeProfiles", "default"])?;
        let (reply, answer) = self.get_json(url).await?;
        let properties = answer.get("properties");
        properties
            .map(PoolUpgradeProfile::read)
            .ok_or_else(|| reply.unexpected("an upgrade profile without properties"))
    }

    /// Versions a new pool of this cluster may have.
    pub async fn available_pool_versions(&self, id: &ClusterId) -> Result<Vec<PoolVersion>, Error> {
        let (reply, answer) = self.get_json(self.cluster_url(id, &["availableAgentPoolVersions"])).await?;
        let properties = answer.get("properties");
        properties.map(PoolVersion::list).ok_or_else(|| reply.unexpected("pool versions without properties"))
    }

    /// Versions a region has. For what one cluster can go to, ask [`upgrade_profile`](Self::upgrade_profile).
    pub async fn region_versions(
        &self,
        subscription: SubscriptionId,
        location: &str,
    ) -> Result<Vec<RegionVersion>, Error> {
        // Regions are shown as `westeurope` and as `West Europe`; the path wants the first.
        let location = location.replace(' ', "").to_ascii_lowercase();
        if location.is_empty() || !location.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let reason = format!("`{}` is not a region", text::shorten(&location, 60));
            return Err(Error::InvalidArgument { reason });
        }
        let subscription = subscription.to_string();
        let path = ["subscriptions", &subscription, "providers", "Microsoft.ContainerService", "locations"];
        let url = self.endpoint.join(path.into_iter().chain([location.as_str(), "kubernetesVersions"]));
        let (reply, answer) = self.get_json(self.versioned(url)).await?;
        if answer.get("values").is_some_and(Value::is_array) {
            Ok(RegionVersion::list(&answer))
        } else {
            Err(reply.unexpected("region versions without `values`"))
        }
    }

    /// The certificate authority of the API server as PEM, or `None` where the kubeconfig names none.
    ///
    /// Asks for the user kubeconfig, takes the public certificate out and drops the rest. Needs
    /// `Microsoft.ContainerService/managedClusters/listClusterUserCredential/action`; without it the answer is
    /// [`Error::Forbidden`], which means "could not look", not "there is none".
    pub async fn cluster_ca(&self, id: &ClusterId) -> Result<Option<String>, Error> {
        let url = self.cluster_url(id, &["listClusterUserCredential"]);
        // A POST that changes nothing.
        let request = Request { is_read: true, ..Request::write(Method::POST, url) };
        let reply = self.send(&request).await?;
        kubeconfig::authority(&reply.json()?).map_err(|reason| reply.unexpected(reason))
    }

    pub(crate) async fn get_json(&self, url: Url) -> Result<(Reply, Value), Error> {
        let reply = self.send(&Request::get(url)).await?;
        let answer = reply.json()?;
        Ok((reply, answer))
    }

    pub(crate) fn cluster_url(&self, id: &ClusterId, below: &[&str]) -> Url {
        let segments = id.segments();
        self.versioned(self.endpoint.join(segments.iter().map(String::as_str).chain(below.iter().copied())))
    }

    pub(crate) fn pool_url(&self, id: &ClusterId, name: &str, below: &[&str]) -> Result<Url, Error> {
        if !is_pool_name(name) {
            let reason = format!("`{}` is not a pool name", text::shorten(name, 60));
            return Err(Error::InvalidArgument { reason });
        }
        Ok(self.cluster_url(id, &[&["agentPools", name], below].concat()))
    }

    fn versioned(&self, mut url: Url) -> Url {
        url.query_pairs_mut().append_pair("api-version", self.api_version.as_str());
        url
    }
}
