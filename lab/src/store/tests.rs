use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{Namespace, Node};

use super::*;

fn store() -> Store {
    let mut store = Store::new("2026-01-15T01:00:00.750Z".parse().unwrap(), 1);
    store.create(Namespace { metadata: named("", "shop"), ..Namespace::default() }).unwrap();
    store
}

fn named(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        ..ObjectMeta::default()
    }
}

fn web() -> Deployment {
    Deployment { metadata: named("shop", "web"), spec: DeploymentSpec::default(), ..Deployment::default() }
}

#[test]
fn a_write_is_stamped_and_told_in_order() {
    let mut store = store();
    let made = store.create(web()).unwrap();
    assert_eq!(made.metadata.generation, Some(1));
    assert_eq!(made.metadata.creation_timestamp.as_ref().unwrap().0.to_string(), "2026-01-15T01:00:00Z");
    let start = store.revision();
    store.update::<Deployment>("shop", "web", |d| d.spec.paused = Some(true)).unwrap();
    store
        .update::<Deployment>("shop", "web", |d| d.metadata.labels = Some([("a".into(), "b".into())].into()))
        .unwrap();
    let last = store.delete::<Deployment>("shop", "web").unwrap();
    assert_eq!(last.metadata.generation, Some(2), "only the spec counts");
    let told: Vec<_> =
        store.changes_since::<Deployment>(start).unwrap().map(|l| (l.revision - start, l.change)).collect();
    assert_eq!(told, [(1, ChangeType::Modified), (2, ChangeType::Modified), (3, ChangeType::Deleted)]);
    assert_eq!(last.metadata.resource_version, Some(store.revision().to_string()));
}

#[test]
fn a_change_that_changes_nothing_is_not_told_and_the_servers_fields_are_its_own() {
    let mut store = store();
    let made = store.create(web()).unwrap();
    let same = store
        .update::<Deployment>("shop", "web", |d| {
            d.metadata.uid = Some("forged".into());
            d.metadata.generation = Some(99);
        })
        .unwrap();
    assert_eq!(same, made);
}

#[test]
fn names_are_taken_once_and_namespaces_must_exist() {
    let mut store = store();
    store.create(web()).unwrap();
    assert_eq!(store.create(web()).unwrap_err().reason, "AlreadyExists");
    let lost = Deployment { metadata: named("nowhere", "web"), ..Deployment::default() };
    assert_eq!(store.create(lost).unwrap_err().to_string(), "namespaces \"nowhere\" not found");
    let error = store.update::<Node>("", "n1", |_| ()).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (404, "nodes \"n1\" not found"));
}

#[test]
fn who_reads_too_late_lists_anew() {
    let mut store = store();
    store.create(web()).unwrap();
    let start = store.revision();
    for n in 0..20_000 {
        store.update::<Deployment>("shop", "web", |d| d.spec.replicas = Some(n)).unwrap();
    }
    assert!(store.changes_since::<Deployment>(start).is_err());
    assert_eq!(store.changes_since::<Deployment>(store.revision() - 5).unwrap().count(), 5);
}
