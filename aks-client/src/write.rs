//! Every write. Each is sent once; each that changes something existing is fenced by the eTag it was read with.

use reqwest::Method;
use serde_json::Value;

use crate::body::{BodyError, control_plane_body, upgrade_pool_body};
use crate::client::{AksClient, pool_of};
use crate::error::Error;
use crate::id::{ClusterId, is_full_version};
use crate::operation::{Operation, OperationKind, OperationUrl};
use crate::pace::Lane;
use crate::retry_after::{retry_after, server_time};
use crate::transport::{Condition, Reply, Request, header_text};

impl AksClient {
    /// Begins the upgrade of the control plane alone, to a complete version.
    ///
    /// Reads the cluster, changes nothing but the version ([`control_plane_body`]) and writes it back under its eTag.
    /// [`Error::EtagMismatch`]: somebody wrote in between, nothing happened. The same version again after a failed
    /// upgrade resumes it; after a successful one it changes nothing.
    pub async fn begin_control_plane_upgrade(&self, id: &ClusterId, to: &str) -> Result<Operation, Error> {
        let cluster = self.cluster(id).await?;
        let body = control_plane_body(cluster.raw(), to)?;
        let etag = etag(cluster.etag(), || id.resource_id())?;
        let mut request = Request::write(Method::PUT, self.cluster_url(id, &[]));
        request.condition = Condition::Unchanged(etag);
        request.body = Some(body);
        let reply = self.send_resource_put(&request).await?;
        Ok(operation(OperationKind::UpgradeControlPlane { to: to.to_owned() }, id, None, &reply))
    }

    /// Begins the creation of a pool, for example with a [`mirror_body`](crate::mirror_body).
    ///
    /// Creates only: a pool of that name is left as it is and the answer is [`Error::AlreadyExists`]. Accepted does
    /// not mean there will be nodes: wait for the operation.
    pub async fn begin_create_pool(
        &self,
        id: &ClusterId,
        name: &str,
        body: &Value,
    ) -> Result<Operation, Error> {
        let mut request = Request::write(Method::PUT, self.pool_url(id, name, &[])?);
        request.condition = Condition::Absent;
        request.body = Some(body.clone());
        let reply = self.send_resource_put(&request).await?;
        Ok(operation(OperationKind::CreatePool, id, Some(name), &reply))
    }

    /// Begins the upgrade of a pool in place, to a complete version.
    ///
    /// Reads the pool, changes the version ([`upgrade_pool_body`]) and writes it back under its eTag. How nodes are
    /// replaced is up to the pool's upgrade settings, which this does not touch. No such pool: [`Error::NotFound`].
    pub async fn begin_upgrade_pool(&self, id: &ClusterId, name: &str, to: &str) -> Result<Operation, Error> {
        if !is_full_version(to) {
            return Err(BodyError::IncompleteVersion { given: to.to_owned() }.into());
        }
        let url = self.pool_url(id, name, &[])?;
        let reply = self.send(&Request::get(url.clone(), Lane::Aks(id.subscription()))).await?;
        let pool = pool_of(&reply, name)?;
        let mut request = Request::write(Method::PUT, url);
        request.condition = Condition::Unchanged(etag(pool.etag(), || format!("pool {name}"))?);
        request.body = Some(upgrade_pool_body(&pool, to)?);
        let reply = self.send_resource_put(&request).await?;
        Ok(operation(OperationKind::UpgradePool { to: to.to_owned() }, id, Some(name), &reply))
    }

    /// Begins to give the pool's nodes the newest image of the version they have. `None`: they have it already.
    ///
    /// How nodes are replaced is up to the pool's upgrade settings; they cannot be given here. Not fenced by an eTag: the
    /// call names no property that somebody else might have changed.
    pub async fn begin_node_image_upgrade(
        &self,
        id: &ClusterId,
        name: &str,
    ) -> Result<Option<Operation>, Error> {
        let request = Request::write(Method::POST, self.pool_url(id, name, &["upgradeNodeImageVersion"])?);
        let reply = self.send_bodiless(&request).await?;
        let operation = operation(OperationKind::UpgradeNodeImage, id, Some(name), &reply);
        let followable = operation.azure_async_operation.is_some() || operation.location.is_some();
        Ok((reply.status != 200 || followable).then_some(operation))
    }

    /// Begins the deletion of a pool; of an absent one it succeeds at once.
    ///
    /// With `etag`, only if the pool is still as it was read. AKS drains the nodes and respects budgets, unless
    /// `ignore_budgets`: pass that only for a pool that was seen empty.
    pub async fn begin_delete_pool(
        &self,
        id: &ClusterId,
        name: &str,
        etag: Option<&str>,
        ignore_budgets: bool,
    ) -> Result<Operation, Error> {
        let mut url = self.pool_url(id, name, &[])?;
        if ignore_budgets {
            url.query_pairs_mut().append_pair("ignore-pod-disruption-budget", "true");
        }
        let mut request = Request::write(Method::DELETE, url);
        if let Some(etag) = etag {
            request.condition = Condition::Unchanged(etag.to_owned());
        }
        let reply = self.send_bodiless(&request).await?;
        Ok(operation(OperationKind::DeletePool, id, Some(name), &reply))
    }

    /// Asks the service to abort the last operation on a pool. Undoes nothing. `None`: that operation had ended first.
    pub async fn abort_pool(&self, id: &ClusterId, name: &str) -> Result<Option<Operation>, Error> {
        let request = Request::write(Method::POST, self.pool_url(id, name, &["abort"])?);
        let reply = self.send_abort(&request).await?;
        Ok(reply.map(|reply| operation(OperationKind::AbortPool, id, Some(name), &reply)))
    }

    /// Asks the service to abort the last operation on the cluster. Undoes nothing. `None`: that operation had ended
    /// first.
    pub async fn abort_cluster(&self, id: &ClusterId) -> Result<Option<Operation>, Error> {
        let request = Request::write(Method::POST, self.cluster_url(id, &["abort"]));
        let reply = self.send_abort(&request).await?;
        Ok(reply.map(|reply| operation(OperationKind::AbortCluster, id, None, &reply)))
    }

    async fn send_abort(&self, request: &Request) -> Result<Option<Reply>, Error> {
        match self.send_bodiless(request).await {
            Ok(reply) => Ok(Some(reply)),
            // 409 is how the service says that there is nothing left to abort; a conflict proper is passed on.
            Err(Error::Api { answer, .. } | Error::NotAllowed { answer }) if answer.status == 409 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A PUT answers with the resource; anything else with a 2xx did not come from the service.
    async fn send_resource_put(&self, request: &Request) -> Result<Reply, Error> {
        let reply = self.send(request).await?;
        if reply.status != 202 && !reply.json()?.is_object() {
            return Err(reply.unexpected("a write answered without the resource"));
        }
        Ok(reply)
    }

    /// DELETE and POST answer 202 or 204, mostly without a body. A body that is not JSON came from somebody else.
    async fn send_bodiless(&self, request: &Request) -> Result<Reply, Error> {
        let reply = self.send(request).await?;
        if !reply.body.is_empty() {
            reply.json()?;
        }
        Ok(reply)
    }
}

fn etag(etag: Option<&str>, resource: impl FnOnce() -> String) -> Result<String, Error> {
    etag.map(str::to_owned).ok_or_else(|| BodyError::NoEtag { resource: resource() }.into())
}

fn operation(kind: OperationKind, id: &ClusterId, pool: Option<&str>, reply: &Reply) -> Operation {
    let url = |name| header_text(&reply.headers, name).and_then(|text| OperationUrl::parse(&text));
    Operation {
        kind,
        cluster: id.clone(),
        pool: pool.map(str::to_owned),
        azure_async_operation: url("azure-asyncoperation"),
        location: url("location"),
        retry_after: retry_after(&reply.headers),
        started: server_time(&reply.headers),
        request_id: reply.trace.request_id.clone(),
    }
}
