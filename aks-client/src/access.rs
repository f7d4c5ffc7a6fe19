//! What may be done to a resource: locks upon it, and the caller's permissions.

use std::fmt;

use serde_json::Value;

use crate::client::AksClient;
use crate::error::Error;
use crate::pace::Lane;
use crate::resource_id::ResourceId;
use crate::value::{text_at, texts_at};

const LOCKS_VERSION: &str = "2020-05-01";
const PERMISSIONS_VERSION: &str = "2022-04-01";

/// What a lock forbids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockLevel {
    /// Deleting.
    CanNotDelete,
    /// Deleting and changing.
    ReadOnly,
    /// A level this crate does not know.
    Other(String),
}

/// A management lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Its name.
    pub name: String,
    /// What it forbids.
    pub level: LockLevel,
    /// Why, if somebody wrote it down.
    pub notes: Option<String>,
    /// What it was put on. It holds for everything below, too.
    pub scope: ResourceId,
}

impl Lock {
    /// Whether it holds for `resource`.
    pub fn covers(&self, resource: &ResourceId) -> bool {
        self.scope.covers(resource)
    }

    pub(crate) fn read(value: &Value) -> Option<Self> {
        let level = text_at(value, &["properties", "level"])?;
        // The lock's own id: its scope, `providers`, `Microsoft.Authorization`, `locks`, its name.
        let mut scope = text_at(value, &["id"])?;
        for _ in 0..4 {
            scope = scope.rsplit_once('/')?.0;
        }
        Some(Self {
            name: text_at(value, &["name"])?.to_owned(),
            level: match level {
                _ if level.eq_ignore_ascii_case("CanNotDelete") => LockLevel::CanNotDelete,
                _ if level.eq_ignore_ascii_case("ReadOnly") => LockLevel::ReadOnly,
                other => LockLevel::Other(other.to_owned()),
            },
            notes: text_at(value, &["properties", "notes"]).map(str::to_owned),
            scope: scope.parse().ok()?,
        })
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forbids = match &self.level {
            LockLevel::CanNotDelete => "forbids deleting",
            LockLevel::ReadOnly => "forbids every change",
            LockLevel::Other(level) => level,
        };
        write!(f, "lock {} on {} {forbids}", self.name, self.scope)
    }
}

/// The actions a caller may take at one scope, by all its roles together.
///
/// Deny assignments and policies are not part of it: what this allows may still be refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    roles: Vec<Role>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Role {
    actions: Vec<String>,
    not_actions: Vec<String>,
}

impl Permissions {
    /// Permissions from a list as ARM answers it: objects with `actions` and `notActions`.
    ///
    /// ```
    /// use aks_client::Permissions;
    /// use serde_json::json;
    ///
    /// let granted = Permissions::from_values(&[
    ///     json!({"actions": ["*/read"], "notActions": []}),
    ///     json!({"actions": ["Microsoft.ContainerService/*"], "notActions": ["*/delete"]})]);
    /// assert!(granted.allows("Microsoft.ContainerService/managedClusters/write"));
    /// assert!(!granted.allows("Microsoft.ContainerService/managedClusters/agentPools/delete"));
    /// assert_eq!(granted.missing(&["Microsoft.Compute/skus/read", "Microsoft.Compute/disks/write"]),
    ///     ["Microsoft.Compute/disks/write"]);
    /// ```
    pub fn from_values(values: &[Value]) -> Self {
        let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
        let roles = values.iter().map(|value| Role {
            actions: owned(texts_at(value, &["actions"])),
            not_actions: owned(texts_at(value, &["notActions"])),
        });
        Self { roles: roles.collect() }
    }

    /// Whether some role grants `action`. What one role leaves out (`notActions`) another may grant.
    pub fn allows(&self, action: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, action));
        self.roles.iter().any(|role| any(&role.actions) && !any(&role.not_actions))
    }

    /// Those of `actions` that no role grants.
    pub fn missing<'a>(&self, actions: &[&'a str]) -> Vec<&'a str> {
        actions.iter().copied().filter(|action| !self.allows(action)).collect()
    }
}

/// Whether `action` fits `pattern`, in which `*` stands for any text, slashes included. Without regard to case.
fn matches(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    let Some((begin, rest)) = pattern.split_once('*') else { return pattern == action };
    let Some(mut left) = action.strip_prefix(begin) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let end = pieces.pop().unwrap_or_default();
    // Each piece at its first place: that leaves the most for those after it.
    for piece in pieces {
        let Some((_, after)) = left.split_once(piece) else { return false };
        left = after;
    }
    left.ends_with(end)
}

impl AksClient {
    /// Every lock on `scope` and on what lies below it; for a resource group also those on its resources.
    ///
    /// Needs `Microsoft.Authorization/locks/read`. Locks above the scope are not among them: ask the subscription, too.
    pub async fn locks(&self, scope: &ResourceId) -> Result<Vec<Lock>, Error> {
        let url = self.url_under(scope, &["providers", "Microsoft.Authorization", "locks"], LOCKS_VERSION);
        self.list(url, Lane::Arm, "a list of locks", |value| {
            Lock::read(value).ok_or("a lock without a level or a scope")
        })
        .await
    }

    /// What this caller may do at `scope`.
    pub async fn permissions(&self, scope: &ResourceId) -> Result<Permissions, Error> {
        let url = self.url_under(
            scope,
            &["providers", "Microsoft.Authorization", "permissions"],
            PERMISSIONS_VERSION,
        );
        let read = |value: &Value| match value.get("actions") {
            Some(Value::Array(_)) => Ok(value.clone()),
            _ => Err("a permission without actions"),
        };
        let values = self.list(url, Lane::Arm, "a list of permissions", read).await?;
        Ok(Permissions::from_values(&values))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pattern_fits_whole_actions_only() {
        let table = [
            ("*", "A.B/c/read", true),
            ("*/read", "A.B/c/read", true),
            ("*/read", "A.B/c/reads", false),
            ("A.B/*", "a.b/C/write", true),
            ("A.B/*/read", "A.B/c/d/read", true),
            ("A.B/*/read", "A.B/read", false),
            ("A.B/c/read", "A.B/c/read", true),
            ("A.B/c", "A.B/c/read", false),
            ("A.B/*/d/*", "A.B/c/d/action", true),
            ("*/c/*/read", "A.B/c/read", false),
            ("A*A", "A", false),
            ("", "A", false),
        ];
        for (pattern, action, expected) in table {
            assert_eq!(matches(pattern, action), expected, "{pattern} {action}");
        }
    }

    #[test]
    fn what_one_role_leaves_out_another_grants() {
        let one = json!({"actions": ["A.B/*"], "notActions": ["A.B/c/delete"]});
        let granted = Permissions::from_values(std::slice::from_ref(&one));
        assert!(granted.allows("A.B/c/write") && !granted.allows("A.B/c/delete"));
        let both = Permissions::from_values(&[one, json!({"actions": ["*/delete"]})]);
        assert!(both.allows("A.B/c/delete"));
        assert!(!Permissions::default().allows("A.B/c/read"));
    }

    #[test]
    fn a_lock_knows_what_it_was_put_on() {
        let group = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg";
        let value = json!({"id": format!("{group}/providers/Microsoft.Authorization/locks/keep"), "name": "keep",
            "properties": {"level": "readonly", "notes": "ask us"}});
        let lock = Lock::read(&value).unwrap();
        assert_eq!((&lock.level, lock.notes.as_deref()), (&LockLevel::ReadOnly, Some("ask us")));
        assert_eq!(lock.scope, group.parse().unwrap());
        assert!(lock.covers(&format!("{group}/providers/A.B/c/d").parse().unwrap()));
        assert_eq!(lock.to_string(), format!("lock keep on {group} forbids every change"));
        assert_eq!(Lock::read(&json!({"id": "/x", "name": "n", "properties": {"level": "ReadOnly"}})), None);
    }
}
