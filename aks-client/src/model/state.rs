//! Where a resource stands.

use std::fmt;

/// The provisioning state of a cluster or a pool.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ProvisioningState {
    /// The last operation ended well. Says nothing about the nodes.
    Succeeded,
    /// The last operation failed; the resource accepts a new one.
    Failed,
    /// The last operation was aborted; the resource accepts a new one.
    Canceled,
    /// Any other state, as the service named it: an operation is under way and every write is refused.
    Busy(String),
}

impl ProvisioningState {
    /// Reads a state in any case; what is not one of the three final states is busy.
    ///
    /// ```
    /// use aks_client::ProvisioningState;
    ///
    /// assert_eq!(ProvisioningState::parse("succeeded"), ProvisioningState::Succeeded);
    /// assert!(!ProvisioningState::parse("UpgradingNodeImageVersion").is_terminal());
    /// ```
    pub fn parse(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "succeeded" => Self::Succeeded,
            "failed" => Self::Failed,
            "canceled" | "cancelled" => Self::Canceled,
            _ => Self::Busy(text.to_owned()),
        }
    }

    /// Whether no operation is under way.
    pub fn is_terminal(&self) -> bool {
        !matches!(self, Self::Busy(_))
    }

    /// The state as text; a busy one as the service spelled it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
            Self::Busy(state) => state,
        }
    }
}

impl fmt::Display for ProvisioningState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_three_final_states_accept_a_write() {
        for (text, terminal) in [
            ("Succeeded", true),
            ("FAILED", true),
            ("Canceled", true),
            ("Cancelled", true),
            ("Upgrading", false),
            ("Canceling", false),
            ("SomethingNew", false),
            ("", false),
        ] {
            assert_eq!(ProvisioningState::parse(text).is_terminal(), terminal, "{text}");
        }
        assert_eq!(ProvisioningState::parse("Migrating").as_str(), "Migrating");
    }
}
