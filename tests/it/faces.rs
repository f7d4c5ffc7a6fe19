//! Runs every case of the conformance suite on every face of the ports.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use cluster_lab::{Lab, Scenario};
use upgrade_core::event::Event;
use upgrade_core::journal::Record;
use upgrade_core::ports::{Answer, EventSink, Gate, Journal, PortError, Ports, Question};

use crate::conformance;

/// What a case needs beside the world: nothing is kept and nobody is asked.
struct Nobody;

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

/// The lab's own ports, in virtual time.
fn on_the_ports_face<F: Future<Output = ()>>(case: impl FnOnce(Ports) -> F) {
    let lab = Lab::new(&Scenario::demo(), 1);
    let ports = Ports {
        kubernetes: lab.kubernetes(),
        azure: lab.azure(),
        rancher: lab.rancher(),
        clock: lab.clock(),
        journal: Arc::new(Nobody),
        gate: Arc::new(Nobody),
        events: Arc::new(Nobody),
    };
    lab.block_on(case(ports)).expect("no case waits for what never comes");
}

/// One test for each case on each face. A further face is one more module here.
macro_rules! every_case {
    ($($case:ident)*) => {
        mod ports_face {
            $(#[test]
            fn $case() {
                super::on_the_ports_face(super::conformance::$case);
            })*
        }
    };
}

every_case! {
    a_watch_begins_with_everything_and_agrees_with_a_snapshot
    a_cordon_shows_is_idempotent_and_checks_the_uid
    a_restart_replaces_every_pod_once
    an_eviction_has_the_apis_answers
    a_buffer_belongs_to_its_run
    versions_move_one_after_the_other
    the_identity_is_proven_twice_the_same
    a_deletion_is_told
}
