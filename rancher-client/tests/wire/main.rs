//! The client over the wire. Each case names the section of the fact sheet on Rancher that it pins; what no case has an
//! answer for fails it.

#![expect(clippy::unwrap_used, reason = "a case fails by panicking; it stands outside the test that runs it")]

mod corpus;
mod errors;
mod faults;
mod kubernetes;
mod operations;
mod support;
mod tls;
mod tokens;
mod versions;

use std::collections::BTreeSet;

/// The sections that a client can pin. Not among them: 4.2 and 4.3 (actions on nodes, which this crate does not have on
/// purpose), the rest of 5 (workloads through norman, likewise), 10 and 12 (issues, open points).
const SECTIONS: &[&str] = &[
    "§1.1", "§1.2", "§1.3", "§1.4", "§1.5", "§1.6", "§1.7", "§2.1", "§2.2", "§2.3 A", "§2.3 D", "§3.1",
    "§3.2", "§3.3", "§3.4", "§3.5", "§3.5 a", "§3.5 b", "§3.5 c", "§3.5 d", "§3.5 e", "§3.5 f", "§3.5 g",
    "§3.6", "§4.1", "§5", "§6", "§7.1", "§7.2", "§7.3", "§7.4", "§8", "§9 2.6", "§9 2.7", "§9 2.8", "§9 2.9",
    "§9 2.11", "§9 2.12", "§9 2.13", "§9 2.14", "§9 2.15", "§9 2.16",
];

fn all() -> Vec<support::Case> {
    let mut cases = errors::cases();
    cases.extend(operations::cases());
    cases.extend(tokens::cases());
    cases.extend(kubernetes::cases());
    cases.extend(versions::cases());
    cases.extend(faults::cases());
    cases.extend(tls::cases());
    cases
}

#[tokio::test]
async fn each_error_is_read_as_what_it_is() {
    support::run(errors::cases()).await;
}

#[tokio::test]
async fn each_operation_asks_and_understands() {
    support::run(operations::cases()).await;
}

#[tokio::test]
async fn each_token_is_told_for_what_it_is() {
    support::run(tokens::cases()).await;
}

#[tokio::test]
async fn the_way_to_kubernetes_is_told_from_its_failures() {
    support::run(kubernetes::cases()).await;
}

#[tokio::test]
async fn each_version_of_rancher_is_understood() {
    support::run(versions::cases()).await;
}

#[tokio::test]
async fn nothing_that_a_server_sends_fools_the_client() {
    support::run(faults::cases()).await;
}

#[tokio::test]
async fn the_token_goes_to_a_verified_server_only() {
    support::run(tls::cases()).await;
}

#[test]
fn every_section_is_pinned_and_every_case_has_a_name_of_its_own() {
    let cases = all();
    let pinned: BTreeSet<&str> = cases.iter().map(|case| case.section).collect();
    assert_eq!(pinned, SECTIONS.iter().copied().collect());
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len());
    println!("{} cases in {} sections", cases.len(), pinned.len());
    assert!(cases.len() >= 150, "{}", cases.len());
}

#[tokio::test]
#[should_panic(expected = "1 cases failed:\n§0 that nobody prepared for")]
async fn a_request_that_nobody_prepared_for_fails_its_case() {
    let unexpected = support::case("§0", "that nobody prepared for", async {
        let rancher = support::Rancher::start().await;
        assert!(rancher.client().ping().await.is_err());
    });
    support::run(vec![unexpected]).await;
}
