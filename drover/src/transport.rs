//! The one HTTP set-up: TLS, roots, proxies, timeouts.

use std::time::Duration;

use rancher_client::ca::{CaError, fetch_ca_by_checksum};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder};
use url::{Host, Url};

use crate::config::{CaFile, JournalConfig, Place, ProbeSource, RancherCa, RancherConfig};
use crate::error::{ConfigError, Error};

/// Rancher itself waits up to 40 s for a cluster agent that has lost its tunnel.
const RANCHER_CONNECT: Duration = Duration::from_secs(60);
const AZURE_CONNECT: Duration = Duration::from_secs(30);
/// The metadata service answers from the same rack, or is not there.
#[cfg(feature = "azure-identity")]
const METADATA_CONNECT: Duration = Duration::from_secs(3);

/// How long a connection may be silent in the middle of an answer. Longer than a watch, which ends itself after 225 s.
const SILENCE: Duration = Duration::from_secs(300);

/// Which certificate authorities count.
///
/// For Rancher, a file or a pinned checksum says who may speak for this one server, and nobody else may: whoever gets hold of a
/// certificate that the public trusts does not get the token. For Azure a file adds to the system's: the same client speaks
/// to Microsoft's login, whose certificates are public, and such a file is mostly that of a proxy that looks into everything.
enum Roots {
    /// Those of the system, and these.
    And(Vec<Certificate>),
    /// These alone.
    Only(Vec<Certificate>),
}

/// The client for a Rancher server and everything behind it. With a pinned checksum this fetches the server's certificate,
/// without any token.
pub(crate) async fn rancher(name: &str, config: &RancherConfig) -> Result<Client, Error> {
    let url = config.url.join("").map_err(|error| certificate_error(name, &error.to_string()))?;
    let roots = match &config.ca {
        None => Roots::And(Vec::new()),
        Some(RancherCa::File(file)) => Roots::Only(read(file)?),
        Some(RancherCa::Checksum { checksum, place }) => {
            let pem = pinned(name, config, &url, checksum).await?;
            let certificates = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|_| {
                Box::new(place.error("what the server gave is not a certificate in PEM", "use `ca_file`"))
            })?;
            Roots::Only(certificates)
        }
    };
    build(&url, roots, RANCHER_CONNECT).map_err(|error| certificate_error(name, &error.to_string()))
}

/// The client for ARM and for whoever hands out tokens for it.
pub(crate) fn azure(name: &str, endpoint: &Url, ca: Option<&CaFile>) -> Result<Client, Error> {
    let certificates = ca.map(read).transpose()?.unwrap_or_default();
    build(endpoint, Roots::And(certificates), AZURE_CONNECT)
        .map_err(|error| certificate_error(name, &error.to_string()))
}

/// The client for Azure Blob Storage and for whoever hands out tokens for it. A request that takes longer is given up: a run
/// waits for its journal, and must keep its lock meanwhile.
pub(crate) fn storage(config: &JournalConfig, longest: Duration) -> Result<Client, Box<ConfigError>> {
    let certificates = config.ca.as_ref().map(read).transpose()?.unwrap_or_default();
    let builder = towards(config.endpoint.as_url(), longest).timeout(longest);
    builder.tls_certs_merge(certificates).build().map_err(|error| {
        Box::new(config.place.error(format!("no client can be made for it: {error}"), "check `ca_file`"))
    })
}

/// The client for whoever a probe asks.
pub(crate) fn probe(
    source: &ProbeSource,
    place: &Place,
    longest: Duration,
) -> Result<Client, Box<ConfigError>> {
    let certificates = source.ca.as_ref().map(read).transpose()?.unwrap_or_default();
    let builder = towards(&source.url, longest).timeout(longest);
    builder.tls_certs_merge(certificates).build().map_err(|error| {
        Box::new(place.error(format!("no client can be made for it: {error}"), "check `ca_file`"))
    })
}

/// The client for the metadata service of the machine this runs on: it must not be asked through a proxy, which would answer
/// for the proxy's machine, if at all (Microsoft: Azure Instance Metadata Service, "Proxies").
#[cfg(feature = "azure-identity")]
pub(crate) fn metadata() -> reqwest::Result<Client> {
    base(METADATA_CONNECT).no_proxy().build()
}

fn read(file: &CaFile) -> Result<Vec<Certificate>, Box<ConfigError>> {
    let wrong = |problem: String| Box::new(file.place.error(problem, "give a file of certificates in PEM"));
    let path = file.path.display();
    let pem = std::fs::read(&file.path).map_err(|error| wrong(format!("{path} cannot be read: {error}")))?;
    let certificates = Certificate::from_pem_bundle(&pem)
        .map_err(|_| wrong(format!("{path} holds no readable certificate")))?;
    if certificates.is_empty() {
        Err(wrong(format!("{path} holds no certificate")))
    } else {
        Ok(certificates)
    }
}

/// The server's own certificate authority, if it is the one that was pinned.
async fn pinned(name: &str, config: &RancherConfig, url: &Url, checksum: &str) -> Result<String, Error> {
    let unchecked = towards(url, RANCHER_CONNECT)
        .tls_danger_accept_invalid_certs(true)
        .build()
        .map_err(|error| certificate_error(name, &error.to_string()))?;
    fetch_ca_by_checksum(&unchecked, &config.url, checksum).await.map_err(|error| match error {
        CaError::Fetch(error) => crate::adapters::rancher_error(error).into(),
        other => certificate_error(name, &other.to_string()),
    })
}

/// The server at this address is not proven to be the one that is meant.
fn certificate_error(cluster: &str, why: &str) -> Error {
    Error::Identity {
        cluster: cluster.to_owned(),
        why: format!("its Rancher server: {why}"),
        evidence: Vec::new(),
    }
}

fn build(url: &Url, roots: Roots, connect: Duration) -> reqwest::Result<Client> {
    let builder = towards(url, connect);
    match roots {
        Roots::And(certificates) if certificates.is_empty() => builder.build(),
        Roots::And(certificates) => builder.tls_certs_merge(certificates).build(),
        Roots::Only(certificates) => builder.tls_certs_only(certificates).build(),
    }
}

fn towards(url: &Url, connect: Duration) -> ClientBuilder {
    let builder = base(connect);
    // A proxy has no business between a process and itself.
    if is_loopback(url) { builder.no_proxy() } else { builder }
}

pub(crate) fn base(connect: Duration) -> ClientBuilder {
    install_provider();
    Client::builder()
        .user_agent(rancher_client::USER_AGENT_TEXT)
        .redirect(Policy::none())
        // Watches through an ingress with HTTP/2 get no headers before the first event (Rancher: issue 21324).
        .http1_only()
        .connect_timeout(connect)
        .read_timeout(SILENCE)
}

/// reqwest is built without a provider of its own and takes the process's; if the embedding program has chosen one, that stays.
fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that another thread was quicker.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const FILE: &str = r#"
[environments.e]
rancher = { url = "https://rancher.invalid", token = { env = "X" }, ca_file = "ca.pem" }
[environments.e.azure]
subscription = "00000000-0000-0000-0000-000000000001"
credential = { kind = "token", env = "X" }
"#;

    #[tokio::test]
    async fn certificates_that_cannot_be_used_are_told_with_where_they_are_configured() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::parse(&folder.path().join("drover.toml"), FILE).unwrap();
        let file = folder.path().join("ca.pem");
        for (content, problem) in [
            (None, "cannot be read: "),
            (Some(""), "holds no certificate"),
            (
                Some("-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n"),
                "holds no readable certificate",
            ),
        ] {
            if let Some(content) = content {
                std::fs::write(&file, content).unwrap();
            }
            let error = rancher("shop", &config.environments["e"].rancher).await.unwrap_err();
            let text = error.to_string();
            assert!(text.contains("drover.toml:3: environments.e.rancher.ca_file: "), "{text}");
            assert!(text.contains(problem), "{text}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn a_machine_is_its_own_neighbour_only_on_loopback() {
        for (url, own) in [
            ("http://127.0.0.1:1", true),
            ("http://[::1]", true),
            ("http://LOCALHOST", true),
            ("https://127.0.0.1.example.com", false),
            ("https://rancher.example.com", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), own, "{url}");
        }
    }
}
