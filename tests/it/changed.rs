//! Somebody changes the cluster in the middle of a run, in Azure: each change is noticed, named, and holds the run before it goes on
//! with a plan that was made for another cluster. Machines that are lost are in `hazards/losses.rs`.

use cluster_lab::{Lab, Scenario};
use jiff::SignedDuration;
use upgrade_core::event::{Report, RunOutcome};
use upgrade_core::journal::{Entry, RunState, Write};
use upgrade_core::model::{AvailableUpgrade, KubeVersion, PoolName, RunId};
use upgrade_core::run::Start;
use upgrade_core::{Policy, plan};

use crate::support::Night;

/// The demo cluster, which Azure would upgrade further than it is to be.
fn night() -> Night {
    let mut scenario = Scenario::demo();
    scenario.cluster.upgrades.push(AvailableUpgrade { version: KubeVersion::new(1, 35, 2), preview: false });
    Night::of(Lab::new(&scenario, 1))
}

fn pool(name: &str) -> PoolName {
    PoolName::new(name).unwrap()
}

/// A night in which somebody does this when the user pool's workloads begin to move; why the run holds.
fn held(night: &Night, deed: impl FnOnce(&Lab) + Send + 'static) -> String {
    let lab = night.lab.clone();
    let plan = plan(&night.inventory(), &Policy::default(), "1.35.1".parse().unwrap()).unwrap();
    night.at_stage("user: move onto userbf", Box::new(move || deed(&lab)));
    let start = Start::Fresh { plan, run: RunId::new("night-1").unwrap(), tool: "test".into() };
    let Report { outcome, holding, ledger, .. } = night.run(start).unwrap();
    let RunOutcome::Held { cause, .. } = outcome else { panic!("{outcome:?}") };
    assert!(holding.iter().any(|line| line.starts_with("buffer userbf with")), "capacity stays: {holding:?}");
    assert!(ledger.iter().all(|record| record.gaps.is_empty()), "{ledger:?}");
    let touched = night.records().into_iter().any(|record| {
        matches!(record.entry, Entry::Intent { write: Write::UpgradePool { pool: own, .. }, .. } if own == pool("user"))
    });
    assert!(!touched, "the pool was upgraded all the same");
    cause
}

fn goes_on(night: &Night) -> Report {
    night.run(Start::Resumed(RunState::replay(night.records()).unwrap())).unwrap()
}

#[test]
fn a_pool_that_somebody_scales_in_the_middle_holds_the_run_until_it_is_as_it_was() {
    let night = night();
    let cause = held(&night, |lab| lab.with(|world| world.scale_pool(&pool("user"), 7)).unwrap());
    let said = "pool user: was User, 6 nodes, Standard_D8s_v5 at 1.34.2 or 1.35.1, is User, 7 nodes, Standard_D8s_v5 at 1.34.2";
    assert!(cause.contains(said), "{cause}");
    let again = goes_on(&night);
    assert!(matches!(again.outcome, RunOutcome::Held { .. }), "{:?}", again.outcome);
    // Azure is still at the first change when the run holds.
    let later = night.lab.now() + SignedDuration::from_mins(20);
    night.lab.block_on(night.lab.clock().sleep_until(later)).unwrap();
    night.lab.with(|world| world.scale_pool(&pool("user"), 6)).unwrap();
    let report = goes_on(&night);
    assert_eq!((report.outcome, report.holding), (RunOutcome::Done, Vec::<String>::new()));
}

#[test]
fn a_control_plane_that_somebody_upgrades_further_holds_the_run() {
    let night = night();
    let cause = held(&night, |lab| {
        let azure = lab.azure();
        futures::executor::block_on(azure.upgrade_control_plane(KubeVersion::new(1, 35, 2))).unwrap();
    });
    assert!(cause.contains("control plane: was 1.34.2 or 1.35.1, is 1.35.2"), "{cause}");
}

#[test]
fn a_pool_that_somebody_upgrades_elsewhere_holds_the_run() {
    let night = night();
    let cause = held(&night, |lab| {
        let azure = lab.azure();
        futures::executor::block_on(azure.upgrade_pool(&pool("user"), KubeVersion::new(1, 34, 3))).unwrap();
    });
    let said = "pool user: was User, 6 nodes, Standard_D8s_v5 at 1.34.2 or 1.35.1, is User, 6 nodes, Standard_D8s_v5 at 1.34.3";
    assert!(cause.contains(said), "{cause}");
}
