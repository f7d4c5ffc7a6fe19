//! Which sections of the facts about ARM and AKS the tables pin: none that a client can cover is missing.

use std::collections::BTreeMap;

use crate::{answers, calls, polls, refusals};

/// The sections that say how the service behaves towards a client of it. Not among them: how AKS works inside (§4.1, §4.2,
/// §4.4 are read from settings and judged by the core), container registries (§7), credentials (§8, but for what a refused
/// token looks like), and the open points (§12).
const SECTIONS: [&str; 21] = [
    "§1.2", "§1.3", "§2.1", "§2.2", "§2.3", "§2.4", "§2.5", "§2.7", "§3.1", "§3.2", "§3.3", "§3.4", "§4.3",
    "§4.5", "§5", "§6.1", "§6.2", "§6.3", "§6.6", "§9", "§10",
];

/// Sections pinned by a test of their own, with its name: their subject is not one request and its answer.
const ELSEWHERE: [(&str, &str); 4] = [
    ("§1.1", "answers::the_api_version_asked_for_is_the_one_sent_and_old_ones_are_refused"),
    ("§2.6", "refusals::the_ids_of_the_service_are_in_every_refusal"),
    ("§3.5", "round_trip::a_pool_upgraded_in_place_keeps_its_size_and_loses_its_old_image"),
    ("§8.2", "faults::a_refused_token_is_replaced_once_and_the_request_repeated_once"),
];

#[test]
fn every_section_a_client_can_cover_is_pinned_by_a_case() {
    let cases = [
        calls::all().iter().map(|case| case.pins).collect::<Vec<_>>(),
        polls::all().iter().map(|case| case.pins).collect(),
        refusals::all().iter().map(|case| case.pins).collect(),
        answers::all().iter().map(|case| case.pins).collect(),
    ]
    .concat();
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for pins in &cases {
        let (section, subject) = pins.split_once(' ').expect("a section and what of it");
        assert!(section.starts_with('§') && !subject.is_empty(), "{pins}");
        *found.entry(section).or_default() += 1;
    }
    let missing: Vec<_> = SECTIONS.iter().filter(|section| !found.contains_key(**section)).collect();
    assert!(missing.is_empty(), "no case pins {missing:?}");
    assert!(cases.len() >= 150, "{} cases", cases.len());
    for (section, test) in ELSEWHERE {
        let (file, name) = test.split_once("::").unwrap();
        let path = format!("{}/tests/wire/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(&format!("async fn {name}(")), "{section}: {test} is gone");
    }
}
