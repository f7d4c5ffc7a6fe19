//! SECURITY.md's list of rights, held against what a whole upgrade over HTTP asks for: no right too few, none too many.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use cluster_lab::{Lab, Manifest, Scenario};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use serde_json::{from_value, json};
use upgrade_core::access::{Right, Verb};
use upgrade_core::event::RunOutcome;
use upgrade_core::ports::Kubernetes;
use upgrade_core::view::{Change, Object, ResourceKind};

use crate::faces::{FAST, Nobody, over_http};

/// The rights of the table below "In the cluster".
fn documented() -> BTreeSet<Right> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let (_, section) = page.split_once("### Rancher").expect("the page has a section on Rancher");
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let mut rights = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [group, resources, verbs] = cells[..] else { panic!("not a row of three: {row}") };
        // `(core)` and `(path)` have no group.
        let group = if group.starts_with('(') { "" } else { group };
        for resource in resources.split(',').map(|word| word.trim().trim_matches('`')) {
            // A remark in brackets says for what.
            for word in verbs.split('(').next().unwrap().split(',').map(str::trim) {
                let verb: Verb =
                    from_value(word.into()).unwrap_or_else(|_| panic!("no verb: {word} in {row}"));
                rights.insert(Right::new(verb, group, resource));
            }
        }
    }
    assert!(rights.len() > 20, "the table was not found");
    rights
}

/// A claim whose volume nobody has seen: the only reason to read one volume.
fn claim_disk(lab: &Lab) {
    let claim = json!({"metadata": {"name": "late", "namespace": "shop"},
        "spec": {"accessModes": ["ReadWriteOnce"], "volumeName": "pv-late"}});
    let volume = json!({"metadata": {"name": "pv-late"}});
    lab.with(|world| {
        world.store.create::<PersistentVolume>(from_value(volume).unwrap()).unwrap();
        world.store.create::<PersistentVolumeClaim>(from_value(claim).unwrap()).unwrap();
    });
}

/// One replica of a ReplicaSet without a Deployment: the only reason to write to a ReplicaSet.
fn lonely() -> Manifest {
    let labels = json!({"app": "lonely"});
    let container = json!({"name": "app", "image": "registry.example.com/shop/lonely:1"});
    let set = json!({
        "metadata": {"name": "lonely", "namespace": "shop"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    });
    Manifest::from(from_value::<ReplicaSet>(set).unwrap())
}

async fn until_the_claim_is_told(kubernetes: &dyn Kubernetes, lab: &Lab) {
    let mut watch = kubernetes.watch();
    while let Some(change) = watch.next().await {
        match change.unwrap() {
            Change::Listed { kind: ResourceKind::PersistentVolumeClaim, .. } => claim_disk(lab),
            Change::Applied(Object::Claim(claim)) if claim.name.name() == "late" => return,
            _ => {}
        }
    }
}

#[tokio::test]
async fn the_documented_rights_are_enough_for_a_whole_upgrade_and_none_is_too_many() {
    let documented = documented();
    let mut scenario = Scenario::demo();
    scenario.objects.push(lonely());
    let lab = Lab::new(&scenario, 1);
    lab.with(|world| world.access.granted = Some(documented.iter().cloned().collect()));
    let folder = tempfile::tempdir().unwrap();
    let (server, cluster) = over_http(lab.clone(), folder.path(), FAST).await;
    let plan = cluster.plan("1.35".parse().unwrap()).await.unwrap();
    let run = cluster.apply(plan).journal(folder.path().join("journal")).start().await.unwrap();
    let report = run.finish().await.unwrap();
    assert_eq!(report.outcome, RunOutcome::Done);
    until_the_claim_is_told(
        &*cluster.ports(Arc::new(Nobody), Arc::new(Nobody), Arc::new(Nobody)).kubernetes,
        &lab,
    )
    .await;
    server.shutdown();
    let everywhere = |right: &Right| Right { namespace: None, ..right.clone() };
    let used: BTreeSet<Right> = lab.with(|world| world.access.used().map(everywhere).collect());
    let list = |rights: Vec<&Right>| rights.into_iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(list(used.difference(&documented).collect()), Vec::<String>::new(), "not documented");
    assert_eq!(list(documented.difference(&used).collect()), Vec::<String>::new(), "documented, not used");
}
