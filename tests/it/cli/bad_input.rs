//! Bad input: nothing is contacted, nothing is changed, and the message has the place, the value and a remedy.

use std::fs;
use std::path::Path;

use super::run;

/// A configuration that is right. Nothing listens on its port.
const CONFIG: &str = r#"
[environments.acc.rancher]
url = "http://127.0.0.1:9"
token = { env = "DROVER_TEST_TOKEN_THAT_IS_NOT_SET" }

[environments.acc.azure]
subscription = "00000000-0000-0000-0000-000000000001"
credential = { kind = "token", file = "azure.token" }

[clusters.shop-acc]
environment = "acc"
rancher_id = "c-m-abcd1234"
resource_group = "rg-demo"

[policy]
max_concurrent_moves = 10
"#;

/// A folder with this configuration and some files that are not what their names say.
fn folder(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("drover.toml", config);
    write("azure.token", "azure-secret");
    write("not-json.json", "{ plan");
    write("other.json", r#"{ "format": "2.0", "plan": {} }"#);
    write("half.json", r#"{ "format": "1.0", "plan": { "format": "1.0" }, "inventory": {} }"#);
    write("torn.jsonl", "{\"seq\":1,\"at\":\"2026-1");
    folder
}

/// Exit code 2, and all of these in the message.
fn refused(folder: &Path, arguments: &[&str], wanted: &[&str]) {
    let ended = run(folder, arguments);
    assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
    assert_eq!(ended.stdout, "", "{arguments:?} wrote data");
    // A message is wrapped for people; what it says is not a matter of lines.
    let said = ended.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in wanted {
        assert!(said.contains(text), "{arguments:?}: `{text}` is missing in {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 6, "{arguments:?} left something behind: {left:?}");
}

#[test]
fn wrong_usage_is_refused() {
    let folder = folder(CONFIG);
    for (arguments, wanted) in [
        (&["plan", "shop-acc"][..], &["--to"][..]),
        (&["plan", "shop-acc", "--to", "latest"], &["`latest` is not a Kubernetes version", "`1.35`"]),
        (&["plan", "shop-acc", "--to", "1.35", "--runs", "-1"], &["-1"]),
        (
            &["apply", "plan.json", "--journal", "https://journal.example"],
            &["an address that journals cannot have", "az://CONTAINER/FOLDER"],
        ),
        (&["status", "az://Journals/r-1"], &["names no container", "az://CONTAINER/FOLDER"]),
        (
            &["status", "az://journals/r-1"],
            &["drover.toml: journal: the table is missing", "hint: name the storage account"],
        ),
        (&["upgrade"], &["unrecognized subcommand 'upgrade'"]),
        (&["abort", "r-1"], &["error: r-1 does not say which cluster", "hint: name it with --cluster"]),
        (&["abort", "r-1", "--wait", "long"], &["`long` is not a duration"]),
        (&["abort", "no/such.jsonl"], &["error: journal no/such.jsonl: there is no such run"]),
        (&["leftovers", "shop-acc", "--yes"], &["--clean"]),
        (
            &["leftovers", "shop-acc", "--output", "junit"],
            &["leftovers have no JUnit form", "hint: use --output"],
        ),
    ] {
        refused(folder.path(), arguments, wanted);
    }
}

#[test]
fn a_wrong_configuration_is_refused_with_its_place() {
    for (right, wrong, wanted) in [
        (
            "max_concurrent_moves = 10",
            "max_concurent_moves = 10",
            &["drover.toml:16", "max_concurent_moves", "max_concurrent_moves"][..],
        ),
        (
            "max_concurrent_moves = 10",
            "max_concurrent_moves = \"ten\"",
            &["drover.toml:16", "policy.max_concurrent_moves"],
        ),
        (
            "url = \"http://127.0.0.1:9\"",
            "url = \"http://rancher.example.com\"",
            &["drover.toml:3", "loopback"],
        ),
        (
            "environment = \"acc\"",
            "environment = \"ac\"",
            &["drover.toml:11", "clusters.shop-acc.environment", "`acc`"],
        ),
        ("[policy]", "[policy", &["drover.toml:15"]),
        ("rancher_id = \"c-m-abcd1234\"\n", "", &["clusters.shop-acc", "rancher_id"]),
        (
            "token = { env = \"DROVER_TEST_TOKEN_THAT_IS_NOT_SET\" }",
            "token = \"abc:def\"",
            &["drover.toml:4", "env = \"NAME\""],
        ),
    ] {
        assert!(CONFIG.contains(right), "{right}");
        let folder = folder(&CONFIG.replace(right, wrong));
        refused(folder.path(), &["check", "shop-acc", "--to", "1.35"], wanted);
    }
}

#[test]
fn what_the_configuration_does_not_have_is_refused() {
    let folder = folder(CONFIG);
    for (arguments, wanted) in [
        (
            &["check", "shop-ac", "--to", "1.35"][..],
            &["names no cluster `shop-ac`", "hint: did you mean `shop-acc`?"][..],
        ),
        (&["check", "shop-acc", "--to", "1.35"], &["DROVER_TEST_TOKEN_THAT_IS_NOT_SET", "drover.toml"]),
        (&["check", "shop-acc", "--to", "1.35", "--config", "missing.toml"], &["missing.toml", "hint:"]),
    ] {
        refused(folder.path(), arguments, wanted);
    }
}

#[test]
fn a_file_that_is_not_what_it_should_be_is_refused() {
    let folder = folder(CONFIG);
    for (arguments, wanted) in [
        (&["apply", "missing.json"][..], &["plan missing.json cannot be read"][..]),
        (&["apply", "not-json.json"], &["plan not-json.json cannot be read", "not a plan"]),
        (&["apply", "other.json"], &["format 2.0 cannot be read, this version reads 1.x"]),
        (&["apply", "half.json"], &["plan half.json cannot be read", "at `plan"]),
        (&["rehearse", "missing.json"], &["missing.json cannot be read"]),
        (
            &["rehearse", "half.json", "--to", "1.35"],
            &["a plan has its version already", "hint: leave out --to"],
        ),
        (&["resume", "no-such-run"], &["no-such-run", "there is no such run"]),
        (&["status", "no-such-run"], &["no-such-run", "there is no such run"]),
        (&["status", "./torn.jsonl"], &["torn.jsonl", "it holds no run"]),
    ] {
        refused(folder.path(), arguments, wanted);
    }
}
