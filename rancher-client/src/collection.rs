//! Walking the pages of a norman collection.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::answer::Operation;
use crate::client::RancherClient;
use crate::error::{DecodeError, Error};

/// Most pages that are followed. At Rancher's 1000 objects to a page that is a million; a server that has still more
/// is making links up.
const MAX_PAGES: usize = 1000;

/// One page of a norman collection.
#[derive(Deserialize)]
struct Page {
    data: Vec<Value>,
    pagination: Option<Pagination>,
    filters: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Pagination {
    next: Option<String>,
}

/// A whole collection, each object once.
pub(crate) struct Collection {
    pub(crate) items: Vec<Item>,
    /// Whether every page said that it was filtered as asked for.
    pub(crate) filtered: bool,
    /// The server's clock at the last page.
    pub(crate) server_time: Option<Timestamp>,
}

/// One object of a collection.
pub(crate) struct Item {
    /// Where it stood, for messages: `data[3]`.
    place: String,
    pub(crate) value: Value,
}

impl Item {
    /// Reads the object with `read`; an error names its place in the page.
    pub(crate) fn read<T>(
        self,
        operation: &Operation,
        read: impl FnOnce(Value) -> Result<T, DecodeError>,
    ) -> Result<T, Error> {
        let Self { place, value } = self;
        read(value).map_err(|e| operation.unexpected(e.below(&place)))
    }
}

impl RancherClient {
    /// Walks the pages below `path`. Only the query of a `next` link is used: behind some proxies it names another
    /// host, or http, and the token must not go there.
    pub(crate) async fn collect(
        &self,
        path: &str,
        query: &str,
        filter: Option<&str>,
        operation: &Operation,
    ) -> Result<Collection, Error> {
        let mut collection = Collection { items: Vec::new(), filtered: true, server_time: None };
        let mut seen = HashSet::new();
        let mut markers = HashSet::new();
        let mut query = query.to_owned();
        loop {
            let separator = if query.is_empty() { "" } else { "?" };
            let (page, server_time): (Page, _) =
                self.get_dated(&format!("{path}{separator}{query}"), operation).await?;
            collection.server_time = server_time;
            if let Some(field) = filter.filter(|field| !echoes_filter(&page, field)) {
                collection.filtered = false;
                tracing::debug!(field, "Rancher did not apply the filter; everything is looked at");
            }
            for (index, value) in page.data.into_iter().enumerate() {
                let place = format!("data[{index}]");
                let Some(id) = value.get("id").and_then(Value::as_str) else {
                    let reason = DecodeError::new("id", "a text expected");
                    return Err(operation.unexpected(reason.below(&place)));
                };
                if seen.insert(id.to_owned()) {
                    collection.items.push(Item { place, value });
                }
            }
            let next = page.pagination.and_then(|pagination| pagination.next).unwrap_or_default();
            if next.is_empty() {
                return Ok(collection);
            }
            let broken = |reason| operation.unexpected(DecodeError::new("pagination.next", reason));
            query = self.query_of(path, &next).ok_or_else(|| broken("not a link to a page"))?;
            // When the object that a marker names has vanished, Rancher starts again at the first page. What was
            // seen is skipped then, and a marker that comes back means that there is nothing new behind it.
            if !markers.insert(marker(&query)) {
                return Ok(collection);
            }
            if markers.len() >= MAX_PAGES {
                return Err(broken("more pages than any Rancher has"));
            }
        }
    }

    fn query_of(&self, path: &str, link: &str) -> Option<String> {
        let base = self.url().join(path).ok()?;
        base.join(link).ok()?.query().map(str::to_owned)
    }
}

/// Whether the reply says that it filtered by `field`. Only a list counts: an unknown field is echoed as `null`.
fn echoes_filter(page: &Page, field: &str) -> bool {
    page.filters.as_ref().and_then(|filters| filters.get(field)).is_some_and(Value::is_array)
}

/// The marker in a query, or the whole query where it has none.
fn marker(query: &str) -> String {
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let marker = pairs.into_iter().find(|(key, _)| key == "marker");
    marker.map_or_else(|| query.to_owned(), |(_, value)| value.into_owned())
}
