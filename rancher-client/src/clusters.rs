//! Finding clusters: by id, by name, all of them.

use serde::Deserialize;
use serde_json::Value;

use crate::answer::Operation;
use crate::client::RancherClient;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::id::RancherClusterId;

/// How far a token reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenReach {
    /// The token is not limited to a cluster: it may list, and search by name.
    Unlimited,
    /// The token is limited to this one cluster: reads by the cluster's id and its Kubernetes API work, and nothing
    /// else does.
    OneCluster,
}

impl RancherClient {
    /// Reads one cluster by its id. Works with a token that is limited to this cluster. An answer that is about another one
    /// is [`Error::AnotherCluster`].
    pub async fn cluster(&self, id: &RancherClusterId) -> Result<Cluster, Error> {
        let subject = format!("cluster {id}");
        let operation = Operation { text: format!("read {subject}"), subject, in_cluster: true };
        let (raw, server_time): (Value, _) = self.get_dated(&format!("v3/clusters/{id}"), &operation).await?;
        let cluster = Cluster::from_json(raw).map_err(|e| operation.unexpected(e))?;
        if cluster.id() != id {
            return Err(Error::AnotherCluster { asked: id.clone(), answered: cluster.id().clone() });
        }
        Ok(cluster.read_at(server_time))
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
        let mut found = self.all_clusters(&format!("name={filter}"), Some("name"), &operation).await?;
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
        self.all_clusters("", None, &operation).await
    }

    /// Whether the token in use may list clusters, or is limited to `cluster`.
    ///
    /// Rancher answers a scoped token outside its cluster exactly like one that is no good. So a refused list is
    /// followed by a read of the cluster, which a scoped token may. Where that is refused too, the error is that of
    /// the cluster: the token is no good, or limited to another cluster.
    pub async fn token_reach(&self, cluster: &RancherClusterId) -> Result<TokenReach, Error> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(rename = "data")]
            _data: Vec<Value>,
        }
        let operation = Operation {
            text: "list clusters".into(),
            subject: "the list of clusters".into(),
            in_cluster: false,
        };
        match self.get_json("v3/clusters?limit=1", &operation).await {
            Ok(Page { .. }) => Ok(TokenReach::Unlimited),
            Err(Error::TokenRejected { .. } | Error::ScopedToken { .. }) => {
                self.cluster(cluster).await.map(|_| TokenReach::OneCluster)
            }
            Err(error) => Err(error),
        }
    }

    async fn all_clusters(
        &self,
        query: &str,
        filter: Option<&str>,
        operation: &Operation,
    ) -> Result<Vec<Cluster>, Error> {
        let found = self.collect("v3/clusters", query, filter, operation).await?;
        let server_time = found.server_time;
        let clusters = found.items.into_iter();
        clusters.map(|item| Ok(item.read(operation, Cluster::from_json)?.read_at(server_time))).collect()
    }
}

#[cfg(test)]
mod tests;
