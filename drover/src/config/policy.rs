//! The tables `[policy]` and `[clusters.NAME.policy]`.

use serde::Deserialize;
use serde::de::value::{Error as ValueError, StrDeserializer};
use upgrade_core::Policy;
use upgrade_core::model::ObjectName;
use upgrade_core::policy::{Acceptance, Freeze, FreezeTime, Hours, ZoneName};
use upgrade_core::span;

use super::probe::{self, ProbeConfig};
use super::reader::{Table, Value};
use crate::error::ConfigError;

const KEYS: [&str; 12] = [
    "strategy",
    "max_concurrent_moves",
    "move_timeout",
    "job_wait",
    "allow_gap",
    "accept",
    "freeze",
    "rancher_managed",
    "prewarm",
    "soak",
    "soak_limit",
    "probes",
];
const STRATEGIES: [&str; 3] = ["buffer", "blue-green", "in-place"];
const RANCHER_MANAGED: [&str; 2] = ["refuse", "lock-step"];

/// What the user wants, and how the probes that it names are asked.
#[derive(Clone, Debug, Default)]
pub(super) struct PolicyConfig {
    pub(super) policy: Policy,
    pub(super) probes: Vec<ProbeConfig>,
}

/// `defaults` with every key that the table gives, replaced whole.
pub(super) fn read(table: Option<&Table<'_>>, defaults: &PolicyConfig) -> Result<PolicyConfig, ConfigError> {
    let PolicyConfig { mut policy, mut probes } = defaults.clone();
    let Some(table) = table else { return Ok(PolicyConfig { policy, probes }) };
    table.allow(&KEYS)?;
    if let Some(value) = table.maybe_value("strategy") {
        policy.strategy = word(&value, &STRATEGIES)?;
    }
    if let Some(value) = table.maybe_value("max_concurrent_moves") {
        policy.max_concurrent_moves = value.count(1)?;
    }
    for (key, duration) in [
        ("move_timeout", &mut policy.move_timeout),
        ("job_wait", &mut policy.job_wait),
        ("soak", &mut policy.soak),
    ] {
        if let Some(value) = table.maybe_value(key) {
            *duration = value.parse(span::parse)?;
        }
    }
    if let Some(value) = table.maybe_value("soak_limit") {
        policy.soak_limit = Some(value.parse(span::parse)?);
    }
    if policy.soak_limit.is_some_and(|limit| limit < policy.soak) {
        let wrong = table.maybe_value("soak_limit").or(table.maybe_value("soak"));
        let error = (
            "`soak` takes longer than `soak_limit` allows",
            "let the limit be longer: what is not well for a moment begins the time anew",
        );
        return Err(match wrong {
            Some(value) => value.error(error.0, error.1),
            None => table.error(error.0, error.1),
        });
    }
    if let Some(value) = table.maybe_value("allow_gap") {
        let names = value.list()?;
        policy.allow_gap =
            names.iter().map(|name| name.parse(str::parse::<ObjectName>)).collect::<Result<_, _>>()?;
    }
    if let Some(value) = table.maybe_value("accept") {
        policy.accept = value.list()?.iter().map(acceptance).collect::<Result<_, _>>()?;
    }
    if let Some(value) = table.maybe_value("freeze") {
        policy.freeze = value.list()?.iter().map(freeze).collect::<Result<_, _>>()?;
    }
    if let Some(value) = table.maybe_value("rancher_managed") {
        policy.rancher_managed = word(&value, &RANCHER_MANAGED)?;
    }
    if let Some(value) = table.maybe_value("prewarm") {
        policy.prewarm = value.boolean()?;
    }
    if let Some(value) = table.maybe_value("probes") {
        probes = probe::read(&value)?;
        policy.probes = probes.iter().map(|probe| probe.name.clone()).collect();
    }
    Ok(PolicyConfig { policy, probes })
}

/// One of a few words, as the core spells them.
fn word<'de, T: Deserialize<'de>>(value: &Value<'de>, known: &[&str]) -> Result<T, ConfigError> {
    let text = value.text()?;
    T::deserialize(StrDeserializer::<ValueError>::new(text)).map_err(|_| value.unknown_word(text, known))
}

fn acceptance(value: &Value<'_>) -> Result<Acceptance, ConfigError> {
    let table = value.table()?;
    table.allow(&["code", "object", "reason", "until"])?;
    Ok(Acceptance {
        code: table.value("code")?.parse(code)?,
        object: table.value("object")?.not_empty()?.to_owned(),
        reason: table.value("reason")?.not_empty()?.to_owned(),
        until: table.maybe_value("until").map(|until| until.date()).transpose()?,
    })
}

fn freeze(value: &Value<'_>) -> Result<Freeze, ConfigError> {
    let table = value.table()?;
    let when = if let Some(every) = table.maybe_value("every") {
        table.allow(&["every", "zone", "reason"])?;
        let zone = table.value("zone")?.parse(ZoneName::new)?;
        FreezeTime::Every { every: every.parse(str::parse::<Hours>)?, zone }
    } else {
        table.allow(&["from", "to", "every", "zone", "reason"])?;
        let (from, to) = (table.value("from")?.moment()?, table.value("to")?);
        match to.moment()? {
            end if end > from => FreezeTime::Once { from, to: end },
            _ => return Err(to.error("it ends before it begins", "write the later moment here")),
        }
    };
    Ok(Freeze { when, reason: table.value("reason")?.not_empty()?.to_owned() })
}

/// A finding's code, such as `PDB-002`.
fn code(text: &str) -> Result<String, String> {
    let well_formed = text.split_once('-').is_some_and(|(group, number)| {
        group.len() == 3
            && group.bytes().all(|byte| byte.is_ascii_uppercase())
            && number.len() == 3
            && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    if well_formed { Ok(text.to_owned()) } else { Err("not a finding's code such as PDB-002".to_owned()) }
}
