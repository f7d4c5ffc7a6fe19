//! Merge patch (RFC 7396) and the strategic merge patch of Kubernetes.

use serde_json::{Map, Value};

/// Applies a merge patch: objects merge, `null` removes, everything else replaces.
pub(super) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    let object = as_object(target);
    for (name, value) in patch {
        if value.is_null() {
            object.remove(&name);
        } else {
            merge(object.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// Lists that are merged by a key of their elements (Kubernetes: `patchMergeKey`). Every other list is replaced.
const KEYED: [(&str, &str); 12] = [
    ("conditions", "type"),
    ("containers", "name"),
    ("env", "name"),
    ("ephemeralContainers", "name"),
    ("hostAliases", "ip"),
    ("imagePullSecrets", "name"),
    ("initContainers", "name"),
    ("ownerReferences", "uid"),
    ("taints", "key"),
    ("volumeDevices", "devicePath"),
    ("volumeMounts", "mountPath"),
    ("volumes", "name"),
];

/// Applies a strategic merge patch, with its directives `$patch: delete | replace` and `$retainKeys`. An instruction on the
/// order of elements is not followed: order means nothing to the lab.
pub(super) fn strategic(target: &mut Value, patch: Value) {
    let Value::Object(mut patch) = patch else {
        *target = patch;
        return;
    };
    if patch.remove("$patch").as_ref().and_then(Value::as_str) == Some("replace") {
        *target = Value::Object(patch);
        return;
    }
    let object = as_object(target);
    if let Some(Value::Array(retained)) = patch.remove("$retainKeys") {
        object.retain(|name, _| retained.iter().any(|kept| kept == name.as_str()));
    }
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            remove_from(object, list, &value);
        } else if value.is_null() {
            object.remove(&name);
        } else if !name.starts_with('$') {
            merge_member(object, &name, value);
        }
    }
}

fn merge_member(object: &mut Map<String, Value>, name: &str, value: Value) {
    let key = KEYED.iter().find(|(list, _)| *list == name).map(|(_, key)| *key);
    let entry = object.entry(name.to_owned()).or_insert(Value::Null);
    match (value, key) {
        (Value::Array(patch), Some(key)) => merge_list(entry, patch, key),
        (Value::Array(patch), None) if name == "finalizers" => {
            let mut list = entry.as_array().cloned().unwrap_or_default();
            let new: Vec<_> = patch.into_iter().filter(|value| !list.contains(value)).collect();
            list.extend(new);
            *entry = Value::Array(list);
        }
        (value, _) => strategic(entry, value),
    }
}

fn merge_list(target: &mut Value, patch: Vec<Value>, key: &str) {
    let mut list = target.as_array().cloned().unwrap_or_default();
    for mut element in patch {
        let directive = element.as_object_mut().and_then(|element| element.remove("$patch"));
        let directive = directive.as_ref().and_then(Value::as_str);
        if directive == Some("replace") {
            list.clear();
            continue;
        }
        let place = list.iter().position(|have| have.get(key).is_some() && have.get(key) == element.get(key));
        match (place, directive) {
            (Some(at), Some("delete")) => drop(list.remove(at)),
            (None, Some("delete")) => {}
            (Some(at), _) => strategic(&mut list[at], element),
            (None, _) => list.push(element),
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

fn as_object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was just made one")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_merges_objects_removes_by_null_and_replaces_lists() {
        let mut value = json!({ "a": { "b": 1, "c": 2 }, "l": [1, 2], "x": 1 });
        merge(
            &mut value,
            json!({ "a": { "b": null, "d": { "e": null, "f": 3 } }, "l": [9], "x": { "y": 1 } }),
        );
        assert_eq!(value, json!({ "a": { "c": 2, "d": { "f": 3 } }, "l": [9], "x": { "y": 1 } }));
    }

    #[test]
    fn a_strategic_patch_merges_known_lists_by_their_key() {
        let mut value = json!({ "spec": {
            "containers": [{ "name": "a", "image": "1", "args": ["x"] }, { "name": "b" }],
            "tolerations": [{ "key": "t" }], "taints": [{ "key": "k", "effect": "NoSchedule" }],
        }, "metadata": { "finalizers": ["one"] } });
        strategic(
            &mut value,
            json!({ "spec": {
                "containers": [
                    { "name": "a", "image": "2" }, { "name": "b", "$patch": "delete" }, { "name": "c" },
                ],
                "tolerations": [{ "key": "u" }], "taints": [{ "key": "n" }], "$setElementOrder/containers": [],
            }, "metadata": { "finalizers": ["two"], "$deleteFromPrimitiveList/finalizers": ["one"] } }),
        );
        assert_eq!(
            value["spec"]["containers"],
            json!([{ "name": "a", "image": "2", "args": ["x"] }, { "name": "c" }])
        );
        assert_eq!(value["spec"]["tolerations"], json!([{ "key": "u" }]));
        assert_eq!(value["spec"]["taints"].as_array().unwrap().len(), 2);
        assert_eq!(value["metadata"]["finalizers"], json!(["two"]));
    }

    #[test]
    fn the_directives_of_an_object_are_followed() {
        let mut value = json!({ "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } }, "n": { "a": 1 } });
        strategic(
            &mut value,
            json!({ "strategy": { "$retainKeys": ["type"], "type": "Recreate" }, "n": { "$patch": "replace", "b": 2 } }),
        );
        assert_eq!(value, json!({ "strategy": { "type": "Recreate" }, "n": { "b": 2 } }));
    }
}
