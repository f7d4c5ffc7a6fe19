//! Fields that nobody knows (`?fieldValidation=`): the kind's type drops them, so what is missing after a reading is unknown. And
//! values whose form the types here do not insist on.

use jiff::Timestamp;
use serde_json::Value;
use upgrade_core::model::MilliCpu;

use super::super::call::Call;
use super::defaults::pod_spec_of;
use super::objects::read_back;
use crate::error::ApiError;
use crate::store::Kind;

/// What is done about a field that the kind does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldValidation {
    /// It is dropped in silence.
    Ignore,
    /// It is dropped, and the answer has a warning. The API server's default.
    Warn,
    /// The request is refused.
    Strict,
}

impl FieldValidation {
    pub(super) fn of(call: &Call) -> Result<Self, ApiError> {
        match call.parameter("fieldValidation") {
            None | Some("Warn") => Ok(Self::Warn),
            Some("Ignore") => Ok(Self::Ignore),
            Some("Strict") => Ok(Self::Strict),
            Some(other) => Err(ApiError::bad_request(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
            ))),
        }
    }

    /// Reads an object as the kind that the path names, and names the fields it does not know: as warnings, or in a refusal.
    pub(super) fn check(self, kind: Kind, object: &Value) -> Result<Vec<String>, ApiError> {
        check_kind(kind, object)?;
        check_values(kind, object)?;
        let known = read_back(kind, object.clone())?;
        let mut unknown = Vec::new();
        if self != Self::Ignore {
            compare(object, &known, "", &mut unknown);
        }
        let words: Vec<String> =
            unknown.into_iter().map(|path| format!("unknown field \"{path}\"")).collect();
        if self == Self::Warn || words.is_empty() {
            return Ok(words);
        }
        let names = kind.names();
        let (version, kind) = (names.version, names.kind);
        Err(ApiError::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {}",
            words.join(", ")
        )))
    }
}

/// Is the body an object of the kind that the path names?
fn check_kind(kind: Kind, object: &Value) -> Result<(), ApiError> {
    let names = kind.names();
    let (version, given) = (object["apiVersion"].as_str(), object["kind"].as_str());
    match (version, given) {
        (Some(version), Some(given)) if (version, given) == (names.api_version, names.kind) => Ok(()),
        (Some(version), Some(given)) => Err(ApiError::bad_request(format!(
            "the object in the data ({version}, Kind={given}) does not match the expected object ({}, Kind={})",
            names.api_version, names.kind
        ))),
        _ => Err(ApiError::bad_request("Object 'Kind' or 'apiVersion' is missing in the request's body")),
    }
}

/// Values whose form the types here do not insist on, and the API server's do: quantities, and times with exactly six digits
/// after the second (apimachinery: `RFC3339Micro`).
fn check_values(kind: Kind, object: &Value) -> Result<(), ApiError> {
    let names = kind.names();
    let refuse = |why: &str| {
        let (version, kind) = (names.version, names.kind);
        Err(ApiError::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"
        )))
    };
    let containers = |list: &str| {
        let spec = pod_spec_of(kind).and_then(|path| object.pointer(path));
        spec.and_then(|spec| spec.get(list)).and_then(Value::as_array).into_iter().flatten()
    };
    let resources = containers("containers").chain(containers("initContainers")).map(|one| &one["resources"]);
    let claim = (kind == Kind::PersistentVolumeClaim).then(|| &object["spec"]["resources"]);
    let amounts = resources.chain(claim).flat_map(|of| [&of["requests"], &of["limits"]]);
    let mut amounts = amounts.filter_map(Value::as_object).flatten().filter_map(|(_, value)| value.as_str());
    if amounts.any(|text| MilliCpu::parse(text).is_err()) {
        return refuse(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        );
    }
    let times: &[&str] = match kind {
        Kind::Lease => &["/spec/acquireTime", "/spec/renewTime"],
        Kind::Event => &["/eventTime"],
        _ => &[],
    };
    let times = times.iter().filter_map(|pointer| object.pointer(pointer)).filter_map(Value::as_str);
    let not_micro = |text: &&str| {
        let fraction = text.split_once('.').map(|(_, fraction)| fraction);
        let digits = fraction.map(|fraction| fraction.bytes().take_while(u8::is_ascii_digit).count());
        digits != Some(6) || text.parse::<Timestamp>().is_err()
    };
    match times.clone().find(not_micro) {
        None => Ok(()),
        Some(text) => refuse(&format!(
            "parsing time \"{text}\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"{text}\""
        )),
    }
}

fn compare(given: &Value, known: &Value, path: &str, unknown: &mut Vec<String>) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (name, value) in given.iter().filter(|(_, value)| !is_nothing(value)) {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match known.get(name) {
                    Some(known) => compare(value, known, &path, unknown),
                    None => unknown.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (at, (given, known)) in given.iter().zip(known).enumerate() {
                compare(given, known, &format!("{path}[{at}]"), unknown);
            }
        }
        _ => {}
    }
}

/// Writing it is writing nothing, whether the kind has the field or not.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}
