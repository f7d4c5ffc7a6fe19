//! A pod's row: what it is doing, in one word (`printPod`).

use jiff::Timestamp;
use serde_json::Value;

use super::cells::since;

fn statuses<'a>(pod: &'a Value, list: &str) -> &'a [Value] {
    pod.pointer(&format!("/status/{list}")).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn has_condition(pod: &Value, kind: &str) -> bool {
    statuses(pod, "conditions").iter().any(|c| c["type"] == kind && c["status"] == "True")
}

/// An init container that keeps running beside the others.
fn is_sidecar(pod: &Value, status: &Value) -> bool {
    let inits = pod.pointer("/spec/initContainers").and_then(Value::as_array).into_iter().flatten();
    inits.into_iter().any(|c| c["name"] == status["name"] && c["restartPolicy"] == "Always")
}

fn runs(status: &Value) -> bool {
    status["ready"] == true && !status["state"]["running"].is_null()
}

/// `1/2`: sidecars count.
pub(super) fn ready(pod: &Value) -> Value {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array).map_or(0, Vec::len);
    let sidecars: Vec<&Value> =
        statuses(pod, "initContainerStatuses").iter().filter(|status| is_sidecar(pod, status)).collect();
    let wanted = pod.pointer("/spec/initContainers").and_then(Value::as_array).into_iter().flatten();
    let wanted = containers + wanted.filter(|container| container["restartPolicy"] == "Always").count();
    let ready = statuses(pod, "containerStatuses").iter().filter(|status| runs(status)).count()
        + sidecars.into_iter().filter(|status| status["ready"] == true).count();
    format!("{ready}/{wanted}").into()
}

/// Why a container has ended, in a word.
fn ending(ended: &Value) -> String {
    match (ended["reason"].as_str().unwrap_or_default(), ended["signal"].as_i64().unwrap_or_default()) {
        ("", 0) => format!("ExitCode:{}", ended["exitCode"].as_i64().unwrap_or_default()),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// What the init containers are at; `None` when they are done.
fn initializing(pod: &Value) -> Option<String> {
    let inits = statuses(pod, "initContainerStatuses");
    let all = pod.pointer("/spec/initContainers").and_then(Value::as_array).map_or(0, Vec::len);
    for (at, status) in inits.iter().enumerate() {
        let (ended, waiting) = (&status["state"]["terminated"], &status["state"]["waiting"]);
        let why = waiting["reason"].as_str().unwrap_or_default();
        if !ended.is_null() && ended["exitCode"].as_i64().unwrap_or_default() == 0 {
            continue;
        }
        if is_sidecar(pod, status) && status["started"] == true {
            continue;
        }
        return Some(match () {
            () if !ended.is_null() => format!("Init:{}", ending(ended)),
            () if !why.is_empty() && why != "PodInitializing" => format!("Init:{why}"),
            () => format!("Init:{at}/{all}"),
        });
    }
    None
}

pub(super) fn status(pod: &Value) -> Value {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    let own = pod.pointer("/status/reason").and_then(Value::as_str).unwrap_or_default();
    let gated = statuses(pod, "conditions")
        .iter()
        .any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated");
    let mut reason = match (gated, own) {
        (true, _) => "SchedulingGated".to_owned(),
        (false, "") => phase.to_owned(),
        (false, own) => own.to_owned(),
    };
    let init = initializing(pod).filter(|_| !has_condition(pod, "Initialized"));
    if let Some(init) = init {
        reason = init;
    } else {
        for status in statuses(pod, "containerStatuses").iter().rev() {
            let (ended, waiting) = (&status["state"]["terminated"], &status["state"]["waiting"]);
            if let Some(why) = waiting["reason"].as_str().filter(|why| !why.is_empty()) {
                why.clone_into(&mut reason);
            } else if !ended.is_null() {
                reason = ending(ended);
            }
        }
        if reason == "Completed" && statuses(pod, "containerStatuses").iter().any(runs) {
            if has_condition(pod, "Ready") { "Running" } else { "NotReady" }.clone_into(&mut reason);
        }
    }
    if pod.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null()) {
        if own == "NodeLost" {
            "Unknown".clone_into(&mut reason);
        } else if !matches!(phase, "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut reason);
        }
    }
    reason.into()
}

/// How often its containers were started again, and how long ago the last time was.
pub(super) fn restarts(pod: &Value, now: Timestamp) -> Value {
    let all = || {
        let inits = statuses(pod, "initContainerStatuses").iter().filter(|status| is_sidecar(pod, status));
        inits.chain(statuses(pod, "containerStatuses"))
    };
    let count: i64 = all().map(|status| status["restartCount"].as_i64().unwrap_or_default()).sum();
    let last = all().map(|status| &status["lastState"]["terminated"]["finishedAt"]);
    // Moments of this form have the order of their letters.
    let last = last.filter(|moment| moment.is_string()).max_by_key(|moment| moment.as_str());
    match last {
        Some(moment) if count > 0 => format!("{count} ({} ago)", since(moment, now)).into(),
        _ => count.to_string().into(),
    }
}

pub(super) fn gates(pod: &Value) -> Value {
    let gates = pod.pointer("/spec/readinessGates").and_then(Value::as_array).into_iter().flatten();
    let gates: Vec<&str> = gates.filter_map(|gate| gate["conditionType"].as_str()).collect();
    if gates.is_empty() {
        return "<none>".into();
    }
    let passed = gates.iter().filter(|gate| has_condition(pod, gate)).count();
    format!("{passed}/{}", gates.len()).into()
}
