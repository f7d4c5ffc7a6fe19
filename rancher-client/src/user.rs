//! The user whom the token stands for.

use serde::Deserialize;
use serde_json::Value;

use crate::answer::Operation;
use crate::client::RancherClient;
use crate::error::{DecodeError, Error};

/// A user of a Rancher server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// The id, such as `u-abcde` or `user-abcde`.
    pub id: String,
    /// The name to log in with; empty for users of an external provider.
    pub username: String,
    /// The display name; may be empty.
    pub name: String,
    /// False when an administrator has switched the user off.
    pub enabled: bool,
    /// Who the user is at the providers, such as `local://u-abcde`.
    pub principal_ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    id: String,
    username: Option<String>,
    name: Option<String>,
    enabled: Option<bool>,
    principal_ids: Option<Vec<String>>,
    me: Option<Value>,
}

impl Wire {
    fn read(value: Value) -> Result<Self, DecodeError> {
        serde_path_to_error::deserialize(value).map_err(|e| DecodeError::from_serde(&e))
    }

    /// Rancher keeps a text there and shows a boolean; both have been seen.
    fn is_me(&self) -> Option<bool> {
        match self.me.as_ref()? {
            Value::Bool(me) => Some(*me),
            Value::String(text) => Some(text == "true"),
            _ => None,
        }
    }
}

impl RancherClient {
    /// The user whom the token in use stands for. A token that is limited to one cluster may not ask.
    ///
    /// Rancher ignores filters that it does not know, so a list of other users is not believed: it is
    /// [`Error::UnexpectedBody`] unless exactly one of them is marked as the caller.
    pub async fn user(&self) -> Result<User, Error> {
        let operation = operation();
        let found = self.collect("v3/users", "me=true", Some("me"), &operation).await?;
        let filtered = found.filtered;
        let users = found.items.into_iter().map(|item| item.read(&operation, Wire::read));
        let users = users.collect::<Result<Vec<_>, _>>()?;
        let only = users.len() == 1;
        let is_caller = |user: &Wire| user.is_me().unwrap_or(only && filtered);
        let mut callers: Vec<Wire> = users.into_iter().filter(is_caller).collect();
        match (callers.pop(), callers.is_empty()) {
            (Some(user), true) => Ok(User {
                id: user.id,
                username: user.username.unwrap_or_default(),
                name: user.name.unwrap_or_default(),
                enabled: user.enabled.unwrap_or(true),
                principal_ids: user.principal_ids.unwrap_or_default(),
            }),
            _ => Err(operation.unexpected(DecodeError::new("data", "exactly one user marked `me` expected"))),
        }
    }

    /// The id of the user whom the token stands for: from the list of users, and where this Rancher has none any more,
    /// from the extension API (2.13 and later).
    pub async fn user_id(&self) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct SelfUser {
            status: Status,
        }
        #[derive(Deserialize)]
        struct Status {
            #[serde(rename = "userID")]
            user_id: String,
        }
        match self.user().await {
            Ok(user) => Ok(user.id),
            Err(error @ Error::NotFound { .. }) => {
                // The object is an answer only; Rancher keeps nothing.
                let answer = self.post_json("v1/ext.cattle.io.selfusers", "{}", &operation()).await;
                answer.map(|user: SelfUser| user.status.user_id).map_err(|_| error)
            }
            Err(error) => Err(error),
        }
    }
}

fn operation() -> Operation {
    Operation { text: "read the token's user".into(), subject: "the list of users".into(), in_cluster: false }
}
