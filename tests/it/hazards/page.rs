//! `docs/hazards.md` is true: every code on it is one of the checks, and every hazard has a story here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const HAZARDS: u32 = 27;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The text of every Rust file in a folder and below.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    text
}

/// The words of a text that look like a finding's code.
fn codes(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let is_code = |word: &&str| {
        word.split_once('-').is_some_and(|(family, number)| {
            (family.len(), number.len()) == (3, 3)
                && family.chars().all(|c| c.is_ascii_uppercase())
                && number.chars().all(|c| c.is_ascii_digit())
        })
    };
    words.filter(is_code).collect()
}

#[test]
fn every_hazard_on_the_page_has_its_story_and_every_code_its_check() {
    let page = fs::read_to_string(root().join("docs/hazards.md")).unwrap();
    let titles: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let numbers: Vec<u32> = titles.iter().filter_map(|title| title.split_once('.')?.0.parse().ok()).collect();
    assert_eq!(numbers, (1..=HAZARDS).collect::<Vec<_>>());

    let stories = sources(&root().join("tests/it/hazards"));
    let missing: Vec<u32> = numbers
        .into_iter()
        .filter(|number| !stories.contains(&format!("\nfn hazard_{number:02}_")))
        .collect();
    assert_eq!(missing, Vec::<u32>::new(), "hazards without a story");

    let checks = sources(&root().join("upgrade-core/src/check"));
    let unknown: Vec<&str> =
        codes(&page).into_iter().filter(|code| !checks.contains(&format!("\"{code}\""))).collect();
    assert_eq!(unknown, Vec::<&str>::new(), "codes that no check gives");
    assert!(codes(&page).len() > 30);
}
