//! `docs/failures.md` is the table of failures that the machine asks, for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use upgrade_core::run::failure::{Failure, Response, StepKind, response};

/// A step of some kind, or the time between steps.
type Place = Option<StepKind>;

fn places() -> Vec<Place> {
    StepKind::ALL.iter().copied().map(Some).chain([None]).collect()
}

/// Places in a word or two, where there is one.
fn named(group: &[Place]) -> String {
    let in_azure = |place: &Place| place.is_some_and(StepKind::is_in_azure);
    let rest =
        |of: &dyn Fn(&Place) -> bool| places().into_iter().filter(|place| of(place)).collect::<Vec<_>>();
    if group == places() {
        "anywhere".into()
    } else if group == rest(&in_azure) {
        "steps in Azure".into()
    } else if group == rest(&|place| !in_azure(place)) {
        "elsewhere".into()
    } else if group == rest(&Option::is_some) {
        "during a step".into()
    } else {
        let words = group
            .iter()
            .map(|place| place.map_or_else(|| "between steps".to_owned(), |step| step.to_string()));
        words.collect::<Vec<_>>().join(", ")
    }
}

/// What the page has to say of a failure: a line for each answer of the table.
fn lines_of(failure: Failure) -> String {
    let mut groups: Vec<(Response, Vec<Place>)> = Vec::new();
    for place in places() {
        let answer = response(place, failure);
        match groups.iter_mut().find(|(other, _)| *other == answer) {
            Some((_, group)) => group.push(place),
            None => groups.push((answer, vec![place])),
        }
    }
    let mut text = String::new();
    for (Response { next, why }, group) in groups {
        let place = named(&group);
        writeln!(text, "| {failure} | {place} | {next} | {why} | {} |", failure.remedy()).unwrap();
    }
    text
}

fn tables() -> BTreeMap<&'static str, String> {
    let mut steps = "| step | the cluster, if a run holds there |\n|---|---|\n".to_owned();
    for step in StepKind::ALL {
        writeln!(steps, "| {step} | {} |", step.leaves()).unwrap();
    }
    let mut failures =
        "| what fails | where | Drover | why | what to do |\n|---|---|---|---|---|\n".to_owned();
    failures.extend(Failure::ALL.iter().map(|failure| lines_of(*failure)));
    [("steps", steps), ("failures", failures)].into()
}

#[test]
fn the_page_says_of_every_failure_at_every_step_what_the_machine_does() {
    let page = include_str!("../../docs/failures.md");
    for (name, table) in tables() {
        assert!(page.contains(&table), "docs/failures.md has to say of {name}:\n{table}");
    }
}
