use super::EvidenceVerdict::{Agrees, Contradicts, Unavailable};
use super::*;

fn evidence(what: EvidenceKind, verdict: EvidenceVerdict) -> Evidence {
    Evidence { what, verdict, detail: "values".into() }
}

/// What the rule says of verdicts about the authority (A), the nodes (B), the endpoint (C), the credential (D) and the version (E):
/// `+` agrees, `-` contradicts, `?` could not be read, a blank was not compared.
fn ruled(verdicts: &str) -> &'static str {
    let kinds = [
        EvidenceKind::ApiServerCa,
        EvidenceKind::Nodes,
        EvidenceKind::Endpoint,
        EvidenceKind::Credential,
        EvidenceKind::Version,
    ];
    let all = kinds.into_iter().zip(verdicts.chars()).filter_map(|(kind, verdict)| {
        let verdict = match verdict {
            '+' => Agrees,
            '-' => Contradicts,
            '?' => Unavailable,
            _ => return None,
        };
        Some(evidence(kind, verdict))
    });
    match proof(&all.collect::<Vec<_>>()) {
        Ok(()) => "proven",
        Err(Unproven::Contradicted { .. }) => "contradicted",
        Err(Unproven::Insufficient { missing }) => match &missing[..] {
            [only] if only.one_of.contains(&EvidenceKind::ApiServerCa) => "no authority",
            [_] => "no cluster",
            _ => "neither",
        },
    }
}

#[test]
fn the_authority_and_the_nodes_or_the_endpoint_prove_and_nothing_may_contradict() {
    let table = [
        // A generic import, everything seen.
        ("++  +", "proven"),
        // Rancher's own, everything seen.
        ("+++++", "proven"),
        // One of B and C is enough, the other may be out of sight.
        ("+?+++", "proven"),
        ("++?++", "proven"),
        // D and E prove nothing, and are not needed.
        ("++   ", "proven"),
        ("++??? ", "proven"),
        ("   ++", "neither"),
        // Without A nothing is proven, whatever else agrees.
        ("?+  +", "no authority"),
        ("?++++", "no authority"),
        (" ++++", "no authority"),
        // A alone is Rancher's record: what stands behind its proxy is not known.
        ("+?  +", "no cluster"),
        ("+??++", "no cluster"),
        ("+    ", "no cluster"),
        ("??  +", "neither"),
        ("?????", "neither"),
        ("     ", "neither"),
        // One that contradicts outweighs all that agree.
        ("-++++", "contradicted"),
        ("+-+++", "contradicted"),
        ("++-++", "contradicted"),
        ("+++-+", "contradicted"),
        ("-????", "contradicted"),
        ("?-   ", "contradicted"),
        ("---- ", "contradicted"),
    ];
    for (verdicts, expected) in table {
        assert_eq!(ruled(verdicts), expected, "{verdicts}");
    }
}

#[test]
fn evidence_of_a_newer_version_can_contradict_and_cannot_prove() {
    let newer = EvidenceKind::Other("moon phase".into());
    let alone = [evidence(newer.clone(), Agrees)];
    assert!(matches!(proof(&alone), Err(Unproven::Insufficient { missing }) if missing.len() == 2));
    let beside = [
        evidence(EvidenceKind::ApiServerCa, Agrees),
        evidence(EvidenceKind::Nodes, Agrees),
        evidence(newer, Contradicts),
    ];
    assert!(matches!(proof(&beside), Err(Unproven::Contradicted { .. })));
}

#[test]
fn a_refusal_names_what_was_seen_and_what_would_do() {
    let forbidden =
        Evidence { detail: "Azure: no".into(), ..evidence(EvidenceKind::ApiServerCa, Unavailable) };
    let unproven = proof(&[forbidden]).unwrap_err();
    assert_eq!(
        unproven.to_string(),
        "the evidence does not suffice: API server CA: Azure: no; node provider ids or API server endpoint: not compared"
    );
    let remedy = unproven.remedy();
    assert!(remedy.contains("managedClusters/listClusterUserCredential/action"), "{remedy}");
    assert!(remedy.contains("list nodes"), "{remedy}");
    let other = [evidence(EvidenceKind::Nodes, Contradicts)];
    let unproven = proof(&other).unwrap_err();
    assert_eq!(unproven.to_string(), "the evidence contradicts: node provider ids: values");
    assert!(unproven.remedy().contains("drover.toml"));
}

#[test]
fn a_kind_is_a_readable_text_in_files_and_a_text_of_tomorrow_survives() {
    for (kind, text) in EvidenceKind::KNOWN {
        let json = serde_json::to_string(&kind).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<EvidenceKind>(&json).unwrap(), kind);
    }
    let old = r#"{"what":"node provider ids","verdict":"agrees","detail":"all 3"}"#;
    let read: Evidence = serde_json::from_str(old).unwrap();
    assert_eq!(read, Evidence { detail: "all 3".into(), ..evidence(EvidenceKind::Nodes, Agrees) });
    assert_eq!(serde_json::to_string(&read).unwrap(), old);
    let newer = r#"{"what":"moon phase","verdict":"unavailable","detail":""}"#;
    let read: Evidence = serde_json::from_str(newer).unwrap();
    assert_eq!(read.what, EvidenceKind::Other("moon phase".into()));
    assert_eq!(serde_json::to_string(&read).unwrap(), newer);
}
