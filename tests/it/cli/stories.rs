//! Whole commands against `aks-drover lab`, each the story of one night.

use serde_json::Value;

use super::{Lab, UnderWay, command, read, run};

/// The command's data as JSON.
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The version of the control plane and of every pool, as `snapshot` sees them.
fn versions(lab: &Lab) -> Vec<String> {
    let seen = lab.run(&["snapshot", &lab.cluster]);
    assert_eq!(seen.code, Some(0), "{seen:?}");
    let snapshot = json(&seen.stdout);
    let inventory = &snapshot["inventory"];
    let pools = inventory["pools"].as_array().unwrap().iter().map(|pool| &pool["version"]);
    [&inventory["cluster"]["version"]]
        .into_iter()
        .chain(pools)
        .map(|v| v.as_str().unwrap().to_owned())
        .collect()
}

/// Runs the command in a folder that has nothing to do with the lab's.
fn run_in(folder: &tempfile::TempDir, arguments: &[&str]) -> super::Ended {
    run(folder.path(), arguments)
}

fn assert_upgraded(lab: &Lab) {
    let versions = versions(lab);
    assert_eq!(versions.len(), 3, "a buffer is left over: {versions:?}");
    assert!(versions.iter().all(|version| version.starts_with("1.35.")), "{versions:?}");
}

#[test]
fn the_demo_upgrades_a_cluster_from_end_to_end_and_proves_it() {
    let folder = tempfile::tempdir().unwrap();
    let demo = run(folder.path(), &["demo", "--time-scale", "120"]);
    assert_eq!(demo.code, Some(0), "{demo:?}");
    assert!(demo.stdout.contains("0 s without ready endpoints for every one of"), "{}", demo.stdout);
    assert!(demo.stdout.contains("user: delete buffer userbf"), "{}", demo.stdout);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the demo left something behind");
}

#[test]
fn a_cluster_is_checked_planned_rehearsed_applied_and_then_there_is_nothing_to_do() {
    let lab = Lab::serve();
    let check = lab.run(&["check", &lab.cluster, "--to", "1.35", "--output", "json"]);
    assert_eq!((check.code, json(&check.stdout)["blocked"].as_bool()), (Some(0), Some(false)), "{check:?}");

    lab.plan();
    let rehearsal = lab.run(&["rehearse", "plan.json", "--runs", "1", "--output", "json"]);
    assert_eq!(
        (rehearsal.code, json(&rehearsal.stdout)["completed"].as_u64()),
        (Some(0), Some(1)),
        "{rehearsal:?}"
    );

    // Without a terminal it does not ask; stdout is the stream of events and nothing else.
    let apply = lab.run(&["apply", "plan.json", "--output", "json"]);
    assert_eq!(apply.code, Some(0), "{apply:?}");
    let events: Vec<Value> = apply.stdout.lines().map(json).collect();
    assert_eq!((events[0]["type"].as_str(), events[0]["format"].as_str()), (Some("version"), Some("1.0")));
    let numbers: Vec<u64> = events[1..].iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..events.len() as u64).collect::<Vec<_>>(), "numbered without holes");
    let last = events.last().unwrap();
    assert_eq!(
        (last["type"].as_str(), last["report"]["outcome"]["result"].as_str()),
        (Some("run_ended"), Some("done"))
    );
    let gaps = last["report"]["ledger"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|record| record["gaps"].as_array().unwrap());
    assert_eq!(gaps.count(), 0, "somebody noticed");
    assert_upgraded(&lab);

    // The same plan once more: it is refused as the stale plan that it is, says why, and begins no run.
    let twice = lab.run(&["apply", "plan.json"]);
    assert_eq!((twice.code, twice.stdout.as_str()), (Some(5), ""), "{twice:?}");
    let said = twice.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    let done =
        "error: the plan is done already, the control plane and every pool run 1.35.1; nothing was changed.";
    assert!(said.contains(done) && said.contains("hint: nothing is left to do"), "{said}");
    assert!(said.contains("control plane: was 1.34.2, is 1.35.1"), "{said}");
    assert_eq!(std::fs::read_dir(lab.folder().join("journal")).unwrap().count(), 1);
    assert_upgraded(&lab);

    let status = lab.run(&["status", lab.journal().to_str().unwrap()]);
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(status.stdout.contains("state        done"), "{}", status.stdout);

    // The next rehearsal knows how long Azure takes here, and the file's word counts before that.
    std::fs::write(lab.folder().join("slow.toml"), "[azure]\ncontrol_plane = \"2h\"\n").unwrap();
    let journal = lab.journal();
    let learn = ["rehearse", "plan.json", "--runs", "1", "--learn-from", journal.to_str().unwrap()];
    let learnt = lab.run(&[&learn[..], &["--timing", "slow.toml"]].concat());
    assert_eq!(learnt.code, Some(0), "{learnt:?}");
    for line in ["Learnt, as a file for --timing:", "  [azure]", "  control_plane = ", "  reimage = ", "2h "]
    {
        assert!(learnt.stdout.contains(line), "{line}: {}", learnt.stdout);
    }
    std::fs::write(lab.folder().join("slow.toml"), "[azure]\ncontrol_plan = \"2h\"\n").unwrap();
    let wrong = lab.run(&["rehearse", "plan.json", "--timing", "slow.toml"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    for said in ["slow.toml:2: azure.control_plan: unknown key", "did you mean `control_plane`?"] {
        assert!(wrong.stderr.contains(said), "{said}: {}", wrong.stderr);
    }

    let again = lab.run(&["plan", &lab.cluster, "--to", "1.35"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stdout.contains("Nothing to do"), "{}", again.stdout);
}

/// A cluster in which nothing happens gives the same file to the byte; at real time nothing happens within a second.
#[test]
fn the_same_plan_twice_is_byte_identical() {
    let lab = Lab::serve_at("1");
    let first = read(lab.plan());
    let second = read(lab.plan());
    assert!(first == second, "the plans differ");
}

#[test]
fn versions_that_cannot_be_reached_are_refused_before_anything_is_touched() {
    let lab = Lab::serve();
    let before = versions(&lab);
    for (version, said) in [
        ("1.99", "VER-001"),
        ("1.36", "one minor release at a time"),
        ("1.35.99", "VER-001"),
        ("1.33", "VER-001"),
    ] {
        let plan = lab.run(&["plan", &lab.cluster, "--to", version, "-o", "plan.json"]);
        assert_eq!(plan.code, Some(3), "{version}: {plan:?}");
        let told = plan.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(said), "{version}: {told}");
        assert!(plan.stderr.contains("error: 1 finding blocks the upgrade"), "{version}: {}", plan.stderr);
        assert!(!lab.folder().join("plan.json").exists());
    }
    assert_eq!(versions(&lab), before);
}

/// A night watchman adds a budget between plan and apply: the plan is refused, and says why.
#[test]
fn a_plan_whose_cluster_has_changed_is_refused() {
    let lab = Lab::serve();
    lab.plan();
    let budget = serde_json::json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": { "name": "watchman", "namespace": "default" },
        "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "nobody" } } },
    });
    lab.post("apis/policy/v1/namespaces/default/poddisruptionbudgets", &budget);
    let apply = lab.run(&["apply", "plan.json"]);
    assert_eq!(apply.code, Some(5), "{apply:?}");
    assert!(apply.stderr.contains("budget default/watchman: is new"), "{}", apply.stderr);
    assert!(apply.stderr.contains("hint: make a new plan"), "{}", apply.stderr);
    assert!(!lab.folder().join("journal").exists(), "a refused plan begins no run");
    assert!(versions(&lab).iter().all(|version| version.starts_with("1.34.")));
}

/// The agent's machine loses power in the middle of a move; the next morning somebody resumes.
#[cfg(unix)]
#[test]
fn a_run_that_was_killed_goes_on_from_its_journal() {
    let lab = Lab::serve();
    lab.plan();
    let mut apply = UnderWay::start(lab.folder(), &["apply", "plan.json"]);
    apply.hear("user: move onto userbf: cordon user");
    apply.hear("already so: ");
    apply.signal("-KILL");
    assert_eq!(apply.end().code, None, "it ended by itself before it was killed");
    let journal = lab.journal();
    let status = lab.run(&["status", journal.to_str().unwrap(), "--output", "json"]);
    assert_eq!(json(&status.stdout)["outcome"], Value::Null, "{status:?}");
    let resume = lab.run(&["resume", journal.to_str().unwrap()]);
    assert_eq!(resume.code, Some(0), "{resume:?}");
    assert!(resume.stdout.contains("0 s without ready endpoints"), "{}", resume.stdout);
    assert_upgraded(&lab);
    let again = lab.run(&["resume", journal.to_str().unwrap()]);
    assert_eq!(again.code, Some(0), "{again:?}");
}

/// Somebody presses Ctrl-C: the run stops at a safe point, says what it holds and how to go on, and that command works.
#[cfg(unix)]
#[test]
fn a_run_that_is_asked_to_stop_stops_at_a_safe_point() {
    let lab = Lab::serve();
    lab.plan();
    let mut apply = UnderWay::start(lab.folder(), &["apply", "plan.json", "--journal", "runs"]);
    apply.hear("user: add buffer userbf");
    apply.signal("-INT");
    apply.hear("stopping at a safe point");
    let ended = apply.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stdout.contains("stopped at a safe point"), "{}", ended.stdout);
    let hint = ended.stderr.lines().find_map(|line| line.trim_start().strip_prefix("aks-drover "));
    let words: Vec<&str> =
        hint.unwrap_or_else(|| panic!("no hint: {}", ended.stderr)).split_whitespace().collect();
    let resume = lab.run(&words);
    assert_eq!(resume.code, Some(0), "{words:?}: {resume:?}");
    assert_upgraded(&lab);
}

/// The agent that works on the run is out of reach; somebody else has its configuration and reads the run's id in the pipeline's
/// log. His machine has no journal.
#[cfg(unix)]
#[test]
fn a_run_on_another_agent_is_asked_to_stop_through_the_cluster() {
    let lab = Lab::serve_at("240");
    lab.plan();
    let mut apply = UnderWay::start(lab.folder(), &["apply", "plan.json", "--journal", "runs"]);
    apply.hear("user: add buffer userbf");
    let runs = std::fs::read_dir(lab.folder().join("runs")).unwrap();
    let [run] = &runs.map(|file| file.unwrap().path()).collect::<Vec<_>>()[..] else { panic!("one run") };
    let id = run.file_stem().unwrap().to_str().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let config = lab.folder().join("drover.toml");
    let config = config.to_str().unwrap();
    let other = run_in(&elsewhere, &["abort", "demo-20261124-230000-0001", "--config", config]);
    assert_eq!(other.code, Some(3), "{other:?}");
    assert!(
        other.stdout.contains("the cluster is locked by") && other.stdout.contains(id),
        "{}",
        other.stdout
    );
    let abort = run_in(&elsewhere, &["abort", id, "--config", config]);
    assert_eq!(abort.code, Some(0), "{abort:?}");
    assert!(abort.stdout.contains("stopped, and has given back the lock"), "{}", abort.stdout);
    for said in ["waiting for at most 10m", "asked, by Lease kube-system/drover-upgrade"] {
        assert!(abort.stderr.contains(said), "{said}: {}", abort.stderr);
    }
    let ended = apply.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("asks the run to stop at a safe point (`abort`)"), "{}", ended.stderr);
    let again = lab.run(&["abort", run.to_str().unwrap(), "--output", "json"]);
    let told = json(&again.stdout);
    assert_eq!(
        (again.code, told["result"].as_str(), told["outcome"]["result"].as_str()),
        (Some(0), Some("nobody_works"), Some("aborted")),
        "{again:?}"
    );
    let resume = lab.run(&["resume", run.to_str().unwrap()]);
    assert_eq!(resume.code, Some(0), "{resume:?}");
    assert_upgraded(&lab);
}

/// The agent is gone for good, and the upgrade is to be made another night: what the run has left is listed and given back.
#[cfg(unix)]
#[test]
fn what_a_killed_run_has_left_is_listed_and_given_back() {
    let lab = Lab::serve_at("240");
    lab.plan();
    let mut apply = UnderWay::start(lab.folder(), &["apply", "plan.json"]);
    apply.hear("user: move onto userbf: cordon user");
    let alive = lab.run(&["leftovers", &lab.cluster, "--clean"]);
    assert_eq!(alive.code, Some(3), "{alive:?}");
    assert!(
        alive.stderr.contains("it is locked by") && alive.stderr.contains("aks-drover abort"),
        "{}",
        alive.stderr
    );
    apply.signal("-KILL");
    assert_eq!(apply.end().code, None, "it ended by itself before it was killed");
    let kinds = |text: &str| -> Vec<String> {
        let left = json(text)["left"].as_array().unwrap().clone();
        left.iter().map(|left| left["kind"].as_str().unwrap().to_owned()).collect()
    };
    let list = lab.run(&["leftovers", &lab.cluster, "--output", "json"]);
    assert_eq!(list.code, Some(0), "{list:?}");
    let listed = kinds(&list.stdout);
    for kind in ["lock", "buffer", "cordon"] {
        assert!(listed.iter().any(|listed| listed == kind), "{kind}: {listed:?}");
    }
    let clean = lab.run(&["leftovers", &lab.cluster, "--clean"]);
    assert!(matches!(clean.code, Some(0 | 1)), "{clean:?}");
    assert!(clean.stdout.contains("uncordon "), "{}", clean.stdout);
    // What runs on the buffer is not chased away: a buffer that is not empty is for a person.
    let rest = lab.run(&["leftovers", &lab.cluster, "--output", "json"]);
    let left = kinds(&rest.stdout);
    assert_eq!(
        (left.is_empty(), left.iter().all(|kind| kind == "buffer")),
        (clean.code == Some(0), true),
        "{rest:?}"
    );
    if clean.code == Some(1) {
        assert!(clean.stdout.contains("az aks nodepool delete"), "{}", clean.stdout);
    }
    let journal = lab.journal();
    let status = lab.run(&["status", journal.to_str().unwrap(), "--output", "json"]);
    assert_eq!(json(&status.stdout)["given_up"].as_bool(), Some(true), "{status:?}");
    let resume = lab.run(&["resume", journal.to_str().unwrap()]);
    assert_eq!(resume.code, Some(2), "{resume:?}");
    assert!(resume.stderr.contains("the run was given up"), "{}", resume.stderr);
}

/// Rancher manages the cluster. Without consent nothing is planned; with it, each change in Azure is to wait for Rancher. One
/// that wants something else than Azure has is refused in any case.
#[test]
fn a_cluster_that_rancher_manages_is_planned_only_with_consent_and_in_sync() {
    const CONSENT: &str = "\n[policy]\nrancher_managed = \"lock-step\"\n";
    let lab = Lab::serve_scenario("managed", "1");
    let refused = lab.run(&["plan", &lab.cluster, "--to", "1.35", "-o", "plan.json", "--runs", "0"]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.stdout.contains("RAN-001") && refused.stdout.contains("lock-step"), "{}", refused.stdout);
    assert!(!lab.folder().join("plan.json").exists());
    let agree = |lab: &Lab| {
        let config = lab.folder().join("drover.toml");
        let text = read(&config);
        std::fs::write(&config, format!("{text}{CONSENT}")).unwrap();
    };
    agree(&lab);
    let plan = read(lab.plan());
    assert!(plan.contains("await-rancher") && plan.contains("RAN-004"), "{plan}");

    let stale = Lab::serve_scenario("managed-stale", "1");
    agree(&stale);
    let refused = stale.run(&["plan", &stale.cluster, "--to", "1.35"]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    let told = refused.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("Rancher wants version 1.30.9, Azure has 1.34.2"), "{told}");
}

/// Somebody deletes the only pod behind a Service while the run works. Nobody is there to ask: the run pauses, says so, and goes
/// on the next morning; the gap stays in its ledger.
#[test]
fn a_gap_that_nobody_accepted_pauses_the_run() {
    let lab = Lab::serve_at("240");
    let plan = json(&read(lab.plan()));
    let pods = plan["inventory"]["pods"].as_array().unwrap();
    let checkout = pods.iter().filter_map(|pod| pod["name"].as_str()?.strip_prefix("shop/checkout-"));
    let [pod] = &checkout.collect::<Vec<_>>()[..] else { panic!("shop/checkout has one pod") };
    let mut apply = UnderWay::start(lab.folder(), &["apply", "plan.json"]);
    apply.hear("stage 1 of ");
    lab.delete(&format!("api/v1/namespaces/shop/pods/checkout-{pod}"));
    apply.hear("gap: shop/checkout has no ready endpoint");
    let ended = apply.end();
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("paused: "), "{}", ended.stderr);
    let journal = lab.journal();
    assert!(ended.stderr.contains("  aks-drover resume journal/"), "{}", ended.stderr);
    let status = lab.run(&["status", journal.to_str().unwrap(), "--output", "json"]);
    assert_eq!(json(&status.stdout)["outcome"]["result"].as_str(), Some("paused"), "{status:?}");
    let resume = lab.run(&["resume", journal.to_str().unwrap()]);
    assert_eq!(resume.code, Some(0), "{resume:?}");
    assert!(resume.stdout.contains(" without ready endpoints in 1 gap, over "), "{}", resume.stdout);
    assert_upgraded(&lab);
}

/// `aks-drover apply plan.json | head -1`: the reader leaves, the upgrade does not.
#[test]
fn a_reader_who_leaves_does_not_stop_the_upgrade() {
    let lab = Lab::serve();
    lab.plan();
    let mut apply = command(lab.folder(), &["apply", "plan.json", "--output", "json", "--quiet"]);
    let mut process = apply.stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(process.stdout.take());
    assert_eq!(process.wait().unwrap().code(), Some(0));
    assert_upgraded(&lab);
}

/// On a build agent nobody can be asked: the run pauses before the stage, says which command answers, and that command does.
#[test]
fn a_stage_that_needs_a_word_waits_for_it() {
    let lab = Lab::serve();
    lab.plan();
    let apply = lab.run(&["apply", "plan.json", "--approve", "stage"]);
    assert_eq!(apply.code, Some(4), "{apply:?}");
    let command = apply.stderr.lines().find_map(|line| line.trim_start().strip_prefix("aks-drover "));
    let words: Vec<&str> = command.unwrap_or_else(|| panic!("{apply:?}")).split_whitespace().collect();
    assert_eq!(words[words.len() - 2..], ["--approve", "stage-1"]);
    let another = lab.run(&["resume", words[1], "--approve", "stage-7"]);
    assert_eq!(another.code, Some(2), "{another:?}");
    let said = another.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("the run does not wait for an answer to `stage-7`"), "{said}");
    assert!(said.contains("hint: it waits for one to `stage-1`: Begin stage 1"), "{said}");
    let resume = lab.run(&words);
    assert_eq!(resume.code, Some(4), "{resume:?}");
    assert!(resume.stderr.contains("--approve stage-2"), "{}", resume.stderr);
    let journal = read(lab.journal());
    assert!(journal.contains("\"record\":\"approved\",\"question\":\"stage-1\",\"plan\":\""), "{journal}");
}
