//! Azure: the managed cluster, its pools and their long-running operations.

mod pool;

pub use pool::PoolSpec;
pub(crate) use pool::node_image;

use crate::scenario::Scenario;
use crate::world::World;

/// Azure's side of the world.
#[derive(Clone, Debug)]
pub struct Azure {}

/// Something that will happen in Azure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AzureWake {}

impl Azure {
    pub(crate) fn new(_scenario: &Scenario) -> Self {
        Self {}
    }
}

/// Carries out what is due.
pub(crate) fn on_wake(_world: &mut World, wake: AzureWake) {
    match wake {}
}
