//! Services, their endpoints, and volume claims.

use serde::{Deserialize, Serialize};

use super::{Labels, NodeName, ObjectName, Shared};

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Namespace and name.
    pub name: ObjectName,
    /// The pods behind it; empty for Services whose endpoints somebody else writes.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub selector: Labels,
    /// Its type.
    pub service_type: ServiceType,
    /// `externalTrafficPolicy: Local`: a node without a local endpoint drops out of the load balancer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub local_traffic_only: bool,
    /// `publishNotReadyAddresses`: "ready" in its endpoints says nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub publishes_unready: bool,
}

/// A Service's type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceType {
    /// Inside the cluster.
    ClusterIP,
    /// On every node.
    NodePort,
    /// Behind an Azure load balancer.
    LoadBalancer,
    /// A DNS alias, without endpoints.
    ExternalName,
    /// A type of a newer Kubernetes.
    #[serde(untagged)]
    Unknown(String),
}

impl Service {
    /// Does it send traffic to pods with these labels in `namespace`?
    pub fn selects(&self, namespace: &str, labels: &Labels) -> bool {
        !self.selector.is_empty()
            && self.name.namespace() == namespace
            && self.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// An EndpointSlice: a part of a Service's endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSlice {
    /// Namespace and name of the slice.
    pub name: ObjectName,
    /// The name of its Service (label `kubernetes.io/service-name`), in the same namespace.
    pub service: Option<String>,
    /// The endpoints.
    pub endpoints: Shared<Vec<Endpoint>>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// The first address; the same endpoint may stand in several slices.
    pub address: String,
    /// The pod behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<ObjectName>,
    /// The node it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// Takes new connections. An absent condition counts as true, as the API says.
    pub ready: bool,
}

/// A PersistentVolumeClaim with what its volume says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Namespace and name.
    pub name: ObjectName,
    /// It can be mounted on several nodes at once (an access mode with `Many`).
    pub shared: bool,
    /// Its volume is a disk of Azure, of which a node takes so many and no more. False as well where volumes cannot be read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disk: bool,
    /// The zones its volume can be used in; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// The nodes its volume lies on, by host name; empty for a volume that is not part of a node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}
