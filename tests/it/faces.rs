//! Runs every case of the conformance suite on every face of the ports.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aks_drover::{Cluster, Fleet, Services};
use async_trait::async_trait;
use cluster_lab::{Lab, Scenario, Server, ServerOptions};
use upgrade_core::event::Event;
use upgrade_core::journal::Record;
use upgrade_core::model::HolderId;
use upgrade_core::ports::{Answer, EventSink, Gate, Journal, PortError, Ports, Question};
use upgrade_core::{Inventory, Policy};

use crate::conformance;

/// What a case needs beside the world: nothing is kept and nobody is asked.
pub(crate) struct Nobody;

#[async_trait]
impl Journal for Nobody {
    async fn append(&self, _: &Record) -> Result<(), PortError> {
        Ok(())
    }
}

#[async_trait]
impl Gate for Nobody {
    async fn ask(&self, _: &Question) -> Answer {
        Answer::Pause
    }
}

impl EventSink for Nobody {
    fn emit(&self, _: &Event) {}
}

/// How often the Rancher that manages a cluster reads Azure.
const REFRESH: Duration = Duration::from_secs(300);

/// The world as the scenario makes it.
fn plain() -> Lab {
    Lab::new(&Scenario::demo(), 1)
}

/// One in which the token may do less than it should.
fn restricted() -> Lab {
    let lab = plain();
    conformance::restricted(&lab);
    lab
}

/// One that Rancher manages.
fn managed() -> Lab {
    Lab::new(&Scenario::demo().managed(REFRESH), 1)
}

/// The lab's own ports.
pub(crate) fn ports_of(lab: &Lab) -> Ports {
    Ports {
        kubernetes: lab.kubernetes(),
        azure: lab.azure(),
        rancher: lab.rancher(),
        clock: lab.clock(),
        journal: Arc::new(Nobody),
        gate: Arc::new(Nobody),
        events: Arc::new(Nobody),
        holder: HolderId::new("somebody").unwrap(),
    }
}

fn services_of(lab: &Lab) -> Services {
    Services { kubernetes: lab.kubernetes(), azure: lab.azure(), rancher: lab.rancher(), clock: lab.clock() }
}

/// The lab's cluster through its own ports, as the facade proves it.
pub(crate) fn proven(lab: &Lab) -> Cluster {
    let proven = Cluster::prove(Policy::default(), services_of(lab));
    lab.block_on(proven).expect("a proof never waits for nothing").unwrap()
}

/// The lab's own ports, in virtual time.
fn on_the_ports_face<F: Future<Output = ()>>(lab: &Lab, case: impl FnOnce(Ports) -> F) {
    lab.block_on(case(ports_of(lab))).expect("no case waits for what never comes");
}

/// Virtual seconds in a real one: Azure's minutes become a fraction of a second.
pub(crate) const FAST: f64 = 600.0;

/// So slow that nothing happens while somebody looks.
const STANDING: f64 = 1e-9;

/// A lab on loopback, and its cluster through the real adapters.
pub(crate) async fn over_http(lab: Lab, folder: &Path, time_scale: f64) -> (Server, Cluster) {
    let options = ServerOptions { port: 0, time_scale, token_dir: folder.to_owned() };
    let server = Server::start(lab, &options).unwrap();
    let config = folder.join("drover.toml");
    std::fs::write(&config, server.drover_toml()).unwrap();
    let fleet = Fleet::from_file(config).unwrap();
    let name = fleet.clusters().next().unwrap().to_owned();
    let cluster = fleet.connect(&name).await.unwrap();
    (server, cluster)
}

/// The adapters over HTTP, in scaled real time.
async fn on_the_http_face<F: Future<Output = ()>>(lab: Lab, case: impl FnOnce(Ports) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let (server, cluster) = over_http(lab, folder.path(), FAST).await;
    case(cluster.ports(Arc::new(Nobody), Arc::new(Nobody), Arc::new(Nobody))).await;
    server.shutdown();
}

/// One test for each case on each face, each in the world that it is about. A further face is one more module here.
macro_rules! every_case {
    ($($world:ident: $($case:ident)*;)*) => {
        mod ports_face {
            $($(#[test]
            fn $case() {
                super::on_the_ports_face(&super::$world(), super::conformance::$case);
            })*)*
        }

        mod http_face {
            $($(#[tokio::test]
            async fn $case() {
                super::on_the_http_face(super::$world(), super::conformance::$case).await;
            })*)*
        }
    };
}

every_case! {
    plain:
    a_watch_begins_with_everything_and_agrees_with_a_snapshot
    a_cordon_shows_is_idempotent_and_checks_the_uid
    a_node_out_of_load_balancers_belongs_to_the_run_that_took_it_out
    a_pod_of_a_workload_is_tried_and_none_is_made
    a_restart_replaces_every_pod_once
    settings_are_changed_only_from_what_they_were
    an_eviction_has_the_apis_answers
    a_buffer_belongs_to_its_run
    versions_move_one_after_the_other
    the_identity_is_proven_twice_the_same
    a_generic_import_has_one_writer
    a_deletion_is_told
    an_object_read_alone_is_the_one_of_the_lists
    a_lease_has_one_writer_at_a_time
    the_lock_of_a_cluster_passes_from_one_process_to_the_next
    a_pod_that_pulls_shows_when_the_image_is_there_and_goes
    a_trial_is_answered_like_the_write_and_changes_nothing;

    restricted:
    a_missing_right_is_refused_said_and_named
    a_webhook_refuses_a_trial_as_it_refuses_the_write;

    managed:
    a_second_writer_adopts_what_it_finds;
}

/// A cluster with an AKS configuration in Rancher shows more of itself, and the same on both faces.
#[tokio::test]
async fn both_faces_prove_a_cluster_in_ranchers_hands_by_the_same() {
    let scenario = Scenario::demo().unmanaged();
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::new(&scenario, 1);
    let (server, far) = over_http(lab.clone(), folder.path(), STANDING).await;
    server.shutdown();
    let near = lab.rancher().identity().await.unwrap();
    assert_eq!(near.evidence.len(), 7, "{near:?}");
    assert_eq!(near, *far.identity());
}

/// The same world, seen directly and over HTTP, is the same inventory, field by field.
#[tokio::test]
async fn both_faces_show_the_same_inventory() {
    for scenario in [Scenario::demo(), Scenario::demo().unmanaged(), Scenario::demo().managed(REFRESH)] {
        assert_faces_agree(&scenario).await;
    }
}

async fn assert_faces_agree(scenario: &Scenario) {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::new(scenario, 1);
    let (server, far) = over_http(lab.clone(), folder.path(), STANDING).await;
    let near = Cluster::prove(Policy::default(), services_of(&lab)).await.unwrap().inventory().await.unwrap();
    let far = far.inventory().await.unwrap();
    server.shutdown();
    let values = |inventory: Inventory| {
        // Each face has its own clock.
        let inventory = inventory.timeless();
        serde_json::to_value(inventory).unwrap()
    };
    let (near, far) = (values(near), values(far));
    let fields = near.as_object().unwrap();
    assert_eq!(fields.keys().collect::<Vec<_>>(), far.as_object().unwrap().keys().collect::<Vec<_>>());
    for (field, value) in fields {
        let (Some(here), Some(there)) = (value.as_array(), far[field].as_array()) else {
            assert_eq!(*value, far[field], "{field}");
            continue;
        };
        assert_eq!(here.len(), there.len(), "{field}");
        for (index, (here, there)) in here.iter().zip(there).enumerate() {
            assert_eq!(here, there, "{field}[{index}]");
        }
    }
    assert!(near["pods"].as_array().unwrap().len() >= 30);
}
