//! What a world begins with.

mod app;
mod demo;
mod file;
mod inventory;
#[cfg(feature = "http")]
mod large;
mod objects;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use upgrade_core::inventory::{ClusterIdentity, DeprecatedApi, Ownership, RancherFacts, SecondWriter};
use upgrade_core::model::{ManagedCluster, NodeName, Pool, PoolName, Resources};

pub use file::{Story, StoryError};

use crate::actors::Actor;
use crate::azure::{AzureLimits, PoolSpec, node_image};
use crate::faults::Fault;
use crate::kube::{DISK_DRIVER, FILE_DRIVER};
use crate::rancher::RancherDeed;
use crate::site::Site;
use crate::store::Stored;
use crate::timing::TimingModel;
use crate::world::World;

/// What a world begins with: a cluster in Azure and Rancher, its pools, and the objects in it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The first moment.
    pub start: Timestamp,
    /// Which cluster it is. The evidence is not looked at: the lab's Rancher and Azure make their own.
    pub identity: ClusterIdentity,
    /// What Rancher says of it.
    pub rancher: RancherFacts,
    /// What somebody does in Rancher, and how long after the first moment.
    pub deeds: Vec<(Duration, RancherDeed)>,
    /// The cluster in Azure, at rest.
    pub cluster: ManagedCluster,
    /// Its pools, at rest.
    pub pools: Vec<Pool>,
    /// What pods may use on the machine sizes that occur.
    pub sizes: BTreeMap<String, Resources>,
    /// What Azure leaves room for, and when it may act by itself.
    pub limits: AzureLimits,
    /// How long things take.
    pub timing: TimingModel,
    /// The sizes of images in bytes, where they matter; others get one from the seed.
    pub images: BTreeMap<String, u64>,
    /// The objects that somebody has applied, in order. Namespaces are made as they are needed.
    pub objects: Vec<Manifest>,
    /// The deprecated APIs that somebody requests, as the API server counts them.
    pub deprecated_apis: Vec<DeprecatedApi>,
    /// Those who work on the cluster beside Drover, from the moment it is handed over.
    pub actors: Vec<Actor>,
    /// What goes wrong, counted from the same moment.
    pub faults: Vec<Fault>,
    /// The names of pools' machines, where they are not Azure's first ones.
    pub(crate) names: BTreeMap<PoolName, Vec<NodeName>>,
}

/// An object that somebody has applied.
#[derive(Clone, Debug)]
pub struct Manifest {
    namespace: Option<String>,
    create: std::sync::Arc<dyn Create>,
}

trait Create: std::fmt::Debug + Send + Sync {
    fn create(&self, world: &mut World);
}

#[derive(Debug)]
struct Of<T>(T);

impl<T: Stored> Create for Of<T> {
    fn create(&self, world: &mut World) {
        world.store.create(self.0.clone()).expect("a scenario's objects are its own and valid");
    }
}

impl<T: Stored> From<T> for Manifest {
    fn from(object: T) -> Self {
        Self { namespace: object.metadata().namespace.clone(), create: std::sync::Arc::new(Of(object)) }
    }
}

impl Scenario {
    /// The same cluster with a record of it in Rancher that says nothing about version and pools.
    #[must_use]
    pub fn unmanaged(self) -> Self {
        self.owned(Ownership::Unmanaged)
    }

    /// The same cluster managed by Rancher, which wants what Azure has and reads it every `refresh`.
    #[must_use]
    pub fn managed(self, refresh: Duration) -> Self {
        let refresh_seconds = refresh.as_secs();
        self.owned(Ownership::Managed(SecondWriter {
            out_of_sync: Vec::new(),
            refresh_seconds,
            last_refresh: None,
        }))
    }

    /// The same cluster managed by a Rancher that wants versions of long ago, cannot have them, and so adopts nothing.
    #[must_use]
    pub fn managed_stale(self) -> Self {
        let out_of_sync = vec!["it wants versions of long ago".to_owned()];
        self.owned(Ownership::Managed(SecondWriter { out_of_sync, refresh_seconds: 300, last_refresh: None }))
    }

    fn owned(self, ownership: Ownership) -> Self {
        Self { rancher: RancherFacts { ownership, ..self.rancher }, ..self }
    }

    /// What a machine of a pool is like.
    pub fn pool_spec(&self, pool: &Pool) -> PoolSpec {
        PoolSpec {
            name: pool.name.clone(),
            vm_size: pool.vm_size.clone(),
            allocatable: Site::of(self).allocatable(&pool.vm_size),
            max_pods: pool.max_pods,
            zones: pool.zones.clone(),
            labels: pool.labels.clone(),
            taints: pool.taints.clone(),
            os: pool.os.clone(),
            mode: pool.mode.clone(),
            version: pool.version,
            node_image: node_image(&pool.os, pool.version),
        }
    }

    /// The names of a pool's machines at the first moment, in the order of their numbers.
    pub fn machine_names(&self, pool: &PoolName) -> Vec<NodeName> {
        if let Some(names) = self.names.get(pool) {
            return names.clone();
        }
        let Some(pool) = self.pools.iter().find(|p| p.name == *pool) else { return Vec::new() };
        let (site, spec) = (Site::of(self), self.pool_spec(pool));
        (0..pool.count).map(|instance| site.node_name(&spec, instance)).collect()
    }

    /// Puts the namespaces that every cluster has into a new world.
    pub(crate) fn found(&self, world: &mut World) {
        world.kube.registry.clone_from(&self.images);
        world.deprecated_apis.clone_from(&self.deprecated_apis);
        let uid = self.identity.kube_system.to_string();
        root_authority(world, &uid);
        for name in ["default", "kube-node-lease", "kube-public"] {
            namespace(world, name, None);
        }
        storage_classes(world);
    }

    /// Puts machines and objects into a new world.
    pub(crate) fn build(&self, world: &mut World) {
        for pool in &self.pools {
            let spec = self.pool_spec(pool);
            for (instance, name) in (0..).zip(self.machine_names(&pool.name)) {
                world.found_machine(&name, &spec, instance);
            }
        }
        for object in &self.objects {
            ensure_namespace(world, object.namespace.as_deref());
            object.create.create(world);
        }
    }
}

/// Makes the namespace if there is none of the name yet.
fn ensure_namespace(world: &mut World, name: Option<&str>) {
    if let Some(name) = name
        && world.store.get::<Namespace>("", name).is_none()
    {
        namespace(world, name, None);
    }
}

/// `kube-system`, with the authority by which pods know the API server (Kubernetes: root CA certificate publisher).
fn root_authority(world: &mut World, uid: &str) {
    namespace(world, "kube-system", Some(uid.to_owned()));
    let metadata = ObjectMeta {
        name: Some("kube-root-ca.crt".to_owned()),
        namespace: Some("kube-system".to_owned()),
        uid: Some(format!("{uid}-ca")),
        ..ObjectMeta::default()
    };
    let data = [("ca.crt".to_owned(), world.azure.authority().to_owned())];
    let authority = ConfigMap { metadata, data: Some(data.into()), ..ConfigMap::default() };
    world.store.found(authority).expect("it is the first one");
}

/// Another cluster answers: its `kube-system` is another one.
pub(crate) fn other_kube_system(world: &mut World) {
    let uid = world.store.get::<Namespace>("", "kube-system").and_then(|found| found.metadata.uid.clone());
    let uid = uid.unwrap_or_default();
    // Somebody may have deleted it.
    let _ = world.store.delete::<Namespace>("", "kube-system");
    namespace(world, "kube-system", Some(format!("{uid}-another")));
}

fn namespace(world: &mut World, name: &str, uid: Option<String>) {
    let labels = [("kubernetes.io/metadata.name".to_owned(), name.to_owned())];
    let metadata =
        ObjectMeta { name: Some(name.to_owned()), labels: Some(labels.into()), uid, ..ObjectMeta::default() };
    world.store.create(Namespace { metadata, ..Namespace::default() }).expect("each namespace is made once");
}

/// The storage classes that AKS brings along: disks wait for their first pod, file shares are made at once.
fn storage_classes(world: &mut World) {
    let (disk, file) = ((DISK_DRIVER, "WaitForFirstConsumer"), (FILE_DRIVER, "Immediate"));
    for (name, (driver, mode)) in [
        ("azurefile-csi", file),
        ("azurefile-csi-premium", file),
        ("default", disk),
        ("managed-csi", disk),
        ("managed-csi-premium", disk),
    ] {
        let class = StorageClass {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            allow_volume_expansion: Some(true),
            provisioner: driver.to_owned(),
            reclaim_policy: Some("Delete".to_owned()),
            volume_binding_mode: Some(mode.to_owned()),
            ..StorageClass::default()
        };
        world.store.create(class).expect("each class is made once");
    }
}
