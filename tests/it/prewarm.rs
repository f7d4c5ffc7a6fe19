//! Images pulled ahead: what moves finds its image where it lands, and what cannot be pulled stops the night before it begins.

use std::fmt::Write as _;
use std::time::Duration;

use cluster_lab::{Lab, Refusal, Scenario, Story};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use serde_json::json;
use upgrade_core::access::{Right, Verb};
use upgrade_core::event::{EventKind, Report, RunOutcome};
use upgrade_core::journal::{Entry, RunState, Write};
use upgrade_core::model::RunId;
use upgrade_core::plan::Plan;
use upgrade_core::run::Start;
use upgrade_core::trial::TrialAnswer;
use upgrade_core::{Policy, plan, span};

use crate::support::Night;

const LEGACY: &str = "registry.example.com/shop/legacy:2019";

/// A small cluster: three nodes of a user pool, and what runs on them.
const SMALL: &str = "
story: a small cluster
version: 1.34.2
offers: [1.35.1]
to: '1.35'
pools:
  - { name: system, mode: system, count: 1, size: Standard_D4s_v5 }
  - { name: user, count: 2, size: Standard_D8s_v5 }
images:
  registry.example.com/shop/legacy:2019: 300Mi
workloads:
  - { name: shop/web, replicas: 3 }
  - { name: shop/legacy, replicas: 2, image: 'registry.example.com/shop/legacy:2019' }
  - { name: pay/api, replicas: 2 }
";

fn small() -> Night {
    Night::of(Lab::new(&Story::read("small", SMALL).unwrap().scenario, 1))
}

fn planned(night: &Night, policy: &Policy) -> Plan {
    plan(&night.inventory(), policy, "1.35".parse().unwrap()).unwrap()
}

fn fresh(plan: &Plan) -> Start {
    Start::Fresh { plan: plan.clone(), run: RunId::new("night-1").unwrap(), tool: "test".into() }
}

fn again(night: &Night) -> Start {
    Start::Resumed(RunState::replay(night.records()).unwrap())
}

fn pods_that_pull(night: &Night) -> usize {
    night.inventory().view().pulling_pods().count()
}

fn warnings(night: &Night) -> Vec<String> {
    let warning = |kind| if let EventKind::Warning { message } = kind { Some(message) } else { None };
    night.events().into_iter().filter_map(|event| warning(event.kind)).collect()
}

/// No node that runs now was cordoned by the run.
fn nothing_is_cordoned(night: &Night) -> bool {
    let cordon = |entry: Entry| matches!(entry, Entry::Intent { write: Write::Cordon { .. }, .. });
    let user = |stage: &str| stage.starts_with("user: move");
    let begun = night
        .events()
        .into_iter()
        .any(|event| matches!(event.kind, EventKind::StageStarted { title, .. } if user(&title)));
    let cordons = night.records().into_iter().filter(|record| cordon(record.entry.clone())).count();
    !begun && night.inventory().nodes.iter().all(|node| !node.unschedulable) && cordons <= 2
}

fn held(report: &Report) -> &str {
    let RunOutcome::Held { cause, .. } = &report.outcome else { panic!("{:?}", report.outcome) };
    cause
}

/// The number that this is all about: how often a pod lands where its image is missing, after its nodes were cordoned.
#[test]
fn on_the_demo_cluster_no_pod_that_moves_waits_for_its_image() {
    let cold = |prewarm: bool| {
        let night = Night::of(Lab::new(&Scenario::demo(), 1));
        let plan = planned(&night, &Policy { prewarm, ..Policy::default() });
        let (_, before) = night.lab.with(|world| world.pulls());
        let report = night.run(fresh(&plan)).unwrap();
        assert_eq!(report.outcome, RunOutcome::Done);
        assert_eq!((report.holding.len(), pods_that_pull(&night)), (0, 0));
        let (ahead, cold) = night.lab.with(|world| world.pulls());
        let told =
            night.events().into_iter().filter(|e| matches!(e.kind, EventKind::ImagePulled { .. })).count();
        assert_eq!(u64::try_from(told).unwrap(), ahead, "each is told");
        (ahead > 0, cold - before)
    };
    assert_eq!(cold(true), (true, 0));
    let (ahead, without) = cold(false);
    assert!(!ahead && without > 100, "{without}");
}

/// Hazard 22: an image that still runs was deleted from the registry. It is found while everything runs where it was.
#[test]
fn hazard_22_a_deleted_image_holds_the_run_before_a_node_is_cordoned_and_names_who_needs_it() {
    let night = small();
    let plan = planned(&night, &Policy::default());
    night.lab.with(|world| world.delete_image(LEGACY));
    let report = night.run(fresh(&plan)).unwrap();
    let cause = held(&report);
    assert!(
        cause.starts_with(&format!(
            "image {LEGACY}, which Deployment shop/legacy needs, cannot be pulled onto node "
        )),
        "{cause}"
    );
    assert!(
        cause.contains("ErrImagePull: failed to pull and unpack image")
            && cause.ends_with("nothing of user is cordoned yet"),
        "{cause}"
    );
    assert!(nothing_is_cordoned(&night));
    assert_eq!(report.holding, ["buffer userbf with 2 nodes"]);
    let later = night.lab.now() + Duration::from_secs(30);
    night.lab.block_on(night.lab.clock().sleep_until(later)).unwrap();
    assert_eq!(pods_that_pull(&night), 0, "what the run has made, it has deleted");

    night.lab.with(|world| world.push_image(LEGACY));
    let report = night.run(again(&night)).unwrap();
    assert_eq!((report.outcome, report.holding), (RunOutcome::Done, Vec::new()));
}

/// Hazard 22: the pull secret has expired. No node that has the image asks for it.
#[test]
fn hazard_22_an_expired_pull_secret_holds_the_run_before_a_node_is_cordoned() {
    let night = small();
    let plan = planned(&night, &Policy::default());
    night.lab.with(|world| world.expire_pull_secret(LEGACY));
    let report = night.run(fresh(&plan)).unwrap();
    assert!(held(&report).contains("failed to authorize: 401 Unauthorized"), "{}", held(&report));
    assert!(nothing_is_cordoned(&night));
}

/// Hazard 22: the tag means another image today. The run goes on, and says that other code will run.
#[test]
fn hazard_22_a_tag_that_was_pushed_again_is_told_before_a_node_is_cordoned() {
    let night = small();
    let plan = planned(&night, &Policy::default());
    night.lab.with(|world| world.push_over_image(LEGACY));
    let report = night.run(fresh(&plan)).unwrap();
    assert_eq!(report.outcome, RunOutcome::Done);
    let changed = |kind: &EventKind| matches!(kind, EventKind::Warning { message } if message.starts_with(&format!("image {LEGACY} is another one now: what runs on user is sha256:")));
    let cordon = |kind: &EventKind| matches!(kind, EventKind::StageStarted { title, .. } if title.ends_with("cordon user"));
    let events = night.events();
    let warned: Vec<usize> = (0..events.len()).filter(|at| changed(&events[*at].kind)).collect();
    let cordoned = events.iter().position(|event| cordon(&event.kind)).unwrap();
    assert!(
        matches!(warned[..], [at] if at < cordoned),
        "once, and on the way there alone: {warned:?} {cordoned}"
    );
}

/// A namespace that does not admit the pod (a policy, a quota) is told of once, and its images are pulled late. That is no reason
/// to hold.
#[test]
fn a_namespace_that_admits_no_such_pod_is_told_of_and_the_run_goes_on_cold_there() {
    let night = small();
    let plan = planned(&night, &Policy::default());
    night.lab.with(|world| {
        let hook = json!({
            "metadata": { "name": "policy" },
            "webhooks": [{
                "name": "policy.example", "clientConfig": { "url": "https://policy.example/check" },
                "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "objectSelector": { "matchExpressions": [{ "key": "aks-drover/prewarm", "operator": "Exists" }] },
                "rules": [{
                    "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
                }],
            }],
        });
        world.store.create::<ValidatingWebhookConfiguration>(serde_json::from_value(hook).unwrap()).unwrap();
        world.access.refusals.push(Refusal {
            webhook: "policy.example".to_owned(),
            refuses: Right::new(Verb::Create, "", "pods").within("pay"),
            message: "no bare pods here".to_owned(),
        });
    });
    let view = night.inventory().view();
    let kubernetes = night.lab.kubernetes();
    let tried = upgrade_core::trial::try_out(&*kubernetes, &plan, &view, night.lab.now());
    let tried = night.lab.block_on(tried).unwrap();
    let refused: Vec<&str> = tried
        .iter()
        .filter(|tried| matches!(tried.answer, TrialAnswer::Refused { .. }) && tried.optional)
        .map(|tried| tried.object.as_str())
        .collect();
    assert_eq!(refused, ["pay"], "a plan knows before");
    assert_eq!(pods_that_pull(&night), 0, "a trial makes none");
    let (_, before) = night.lab.with(|world| world.pulls());
    let report = night.run(fresh(&plan)).unwrap();
    assert_eq!(report.outcome, RunOutcome::Done);
    let told: Vec<String> =
        warnings(&night).into_iter().filter(|text| text.contains("pulled ahead")).collect();
    assert_eq!(told.len(), 2, "once on the way there and once on the way back: {told:?}");
    assert!(
        told[0].contains("images of namespace pay are not pulled ahead")
            && told[0].contains("no bare pods here"),
        "{told:?}"
    );
    let (_, cold) = night.lab.with(|world| world.pulls());
    assert!((1..=4).contains(&(cold - before)), "the two pods of pay alone: {}", cold - before);
}

/// An image that would fill the disk is left to its pod, by name.
#[test]
fn a_disk_is_not_filled_with_images() {
    let text = SMALL.replace("300Mi", "60Gi");
    let night = Night::of(Lab::new(&Story::read("small", &text).unwrap().scenario, 1));
    let report = night.run(fresh(&planned(&night, &Policy::default()))).unwrap();
    assert_eq!(report.outcome, RunOutcome::Done);
    let told = warnings(&night);
    let said = |node: &str| {
        told.iter().any(|text| {
            text.starts_with(&format!("{LEGACY} is not pulled ahead onto node {node}"))
                && text.contains("its disk has no room")
        })
    };
    assert!(said("aks-userbf") || said("aks-user"), "{told:?}");
}

/// Killed while nodes pull, a run deletes what the process before has made, and ends as if nothing had happened.
#[test]
fn killed_while_nodes_pull_the_run_goes_on_and_leaves_no_pod() {
    let whole = small();
    let plan = planned(&whole, &Policy::default());
    whole.run(fresh(&plan)).unwrap();
    let pulls = |entry: &Entry| matches!(entry, Entry::Intent { write: Write::CreatePrewarmPod { .. }, .. });
    let creates: Vec<usize> = (1..)
        .zip(whole.records())
        .filter(|(_, record)| pulls(&record.entry))
        .map(|(number, _)| number)
        .collect();
    assert!(creates.len() >= 4, "{creates:?}");
    for after in [creates[0], creates[1] + 2, creates[creates.len() - 1] + 3] {
        let night = small();
        assert!(night.run_until_record(fresh(&plan), after));
        let report = night.run(again(&night)).unwrap();
        assert_eq!((report.outcome, report.holding), (RunOutcome::Done, Vec::new()), "killed after {after}");
        assert_eq!(pods_that_pull(&night), 0);
    }
}

/// A run that is asked to stop while nodes pull takes its pods back first.
#[test]
fn stopped_while_nodes_pull_the_run_leaves_no_pod() {
    let night = small();
    let plan = planned(&night, &Policy::default());
    let (handle, stop) = upgrade_core::run::stop_signal();
    let lab = night.lab.clone();
    let stop_soon = async {
        while lab.with(|world| world.pulls().0) == 0 {
            let later = lab.now() + Duration::from_millis(500);
            lab.clock().sleep_until(later).await;
        }
        handle.stop();
        std::future::pending::<()>().await;
    };
    let run = upgrade_core::run::drive(fresh(&plan), night.ports(), stop);
    let ended = night.lab.block_on(futures::future::select(Box::pin(run), Box::pin(stop_soon))).unwrap();
    let futures::future::Either::Left((report, _)) = ended else { panic!("it never ends") };
    let report = report.unwrap();
    assert_eq!(report.outcome, RunOutcome::Aborted);
    assert!(!report.holding.iter().any(|held| held.starts_with("pod ")), "{:?}", report.holding);
    let later = night.lab.now() + Duration::from_secs(30);
    night.lab.block_on(night.lab.clock().sleep_until(later)).unwrap();
    assert_eq!(pods_that_pull(&night), 0);
    let report = night.run(again(&night)).unwrap();
    assert_eq!(report.outcome, RunOutcome::Done);
}

/// The scenario with Windows images of more than 6 GiB, as a table of its stages, its moves and its pulls.
fn windows(prewarm: bool) -> String {
    let story = Story::named("windows-images").unwrap();
    let night = Night::of(Lab::new(&story.scenario, 1));
    let plan = planned(&night, &Policy { prewarm, ..story.policy });
    let (_, before) = night.lab.with(|world| world.pulls());
    let report = night.run(fresh(&plan)).unwrap();
    assert_eq!(report.outcome, RunOutcome::Done);
    let mut text = String::new();
    let mut begun = std::collections::BTreeMap::new();
    let mut shown = false;
    for event in night.events() {
        let at = event.at.strftime("%H:%M:%S");
        match event.kind {
            EventKind::StageStarted { title, .. } => {
                shown =
                    title.starts_with("win: ") && !title.contains(": cordon") && !title.contains(": drain");
                if shown {
                    let _ = writeln!(text, "{at}  {title}");
                }
            }
            EventKind::ImagePulled { node, image, bytes, duration_ms, .. } if shown => {
                let image = image.rsplit('/').next().unwrap();
                let took = span::show(Duration::from_millis(duration_ms));
                let _ = writeln!(
                    text,
                    "{at}    {image} ({} MiB) is on {node} after {took}",
                    bytes.unwrap() >> 20
                );
            }
            EventKind::StepStarted { step, title } => {
                begun.insert(step, (event.at, title));
            }
            EventKind::StepFinished { step, .. } if shown => {
                let (since, title) = &begun[&step];
                if let Some(workload) = title.strip_prefix("move Deployment ") {
                    let workload = workload.split(' ').next().unwrap();
                    let took = span::show(Duration::try_from(event.at.duration_since(*since)).unwrap());
                    let _ = writeln!(text, "{at}    {workload} has moved, in {took}");
                }
            }
            _ => {}
        }
    }
    let (ahead, cold) = night.lab.with(|world| world.pulls());
    let _ = writeln!(text, "\n{ahead} images pulled ahead, {} while a pod waited for one", cold - before);
    text
}

#[test]
fn windows_images_of_six_gibibytes_with_and_without_prewarm_stand_side_by_side() {
    let page = include_str!("../../docs/prewarm.md");
    let told = [
        ("Without: `prewarm = false`", windows(false)),
        ("With: `prewarm = true`, the default", windows(true)),
    ];
    let differ: Vec<String> = told
        .iter()
        .filter(|(title, text)| {
            !page.contains(&format!("## {title}\n")) || !page.contains(&format!("```text\n{text}```\n"))
        })
        .map(|(title, text)| format!("## {title}\n```text\n{text}```\n"))
        .collect();
    assert!(differ.is_empty(), "docs/prewarm.md has to say:\n{}", differ.join("\n"));
}
