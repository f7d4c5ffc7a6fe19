//! A machine of a pool.

use serde_json::Value;

use super::ShapeError;
use crate::value::{list_at, text_at, texts_at};

/// A machine of a pool: the JSON of the GET, with typed views. Its name is that of its Kubernetes node.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    raw: Value,
    name: String,
}

impl Machine {
    /// A machine from its JSON, which must have a name.
    pub fn from_value(raw: Value) -> Result<Self, ShapeError> {
        let name = text_at(&raw, &["name"])
            .ok_or(ShapeError { what: "a machine", reason: "it has no name" })?
            .to_owned();
        Ok(Self { raw, name })
    }

    /// The JSON it came as.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// The name, which is the node's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The ARM id of the virtual machine behind it.
    pub fn vm_id(&self) -> Option<&str> {
        text_at(&self.raw, &["properties", "resourceId"])
    }

    /// Its zone, in a list as ARM has it.
    pub fn zones(&self) -> Vec<&str> {
        texts_at(&self.raw, &["zones"])
    }

    /// Its addresses, of either family.
    pub fn addresses(&self) -> Vec<&str> {
        let addresses = list_at(&self.raw, &["properties", "network", "ipAddresses"]).iter();
        addresses.filter_map(|address| text_at(address, &["ip"])).collect()
    }
}
