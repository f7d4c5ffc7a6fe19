//! Why there is no credential, or no token, and what to do about it.

use std::error::Error as StdError;

use aks_client::TokenError;
use azure_core::error::ErrorKind;

use crate::adapters::text::{one_line, with_causes};
use crate::config::CredentialKind;
use crate::secrets::SecretError;

/// Why a credential cannot be made. Nothing was contacted.
pub(super) struct Failure {
    pub(super) problem: String,
    pub(super) remedy: &'static str,
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Self {
        Self { remedy: error.remedy(), problem: error.to_string() }
    }
}

impl From<azure_core::Error> for Failure {
    fn from(error: azure_core::Error) -> Self {
        Self { problem: one_line(&with_causes(&error)), remedy: "see what this kind of credential needs" }
    }
}

impl From<Failure> for TokenError {
    fn from(Failure { problem, remedy }: Failure) -> Self {
        Self::Refused { reason: format!("{problem}; {remedy}"), source: None }
    }
}

/// What a credential's failure means: whether it may pass, and who can do what about it.
pub(super) fn token_error(kind: &CredentialKind, error: azure_core::Error) -> TokenError {
    let (passing, said) = read(&error);
    let reason = match remedy(kind, passing, &said) {
        Some(remedy) => format!("{said}; {remedy}"),
        None => said,
    };
    let source = Some(Box::new(error) as Box<dyn StdError + Send + Sync>);
    if passing { TokenError::Unavailable { reason, source } } else { TokenError::Refused { reason, source } }
}

/// Whether it may pass, and what was said. The credential wraps whatever happened into a text of its own and a link; what
/// happened is the deepest error that knows about a request.
fn read(error: &azure_core::Error) -> (bool, String) {
    let mut happened = None;
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = next {
        let known = current.downcast_ref::<azure_core::Error>();
        happened = known.filter(|known| is_request(known.kind())).or(happened);
        next = current.source();
    }
    let Some(happened) = happened else {
        return (false, one_line(&with_causes(error)));
    };
    match happened.kind() {
        ErrorKind::HttpResponse { status, .. } => {
            let status = u16::from(*status);
            let said = one_line(&happened.to_string());
            let said = if said.is_empty() { format!("status {status}") } else { said };
            (matches!(status, 408 | 429 | 500..), said)
        }
        _ => (true, one_line(&with_causes(happened))),
    }
}

fn is_request(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::HttpResponse { .. } | ErrorKind::Connection | ErrorKind::Io)
}

/// What a person can do. Entra's codes may change, so they choose a hint and decide nothing.
fn remedy(kind: &CredentialKind, passing: bool, said: &str) -> Option<&'static str> {
    match kind {
        CredentialKind::ManagedIdentity { .. } if passing => {
            Some("is this a machine in Azure, and may it reach 169.254.169.254?")
        }
        CredentialKind::ManagedIdentity { .. } => {
            Some("assign the identity to this machine, and give its `client_id` if there are several")
        }
        CredentialKind::AzureCli { .. } if said.contains("not found on PATH") => {
            Some("install the Azure CLI, or use another kind of credential")
        }
        CredentialKind::AzureCli { .. } => Some("`az login` signs in, `az cloud set` chooses the cloud"),
        CredentialKind::AzurePipelines { .. } if said.contains("OIDC endpoint") => Some(
            "map System.AccessToken into the step's environment, and let the pipeline use the connection",
        ),
        _ => AADSTS.iter().find(|(code, _)| has_code(said, code)).map(|(_, remedy)| *remedy),
    }
}

fn has_code(said: &str, code: &str) -> bool {
    let rest = said.split_once("AADSTS").and_then(|(_, rest)| rest.strip_prefix(code));
    rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
}

const UNMATCHED: &str = "compare issuer and subject of the application's federated credential with those of the service \
                         connection or service account";

const AADSTS: [(&str, &str); 8] = [
    ("7000215", "put the secret's value, not its id, where `client_secret` says"),
    ("7000222", "the secret has expired: make a new one and put it where `client_secret` says"),
    ("700016", "check `client_id`, and that `tenant_id` is the tenant of this application"),
    ("90002", "check `tenant_id`, and that `endpoint` is of the cloud in which the tenant is"),
    ("700024", "the assertion has expired: check the clock of this machine and who renews the token"),
    ("70021", UNMATCHED),
    ("700211", UNMATCHED),
    ("700213", UNMATCHED),
];
