//! Faults by chance, for searches.

use std::time::Duration;

use upgrade_core::model::{OsType, PoolName};

use super::fault::{Effect, Fault, Issuer, Throttling, What, When, WriteKind};
use crate::scenario::Scenario;

/// No night has more.
const MOST: usize = 4;

/// Faults come while a small upgrade goes on: it takes two hours or so.
const SPAN_MINUTES: u64 = 120;

/// A small upgrade writes so many records.
const RECORDS: usize = 300;

impl Fault {
    /// One to four faults for a small upgrade of the scenario's cluster; the same for the same seed and scenario.
    pub fn draw(seed: u64, scenario: &Scenario) -> Vec<Self> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let number = rng.usize(1..=MOST);
        (0..number).map(|_| draw_one(&mut rng, scenario)).collect()
    }
}

fn draw_one(rng: &mut fastrand::Rng, scenario: &Scenario) -> Fault {
    let what = draw_what(rng, scenario);
    let when = match &what {
        What::Crash => When::Record(rng.usize(2..=RECORDS)),
        _ => draw_when(rng),
    };
    Fault::new(when, what).expect("drawn so that both halves fit")
}

fn draw_when(rng: &mut fastrand::Rng) -> When {
    if rng.bool() {
        return When::After(Duration::from_secs(rng.u64(0..SPAN_MINUTES * 60)));
    }
    let write = WriteKind::ALL[rng.usize(..WriteKind::ALL.len())];
    let nth = match write {
        WriteKind::Cordon | WriteKind::Restart | WriteKind::Evict | WriteKind::Prewarm => rng.u32(1..=12),
        WriteKind::Loan
        | WriteKind::Lease
        | WriteKind::UpgradeControlPlane
        | WriteKind::CreatePool
        | WriteKind::UpgradePool
        | WriteKind::DeletePool => rng.u32(1..=2),
    };
    When::Call { write, nth }
}

fn draw_what(rng: &mut fastrand::Rng, scenario: &Scenario) -> What {
    let seconds = |rng: &mut fastrand::Rng, range| Duration::from_secs(rng.u64(range));
    let effect = if rng.bool() { Effect::Done } else { Effect::NotDone };
    match rng.u8(0..11) {
        0 => What::Error(effect),
        1 => What::Cut(effect),
        2 => What::Throttled {
            by: if rng.bool() { Throttling::Kubernetes } else { Throttling::Azure },
            lasts: seconds(rng, 10..300),
        },
        3 => What::WatchesCut,
        4 => What::WatchesExpired,
        5 => What::AgentLost(seconds(rng, 10..600)),
        6 => What::TokenExpired {
            of: if rng.bool() { Issuer::Rancher } else { Issuer::Azure },
            lasts: seconds(rng, 10..300),
        },
        7 if rng.bool() => What::NeverJoin { pool: draw_pool(rng, scenario), machines: rng.u32(1..=2) },
        7 => What::SlowBoot { pool: draw_pool(rng, scenario), factor: rng.u32(2..=6) },
        8 if !scenario.images.is_empty() => {
            let images: Vec<&String> = scenario.images.keys().collect();
            What::ImageDeleted(images[rng.usize(..images.len())].clone())
        }
        8 | 9 => What::OperationFails {
            code: "AllocationFailed".to_owned(),
            message: "Allocation failed. We do not have sufficient capacity in this region.".to_owned(),
        },
        _ => What::Crash,
    }
}

/// A pool of the cluster, or the buffer that stands in for it, whose name is made of it.
fn draw_pool(rng: &mut fastrand::Rng, scenario: &Scenario) -> PoolName {
    let pools = &scenario.pools;
    let pool = &pools[rng.usize(..pools.len())];
    let taken: Vec<PoolName> = pools.iter().map(|pool| pool.name.clone()).collect();
    match pool.name.buffer(pool.os == OsType::Windows, &taken) {
        Ok(buffer) if rng.bool() => buffer,
        _ => pool.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_faults_again_and_a_hundred_seeds_draw_every_kind() {
        let scenario = Scenario::demo();
        let drawn = |seed| Fault::draw(seed, &scenario);
        assert_eq!(drawn(7), drawn(7));
        let all: Vec<Fault> = (0..100).flat_map(drawn).collect();
        let kinds: std::collections::BTreeSet<String> = all
            .iter()
            .map(|fault| match serde_json::to_value(fault).unwrap()["what"].take() {
                serde_json::Value::Object(what) => what.keys().next().unwrap().clone(),
                word => word.as_str().unwrap().to_owned(),
            })
            .collect();
        assert_eq!(kinds.len(), 12, "{kinds:?}");
        assert!(all.iter().all(|fault| (fault.crash().is_some()) == (*fault.what() == What::Crash)));
    }
}
