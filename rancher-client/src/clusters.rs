//! Finding clusters: by id, by name, all of them.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::answer::Operation;
use crate::client::RancherClient;
use crate::cluster::Cluster;
use crate::error::{DecodeError, Error};
use crate::id::RancherClusterId;

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

impl RancherClient {
    /// Reads one cluster by its id. Works with a token that is limited to this cluster.
    pub async fn cluster(&self, id: &RancherClusterId) -> Result<Cluster, Error> {
        let subject = format!("cluster {id}");
        let operation = Operation { text: format!("read {subject}"), subject, in_cluster: true };
        let raw: Value = self.get_json(&format!("v3/clusters/{id}"), &operation).await?;
        let cluster = Cluster::from_json(raw).map_err(|e| unexpected(&operation, e))?;
        if cluster.id() != id {
            let reason = format!("cluster {id} expected, found {}", cluster.id());
            return Err(unexpected(&operation, DecodeError::new("id", &reason)));
        }
        Ok(cluster)
    }

    /// Finds the one cluster with this display name, upper and lower case told apart.
    ///
    /// It is [`Error::NotFound`] when this user sees none and [`Error::AmbiguousName`] when there are several. A token
    /// that is limited to one cluster cannot search: [`Error::ScopedToken`], or [`Error::TokenRejected`] with
    /// `perhaps_scoped` where Rancher does not tell the two apart.
    pub async fn cluster_by_name(&self, name: &str) -> Result<Cluster, Error> {
        let subject = format!("cluster `{}`", crate::text::clean(name));
        let operation = Operation { text: format!("find {subject}"), subject, in_cluster: false };
        let filter: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
        // Rancher ignores filters that it does not know without a word, so the names are compared here in any case.
        let mut found = self.all_pages(&format!("name={filter}"), Some("name"), &operation).await?;
        found.retain(|cluster| cluster.name() == name);
        if found.len() > 1 {
            let ids = found.iter().map(|cluster| cluster.id().clone()).collect();
            return Err(Error::AmbiguousName { name: crate::text::clean(name), ids });
        }
        found.pop().ok_or(Error::NotFound { subject: operation.subject })
    }

    /// All clusters that this token's user sees, each once, in Rancher's order (by id). A user without rights sees an
    /// empty list, not an error.
    pub async fn clusters(&self) -> Result<Vec<Cluster>, Error> {
        let operation = Operation {
            text: "list clusters".into(),
            subject: "the list of clusters".into(),
            in_cluster: false,
        };
        self.all_pages("", None, &operation).await
    }

    /// Walks the pages. Only the query of a `next` link is used: behind some proxies it names another host, or http,
    /// and the token must not go there.
    async fn all_pages(
        &self,
        query: &str,
        filter: Option<&str>,
        operation: &Operation,
    ) -> Result<Vec<Cluster>, Error> {
        let mut clusters = Vec::new();
        let mut seen = HashSet::new();
        let mut markers = HashSet::new();
        let mut query = query.to_owned();
        loop {
            let separator = if query.is_empty() { "" } else { "?" };
            let page: Page = self.get_json(&format!("v3/clusters{separator}{query}"), operation).await?;
            if let Some(field) = filter.filter(|field| !echoes_filter(&page, field)) {
                tracing::debug!(field, "Rancher did not apply the filter; every cluster is looked at");
            }
            for (index, raw) in page.data.into_iter().enumerate() {
                let cluster = Cluster::from_json(raw)
                    .map_err(|e| unexpected(operation, e.below(&format!("data[{index}]"))))?;
                if seen.insert(cluster.id().clone()) {
                    clusters.push(cluster);
                }
            }
            let next = page.pagination.and_then(|pagination| pagination.next).unwrap_or_default();
            if next.is_empty() {
                return Ok(clusters);
            }
            query = self.query_of(&next).ok_or_else(|| {
                unexpected(operation, DecodeError::new("pagination.next", "not a link to a page"))
            })?;
            // When the object that a marker names has vanished, Rancher starts again at the first page. What was
            // seen is skipped then, and a marker that comes back means that there is nothing new behind it.
            if !markers.insert(marker(&query)) {
                return Ok(clusters);
            }
        }
    }

    fn query_of(&self, link: &str) -> Option<String> {
        let base = self.url().join("v3/clusters").ok()?;
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

fn unexpected(operation: &Operation, source: DecodeError) -> Error {
    Error::UnexpectedBody { operation: operation.text.clone(), source }
}

#[cfg(test)]
mod tests;
