//! Reading and trimming JSON by path.

use serde_json::Value;

/// The value at `path`, where every step but the last is an object. JSON `null` is absence.
pub(crate) fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| value.get(key)).filter(|value| !value.is_null())
}

/// The non-empty text at `path`.
pub(crate) fn text_at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v str> {
    at(value, path)?.as_str().filter(|text| !text.is_empty())
}

/// The whole number at `path`, if it fits.
pub(crate) fn number_at(value: &Value, path: &[&str]) -> Option<u32> {
    at(value, path)?.as_u64()?.try_into().ok()
}

/// The boolean at `path`.
pub(crate) fn bool_at(value: &Value, path: &[&str]) -> Option<bool> {
    at(value, path)?.as_bool()
}

/// The elements of the array at `path`; an absent array is empty.
pub(crate) fn list_at<'v>(value: &'v Value, path: &[&str]) -> &'v [Value] {
    at(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The texts of the array at `path`.
pub(crate) fn texts_at<'v>(value: &'v Value, path: &[&str]) -> Vec<&'v str> {
    list_at(value, path).iter().filter_map(Value::as_str).collect()
}

/// The text members of the object at `path`.
pub(crate) fn pairs_at<'v>(value: &'v Value, path: &[&str]) -> std::collections::BTreeMap<&'v str, &'v str> {
    at(value, path)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
        .collect()
}

/// The eTag, which Azure spells `eTag` and some answers `etag`.
pub(crate) fn etag_of(value: &Value) -> Option<&str> {
    text_at(value, &["eTag"]).or_else(|| text_at(value, &["etag"]))
}

/// Removes what `path` leads to. A step `*` means every member of an object or element of an array. An object that
/// becomes empty stays: it may mean something to the service.
pub(crate) fn remove(value: &mut Value, path: &str) {
    match path.split_once('.') {
        None => {
            if let Value::Object(object) = value {
                object.remove(path);
            }
        }
        Some(("*", rest)) => match value {
            Value::Object(object) => object.values_mut().for_each(|member| remove(member, rest)),
            Value::Array(elements) => elements.iter_mut().for_each(|element| remove(element, rest)),
            _ => {}
        },
        Some((key, rest)) => {
            if let Some(member) = value.get_mut(key) {
                remove(member, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_and_wrong_types_are_absence() {
        let value = json!({"a": {"b": null, "c": "", "d": 3, "e": -1}});
        assert_eq!(at(&value, &["a", "b"]), None);
        assert_eq!(text_at(&value, &["a", "c"]), None);
        assert_eq!(text_at(&value, &["a", "d", "x"]), None);
        assert_eq!((number_at(&value, &["a", "d"]), number_at(&value, &["a", "e"])), (Some(3), None));
    }

    #[test]
    fn removal_follows_stars_through_objects_and_arrays_and_misses_quietly() {
        let mut value =
            json!({"m": {"x": {"id": 1, "k": 2}, "y": {"id": 3}}, "l": [{"id": 4}, 5], "n": null});
        for path in ["m.*.id", "l.*.id", "n.id", "absent.*.id", "m.x.none"] {
            remove(&mut value, path);
        }
        assert_eq!(value, json!({"m": {"x": {"k": 2}, "y": {}}, "l": [{}, 5], "n": null}));
    }
}
