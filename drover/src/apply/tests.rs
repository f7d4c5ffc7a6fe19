use upgrade_core::Policy;
use upgrade_core::event::{EventKind, Report, RunOutcome};
use upgrade_core::inventory::EvidenceKind::{ApiServerCa, Nodes};
use upgrade_core::inventory::EvidenceVerdict::{Agrees, Contradicts, Unavailable};
use upgrade_core::inventory::{Evidence, Unseen};
use upgrade_core::model::{KubeVersion, Uid};

use super::*;
use crate::error::exit_code;
use crate::journal::RunJournal;
use crate::test_support::{Shown, inventory};

async fn cluster(shown: upgrade_core::Inventory) -> Cluster {
    Cluster::prove(Policy::default(), Shown(shown).services()).await.unwrap()
}

async fn plan(to: &str) -> PlanFile {
    cluster(inventory()).await.plan(to.parse().unwrap()).await.unwrap()
}

async fn refused(shown: upgrade_core::Inventory, plan: PlanFile) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("journal");
    let error = cluster(shown).await.apply(plan).journal(&dir).start().await.unwrap_err();
    assert!(!dir.exists(), "a refused plan leaves nothing behind");
    error
}

/// The cluster is at its target already: the run has nothing to write, and everything around it happens.
#[tokio::test]
async fn a_run_is_told_event_by_event_and_its_journal_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan("1.34").await;
    assert!(plan.plan.is_empty());
    let cluster = cluster(inventory()).await;
    let mut run = cluster.apply(plan.clone()).journal(folder.path()).start().await.unwrap();
    assert!(run.id().as_str().starts_with("shop-20261124-230509-"), "{}", run.id());
    let mut events = Vec::new();
    while let Some(event) = run.next().await {
        events.push(event.kind);
    }
    assert!(matches!(events.first(), Some(EventKind::RunStarted { resumed: false, .. })), "{events:?}");
    assert!(matches!(events.last(), Some(EventKind::RunEnded { .. })), "{events:?}");
    let (id, path) = (run.id().clone(), run.journal().clone());
    let report = run.finish().await.unwrap();
    assert_eq!((&report.outcome, &report.run), (&RunOutcome::Done, &id));
    assert!(RunJournal::in_file(path.file().unwrap()).load().await.unwrap().is_done());

    let again = cluster.resume(RunSelector::Id(id.clone())).journal(folder.path()).start().await.unwrap_err();
    assert!(again.to_string().ends_with("the run is done, there is nothing to go on with"), "{again}");
    let unknown = cluster
        .resume(RunSelector::parse("shop-1").unwrap())
        .journal(folder.path())
        .start()
        .await
        .unwrap_err();
    assert!(unknown.to_string().ends_with("shop-1.jsonl: there is no such run"), "{unknown}");
}

#[tokio::test]
async fn a_plan_is_stale_when_something_changed_that_it_rests_on() {
    let plan = plan("1.35").await;
    let mut changed = inventory();
    changed.pools[1].count = 7;
    let error = refused(changed, plan).await;
    assert_eq!(error.exit_code(), 5);
    let text = error.to_string();
    assert!(text.starts_with("the plan is stale: pool user: was User, 1 nodes"), "{text}");
}

#[tokio::test]
async fn a_plan_for_another_cluster_is_refused_by_its_name() {
    let mut plan = plan("1.35").await;
    plan.plan.cluster.kube_system = Uid::new("another").unwrap();
    let error = refused(inventory(), plan).await;
    assert_eq!(error.exit_code(), 3);
    assert!(
        error.to_string().contains("the plan is for another one: kube-system uid is 5f1a-uid"),
        "{error}"
    );
}

/// What the plan rests on is as it was, and something else stands in the way by now.
#[tokio::test]
async fn a_finding_of_now_blocks_a_plan_of_then() {
    let plan = plan("1.35").await;
    let mut changed = inventory();
    changed.unseen.push(Unseen { what: "pods".into(), why: "forbidden".into() });
    let error = refused(changed, plan).await;
    assert_eq!(
        (error.exit_code(), error.to_string().as_str()),
        (3, "1 finding blocks the upgrade: INV-001 pods")
    );
}

/// The rule is the core's, and has its own tests; here it decides what connecting and reading the inventory come to.
#[tokio::test]
async fn an_identity_that_is_not_proven_connects_to_nothing() {
    let evidence = |what, verdict| Evidence { what, verdict, detail: "values".into() };
    let prove = |evidence: Vec<Evidence>| {
        let mut shown = inventory();
        shown.identity.evidence = evidence;
        Cluster::prove(Policy::default(), Shown(shown).services())
    };
    for (found, why, hint) in [
        (vec![], "the evidence does not suffice: API server CA: not compared", None),
        (
            vec![evidence(ApiServerCa, Unavailable), evidence(Nodes, Agrees)],
            "the evidence does not suffice: API server CA: values",
            Some("listClusterUserCredential"),
        ),
        (
            vec![evidence(ApiServerCa, Agrees), evidence(Nodes, Contradicts)],
            "the evidence contradicts: node provider ids: values",
            Some("drover.toml"),
        ),
    ] {
        let Err(error) = prove(found).await else { panic!("{why}") };
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(error.hint().is_some(), hint.is_some());
        assert!(hint.is_none_or(|hint| error.hint().unwrap().contains(hint)), "{:?}", error.hint());
    }
}

/// A run that lost its cluster in the middle has changed something: it holds, like any other that cannot go on.
#[test]
fn a_lost_identity_is_blocked_before_the_first_stage_and_holds_after_it() {
    use crate::report::test_support as fixed;
    let lost = RunOutcome::IdentityLost { why: "ARM id is x".into() };
    let later = Report { outcome: lost.clone(), ..fixed::held() };
    assert!(!later.stages.is_empty());
    assert_eq!(exit_code(&later), 1);
    assert_eq!(exit_code(&Report { outcome: lost, stages: Vec::new(), ..fixed::held() }), 3);
    assert_eq!(exit_code(&fixed::done()), 0);
}

#[tokio::test]
async fn what_blocks_is_returned_with_every_finding() {
    let mut busy = inventory();
    busy.cluster.version = KubeVersion::new(1, 34, 2);
    busy.cluster.upgrades.clear();
    let error = cluster(busy).await.plan("1.35".parse().unwrap()).await.unwrap_err();
    let Error::Blocked { findings } = &error else { panic!("{error}") };
    assert!(findings[0].blocks());
}
