//! A large cluster in small: what a snapshot asks for, and how much of it at a time.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Mutex;

use kube::client::Body;
use tower::service_fn;
use url::form_urlencoded;

use super::*;
use crate::adapters::kubernetes::service::ProxyService;

const PODS: usize = 1_250;

/// An API server in memory that counts.
#[derive(Default)]
struct Counted {
    /// How often each path was asked for.
    asked: Mutex<BTreeMap<String, usize>>,
    /// What is being asked for at this moment.
    under_way: Mutex<Vec<String>>,
    /// The most that was under way, of all lists and of one list.
    most: Mutex<(usize, usize)>,
}

impl Counted {
    fn begin(&self, path: &str) {
        *self.asked.lock().unwrap().entry(path.to_owned()).or_default() += 1;
        let mut under_way = self.under_way.lock().unwrap();
        under_way.push(path.to_owned());
        let same = under_way.iter().filter(|other| *other == path).count();
        let mut most = self.most.lock().unwrap();
        *most = (most.0.max(under_way.len()), most.1.max(same));
    }

    fn end(&self, path: &str) {
        let mut under_way = self.under_way.lock().unwrap();
        let place = under_way.iter().position(|other| other == path).unwrap();
        under_way.swap_remove(place);
    }
}

fn answer(path: &str, query: &str) -> Value {
    let parameter = |name: &str| {
        form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    match path {
        "/version" => json!({"gitVersion": "v1.34.2"}),
        "/api/v1/namespaces/kube-system" => json!({"metadata": {"name": "kube-system", "uid": "ks-uid"}}),
        "/api/v1/pods" => {
            let limit: usize = parameter("limit").unwrap().parse().unwrap();
            let begin: usize = parameter("continue").map_or(0, |next| next.parse().unwrap());
            let end = (begin + limit).min(PODS);
            let next = if end < PODS { end.to_string() } else { String::new() };
            let items: Vec<Value> = (begin..end).map(|n| pod_named(&format!("web-{n:05}"), "5")).collect();
            json!({"metadata": {"resourceVersion": "7", "continue": next}, "items": items})
        }
        _ => json!({"metadata": {"resourceVersion": "7"}, "items": []}),
    }
}

/// `metrics` is asked for what is read piece by piece, and has nothing.
fn kubernetes(counted: &Arc<Counted>, metrics: &MockServer) -> HttpKubernetes {
    let counted = Arc::clone(counted);
    let service = service_fn(move |request: http::Request<Body>| {
        let counted = Arc::clone(&counted);
        async move {
            let path = request.uri().path().to_owned();
            counted.begin(&path);
            // Time for everybody else to come in.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            counted.end(&path);
            let body = answer(&path, request.uri().query().unwrap_or_default()).to_string();
            Ok::<_, Infallible>(http::Response::new(Body::from(body.into_bytes())))
        }
    });
    HttpKubernetes {
        api: Api { client: kube::Client::new(service, "default"), service: ProxyService(proxy(metrics)) },
    }
}

#[tokio::test]
async fn a_snapshot_asks_for_each_page_once_three_lists_at_a_time_and_one_page_of_each() {
    let counted = Arc::new(Counted::default());
    let snapshot = kubernetes(&counted, &MockServer::start().await).snapshot().await.unwrap();
    let pods = snapshot.lists.iter().find_map(|list| match list {
        Change::Listed { kind: ResourceKind::Pod, objects } => Some(objects),
        _ => None,
    });
    let names: Vec<&str> = pods
        .unwrap()
        .iter()
        .map(|object| match object {
            Object::Pod(pod) => pod.name.name(),
            other => panic!("{other:?} among the pods"),
        })
        .collect();
    assert_eq!((names.len(), names[0], names[PODS - 1]), (PODS, "web-00000", "web-01249"));
    assert!(names.is_sorted(), "in the order of the pages");

    let asked = counted.asked.lock().unwrap().clone();
    let pages = |path: &str| if path == "/api/v1/pods" { PODS.div_ceil(500) } else { 1 };
    assert!(asked.iter().all(|(path, count)| *count == pages(path)), "{asked:?}");
    // Webhooks of two kinds, aggregated APIs, converters, quotas and attach limits.
    let surroundings = 6;
    let lists = 2 + 1 + ResourceKind::ALL.len() + surroundings;
    assert_eq!(
        asked.len(),
        lists,
        "version, kube-system, volumes, each kind, and what else decides about pods"
    );
    assert_eq!(*counted.most.lock().unwrap(), (LISTS_IN_FLIGHT, 1));
}

/// What the pods of a workload have in common is held once.
#[tokio::test]
async fn neighbours_share_what_is_equal() {
    let counted = Arc::new(Counted::default());
    let listing = kubernetes(&counted, &MockServer::start().await).api.list(ResourceKind::Pod).await.unwrap();
    let labels: BTreeSet<*const upgrade_core::model::Labels> = listing
        .objects
        .iter()
        .filter_map(|object| if let Object::Pod(pod) = object { Some(&raw const *pod.labels) } else { None })
        .collect();
    assert_eq!(labels.len(), PODS.div_ceil(500), "one for each page");
}
