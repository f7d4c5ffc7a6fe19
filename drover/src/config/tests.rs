use std::fmt::Write;
use std::time::Duration;

use upgrade_core::Policy;
use upgrade_core::policy::{FreezeTime, RancherManaged, UpgradeStrategy};

use super::*;

/// The file of the reference, whole.
const FULL: &str = r#"
[environments.acceptance.rancher]
url = "https://rancher.acceptance.example.com"
token = { env = "RANCHER_TOKEN" }
ca_file = "rancher-ca.pem"

[environments.acceptance.azure]
subscription = "00000000-0000-0000-0000-000000000001"
credential = { kind = "azure-pipelines", tenant_id = "t", client_id = "c", service_connection_id = "s" }
endpoint = "https://management.azure.com"
api_version = "2026-08-01"
ca_file = "/etc/azure.pem"

[clusters.shop-acc]
environment = "acceptance"
rancher_id = "c-m-abcd1234"
resource_group = "rg-demo"
aks_name = "shop"

[clusters.shop-acc.policy]
max_concurrent_moves = 3
allow_gap = []

[clusters.pay-acc]
environment = "acceptance"
rancher_name = "pay"
resource_group = "rg-demo"

[policy]
strategy = "buffer"
max_concurrent_moves = 10
move_timeout = "30m"
job_wait = "1h 30m"
allow_gap = ["pay/ledger"]
accept = [{ code = "PDB-002", object = "pay/frozen", reason = "owner agreed", until = "2026-12-31" }]
rancher_managed = "refuse"
prewarm = false
soak = "90s"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/etc/drover/drover.toml"), text)
}

#[test]
fn the_file_of_the_reference_is_read_and_a_cluster_overrides_the_policy_key_by_key() {
    let config = parse(FULL).unwrap();
    let acceptance = &config.environments["acceptance"];
    assert_eq!(acceptance.rancher.url.to_string(), "https://rancher.acceptance.example.com");
    assert_eq!(acceptance.rancher.token.from, SecretPlace::Variable("RANCHER_TOKEN".into()));
    let Some(RancherCa::File(ca)) = &acceptance.rancher.ca else { panic!("{:?}", acceptance.rancher.ca) };
    assert_eq!(ca.path, Path::new("/etc/drover/rancher-ca.pem"), "relative to the file's folder");
    let CredentialKind::AzurePipelines { access_token, .. } = &acceptance.azure.credential.kind else {
        panic!("{:?}", acceptance.azure.credential)
    };
    assert_eq!(access_token.from, SecretPlace::Variable("SYSTEM_ACCESSTOKEN".into()));

    let (shop, pay) = (&config.clusters["shop-acc"], &config.clusters["pay-acc"]);
    assert_eq!((shop.arm.name(), pay.arm.name()), ("shop", "pay-acc"));
    assert!(matches!(&shop.rancher, RancherName::Id(id) if id.as_str() == "c-m-abcd1234"));
    assert!(matches!(&pay.rancher, RancherName::Name(name) if name == "pay"));
    assert_eq!(config.environment_of(shop).azure.api_version.as_str(), "2026-08-01");

    let (own, general) = (&shop.policy, &pay.policy);
    assert_eq!((own.max_concurrent_moves, general.max_concurrent_moves), (3, 10));
    assert_eq!((own.allow_gap.len(), general.allow_gap.len()), (0, 1));
    assert_eq!(own.job_wait, Duration::from_secs(5400));
    assert_eq!((own.strategy, own.rancher_managed), (UpgradeStrategy::Buffer, RancherManaged::Refuse));
    assert!(!own.prewarm && own.soak == Duration::from_secs(90));
    assert_eq!(own.accept[0].until.unwrap().to_string(), "2026-12-31");
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = parse(MINIMAL).unwrap();
    let azure = &config.environments["e"].azure;
    assert_eq!(azure.endpoint.to_string(), "https://management.azure.com");
    assert_eq!(azure.api_version.as_str(), "2026-08-01");
    assert_eq!(config.clusters["c"].policy, Policy::default());
}

const MINIMAL: &str = r#"
[environments.e]
rancher = { url = "http://127.0.0.1:8080", token = { command = ["vault", "read", "token"] } }
[environments.e.azure]
subscription = "00000000-0000-0000-0000-000000000001"
credential = { kind = "token", env = "AZURE_TOKEN" }
[clusters.c]
environment = "e"
rancher_id = "c-abcde"
resource_group = "rg"
"#;

/// Mistakes, each as one replacement in the minimal file.
const MISTAKES: [(&str, &str, &str); 34] = [
    ("a misspelt key", "rancher_id", "rancher_idd"),
    ("a key of elsewhere", "resource_group =", "subscription = \"x\"\nresource_group ="),
    ("a misspelt table", "[clusters.c]", "[cluster.c]"),
    ("a misspelt key of the policy", "[clusters.c]", "[policy]\nmax_concurent_moves = 3\n[clusters.c]"),
    ("a key that is missing", "resource_group = \"rg\"\n", ""),
    (
        "a table that is missing",
        "[environments.e.azure]\nsubscription",
        "[environments.f.azure]\nsubscription",
    ),
    ("a number for a text", "\"rg\"", "7"),
    ("a text for a number", "[clusters.c]", "[policy]\nmax_concurrent_moves = \"3\"\n[clusters.c]"),
    ("too small a number", "[clusters.c]", "[policy]\nmax_concurrent_moves = 0\n[clusters.c]"),
    ("not TOML", "[clusters.c]", "[clusters.c"),
    ("a key twice", "rancher_id =", "rancher_id = \"c-x\"\nrancher_id ="),
    ("both id and name", "rancher_id =", "rancher_name = \"shop\"\nrancher_id ="),
    ("neither id nor name", "rancher_id = \"c-abcde\"\n", ""),
    ("no id of Rancher's", "c-abcde", "C/ABCDE"),
    ("http to another machine", "http://127.0.0.1:8080", "http://rancher.example.com"),
    ("a URL with a password", "http://127.0.0.1:8080", "https://admin:hunter2@rancher.example.com"),
    (
        "a secret in the file",
        "token = { command = [\"vault\", \"read\", \"token\"] }",
        "token = \"token-x:hunter2\"",
    ),
    ("a secret as a variable's name", "env = \"AZURE_TOKEN\"", "env = \"ey.hunter2\""),
    ("two places for a secret", "{ command =", "{ env = \"X\", command ="),
    ("no place for a secret", "kind = \"token\", env = \"AZURE_TOKEN\"", "kind = \"token\""),
    ("an empty command", "[\"vault\", \"read\", \"token\"]", "[]"),
    (
        "both kinds of certificate",
        "token = { command",
        "ca_file = \"a.pem\", ca_checksum = \"00\", token = { command",
    ),
    ("no checksum", "token = { command", "ca_checksum = \"abc\", token = { command"),
    ("no subscription id", "00000000-0000-0000-0000-000000000001", "production"),
    ("an unknown kind of credential", "kind = \"token\"", "kind = \"azure-clii\""),
    ("a key of another kind", "kind = \"token\", env", "kind = \"managed-identity\", env"),
    ("an old API", "credential =", "api_version = \"2025-09-01\"\ncredential ="),
    ("an unknown environment", "environment = \"e\"", "environment = \"acceptance\""),
    ("no resource group", "\"rg\"", "\"rg/other\""),
    ("no duration", "[clusters.c]", "[policy]\nsoak = \"5 minuets\"\n[clusters.c]"),
    ("an unknown strategy", "[clusters.c]", "[policy]\nstrategy = \"blue-gren\"\n[clusters.c]"),
    ("no workload", "[clusters.c]", "[policy]\nallow_gap = [\"pay/ledger\", \"ledger\"]\n[clusters.c]"),
    (
        "no code",
        "[clusters.c]",
        "[policy]\naccept = [{ code = \"pdb-2\", object = \"a/b\", reason = \"r\" }]\n[clusters.c]",
    ),
    (
        "no reason",
        "[clusters.c]",
        "[policy]\naccept = [{ code = \"PDB-002\", object = \"a/b\", reason = \" \" }]\n[clusters.c]",
    ),
];

#[test]
fn every_mistake_is_told_with_its_place_and_no_secret_is_repeated() {
    let mut told = String::new();
    for (what, right, wrong) in MISTAKES {
        assert!(MINIMAL.contains(right), "{what}");
        let error = parse(&MINIMAL.replacen(right, wrong, 1)).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        let text = error.to_string().replace("/etc/drover/", "");
        writeln!(told, "{what}\n    {text}").unwrap();
        if let Some(remedy) = &error.remedy {
            writeln!(told, "    {remedy}").unwrap();
        }
    }
    insta::assert_snapshot!(told);
}

#[test]
fn a_file_that_is_not_there_is_told_with_the_ways_to_name_one() {
    let error = Config::load(Path::new("/nowhere/drover.toml")).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/drover.toml: cannot be read: "), "{error}");
    assert!(error.remedy.unwrap().contains("--config"));
}

#[test]
fn the_nearest_word_is_near() {
    let known = ["url", "token", "ca_file", "ca_checksum"];
    for (word, nearest_word) in [("tokn", Some("token")), ("ulr", Some("url")), ("ca-file", Some("ca_file"))]
    {
        assert_eq!(nearest(word, known.into_iter()), nearest_word);
    }
    assert_eq!(nearest("subscription", known.into_iter()), None);
}

#[test]
fn a_freeze_has_moments_that_mean_the_same_everywhere_and_a_reason() {
    let read = |freeze: &str| {
        let policy = format!("[policy]\nfreeze = [{{ {freeze} }}]\n[clusters.c]");
        parse(&MINIMAL.replacen("[clusters.c]", &policy, 1)).map(|config| config.clusters["c"].policy.clone())
    };
    let good = read(
        "from = 2026-12-20T00:00:00+01:00, to = \"2027-01-04T00:00:00+01:00\", reason = \"peak season\"",
    );
    let freeze = &good.unwrap().freeze[0];
    let FreezeTime::Once { from, .. } = freeze.when else { panic!("{freeze:?}") };
    assert_eq!((from.to_string().as_str(), freeze.reason.as_str()), ("2026-12-19T23:00:00Z", "peak season"));
    let weekend = read("every = \"fri 16:00 - Mon 06:00\", zone = \"europe/amsterdam\", reason = \"r\"");
    assert_eq!(
        serde_json::to_string(&weekend.unwrap().freeze[0]).unwrap(),
        r#"{"every":"Fri 16:00 - Mon 06:00","zone":"Europe/Amsterdam","reason":"r"}"#
    );
    for (freeze, told) in [
        (
            "from = \"2026-12-20T00:00:00\", to = \"2027-01-04T00:00:00Z\", reason = \"r\"",
            "policy.freeze[0].from: not a moment with its offset from UTC, such as \"2026-12-20T00:00:00+01:00\"",
        ),
        (
            "from = \"2026-12-20T00:00:00Z\", to = \"2026-12-19T00:00:00Z\", reason = \"r\"",
            "policy.freeze[0].to: it ends before it begins",
        ),
        (
            "from = \"2026-12-20T00:00:00Z\", to = \"2027-01-04T00:00:00Z\"",
            "policy.freeze[0]: `reason` is missing",
        ),
        (
            "every = \"Fri - Mon\", zone = \"UTC\", reason = \"r\"",
            "policy.freeze[0].every: `Fri - Mon` does not say when such as `Fri 16:00 - Mon 06:00` (each week) or `22:00 - 06:00` (each day)",
        ),
        (
            "every = \"22:00 - 06:00\", zone = \"Amsterdam\", reason = \"r\"",
            "policy.freeze[0].zone: not a time zone such as `Europe/Amsterdam` or `UTC`",
        ),
        ("every = \"22:00 - 06:00\", reason = \"r\"", "policy.freeze[0]: `zone` is missing"),
    ] {
        let error = read(freeze).unwrap_err().to_string();
        assert!(error.ends_with(told), "{error}");
    }
}
