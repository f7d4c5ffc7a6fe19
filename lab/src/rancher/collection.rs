//! Lists as norman writes them: filters, sorting by id, pages.

use serde_json::{Map, Value, json};

const DEFAULT_LIMIT: usize = 1000;
const MOST: usize = 10_000;

/// Fields of a cluster that can be filtered by. Others are ignored without a word.
const FIELDS: [&str; 6] = ["driver", "id", "internal", "name", "provider", "state"];

/// The query of a list request, in its order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(pub(crate) Vec<(String, String)>);

impl Query {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn limit(&self) -> usize {
        match self.get("limit").and_then(|text| text.parse::<i64>().ok()) {
            Some(-1) => MOST,
            Some(limit) if limit > 0 => usize::try_from(limit).unwrap_or(MOST).min(MOST),
            _ => DEFAULT_LIMIT,
        }
    }

    /// The conditions on one field: `name=x`, `name_ne=x`.
    fn conditions(&self, field: &str) -> Vec<(&'static str, &str)> {
        let of = |(name, value): &'_ (String, String)| {
            let modifier = if name == field {
                Some("eq")
            } else {
                name.strip_prefix(field).and_then(|rest| match rest {
                    "_ne" => Some("ne"),
                    "_in" => Some("in"),
                    "_notin" => Some("notin"),
                    _ => None,
                })
            };
            modifier.map(|modifier| (modifier, value.clone()))
        };
        self.0.iter().filter_map(|pair| of(pair).map(|(modifier, _)| (modifier, pair.1.as_str()))).collect()
    }

    fn admits(&self, item: &Value) -> bool {
        FIELDS.iter().all(|field| {
            let text = match &item[*field] {
                Value::String(text) => text.clone(),
                Value::Bool(value) => value.to_string(),
                _ => String::new(),
            };
            self.conditions(field).iter().all(|(modifier, value)| match *modifier {
                "eq" => text == *value,
                "ne" => text != *value,
                "in" => value.split(',').any(|one| one == text),
                _ => value.split(',').all(|one| one != text),
            })
        })
    }

    /// The filters as the reply repeats them: `null` for a field that was not asked for.
    fn echo(&self) -> Value {
        let fields = FIELDS.iter().map(|field| {
            let conditions = self.conditions(field);
            let echo =
                conditions.iter().map(|(modifier, value)| json!({ "modifier": modifier, "value": value }));
            let echo = if conditions.is_empty() { Value::Null } else { echo.collect() };
            ((*field).to_owned(), echo)
        });
        Value::Object(fields.collect::<Map<_, _>>())
    }

    /// The query that leads to the page that begins with `marker`.
    fn with_marker(&self, marker: &str) -> String {
        let rest = self.0.iter().filter(|(name, _)| name != "marker");
        let pairs = rest.map(|(name, value)| (name.as_str(), value.as_str())).chain([("marker", marker)]);
        let pairs: Vec<_> =
            pairs.map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        pairs.join("&")
    }
}

/// Percent-encoding of everything but the letters that need none.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A page of `items`, which are sorted by id. `address` is that of the list, as the client sees it.
///
/// A marker whose object has vanished begins at the front again, as norman does.
pub(crate) fn collection(kind: &str, items: Vec<Value>, query: &Query, address: &str) -> Value {
    let items: Vec<Value> = items.into_iter().filter(|item| query.admits(item)).collect();
    let limit = query.limit();
    let start = query
        .get("marker")
        .and_then(|marker| items.iter().position(|item| item["id"] == marker))
        .unwrap_or(0);
    let end = items.len().min(start + limit);
    let mut pagination = json!({ "limit": limit, "total": items.len() });
    if start > 0 || end < items.len() {
        pagination["partial"] = true.into();
    }
    if let Some(id) = items.get(end).and_then(|item| item["id"].as_str()) {
        pagination["next"] = format!("{address}?{}", query.with_marker(id)).into();
    }
    json!({
        "type": "collection", "resourceType": kind, "links": { "self": address }, "createTypes": {}, "actions": {},
        "pagination": pagination, "sort": { "order": "asc", "reverse": format!("{address}?order=desc") },
        "filters": query.echo(), "data": items[start..end],
    })
}
