//! The model: a distribution for every line of the table.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Index;
use std::sync::LazyLock;
use std::time::Duration;

use super::distribution::Distribution;
use super::file;
use super::key::Timing;

/// The table that comes with the lab.
const DEFAULT: &str = include_str!("../../timing.toml");

static DEFAULT_MODEL: LazyLock<TimingModel> = LazyLock::new(|| {
    let changes = TimingChanges::read(DEFAULT).expect("the lab's own table is tested");
    let line = |timing: &Timing| *changes.0.get(timing).expect("the lab's own table is complete");
    TimingModel { lines: Timing::ALL.iter().map(line).collect() }
});

/// How long everything takes: a distribution for every [`Timing`].
///
/// Times are in milliseconds, sizes in bytes, speeds in bytes per millisecond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimingModel {
    /// In the order of [`Timing::ALL`].
    lines: Vec<Distribution>,
}

impl Default for TimingModel {
    /// The table `timing.toml`.
    fn default() -> Self {
        DEFAULT_MODEL.clone()
    }
}

impl Index<Timing> for TimingModel {
    type Output = Distribution;

    fn index(&self, timing: Timing) -> &Distribution {
        &self.lines[timing as usize]
    }
}

impl TimingModel {
    /// The same model with other lines where the changes have one.
    #[must_use]
    pub fn with(&self, changes: &TimingChanges) -> Self {
        let mut model = self.clone();
        for (timing, distribution) in &changes.0 {
            model.lines[*timing as usize] = *distribution;
        }
        model
    }

    /// The time of a setting.
    pub(crate) fn setting(&self, timing: Timing) -> Duration {
        Duration::from_millis(self[timing].max())
    }

    /// A pause that doubles with every failure before it.
    pub(crate) fn backoff(&self, first: Timing, most: Timing, failures: u32) -> Duration {
        let (first, most) = (self[first].max(), self[most].max());
        Duration::from_millis(first.saturating_mul(1 << failures.min(20)).min(most))
    }
}

/// Some lines of a [`TimingModel`]. Shown as the file that says the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimingChanges(pub(super) BTreeMap<Timing, Distribution>);

impl TimingChanges {
    /// Does it change nothing?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The line, if there is one.
    pub fn get(&self, timing: Timing) -> Option<&Distribution> {
        self.0.get(&timing)
    }

    /// The lines, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = (Timing, &Distribution)> {
        self.0.iter().map(|(timing, distribution)| (*timing, distribution))
    }

    /// These lines, and where it has others of the same, those of `later`.
    #[must_use]
    pub fn then(mut self, later: Self) -> Self {
        self.0.extend(later.0);
        self
    }
}

impl fmt::Display for TimingChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = "";
        for (timing, distribution) in &self.0 {
            if timing.section() != section {
                section = timing.section();
                writeln!(f, "[{section}]")?;
            }
            writeln!(f, "{} = {}", timing.key(), file::shown(*timing, distribution))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lab_s_own_table_has_every_line_once_with_a_source_and_nothing_else() {
        let table = TimingChanges::read(DEFAULT).unwrap();
        assert_eq!(table.iter().map(|(timing, _)| timing).collect::<Vec<_>>(), Timing::ALL);
        let mut comment = "";
        for line in DEFAULT.lines().skip_while(|line| !line.starts_with('[')) {
            if let Some((key, _)) = line.split_once(" = ") {
                assert!(comment.ends_with(']') && comment.contains('['), "{key}: {comment}");
            } else {
                comment = line;
            }
        }
    }

    #[test]
    fn what_is_shown_is_the_file_that_says_the_same() {
        let table = TimingChanges::read(DEFAULT).unwrap();
        assert_eq!(TimingChanges::read(&table.to_string()), Ok(table.clone()));
        let json = serde_json::to_string(&table).unwrap();
        assert_eq!(serde_json::from_str::<TimingChanges>(&json).unwrap(), table);
    }

    #[test]
    fn a_change_is_of_its_line_alone_and_a_later_one_counts() {
        let changes = TimingChanges::read("[azure]\nboot = \"2m\"\n[node]\nstop = \"1s\"").unwrap();
        let later = TimingChanges::read("[azure]\nboot = \"3m\"").unwrap();
        let (own, model) = (TimingModel::default(), TimingModel::default().with(&changes.then(later)));
        assert_eq!(model[Timing::Boot], Distribution::Always(180_000));
        assert_eq!(model[Timing::Stop], Distribution::Always(1_000));
        assert_eq!(model[Timing::Reimage], own[Timing::Reimage]);
    }

    #[test]
    fn a_pause_doubles_up_to_its_longest() {
        let model = TimingModel::default();
        let pause =
            |failures| model.backoff(Timing::PullBackoff, Timing::PullBackoffMost, failures).as_secs();
        assert_eq!([0, 1, 2, 3, 4, 5, 60].map(pause), [10, 20, 40, 80, 160, 300, 300]);
    }
}
