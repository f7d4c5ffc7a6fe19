//! The Rancher server.

use crate::scenario::Scenario;

/// Rancher's side of the world.
#[derive(Clone, Debug)]
pub struct Rancher {}

impl Rancher {
    pub(crate) fn new(_scenario: &Scenario) -> Self {
        Self {}
    }
}
