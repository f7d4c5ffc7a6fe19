//! From a file to the scenario that it tells.

use std::collections::BTreeMap;

use serde_json::Value;
use upgrade_core::Policy;
use upgrade_core::inventory::DeprecatedApi;
use upgrade_core::model::{
    AvailableUpgrade, Bytes, ManagedCluster, OsType, Pool, PoolMode, ProvisioningState, UpgradeSettings,
};

use super::format::{Deprecated, File, FilePool, Owned};
use super::{Story, StoryError};
use crate::scenario::{Manifest, Scenario, demo};
use crate::store::{Kind, KindVisitor, Stored, with_kind};

pub(super) fn story(name: &str, file: File) -> Result<Story, StoryError> {
    let wrong = |problem: String| StoryError::new(name, problem);
    let images = file.images.iter().map(|(image, size)| {
        let bytes = Bytes::parse(size).map_err(|error| wrong(format!("images: `{image}`: {error}")))?;
        Ok((image.clone(), bytes.0))
    });
    let images = images.collect::<Result<BTreeMap<_, _>, StoryError>>()?;
    let mut objects = Vec::new();
    if file.add_ons {
        objects.extend(demo::add_ons().into_iter().chain([demo::agent()]).flatten());
    }
    objects.extend(file.workloads.into_iter().flat_map(super::workload::Workload::manifests));
    for (number, manifest) in file.manifests.into_iter().enumerate() {
        let read = object(manifest).map_err(|problem| wrong(format!("manifests[{number}]: {problem}")))?;
        objects.push(read);
    }
    let base = Scenario::demo();
    let cluster = ManagedCluster {
        version: file.version,
        upgrades: file.offers.iter().map(|v| AvailableUpgrade { version: *v, preview: false }).collect(),
        ..base.cluster.clone()
    };
    let pools = file.pools.into_iter().map(|pool| read_pool(pool, file.version)).collect();
    let deprecated_apis = file.deprecated_apis.into_iter().map(DeprecatedApi::from).collect();
    let scenario = Scenario {
        cluster,
        pools,
        limits: file.azure,
        timing: base.timing.with(&file.timing),
        images,
        objects,
        deprecated_apis,
        actors: file.actors,
        faults: file.faults,
        ..base
    };
    let scenario = match file.rancher.ownership {
        Owned::Generic => scenario,
        Owned::Unmanaged => scenario.unmanaged(),
        Owned::Managed => scenario.managed(file.rancher.refresh),
        Owned::ManagedStale => scenario.managed_stale(),
    };
    let text = file.story.trim().to_owned();
    let policy = file.policy.over(Policy::default());
    Ok(Story { name: name.to_owned(), text, scenario, to: file.to, policy })
}

fn read_pool(pool: FilePool, version: upgrade_core::model::KubeVersion) -> Pool {
    let mode = PoolMode::from(pool.mode);
    let mut taints = pool.taints;
    if mode == PoolMode::System {
        taints.extend(demo::system_taints());
    }
    Pool {
        name: pool.name,
        mode,
        os: OsType::from(pool.os),
        version: pool.version.unwrap_or(version),
        count: pool.count,
        autoscaling: pool.autoscaling.map(|bounds| (bounds.min, bounds.max)),
        vm_size: pool.size,
        zones: pool.zones.iter().map(u8::to_string).collect(),
        max_pods: 110,
        labels: pool.labels,
        taints,
        tags: upgrade_core::model::Labels::new(),
        spot: pool.spot,
        stopped: false,
        scale_set: true,
        upgrade: UpgradeSettings { max_surge: Some("10%".to_owned()), max_unavailable: Some("0".to_owned()) },
        state: ProvisioningState::Succeeded,
        error: None,
    }
}

impl From<Deprecated> for DeprecatedApi {
    fn from(given: Deprecated) -> Self {
        let Deprecated { group, version, resource, removed_release } = given;
        Self { group, version, resource, removed_release }
    }
}

/// An object of whichever kind it says it is.
fn object(manifest: Value) -> Result<Manifest, String> {
    let word = |key: &str| manifest.get(key).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (word("apiVersion"), word("kind"));
    let kind = Kind::of(api_version, kind)
        .ok_or_else(|| format!("the lab has no kind `{kind}` of `{api_version}`"))?;
    with_kind(kind, Read(manifest))
}

struct Read(Value);

impl KindVisitor for Read {
    type Output = Result<Manifest, String>;

    fn visit<T: Stored>(self) -> Self::Output {
        let object: T = serde_json::from_value(self.0).map_err(|error| error.to_string())?;
        if object.metadata().name.is_none() {
            return Err("metadata.name is missing".to_owned());
        }
        Ok(object.into())
    }
}
