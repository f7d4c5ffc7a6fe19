//! A private certificate authority, pinned by its checksum.
//!
//! Rancher's own agents trust a server this way: they fetch `cacerts` without checking the server's certificate and
//! compare the checksum with the one they were given. What was pinned is then the only root for every further
//! connection. The token is never sent over the unchecked connection.
//!
//! ```
//! use reqwest::redirect::Policy;
//! use rancher_client::RancherUrl;
//! use rancher_client::ca::{CaError, fetch_ca_by_checksum};
//!
//! # let _ = rustls::crypto::ring::default_provider().install_default();
//! /// The HTTP client for a server whose private certificate authority has this checksum.
//! async fn pinned(url: &RancherUrl, checksum: &str) -> Result<reqwest::Client, Box<dyn std::error::Error>> {
//!     let unchecked = reqwest::Client::builder().redirect(Policy::none()).tls_danger_accept_invalid_certs(true).build()?;
//!     let pem = fetch_ca_by_checksum(&unchecked, url, checksum).await?;
//!     let roots = reqwest::Certificate::from_pem_bundle(pem.as_bytes())?;
//!     Ok(reqwest::Client::builder().redirect(Policy::none()).http1_only().tls_certs_only(roots).build()?)
//! }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let url = RancherUrl::parse("https://rancher.example.com").expect("a good address");
//! let error = pinned(&url, "not a checksum").await.expect_err("nothing is sent");
//! assert!(matches!(error.downcast_ref(), Some(CaError::BadChecksum)));
//! # }
//! ```

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::answer::{self, Operation};
use crate::client::get_anonymous;
use crate::error::{DecodeError, Error};
use crate::url::RancherUrl;

/// Why a pinned certificate authority could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// The checksum to compare with is not one.
    #[error("the checksum is not 64 hexadecimal digits")]
    BadChecksum,
    /// The server did not give its certificates.
    #[error("the certificates of the server could not be fetched")]
    Fetch(#[source] Error),
    /// The server has no certificate authority of its own: it is meant to be trusted publicly. Drop the checksum.
    #[error("the server has no private certificate authority")]
    NoPrivateCa,
    /// The server's certificates are others than those pinned. Either they were renewed, or somebody stands between
    /// here and the server.
    #[error("the server's certificates have the checksum {found}, not the one pinned")]
    Mismatch {
        /// The checksum of what the server gave.
        found: String,
    },
    /// What has the right checksum holds no certificate.
    #[error("what the server gave is not a certificate in PEM")]
    NotPem,
}

impl CaError {
    /// Always true: fetching changes nothing on the server.
    pub fn outcome_known(&self) -> bool {
        true
    }

    /// Whether fetching again may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Fetch(error) if error.is_retryable())
    }
}

/// The checksum that Rancher calls `caChecksum`: SHA-256 of the PEM, with a line break added at its end where it lacks
/// one, as 64 lower-case hexadecimal digits. Every other byte counts, line breaks too.
///
/// ```
/// let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
/// assert_eq!(rancher_client::ca::pem_checksum(pem), rancher_client::ca::pem_checksum(&format!("{pem}\n")));
/// ```
pub fn pem_checksum(pem: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(pem);
    if !pem.is_empty() && !pem.ends_with('\n') {
        hash.update("\n");
    }
    let digits = hash.finalize().iter().flat_map(|byte| [byte >> 4, byte & 0xf]).collect::<Vec<_>>();
    digits.into_iter().filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// Fetches the server's certificate authority over an unchecked connection, without any token, and gives it out as
/// PEM only if it has the checksum. Use it as the only root of the client that does send the token.
///
/// `insecure_http` does not verify certificates and does not follow redirects. `checksum` may be in upper case.
pub async fn fetch_ca_by_checksum(
    insecure_http: &reqwest::Client,
    url: &RancherUrl,
    checksum: &str,
) -> Result<String, CaError> {
    #[derive(Deserialize)]
    struct CaCerts {
        value: Option<String>,
        default: Option<String>,
    }
    let wanted = checksum.trim().to_ascii_lowercase();
    if wanted.len() != 64 || !wanted.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(CaError::BadChecksum);
    }
    let operation = Operation {
        text: "read the server's certificates".into(),
        subject: "setting cacerts".into(),
        in_cluster: false,
    };
    let body = get_anonymous(insecure_http, url, "v3/settings/cacerts", &operation, None)
        .await
        .map_err(CaError::Fetch)?;
    let setting: CaCerts = answer::decode(&body).map_err(|e| fetch(&operation, e))?;
    let not_empty = |text: &String| !text.is_empty();
    let pem = setting.value.filter(not_empty).or(setting.default.filter(not_empty));
    let pem = pem.ok_or(CaError::NoPrivateCa)?;
    let found = pem_checksum(&pem);
    if found != wanted {
        return Err(CaError::Mismatch { found });
    }
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        return Err(CaError::NotPem);
    }
    Ok(pem)
}

fn fetch(operation: &Operation, source: DecodeError) -> CaError {
    CaError::Fetch(Error::UnexpectedBody { operation: operation.text.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rancher, http_client, json, text};

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
    const AT: &str = "/v3/settings/cacerts";

    fn setting(value: &str) -> wiremock::ResponseTemplate {
        json(200, &serde_json::json!({"name": "cacerts", "value": value, "default": ""}).to_string())
    }

    #[test]
    fn the_checksum_is_the_one_that_sha256sum_gives_for_a_file_with_a_final_line_break() {
        // printf 'abc\n' | sha256sum
        let expected = "edeaaff3f1774ad2888673770c6d64097e391bc362d7d6fb34982ddf0efd18cb";
        assert_eq!(pem_checksum("abc"), expected);
        assert_eq!(pem_checksum("abc\n"), expected);
        assert_ne!(pem_checksum("abc\n\n"), expected);
        // printf '' | sha256sum
        assert!(pem_checksum("").starts_with("e3b0c442"));
    }

    #[tokio::test]
    async fn what_was_pinned_is_fetched_without_any_token() {
        let rancher = Rancher::start().await;
        rancher.answer(AT, setting(PEM)).await;
        let checksum = pem_checksum(PEM).to_uppercase();
        let pem = fetch_ca_by_checksum(&http_client(), &rancher.url(), &checksum).await.unwrap();
        assert_eq!(pem, PEM);
        assert_eq!(rancher.authorizations(AT).await, [None]);
    }

    #[tokio::test]
    async fn anything_but_the_pinned_certificate_is_refused() {
        let pinned = pem_checksum(PEM);
        let cases = [
            (setting(&PEM.replace("AAAA", "AAAB")), &pinned, "Mismatch"),
            (setting(""), &pinned, "NoPrivateCa"),
            (setting("abc"), &pem_checksum("abc"), "NotPem"),
            (text(200, "<html>"), &pinned, "Fetch(UnexpectedBody"),
            (text(401, ""), &pinned, "Fetch(Gateway"),
            (text(302, "").insert_header("location", "https://evil.invalid/x"), &pinned, "Fetch(Redirected"),
        ];
        for (answer, checksum, expected) in cases {
            let rancher = Rancher::with(AT, answer).await;
            let error = fetch_ca_by_checksum(&http_client(), &rancher.url(), checksum).await.unwrap_err();
            assert!(format!("{error:?}").starts_with(expected), "{expected}: {error:?}");
        }
        let rancher = Rancher::start().await;
        for bad in ["", "abc", &"g".repeat(64), &"a".repeat(63)] {
            let error = fetch_ca_by_checksum(&http_client(), &rancher.url(), bad).await.unwrap_err();
            assert!(matches!(error, CaError::BadChecksum), "{bad}, and nothing was sent");
        }
    }
}
