//! `drover.toml`: read, checked as a whole, and nothing contacted.
//!
//! Every error names the file, the line, the key with its table, and what to write instead. No value that could be a secret
//! is ever repeated.

mod journal;
mod policy;
mod probe;
mod reader;
mod secret;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use aks_client::{ApiVersion, ClusterId, Endpoint, SubscriptionId};
use rancher_client::{RancherClusterId, RancherUrl};

pub(crate) use journal::{JournalConfig, JournalCredential};
pub(crate) use probe::{Bounds, ProbeConfig, ProbeKind, Source as ProbeSource};
pub(crate) use reader::{Place, nearest};
pub(crate) use secret::{Secret, SecretPlace};

use crate::error::ConfigError;
use policy::PolicyConfig;
use reader::{Source, Table, Value};

/// The whole file.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) file: PathBuf,
    pub(crate) environments: BTreeMap<String, Environment>,
    pub(crate) clusters: BTreeMap<String, ClusterConfig>,
    pub(crate) journal: Option<JournalConfig>,
}

/// One Rancher server with one Azure subscription.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) rancher: RancherConfig,
    pub(crate) azure: AzureConfig,
}

#[derive(Debug)]
pub(crate) struct RancherConfig {
    pub(crate) url: RancherUrl,
    pub(crate) token: Secret,
    pub(crate) ca: Option<RancherCa>,
}

/// The certificate authority of a Rancher server with a private one.
#[derive(Debug)]
pub(crate) enum RancherCa {
    File(CaFile),
    /// Pinned by Rancher's own checksum and fetched from the server.
    Checksum {
        checksum: String,
        place: Place,
    },
}

/// A file of PEM certificates.
#[derive(Clone, Debug)]
pub(crate) struct CaFile {
    pub(crate) path: PathBuf,
    pub(crate) place: Place,
}

#[derive(Debug)]
pub(crate) struct AzureConfig {
    pub(crate) subscription: SubscriptionId,
    pub(crate) credential: Credential,
    pub(crate) endpoint: Endpoint,
    pub(crate) api_version: ApiVersion,
    pub(crate) ca: Option<CaFile>,
}

/// How to get a token for Azure, and where the file says so.
#[derive(Debug)]
pub(crate) struct Credential {
    pub(crate) kind: CredentialKind,
    pub(crate) place: Place,
}

#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "azure-identity"),
    expect(dead_code, reason = "checked in every build, used in those that can")
)]
pub(crate) enum CredentialKind {
    AzurePipelines {
        tenant_id: String,
        client_id: String,
        service_connection_id: String,
        access_token: Secret,
    },
    WorkloadIdentity {
        tenant_id: String,
        client_id: String,
        token_file: PathBuf,
    },
    ManagedIdentity {
        client_id: Option<String>,
    },
    ClientSecret {
        tenant_id: String,
        client_id: String,
        client_secret: Secret,
    },
    AzureCli {
        tenant_id: Option<String>,
    },
    Token(Secret),
}

/// The credential kinds, in the order of the reference.
const KINDS: [&str; 6] =
    ["azure-pipelines", "workload-identity", "managed-identity", "client-secret", "azure-cli", "token"];

/// Where Azure's workload identity webhook mounts the token (azure-workload-identity: service account token projection).
const PROJECTED_TOKEN: &str = "/var/run/secrets/azure/tokens/azure-identity-token";

/// The variable in which a pipeline hands its own token to a step that asks for it (Azure Pipelines: predefined variables).
const PIPELINE_TOKEN: &str = "SYSTEM_ACCESSTOKEN";

#[derive(Debug)]
pub(crate) struct ClusterConfig {
    pub(crate) environment: String,
    pub(crate) rancher: RancherName,
    pub(crate) arm: ClusterId,
    pub(crate) policy: upgrade_core::Policy,
    pub(crate) probes: Vec<ProbeConfig>,
}

/// Which cluster of the Rancher server.
#[derive(Debug)]
pub(crate) enum RancherName {
    Id(RancherClusterId),
    Name(String),
}

impl Config {
    /// Reads and checks the file.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| ConfigError {
            file: path.to_owned(),
            line: None,
            place: String::new(),
            problem: format!("cannot be read: {error}"),
            remedy: Some("give its path by --config or AKS_DROVER_CONFIG".to_owned()),
        })?;
        Self::parse(path, &text)
    }

    /// Checks the text of a file at `path`, against whose folder relative paths count.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let source = Source::new(path, text);
        let document = source.parse()?;
        let top = Table::top(&source, &document);
        top.allow(&["environments", "clusters", "policy", "journal"])?;
        let mut environments = BTreeMap::new();
        for (name, table) in top.tables("environments")? {
            environments.insert(name, environment(&table)?);
        }
        let defaults = policy::read(top.maybe_table("policy")?.as_ref(), &PolicyConfig::default())?;
        let mut clusters = BTreeMap::new();
        for (name, table) in top.tables("clusters")? {
            let cluster = cluster(&name, &table, &environments, &defaults)?;
            clusters.insert(name, cluster);
        }
        let journal = top.maybe_table("journal")?.map(|table| journal::read(&table)).transpose()?;
        Ok(Self { file: path.to_owned(), environments, clusters, journal })
    }
}

impl Config {
    /// The environment of one of this file's clusters.
    pub(crate) fn environment_of(&self, cluster: &ClusterConfig) -> &Environment {
        self.environments.get(&cluster.environment).expect("a cluster is read only with its environment")
    }
}

impl CredentialKind {
    /// The word for it in the file.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::AzurePipelines { .. } => "azure-pipelines",
            Self::WorkloadIdentity { .. } => "workload-identity",
            Self::ManagedIdentity { .. } => "managed-identity",
            Self::ClientSecret { .. } => "client-secret",
            Self::AzureCli { .. } => "azure-cli",
            Self::Token(_) => "token",
        }
    }

    /// The application or identity that it signs in, where the file names one.
    pub(crate) fn client_id(&self) -> Option<&str> {
        match self {
            Self::AzurePipelines { client_id, .. }
            | Self::WorkloadIdentity { client_id, .. }
            | Self::ClientSecret { client_id, .. } => Some(client_id),
            Self::ManagedIdentity { client_id } => client_id.as_deref(),
            Self::AzureCli { .. } | Self::Token(_) => None,
        }
    }

    /// The tenant in which it signs in, where the file names one.
    pub(crate) fn tenant_id(&self) -> Option<&str> {
        match self {
            Self::AzurePipelines { tenant_id, .. }
            | Self::WorkloadIdentity { tenant_id, .. }
            | Self::ClientSecret { tenant_id, .. } => Some(tenant_id),
            Self::AzureCli { tenant_id } => tenant_id.as_deref(),
            Self::ManagedIdentity { .. } | Self::Token(_) => None,
        }
    }
}

fn environment(table: &Table<'_>) -> Result<Environment, ConfigError> {
    table.allow(&["rancher", "azure"])?;
    Ok(Environment { rancher: rancher(&table.table("rancher")?)?, azure: azure(&table.table("azure")?)? })
}

fn rancher(table: &Table<'_>) -> Result<RancherConfig, ConfigError> {
    table.allow(&["url", "token", "ca_file", "ca_checksum"])?;
    let url = table.value("url")?.parse(RancherUrl::parse)?;
    let token = secret::read(&table.value("token")?)?;
    let ca = match (ca_file(table)?, table.maybe_value("ca_checksum")) {
        (Some(_), Some(checksum)) => {
            return Err(checksum.error("`ca_file` is given too", "keep one of the two"));
        }
        (Some(file), None) => Some(RancherCa::File(file)),
        (None, Some(value)) => {
            let checksum = value.text()?.to_owned();
            if checksum.len() != 64 || !checksum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(
                    value.error("not a checksum", "write the SHA-256 of the PEM, 64 hexadecimal digits")
                );
            }
            Some(RancherCa::Checksum { checksum, place: value.place() })
        }
        (None, None) => None,
    };
    Ok(RancherConfig { url, token, ca })
}

fn ca_file(table: &Table<'_>) -> Result<Option<CaFile>, ConfigError> {
    let Some(value) = table.maybe_value("ca_file") else { return Ok(None) };
    Ok(Some(CaFile { path: value.path()?, place: value.place() }))
}

fn azure(table: &Table<'_>) -> Result<AzureConfig, ConfigError> {
    table.allow(&["subscription", "credential", "endpoint", "api_version", "ca_file"])?;
    let endpoint = table.maybe_value("endpoint").map(|value| value.parse(str::parse)).transpose()?;
    let api_version = table.maybe_value("api_version").map(|value| value.parse(str::parse)).transpose()?;
    Ok(AzureConfig {
        subscription: table.value("subscription")?.parse(str::parse)?,
        credential: credential(&table.table("credential")?, &[])?,
        endpoint: endpoint.unwrap_or_default(),
        api_version: api_version.unwrap_or_default(),
        ca: ca_file(table)?,
    })
}

/// `more` are the kinds that the caller knows beside these.
fn credential(table: &Table<'_>, more: &[&str]) -> Result<Credential, ConfigError> {
    let kind = table.value("kind")?;
    let id = |key| table.value(key)?.parse(plain_id);
    let maybe_id = |key| table.maybe_value(key).map(|value| value.parse(plain_id)).transpose();
    let kind = match kind.text()? {
        "azure-pipelines" => {
            table.allow(&["kind", "tenant_id", "client_id", "service_connection_id", "access_token"])?;
            let given = table.maybe_value("access_token").map(|value| secret::read(&value)).transpose()?;
            CredentialKind::AzurePipelines {
                tenant_id: id("tenant_id")?,
                client_id: id("client_id")?,
                service_connection_id: id("service_connection_id")?,
                access_token: given.unwrap_or_else(|| Secret::variable(PIPELINE_TOKEN, table.place())),
            }
        }
        "workload-identity" => {
            table.allow(&["kind", "tenant_id", "client_id", "token_file"])?;
            let file = table.maybe_value("token_file").map(|value| value.path()).transpose()?;
            CredentialKind::WorkloadIdentity {
                tenant_id: id("tenant_id")?,
                client_id: id("client_id")?,
                token_file: file.unwrap_or_else(|| PathBuf::from(PROJECTED_TOKEN)),
            }
        }
        "managed-identity" => {
            table.allow(&["kind", "client_id"])?;
            CredentialKind::ManagedIdentity { client_id: maybe_id("client_id")? }
        }
        "client-secret" => {
            table.allow(&["kind", "tenant_id", "client_id", "client_secret"])?;
            CredentialKind::ClientSecret {
                tenant_id: id("tenant_id")?,
                client_id: id("client_id")?,
                client_secret: secret::read(&table.value("client_secret")?)?,
            }
        }
        "azure-cli" => {
            table.allow(&["kind", "tenant_id"])?;
            CredentialKind::AzureCli { tenant_id: maybe_id("tenant_id")? }
        }
        "token" => {
            table.allow(&["kind", "env", "file", "command"])?;
            CredentialKind::Token(secret::read_table(table)?)
        }
        other => return Err(kind.unknown_word(other, &[&KINDS, more].concat())),
    };
    Ok(Credential { kind, place: table.place() })
}

/// Ids of tenants, applications and connections: GUIDs, or the domain of a tenant.
fn plain_id(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !text.is_empty() && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("not an id: letters, digits, `-`, `.` and `_`".to_owned())
    }
}

fn cluster(
    name: &str,
    table: &Table<'_>,
    environments: &BTreeMap<String, Environment>,
    defaults: &PolicyConfig,
) -> Result<ClusterConfig, ConfigError> {
    table.allow(&["environment", "rancher_id", "rancher_name", "resource_group", "aks_name", "policy"])?;
    let environment = table.value("environment")?;
    let chosen = environments
        .get_key_value(environment.text()?)
        .ok_or_else(|| environment.unknown_word_of(environments.keys().map(String::as_str)))?;
    let rancher = match (table.maybe_value("rancher_id"), table.maybe_value("rancher_name")) {
        (Some(id), None) => RancherName::Id(id.parse(RancherClusterId::parse)?),
        (None, Some(name)) => RancherName::Name(name.not_empty()?.to_owned()),
        (Some(_), Some(name)) => return Err(name.error("`rancher_id` is given too", "keep the id")),
        (None, None) => {
            return Err(table.error(
                "neither `rancher_id` nor `rancher_name` is given",
                "write the id that Rancher shows in the cluster's address, such as c-m-abcd1234",
            ));
        }
    };
    let group = table.value("resource_group")?;
    let aks_name = table.maybe_value("aks_name");
    let aks_text = aks_name.as_ref().map_or(Ok(name), Value::text)?;
    let arm = ClusterId::new(chosen.1.azure.subscription, group.text()?, aks_text).map_err(|error| {
        // Of the two parts, the one that breaks Azure's rules on its own is meant.
        let group_is_wrong =
            ClusterId::new(chosen.1.azure.subscription, group.text().unwrap_or_default(), "x").is_err();
        match (group_is_wrong, &aks_name) {
            (true, _) => group.error_of(&error),
            (false, Some(aks_name)) => aks_name.error_of(&error),
            (false, None) => table.error(error.to_string(), "give the AKS name by `aks_name`"),
        }
    })?;
    let PolicyConfig { policy, probes } = policy::read(table.maybe_table("policy")?.as_ref(), defaults)?;
    Ok(ClusterConfig { environment: chosen.0.clone(), rancher, arm, policy, probes })
}

#[cfg(test)]
mod tests;
