//! Microsoft's services as a proxy: whoever is asked for, this answers, over TLS with a certificate that its client trusts.
//! So the requests are the real ones, to their real addresses, and are seen with the host they were meant for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use url::Url;

use crate::transport;

/// Every host that may be asked over TLS; for others the client finds that the certificate does not match.
const HOSTS: [&str; 7] = [
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.chinacloudapi.cn",
    "vstoken.dev.azure.com",
    "management.azure.com",
    "management.usgovcloudapi.net",
    "management.chinacloudapi.cn",
];

/// One request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) url: Url,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Seen {
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The fields of the body, or of the query where there is no body.
    pub(super) fn fields(&self) -> BTreeMap<String, String> {
        let text = if self.body.is_empty() { self.url.query().unwrap_or_default() } else { &self.body };
        url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
    }
}

/// What is answered: status, content type, body.
pub(super) struct Answer(pub(super) u16, pub(super) &'static str, pub(super) String);

impl Answer {
    pub(super) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self(status, "application/json", body.to_string())
    }
}

type Service = dyn Fn(&Seen) -> Answer + Send + Sync;

pub(super) struct Mock {
    port: u16,
    certificate: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Mock {
    pub(super) async fn start(service: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        // A client brings the process's TLS provider with it.
        drop(transport::base(std::time::Duration::from_secs(1)).build().unwrap());
        let made = rcgen::generate_simple_self_signed(HOSTS.map(str::to_owned)).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let tls = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::default();
        let service: Arc<Service> = Arc::new(service);
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(connection(socket, tls.clone(), Arc::clone(&service), Arc::clone(&log)));
            }
        });
        Self { port, certificate: made.cert.pem(), seen }
    }

    /// A client of the house that reaches everything through here.
    pub(super) fn client(&self) -> reqwest::Client {
        let certificate = reqwest::Certificate::from_pem(self.certificate.as_bytes()).unwrap();
        self.builder().tls_certs_only([certificate]).build().unwrap()
    }

    /// The same, but it does not know the certificate.
    pub(super) fn client_without_trust(&self) -> reqwest::Client {
        self.builder().build().unwrap()
    }

    fn builder(&self) -> reqwest::ClientBuilder {
        let proxy = reqwest::Proxy::all(format!("http://127.0.0.1:{}", self.port)).unwrap();
        transport::base(std::time::Duration::from_secs(5)).proxy(proxy)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests went to this host.
    pub(super) fn count(&self, host: &str) -> usize {
        self.seen().iter().filter(|seen| seen.host() == host).count()
    }
}

async fn connection(
    mut socket: TcpStream,
    tls: TlsAcceptor,
    service: Arc<Service>,
    log: Arc<Mutex<Vec<Seen>>>,
) {
    let Some((method, target, headers, body)) = read(&mut socket).await else { return };
    if method != "CONNECT" {
        return answer(&mut socket, seen(method, &target, headers, body), &*service, &log).await;
    }
    socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    // A client that does not trust us goes away here.
    let Ok(mut socket) = tls.accept(socket).await else { return };
    let Some((method, path, headers, body)) = read(&mut socket).await else { return };
    let url = format!("https://{target}{path}");
    answer(&mut socket, seen(method, &url, headers, body), &*service, &log).await;
}

fn seen(method: String, url: &str, headers: BTreeMap<String, String>, body: String) -> Seen {
    Seen { method, url: Url::parse(url).unwrap(), headers, body }
}

type Request = (String, String, BTreeMap<String, String>, String);

async fn read(socket: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let mut lines = text.lines();
    let mut first = lines.next().unwrap().split(' ').map(str::to_owned);
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < head + 4 + length {
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8(bytes[head + 4..].to_vec()).unwrap();
    Some((first.next().unwrap(), first.next().unwrap(), headers, body))
}

async fn answer(
    socket: &mut (impl AsyncWrite + Unpin),
    request: Seen,
    service: &Service,
    log: &Mutex<Vec<Seen>>,
) {
    // Noted first: an answer may depend on how many came before.
    log.lock().unwrap().push(request.clone());
    let Answer(status, kind, body) = service(&request);
    let head = format!(
        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = socket.write_all((head + &body).as_bytes()).await;
    let _ = socket.shutdown().await;
}
