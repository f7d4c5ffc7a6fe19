//! The house's walls: who may know whom, and what the core may not reach.
//!
//! A wall that nobody checks is gone after the first busy week.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Whom each package of the workspace may depend on, among each other. A new package needs a row.
const ARROWS: [(&str, &[&str]); 9] = [
    ("aks-drover-rancher", &[]),
    ("aks-drover-aks", &[]),
    ("aks-drover-core", &[]),
    ("aks-drover-lab", &["aks-drover-core"]),
    ("aks-drover", &["aks-drover-rancher", "aks-drover-aks", "aks-drover-core", "aks-drover-lab"]),
    ("aks-drover-nights", &["aks-drover-core", "aks-drover-lab"]),
    ("aks-drover-py", &["aks-drover", "aks-drover-core", "aks-drover-lab"]),
    ("aks-drover-tests", &["aks-drover", "aks-drover-core", "aks-drover-lab", "aks-drover-nights"]),
    ("xtask", &[]),
];

/// Whom a package's tests and examples may know beside them: the manuals of the clients run on the lab. What is published of a
/// client, and what is built of it, does not know the lab.
const ARROWS_OF_TESTS: [(&str, &str); 2] =
    [("aks-drover-rancher", "aks-drover-lab"), ("aks-drover-aks", "aks-drover-lab")];

/// Networks, runtimes, other people's models, chance.
const NOT_FOR_THE_CORE: [&str; 14] = [
    "azure_core",
    "axum",
    "fastrand",
    "getrandom",
    "http",
    "hyper",
    "k8s_openapi",
    "kube",
    "kube_core",
    "mio",
    "reqwest",
    "rustls",
    "tokio",
    "url",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace's root").to_path_buf()
}

/// What cargo says, without asking a registry.
fn cargo(arguments: &[&str]) -> String {
    let output =
        Command::new("cargo").args(arguments).args(["--offline", "--locked"]).current_dir(root()).output();
    let output = output.expect("cargo runs this test");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

/// The packages of the workspace, each with the names it depends on; those that are for its tests alone are marked.
fn packages() -> BTreeMap<String, BTreeSet<(String, bool)>> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1"])).unwrap();
    let text = |value: &Value| value.as_str().expect("a name").to_owned();
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let dependency = |dependency: &Value| (text(&dependency["name"]), dependency["kind"] == "dev");
    let dependencies = |package: &Value| list(&package["dependencies"]).iter().map(dependency).collect();
    list(&metadata["packages"])
        .iter()
        .map(|package| (text(&package["name"]), dependencies(package)))
        .collect()
}

/// The libraries that a package is built from, however far away.
fn reached(package: &str, features: &[&str]) -> BTreeSet<String> {
    let mut arguments = vec!["tree", "-p", package, "-e", "no-dev", "--prefix", "none", "-f", "{lib}"];
    arguments.extend(features);
    cargo(&arguments).lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Every Rust file below a folder of the workspace, with its path from the root.
fn sources(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found.sort();
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The folders of all crates.
fn all_sources() -> Vec<(String, String)> {
    let folders = [
        "aks-client",
        "drover",
        "lab",
        "nights",
        "py-bindings/src",
        "rancher-client",
        "tests",
        "upgrade-core",
        "xtask",
    ];
    folders.iter().flat_map(|folder| sources(folder)).collect()
}

/// The places where one of the words stands outside a comment.
fn places<'a>(sources: &'a [(String, String)], words: &'a [&'a str]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in sources {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn packages_know_only_whom_they_may() {
    let packages = packages();
    let rows: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    assert_eq!(
        packages.keys().map(String::as_str).collect::<Vec<_>>(),
        rows.keys().copied().collect::<Vec<_>>()
    );
    for (name, dependencies) in &packages {
        let allowed = |other: &str, in_tests: bool| {
            rows[name.as_str()].contains(&other) || (in_tests && ARROWS_OF_TESTS.contains(&(name, other)))
        };
        let known = dependencies.iter().filter(|(other, _)| packages.contains_key(other));
        let forbidden: Vec<_> = known.filter(|(other, in_tests)| !allowed(other, *in_tests)).collect();
        assert!(forbidden.is_empty(), "{name} must not know {forbidden:?}");
    }
}

#[test]
fn xtask_needs_nothing_but_itself() {
    assert_eq!(packages()["xtask"], BTreeSet::new(), "`cargo xtask` begins at once, on every machine");
}

#[test]
fn the_core_reaches_no_network_no_runtime_and_no_chance() {
    let reached = reached("aks-drover-core", &["--all-features"]);
    assert!(reached.contains("upgrade_core") && reached.contains("serde"), "{reached:?}");
    let forbidden: Vec<_> = NOT_FOR_THE_CORE.iter().filter(|name| reached.contains(**name)).collect();
    assert!(forbidden.is_empty(), "upgrade-core reaches {forbidden:?}");
}

#[test]
fn the_core_reads_no_file_no_clock_and_no_environment() {
    let words = [
        "std::fs",
        "std::env",
        "std::net",
        "std::process",
        "std::thread",
        "SystemTime",
        "Instant::",
        "Timestamp::now",
        "Zoned::now",
        "thread::sleep",
        "env!(",
    ];
    // Its unit tests may read what lies beside them, and its properties may use every core.
    let sources: Vec<_> = sources("upgrade-core/src")
        .into_iter()
        .filter(|(name, _)| !name.contains("tests") && !name.contains("properties"))
        .collect();
    assert!(sources.len() > 30, "the core has moved");
    assert_eq!(places(&sources, &words), Vec::<String>::new());
}

#[test]
fn the_clients_know_http_and_nothing_above_it() {
    for package in ["aks-drover-rancher", "aks-drover-aks"] {
        let reached = reached(package, &["--all-features"]);
        assert!(reached.contains("reqwest"));
        for name in
            ["axum", "azure_core", "azure_identity", "clap", "k8s_openapi", "kube", "pyo3", "upgrade_core"]
        {
            assert!(!reached.contains(name), "{package} reaches {name}");
        }
    }
}

/// Whoever embeds Drover compiles no command line, no server and no Azure SDK.
#[test]
fn the_facade_without_features_is_a_library() {
    let reached = reached("aks-drover", &["--no-default-features"]);
    assert!(reached.contains("kube") && reached.contains("reqwest"));
    for name in
        ["axum", "azure_core", "azure_identity", "clap", "indicatif", "quick_junit", "tracing_subscriber"]
    {
        assert!(!reached.contains(name), "aks-drover without features reaches {name}");
    }
}

/// One feature more in the tests' dependencies, and `cargo xtask test` compiles half the tree a second time for its wheel. What is
/// missing then belongs into the feature `as-in-tests` of `py-bindings`.
#[test]
fn the_wheel_of_the_tests_takes_what_the_tests_have_compiled() {
    let tree = |selection: &[&str]| -> BTreeSet<String> {
        let arguments = ["tree", "--prefix", "none", "-f", "{p} with {f}"];
        let lines = cargo(&[&arguments[..], selection].concat());
        lines.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
    };
    let tests = tree(&["--workspace", "-e", "normal,build,dev"]);
    let wheel = tree(&["-p", "aks-drover-py", "--features", "as-in-tests", "-e", "normal,build"]);
    let anew: Vec<_> = wheel.difference(&tests).filter(|line| !line.starts_with("aks-drover-py ")).collect();
    assert!(wheel.len() > 100 && anew.is_empty(), "{anew:#?}");
}

/// The lab's rehearsals contact nothing: it can serve HTTP, but not call anybody.
#[test]
fn the_lab_can_call_nobody() {
    let reached = reached("aks-drover-lab", &["--all-features"]);
    for name in ["kube", "kube_client", "reqwest", "rancher_client", "aks_client", "rustls"] {
        assert!(!reached.contains(name), "the lab reaches {name}");
    }
}

/// `kube` comes as types and a client over our own HTTP stack: no TLS of its own, no login helpers that read other tools' files.
/// Its `client` brings the code that reads kubeconfigs; that nobody calls it is for clippy and the next test to say.
#[test]
fn kube_brings_no_tls_and_no_logins() {
    let line =
        cargo(&["tree", "-p", "aks-drover", "-e", "no-dev", "-i", "kube", "--depth", "0", "-f", "{f}"]);
    let features: BTreeSet<&str> = line.trim().split(',').collect();
    assert_eq!(features, BTreeSet::from(["client", "config", "kube-client"]));
}

#[test]
fn nobody_reads_a_kubeconfig() {
    let words = [
        "Kubeconfig::",
        "KubeConfigOptions",
        "Config::infer",
        "from_kubeconfig",
        "Config::incluster",
        "try_default",
        "KUBECONFIG",
    ];
    let sources: Vec<_> =
        all_sources().into_iter().filter(|(name, _)| name != "tests/it/architecture.rs").collect();
    assert_eq!(places(&sources, &words), Vec::<String>::new());
}

/// Two TLS stacks are two sets of trusted roots, and two providers of cryptography in one process make rustls panic.
#[test]
fn there_is_one_tls_stack() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let names: BTreeSet<&str> = lock.lines().filter_map(|line| line.strip_prefix("name = ")).collect();
    assert!(names.contains("\"rustls\"") && names.contains("\"ring\""));
    for name in ["openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys"] {
        assert!(!names.contains(format!("\"{name}\"").as_str()), "{name} is in Cargo.lock");
    }
}

/// Time and the environment come in at these doors only. A new door is a decision: it belongs in this list.
#[test]
fn the_doors_to_time_and_environment_are_known() {
    let doors = all_sources().into_iter().filter(|(_, text)| text.contains("clippy::disallowed_methods"));
    let doors: Vec<_> =
        doors.map(|(name, _)| name).filter(|name| name != "tests/it/architecture.rs").collect();
    assert_eq!(
        doors,
        [
            "drover/benches/inventory.rs",
            "drover/src/clock.rs",
            "drover/src/env.rs",
            "nights/src/main.rs",
            "tests/it/live.rs",
            "xtask/src/parts.rs"
        ]
    );
}

/// A lint is silenced with a reason, and no longer than it speaks.
#[test]
fn lints_are_expected_with_a_reason() {
    let sources: Vec<_> =
        all_sources().into_iter().filter(|(name, _)| name != "tests/it/architecture.rs").collect();
    assert_eq!(places(&sources, &["#[allow(", "#![allow("]), Vec::<String>::new());
    for (name, text) in &sources {
        let expects = text.matches("#[expect(").count() + text.matches("#![expect(").count();
        assert!(text.matches("reason = \"").count() >= expects, "{name} expects a lint without a reason");
    }
}
