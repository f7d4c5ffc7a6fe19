//! The table `[journal]`: the account of Azure Blob Storage that journals at `az://` addresses are in.

use aks_client::{Cloud, Endpoint};

use super::reader::{Place, Table};
use super::{CaFile, Credential, CredentialKind, Secret, ca_file, credential, secret};
use crate::error::ConfigError;

/// The kind of credential that only storage knows.
const ACCOUNT_KEY: &str = "account-key";

/// The storage of each of Microsoft's clouds (Microsoft: Storage account overview, "Storage account endpoints").
const CLOUDS: [(&str, Cloud); 3] = [
    (".blob.core.windows.net", Cloud::Public),
    (".blob.core.usgovcloudapi.net", Cloud::UsGovernment),
    (".blob.core.chinacloudapi.cn", Cloud::China),
];

#[derive(Debug)]
pub(crate) struct JournalConfig {
    pub(crate) account: String,
    pub(crate) credential: JournalCredential,
    pub(crate) endpoint: Endpoint,
    pub(crate) ca: Option<CaFile>,
    pub(crate) place: Place,
}

#[derive(Debug)]
pub(crate) enum JournalCredential {
    /// The account's own key, which may do everything.
    AccountKey(Secret),
    /// Tokens, as for ARM.
    Token(Credential),
}

impl JournalConfig {
    /// The cloud whose storage it is, if it is one of those that Microsoft operates.
    pub(crate) fn cloud(&self) -> Option<Cloud> {
        let host = self.endpoint.as_url().host_str()?;
        CLOUDS.into_iter().find_map(|(domain, cloud)| host.ends_with(domain).then_some(cloud))
    }
}

pub(super) fn read(table: &Table<'_>) -> Result<JournalConfig, ConfigError> {
    table.allow(&["account", "credential", "endpoint", "ca_file"])?;
    let account = table.value("account")?;
    let name = account.parse(account_name)?;
    let endpoint = match table.maybe_value("endpoint") {
        Some(value) => value.parse(str::parse)?,
        None => format!("https://{name}.blob.core.windows.net")
            .parse()
            .map_err(|error| account.error_of(&error))?,
    };
    Ok(JournalConfig {
        account: name,
        credential: journal_credential(&table.table("credential")?)?,
        endpoint,
        ca: ca_file(table)?,
        place: table.place(),
    })
}

fn journal_credential(table: &Table<'_>) -> Result<JournalCredential, ConfigError> {
    if table.value("kind")?.text()? == ACCOUNT_KEY {
        table.allow(&["kind", "env", "file", "command"])?;
        return secret::read_table(table).map(JournalCredential::AccountKey);
    }
    let credential = credential(table, &[ACCOUNT_KEY])?;
    if matches!(credential.kind, CredentialKind::AzureCli { tenant_id: None }) {
        // Elsewhere the subscription says which of its accounts `az` is to take; storage has none.
        return Err(table.error("`tenant_id` is missing", "name the tenant that `az` is to sign in to"));
    }
    Ok(JournalCredential::Token(credential))
}

/// Azure's rule (Microsoft: Storage account overview, "Storage account name").
fn account_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if (3..=24).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("not the name of a storage account: 3 to 24 lower-case letters and digits".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn parse(table: &str) -> Result<JournalConfig, ConfigError> {
        let config = Config::parse(Path::new("/etc/drover.toml"), &format!("[journal]\n{table}"));
        config.map(|config| config.journal.expect("it is there"))
    }

    #[test]
    fn an_account_with_its_credential_is_enough() {
        let config = parse("account = \"herd\"\ncredential = { kind = \"managed-identity\" }").unwrap();
        assert_eq!(config.endpoint.to_string(), "https://herd.blob.core.windows.net");
        assert_eq!(config.cloud(), Some(Cloud::Public));
        let config = parse(
            "account = \"herd\"\ncredential = { kind = \"account-key\", env = \"KEY\" }\n\
             endpoint = \"http://127.0.0.1:10000/herd\"",
        );
        let config = config.unwrap();
        assert!(matches!(config.credential, JournalCredential::AccountKey(_)));
        assert_eq!((config.endpoint.as_url().path(), config.cloud()), ("/herd", None));
    }

    #[test]
    fn a_mistake_is_told_with_its_place_and_what_to_write() {
        const KEY: &str = "credential = { kind = \"account-key\", env = \"KEY\" }";
        for (table, told, remedy) in [
            (KEY.to_owned(), "1: journal: `account` is missing", None),
            (
                format!("account = \"Herd\"\n{KEY}"),
                "2: journal.account: not the name of a storage account: 3 to 24 lower-case letters and digits",
                None,
            ),
            ("account = \"herd\"".to_owned(), "1: journal: `credential` is missing", None),
            (
                format!("acount = \"herd\"\n{KEY}"),
                "2: journal.acount: unknown key",
                Some("did you mean `account`?"),
            ),
            (
                "account = \"herd\"\ncredential = { kind = \"account-kee\", env = \"KEY\" }".to_owned(),
                "3: journal.credential.kind: `account-kee` is not known here",
                Some("did you mean `account-key`?"),
            ),
            (
                "account = \"herd\"\ncredential = { kind = \"account-key\", key = \"abc\" }".to_owned(),
                "3: journal.credential.key: unknown key",
                Some("known here: kind, env, file, command"),
            ),
            (
                "account = \"herd\"\ncredential = { kind = \"azure-cli\" }".to_owned(),
                "3: journal.credential: `tenant_id` is missing",
                Some("name the tenant that `az` is to sign in to"),
            ),
        ] {
            let error = parse(&table).unwrap_err();
            assert_eq!(error.to_string(), format!("/etc/drover.toml:{told}"), "{table}");
            assert_eq!(error.remedy.as_deref(), remedy, "{table}");
        }
        let error =
            parse(&format!("account = \"herd\"\n{KEY}\nendpoint = \"http://herd.example.com\"")).unwrap_err();
        assert!(error.to_string().starts_with("/etc/drover.toml:4: journal.endpoint: "), "{error}");
    }
}
