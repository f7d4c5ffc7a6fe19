//! What a rehearsal foretells.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use upgrade_core::event::{Report, RunOutcome};
use upgrade_core::model::{FormatVersion, ObjectName};

use crate::meter::Usage;

/// What came of rehearsing a plan several times, each in a world with other luck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// The file format.
    pub format: FormatVersion,
    /// The first run's seed; the others follow it.
    pub seed: u64,
    /// How many runs there were.
    pub runs: u32,
    /// How many of them carried out the whole plan.
    pub completed: u32,
    /// How long those took, in milliseconds of virtual time.
    pub duration_ms: Spread,
    /// How long the stages took in the runs that finished them, in the plan's order.
    pub stages: Vec<StageForecast>,
    /// What the runs that carried out the whole plan used.
    pub usage: UsageForecast,
    /// What the Services went through, in all runs, by name.
    pub services: Vec<ServiceForecast>,
    /// The runs that did not carry out the whole plan.
    pub failures: Vec<FailureForecast>,
    /// The user's probes, which nobody can ask in a simulated cluster: they counted as green.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<String>,
}

/// The spread of a number over the runs; all zero if there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// The smallest.
    pub min: u64,
    /// The one in the middle; of two, the smaller.
    pub median: u64,
    /// Nineteen of twenty are not greater; of fewer than twenty, the greatest.
    pub p95: u64,
    /// The greatest.
    pub max: u64,
}

/// How long a stage takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageForecast {
    /// Its number in the plan.
    pub number: u32,
    /// Its title.
    pub title: String,
    /// Milliseconds of virtual time.
    pub duration_ms: Spread,
}

/// What a plan takes of the cluster and of Azure, beyond time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageForecast {
    /// The most nodes at one time, booting ones among them.
    pub most_nodes: Spread,
    /// The most pods at one time, finished ones that nobody has deleted among them.
    pub most_pods: Spread,
    /// The most vCPUs at one time, of all sizes together: what the region's quota has to cover.
    #[serde(default)]
    pub most_vcpus: Spread,
    /// The most vCPUs of each family of sizes, by its name: what its own quota has to cover.
    #[serde(default)]
    pub families: Vec<FamilyForecast>,
    /// The most addresses at one time of a subnet from which pods take theirs, too (Azure CNI without overlay): one for each
    /// machine and one for each pod that it may run. With overlay there is one for each node.
    #[serde(default)]
    pub most_addresses: Spread,
    /// Image pulls, one per image and machine.
    pub pulls: Spread,
    /// What they pulled, in bytes.
    pub pulled_bytes: Spread,
    /// Those of the pulls that were made ahead, before a node was cordoned for them.
    #[serde(default)]
    pub pulls_ahead: Spread,
    /// Those that a pod waited for which had landed there: after the cordon. What comes with every node does not count.
    #[serde(default)]
    pub cold_pulls: Spread,
    /// The cost of the temporary pools: how long each of their machines exists, added up, in minutes.
    pub buffer_node_minutes: Spread,
}

/// What a plan takes of the quota of one family of machine sizes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyForecast {
    /// Azure's name of it, such as `standardDSv5Family`.
    pub family: String,
    /// The most vCPUs at one time.
    pub most_vcpus: Spread,
}

/// What a Service goes through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceForecast {
    /// The Service.
    pub service: ObjectName,
    /// Its ready endpoints at the start.
    pub start: u32,
    /// The fewest that any run left it with.
    pub fewest: u32,
    /// In how many runs it had a moment without any.
    pub runs_with_gap: u32,
    /// The longest such moment, in milliseconds.
    pub longest_gap_ms: u64,
}

/// A run that did not carry out the whole plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureForecast {
    /// The seed that shows it again.
    pub seed: u64,
    /// How it ended.
    pub outcome: RunOutcome,
}

impl Spread {
    fn of(mut numbers: Vec<u64>) -> Self {
        numbers.sort_unstable();
        let (Some(min), Some(max)) = (numbers.first(), numbers.last()) else { return Self::default() };
        let at = |percent: usize| numbers[(numbers.len() * percent).div_ceil(100) - 1];
        Self { min: *min, median: at(50), p95: at(95), max: *max }
    }
}

/// One rehearsed run.
pub(crate) struct Rehearsed {
    pub(crate) seed: u64,
    pub(crate) report: Report,
    pub(crate) usage: Usage,
    /// When it ended, for gaps that were still open.
    pub(crate) ended: jiff::Timestamp,
}

impl Forecast {
    pub(crate) fn of(seed: u64, runs: &[Rehearsed], stages: Vec<(u32, String)>) -> Self {
        let completed: Vec<&Rehearsed> = runs.iter().filter(|run| run.report.outcome.is_done()).collect();
        let failures = runs.iter().filter(|run| !run.report.outcome.is_done());
        let stage = |(number, title): (u32, String)| {
            let records = runs.iter().flat_map(|run| &run.report.stages);
            let times =
                records.filter(|record| record.number == number).filter_map(|record| record.duration_ms);
            StageForecast { number, title, duration_ms: Spread::of(times.collect()) }
        };
        Self {
            format: FormatVersion::CURRENT,
            seed,
            runs: count(runs.len()),
            completed: count(completed.len()),
            duration_ms: Spread::of(completed.iter().map(|run| run.report.duration_ms).collect()),
            stages: stages.into_iter().map(stage).collect(),
            usage: usage(&completed),
            services: services(runs),
            failures: failures
                .map(|run| FailureForecast { seed: run.seed, outcome: run.report.outcome.clone() })
                .collect(),
            probes: Vec::new(),
        }
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn usage(runs: &[&Rehearsed]) -> UsageForecast {
    let spread = |number: fn(&Usage) -> u64| Spread::of(runs.iter().map(|run| number(&run.usage)).collect());
    UsageForecast {
        most_nodes: spread(|usage| usage.most_nodes),
        most_pods: spread(|usage| usage.most_pods),
        most_vcpus: spread(|usage| usage.most_vcpus),
        families: families(runs),
        most_addresses: spread(|usage| usage.most_addresses),
        pulls: spread(|usage| usage.pulls),
        pulled_bytes: spread(|usage| usage.pulled_bytes),
        pulls_ahead: spread(|usage| usage.pulls_ahead),
        cold_pulls: spread(|usage| usage.cold_pulls),
        buffer_node_minutes: spread(|usage| usage.extra_machine_ms.div_ceil(60_000)),
    }
}

fn families(runs: &[&Rehearsed]) -> Vec<FamilyForecast> {
    let names: BTreeSet<&String> = runs.iter().flat_map(|run| run.usage.most_family_vcpus.keys()).collect();
    let forecast = |family: &String| {
        let most =
            runs.iter().map(|run| run.usage.most_family_vcpus.get(family).copied().unwrap_or_default());
        FamilyForecast { family: family.clone(), most_vcpus: Spread::of(most.collect()) }
    };
    names.into_iter().map(forecast).collect()
}

fn services(runs: &[Rehearsed]) -> Vec<ServiceForecast> {
    let mut services: std::collections::BTreeMap<&ObjectName, ServiceForecast> =
        std::collections::BTreeMap::new();
    for run in runs {
        for record in &run.report.ledger {
            let forecast = services.entry(&record.service).or_insert_with(|| ServiceForecast {
                service: record.service.clone(),
                start: record.start,
                fewest: record.fewest,
                runs_with_gap: 0,
                longest_gap_ms: 0,
            });
            forecast.fewest = forecast.fewest.min(record.fewest);
            forecast.runs_with_gap += u32::from(!record.gaps.is_empty());
            let longest = record.gaps.iter().map(|gap| gap.millis(run.ended)).max().unwrap_or_default();
            forecast.longest_gap_ms = forecast.longest_gap_ms.max(longest);
        }
    }
    services.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_of_nothing_is_zero_and_of_two_the_median_is_the_smaller() {
        assert_eq!(Spread::of(Vec::new()), Spread::default());
        assert_eq!(Spread::of(vec![9, 3]), Spread { min: 3, median: 3, p95: 9, max: 9 });
        assert_eq!(Spread::of(vec![9, 3, 5]).median, 5);
    }

    #[test]
    fn nineteen_of_twenty_are_not_above_the_p95() {
        assert_eq!(Spread::of((1..=20).rev().collect()), Spread { min: 1, median: 10, p95: 19, max: 20 });
        assert_eq!(Spread::of((1..=19).collect()).p95, 19);
        assert_eq!(Spread::of((1..=100).collect()).p95, 95);
    }
}
