//! JSON patch (RFC 6902).

use serde::Deserialize;
use serde_json::Value;

use crate::error::ApiError;

/// One step of a patch. Paths are JSON pointers.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(in crate::http::kube) enum Operation {
    Add { path: String, value: Value },
    Remove { path: String },
    Replace { path: String, value: Value },
    Move { from: String, path: String },
    Copy { from: String, path: String },
    Test { path: String, value: Value },
}

/// The API server takes no more in one patch (`maxJSONPatchOperations`).
const MOST: usize = 10_000;

pub(super) fn read(body: &[u8]) -> Result<Vec<Operation>, ApiError> {
    let operations: Vec<Operation> = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    if operations.len() > MOST {
        let message =
            format!("The allowed maximum operations in a JSON patch is {MOST}, got {}", operations.len());
        return Err(ApiError::new(413, "RequestEntityTooLarge", message));
    }
    Ok(operations)
}

/// Takes every step, or says which one cannot be taken. A caller throws the target away after an error.
pub(super) fn apply(target: &mut Value, operations: Vec<Operation>) -> Result<(), String> {
    for operation in operations {
        match operation {
            Operation::Add { path, value } => add(target, &path, value)?,
            Operation::Remove { path } => drop(remove(target, &path)?),
            Operation::Replace { path, value } => *find(target, &path)? = value,
            Operation::Move { from, path } => {
                if path.strip_prefix(&from).is_some_and(|below| below.starts_with('/')) {
                    return Err(format!("{from} cannot be moved into itself"));
                }
                let value = remove(target, &from)?;
                add(target, &path, value)?;
            }
            Operation::Copy { from, path } => {
                let value = find(target, &from)?.clone();
                add(target, &path, value)?;
            }
            Operation::Test { path, value } => {
                // Kubernetes' library takes an absent value for null.
                let found = target.pointer(&path).unwrap_or(&Value::Null);
                if *found != value {
                    return Err(format!("testing value {path} failed: test failed"));
                }
            }
        }
    }
    Ok(())
}

fn find<'a>(target: &'a mut Value, path: &str) -> Result<&'a mut Value, String> {
    target.pointer_mut(path).ok_or_else(|| missing(path))
}

fn missing(path: &str) -> String {
    format!("doc is missing path {path:?}: missing value")
}

/// The place that holds the last step of a path, and that step.
fn parent<'a>(target: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), String> {
    let (above, last) = path.rsplit_once('/').ok_or_else(|| format!("{path:?} is not a JSON pointer"))?;
    Ok((find(target, above)?, last.replace("~1", "/").replace("~0", "~")))
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    let (place, last) = parent(target, path)?;
    match place {
        Value::Object(members) => drop(members.insert(last, value)),
        Value::Array(list) => {
            let at = if last == "-" { Some(list.len()) } else { index(&last) };
            let at = at.filter(|at| *at <= list.len()).ok_or_else(|| missing(path))?;
            list.insert(at, value);
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn remove(target: &mut Value, path: &str) -> Result<Value, String> {
    let (place, last) = parent(target, path)?;
    let removed = match place {
        Value::Object(members) => members.remove(&last),
        Value::Array(list) => index(&last).filter(|at| *at < list.len()).map(|at| list.remove(at)),
        _ => None,
    };
    removed.ok_or_else(|| missing(path))
}

/// An index without leading zeros or signs.
fn index(text: &str) -> Option<usize> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}
