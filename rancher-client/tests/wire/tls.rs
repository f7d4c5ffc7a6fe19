//! TLS: whom the token is sent to, and whom not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rancher_client::ca::{CaError, fetch_ca_by_checksum, pem_checksum};
use rancher_client::{Error, RancherClient, RancherUrl};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{Case, case, id, provider, static_token};

/// A server with a certificate of its own making, which counts the requests that carry a token.
struct TlsRancher {
    url: RancherUrl,
    pem: String,
    tokens: Arc<AtomicUsize>,
}

impl TlsRancher {
    /// Listens on 127.0.0.1 with a certificate for `name`. Its `cacerts` is that certificate.
    async fn start(name: &str) -> Self {
        provider();
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let pem = made.cert.pem();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = RancherUrl::parse(&format!("https://localhost:{}", listener.local_addr().unwrap().port()))
            .unwrap();
        let tokens = Arc::new(AtomicUsize::new(0));
        let server = Self { url, pem: pem.clone(), tokens: Arc::clone(&tokens) };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // A client that does not trust us goes away here.
                let Ok(mut socket) = acceptor.accept(socket).await else { continue };
                let mut request = vec![0; 8192];
                let read = socket.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..read]).to_lowercase();
                if request.contains("authorization: bearer") {
                    tokens.fetch_add(1, Ordering::SeqCst);
                }
                let body = if request.starts_with("get /v3/settings/cacerts ") {
                    serde_json::json!({"name": "cacerts", "value": pem}).to_string()
                } else {
                    r#"{"id":"c-x7k2p"}"#.to_owned()
                };
                let head =
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = socket.write_all((head + &body).as_bytes()).await;
                let _ = socket.shutdown().await;
            }
        });
        server
    }

    fn tokens(&self) -> usize {
        self.tokens.load(Ordering::SeqCst)
    }

    fn client(&self, http: reqwest::Client) -> RancherClient {
        RancherClient::new(http, self.url.clone(), Arc::new(static_token(crate::support::TOKEN)))
    }
}

fn builder() -> reqwest::ClientBuilder {
    provider();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy()
}

/// A client that trusts these certificates and nobody else, as a `ca_file` or a pinned checksum gives them.
fn trusting(pem: &str) -> reqwest::Client {
    let certificates = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).unwrap();
    builder().tls_certs_only(certificates).build().unwrap()
}

/// Does not check certificates, and is for `cacerts` only.
fn unchecked() -> reqwest::Client {
    builder().tls_danger_accept_invalid_certs(true).build().unwrap()
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("§6", "TLS: a certificate of nobody known is refused before the token is sent", async {
            let rancher = TlsRancher::start("localhost").await;
            let error = rancher.client(builder().build().unwrap()).cluster(&id()).await.unwrap_err();
            assert!(matches!(error, Error::UntrustedCertificate { .. }), "{error:?}");
            assert!(error.outcome_known() && !error.is_retryable());
            assert_eq!(rancher.tokens(), 0);
        }),
        case("§6", "TLS: a file of certificates trusts its own and no other", async {
            let (mine, other) = (TlsRancher::start("localhost").await, TlsRancher::start("localhost").await);
            mine.client(trusting(&mine.pem)).cluster(&id()).await.unwrap();
            let error = other.client(trusting(&mine.pem)).cluster(&id()).await.unwrap_err();
            assert!(matches!(error, Error::UntrustedCertificate { .. }), "{error:?}");
            assert_eq!((mine.tokens(), other.tokens()), (1, 0));
        }),
        case("§6", "TLS: a trusted certificate for another host is refused", async {
            let rancher = TlsRancher::start("rancher.example.com").await;
            let error = rancher.client(trusting(&rancher.pem)).cluster(&id()).await.unwrap_err();
            assert!(matches!(error, Error::UntrustedCertificate { .. }), "{error:?}");
            assert_eq!(rancher.tokens(), 0);
        }),
        case(
            "§6",
            "TLS: a pinned checksum gives its own certificate, without the token, and the token goes there only",
            async {
                let (mine, other) =
                    (TlsRancher::start("localhost").await, TlsRancher::start("localhost").await);
                let checksum = pem_checksum(&mine.pem);
                let pem = fetch_ca_by_checksum(&unchecked(), &mine.url, &checksum).await.unwrap();
                assert_eq!(mine.tokens(), 0);
                mine.client(trusting(&pem)).cluster(&id()).await.unwrap();
                assert_eq!(mine.tokens(), 1);
                let error = fetch_ca_by_checksum(&unchecked(), &other.url, &checksum).await.unwrap_err();
                assert!(matches!(error, CaError::Mismatch { .. }), "{error:?}");
                let error = other.client(trusting(&pem)).cluster(&id()).await.unwrap_err();
                assert!(matches!(error, Error::UntrustedCertificate { .. }), "{error:?}");
                assert_eq!(other.tokens(), 0);
            },
        ),
    ]
}
