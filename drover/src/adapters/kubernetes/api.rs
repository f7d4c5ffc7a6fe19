//! One request to the API server, and the pages of a list.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Future, Stream};
use http::{Method, Request};
use kube::client::Body;
use rancher_client::{BodyError, KubernetesProxy};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use upgrade_core::model::{ObjectName, Uid, WorkloadKind};
use upgrade_core::ports::{PortError, WriteMode};
use upgrade_core::view::{Object, ResourceKind};
use url::form_urlencoded;

use super::decode::{DecodeError, Reach, Reaches, Wire, share, volume_reach};
use super::failure::Failure;
use super::service::ProxyService;
use super::wire;

/// Objects a page. A page of pods is some megabytes; larger ones make the API server answer late (Kubernetes: chunking).
const PAGE: u32 = 500;

/// The longest wait for a whole answer that is not a watch. Rancher alone may wait 40 s for a lost tunnel.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// How often a read is tried, and how long to wait after the first failure; doubling, 1 + 2 + 4 s outlast the switch of an
/// agent or a front end.
const ATTEMPTS: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest pause a server may ask for within a call; longer ones are the caller's to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How often a list is begun anew because its continuation expired under it.
const RESTARTS: u32 = 3;

/// What a server is told about who writes.
pub(super) const FIELD_MANAGER: &str = "aks-drover";

/// The API server, request by request.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) client: kube::Client,
    pub(super) service: ProxyService,
}

/// Everything of one kind, and the point from which a watch goes on.
pub(super) struct Listing {
    pub(super) objects: Vec<Object>,
    pub(super) version: String,
}

/// Where the API server keeps a kind.
pub(super) fn collection(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Node => "/api/v1/nodes",
        ResourceKind::Pod => "/api/v1/pods",
        ResourceKind::Service => "/api/v1/services",
        ResourceKind::PersistentVolumeClaim => "/api/v1/persistentvolumeclaims",
        ResourceKind::HorizontalPodAutoscaler => "/apis/autoscaling/v2/horizontalpodautoscalers",
        ResourceKind::Deployment => "/apis/apps/v1/deployments",
        ResourceKind::StatefulSet => "/apis/apps/v1/statefulsets",
        ResourceKind::DaemonSet => "/apis/apps/v1/daemonsets",
        ResourceKind::ReplicaSet => "/apis/apps/v1/replicasets",
        ResourceKind::Job => "/apis/batch/v1/jobs",
        ResourceKind::PodDisruptionBudget => "/apis/policy/v1/poddisruptionbudgets",
        ResourceKind::EndpointSlice => "/apis/discovery.k8s.io/v1/endpointslices",
    }
}

const VOLUMES: &str = "/api/v1/persistentvolumes";

/// The kind of workload that a kind of resource holds. Only the decoder of workloads looks at it.
pub(super) fn workload_kind(kind: ResourceKind) -> WorkloadKind {
    match kind {
        ResourceKind::Deployment => WorkloadKind::Deployment,
        ResourceKind::StatefulSet => WorkloadKind::StatefulSet,
        ResourceKind::DaemonSet => WorkloadKind::DaemonSet,
        ResourceKind::ReplicaSet => WorkloadKind::ReplicaSet,
        ResourceKind::Job => WorkloadKind::Job,
        other => WorkloadKind::Other(other.plural().to_owned()),
    }
}

/// Runs `$body` with `$wire` as the type in which a kind is read.
macro_rules! with_wire {
    ($kind:expr, $wire:ident => $body:expr) => {
        match $kind {
            ResourceKind::Node => {
                type $wire = wire::Node;
                $body
            }
            ResourceKind::Pod => {
                type $wire = wire::Pod;
                $body
            }
            ResourceKind::Deployment
            | ResourceKind::StatefulSet
            | ResourceKind::DaemonSet
            | ResourceKind::ReplicaSet
            | ResourceKind::Job => {
                type $wire = wire::Workload;
                $body
            }
            ResourceKind::PodDisruptionBudget => {
                type $wire = wire::Budget;
                $body
            }
            ResourceKind::Service => {
                type $wire = wire::Service;
                $body
            }
            ResourceKind::EndpointSlice => {
                type $wire = wire::EndpointSlice;
                $body
            }
            ResourceKind::PersistentVolumeClaim => {
                type $wire = wire::Claim;
                $body
            }
            ResourceKind::HorizontalPodAutoscaler => {
                type $wire = wire::Autoscaler;
                $body
            }
        }
    };
}
pub(super) use with_wire;

/// A path with a query.
pub(super) fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs);
    format!("{path}?{}", query.finish())
}

pub(super) fn get(path: &str) -> Request<Vec<u8>> {
    request(Method::GET, path, None, Vec::new())
}

fn request(method: Method, path: &str, content: Option<&str>, body: Vec<u8>) -> Request<Vec<u8>> {
    let mut builder =
        Request::builder().method(method).uri(path).header(http::header::ACCEPT, "application/json");
    if let Some(content) = content {
        builder = builder.header(http::header::CONTENT_TYPE, content);
    }
    builder.body(body).expect("paths are made of Kubernetes names and encoded queries")
}

impl Api {
    pub(super) fn new(proxy: KubernetesProxy) -> Self {
        let service = ProxyService(proxy);
        Self { client: kube::Client::new(service.clone(), "default"), service }
    }

    /// Sends once, and reads the whole answer. The kube client's own decoding is not used, because it logs bodies that it
    /// cannot read, environment values and all.
    async fn whole(&self, request: Request<Vec<u8>>) -> Result<Bytes, Failure> {
        let exchange = async {
            let response = self.client.send(request.map(Body::from)).await?;
            Ok::<_, Failure>(response.into_body().collect_bytes().await?)
        };
        tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| silence())?
    }

    async fn send<T: DeserializeOwned>(&self, request: Request<Vec<u8>>) -> Result<T, Failure> {
        parsed(&self.whole(request).await?)
    }

    /// Reads, again if need be.
    pub(super) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        repeat(|| self.send(get(path))).await
    }

    /// Asks by creating something that is answered and not kept; again if need be.
    pub(super) async fn ask<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Failure> {
        repeat(|| self.post(path, &[], body)).await
    }

    /// Reads something large piece by piece. Sent once.
    pub(super) async fn body(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<impl Stream<Item = Result<Bytes, BodyError>> + Send + Unpin + use<>, Failure> {
        let opened = tokio::time::timeout(PATIENCE, self.service.body(request)).await;
        opened.map_err(|_| silence())?.map_err(Failure::of_service)
    }

    /// Changes an object by a JSON merge patch, or tries to. Sent once.
    pub(super) async fn patch(&self, path: &str, patch: &Value, mode: WriteMode) -> Result<(), Failure> {
        let path = with_query(path, &[&[("fieldManager", FIELD_MANAGER)], dry_run(mode)].concat());
        let body = patch.to_string().into_bytes();
        let content = Some("application/merge-patch+json");
        self.send::<IgnoredAny>(request(Method::PATCH, &path, content, body)).await.map(|_| ())
    }

    /// Creates something. Sent once.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: &Value,
    ) -> Result<T, Failure> {
        let path = if query.is_empty() { path.to_owned() } else { with_query(path, query) };
        let body = body.to_string().into_bytes();
        self.send(request(Method::POST, &path, Some("application/json"), body)).await
    }

    /// Deletes the object with this uid, or tries to. Sent once.
    pub(super) async fn delete(&self, path: &str, uid: &Uid, mode: WriteMode) -> Result<(), Failure> {
        let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
        let query = dry_run(mode);
        if mode == WriteMode::DryRun {
            // Said twice: something in between that loses the query must not make a trial a deed.
            options["dryRun"] = json!(["All"]);
        }
        let path = if query.is_empty() { path.to_owned() } else { with_query(path, query) };
        let body = options.to_string().into_bytes();
        self.send::<IgnoredAny>(request(Method::DELETE, &path, Some("application/json"), body))
            .await
            .map(|_| ())
    }

    /// Replaces an object. Sent once.
    pub(super) async fn put<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Failure> {
        let path = with_query(path, &[("fieldManager", FIELD_MANAGER)]);
        let body = body.to_string().into_bytes();
        self.send(request(Method::PUT, &path, Some("application/json"), body)).await
    }

    /// Every object of one kind.
    pub(super) async fn list(&self, kind: ResourceKind) -> Result<Listing, PortError> {
        let reaches = match kind {
            ResourceKind::PersistentVolumeClaim => self.reaches_if_allowed().await?,
            _ => Reaches::new(),
        };
        self.list_with(kind, &Arc::new(reaches)).await
    }

    /// Every object of one kind, claims with what is known of their volumes.
    pub(super) async fn list_with(
        &self,
        kind: ResourceKind,
        reaches: &Arc<Reaches>,
    ) -> Result<Listing, PortError> {
        with_wire!(kind, T => self.list_as::<T>(kind, reaches).await)
    }

    async fn list_as<T: Wire>(
        &self,
        kind: ResourceKind,
        reaches: &Arc<Reaches>,
    ) -> Result<Listing, PortError> {
        let what = format!("listing {}", kind.plural());
        let reaches = Arc::clone(reaches);
        let read = move |items: Vec<T>| {
            let objects = items.into_iter().map(|item| item.object(workload_kind(kind), &reaches));
            let mut objects: Vec<Object> = objects.collect::<Result<_, _>>()?;
            share(&mut objects);
            Ok(objects)
        };
        let (objects, version) =
            self.pages(collection(kind), read).await.map_err(|failure| failure.of_read(&what))?;
        Ok(Listing { objects, version })
    }

    /// One object by `namespace/name` or a node's name, or nothing if there is none: a list of one, which takes no more rights
    /// than the lists do. It names no resource version, so the API server answers from its store and not from a cache.
    pub(super) async fn find(&self, kind: ResourceKind, name: &str) -> Result<Option<Object>, PortError> {
        let reaches = Arc::new(match kind {
            ResourceKind::PersistentVolumeClaim => self.reaches_if_allowed().await?,
            _ => Reaches::new(),
        });
        with_wire!(kind, T => self.find_as::<T>(kind, name, &reaches).await)
    }

    async fn find_as<T: Wire>(
        &self,
        kind: ResourceKind,
        name: &str,
        reaches: &Arc<Reaches>,
    ) -> Result<Option<Object>, PortError> {
        #[derive(serde::Deserialize)]
        #[serde(bound = "T: DeserializeOwned")]
        struct Found<T> {
            items: Vec<T>,
        }
        let what = format!("reading {} {name}", kind.plural());
        let found = self.read::<Found<T>>(&list_of(kind, name)).await;
        let found = found.map_err(|failure| failure.of_read(&what))?;
        let Some(item) = found.items.into_iter().next() else { return Ok(None) };
        let object = item.object(workload_kind(kind), reaches);
        object.map(Some).map_err(|error| super::failure::undecodable(&what, error))
    }

    /// Where all volumes can be used; nothing where the token's user may not see volumes.
    pub(super) async fn reaches_if_allowed(&self) -> Result<Reaches, PortError> {
        match self.reaches().await {
            Err(error) if super::is_forbidden_kind(&error) => Ok(Reaches::new()),
            other => other,
        }
    }

    /// Where all volumes can be used.
    pub(super) async fn reaches(&self) -> Result<Reaches, PortError> {
        let read = |volumes: Vec<wire::PersistentVolume>| Ok(volumes.into_iter().map(volume_reach).collect());
        let volumes = self.pages(VOLUMES, read).await;
        let (volumes, _) = volumes.map_err(|failure| failure.of_read("listing persistentvolumes"))?;
        Ok(volumes.into_iter().collect())
    }

    /// Where one volume can be used; nothing is said if it is gone or may not be seen.
    pub(super) async fn reach_of(&self, volume: &str) -> Result<Reach, Failure> {
        let Ok(name) = upgrade_core::model::NodeName::new(volume) else { return Ok(Reach::default()) };
        match self.read::<wire::PersistentVolume>(&format!("{VOLUMES}/{name}")).await {
            Ok(volume) => Ok(volume_reach(volume).1),
            Err(failure) if failure.status().is_some_and(|s| matches!(s.code, 403 | 404)) => {
                Ok(Reach::default())
            }
            Err(failure) => Err(failure),
        }
    }

    /// All pages of a list, each read by `read` and then forgotten: what is skipped of a page is ten times what is kept. While
    /// a page is read, the next one is on its way, and no more than that.
    ///
    /// When a continuation expires, the list begins anew: what a page from there would show is of another moment.
    pub(super) async fn pages<T, O>(
        &self,
        path: &str,
        read: impl Fn(Vec<T>) -> Result<Vec<O>, DecodeError> + Send + Sync + 'static,
    ) -> Result<(Vec<O>, String), Failure>
    where
        T: DeserializeOwned,
        O: Send + 'static,
    {
        let limit = PAGE.to_string();
        let read = Arc::new(read);
        let mut restarts = 0;
        let mut items = Vec::new();
        let mut reading: Option<JoinHandle<Result<Vec<O>, Failure>>> = None;
        let mut next: Option<String> = None;
        loop {
            let mut pairs = vec![("limit", limit.as_str())];
            pairs.extend(next.as_deref().map(|next| ("continue", next)));
            let path = with_query(path, &pairs);
            let (body, meta) = match repeat(|| self.page(&path)).await {
                Err(failure) if failure.is_expired() && next.is_some() && restarts < RESTARTS => {
                    restarts += 1;
                    items.clear();
                    (next, reading) = (None, None);
                    continue;
                }
                page => page?,
            };
            if let Some(reading) = reading.take() {
                items.append(&mut done(reading).await?);
            }
            let read = Arc::clone(&read);
            let task = tokio::task::spawn_blocking(move || decoded(&body, &*read));
            next = meta.next.filter(|next| !next.is_empty());
            if next.is_none() {
                items.append(&mut done(task).await?);
                return Ok((items, meta.resource_version.unwrap_or_default()));
            }
            reading = Some(task);
        }
    }

    /// One page as it came, and what it says of itself. Going through it once for that takes a few milliseconds.
    async fn page(&self, path: &str) -> Result<(Bytes, wire::ListMeta), Failure> {
        let body = self.whole(get(path)).await?;
        let page: wire::List<IgnoredAny> = parsed(&body)?;
        Ok((body, page.metadata))
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::Unreadable(error.to_string()))
}

fn decoded<T: DeserializeOwned, O>(
    body: &[u8],
    read: impl Fn(Vec<T>) -> Result<Vec<O>, DecodeError>,
) -> Result<Vec<O>, Failure> {
    let page: wire::List<T> = parsed(body)?;
    read(page.items.unwrap_or_default()).map_err(Failure::Undecodable)
}

/// What a thread of its own has read.
async fn done<O>(reading: JoinHandle<Result<Vec<O>, Failure>>) -> Result<Vec<O>, Failure> {
    // A thread that did not finish means that the runtime is going down, and that nobody waits for this.
    reading.await.unwrap_or_else(|error| Err(Failure::Broken(error.to_string())))
}

/// Tries a read until it succeeds, cannot succeed, or has been tried often enough.
async fn repeat<T, F: Future<Output = Result<T, Failure>>>(
    mut read: impl FnMut() -> F,
) -> Result<T, Failure> {
    let mut wait = FIRST_WAIT;
    for _ in 1..ATTEMPTS {
        let failure = match read().await {
            Err(failure) if failure.is_retryable() => failure,
            other => return other,
        };
        let asked = failure.retry_after();
        if asked.is_some_and(|asked| asked > LONGEST_WAIT) {
            return Err(failure);
        }
        tracing::debug!(?failure, ?wait, "a read of Kubernetes failed, trying again");
        tokio::time::sleep(asked.unwrap_or(wait)).await;
        wait *= 2;
    }
    read().await
}

/// No answer came.
pub(super) fn silence() -> Failure {
    Failure::Broken(format!("no answer within {} s", PATIENCE.as_secs()))
}

/// The query of a write that is only tried.
pub(super) fn dry_run(mode: WriteMode) -> &'static [(&'static str, &'static str)] {
    match mode {
        WriteMode::Commit => &[],
        WriteMode::DryRun => &[("dryRun", "All")],
    }
}

/// The path of a namespaced object.
/// The list that has one object in it, `namespace/name` or a node by its bare name: who may list needs no right to get.
pub(super) fn list_of(kind: ResourceKind, name: &str) -> String {
    let (path, bare) = match name.split_once('/') {
        Some((namespace, bare)) => {
            let (group, plural) = collection(kind).rsplit_once('/').unwrap_or_default();
            (format!("{group}/namespaces/{namespace}/{plural}"), bare)
        }
        None => (collection(kind).to_owned(), name),
    };
    with_query(&path, &[("fieldSelector", &format!("metadata.name={bare}"))])
}

pub(super) fn object_path(group: &str, plural: &str, name: &ObjectName) -> String {
    format!("{group}/namespaces/{}/{plural}/{}", name.namespace(), name.name())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn broken() -> Failure {
        Failure::Broken("connection reset".into())
    }

    async fn tried(answer: impl Fn(u32) -> Result<u32, Failure>) -> (Result<u32, Failure>, u32) {
        let tries = AtomicU32::new(0);
        let read = || std::future::ready(answer(tries.fetch_add(1, Ordering::Relaxed) + 1));
        (repeat(read).await, tries.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_is_repeated_for_a_while_and_only_where_that_can_help() {
        assert!(matches!(tried(|n| if n < 4 { Err(broken()) } else { Ok(n) }).await, (Ok(4), 4)));
        assert!(matches!(tried(|_| Err(broken())).await, (Err(Failure::Broken(_)), ATTEMPTS)));
        assert!(matches!(tried(|_| Err(Failure::Expired)).await, (Err(Failure::Expired), 1)));
        let wait = |seconds| {
            let retry_after = Some(Duration::from_secs(seconds));
            Failure::Answer(rancher_client::ProxyFailure::RateLimited { retry_after })
        };
        assert_eq!(tried(|_| Err(wait(31))).await.1, 1, "a long pause is the caller's to wait");
        assert_eq!(tried(|n| if n == 1 { Err(wait(30)) } else { Ok(n) }).await.1, 2);
    }
}
