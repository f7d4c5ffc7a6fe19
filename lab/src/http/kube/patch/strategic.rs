//! The strategic merge patch of Kubernetes.

use serde_json::{Map, Value};

use super::as_object;
use crate::store::Kind;

/// Lists that are merged by a key of their elements (`patchMergeKey` in k8s.io/api). Every other list is replaced; so are a
/// node's taints and a pod's tolerations.
const KEYED: [(&str, &str); 18] = [
    ("addresses", "type"),
    ("conditions", "type"),
    ("containers", "name"),
    ("env", "name"),
    ("ephemeralContainers", "name"),
    ("hostAliases", "ip"),
    ("hostIPs", "ip"),
    ("imagePullSecrets", "name"),
    ("initContainers", "name"),
    ("ownerReferences", "uid"),
    ("podIPs", "ip"),
    ("resourceClaims", "name"),
    ("schedulingGates", "name"),
    ("secrets", "name"),
    ("topologySpreadConstraints", "topologyKey"),
    ("volumeDevices", "devicePath"),
    ("volumeMounts", "mountPath"),
    ("volumes", "name"),
];

/// Lists of plain values that are merged (`patchStrategy: merge`).
const MERGED: [&str; 2] = ["finalizers", "podCIDRs"];

/// How a member that is a list is changed.
enum ListRule {
    Keyed(&'static str),
    Merged,
    Replaced,
}

/// Where in an object a patch is at work.
#[derive(Clone, Copy)]
struct Place {
    kind: Kind,
    /// Inside an element of a list of containers.
    in_container: bool,
}

impl Place {
    /// Two lists have the same name and different rules: the ports of a container and those of a Service.
    fn rule(self, list: &str) -> ListRule {
        match (list, self.in_container, self.kind) {
            ("ports", true, _) => ListRule::Keyed("containerPort"),
            ("ports", false, Kind::Service) => ListRule::Keyed("port"),
            ("webhooks", _, Kind::ValidatingWebhookConfiguration | Kind::MutatingWebhookConfiguration) => {
                ListRule::Keyed("name")
            }
            _ if MERGED.contains(&list) => ListRule::Merged,
            _ => {
                let key = KEYED.iter().find(|(keyed, _)| *keyed == list);
                key.map_or(ListRule::Replaced, |(_, key)| ListRule::Keyed(key))
            }
        }
    }

    fn below(self, list: &str) -> Self {
        let containers = matches!(list, "containers" | "initContainers" | "ephemeralContainers");
        Self { in_container: self.in_container || containers, ..self }
    }
}

/// Applies a strategic merge patch with its directives: `$patch: delete | replace`, `$retainKeys`, `$deleteFromPrimitiveList` and
/// `$setElementOrder`.
pub(super) fn apply(kind: Kind, target: &mut Value, patch: Value) {
    change(Place { kind, in_container: false }, target, patch);
}

fn change(place: Place, target: &mut Value, patch: Value) {
    let Value::Object(mut patch) = patch else {
        *target = patch;
        return;
    };
    match patch.remove("$patch").as_ref().and_then(Value::as_str) {
        Some("replace") => {
            *target = Value::Object(patch);
            return;
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return;
        }
        _ => {}
    }
    let object = as_object(target);
    if let Some(Value::Array(retained)) = patch.remove("$retainKeys") {
        object.retain(|name, _| retained.iter().any(|kept| kept == name.as_str()));
    }
    let mut orders = Map::new();
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            remove_from(object, list, &value);
        } else if let Some(list) = name.strip_prefix("$setElementOrder/") {
            orders.insert(list.to_owned(), value);
        } else if value.is_null() {
            object.remove(&name);
        } else if !name.starts_with('$') {
            change_member(place, object, &name, value);
        }
    }
    for (list, order) in orders {
        set_order(&place.rule(&list), object.get_mut(&list), &order);
    }
}

fn change_member(place: Place, object: &mut Map<String, Value>, name: &str, value: Value) {
    let entry = object.entry(name.to_owned()).or_insert(Value::Null);
    match (value, place.rule(name)) {
        (Value::Array(patch), ListRule::Keyed(key)) => merge_list(place.below(name), entry, patch, key),
        (Value::Array(patch), ListRule::Merged) => {
            let mut list = entry.as_array().cloned().unwrap_or_default();
            let new: Vec<_> = patch.into_iter().filter(|value| !list.contains(value)).collect();
            list.extend(new);
            *entry = Value::Array(list);
        }
        // `patchStrategy: replace`: half of a selector would select something else.
        (value, _) if place.kind == Kind::PodDisruptionBudget && name == "selector" => {
            entry.take();
            change(place, entry, value);
        }
        (value, _) => change(place, entry, value),
    }
}

fn merge_list(place: Place, target: &mut Value, patch: Vec<Value>, key: &str) {
    let mut list = target.as_array().cloned().unwrap_or_default();
    for mut element in patch {
        let directive = element.as_object_mut().and_then(|element| element.remove("$patch"));
        let directive = directive.as_ref().and_then(Value::as_str);
        if directive == Some("replace") {
            list.clear();
            continue;
        }
        let at = list.iter().position(|have| have.get(key).is_some() && have.get(key) == element.get(key));
        match (at, directive) {
            (Some(at), Some("delete")) => drop(list.remove(at)),
            (None, Some("delete")) => {}
            (Some(at), _) => change(place, &mut list[at], element),
            (None, _) => {
                // A new element may bring directives of its own.
                let mut new = Value::Object(Map::new());
                change(place, &mut new, element);
                list.push(new);
            }
        }
    }
    *target = Value::Array(list);
}

fn remove_from(object: &mut Map<String, Value>, list: &str, values: &Value) {
    let gone = values.as_array().cloned().unwrap_or_default();
    if let Some(Value::Array(list)) = object.get_mut(list) {
        list.retain(|value| !gone.contains(value));
    }
}

/// Puts the elements that the order names into it. The others keep their place before those that they stood before.
fn set_order(rule: &ListRule, target: Option<&mut Value>, order: &Value) {
    let (Some(Value::Array(list)), Some(order)) = (target, order.as_array()) else { return };
    let rank = |element: &Value| match rule {
        ListRule::Keyed(key) => order.iter().position(|named| named.get(key) == element.get(key)),
        ListRule::Merged | ListRule::Replaced => order.iter().position(|named| named == element),
    };
    let mut ordered: Vec<(usize, Value)> =
        list.iter().filter_map(|element| Some((rank(element)?, element.clone()))).collect();
    ordered.sort_by_key(|(rank, _)| *rank);
    let mut ordered = ordered.into_iter().map(|(_, element)| element);
    for element in list.iter_mut().filter(|element| rank(element).is_some()) {
        *element = ordered.next().expect("each ranked element is among the ordered ones");
    }
}
