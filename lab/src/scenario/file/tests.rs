//! Files that can be used, and what is said of those that cannot.

use super::*;

#[test]
fn every_file_of_the_library_is_read_and_listed_in_order() {
    let names: Vec<_> = Story::names().collect();
    assert!(names.is_sorted(), "{names:?}");
    for name in names {
        let (_, text) = EMBEDDED.iter().find(|(own, _)| *own == name).unwrap();
        let story = Story::read(name, text).unwrap();
        assert!(story.text.len() > 100 && story.text.contains("must not happen"), "{name}: {}", story.text);
        assert!(Story::named(name).is_some());
    }
    assert!(Story::named("quiet-night").is_none());
}

#[test]
fn what_is_not_known_is_named_with_its_place_and_the_nearest_that_is() {
    let file = |more: &str| {
        format!(
            "story: s\nversion: 1.34.2\noffers: [1.35.1]\nto: '1.35'\npools:\n  - {{ name: user, count: 1, size: Standard_D8s_v5 }}\n{more}"
        )
    };
    let refused = |more: &str| Story::read("mine.yaml", &file(more)).unwrap_err().to_string();
    assert!(Story::read("mine.yaml", &file("")).is_ok());
    let cases = [
        ("workload: []", "mine.yaml:7:1: unknown key `workload`; did you mean `workloads`?"),
        (
            "workloads:\n  - name: shop/web\n    replica: 2",
            "mine.yaml:9:5: unknown key `replica`; did you mean `replicas`?",
        ),
        (
            "faults:\n  - when: { after: 1m }\n    what: { agentlost: 1m }",
            "mine.yaml:9:13: `agentlost` is not known here; did you mean `agent-lost`?",
        ),
        (
            "policy: { move_timout: 1m }",
            "mine.yaml:7:11: unknown key `move_timout`; did you mean `move_timeout`?",
        ),
        ("timing: { azure: { boots: 2m } }", "mine.yaml:7:1: unknown key `boots`; did you mean `boot`?"),
        (
            "manifests:\n  - { apiVersion: v1, kind: Pot, metadata: { name: x } }",
            "mine.yaml: manifests[0]: the lab has no kind `Pot` of `v1`",
        ),
    ];
    for (more, message) in cases {
        assert_eq!(refused(more), message);
    }
    assert!(
        refused("actors:\n  - gitops: { namespace: shop, every: soon }").contains("not a duration such as")
    );
    assert!(
        refused("faults:\n  - { when: { after: 1m }, what: crash }").contains("at a record of the journal")
    );
}

#[test]
fn the_manuals_example_is_a_file_that_can_be_used() {
    let manual = include_str!("../../../../docs/scenarios.md");
    let example = manual.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let story = Story::read("docs/scenarios.md", example).unwrap();
    assert_eq!((story.scenario.actors.len(), story.scenario.faults.len()), (5, 13));
    crate::Lab::new(&story.scenario, 1);
}
