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
    let Some(spec) = service.spec.as_ref() else { return };
    let Some(selector) = spec.selector.as_ref().filter(|selector| !selector.is_empty()) else { return };
    if spec.type_.as_deref() == Some("ExternalName") {
        // Somebody else writes its endpoints.
        return;
    }
    let publish_all = spec.publish_not_ready_addresses.unwrap_or_default();
    let pods = world.store.pods_labelled(&key.namespace, selector);
    let pods = pods.filter(|pod| !pods::is_finished(pod));
    let facts: Vec<Facts<'_>> = pods.filter_map(|pod| Facts::of(world, pod, publish_all)).collect();
    let mut slices = world.store.owned_by::<EndpointSlice>(uid_of(&*service));
    let ports = ports(&service);
    let mut writes = Vec::new();
    let mut chunks = facts.chunks(FULL);
    let first = chunks.next().unwrap_or_default();
    for chunk in std::iter::once(first).chain(chunks) {
        match slices.next() {
            Some(slice) => writes.extend(Facts::change(chunk, slice, &ports)),
            None => writes.push(Write::Create(chunk.iter().map(Facts::endpoint).collect())),
        }
    }
    let surplus: Vec<Write> = slices.map(|slice| Write::Delete(name_of(slice))).collect();
    for write in surplus.into_iter().chain(writes) {
        carry_out(world, key, &service, &ports, write);
    }
}

/// What is to be done to a slice.
enum Write {
    Create(Vec<Endpoint>),
    /// The slice of this name gets these endpoints.
    Change(String, Vec<New>),
    Delete(String),
}

/// An endpoint of a slice that changes.
enum New {
    /// The one in this place, with these conditions.
    Old(usize, EndpointConditions),
    Other(Box<Endpoint>),
}

fn name_of(slice: &EndpointSlice) -> String {
    slice.metadata.name.clone().unwrap_or_default()
}

/// What an endpoint says of a pod.
struct Facts<'a> {
    pod: &'a Pod,
    address: &'a str,
    conditions: EndpointConditions,
    node: Option<&'a str>,
    zone: Option<&'a str>,
}

impl<'a> Facts<'a> {
    fn of(world: &'a World, pod: &'a Pod, publish_all: bool) -> Option<Self> {
        let address = pod.status.as_ref()?.pod_ip.as_deref()?;
        let (serving, terminating) = (pods::is_ready(pod), pods::is_terminating(pod));
        let conditions = EndpointConditions {
            ready: Some(publish_all || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        };
        let node = pods::node_of(pod);
        let zone = node.and_then(|node| world.kube.zones.get(node)).map(String::as_str);
        Some(Self { pod, address, conditions, node, zone })
    }

    fn endpoint(&self) -> Endpoint {
        let Key { namespace, name } = key_of(self.pod);
        Endpoint {
            addresses: vec![self.address.to_owned()],
            conditions: Some(self.conditions.clone()),
            node_name: self.node.map(str::to_owned),
            target_ref: Some(ObjectReference {
                kind: Some("Pod".to_owned()),
                namespace: Some(namespace),
                name: Some(name),
                uid: Some(uid_of(self.pod).to_owned()),
                ..ObjectReference::default()
            }),
            zone: self.zone.map(str::to_owned),
            ..Endpoint::default()
        }
    }

    /// Is this the pod's endpoint, but for its conditions?
    fn is_of(&self, endpoint: &Endpoint) -> bool {
        let target = endpoint.target_ref.as_ref();
        target.and_then(|target| target.uid.as_deref()) == Some(uid_of(self.pod))
            && target.and_then(|target| target.name.as_ref()) == self.pod.metadata.name.as_ref()
            && endpoint.addresses.len() == 1
            && endpoint.addresses[0] == self.address
            && endpoint.node_name.as_deref() == self.node
            && endpoint.zone.as_deref() == self.zone
    }

    /// What has to change in a slice, so that it says this.
    fn change(facts: &[Self], slice: &EndpointSlice, ports: &[EndpointPort]) -> Option<Write> {
        let old = slice.endpoints.as_deref().unwrap_or_default();
        let same = |(facts, endpoint): (&Self, &Endpoint)| {
            endpoint.conditions.as_ref() == Some(&facts.conditions) && facts.is_of(endpoint)
        };
        let is_so = slice.endpoints.is_some()
            && old.len() == facts.len()
            && facts.iter().zip(old).all(same)
            && slice.ports.as_deref() == Some(ports);
        if is_so {
            return None;
        }
        // Both are in the order of names.
        let mut place = 0;
        let new = facts.iter().map(|facts| match old[place..].iter().position(|old| facts.is_of(old)) {
            Some(further) => {
                place += further + 1;
                New::Old(place - 1, facts.conditions.clone())
            }
            None => New::Other(Box::new(facts.endpoint())),
        });
        Some(Write::Change(name_of(slice), new.collect()))
    }
}

fn carry_out(world: &mut World, key: &Key, service: &Service, ports: &[EndpointPort], write: Write) {
    match write {
        Write::Create(endpoints) => create(world, key, service, endpoints),
        Write::Change(name, new) => world.store.report::<EndpointSlice>(&key.namespace, &name, |slice| {
            let mut old: Vec<Option<Endpoint>> =
                slice.endpoints.take().into_iter().flatten().map(Some).collect();
            let endpoint = |new| match new {
                New::Old(place, conditions) => {
                    let endpoint = old.get_mut(place).and_then(Option::take)?;
                    Some(Endpoint { conditions: Some(conditions), ..endpoint })
                }
                New::Other(endpoint) => Some(*endpoint),
            };
            slice.endpoints = Some(new.into_iter().filter_map(endpoint).collect());
            slice.ports = Some(ports.to_vec());
        }),
        Write::Delete(name) => {
            world.store.delete::<EndpointSlice>(&key.namespace, &name).expect("it was just listed");
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
