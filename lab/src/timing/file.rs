//! The table as a file.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::distribution::Distribution;
use super::key::{Kind, Timing, Unit};
use super::model::TimingChanges;

/// What is wrong with a timing file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, {place}: {problem}")]
pub struct TimingError {
    /// The line, from 1.
    pub line: usize,
    /// The key with its table; empty for the whole file.
    pub place: String,
    /// What is wrong.
    pub problem: TimingProblem,
}

/// What is wrong with a timing file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimingProblem {
    /// It is not TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// There is no such table or key.
    #[error("unknown key")]
    UnknownKey {
        /// What may stand there.
        known: &'static [&'static str],
    },
    /// The value is not one of this key.
    #[error("{0}")]
    Value(String),
}

/// A value as the file has it: one amount, or named ones.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    One(String),
    Named(BTreeMap<String, String>),
}

impl TimingChanges {
    /// Reads a file in the form of the lab's own `timing.toml`: tables and keys as there, as many of them as one likes.
    ///
    /// ```
    /// use cluster_lab::{Timing, TimingChanges, TimingModel};
    /// let changes = TimingChanges::read("[azure]\nboot = { from = \"2m\", to = \"4m\" }")?;
    /// let model = TimingModel::default().with(&changes);
    /// assert_eq!(model[Timing::Boot].max(), 240_000);
    /// # Ok::<(), cluster_lab::TimingError>(())
    /// ```
    pub fn read(text: &str) -> Result<Self, TimingError> {
        let line = |offset: usize| text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
        let error = |at: usize, place: &str, problem| TimingError {
            line: line(at),
            place: place.to_owned(),
            problem,
        };
        let document = DeTable::parse(text).map_err(|wrong| {
            let message = wrong.message().replace(['\r', '\n'], " ");
            error(wrong.span().map_or(0, |span| span.start), "", TimingProblem::Syntax(message))
        })?;
        let mut changes = Self::default();
        for (section, table) in document.get_ref() {
            let (name, at): (&str, _) = (section.get_ref(), section.span().start);
            keys_of(name).map_err(|problem| error(at, name, problem))?;
            let table = table
                .get_ref()
                .as_table()
                .ok_or_else(|| error(at, name, TimingProblem::Value("a table is needed here".to_owned())))?;
            for (key, value) in table {
                let place = format!("{name}.{}", key.get_ref());
                let entry = find(name, key.get_ref()).and_then(|timing| {
                    Ok((timing, read_value(timing, &written(value).ok_or_else(|| wrong_form(timing))?)?))
                });
                let (timing, distribution) =
                    entry.map_err(|problem| error(key.span().start, &place, problem))?;
                changes.0.insert(timing, distribution);
            }
        }
        Ok(changes)
    }
}

/// The sections with their keys, in the order of the table.
static SECTIONS: LazyLock<Vec<(&str, Vec<&str>)>> = LazyLock::new(|| {
    let mut sections: Vec<(&str, Vec<&str>)> = Vec::new();
    for timing in Timing::ALL {
        match sections.last_mut().filter(|(section, _)| *section == timing.section()) {
            Some((_, keys)) => keys.push(timing.key()),
            None => sections.push((timing.section(), vec![timing.key()])),
        }
    }
    sections
});

static SECTION_NAMES: LazyLock<Vec<&str>> =
    LazyLock::new(|| SECTIONS.iter().map(|(section, _)| *section).collect());

/// The keys of a section.
fn keys_of(section: &str) -> Result<&'static [&'static str], TimingProblem> {
    let found = SECTIONS.iter().find(|(name, _)| *name == section);
    found.map(|(_, keys)| keys.as_slice()).ok_or(TimingProblem::UnknownKey { known: &SECTION_NAMES })
}

fn find(section: &str, key: &str) -> Result<Timing, TimingProblem> {
    let known = keys_of(section)?;
    let own = |timing: &&Timing| timing.section() == section && timing.key() == key;
    Timing::ALL.iter().find(own).copied().ok_or(TimingProblem::UnknownKey { known })
}

fn written(value: &Spanned<DeValue<'_>>) -> Option<Written> {
    match value.get_ref() {
        DeValue::String(text) => Some(Written::One(text.to_string())),
        DeValue::Table(table) => {
            let part = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                let name: &std::borrow::Cow<'_, str> = name.get_ref();
                Some((name.to_string(), value.get_ref().as_str()?.to_owned()))
            };
            table.iter().map(part).collect::<Option<_>>().map(Written::Named)
        }
        _ => None,
    }
}

fn wrong_form(timing: Timing) -> TimingProblem {
    let example = match timing.unit() {
        Unit::Time => "\"90s\"",
        Unit::Size => "\"60 MiB\"",
        Unit::Speed => "\"40 MB/s\"",
    };
    TimingProblem::Value(match timing.kind() {
        Kind::Setting => format!("one value such as {example} is needed here"),
        Kind::Drawn => {
            format!("a value such as {example}, {{ from, to }} or {{ min, p50, p95, max }} is needed here")
        }
    })
}

fn read_value(timing: Timing, written: &Written) -> Result<Distribution, TimingProblem> {
    let amount = |text: &str| amount(timing.unit(), text).map_err(TimingProblem::Value);
    let distribution = match written {
        Written::One(text) => Distribution::Always(amount(text)?),
        Written::Named(parts) => {
            let names: Vec<_> = parts.keys().map(String::as_str).collect();
            let part = |name: &str| amount(parts.get(name).map_or("", String::as_str));
            match (timing.kind(), &names[..]) {
                (Kind::Drawn, ["from", "to"]) => {
                    Distribution::Between { from: part("from")?, to: part("to")? }
                }
                (Kind::Drawn, ["max", "min", "p50", "p95"]) => Distribution::Quantiles {
                    min: part("min")?,
                    p50: part("p50")?,
                    p95: part("p95")?,
                    max: part("max")?,
                },
                (Kind::Drawn | Kind::Setting, _) => return Err(wrong_form(timing)),
            }
        }
    };
    if !distribution.is_ordered() {
        return Err(TimingProblem::Value("the smaller number comes first".to_owned()));
    }
    // Nothing is ever pulled at such a speed, and an end would never come.
    if timing.unit() == Unit::Speed && distribution.min() == 0 {
        return Err(TimingProblem::Value("a speed must be more than 0".to_owned()));
    }
    Ok(distribution)
}

const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];

/// A megabyte in a second, in bytes per millisecond.
const MEGABYTE_PER_SECOND: u64 = 1_000;

fn amount(unit: Unit, text: &str) -> Result<u64, String> {
    let number = |suffix: &str| text.strip_suffix(suffix)?.trim_end().parse::<u64>().ok();
    match unit {
        Unit::Time => {
            let time = upgrade_core::span::parse(text)?;
            u64::try_from(time.as_millis()).map_err(|_| format!("`{text}` is too long"))
        }
        Unit::Size => UNITS
            .iter()
            .find_map(|(suffix, bytes)| number(suffix)?.checked_mul(*bytes))
            .ok_or_else(|| format!("`{text}` is not a size such as `60 MiB`")),
        Unit::Speed => number("MB/s")
            .and_then(|speed| speed.checked_mul(MEGABYTE_PER_SECOND))
            .ok_or_else(|| format!("`{text}` is not a speed such as `40 MB/s`")),
    }
}

fn amount_shown(unit: Unit, number: u64) -> String {
    match unit {
        Unit::Time if number.is_multiple_of(1_000) => format!("{}s", number / 1_000),
        Unit::Time => format!("{number}ms"),
        Unit::Size if number.is_multiple_of(1 << 20) => format!("{} MiB", number >> 20),
        Unit::Size => format!("{number} B"),
        Unit::Speed => format!("{} MB/s", number / MEGABYTE_PER_SECOND),
    }
}

/// A value as the file has it.
pub(super) fn shown(timing: Timing, distribution: &Distribution) -> String {
    let parts = distribution.parts().into_iter().map(|(name, number)| {
        let amount = amount_shown(timing.unit(), number);
        if name.is_empty() { format!("\"{amount}\"") } else { format!("{name} = \"{amount}\"") }
    });
    let parts: Vec<_> = parts.collect();
    match &parts[..] {
        [one] => one.clone(),
        many => format!("{{ {} }}", many.join(", ")),
    }
}

impl Serialize for TimingChanges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tables: BTreeMap<&str, BTreeMap<&str, Written>> = BTreeMap::new();
        for (timing, distribution) in self.iter() {
            let amount = |number| amount_shown(timing.unit(), number);
            let parts = distribution.parts();
            let written = match &parts[..] {
                [("", number)] => Written::One(amount(*number)),
                parts => Written::Named(parts.iter().map(|(n, v)| ((*n).to_owned(), amount(*v))).collect()),
            };
            tables.entry(timing.section()).or_default().insert(timing.key(), written);
        }
        tables.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TimingChanges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = |place: &str, key: &str, problem| match problem {
            TimingProblem::UnknownKey { known } => D::Error::unknown_field(key, known),
            other => D::Error::custom(format!("{place}.{key}: {other}")),
        };
        let tables: BTreeMap<String, BTreeMap<String, Written>> = BTreeMap::deserialize(deserializer)?;
        let mut changes = Self::default();
        for (section, table) in &tables {
            keys_of(section).map_err(|problem| wrong("timing", section, problem))?;
            for (key, written) in table {
                let entry = find(section, key).and_then(|timing| Ok((timing, read_value(timing, written)?)));
                let (timing, value) = entry.map_err(|problem| wrong(section, key, problem))?;
                changes.0.insert(timing, value);
            }
        }
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> TimingError {
        TimingChanges::read(text).unwrap_err()
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line_and_what_may_stand_there() {
        let error = refused("[azure]\nboot = \"2m\"\nreimagine = \"5m\"\n");
        assert_eq!((error.line, error.place.as_str()), (3, "azure.reimagine"));
        let TimingProblem::UnknownKey { known } = error.problem else { panic!("{error:?}") };
        assert!(known.contains(&"reimage") && !known.contains(&"sandbox"), "{known:?}");
        let error = refused("[azur]\nboot = \"2m\"\n");
        assert_eq!((error.line, error.place.as_str()), (1, "azur"));
        let TimingProblem::UnknownKey { known } = error.problem else { panic!("{error:?}") };
        assert_eq!(known, ["control_plane", "node", "azure"]);
    }

    #[test]
    fn a_value_that_is_none_is_told_with_what_it_should_be() {
        for (value, problem) in [
            ("boot = 90", "a value such as \"90s\", { from, to } or { min, p50, p95, max } is needed here"),
            ("boot = { from = \"1m\" }", "a value such as"),
            ("boot = { from = 1, to = 2 }", "a value such as"),
            ("boot = \"soon\"", "`soon` is not a duration"),
            ("boot = { from = \"2m\", to = \"1m\" }", "the smaller number comes first"),
            ("node_limit = { from = \"1m\", to = \"2m\" }", "one value such as \"90s\" is needed here"),
        ] {
            let error = refused(&format!("[azure]\n{value}"));
            assert!(error.problem.to_string().contains(problem), "{value}: {error}");
            assert_eq!(error.line, 2, "{error}");
        }
        for value in ["pull_speed = \"0 MB/s\"", "pull_speed = \"40\"", "image_size = \"60 MB\""] {
            refused(&format!("[node]\n{value}"));
        }
        assert!(matches!(refused("azure = [").problem, TimingProblem::Syntax(_)));
        assert_eq!(refused("azure = 1").place, "azure");
    }
}
