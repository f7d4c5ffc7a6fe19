//! A server between the command and the lab that changes answers on their way and counts what is written.
//!
//! It stands where a proxy, a moved name or a wrong line in `drover.toml` stands in real life: whoever asks cannot tell its
//! answers from the lab's.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde_json::Value;
use tokio::runtime::Runtime;

type Edit = Box<dyn Fn(&mut Value) + Send + Sync>;

/// What becomes of an answer.
enum Lie {
    /// Its JSON is changed.
    Edited(Edit),
    /// Another answer is given, without asking.
    Instead(StatusCode, Value),
}

/// Everything that can be told while it runs.
#[derive(Default)]
struct Told {
    /// By the end of the path.
    lies: Vec<(String, Lie)>,
    /// A part of a path, and what the lab is asked for instead.
    renamed: Vec<(String, String)>,
    /// Lies are told once so much has been written.
    from_write: usize,
    writes: Vec<String>,
    /// Writes of the lock of the cluster, which is renewed as time passes.
    lock_writes: usize,
    /// How much had been written when the first lie was told.
    lied_after: Option<usize>,
}

struct Shared {
    lab: SocketAddr,
    client: reqwest::Client,
    told: Mutex<Told>,
}

/// The server. It ends when this value is dropped.
pub(crate) struct Tamper {
    address: SocketAddr,
    shared: Arc<Shared>,
    // Its threads end with it.
    _runtime: Runtime,
}

/// Requests that only read, although their method is not GET: these, and no others.
const READS: [&str; 2] = [
    // Azure: gives a kubeconfig out, and changes nothing.
    "/listClusterUserCredential",
    // Kubernetes: a question, which the API has in the form of an object; nothing is stored.
    "/selfsubjectaccessreviews",
];

impl Tamper {
    /// Stands before the lab at this address, on a free port of its own.
    pub(crate) fn before(lab: SocketAddr) -> Self {
        // Another test may have been quicker; the provider is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let shared = Arc::new(Shared { lab, client, told: Mutex::default() });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(pass).with_state(Arc::clone(&shared));
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, _runtime: runtime }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the JSON of every answer to a path that ends like this.
    pub(crate) fn edit(&self, path: &str, edit: impl Fn(&mut Value) + Send + Sync + 'static) -> &Self {
        self.tell(path, Lie::Edited(Box::new(edit)))
    }

    /// Answers every request for a path that ends like this with something else.
    pub(crate) fn answer(&self, path: &str, status: u16, body: Value) -> &Self {
        self.tell(path, Lie::Instead(StatusCode::from_u16(status).unwrap(), body))
    }

    fn tell(&self, path: &str, lie: Lie) -> &Self {
        self.shared.told.lock().unwrap().lies.push((path.to_owned(), lie));
        self
    }

    /// Asks the lab for `lab` wherever `asked` stands in a path.
    pub(crate) fn rename(&self, asked: &str, lab: &str) -> &Self {
        self.shared.told.lock().unwrap().renamed.push((asked.to_owned(), lab.to_owned()));
        self
    }

    /// Tells the truth until so much has been written.
    pub(crate) fn wait_for_write(&self, count: usize) -> &Self {
        self.shared.told.lock().unwrap().from_write = count;
        self
    }

    /// Tells the truth again, and forgets what was written.
    pub(crate) fn reset(&self) {
        *self.shared.told.lock().unwrap() = Told::default();
    }

    /// Was the lock of the cluster written?
    pub(crate) fn touched_the_lock(&self) -> bool {
        self.shared.told.lock().unwrap().lock_writes > 0
    }

    /// Every write so far but those of the lock, as method and path.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.shared.told.lock().unwrap().writes.clone()
    }

    /// How much had been written when the first changed answer went out; `None` if none did.
    pub(crate) fn lied_after(&self) -> Option<usize> {
        self.shared.told.lock().unwrap().lied_after
    }
}

fn is_write(method: &Method, path: &str, query: &str) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD)
        || (*method == Method::POST && READS.iter().any(|read| path.ends_with(read)));
    // What is only tried is not stored.
    !reads && !query.split('&').any(|pair| pair == "dryRun=All")
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let mut target = path.clone();
    let lie = {
        let mut told = shared.told.lock().unwrap();
        let armed = told.writes.len() >= told.from_write;
        if is_write(&parts.method, &path, &query) {
            if path.contains("/leases") {
                told.lock_writes += 1;
            } else {
                told.writes.push(format!("{} {path}", parts.method));
            }
        }
        for (asked, lab) in &told.renamed {
            target = target.replace(asked, lab);
        }
        armed && told.lies.iter().any(|(end, _)| path.ends_with(end))
    };
    let url = format!("http://{}{target}?{query}", shared.lab);
    let asked = Asked { method: parts.method, url, headers: parts.headers, body };
    if lie { shared.lie(&path, asked).await } else { shared.truth(asked).await }
}

struct Asked {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Shared {
    /// The lab's answer. The `Host` that the caller used stays, so that addresses in answers lead back here.
    async fn fetch(&self, asked: Asked) -> reqwest::Response {
        let request = self.client.request(asked.method, asked.url).headers(asked.headers).body(asked.body);
        request.send().await.unwrap()
    }

    /// As it comes, piece by piece: a watch never ends.
    async fn truth(&self, asked: Asked) -> Response<Body> {
        let answer = self.fetch(asked).await;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response.headers_mut().remove(TRANSFER_ENCODING);
        response
    }

    /// The lab's answer, changed.
    async fn edited(&self, path: &str, asked: Asked) -> (StatusCode, HeaderMap, Value) {
        let answer = self.fetch(asked).await;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let told = self.told.lock().unwrap();
        for (_, lie) in told.lies.iter().filter(|(end, _)| path.ends_with(end)) {
            if let Lie::Edited(edit) = lie {
                edit(&mut body);
            }
        }
        (status, headers, body)
    }

    async fn lie(&self, path: &str, asked: Asked) -> Response<Body> {
        let instead = {
            let mut told = self.told.lock().unwrap();
            told.lied_after = told.lied_after.or(Some(told.writes.len()));
            told.lies.iter().find_map(|(end, lie)| match lie {
                Lie::Instead(status, body) if path.ends_with(end) => Some((*status, body.clone())),
                _ => None,
            })
        };
        let (status, mut headers, body) = match instead {
            Some((status, body)) => (status, HeaderMap::new(), body),
            None => self.edited(path, asked).await,
        };
        headers.remove(TRANSFER_ENCODING);
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}
