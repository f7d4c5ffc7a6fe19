//! What becomes of a night whose Rancher token reaches less far, or lives less long, than an upgrade needs.

use std::path::Path;

use aks_drover::{Error, Fleet};
use cluster_lab::{Lab, Scenario, Server, ServerOptions};

/// A lab on loopback with its drover.toml in a folder.
fn serve(lab: Lab, folder: &Path) -> Server {
    let options = ServerOptions { port: 0, time_scale: 1e-9, token_dir: folder.to_owned() };
    let server = Server::start(lab, &options).unwrap();
    std::fs::write(folder.join("drover.toml"), server.drover_toml()).unwrap();
    server
}

fn codes(findings: &[upgrade_core::finding::Finding]) -> Vec<(&str, bool)> {
    let of_rancher = findings.iter().filter(|f| f.code.starts_with("RAN"));
    of_rancher.map(|finding| (finding.code.as_str(), finding.blocks())).collect()
}

/// A token that is limited to the cluster may not list, and not read about itself. By the cluster's id everything works; by
/// its name it is said what to do.
#[tokio::test]
async fn a_scoped_token_is_enough_with_the_clusters_id() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::new(&Scenario::demo(), 1);
    let clock = lab.clock();
    let bearer = lab.with(|world| world.issue_scoped_token("token-scoped", "s3cretofonecluster"));
    let server = serve(lab, folder.path());
    std::fs::write(folder.path().join("rancher-token"), bearer).unwrap();
    let config = folder.path().join("drover.toml");
    let connected =
        Fleet::from_file(&config).unwrap().with_clock(clock.clone()).connect("demo").await.unwrap();
    let findings = connected.check("1.35".parse().unwrap()).await.unwrap();
    assert_eq!(codes(&findings), [("RAN-006", false)]);
    assert!(connected.plan("1.35".parse().unwrap()).await.is_ok());

    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("rancher_id = \"c-m-demo0001\"", "rancher_name = \"demo\""))
        .unwrap();
    let fleet = Fleet::from_file(&config).unwrap().with_clock(clock);
    let Err(error) = fleet.connect("demo").await else { panic!("a scoped token searched by name") };
    assert!(matches!(error, Error::Remote(_)) && error.outcome_known());
    let said = error.to_string();
    assert!(said.contains("a token that is limited to one cluster needs `rancher_id`"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
    server.shutdown();
}

/// A token that ends in an hour, and an upgrade that takes more: refused at check, plan and apply, before anything is changed.
#[tokio::test]
async fn a_token_that_ends_before_the_upgrade_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut scenario = Scenario::demo();
    scenario.rancher.token_expires = Some(scenario.start + std::time::Duration::from_secs(3600));
    let lab = Lab::new(&scenario, 1);
    let clock = lab.clock();
    let server = serve(lab, folder.path());
    let fleet = Fleet::from_file(folder.path().join("drover.toml")).unwrap().with_clock(clock);
    let cluster = fleet.connect("demo").await.unwrap();
    let findings = cluster.check("1.35".parse().unwrap()).await.unwrap();
    assert_eq!(codes(&findings), [("RAN-005", true)]);
    let error = cluster.plan("1.35".parse().unwrap()).await.unwrap_err();
    assert_eq!((error.exit_code(), matches!(error, Error::Blocked { .. })), (3, true), "{error}");
    server.shutdown();
}
