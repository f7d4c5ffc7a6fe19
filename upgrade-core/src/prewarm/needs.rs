//! Which images are missing where.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::PrewarmPod;
use crate::model::{
    Bytes, Node, NodeName, Pod, PodPhase, PoolName, PullAccess, RunId, SchedulingRules, Shared, Uid,
    full_image_name,
};
use crate::view::View;

/// The kubelet reports the size of what it downloads. Unpacked beside it, an image takes about three times as much (containerd:
/// the compressed layers are kept).
const ON_DISK: u64 = 3;

/// So many hundredths of a node's disk may be images: above 85 the kubelet begins to throw them away again, and pods write,
/// too.
const MOST_OF_THE_DISK: u64 = 70;

/// Nodes and the images that they lack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// By node; those that lack nothing are not in it.
    pub(crate) nodes: BTreeMap<NodeName, NodeNeeds>,
    /// The sizes of images by their full names, as far as some node of either pool reports them.
    pub(crate) sizes: BTreeMap<String, Bytes>,
}

/// What one node lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeNeeds {
    /// The node's uid.
    pub(crate) uid: Uid,
    /// It runs Windows.
    pub(crate) windows: bool,
    /// Images by the namespace and the credentials with which they are pulled.
    pub(crate) images: BTreeMap<(String, PullAccess), Vec<String>>,
    /// Images that its disk has no room for.
    pub(crate) too_large: Vec<String>,
}

/// A kind of pods that will move: what they need, and where they may run.
struct Mover<'a> {
    namespace: &'a str,
    access: &'a PullAccess,
    /// Images with their full names.
    images: BTreeMap<&'a String, String>,
    rules: &'a Shared<SchedulingRules>,
}

/// What the nodes of `on` lack of the images that run on the nodes of `off`, but for those that are `settled`. Only what runs is
/// looked at: an image that runs can be pulled, unless somebody has taken it away, and is one for this system.
pub(crate) fn needs(view: &View, on: &PoolName, off: &PoolName, settled: &BTreeSet<(Uid, String)>) -> Needs {
    let sizes = sizes(view, on, off);
    let movers = unlike(movers(view, off));
    let nodes = view.nodes_of(on).filter(|node| node.takes_pods());
    let lacking = nodes.filter_map(|node| {
        let lacks = lacks(node, &movers, &sizes, settled);
        (!lacks.images.is_empty() || !lacks.too_large.is_empty()).then(|| (node.name.clone(), lacks))
    });
    Needs { nodes: lacking.collect(), sizes }
}

/// One pod for each namespace that would pull for the pods of a pool, on a node of that pool: to ask whether it is admitted.
pub(crate) fn samples(view: &View, off: &PoolName, run: &RunId) -> Vec<PrewarmPod> {
    let Some(node) = view.nodes_of(off).next() else { return Vec::new() };
    let mut namespaces = BTreeMap::new();
    for mover in movers(view, off).into_iter().filter(|mover| !mover.images.is_empty()) {
        namespaces.entry(mover.namespace).or_insert(mover);
    }
    let samples = namespaces.into_values().map(|mover| {
        let images = mover.images.into_keys().cloned().collect();
        let place = (&node.name, &node.uid);
        PrewarmPod::new(run, mover.namespace, place, node.is_windows(), images, mover.access.clone())
    });
    samples.collect()
}

/// Who uses an image on the nodes of a pool, for people.
pub(crate) fn users(view: &View, pool: &PoolName, image: &str) -> BTreeSet<String> {
    let pods = view.pods_in(pool).filter(|pod| pod.all_images().any(|own| own == image));
    let named = pods.map(|pod| match view.workload_of(pod) {
        Some(workload) => workload.to_string(),
        None => format!("pod {}", pod.name),
    });
    named.collect()
}

fn sizes(view: &View, on: &PoolName, off: &PoolName) -> BTreeMap<String, Bytes> {
    let reported = view.nodes_of(off).chain(view.nodes_of(on)).flat_map(|node| &node.images);
    reported.map(|(image, bytes)| (full_image_name(image), *bytes)).collect()
}

/// The pods of one workload are alike: one stands for all that have the same images.
fn movers<'a>(view: &'a View, off: &'a PoolName) -> Vec<Mover<'a>> {
    let mut seen: HashMap<&Uid, Vec<&Pod>> = HashMap::new();
    let mut movers: Vec<Mover<'a>> = Vec::new();
    let runs = |phase: &PodPhase| matches!(phase, PodPhase::Running);
    for pod in view.pods_in(off).filter(|pod| !pod.leaves_with_node() && runs(&pod.phase)) {
        if let Some(owner) = &pod.owner {
            let same = |other: &&Pod| other.images == pod.images && other.init_images == pod.init_images;
            let siblings = seen.entry(&owner.uid).or_default();
            if siblings.iter().any(same) {
                continue;
            }
            siblings.push(pod);
        }
        // A rollout that is under way, or waits for somebody, goes on with the images of the template.
        let owner = view.workload_of(pod).and_then(|owner| view.workload(&owner));
        let next = owner
            .into_iter()
            .flat_map(|owner| owner.template.init_images.iter().chain(&owner.template.images));
        movers.push(Mover {
            namespace: pod.name.namespace(),
            access: &pod.pull_access,
            images: pod.all_images().chain(next).map(|image| (image, full_image_name(image))).collect(),
            rules: &pod.rules,
        });
    }
    movers
}

/// One of those that need the same images in the same places: a node lacks nothing for the others that it does not lack for the
/// first.
fn unlike(movers: Vec<Mover<'_>>) -> Vec<Mover<'_>> {
    let mut seen: BTreeMap<Vec<&String>, Vec<&Shared<SchedulingRules>>> = BTreeMap::new();
    let mut unlike = Vec::new();
    for mover in movers {
        let places = seen.entry(mover.images.keys().copied().collect()).or_default();
        if !places.contains(&mover.rules) {
            places.push(mover.rules);
            unlike.push(mover);
        }
    }
    unlike
}

fn lacks(
    node: &Node,
    movers: &[Mover<'_>],
    sizes: &BTreeMap<String, Bytes>,
    settled: &BTreeSet<(Uid, String)>,
) -> NodeNeeds {
    let has: BTreeSet<String> = node.images.iter().map(|(image, _)| full_image_name(image)).collect();
    let mut room = Room::of(node);
    let mut chosen = BTreeSet::new();
    let mut lacks = NodeNeeds {
        uid: node.uid.clone(),
        windows: node.is_windows(),
        images: BTreeMap::new(),
        too_large: Vec::new(),
    };
    for mover in movers.iter().filter(|mover| mover.rules.admits(node)) {
        for (image, full) in &mover.images {
            let done = chosen.contains(full) || has.contains(full);
            if done || settled.contains(&(node.uid.clone(), (*image).clone())) {
                continue;
            }
            chosen.insert(full);
            if room.takes(sizes.get(full).copied()) {
                let with = (mover.namespace.to_owned(), mover.access.clone());
                lacks.images.entry(with).or_default().push((*image).clone());
            } else {
                lacks.too_large.push((*image).clone());
            }
        }
    }
    lacks
}

/// The room for images on a node's disk; `None` where the node does not say.
struct Room(Option<u64>);

impl Room {
    fn of(node: &Node) -> Self {
        let used: u64 = node.images.iter().map(|(_, bytes)| bytes.0.saturating_mul(ON_DISK)).sum();
        let all = node.disk.0 / 100 * MOST_OF_THE_DISK;
        Self((node.disk.0 > 0).then(|| all.saturating_sub(used)))
    }

    /// Takes what an image needs, if there is so much. One of unknown size is taken for small.
    fn takes(&mut self, size: Option<Bytes>) -> bool {
        let (Some(left), Some(size)) = (&mut self.0, size) else { return true };
        let needed = size.0.saturating_mul(ON_DISK);
        let fits = needed <= *left;
        *left -= if fits { needed } else { 0 };
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests_support::{node, pod};
    use crate::model::{Labels, Taint, TaintEffect};
    use crate::view::{Change, Object};

    const GIB: u64 = 1 << 30;

    fn pool(name: &str) -> PoolName {
        PoolName::new(name).unwrap()
    }

    fn running(name: &str, images: &[&str]) -> Pod {
        Pod { images: images.iter().map(ToString::to_string).collect(), ..pod(name, "old") }
    }

    fn view(nodes: Vec<Node>, pods: Vec<Pod>) -> View {
        let mut view = View::default();
        for node in nodes {
            view.apply(Change::Applied(Object::Node(node)));
        }
        for pod in pods {
            view.apply(Change::Applied(Object::Pod(pod)));
        }
        view
    }

    fn lacking(view: &View) -> Vec<(String, Vec<String>)> {
        let needs = needs(view, &pool("buffer"), &pool("user"), &BTreeSet::new());
        let of = |(name, lacks): (NodeName, NodeNeeds)| {
            (name.to_string(), lacks.images.into_values().flatten().collect())
        };
        needs.nodes.into_iter().map(of).collect()
    }

    #[test]
    fn a_node_lacks_what_runs_on_the_others_and_is_not_on_its_disk() {
        let mut new = node("new", "buffer");
        new.images = vec![("docker.io/library/here:1".into(), Bytes(1))];
        let mut starting = running("shop/c", &["starts:1"]);
        starting.phase = PodPhase::Pending;
        let pods = vec![running("shop/a", &["web:1", "here:1"]), running("shop/b", &["web:1"]), starting];
        let found = lacking(&view(vec![node("old", "user"), new], pods));
        assert_eq!(found, [("new".to_owned(), vec!["web:1".to_owned()])]);
    }

    #[test]
    fn an_image_goes_where_its_pods_may_run_and_an_init_container_has_one_too() {
        let mut reserved = node("reserved", "buffer");
        reserved.taints =
            vec![Taint { key: "gpu".into(), value: String::new(), effect: TaintEffect::NoSchedule }];
        let mut windows = node("win", "buffer");
        windows.labels.insert("kubernetes.io/os".into(), "windows".into());
        let mut web = running("shop/a", &["web:1"]);
        web.init_images = vec!["setup:1".into()];
        web.rules.to_mut().node_selector = Labels::from([("kubernetes.io/os".into(), "windows".into())]);
        let found = lacking(&view(vec![node("old", "user"), reserved, windows], vec![web]));
        assert_eq!(found, [("win".to_owned(), vec!["setup:1".to_owned(), "web:1".to_owned()])]);
    }

    #[test]
    fn each_namespace_and_each_set_of_credentials_pulls_for_itself() {
        let mut other = running("pay/b", &["pay:1"]);
        other.pull_access.to_mut().secrets = vec!["pay-registry".into()];
        let view = view(
            vec![node("old", "user"), node("new", "buffer")],
            vec![running("shop/a", &["web:1"]), other],
        );
        let needs = needs(&view, &pool("buffer"), &pool("user"), &BTreeSet::new());
        let lacks = &needs.nodes[&NodeName::new("new").unwrap()];
        let keys: Vec<(&str, usize)> = lacks
            .images
            .keys()
            .map(|(namespace, access)| (namespace.as_str(), access.secrets.len()))
            .collect();
        assert_eq!(keys, [("pay", 1), ("shop", 0)]);
    }

    #[test]
    fn a_disk_is_not_filled_and_what_is_settled_is_not_asked_for_again() {
        let mut old = node("old", "user");
        old.images = vec![
            ("docker.io/library/a:1".into(), Bytes(6 * GIB)),
            ("docker.io/library/b:1".into(), Bytes(6 * GIB)),
        ];
        let mut new = node("new", "buffer");
        new.disk = Bytes(30 * GIB);
        let view = view(vec![old, new], vec![running("shop/a", &["a:1", "b:1"])]);
        let mut settled = BTreeSet::new();
        let of_new = |settled: &BTreeSet<_>| {
            needs(&view, &pool("buffer"), &pool("user"), settled).nodes.into_values().next()
        };
        let first = of_new(&settled).unwrap();
        assert_eq!(first.images.values().flatten().collect::<Vec<_>>(), ["a:1"], "18 of 21 GiB");
        assert_eq!(first.too_large, ["b:1"]);
        settled.extend(["a:1", "b:1"].map(|image| (first.uid.clone(), image.to_owned())));
        assert_eq!(of_new(&settled), None);
    }
}
