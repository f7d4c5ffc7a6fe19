//! Kubernetes' protobuf, as far as kubectl insists on it: it asks what it may do in no other form.
//!
//! Other bodies in protobuf are refused with 415, as everything is that the lab does not read.

use serde_json::{Map, Value, json};

/// What stands before every message.
const MAGIC: &[u8] = b"k8s\0";

pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// A number in groups of seven bits, the lowest first, and what stands behind it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(u32::try_from(7 * place).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, &bytes[place + 1..]));
        }
    }
    None
}

/// The members of a message that have a length: texts and messages. `None` for what is no message.
fn members(mut bytes: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut members = Vec::new();
    while !bytes.is_empty() {
        let (key, rest) = number(bytes)?;
        bytes = match key & 7 {
            0 => number(rest)?.1,
            1 => rest.get(8..)?,
            2 => {
                let (length, rest) = number(rest)?;
                let (member, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                members.push((key >> 3, member));
                rest
            }
            5 => rest.get(4..)?,
            _ => return None,
        };
    }
    Some(members)
}

fn find<'a>(members: &[(u64, &'a [u8])], number: u64) -> Option<&'a [u8]> {
    members.iter().rev().find(|(own, _)| *own == number).map(|(_, member)| *member)
}

/// The texts of a message under their names.
fn texts(message: &[u8], names: &[(u64, &str)]) -> Option<Value> {
    let members = members(message)?;
    let texts = names.iter().filter_map(|(number, name)| Some((*name, find(&members, *number)?)));
    let texts: Option<Map<String, Value>> =
        texts.map(|(name, text)| Some((name.to_owned(), std::str::from_utf8(text).ok()?.into()))).collect();
    Some(Value::Object(texts?))
}

/// A `SelfSubjectAccessReview` (k8s.io/api/authorization/v1/generated.proto) in its envelope (`runtime.Unknown`), as JSON.
pub(super) fn access_review(body: &[u8]) -> Option<Value> {
    let envelope = members(body.strip_prefix(MAGIC)?)?;
    let mut review = texts(find(&envelope, 1)?, &[(1, "apiVersion"), (2, "kind")])?;
    let object = members(find(&envelope, 2)?)?;
    let spec = members(find(&object, 2).unwrap_or_default())?;
    review["spec"] = json!({});
    if let Some(asked) = find(&spec, 1) {
        let names = [
            (1, "namespace"),
            (2, "verb"),
            (3, "group"),
            (4, "version"),
            (5, "resource"),
            (6, "subresource"),
            (7, "name"),
        ];
        review["spec"]["resourceAttributes"] = texts(asked, &names)?;
    }
    if let Some(asked) = find(&spec, 2) {
        review["spec"]["nonResourceAttributes"] = texts(asked, &[(1, "path"), (2, "verb")])?;
    }
    Some(review)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
    }

    #[test]
    fn a_review_is_read_and_half_of_one_is_not() {
        let kind = [member(1, b"authorization.k8s.io/v1"), member(2, b"SelfSubjectAccessReview")].concat();
        // A number among the texts is passed over.
        let asked =
            [vec![0x78, 0x96, 0x01], member(2, b"create"), member(5, b"pods"), member(6, b"eviction")]
                .concat();
        let object = [member(1, b""), member(2, &member(1, &asked))].concat();
        let body = [MAGIC, &member(1, &kind), &member(2, &object), &member(3, b"")].concat();
        let review = access_review(&body).unwrap();
        assert_eq!(review["kind"], "SelfSubjectAccessReview");
        assert_eq!(
            review["spec"],
            json!({ "resourceAttributes": { "verb": "create", "resource": "pods", "subresource": "eviction" } })
        );
        for end in 0..body.len() - 2 {
            assert_eq!(access_review(&body[..end]).filter(|half| *half == review), None, "{end}");
        }
        assert_eq!(access_review(b"{}"), None);
    }
}
