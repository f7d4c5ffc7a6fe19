#![allow(missing_docs, clippy::all, clippy::pedantic)]
use serde::{Serialize, Deserialize};
use upgrade_core::model::*;
use upgrade_core::event::RunOutcome;
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread { pub min: u64, pub median: u64, pub max: u64 }
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageForecast { pub number: u32, pub title: String, pub duration_ms: Spread }
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceForecast { pub service: ObjectName, pub start: u32, pub fewest: u32, pub runs_with_gap: u32, pub longest_gap_ms: u64 }
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureForecast { pub seed: u64, pub outcome: RunOutcome }
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast { pub format: FormatVersion, pub seed: u64, pub runs: u32, pub completed: u32, pub duration_ms: Spread, pub stages: Vec<StageForecast>, pub services: Vec<ServiceForecast>, pub failures: Vec<FailureForecast> }
pub struct RehearseOptions { pub runs: u32, pub seed: u64 }
pub fn rehearse(_: &upgrade_core::Inventory, _: &upgrade_core::plan::Plan, _: &RehearseOptions) -> Forecast { Forecast { format: FormatVersion::CURRENT, seed:1, runs:1, completed:1, duration_ms: Spread{min:0,median:0,max:0}, stages: vec![], services: vec![], failures: vec![] } }
