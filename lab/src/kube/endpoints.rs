//! The EndpointSlice controller: who takes a Service's traffic, a little later than the pods say.

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{controlled_by, key_of, pods, uid_of};
use crate::store::Key;
use crate::world::World;

/// A slice holds no more endpoints than this.
const FULL: usize = 100;
const SERVICE: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

pub(super) fn reconcile(world: &mut World, key: &Key) {
    let Some(service) = world.store.get::<Service>(&key.namespace, &key.name).cloned() else { return };
    let spec = service.spec.clone().unwrap_or_default();
    let selector = spec.selector.unwrap_or_default();
    if selector.is_empty() || spec.type_.as_deref() == Some("ExternalName") {
        // Somebody else writes its endpoints.
        return;
    }
    let publish_all = spec.publish_not_ready_addresses.unwrap_or_default();
    let pods = world.store.pods_labelled(&key.namespace, &selector);
    let pods = pods.filter(|pod| !pods::is_finished(pod));
    let endpoints: Vec<Endpoint> = pods.filter_map(|pod| endpoint(world, pod, publish_all)).collect();
    let mut chunks: Vec<Vec<Endpoint>> = endpoints.chunks(FULL).map(<[Endpoint]>::to_vec).collect();
    if chunks.is_empty() {
        chunks.push(Vec::new());
    }
    write(world, key, &service, chunks);
}

fn endpoint(world: &World, pod: &Pod, publish_all: bool) -> Option<Endpoint> {
    let address = pod.status.as_ref()?.pod_ip.clone()?;
    let (serving, terminating) = (pods::is_ready(pod), pods::is_terminating(pod));
    let node = pods::node_of(pod);
    let zone = node.and_then(|name| {
        let node = world.store.get::<k8s_openapi::api::core::v1::Node>("", name)?;
        node.metadata.labels.as_ref()?.get("topology.kubernetes.io/zone").cloned()
    });
    let Key { namespace, name } = key_of(pod);
    Some(Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(publish_all || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        node_name: node.map(str::to_owned),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: Some(namespace),
            name: Some(name),
            uid: Some(uid_of(pod).to_owned()),
            ..ObjectReference::default()
        }),
        zone,
        ..Endpoint::default()
    })
}

fn write(world: &mut World, key: &Key, service: &Service, chunks: Vec<Vec<Endpoint>>) {
    let mut names: Vec<String> = world
        .store
        .owned_by::<EndpointSlice>(uid_of(service))
        .filter_map(|slice| slice.metadata.name.clone())
        .collect();
    for name in names.split_off(names.len().min(chunks.len())) {
        world.store.delete::<EndpointSlice>(&key.namespace, &name).expect("it was just listed");
    }
    let mut names = names.into_iter();
    for endpoints in chunks {
        match names.next() {
            Some(name) => {
                let _ = world.store.update::<EndpointSlice>(&key.namespace, &name, |slice| {
                    slice.endpoints = Some(endpoints);
                    slice.ports = Some(ports(service));
                });
            }
            None => create(world, key, service, endpoints),
        }
    }
}

fn create(world: &mut World, key: &Key, service: &Service, endpoints: Vec<Endpoint>) {
    let labels = [(SERVICE, key.name.as_str()), (MANAGED_BY, "endpointslice-controller.k8s.io")];
    let slice = EndpointSlice {
        address_type: "IPv4".to_owned(),
        endpoints: Some(endpoints),
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", key.name)),
            namespace: Some(key.namespace.clone()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            owner_references: Some(vec![controlled_by(service)]),
            ..ObjectMeta::default()
        },
        ports: Some(ports(service)),
    };
    world.store.create(slice).expect("the name is generated");
}

fn ports(service: &Service) -> Vec<EndpointPort> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports
        .map(|port| EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(match &port.target_port {
                Some(IntOrString::Int(number)) => *number,
                Some(IntOrString::String(_)) | None => port.port,
            }),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            ..EndpointPort::default()
        })
        .collect()
}
