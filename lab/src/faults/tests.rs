//! What befalls away from calls, and when.

use std::time::Duration;

use upgrade_core::model::{KubeVersion, PoolName, RunId};
use upgrade_core::ports::{BufferSpec, OperationState, PortErrorKind};

use super::*;
use crate::{Lab, Scenario};

fn minutes(number: u64) -> Duration {
    Duration::from_secs(number * 60)
}

fn lab_with(when: When, what: What) -> Lab {
    let faults = vec![Fault::new(when, what).unwrap()];
    Lab::new(&Scenario { faults, ..Scenario::demo() }, 1)
}

fn pass(lab: &Lab, time: Duration) {
    let until = lab.now() + time;
    lab.block_on(lab.sleep_until(until)).unwrap();
}

/// A buffer of two machines is ordered; how the operation stands after a time, and how many nodes of it are ready then.
fn buffer_after(lab: &Lab, time: Duration) -> (OperationState, usize) {
    let spec = BufferSpec {
        name: PoolName::new("userbf").unwrap(),
        like: PoolName::new("user").unwrap(),
        count: 2,
        version: KubeVersion::new(1, 34, 2),
    };
    let (azure, run) = (lab.azure(), RunId::new("night").unwrap());
    let operation = lab.block_on(azure.create_pool(&spec, &run)).unwrap().unwrap();
    pass(lab, time);
    let state = lab.block_on(azure.operation(&operation)).unwrap().unwrap();
    let ready =
        lab.with(|world| world.machines_of(&spec.name).filter(|name| world.node_is_ready(name)).count());
    (state, ready)
}

#[test]
fn what_concerns_azure_and_its_machines_befalls_there() {
    assert_eq!(buffer_after(&Lab::new(&Scenario::demo(), 1), minutes(6)), (OperationState::Succeeded, 2));
    let pool = || PoolName::new("userbf").unwrap();
    let lab = lab_with(When::After(Duration::ZERO), What::NeverJoin { pool: pool(), machines: 1 });
    pass(&lab, minutes(1));
    let (state, ready) = buffer_after(&lab, minutes(40));
    assert!(
        matches!(&state, OperationState::Failed { message } if message.starts_with("NodesNotReady")),
        "{state:?}"
    );
    assert_eq!(ready, 1);
    let lab = lab_with(When::After(Duration::ZERO), What::SlowBoot { pool: pool(), factor: 5 });
    pass(&lab, minutes(1));
    assert_eq!(buffer_after(&lab, minutes(5)), (OperationState::Running, 0));
    let (code, message) = ("AllocationFailed".to_owned(), "no room".to_owned());
    let first = When::Call { write: WriteKind::CreatePool, nth: 1 };
    let lab = lab_with(first, What::OperationFails { code, message });
    let (state, ready) = buffer_after(&lab, minutes(10));
    assert_eq!(state, OperationState::Failed { message: "AllocationFailed: no room".to_owned() });
    assert_eq!(ready, 0);
}

#[test]
fn a_fault_by_time_counts_from_the_handover_and_lasts_as_long_as_it_says() {
    let lab = lab_with(When::After(minutes(20)), What::AgentLost(minutes(5)));
    let read = || lab.block_on(async { lab.kubernetes().snapshot().await.err() }).unwrap();
    let state = || lab.block_on(async { lab.rancher().facts().await.unwrap().state }).unwrap();
    pass(&lab, minutes(19));
    assert!(read().is_none());
    pass(&lab, minutes(2));
    let error = read().expect("nobody reaches the API server");
    assert_eq!((error.kind, error.outcome_known()), (PortErrorKind::Unreachable, true), "{error}");
    assert_eq!(state(), "unavailable");
    pass(&lab, minutes(5));
    assert!(read().is_none());
    assert_eq!(state(), "active");
    let befallen = lab.with(|world| world.befallen().to_vec());
    assert_eq!(befallen.len(), 1);
}
