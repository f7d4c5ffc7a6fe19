//! Volumes: their zones, their nodes' limits, and who else uses them.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{CSINode, StorageClass, VolumeAttachment};
use serde_json::{Value, json};

use super::super::{feasible, on, seen};
use super::plain;
use crate::kube::tests::apply;

#[test]
fn volumes_tie_a_pod_to_their_zone_their_nodes_limits_and_to_each_other() {
    let claim = |name: &str| {
        plain(json!({ "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": name } }] }))
    };
    let zone = |zone: &str| json!({ "labels": { "topology.disk.csi.azure.com/zone": zone, "topology.kubernetes.io/zone": zone } });
    let nodes = vec![("a", zone("west-1")), ("b", zone("west-2"))];
    let found = |name: &str, more: &dyn Fn(&mut crate::World)| {
        let (mut world, pod) = seen(&nodes, &[], &claim(name));
        let volume = |name: &str, extra: Value| {
            let mut spec = json!({ "csi": { "driver": "disk.csi.azure.com", "volumeHandle": name } });
            spec.as_object_mut().unwrap().extend(extra["spec"].as_object().cloned().unwrap_or_default());
            json!({ "metadata": { "name": name, "labels": extra["labels"] }, "spec": spec })
        };
        let only = json!({ "spec": { "nodeAffinity": { "required": { "nodeSelectorTerms": [
            { "matchExpressions": [{ "key": "topology.disk.csi.azure.com/zone", "operator": "In", "values": ["west-1"] }] }] } } } });
        apply::<PersistentVolume>(&mut world, volume("zonal", only));
        apply::<PersistentVolume>(
            &mut world,
            volume("labelled", json!({ "labels": { "topology.kubernetes.io/zone": "west-2__west-3" } })),
        );
        for (name, mode, volume, class) in [
            ("zonal", "ReadWriteOnce", Some("zonal"), None),
            ("labelled", "ReadWriteOnce", Some("labelled"), None),
            ("once", "ReadWriteOncePod", Some("zonal"), None),
            ("waiting", "ReadWriteOnce", None, Some("late")),
            ("picky", "ReadWriteOnce", None, Some("picky")),
            ("early", "ReadWriteOnce", None, Some("early")),
        ] {
            let spec = json!({ "accessModes": [mode], "volumeName": volume, "storageClassName": class });
            apply::<PersistentVolumeClaim>(&mut world, json!({ "metadata": { "name": name }, "spec": spec }));
        }
        for (name, mode, allowed) in [
            ("late", "WaitForFirstConsumer", Value::Null),
            (
                "picky",
                "WaitForFirstConsumer",
                json!([{ "matchLabelExpressions": [{ "key": "topology.kubernetes.io/zone", "values": ["west-2"] }] }]),
            ),
            ("early", "Immediate", Value::Null),
        ] {
            let class = json!({ "metadata": { "name": name }, "provisioner": "disk.csi.azure.com", "volumeBindingMode": mode, "allowedTopologies": allowed });
            apply::<StorageClass>(&mut world, class);
        }
        more(&mut world);
        world.dispatch();
        feasible(&mut world, &pod).map(|nodes| nodes.join(" "))
    };
    let ok = |nodes: &str| Ok(nodes.to_owned());
    let no = |why: &str| Err(format!("0/2 nodes are available: {why}."));
    assert_eq!(found("zonal", &|_| ()), ok("a"));
    assert_eq!(found("labelled", &|_| ()), ok("b"));
    assert_eq!(found("waiting", &|_| ()), ok("a b"));
    assert_eq!(found("picky", &|_| ()), ok("b"));
    assert_eq!(found("early", &|_| ()), no("pod has unbound immediate PersistentVolumeClaims"));
    assert_eq!(found("nowhere", &|_| ()), no("persistentvolumeclaim \"nowhere\" not found"));
    assert_eq!(found("once", &|_| ()), ok("a"));
    let used = |world: &mut crate::World| {
        let mut other = on("a", claim("once"));
        other["metadata"]["name"] = "other".into();
        apply::<Pod>(world, other);
    };
    assert_eq!(
        found("once", &used),
        no("2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode")
    );
    // The driver of node a takes one disk: there is one already, so only a pod of the same disk may come.
    let full = |world: &mut crate::World| {
        let csi = json!({ "metadata": { "name": "a" }, "spec": { "drivers": [{ "name": "disk.csi.azure.com", "nodeID": "a", "allocatable": { "count": 1 } }] } });
        apply::<CSINode>(world, csi);
        let mut other = on("a", claim("zonal"));
        other["metadata"]["name"] = "other".into();
        apply::<Pod>(world, other);
    };
    assert_eq!(found("waiting", &full), ok("b"));
    assert_eq!(found("zonal", &full), ok("a"));
    // So does one that is attached though no pod of the node uses it any more.
    let attached = |world: &mut crate::World| {
        let csi = json!({ "metadata": { "name": "a" }, "spec": { "drivers": [{ "name": "disk.csi.azure.com", "nodeID": "a", "allocatable": { "count": 1 } }] } });
        apply::<CSINode>(world, csi);
        let source = json!({ "persistentVolumeName": "zonal" });
        let spec = json!({ "attacher": "disk.csi.azure.com", "nodeName": "a", "source": source });
        apply::<VolumeAttachment>(
            world,
            json!({ "metadata": { "name": "va" }, "spec": spec, "status": { "attached": true } }),
        );
    };
    assert_eq!(found("waiting", &attached), ok("b"));
}
