use super::EvidenceVerdict::{Agrees, Contradicts, Unavailable};
use super::*;
use crate::model::tests_support::inventory;
use crate::model::{Taint, TaintEffect};

const SUBSCRIPTION: &str = "00000000-0000-0000-0000-00000000000A";
const GROUP: &str = "MC_rg_shop";
const OURS: &str = "-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n";
const OTHER: &str = "-----BEGIN CERTIFICATE-----\nCCCC\n-----END CERTIFICATE-----\n";

/// A node of pool `user`, a machine of `group`.
fn node(name: &str, group: &str) -> Node {
    let mut node = inventory().nodes.remove(1);
    node.name = crate::model::NodeName::new(name).unwrap();
    node.provider_id = Some(format!(
        "azure:///subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets/aks-user-1-vmss/virtualMachines/0"
    ));
    node.labels = [("agentpool", "user"), ("kubernetes.azure.com/cluster", GROUP)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    node
}

fn azure() -> AzureSide {
    let id = format!(
        "/subscriptions/{}/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/shop",
        SUBSCRIPTION.to_lowercase()
    );
    AzureSide {
        id: ArmId::new(id).unwrap(),
        node_resource_group: Some(GROUP.to_lowercase()),
        authority: Ok(OURS.into()),
        endpoints: vec!["shop-1.hcp.westeurope.azmk8s.io".into(), "shop-2.private.azmk8s.io".into()],
        version: Some(KubeVersion::new(1, 34, 2)),
        pools: vec![("system".into(), Some(1)), ("user".into(), Some(2))],
    }
}

fn config() -> AksConfig {
    AksConfig {
        name: Some("Shop".into()),
        resource_group: Some("RG".into()),
        endpoint: Some("https://shop-1.hcp.westeurope.azmk8s.io:443".into()),
        subscription: Ok(SUBSCRIPTION.into()),
    }
}

#[test]
fn all_that_agrees_proves_and_comes_in_one_order() {
    let kubernetes = KubernetesSide {
        version: KubeVersion::new(1, 34, 2),
        nodes: Ok(vec![node("u0", GROUP), node("u1", GROUP)]),
        authority: None,
    };
    let mut sides = Sides {
        rancher: RancherSide { authority: Ok(OURS.into()), aks: Some(config()) },
        azure: azure(),
        kubernetes,
    };
    let kinds = |sides: &Sides| compare(sides).into_iter().map(|e| (e.what, e.verdict)).collect::<Vec<_>>();
    assert_eq!(
        kinds(&sides),
        [
            (EvidenceKind::ApiServerCa, Agrees),
            (EvidenceKind::Nodes, Agrees),
            (EvidenceKind::Endpoint, Agrees),
            (EvidenceKind::AksConfig, Agrees),
            (EvidenceKind::Credential, Agrees),
            (EvidenceKind::Version, Agrees),
            (EvidenceKind::Pools, Unavailable),
        ]
    );
    assert_eq!(super::super::proof(&compare(&sides)), Ok(()));
    // A generic import has no configuration, and its endpoint is the same in every cluster.
    sides.rancher.aks = None;
    assert_eq!(kinds(&sides).len(), 4);
    assert_eq!(super::super::proof(&compare(&sides)), Ok(()));
}

#[test]
fn authorities_are_compared_as_sets_of_certificates() {
    let both = format!("{OTHER}{OURS}");
    let wrapped = OURS.replace("AAAA\nBBBB", "AAAABBBB");
    let shown = |pem: &str| -> Shown<String> { Ok(pem.to_owned()) };
    let unread = || -> Shown<String> { Err("may not be read".to_owned()) };
    let table = [
        (shown(OURS), shown(OURS), None, Agrees),
        (shown(&both), shown(OURS), None, Agrees),
        (shown(&wrapped), shown(OURS), None, Agrees),
        (shown(OTHER), shown(OURS), None, Contradicts),
        (shown(OURS), shown(&both), None, Contradicts),
        (unread(), shown(OURS), None, Unavailable),
        (shown("nothing"), shown(OURS), None, Unavailable),
        (shown(OURS), shown("nothing"), None, Unavailable),
        (shown(OURS), unread(), None, Unavailable),
        // The cluster's own can say no, and never yes.
        (shown(OURS), unread(), Some(shown(OURS)), Unavailable),
        (shown(&both), unread(), Some(shown(OURS)), Unavailable),
        (shown(OURS), unread(), Some(shown(OTHER)), Contradicts),
        (shown(OURS), unread(), Some(shown("nothing")), Unavailable),
        (shown(OURS), unread(), Some(unread()), Unavailable),
    ];
    for (rancher, azure, own, expected) in table {
        let found = authority(&rancher, &azure, own.as_ref());
        assert_eq!(found.verdict, expected, "{found}");
    }
    let found = authority(&shown(OURS), &unread(), Some(&shown(OURS)));
    assert_eq!(found.detail, "Azure: may not be read; the one that Rancher trusts is the cluster's own");
}

#[test]
fn nodes_prove_the_cluster_only_by_their_machines_and_aks_labels() {
    let edited = |edit: &dyn Fn(&mut Node)| {
        let mut node = node("u9", GROUP);
        edit(&mut node);
        node
    };
    let label = |key: &'static str, value: &'static str| {
        edited(&|node: &mut Node| {
            node.labels.insert(key.into(), value.into());
        })
    };
    let without = |key: &'static str| {
        edited(&|node: &mut Node| {
            node.labels.remove(key);
        })
    };
    let no_id = edited(&|node| node.provider_id = None);
    let new = edited(&|node| {
        node.provider_id = None;
        node.taints.push(Taint {
            key: "node.cloudprovider.kubernetes.io/uninitialized".into(),
            value: "true".into(),
            effect: TaintEffect::NoSchedule,
        });
    });
    let id = |id: &'static str| edited(&|node: &mut Node| node.provider_id = Some(id.into()));
    let vm = edited(&|node| {
        node.provider_id = Some(format!(
            "azure:///subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute/virtualMachines/aks-user-1-vms0"
        ));
    });
    let karpenter = edited(&|node| {
        node.labels.insert("karpenter.sh/nodepool".into(), "default".into());
        node.labels.insert("agentpool".into(), "default".into());
    });
    let good = || node("u0", GROUP);
    let table: [(&str, Vec<Node>, EvidenceVerdict); 22] = [
        ("all are", vec![good(), good()], Agrees),
        ("in another case", vec![node("u0", "mc_RG_SHOP")], Agrees),
        ("pools of virtual machines", vec![vm], Agrees),
        ("node auto-provisioning", vec![good(), karpenter], Agrees),
        ("a node that has just come", vec![good(), new.clone()], Agrees),
        ("only nodes that have just come", vec![new], Unavailable),
        ("none", vec![], Unavailable),
        ("a node without a provider id", vec![good(), no_id], Unavailable),
        ("a neighbour's node among ours", vec![good(), node("n0", "MC_rg_shop2")], Contradicts),
        ("all a neighbour's", vec![node("n0", "MC_rg_shop2")], Contradicts),
        ("another cloud's", vec![id("aws:///eu-west-1/i-0")], Contradicts),
        (
            "another subscription",
            vec![id(
                "azure:///subscriptions/b/resourceGroups/MC_rg_shop/providers/Microsoft.Compute/virtualMachines/x",
            )],
            Contradicts,
        ),
        (
            "no machine",
            vec![id("azure:///subscriptions/00000000-0000-0000-0000-00000000000A/resourceGroups/MC_rg_shop")],
            Contradicts,
        ),
        ("a label of another cluster", vec![label("kubernetes.azure.com/cluster", "MC_other")], Contradicts),
        ("no label of a cluster", vec![good(), without("kubernetes.azure.com/cluster")], Unavailable),
        ("no label of a pool", vec![good(), without("agentpool")], Unavailable),
        ("one node of an unknown pool", vec![good(), label("agentpool", "gone")], Unavailable),
        ("all of unknown pools", vec![label("agentpool", "gone"), label("agentpool", "np1")], Contradicts),
        ("the newer label decides", vec![label("kubernetes.azure.com/agentpool", "user")], Agrees),
        ("a pool in another case", vec![label("agentpool", "USER")], Agrees),
        ("another pool's scale set", vec![good(), label("agentpool", "system")], Unavailable),
        ("a contradiction after a doubt", vec![without("agentpool"), node("n0", "MC_rg_shop2")], Contradicts),
    ];
    for (case, nodes, expected) in table {
        let found = nodes::machines(&Ok(nodes), &azure());
        assert_eq!(found.verdict, expected, "{case}: {found}");
    }
    assert_eq!(nodes::machines(&Err("no".into()), &azure()).verdict, Unavailable);
    let nameless = AzureSide { node_resource_group: None, ..azure() };
    assert_eq!(nodes::machines(&Ok(vec![good()]), &nameless).verdict, Unavailable);
}

#[test]
fn an_endpoint_is_one_of_azures_names_or_says_nothing() {
    let table = [
        (Some("https://shop-1.hcp.westeurope.azmk8s.io:443"), Agrees),
        (Some("https://SHOP-2.private.azmk8s.io./"), Agrees),
        (Some("shop-1.hcp.westeurope.azmk8s.io"), Agrees),
        (Some("https://shop-9.hcp.westeurope.azmk8s.io:443"), Contradicts),
        (Some("https://shop-1.hcp.westeurope.azmk8s.io.evil.example"), Contradicts),
        (Some("https://shop-1.hcp.westeurope.azmk8s.io@evil.example"), Contradicts),
        (Some("https://10.0.0.1:443"), Unavailable),
        (Some("https://[fd00::1]:443"), Unavailable),
        (Some("https://"), Unavailable),
        (None, Unavailable),
    ];
    for (url, expected) in table {
        let found = endpoint(&AksConfig { endpoint: url.map(str::to_owned), ..config() }, &azure());
        assert_eq!(found.verdict, expected, "{url:?}: {found}");
    }
    let hidden = AzureSide { endpoints: Vec::new(), ..azure() };
    assert_eq!(endpoint(&config(), &hidden).verdict, Unavailable);
}

#[test]
fn ranchers_configuration_and_credential_can_be_anothers() {
    let named = |name: Option<&str>, group: &str| {
        let config =
            AksConfig { name: name.map(str::to_owned), resource_group: Some(group.into()), ..config() };
        configuration(&config, &azure()).verdict
    };
    assert_eq!(named(Some("SHOP"), "rg"), Agrees);
    assert_eq!(named(Some("shop2"), "rg"), Contradicts);
    assert_eq!(named(Some("shop"), "rg2"), Contradicts);
    assert_eq!(named(None, "rg"), Unavailable);
    let of =
        |subscription: Shown<String>| credential(&AksConfig { subscription, ..config() }, &azure()).verdict;
    assert_eq!(of(Ok(SUBSCRIPTION.into())), Agrees);
    assert_eq!(of(Ok("00000000-0000-0000-0000-00000000000b".into())), Contradicts);
    assert_eq!(of(Err("not for you".into())), Unavailable);
}

#[test]
fn what_only_lags_contradicts_nothing() {
    let here = KubeVersion::new(1, 34, 2);
    assert_eq!(version(here, Some(here)).verdict, Agrees);
    assert_eq!(version(KubeVersion::new(1, 35, 0), Some(here)).verdict, Unavailable);
    assert_eq!(version(here, None).verdict, Unavailable);
    let mut system = node("s0", GROUP);
    system.labels.insert("agentpool".into(), "system".into());
    let nodes = vec![system, node("u0", GROUP), node("u1", GROUP)];
    assert_eq!(nodes::sizes(&Ok(nodes.clone()), &azure()).detail, "both count 3 nodes in 2 pools");
    assert_eq!(nodes::sizes(&Ok(nodes[..2].to_vec()), &azure()).verdict, Unavailable);
    let uncounted = AzureSide { pools: vec![("vms".into(), None)], ..azure() };
    assert_eq!(nodes::sizes(&Ok(nodes), &uncounted).verdict, Unavailable);
}
