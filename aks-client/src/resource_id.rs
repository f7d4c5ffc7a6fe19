//! The id of any ARM resource, group or subscription.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{ClusterId, ParseError, SubscriptionId};
use crate::text;

/// The id of an ARM resource, or of a resource group or subscription: a scope. Equal and hashed without regard to case,
/// as ARM does.
///
/// ```
/// use aks_client::ResourceId;
///
/// let subnet: ResourceId = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/net\
///     /providers/Microsoft.Network/virtualNetworks/hub/subnets/nodes".parse()?;
/// assert_eq!(subnet.kind().as_deref(), Some("Microsoft.Network/virtualNetworks/subnets"));
/// assert_eq!(subnet.name(), "nodes");
/// assert!(subnet.parent().expect("a virtual network").covers(&subnet));
/// # Ok::<(), aks_client::ParseError>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceId {
    subscription: SubscriptionId,
    /// What follows the subscription; an even number of segments, none of which could leave its place in a path.
    rest: Vec<String>,
}

impl ResourceId {
    /// A whole subscription.
    pub fn of_subscription(subscription: SubscriptionId) -> Self {
        Self { subscription, rest: Vec::new() }
    }

    /// A resource group, for example a cluster's node resource group.
    pub fn of_group(subscription: SubscriptionId, group: &str) -> Result<Self, ParseError> {
        format!("/subscriptions/{subscription}/resourceGroups/{group}").parse()
    }

    /// The subscription it lies in.
    pub fn subscription(&self) -> SubscriptionId {
        self.subscription
    }

    /// The resource group it lies in or is.
    pub fn resource_group(&self) -> Option<&str> {
        match self.rest.as_slice() {
            [groups, group, ..] if groups.eq_ignore_ascii_case("resourceGroups") => Some(group),
            _ => None,
        }
    }

    /// The provider and types of a resource, `Microsoft.Network/virtualNetworks/subnets`; `None` for a group or a
    /// subscription.
    pub fn kind(&self) -> Option<String> {
        let provider = self.rest.iter().rposition(|segment| segment.eq_ignore_ascii_case("providers"))?;
        let (namespace, pairs) = self.rest[provider + 1..].split_first()?;
        let types = pairs.iter().step_by(2);
        Some(std::iter::once(namespace).chain(types).map(String::as_str).collect::<Vec<_>>().join("/"))
    }

    /// The last part of the id.
    pub fn name(&self) -> String {
        self.rest.last().cloned().unwrap_or_else(|| self.subscription.to_string())
    }

    /// What it lies in: the parent resource, the group, the subscription.
    pub fn parent(&self) -> Option<Self> {
        let mut rest = self.rest.clone();
        rest.truncate(rest.len().checked_sub(2)?);
        // A resource directly in a group: `providers/<namespace>` goes with it.
        if rest.len() >= 2 && rest[rest.len() - 2].eq_ignore_ascii_case("providers") {
            rest.truncate(rest.len() - 2);
        }
        Some(Self { subscription: self.subscription, rest })
    }

    /// Whether `other` is this or lies below it.
    pub fn covers(&self, other: &Self) -> bool {
        let (own, other) = (self.folded(), other.folded());
        own.0 == other.0 && other.1.starts_with(&own.1)
    }

    /// The id's parts, as they stand in a path.
    pub(crate) fn segments(&self) -> Vec<String> {
        let mut segments = vec!["subscriptions".to_owned(), self.subscription.to_string()];
        segments.extend(self.rest.iter().cloned());
        segments
    }

    fn folded(&self) -> (SubscriptionId, Vec<String>) {
        (self.subscription, self.rest.iter().map(|segment| segment.to_lowercase()).collect())
    }
}

impl From<&ClusterId> for ResourceId {
    fn from(id: &ClusterId) -> Self {
        Self { subscription: id.subscription(), rest: id.segments().split_off(2) }
    }
}

impl FromStr for ResourceId {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, ParseError> {
        let refuse = |reason| ParseError::Resource { given: text::shorten(given, 300), reason };
        let path = given.trim().strip_prefix('/').ok_or_else(|| refuse("it does not begin with a slash"))?;
        let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        let [subscriptions, subscription, rest @ ..] = parts.as_slice() else {
            return Err(refuse("it names no subscription"));
        };
        if !subscriptions.eq_ignore_ascii_case("subscriptions") {
            return Err(refuse("it does not begin with /subscriptions/"));
        }
        let subscription = subscription.parse().map_err(|_| refuse("its subscription is not a GUID"))?;
        if rest.len() % 2 == 1 {
            return Err(refuse("a part of it has a type and no name"));
        }
        if !rest.iter().all(|segment| is_segment(segment)) {
            return Err(refuse("a part of it is empty or holds a character no name has"));
        }
        Ok(Self { subscription, rest: rest.iter().map(|&segment| segment.to_owned()).collect() })
    }
}

/// Nothing that could leave its place in a URL's path.
fn is_segment(segment: &str) -> bool {
    !segment.is_empty()
        && segment.len() <= 260
        && !segment.chars().all(|character| character == '.')
        && segment.chars().all(|c| c.is_alphanumeric() || "-_.() ".contains(c))
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        self.folded() == other.folded()
    }
}

impl Eq for ResourceId {}

impl Hash for ResourceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().hash(state);
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.segments().join("/"))
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceId({self})")
    }
}

impl TryFrom<String> for ResourceId {
    type Error = ParseError;

    fn try_from(given: String) -> Result<Self, ParseError> {
        given.parse()
    }
}

impl From<ResourceId> for String {
    fn from(id: ResourceId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-000000000001";

    fn id(rest: &str) -> ResourceId {
        format!("{SUBSCRIPTION}{rest}").parse().unwrap()
    }

    #[test]
    fn parts_and_parents_of_every_kind_of_scope() {
        let subnet = id("/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/hub/subnets/nodes");
        let names: Vec<_> = std::iter::successors(Some(subnet.clone()), ResourceId::parent)
            .map(|id| (id.kind().unwrap_or_default(), id.name()))
            .collect();
        let named = |kind: &str, name: &str| (kind.to_owned(), name.to_owned());
        let expected = [
            named("Microsoft.Network/virtualNetworks/subnets", "nodes"),
            named("Microsoft.Network/virtualNetworks", "hub"),
            named("", "net"),
            named("", "00000000-0000-0000-0000-000000000001"),
        ];
        assert_eq!(names, expected);
        assert_eq!(subnet.resource_group(), Some("net"));
        assert_eq!(id("").resource_group(), None);
    }

    #[test]
    fn case_does_not_matter_and_a_longer_name_is_another() {
        let group = id("/resourceGroups/RG");
        assert_eq!(group, id("/resourcegroups/rg"));
        assert!(group.covers(&id("/resourcegroups/rg/providers/A.B/c/d")) && id("").covers(&group));
        assert!(!group.covers(&id("/resourceGroups/rg2")) && !group.covers(&id("")));
    }

    #[test]
    fn what_could_leave_its_place_is_refused() {
        for rest in [
            "/a", "/a/..", "/a/.", "/a//b/c", "/a/b?x=1", "/a/b%2f", "/a/b#c", "/a/b\nc", "/a/b\\c", "/a/b:c",
        ] {
            assert!(format!("{SUBSCRIPTION}{rest}").parse::<ResourceId>().is_err(), "{rest}");
        }
        for text in ["", "/", "subscriptions/x", "/subscriptions/x", "/resourceGroups/rg", "/subscriptions"] {
            assert!(text.parse::<ResourceId>().is_err(), "{text}");
        }
    }
}
