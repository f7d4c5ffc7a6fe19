//! What the registry has, as far as the cluster's images go.

use std::collections::{BTreeMap, BTreeSet};

use upgrade_core::model::Labels;

use crate::timing::Timing;
use crate::world::World;

/// What the registry knows of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownImage {
    /// Nobody has deleted it.
    pub(crate) there: bool,
    /// Its size.
    pub(crate) bytes: u64,
    /// Linux nodes can run it.
    pub(crate) linux: bool,
    /// Windows nodes can run it.
    pub(crate) windows: bool,
}

impl World {
    /// The images that the cluster has ever heard of, by their names: those of its pods and workloads, those on its machines and
    /// those of the scenario. An image is for the systems that it is asked for on, and for Linux where nobody asks for it.
    pub(crate) fn known_images(&self) -> BTreeMap<String, KnownImage> {
        let windows = |labels: &Labels| labels.get("kubernetes.io/os").is_some_and(|os| os == "windows");
        let view = &self.kube.view;
        let of_workloads = view.workloads().flat_map(|workload| {
            let asks = windows(&workload.template.rules.node_selector);
            let template = &workload.template;
            template.init_images.iter().chain(&template.images).map(move |image| (image, asks))
        });
        let of_pods = view.pods().flat_map(|pod| {
            let node = pod.node.as_ref().and_then(|name| view.node(name));
            let asks = windows(&pod.rules.node_selector) || node.is_some_and(|node| windows(&node.labels));
            pod.all_images().map(move |image| (image, asks))
        });
        let asked: BTreeSet<(&String, bool)> = of_workloads.chain(of_pods).collect();
        let names: BTreeSet<&String> = asked
            .iter()
            .map(|(image, _)| *image)
            .chain(self.kube.registry.keys())
            .chain(&self.kube.gone_images)
            .collect();
        let known = names.into_iter().map(|image| {
            let windows = asked.contains(&(image, true));
            let known = KnownImage {
                there: !self.kube.gone_images.contains(image),
                // A size that nobody has needed yet is not drawn for a question.
                bytes: self.kube.registry.get(image).copied().unwrap_or(self.timing[Timing::ImageSize].min()),
                linux: asked.contains(&(image, false)) || !windows,
                windows,
            };
            (image.clone(), known)
        });
        known.collect()
    }
}
