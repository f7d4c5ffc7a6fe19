use serde_json::json;

use super::*;
use crate::test_support::inventory;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n";
const OTHER: &str = "-----BEGIN CERTIFICATE-----\nCCCC\n-----END CERTIFICATE-----\n";

fn arm() -> ManagedCluster {
    ManagedCluster::from_value(json!({
        "id": "/subscriptions/00000000-0000-0000-0000-00000000000a/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/shop",
        "properties": {"nodeResourceGroup": "MC_rg_shop", "currentKubernetesVersion": "1.34.2"}
    }))
    .unwrap()
}

fn with_ids(ids: &[Option<&str>]) -> Vec<Node> {
    let node = inventory().nodes[0].clone();
    ids.iter().map(|id| Node { provider_id: id.map(str::to_owned), ..node.clone() }).collect()
}

fn machine(subscription: &str, group: &str) -> String {
    format!(
        "azure:///subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets/x/virtualMachines/0"
    )
}

#[test]
fn nodes_prove_the_cluster_only_by_their_machines() {
    const OURS: &str = "00000000-0000-0000-0000-00000000000A";
    let ours = machine(OURS, "mc_RG_shop");
    let of_neighbour = machine(OURS, "MC_rg_shop2");
    let of_other_subscription = machine("00000000-0000-0000-0000-00000000000b", "MC_rg_shop");
    let verdict = |ids: &[Option<&str>]| nodes(Ok(with_ids(ids)), &arm()).unwrap().verdict;
    assert_eq!(verdict(&[Some(&ours), Some(&ours)]), EvidenceVerdict::Agrees);
    assert_eq!(verdict(&[Some(&ours), None]), EvidenceVerdict::Agrees, "a new node has none yet");
    assert_eq!(verdict(&[Some(&ours), Some(&of_neighbour)]), EvidenceVerdict::Contradicts);
    assert_eq!(verdict(&[Some(&of_other_subscription)]), EvidenceVerdict::Contradicts);
    assert_eq!(verdict(&[Some("aws:///i-0")]), EvidenceVerdict::Contradicts);
    assert_eq!(verdict(&[None]), EvidenceVerdict::Unavailable);
    assert_eq!(verdict(&[]), EvidenceVerdict::Unavailable);
    let told = nodes(Ok(with_ids(&[Some(&of_neighbour)])), &arm()).unwrap();
    assert!(told.detail.contains("MC_rg_shop2") && told.what == "node provider ids", "{told:?}");
}

#[test]
fn the_authority_is_azures_even_if_rancher_trusts_others_too() {
    use base64::Engine;
    let rancher = |pem: Option<&str>| {
        let encoded = pem.map(|pem| base64::engine::general_purpose::STANDARD.encode(pem));
        Cluster::from_json(json!({"id": "c-abcde", "caCert": encoded})).unwrap()
    };
    let verdict = |rancher: &Cluster, azure: Option<&str>| {
        authority(rancher, Ok(azure.map(str::to_owned))).unwrap().verdict
    };
    let both = format!("{OTHER}{CERTIFICATE}");
    let wrapped = CERTIFICATE.replace("AAAA\nBBBB", "AAAABBBB");
    assert_eq!(verdict(&rancher(Some(&both)), Some(CERTIFICATE)), EvidenceVerdict::Agrees);
    assert_eq!(verdict(&rancher(Some(&wrapped)), Some(CERTIFICATE)), EvidenceVerdict::Agrees);
    assert_eq!(verdict(&rancher(Some(OTHER)), Some(CERTIFICATE)), EvidenceVerdict::Contradicts);
    assert_eq!(verdict(&rancher(Some(CERTIFICATE)), Some(&both)), EvidenceVerdict::Contradicts);
    assert_eq!(verdict(&rancher(None), Some(CERTIFICATE)), EvidenceVerdict::Unavailable);
    assert_eq!(verdict(&rancher(Some(CERTIFICATE)), None), EvidenceVerdict::Unavailable);
}

#[test]
fn versions_that_differ_prove_nothing_either_way() {
    let verdict = |text: &str| version(text.parse().unwrap(), &arm()).verdict;
    assert_eq!(verdict("v1.34.2"), EvidenceVerdict::Agrees);
    assert_eq!(verdict("1.35.0"), EvidenceVerdict::Unavailable, "an upgrade may be under way");
}
