//! Success is declared only when Azure, the kubelets and Kubernetes agree. Everything in the plan was done, Azure says so, and still a
//! node is not what it was: the run must not end as done.

use std::time::Duration;

use cluster_lab::{Fault, Lab, Scenario, What, When};
use k8s_openapi::api::core::v1::Node;
use upgrade_core::event::{EventKind, Report, RunOutcome};
use upgrade_core::journal::RunState;
use upgrade_core::model::{PoolName, RunId, Taint, TaintEffect};
use upgrade_core::plan::Plan;
use upgrade_core::policy::Policy;
use upgrade_core::run::Start;
use upgrade_core::{plan, span};

use crate::support::Night;

fn night_of(scenario: &Scenario) -> (Night, Plan) {
    let lab = Lab::new(scenario, 1);
    let plan = plan(&lab.inventory(), &Policy::default(), "1.35".parse().unwrap()).unwrap();
    (Night::of(lab), plan)
}

fn fresh(plan: &Plan) -> Start {
    Start::Fresh { plan: plan.clone(), run: RunId::new("night-1").unwrap(), tool: "test".into() }
}

fn resumed(night: &Night) -> Start {
    Start::Resumed(RunState::replay(night.records()).unwrap())
}

/// The run held at its last word; gives what was not so.
fn untrue(report: &Report) -> &str {
    let RunOutcome::Held { title, cause, .. } = &report.outcome else { panic!("{:?}", report.outcome) };
    assert_eq!(title, "see that Azure, the kubelets and Kubernetes agree on 1.35.1");
    let waited = format!("waited {}", span::show(Duration::from_secs(1800)));
    assert!(cause.starts_with(&waited), "{cause}");
    cause
}

#[test]
fn the_last_step_says_that_all_three_agree() {
    let (night, plan) = night_of(&Scenario::demo());
    assert!(night.run(fresh(&plan)).unwrap().outcome.is_done());
    let said = night.events().into_iter().filter_map(|event| match event.kind {
        EventKind::StepFinished { outcome, .. } => Some(outcome.message().to_owned()),
        _ => None,
    });
    assert_eq!(said.last().unwrap(), "Azure, 9 kubelets and Kubernetes agree on 1.35.1");
}

#[test]
fn nodes_that_come_back_with_another_taint_are_named_and_mended_the_run_is_done() {
    let taint = Taint { key: "odd".into(), value: "1".into(), effect: TaintEffect::PreferNoSchedule };
    let what = What::Tainted { pool: PoolName::new("user").unwrap(), taint };
    let mut scenario = Scenario::demo();
    scenario.faults = vec![Fault::new(When::After(Duration::ZERO), what).unwrap()];
    let (night, plan) = night_of(&scenario);
    let report = night.run(fresh(&plan)).unwrap();
    let cause = untrue(&report);
    assert!(cause.contains(": taints: expected none, found odd=1:PreferNoSchedule"), "{cause}");
    assert!(cause.contains("node aks-user-"), "{cause}");
    night.lab.with(|world| {
        let names: Vec<String> =
            world.store.list::<Node>().filter_map(|node| node.metadata.name.clone()).collect();
        for name in names {
            let mended = world.store.update::<Node>("", &name, |node| {
                let taints = node.spec.get_or_insert_default().taints.get_or_insert_default();
                taints.retain(|taint| taint.key != "odd");
            });
            mended.unwrap();
        }
    });
    assert_eq!(night.run(resumed(&night)).unwrap().outcome, RunOutcome::Done);
}

#[test]
fn a_node_that_runs_the_old_version_again_is_named_though_azure_reports_the_new_one() {
    let (night, plan) = night_of(&Scenario::demo());
    let (lab, old) = (night.lab.clone(), plan.from);
    let deed = move || {
        lab.with(|world| {
            let pool = PoolName::new("user").unwrap();
            let node = world.machines_of(&pool).next().unwrap().clone();
            world.reimage_machine(&node, old);
        });
    };
    night.at_stage("user: delete buffer userbf", Box::new(deed));
    let report = night.answering(upgrade_core::ports::Answer::Continue).run(fresh(&plan)).unwrap();
    let cause = untrue(&report);
    assert!(cause.contains("kubelet version: expected 1.35.1, found 1.34.2"), "{cause}");
    let azure = night.inventory();
    assert!(azure.pools.iter().all(|pool| pool.version == plan.target), "Azure has noticed nothing");
}
