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
    AgentPool, AvailableUpgrade, Machine, MaintenanceConfiguration, ManagedCluster, PoolUpgradeProfile,
    PoolVersion, RegionVersion, ShapeError,
};
use crate::pace::{Lane, Pacer, RemainingRequests};
use crate::pause::{Pause, TokioPause};
use crate::resource_id::ResourceId;
use crate::text;
use crate::token::TokenSource;
use crate::transport::{Reply, Request};
use crate::value::{list_at, text_at};

/// No list of ARM's that is read here fills a hundred pages; a chain of more pages than this is a loop.
const MOST_PAGES: usize = 100;

/// An ARM client for AKS. Cheap to clone; clones share connections, tokens and pace.
///
/// Reads keep the pace that the AKS provider allows a subscription, and slow down where ARM says that few are left. They
/// are repeated a few times on transient failures (408, 429, 5xx, a broken connection), waiting as the service
/// asks; writes are sent once. A 401 is answered with one fresh token and one repeat.
#[derive(Clone)]
pub struct AksClient {
    pub(crate) http: reqwest::Client,
    pub(crate) endpoint: Endpoint,
    pub(crate) api_version: ApiVersion,
    pub(crate) tokens: Arc<dyn TokenSource>,
    pub(crate) pause: Arc<dyn Pause>,
    pub(crate) pacer: Arc<Pacer>,
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
        Self { http, endpoint, api_version, tokens, pause: Arc::new(TokioPause), pacer: Arc::default() }
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

    /// How many requests ARM said are left, as last seen by this client or a clone of it.
    pub fn remaining_requests(&self) -> RemainingRequests {
        self.pacer.remaining()
    }

    /// The cluster, with its pools as it lists them. An answer that shows another cluster is
    /// [`Error::AnotherCluster`].
    pub async fn cluster(&self, id: &ClusterId) -> Result<ManagedCluster, Error> {
        let reply = self.send(&Request::get(self.cluster_url(id, &[]), Lane::Cluster(id.clone()))).await?;
        let cluster = ManagedCluster::from_value(reply.json()?);
        let cluster = cluster.map_err(|error| reply.unexpected(error.to_string()))?;
        if cluster.id() != id {
            return Err(Error::AnotherCluster {
                asked: Box::new(id.clone()),
                answered: Box::new(cluster.id().clone()),
                trace: Box::new(reply.trace),
            });
        }
        Ok(cluster)
    }

    /// Every pool of the cluster, all pages.
    pub async fn pools(&self, id: &ClusterId) -> Result<Vec<AgentPool>, Error> {
        let url = self.cluster_url(id, &["agentPools"]);
        let read = |pool: &Value| AgentPool::from_value(pool.clone());
        self.list(url, Lane::Aks(id.subscription()), "a list of pools", read).await
    }

    /// One pool, or `None` where the cluster has none of that name (or there is no such cluster: ask for it too).
    pub async fn pool(&self, id: &ClusterId, name: &str) -> Result<Option<AgentPool>, Error> {
        let request = Request::get(self.pool_url(id, name, &[])?, Lane::Aks(id.subscription()));
        match self.send(&request).await {
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
            Ok(reply) => pool_of(&reply, name).map(Some),
        }
    }

    /// The machines of a pool. Each is named as its Kubernetes node.
    pub async fn machines(&self, id: &ClusterId, pool: &str) -> Result<Vec<Machine>, Error> {
        let url = self.pool_url(id, pool, &["machines"])?;
        let read = |machine: &Value| Machine::from_value(machine.clone());
        self.list(url, Lane::Aks(id.subscription()), "a list of machines", read).await
    }

    /// One machine of a pool, or `None` where there is none of that name.
    pub async fn machine(&self, id: &ClusterId, pool: &str, name: &str) -> Result<Option<Machine>, Error> {
        let url = self.pool_url(id, pool, &["machines", plain_name(name, "machine")?])?;
        self.optional(url, id, Machine::from_value).await
    }

    /// When the service may act on the cluster by itself; empty where nobody has limited it.
    ///
    /// Needs `Microsoft.ContainerService/managedClusters/maintenanceConfigurations/read`.
    pub async fn maintenance_configurations(
        &self,
        id: &ClusterId,
    ) -> Result<Vec<MaintenanceConfiguration>, Error> {
        let url = self.cluster_url(id, &["maintenanceConfigurations"]);
        let read = |value: &Value| MaintenanceConfiguration::from_value(value.clone());
        self.list(url, Lane::Aks(id.subscription()), "a list of maintenance configurations", read).await
    }

    /// One maintenance configuration (`default`, `aksManagedAutoUpgradeSchedule`, `aksManagedNodeOSUpgradeSchedule`), or
    /// `None` where it is not set.
    pub async fn maintenance_configuration(
        &self,
        id: &ClusterId,
        name: &str,
    ) -> Result<Option<MaintenanceConfiguration>, Error> {
        let name = plain_name(name, "maintenance configuration")?;
        let url = self.cluster_url(id, &["maintenanceConfigurations", name]);
        self.optional(url, id, MaintenanceConfiguration::from_value).await
    }

    /// Versions the control plane can be upgraded to now. Empty: it has the newest, or one out of support.
    pub async fn upgrade_profile(&self, id: &ClusterId) -> Result<Vec<AvailableUpgrade>, Error> {
        let url = self.cluster_url(id, &["upgradeProfiles", "default"]);
        let (reply, answer) = self.get_json(url, id.subscription()).await?;
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
        let (reply, answer) = self.get_json(url, id.subscription()).await?;
        let properties = answer.get("properties");
        properties
            .map(PoolUpgradeProfile::read)
            .ok_or_else(|| reply.unexpected("an upgrade profile without properties"))
    }

    /// Versions a new pool of this cluster may have.
    pub async fn available_pool_versions(&self, id: &ClusterId) -> Result<Vec<PoolVersion>, Error> {
        let url = self.cluster_url(id, &["availableAgentPoolVersions"]);
        let (reply, answer) = self.get_json(url, id.subscription()).await?;
        let properties = answer.get("properties");
        properties.map(PoolVersion::list).ok_or_else(|| reply.unexpected("pool versions without properties"))
    }

    /// Versions a region has. For what one cluster can go to, ask [`upgrade_profile`](Self::upgrade_profile).
    pub async fn region_versions(
        &self,
        subscription: SubscriptionId,
        location: &str,
    ) -> Result<Vec<RegionVersion>, Error> {
        let location = region(location)?;
        let scope = ResourceId::of_subscription(subscription);
        let below = ["providers", "Microsoft.ContainerService", "locations", &location, "kubernetesVersions"];
        let url = self.url_under(&scope, &below, self.api_version.as_str());
        let (reply, answer) = self.get_json(url, subscription).await?;
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
        let lane = Lane::Aks(id.subscription());
        let request = Request { is_read: true, lane, ..Request::write(Method::POST, url) };
        let reply = self.send(&request).await?;
        kubeconfig::authority(&reply.json()?).map_err(|reason| reply.unexpected(reason))
    }

    async fn get_json(&self, url: Url, subscription: SubscriptionId) -> Result<(Reply, Value), Error> {
        let reply = self.send(&Request::get(url, Lane::Aks(subscription))).await?;
        let answer = reply.json()?;
        Ok((reply, answer))
    }

    /// What may be absent.
    async fn optional<T>(
        &self,
        url: Url,
        id: &ClusterId,
        read: impl FnOnce(Value) -> Result<T, ShapeError>,
    ) -> Result<Option<T>, Error> {
        match self.send(&Request::get(url, Lane::Aks(id.subscription()))).await {
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
            Ok(reply) => match read(reply.json()?) {
                Ok(found) => Ok(Some(found)),
                Err(error) => Err(reply.unexpected(error.to_string())),
            },
        }
    }

    /// Every element of a list, all pages.
    ///
    /// Links to further pages are followed on this client's own endpoint, whatever host they name. A page that names
    /// itself or an earlier one again ends in an error, not in an endless loop.
    pub(crate) async fn list<T, E: ToString>(
        &self,
        first: Url,
        lane: Lane,
        what: &str,
        read: impl Fn(&Value) -> Result<T, E>,
    ) -> Result<Vec<T>, Error> {
        let mut found = Vec::new();
        let mut seen = Vec::new();
        let mut next = Some(first);
        while let Some(url) = next {
            let reply = self.send(&Request::get(url.clone(), lane.clone())).await?;
            let page = reply.json()?;
            if !page.get("value").is_some_and(Value::is_array) {
                return Err(reply.unexpected(format!("{what} without `value`")));
            }
            for element in list_at(&page, &["value"]) {
                found.push(read(element).map_err(|error| reply.unexpected(error.to_string()))?);
            }
            seen.push(url);
            next = self.next_page(&page, &reply)?;
            let again = next.as_ref().is_some_and(|next| seen.contains(next));
            if again || seen.len() == MOST_PAGES {
                return Err(reply.unexpected("pages that do not end"));
            }
        }
        Ok(found)
    }

    fn next_page(&self, page: &Value, reply: &Reply) -> Result<Option<Url>, Error> {
        let Some(link) = text_at(page, &["nextLink"]) else { return Ok(None) };
        let link = Url::parse(link).or_else(|_| self.endpoint.as_url().join(link));
        let link = link.map_err(|_| reply.unexpected("a nextLink that is not a URL"))?;
        Ok(Some(self.endpoint.rebase(&link)))
    }

    pub(crate) fn cluster_url(&self, id: &ClusterId, below: &[&str]) -> Url {
        self.url_under(&ResourceId::from(id), below, self.api_version.as_str())
    }

    pub(crate) fn pool_url(&self, id: &ClusterId, name: &str, below: &[&str]) -> Result<Url, Error> {
        if !is_pool_name(name) {
            let reason = format!("`{}` is not a pool name", text::shorten(name, 60));
            return Err(Error::InvalidArgument { reason });
        }
        Ok(self.cluster_url(id, &[&["agentPools", name], below].concat()))
    }

    /// The URL of what lies `below` a scope; every segment of `below` is a constant or was checked.
    pub(crate) fn url_under(&self, scope: &ResourceId, below: &[&str], version: &str) -> Url {
        let segments = scope.segments();
        let path = segments.iter().map(String::as_str).chain(below.iter().copied());
        let mut url = self.endpoint.join(path);
        url.query_pairs_mut().append_pair("api-version", version);
        url
    }
}

/// The pool in an answer, which must be the one asked for.
pub(crate) fn pool_of(reply: &Reply, name: &str) -> Result<AgentPool, Error> {
    let pool = AgentPool::from_value(reply.json()?).map_err(|error| reply.unexpected(error.to_string()))?;
    if !pool.name().eq_ignore_ascii_case(name) {
        let came = text::shorten(pool.name(), 60);
        return Err(reply.unexpected(format!("pool {name} was asked for, {came} came")));
    }
    Ok(pool)
}

/// A region as a path wants it. Regions are shown as `westeurope` and as `West Europe`.
pub(crate) fn region(given: &str) -> Result<String, Error> {
    let region = given.replace(' ', "").to_ascii_lowercase();
    if region.is_empty() || !region.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let reason = format!("`{}` is not a region", text::shorten(given, 60));
        return Err(Error::InvalidArgument { reason });
    }
    Ok(region)
}

/// A name that can stand in a path.
fn plain_name<'n>(name: &'n str, what: &str) -> Result<&'n str, Error> {
    let plain = (1..=253).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && !name.bytes().all(|byte| byte == b'.');
    if plain {
        return Ok(name);
    }
    Err(Error::InvalidArgument {
        reason: format!("`{}` is not the name of a {what}", text::shorten(name, 60)),
    })
}
