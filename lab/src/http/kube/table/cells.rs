//! What stands in the cells.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

use super::super::scale::selector_text;

fn at<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    object.pointer(pointer).unwrap_or(&Value::Null)
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    at(object, pointer).as_str().unwrap_or_default()
}

fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    at(object, pointer).as_array().map(Vec::as_slice).unwrap_or_default()
}

fn number(object: &Value, pointer: &str) -> i64 {
    at(object, pointer).as_i64().unwrap_or_default()
}

fn or(text: String, none: &str) -> Value {
    if text.is_empty() { none.into() } else { text.into() }
}

/// How long ago a moment was.
pub(super) fn since(moment: &Value, now: Timestamp) -> String {
    let moment = moment.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    moment.map_or_else(|| "<unknown>".to_owned(), |moment| human(now.duration_since(moment).as_secs()))
}

/// A duration as Kubernetes says it (apimachinery: `duration.HumanDuration`): two units where the first is small.
pub(super) fn human(seconds: i64) -> String {
    let two = |big: i64, name: &str, small: i64, other: &str| {
        if small == 0 { format!("{big}{name}") } else { format!("{big}{name}{small}{other}") }
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(hours / 24, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{}d", hours / 24),
        63_072_000..252_288_000 => two(hours / 8760, "y", hours / 24 % 365, "d"),
        _ => format!("{}y", hours / 8760),
    }
}

/// The Service behind an API, or that the API server answers itself (kube-aggregator: table of APIServices).
pub(super) fn api_service(object: &Value) -> Value {
    let (namespace, name) = (text(object, "/spec/service/namespace"), text(object, "/spec/service/name"));
    if name.is_empty() { "Local".into() } else { format!("{namespace}/{name}").into() }
}

/// Whether an API is available, with the reason if not.
pub(super) fn api_available(object: &Value) -> Value {
    let mut conditions = list(object, "/status/conditions").iter();
    let Some(found) = conditions.find(|condition| text(condition, "/type") == "Available") else {
        return "Unknown".into();
    };
    match text(found, "/status") {
        "True" => "True".into(),
        other => format!("{other} ({})", text(found, "/reason")).into(),
    }
}

/// How many elements or members there are.
pub(super) fn count(value: Option<&Value>) -> Value {
    let count = match value {
        Some(Value::Array(list)) => list.len(),
        Some(Value::Object(members)) => members.len(),
        _ => 0,
    };
    count.into()
}

/// `a=1,b=2`.
pub(super) fn labels(labels: Option<&Value>) -> Value {
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    let pairs: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    or(pairs.join(","), "<none>")
}

pub(super) fn selector(object: &Value) -> Value {
    let selector: LabelSelector =
        serde_json::from_value(at(object, "/spec/selector").clone()).unwrap_or_default();
    or(selector_text(&selector), "<none>")
}

/// What the elements of a list have at a pointer; of many only the first three.
pub(super) fn joined(elements: Option<&Value>, pointer: &str, none: &str) -> Value {
    const SHOWN: usize = 3;
    let elements = elements.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let all: Vec<String> = elements
        .iter()
        .filter_map(|element| match at(element, pointer) {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
        .collect();
    let more = match all.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!(" + {more} more..."),
        _ => String::new(),
    };
    or(format!("{}{more}", all[..all.len().min(SHOWN)].join(",")), none)
}

fn containers(object: &Value) -> &[Value] {
    let paths = ["/spec/template/spec/containers", "/spec/jobTemplate/spec/template/spec/containers"];
    paths.iter().map(|path| list(object, path)).find(|found| !found.is_empty()).unwrap_or_default()
}

fn of_containers(object: &Value, member: &str) -> Value {
    let all: Vec<&str> = containers(object).iter().map(|c| c[member].as_str().unwrap_or_default()).collect();
    all.join(",").into()
}

pub(super) fn container_names(object: &Value) -> Value {
    of_containers(object, "name")
}

pub(super) fn container_images(object: &Value) -> Value {
    of_containers(object, "image")
}

pub(super) fn ready_of_replicas(object: &Value) -> Value {
    format!("{}/{}", number(object, "/status/readyReplicas"), number(object, "/spec/replicas")).into()
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, "/status/conditions").iter().find(|condition| condition["type"] == kind)
}

pub(super) fn node_status(node: &Value) -> Value {
    let mut status = match condition(node, "Ready") {
        Some(ready) if ready["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if at(node, "/spec/unschedulable") == true {
        status.push_str(",SchedulingDisabled");
    }
    status.into()
}

pub(super) fn node_roles(node: &Value) -> Value {
    let labels = at(node, "/metadata/labels").as_object().into_iter().flatten();
    let mut roles: Vec<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role).filter(|role| !role.is_empty()),
            None => value.as_str().filter(|role| key == "kubernetes.io/role" && !role.is_empty()),
        })
        .collect();
    roles.sort_unstable();
    roles.dedup();
    or(roles.join(","), "<none>")
}

pub(super) fn node_address(node: &Value, kind: &str) -> Value {
    let found = list(node, "/status/addresses").iter().find(|address| address["type"] == kind);
    or(found.map(|address| text(address, "/address").to_owned()).unwrap_or_default(), "<none>")
}

pub(super) fn job_status(job: &Value) -> Value {
    let is = |kind: &str| condition(job, kind).is_some_and(|condition| condition["status"] == "True");
    let states = [
        ("Complete", "Complete"),
        ("Failed", "Failed"),
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    ];
    let going = !at(job, "/metadata/deletionTimestamp").is_null();
    let found = states.iter().find(|(kind, _)| is(kind)).map(|(_, word)| *word);
    match (found, going) {
        (Some(word @ ("Complete" | "Failed")), _) | (Some(word), false) => word,
        (_, true) => "Terminating",
        (None, false) => "Running",
    }
    .into()
}

pub(super) fn job_completions(job: &Value) -> Value {
    let done = number(job, "/status/succeeded");
    let parallelism = number(job, "/spec/parallelism");
    match at(job, "/spec/completions").as_i64() {
        Some(wanted) => format!("{done}/{wanted}"),
        None if parallelism > 1 => format!("{done}/1 of {parallelism}"),
        None => format!("{done}/1"),
    }
    .into()
}

pub(super) fn job_duration(job: &Value, now: Timestamp) -> Value {
    let moment = |pointer: &str| text(job, pointer).parse::<Timestamp>().ok();
    let Some(start) = moment("/status/startTime") else { return "".into() };
    let end = moment("/status/completionTime").unwrap_or(now);
    human(end.duration_since(start).as_secs()).into()
}

pub(super) fn last_schedule(job: &Value, now: Timestamp) -> Value {
    match at(job, "/status/lastScheduleTime") {
        Value::Null => "<none>".into(),
        moment => since(moment, now).into(),
    }
}

pub(super) fn load_balancer(object: &Value) -> Value {
    let points = list(object, "/status/loadBalancer/ingress").iter().map(|point| {
        let (ip, host) = (text(point, "/ip"), text(point, "/hostname"));
        if ip.is_empty() { host } else { ip }
    });
    points.collect::<Vec<_>>().join(",").into()
}

pub(super) fn external_ip(service: &Value) -> Value {
    let own: Vec<&str> = list(service, "/spec/externalIPs").iter().filter_map(Value::as_str).collect();
    match text(service, "/spec/type") {
        "LoadBalancer" => {
            let balanced = load_balancer(service);
            let all: Vec<&str> =
                balanced.as_str().filter(|text| !text.is_empty()).into_iter().chain(own).collect();
            or(all.join(","), "<pending>")
        }
        "ExternalName" => text(service, "/spec/externalName").into(),
        _ => or(own.join(","), "<none>"),
    }
}

pub(super) fn service_ports(service: &Value) -> Value {
    let ports = list(service, "/spec/ports").iter().map(|port| {
        let (own, protocol) = (number(port, "/port"), text(port, "/protocol"));
        match number(port, "/nodePort") {
            0 => format!("{own}/{protocol}"),
            node => format!("{own}:{node}/{protocol}"),
        }
    });
    or(ports.collect::<Vec<_>>().join(","), "<none>")
}

pub(super) fn ingress_hosts(ingress: &Value) -> Value {
    let hosts: Vec<&str> = list(ingress, "/spec/rules")
        .iter()
        .map(|rule| text(rule, "/host"))
        .filter(|h| !h.is_empty())
        .collect();
    or(hosts.join(","), "*")
}

pub(super) fn phase(object: &Value) -> Value {
    if at(object, "/metadata/deletionTimestamp").is_null() {
        at(object, "/status/phase").clone()
    } else {
        "Terminating".into()
    }
}

pub(super) fn access_modes(object: &Value) -> Value {
    let short = |mode: &Value| match mode.as_str().unwrap_or_default() {
        "ReadWriteOnce" => "RWO".to_owned(),
        "ReadOnlyMany" => "ROX".to_owned(),
        "ReadWriteMany" => "RWX".to_owned(),
        "ReadWriteOncePod" => "RWOP".to_owned(),
        other => other.to_owned(),
    };
    list(object, "/spec/accessModes").iter().map(short).collect::<Vec<_>>().join(",").into()
}

pub(super) fn claim(volume: &Value) -> Value {
    match at(volume, "/spec/claimRef") {
        Value::Null => "".into(),
        claim => format!("{}/{}", text(claim, "/namespace"), text(claim, "/name")).into(),
    }
}

pub(super) fn involved(event: &Value) -> Value {
    let kind = text(event, "/involvedObject/kind").to_ascii_lowercase();
    format!("{kind}/{}", text(event, "/involvedObject/name")).into()
}

pub(super) fn scale_target(autoscaler: &Value) -> Value {
    let target = at(autoscaler, "/spec/scaleTargetRef");
    format!("{}/{}", text(target, "/kind"), text(target, "/name")).into()
}

pub(super) fn targets(autoscaler: &Value) -> Value {
    let wanted = list(autoscaler, "/spec/metrics").iter().map(|metric| {
        let Some(resource) = metric.get("resource") else {
            return format!("{}: <unknown>", text(metric, "/type"));
        };
        let name = text(resource, "/name");
        let current = list(autoscaler, "/status/currentMetrics").iter().filter_map(|m| m.get("resource"));
        let current = current.into_iter().find(|current| text(current, "/name") == name);
        if let Some(wanted) = at(resource, "/target/averageUtilization").as_i64() {
            let now = current.and_then(|c| at(c, "/current/averageUtilization").as_i64());
            let now = now.map_or_else(|| "<unknown>".to_owned(), |now| format!("{now}%"));
            return format!("{name}: {now}/{wanted}%");
        }
        let now = current.map(|c| text(c, "/current/averageValue")).filter(|value| !value.is_empty());
        format!("{name}: {}/{}", now.unwrap_or("<unknown>"), text(resource, "/target/averageValue"))
    });
    or(wanted.collect::<Vec<_>>().join(", "), "<none>")
}

pub(super) fn storage_class_name(class: &Value) -> Value {
    let annotations = at(class, "/metadata/annotations");
    let default = annotations["storageclass.kubernetes.io/is-default-class"] == "true";
    format!("{}{}", text(class, "/metadata/name"), if default { " (default)" } else { "" }).into()
}

pub(super) fn config_size(map: &Value) -> Value {
    let size = |member: &str| map.get(member).and_then(Value::as_object).map_or(0, serde_json::Map::len);
    (size("data") + size("binaryData")).into()
}

/// What is used of what is allowed, of limits or of everything else.
pub(super) fn quota(quota: &Value, limits: bool) -> Value {
    let hard = at(quota, "/status/hard").as_object().or_else(|| at(quota, "/spec/hard").as_object());
    let used = at(quota, "/status/used");
    let mine = hard.into_iter().flatten().filter(|(name, _)| name.starts_with("limits.") == limits);
    let parts = mine.map(|(name, hard)| {
        let used = used[name.as_str()].as_str().unwrap_or("0");
        format!("{name}: {used}/{}", hard.as_str().unwrap_or_default())
    });
    parts.collect::<Vec<_>>().join(", ").into()
}

pub(super) fn role(binding: &Value) -> Value {
    format!("{}/{}", text(binding, "/roleRef/kind"), text(binding, "/roleRef/name")).into()
}

pub(super) fn controller(object: &Value) -> Value {
    let owner = list(object, "/metadata/ownerReferences").iter().find(|owner| owner["controller"] == true);
    let Some(owner) = owner else { return "<none>".into() };
    let group = text(owner, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
    let dot = if group.is_empty() { "" } else { "." };
    format!("{}{dot}{group}/{}", text(owner, "/kind").to_ascii_lowercase(), text(owner, "/name")).into()
}
