use serde_json::json;
use upgrade_core::inventory::EvidenceKind;
use upgrade_core::inventory::EvidenceVerdict::Unavailable;
use upgrade_core::ports::{CallOutcome, RemoteService};

use super::*;

#[test]
fn only_what_may_not_be_seen_is_missing_and_every_other_failure_is_one() {
    use PortErrorKind as Kind;
    let read = |kind| {
        let error = PortError::new(RemoteService::Rancher, kind, CallOutcome::NothingDone, "no");
        shown::<()>(Err(error))
    };
    for kind in [Kind::Forbidden, Kind::NotFound, Kind::Rejected] {
        assert!(matches!(read(kind), Ok(Err(why)) if why == "no"), "{kind:?}");
    }
    for kind in [Kind::Unauthorized, Kind::Conflict, Kind::Throttled, Kind::Unreachable, Kind::Internal] {
        assert!(matches!(read(kind), Err(error) if error.kind == kind), "{kind:?}");
    }
    assert!(matches!(shown(Ok(7)), Ok(Ok(7))));
}

#[test]
fn azure_shows_both_names_of_the_api_server_and_pools_that_count_nothing() {
    let id = "/subscriptions/00000000-0000-0000-0000-00000000000a/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/shop";
    let cluster = ManagedCluster::from_value(json!({
        "id": id,
        "properties": {
            "nodeResourceGroup": "MC_rg", "currentKubernetesVersion": "1.34.2", "fqdn": "f.io", "privateFQDN": "p.io",
            "agentPoolProfiles": [{"name": "system", "count": 3}, {"name": "vms", "type": "VirtualMachines"}]
        }
    }))
    .unwrap();
    let side = azure_side(ArmId::new(id).unwrap(), &cluster, Err("no".into()));
    assert_eq!(side.endpoints, ["f.io", "p.io"]);
    assert_eq!(side.pools, [("system".into(), Some(3)), ("vms".into(), None)]);
    assert_eq!(side.node_resource_group.as_deref(), Some("MC_rg"));
    assert_eq!(side.version, Some("1.34.2".parse().unwrap()));
}

#[test]
fn a_generic_import_has_no_configuration_to_compare() {
    let cluster = |json| Cluster::from_json(json).unwrap();
    let generic = cluster(json!({"id": "c-abcde", "aksConfig": null, "apiEndpoint": "https://10.0.0.1:443"}));
    assert!(aks_config(&generic, Ok("s".into())).is_none());
    assert!(rancher_authority(&generic).is_err());
    let managed = cluster(json!({
        "id": "c-abcde", "aksConfig": {"clusterName": "shop", "resourceGroup": "rg"}, "apiEndpoint": "https://f.io:443",
    }));
    let config = aks_config(&managed, Err("hidden".into())).unwrap();
    assert_eq!((config.name.as_deref(), config.resource_group.as_deref()), (Some("shop"), Some("rg")));
    assert_eq!(
        (config.endpoint.as_deref(), config.subscription),
        (Some("https://f.io:443"), Err("hidden".into()))
    );
}

#[test]
fn evidence_moves_no_cursor() {
    let evidence =
        Evidence { what: EvidenceKind::Nodes, verdict: Unavailable, detail: "a\u{1b}[2J\nb".into() };
    assert_eq!(printable(vec![evidence])[0].detail, "a [2J b");
}
