//! The filters for volumes: VolumeRestrictions, NodeVolumeLimits, VolumeBinding, VolumeZone. And the disks that are made when a
//! claim's first consumer has found its node.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, ObjectReference,
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, PersistentVolumeStatus, Pod,
    VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::{CSINode, StorageClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use upgrade_core::model::NodeSelectorTerm as NodeRule;

use super::cache::Place;
use super::filter::Refusal;
use super::needs::Needs;
use crate::ports::rules;
use crate::store::{Key, Store};
use crate::world::World;

/// The driver of Azure's disks.
pub(crate) const DISK_DRIVER: &str = "disk.csi.azure.com";
/// The driver of Azure's file shares.
pub(crate) const FILE_DRIVER: &str = "file.csi.azure.com";
const ZONE_LABELS: [&str; 4] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];

/// One volume: its driver and what it is called there.
pub(super) type Handle = (String, String);

/// What a pod's claims ask of a node.
pub(super) struct Volumes {
    /// Where the bound volumes are, and where those that are still to be made may be.
    places: Vec<Vec<NodeRule>>,
    /// Zone and region labels of bound volumes; several values are joined with `__`.
    zones: Vec<(String, Vec<String>)>,
    handles: BTreeSet<Handle>,
    /// A `ReadWriteOncePod` claim that another pod uses.
    taken: bool,
}

impl Volumes {
    pub(super) fn of(pod: &Needs, store: &Store) -> Result<Self, Refusal> {
        let (places, zones, handles) = Default::default();
        let mut volumes = Self { places, zones, handles, taken: false };
        for name in &pod.claims {
            let namespace = pod.key.namespace.as_str();
            let Some(claim) = store.get::<PersistentVolumeClaim>(namespace, name) else {
                return Err(Refusal::for_good(format!("persistentvolumeclaim \"{name}\" not found")));
            };
            volumes.taken |= is_exclusive(claim) && is_used(store, pod, name);
            match volume_of(store, claim) {
                Some(volume) => volumes.bound(volume),
                None if is_immediate(store, claim) => {
                    return Err(Refusal::for_good("pod has unbound immediate PersistentVolumeClaims"));
                }
                None => volumes.places.extend(allowed_topologies(store, claim)),
            }
            volumes.handles.extend(handle(store, claim));
        }
        Ok(volumes)
    }

    fn bound(&mut self, volume: &PersistentVolume) {
        let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
        if let Some(required) = affinity {
            self.places.push(required.node_selector_terms.iter().map(rules::node_term).collect());
        }
        for (key, value) in volume.metadata.labels.iter().flatten() {
            if ZONE_LABELS.contains(&key.as_str()) {
                self.zones.push((key.clone(), value.split("__").map(str::to_owned).collect()));
            }
        }
    }

    /// The pod has no claims.
    pub(super) fn is_nothing(&self) -> bool {
        !self.taken && self.places.is_empty() && self.zones.is_empty() && self.handles.is_empty()
    }

    pub(super) fn refusal(&self, place: &Place, store: &Store) -> Option<Refusal> {
        if self.taken {
            let why = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";
            return Some(Refusal::for_now(why));
        }
        if exceeds_limits(&self.handles, place, store) {
            return Some(Refusal::for_now("node(s) exceed max volume count"));
        }
        let node = &place.node;
        if !self.places.iter().all(|terms| terms.iter().any(|term| term.matches(node))) {
            return Some(Refusal::for_good("node(s) had volume node affinity conflict"));
        }
        let zonal = || ZONE_LABELS.iter().any(|key| node.labels.contains_key(*key));
        let suits = |(key, values): &(String, Vec<String>)| {
            node.labels.get(key).is_some_and(|here| values.contains(here))
        };
        (!self.zones.iter().all(suits) && zonal())
            .then(|| Refusal::for_good("node(s) had no available volume zone"))
    }
}

/// Only one pod at a time may use it.
fn is_exclusive(claim: &PersistentVolumeClaim) -> bool {
    let modes = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_ref());
    modes.into_iter().flatten().any(|mode| mode == "ReadWriteOncePod")
}

fn is_used(store: &Store, pod: &Needs, claim: &str) -> bool {
    let uses = |other: &Pod| {
        let spec = other.spec.as_ref();
        let volumes = spec.into_iter().flat_map(|spec| spec.volumes.iter().flatten());
        let mut claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
        super::pods::node_of(other).is_some()
            && !super::pods::is_finished(other)
            && claims.any(|used| used.claim_name == claim)
    };
    store.list_in::<Pod>(&pod.key.namespace).any(|other| super::uid_of(&**other) != pod.uid && uses(other))
}

/// The volume that a claim is bound to.
pub(crate) fn volume_of<'s>(store: &'s Store, claim: &PersistentVolumeClaim) -> Option<&'s PersistentVolume> {
    let name = claim.spec.as_ref()?.volume_name.as_deref()?;
    store.get::<PersistentVolume>("", name).map(|volume| &**volume)
}

fn class_of<'s>(store: &'s Store, claim: &PersistentVolumeClaim) -> Option<&'s StorageClass> {
    let name = claim.spec.as_ref()?.storage_class_name.as_deref()?;
    store.get::<StorageClass>("", name).map(|class| &**class)
}

/// Is the claim's volume made before there is a pod? Classes that nobody has described wait for their first consumer, as AKS'
/// classes for disks do.
fn is_immediate(store: &Store, claim: &PersistentVolumeClaim) -> bool {
    let class = class_of(store, claim);
    class.is_some_and(|class| class.volume_binding_mode.as_deref() != Some("WaitForFirstConsumer"))
}

/// Where the class allows the volume to be.
fn allowed_topologies(store: &Store, claim: &PersistentVolumeClaim) -> Option<Vec<NodeRule>> {
    let terms = class_of(store, claim)?.allowed_topologies.as_ref().filter(|terms| !terms.is_empty())?;
    let term = |term: &k8s_openapi::api::core::v1::TopologySelectorTerm| NodeSelectorTerm {
        match_expressions: Some(
            term.match_label_expressions
                .iter()
                .flatten()
                .map(|expression| NodeSelectorRequirement {
                    key: expression.key.clone(),
                    operator: "In".to_owned(),
                    values: Some(expression.values.clone()),
                })
                .collect(),
        ),
        match_fields: None,
    };
    Some(terms.iter().map(|wanted| rules::node_term(&term(wanted))).collect())
}

/// The driver that serves a claim, and what the volume is called there; one that is not made yet goes by its claim.
fn handle(store: &Store, claim: &PersistentVolumeClaim) -> Option<Handle> {
    if let Some(volume) = volume_of(store, claim) {
        let source = volume.spec.as_ref()?.csi.as_ref()?;
        return Some((source.driver.clone(), source.volume_handle.clone()));
    }
    let class = class_of(store, claim);
    let driver = class.map_or(DISK_DRIVER, |class| class.provisioner.as_str());
    let Key { namespace, name } = super::key_of(claim);
    Some((driver.to_owned(), format!("{namespace}/{name}")))
}

/// Would the node have more volumes of a driver than it can attach? A driver that has not registered has no limit yet.
fn exceeds_limits(new: &BTreeSet<Handle>, place: &Place, store: &Store) -> bool {
    if new.is_empty() {
        return false;
    }
    let Some(csi) = store.get::<CSINode>("", place.node.name.as_str()) else { return false };
    let limits: BTreeMap<&str, usize> = csi
        .spec
        .drivers
        .iter()
        .filter_map(|driver| {
            let count = driver.allocatable.as_ref()?.count?;
            Some((driver.name.as_str(), usize::try_from(count).ok()?))
        })
        .collect();
    if !new.iter().any(|(driver, _)| limits.contains_key(driver.as_str())) {
        return false;
    }
    let mut there: BTreeSet<Handle> = place
        .pods
        .values()
        .flat_map(|pod| pod.claims.iter().map(|claim| (pod.key.namespace.as_str(), claim)))
        .filter_map(|(namespace, claim)| handle(store, store.get::<PersistentVolumeClaim>(namespace, claim)?))
        .collect();
    there.extend(place.attached.iter().cloned());
    let adds = new.difference(&there).map(|(driver, _)| driver.as_str()).collect::<Vec<_>>();
    limits.iter().any(|(driver, most)| {
        let more = adds.iter().filter(|added| *added == driver).count();
        more > 0 && there.iter().filter(|(of, _)| of == driver).count() + more > *most
    })
}

/// Makes disks for the pod's claims that wait for their first consumer, in the zone of its node.
pub(super) fn provision(world: &mut World, key: &Key, zone: Option<&str>) {
    let Some(pod) = world.store.get::<Pod>(&key.namespace, &key.name) else { return };
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let claims =
        volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone()));
    let claims: Vec<String> = claims.collect();
    for claim in claims {
        bind(world, &Key::new(key.namespace.as_str(), claim), zone);
    }
}

/// Makes the volume of a claim that has none, and binds them.
pub(crate) fn bind(world: &mut World, key: &Key, zone: Option<&str>) {
    let Some(claim) = world.store.get::<PersistentVolumeClaim>(&key.namespace, &key.name).cloned() else {
        return;
    };
    let spec = claim.spec.clone().unwrap_or_default();
    if spec.volume_name.is_some() {
        return;
    }
    let driver =
        class_of(&world.store, &claim).map_or(DISK_DRIVER, |class| class.provisioner.as_str()).to_owned();
    let name = format!("pvc-{}", super::uid_of(&*claim));
    // A file share is reached from everywhere.
    let zone = zone.filter(|zone| *zone != "0" && driver == DISK_DRIVER);
    let volume = PersistentVolume {
        metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.access_modes.clone(),
            capacity: spec.resources.and_then(|resources| resources.requests),
            claim_ref: Some(reference(key)),
            csi: Some(CSIPersistentVolumeSource {
                driver,
                volume_handle: name.clone(),
                ..CSIPersistentVolumeSource::default()
            }),
            node_affinity: zone.map(zonal),
            storage_class_name: spec.storage_class_name.clone(),
            ..PersistentVolumeSpec::default()
        }),
        status: Some(PersistentVolumeStatus {
            phase: Some("Bound".to_owned()),
            ..PersistentVolumeStatus::default()
        }),
    };
    world.store.create(volume).expect("a uid is used once");
    let _ = world.store.update::<PersistentVolumeClaim>(&key.namespace, &key.name, |claim| {
        claim.spec.get_or_insert_default().volume_name = Some(name);
        claim.status.get_or_insert_default().phase = Some("Bound".to_owned());
    });
}

/// A volume's reference to its claim.
fn reference(claim: &Key) -> ObjectReference {
    ObjectReference {
        kind: Some("PersistentVolumeClaim".to_owned()),
        namespace: Some(claim.namespace.clone()),
        name: Some(claim.name.clone()),
        ..ObjectReference::default()
    }
}

/// A disk's node affinity: its zone.
fn zonal(zone: &str) -> VolumeNodeAffinity {
    let requirement = NodeSelectorRequirement {
        key: "topology.disk.csi.azure.com/zone".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![zone.to_owned()]),
    };
    let term = NodeSelectorTerm { match_expressions: Some(vec![requirement]), match_fields: None };
    VolumeNodeAffinity { required: Some(NodeSelector { node_selector_terms: vec![term] }) }
}
