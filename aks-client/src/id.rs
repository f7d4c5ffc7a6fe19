//! Names of things, checked where they enter: endpoint, api version, subscription, cluster.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};
use uuid::Uuid;

use crate::text;

/// A name or address that cannot be what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Not usable as the address of ARM.
    #[error("not an ARM endpoint: {reason}")]
    Endpoint {
        /// What is wrong with it.
        reason: String,
    },
    /// Not of the form `YYYY-MM-DD` or `YYYY-MM-DD-preview`.
    #[error("`{given}` is not an api version; expected YYYY-MM-DD or YYYY-MM-DD-preview")]
    ApiVersion {
        /// What was given.
        given: String,
    },
    /// Older than this crate can work with: properties it must copy would be invisible.
    #[error("api version {given} is too old; the oldest supported is {}", ApiVersion::OLDEST)]
    ApiVersionTooOld {
        /// What was given.
        given: String,
    },
    /// Not a GUID.
    #[error("`{given}` is not a subscription id; expected a GUID")]
    Subscription {
        /// What was given.
        given: String,
    },
    /// Not the id of an ARM resource, group or subscription.
    #[error("`{given}` is not a resource id: {reason}")]
    Resource {
        /// What was given.
        given: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not the id of a managed cluster, or a part of it breaks Azure's naming rules.
    #[error("`{given}` is not a cluster id: {reason}")]
    Cluster {
        /// What was given.
        given: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// A cloud that Microsoft operates, each with identities and tokens of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cloud {
    /// `management.azure.com`
    Public,
    /// `management.usgovcloudapi.net`
    UsGovernment,
    /// `management.chinacloudapi.cn`
    China,
}

impl Cloud {
    const ALL: [Self; 3] = [Self::Public, Self::UsGovernment, Self::China];

    /// The host of the cloud's ARM; a regional host is a subdomain of it.
    fn host(self) -> &'static str {
        match self {
            Self::Public => "management.azure.com",
            Self::UsGovernment => "management.usgovcloudapi.net",
            Self::China => "management.chinacloudapi.cn",
        }
    }
}

/// The address of an ARM service: https, or http on a loopback address (for tests and the lab).
///
/// ```
/// use aks_client::Endpoint;
///
/// let endpoint: Endpoint = "https://management.usgovcloudapi.net/".parse()?;
/// assert_eq!(endpoint.scope(), "https://management.usgovcloudapi.net/.default");
/// assert!("http://arm.example.com".parse::<Endpoint>().is_err());
/// # Ok::<(), aks_client::ParseError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    url: Url,
}

impl Endpoint {
    /// The cloud this endpoint belongs to, by its global or a regional host; `None` for any other host.
    pub fn cloud(&self) -> Option<Cloud> {
        let host = self.url.host_str()?;
        Cloud::ALL.into_iter().find(|cloud| is_within(host, cloud.host()))
    }

    /// The scope a token for this endpoint is asked for, ending in `/.default`: that of its cloud, whichever of the cloud's
    /// regions it is in, because tokens are made out to the cloud; of an endpoint elsewhere, its own.
    pub fn scope(&self) -> String {
        match self.cloud() {
            Some(cloud) => format!("https://{}/.default", cloud.host()),
            None => format!("{self}/.default"),
        }
    }

    /// The endpoint as a URL, without a slash at its end unless it has no path.
    pub fn as_url(&self) -> &Url {
        &self.url
    }

    /// The URL of a path below this endpoint; every segment is percent-encoded.
    ///
    /// Callers hand in only segments that passed [`is_segment`].
    pub(crate) fn join<'s>(&self, segments: impl IntoIterator<Item = &'s str>) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// A paging link on this endpoint's own scheme, host and port. The path and query are kept: the link's host may be
    /// another name of the same service, and the token must not travel there.
    pub(crate) fn rebase(&self, link: &Url) -> Url {
        let mut url = self.url.clone();
        let prefix = self.url.path().trim_end_matches('/');
        if link.path() == prefix || link.path().starts_with(&format!("{prefix}/")) {
            url.set_path(link.path());
        } else {
            url.set_path(&format!("{prefix}{}", link.path()));
        }
        url.set_query(link.query());
        url
    }

    /// Whether this endpoint's token may be sent to `url`.
    ///
    /// Same scheme and port, and the same host, or a host below the same ARM root. The root is the endpoint's own host,
    /// or the well-known cloud host it lies under, because ARM answers with its global name or with a regional one
    /// (`westeurope.management.azure.com`) whichever was asked. Whoever owns the root's DNS zone owns both. An IP
    /// address has no subdomains.
    pub(crate) fn trusts(&self, url: &Url) -> bool {
        let plain = url.username().is_empty() && url.password().is_none();
        let same_door = url.scheme() == self.url.scheme()
            && url.port_or_known_default() == self.url.port_or_known_default();
        if !plain || !same_door {
            return false;
        }
        match (self.url.host(), url.host()) {
            (Some(Host::Domain(own)), Some(Host::Domain(other))) => {
                let root = self.cloud().map_or(own, |cloud| cloud.host());
                is_within(other, root)
            }
            (own, other) => own.is_some() && own == other,
        }
    }
}

fn is_within(host: &str, root: &str) -> bool {
    host.strip_suffix(root).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

impl Default for Endpoint {
    /// The public cloud, `https://management.azure.com`.
    fn default() -> Self {
        "https://management.azure.com".parse().expect("the public endpoint is well-formed")
    }
}

impl FromStr for Endpoint {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, ParseError> {
        let refuse = |reason: &str| ParseError::Endpoint { reason: reason.to_owned() };
        let mut url = Url::parse(given.trim()).map_err(|error| refuse(&error.to_string()))?;
        // The text itself is not repeated in messages: it may hold a password.
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("it holds a user name or password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("it has a query or a fragment"));
        }
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => return Err(refuse("it has no host")),
        };
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            "http" => return Err(refuse("http is allowed for loopback addresses only; use https")),
            other => return Err(refuse(&format!("the scheme is `{}`; use https", text::shorten(other, 20)))),
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self { url })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

impl TryFrom<String> for Endpoint {
    type Error = ParseError;

    fn try_from(given: String) -> Result<Self, ParseError> {
        given.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

/// The version of the AKS API spoken, `2026-08-01` unless set.
///
/// A buffer pool is a copy of what a GET shows, and an older version hides newer properties, so the default is the
/// newest stable one. Sovereign clouds may need an older one; below [`ApiVersion::OLDEST`] is refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApiVersion(String);

impl ApiVersion {
    /// The oldest version accepted.
    pub const OLDEST: &str = "2025-10-01";
    /// The version used unless another is set.
    pub const DEFAULT: &str = "2026-08-01";

    /// The version as it stands in a query.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ApiVersion {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl FromStr for ApiVersion {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, ParseError> {
        let date = given.strip_suffix("-preview").unwrap_or(given);
        let well_formed = date.len() == Self::OLDEST.len() && date.parse::<jiff::civil::Date>().is_ok();
        if !well_formed {
            return Err(ParseError::ApiVersion { given: text::shorten(given, 60) });
        }
        // Dates of one width compare as text.
        if date < Self::OLDEST {
            return Err(ParseError::ApiVersionTooOld { given: given.to_owned() });
        }
        Ok(Self(given.to_owned()))
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ApiVersion {
    type Error = ParseError;

    fn try_from(given: String) -> Result<Self, ParseError> {
        given.parse()
    }
}

impl From<ApiVersion> for String {
    fn from(version: ApiVersion) -> Self {
        version.0
    }
}

/// The id of an Azure subscription, a GUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SubscriptionId(Uuid);

impl FromStr for SubscriptionId {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, ParseError> {
        // `Uuid` also reads braces, URNs and bare digits; Azure writes hyphens only.
        let hyphenated = given.len() == 36;
        Uuid::parse_str(given)
            .ok()
            .filter(|_| hyphenated)
            .map(Self)
            .ok_or_else(|| ParseError::Subscription { given: text::shorten(given, 60) })
    }
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for SubscriptionId {
    type Error = ParseError;

    fn try_from(given: String) -> Result<Self, ParseError> {
        given.parse()
    }
}

impl From<SubscriptionId> for String {
    fn from(id: SubscriptionId) -> Self {
        id.to_string()
    }
}

/// Which managed cluster. Equal and hashed without regard to case, as ARM does.
///
/// ```
/// use aks_client::ClusterId;
///
/// let id: ClusterId = "/subscriptions/00000000-0000-0000-0000-000000000001/resourcegroups/RG-Demo\
///     /providers/microsoft.containerservice/managedClusters/shop".parse()?;
/// assert_eq!(id.resource_group(), "RG-Demo");
/// assert_eq!(id, ClusterId::new(id.subscription(), "rg-demo", "SHOP")?);
/// # Ok::<(), aks_client::ParseError>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterId {
    subscription: SubscriptionId,
    resource_group: String,
    name: String,
}

impl ClusterId {
    /// A cluster by its parts, checked against Azure's naming rules as far as they keep a path safe.
    pub fn new(
        subscription: SubscriptionId,
        resource_group: impl Into<String>,
        name: impl Into<String>,
    ) -> Result<Self, ParseError> {
        let (resource_group, name) = (resource_group.into(), name.into());
        let group_ok = (1..=90).contains(&resource_group.chars().count())
            && resource_group.chars().all(|c| c.is_alphanumeric() || "-_.()".contains(c))
            && !resource_group.ends_with('.');
        if !group_ok {
            return Err(ParseError::Cluster {
                given: text::shorten(&resource_group, 120),
                reason: "a resource group has 1 to 90 letters, digits, `-_.()` and no period at its end",
            });
        }
        let name_ok = (1..=63).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if !name_ok {
            return Err(ParseError::Cluster {
                given: text::shorten(&name, 120),
                reason: "a cluster name has 1 to 63 letters, digits, `-` and `_`",
            });
        }
        Ok(Self { subscription, resource_group, name })
    }

    /// The subscription it lives in.
    pub fn subscription(&self) -> SubscriptionId {
        self.subscription
    }

    /// The resource group it lives in (not its node resource group), as written.
    pub fn resource_group(&self) -> &str {
        &self.resource_group
    }

    /// Its name, as written.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The ARM id, in the casing of the API reference.
    pub fn resource_id(&self) -> String {
        format!("/{}", self.segments().join("/"))
    }

    /// The path of the cluster, segment by segment.
    pub(crate) fn segments(&self) -> Vec<String> {
        vec![
            "subscriptions".to_owned(),
            self.subscription.to_string(),
            "resourceGroups".to_owned(),
            self.resource_group.clone(),
            "providers".to_owned(),
            "Microsoft.ContainerService".to_owned(),
            "managedClusters".to_owned(),
            self.name.clone(),
        ]
    }

    fn folded(&self) -> (SubscriptionId, String, String) {
        (self.subscription, self.resource_group.to_lowercase(), self.name.to_lowercase())
    }
}

impl FromStr for ClusterId {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, ParseError> {
        let refuse = |reason| ParseError::Cluster { given: text::shorten(given, 300), reason };
        let parts: Vec<&str> = given.trim().trim_matches('/').split('/').collect();
        let [subscriptions, subscription, groups, group, providers, provider, kind, name] = parts[..] else {
            return Err(refuse("it does not have the eight parts of a managed cluster's ARM id"));
        };
        let fixed = [
            (subscriptions, "subscriptions"),
            (groups, "resourceGroups"),
            (providers, "providers"),
            (provider, "Microsoft.ContainerService"),
            (kind, "managedClusters"),
        ];
        if !fixed.iter().all(|(found, expected)| found.eq_ignore_ascii_case(expected)) {
            return Err(refuse("it names another kind of resource"));
        }
        let subscription = subscription.parse().map_err(|_| refuse("its subscription is not a GUID"))?;
        Self::new(subscription, group, name)
    }
}

impl PartialEq for ClusterId {
    fn eq(&self, other: &Self) -> bool {
        self.folded() == other.folded()
    }
}

impl Eq for ClusterId {}

impl Hash for ClusterId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().hash(state);
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource_id())
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

impl TryFrom<String> for ClusterId {
    type Error = ParseError;

    fn try_from(given: String) -> Result<Self, ParseError> {
        given.parse()
    }
}

impl From<ClusterId> for String {
    fn from(id: ClusterId) -> Self {
        id.resource_id()
    }
}

/// Whether AKS could have given a pool this name: a lower-case letter, then up to 11 lower-case letters or digits.
pub(crate) fn is_pool_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && name.len() <= 12
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Whether `version` is complete: three numbers, `1.35.2`. `1.35` is an alias that upgrades nothing.
pub(crate) fn is_full_version(version: &str) -> bool {
    let parts: Vec<&str> = version.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
#[path = "id_tests.rs"]
mod tests;
