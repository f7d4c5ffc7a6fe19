//! Names and identifiers, each with its own type, so that a node cannot be passed for a pool.

use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not an identifier of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a {kind}: {rule}")]
pub struct IdError {
    /// What was wanted.
    pub kind: &'static str,
    /// What was given.
    pub value: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

/// Declares a string newtype whose only rule is a predicate. A copy shares the text: names go through views, plans and events
/// many times more often than they are made.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            #[doc = concat!("Parses a ", $kind, ": ", $rule, ".")]
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let value = text.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&value) { Ok(Self(value.into())) } else { Err(IdError { kind: $kind, value, rule: $rule }) }
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.to_string()
            }
        }
    };
}

/// No control character, no white space, no path separator: safe in a URL segment, a file name and a log line.
fn plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
        && !matches!(text, "." | "..")
}

id!(
    /// The name of a Kubernetes Node.
    NodeName,
    "node name",
    "letters, digits, `-` and `.`, at most 253",
    plain
);
id!(
    /// A Kubernetes object's `metadata.uid`: the same name with another uid is another object.
    Uid,
    "uid",
    "letters, digits and `-`",
    plain
);
id!(
    /// One execution of a plan. Safe as a file name and as an Azure tag value.
    RunId,
    "run id",
    "lower-case letters, digits and `-`, at most 63",
    |t| {
        !t.is_empty() && t.len() <= 63 && t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
);
id!(
    /// A step of a plan: `<stage>.<lane>.<step>`, counted from 1. The same plan always has the same ids.
    StepId,
    "step id",
    "three numbers with dots between them",
    |t| t.split('.').count() == 3 && t.split('.').all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
);
id!(
    /// The value that a restart writes into a pod template, `<run id>.<step id>`: writing it twice changes nothing.
    RestartId,
    "restart id",
    "letters, digits, `-` and `.`",
    plain
);
id!(
    /// Who holds the lock of a cluster: one process of one run.
    HolderId,
    "lock holder",
    "letters, digits, `-`, `_`, `.` and `:`, at most 253",
    plain
);
id!(
    /// A user's probe.
    ProbeName,
    "probe's name",
    "letters, digits, `-`, `_` and `.`, at most 63",
    |t| plain(t) && t.len() <= 63 && !t.contains(':')
);
id!(
    /// A cluster's id in Rancher: `c-xxxxx`, `c-m-xxxxxxxx` or `local`.
    RancherClusterId,
    "Rancher cluster id",
    "letters, digits and `-`, such as `c-m-abcd1234`",
    |t| !t.is_empty() && t.len() <= 63 && t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
);
id!(
    /// The name of an AKS agent pool: lower-case letters and digits, starting with a letter, at most 12
    /// (6 for Windows, see [`PoolName::buffer`]).
    PoolName,
    "pool name",
    "lower-case letters and digits, starting with a letter, at most 12",
    |t| {
        (1..=12).contains(&t.len())
            && t.as_bytes()[0].is_ascii_lowercase()
            && t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    }
);

/// Every candidate name for a buffer is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no free name for the buffer of pool `{pool}`: `{tried}` and its variants exist already")]
pub struct BufferNameError {
    /// The original pool.
    pub pool: PoolName,
    /// The first name tried.
    pub tried: String,
}

impl PoolName {
    /// The name of this pool's buffer: its own, cut to leave room, and `bf` (then `b0`..`b9`) so that it is deterministic
    /// and avoids every name in `taken`. Windows names hold at most 6 characters (AKS: node pool naming).
    pub fn buffer(&self, windows: bool, taken: &[PoolName]) -> Result<Self, BufferNameError> {
        let room = if windows { 4 } else { 10 };
        let stem = &self.0[..self.0.len().min(room)];
        let first = format!("{stem}bf");
        std::iter::once(first.clone())
            .chain((0..10).map(|n| format!("{stem}b{n}")))
            .map(|name| Self(name.into()))
            .find(|name| !taken.contains(name))
            .ok_or(BufferNameError { pool: self.clone(), tried: first })
    }
}

/// A namespaced object's `namespace/name`. A copy shares the text.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectName {
    text: Arc<str>,
    /// Where the slash is.
    slash: usize,
}

impl ObjectName {
    /// From its two parts; both must be plain Kubernetes names.
    pub fn new(namespace: impl AsRef<str>, name: impl AsRef<str>) -> Result<Self, IdError> {
        let (namespace, name) = (namespace.as_ref(), name.as_ref());
        if plain(namespace) && plain(name) {
            Ok(Self::of(namespace, name))
        } else {
            Err(IdError {
                kind: "object name",
                value: format!("{namespace}/{name}"),
                rule: "write `namespace/name`",
            })
        }
    }

    fn of(namespace: &str, name: &str) -> Self {
        let mut text = String::with_capacity(namespace.len() + 1 + name.len());
        text.push_str(namespace);
        text.push('/');
        text.push_str(name);
        Self { text: text.into(), slash: namespace.len() }
    }

    /// Sorts before every name of the namespace; for ranges only.
    pub(crate) fn before_all_in(namespace: &str) -> Self {
        Self::of(namespace, "")
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.text[..self.slash]
    }

    /// The name within the namespace.
    pub fn name(&self) -> &str {
        &self.text[self.slash + 1..]
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        let text = self.text.as_bytes();
        (&text[..self.slash], &text[self.slash + 1..])
    }

    /// Both, with a slash between them.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialOrd for ObjectName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By namespace, then by name: the slash sorts like nothing else, unless both have it in the same place.
impl Ord for ObjectName {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.slash == other.slash {
            return self.text.cmp(&other.text);
        }
        self.parts().cmp(&other.parts())
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectName")
            .field("namespace", &self.namespace())
            .field("name", &self.name())
            .finish()
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl std::str::FromStr for ObjectName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (namespace, name) = text.split_once('/').unwrap_or((text, ""));
        Self::new(namespace, name)
    }
}

impl TryFrom<String> for ObjectName {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<ObjectName> for String {
    fn from(name: ObjectName) -> Self {
        name.to_string()
    }
}

/// An Azure Resource Manager id. Compared and hashed without case, because Azure returns the same id in several; shown as
/// it was given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArmId(String);

impl ArmId {
    /// Parses `/subscriptions/{guid}/resourceGroups/{name}/...`.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let value: String = text.into();
        let mut parts = value.trim_end_matches('/').split('/').skip(1);
        let scoped = parts.next().is_some_and(|p| p.eq_ignore_ascii_case("subscriptions"))
            && parts.next().is_some_and(|p| !p.is_empty())
            && parts.next().is_some_and(|p| p.eq_ignore_ascii_case("resourceGroups"))
            && parts.next().is_some_and(|p| !p.is_empty());
        let clean = value.starts_with('/') && !value.bytes().any(|b| b.is_ascii_control());
        if scoped && clean {
            Ok(Self(value.trim_end_matches('/').to_owned()))
        } else {
            Err(IdError { kind: "ARM id", value, rule: "/subscriptions/{id}/resourceGroups/{name}/..." })
        }
    }

    fn segment(&self, index: usize) -> &str {
        self.0.split('/').nth(index).unwrap_or_default()
    }

    /// The subscription.
    pub fn subscription(&self) -> &str {
        self.segment(2)
    }

    /// The resource group.
    pub fn resource_group(&self) -> &str {
        self.segment(4)
    }

    /// The last segment: the resource's own name.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The id as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn folded(&self) -> Cow<'_, str> {
        if self.0.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(self.0.to_ascii_lowercase())
        } else {
            Cow::Borrowed(&self.0)
        }
    }
}

impl PartialEq for ArmId {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for ArmId {}

impl Hash for ArmId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().hash(state);
    }
}

impl PartialOrd for ArmId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ArmId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(&other.folded())
    }
}

impl fmt::Display for ArmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ArmId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl From<ArmId> for String {
    fn from(id: ArmId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arm_ids_are_equal_in_any_case_and_hash_alike() {
        let a = ArmId::new(
            "/subscriptions/AA/resourceGroups/RG/providers/Microsoft.ContainerService/managedClusters/Shop",
        )
        .unwrap();
        let b = ArmId::new(
            "/subscriptions/aa/resourcegroups/rg/providers/microsoft.containerservice/managedclusters/shop/",
        )
        .unwrap();
        assert_eq!(a, b);
        assert_eq!(std::collections::HashSet::from([a.clone(), b]).len(), 1);
        assert_eq!((a.subscription(), a.resource_group(), a.name()), ("AA", "RG", "Shop"));
        for bad in [
            "",
            "shop",
            "/subscriptions//resourceGroups/rg",
            "/subscriptions/a/providers/x",
            "subscriptions/a/resourceGroups/b",
        ] {
            assert!(ArmId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pool_names_follow_azures_rules() {
        for good in ["a", "user", "np1", "abcdefghijkl"] {
            assert!(PoolName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "User", "a-b", "abcdefghijklm", "a_b", "ä"] {
            assert!(PoolName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_buffer_name_is_deterministic_short_and_free() {
        let pool = PoolName::new("abcdefghijkl").unwrap();
        let first = pool.buffer(false, &[]).unwrap();
        assert_eq!(first.as_str(), "abcdefghijbf");
        assert_eq!(pool.buffer(false, std::slice::from_ref(&first)).unwrap().as_str(), "abcdefghijb0");
        assert_eq!(PoolName::new("npwin").unwrap().buffer(true, &[]).unwrap().as_str(), "npwibf");
        let all: Vec<_> = std::iter::once(first)
            .chain((0..10).map(|n| PoolName::new(format!("abcdefghijb{n}")).unwrap()))
            .collect();
        assert!(pool.buffer(false, &all).is_err());
    }

    #[test]
    fn object_names_refuse_what_could_leave_its_place_in_a_url() {
        assert_eq!("pay/ledger".parse::<ObjectName>().unwrap().to_string(), "pay/ledger");
        for bad in ["", "pay", "pay/", "/ledger", "pay/led ger", "pay/a/b", "pay/..", "pay/\u{1b}[2J"] {
            assert!(bad.parse::<ObjectName>().is_err(), "{bad:?}");
        }
    }
}
