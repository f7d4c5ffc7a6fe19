//! Clusters on which runs are killed: small, and with everything that a run can be in the middle of.

use cluster_lab::{Fault, Lab, Scenario, Story};
use upgrade_core::{Policy, plan};

use crate::night::Night;

/// The seed of a cast's luck.
const SEED: u64 = 1;

/// A cluster and the upgrade that it is about.
pub struct Cast {
    /// Its name.
    pub name: &'static str,
    story: Story,
}

macro_rules! files {
    ($($name:literal)*) => {
        [$(($name, include_str!(concat!("../casts/", $name, ".yaml")))),*]
    };
}

/// The demo and six more: loans, a gap, Rancher in lock-step, disks that move by evictions under a budget, images that are pulled
/// ahead, and an operation that fails in Azure.
pub fn all() -> Vec<Cast> {
    let demo = Story {
        name: "demo".to_owned(),
        text: String::new(),
        scenario: Scenario::demo(),
        to: "1.35".parse().expect("a literal"),
        policy: Policy::default(),
    };
    let own = files!["loans" "gap" "lock-step"].map(|(name, text)| Cast {
        name,
        story: Story::read(name, text).expect("these files are read by the tests"),
    });
    let labs = ["zonal-disks", "windows-images", "half-an-upgrade"]
        .map(|name| Cast { name, story: Story::named(name).expect("a file of the lab") });
    [Cast { name: "demo", story: demo }].into_iter().chain(own).chain(labs).collect()
}

impl Cast {
    /// A night over the cluster.
    pub fn night(&self) -> Night {
        self.begin(Night::new)
    }

    /// One in which each write is sent twice in a row.
    pub fn night_of_twice(&self) -> Night {
        self.begin(Night::twice)
    }

    /// The world that it begins with.
    pub fn scenario(&self) -> &Scenario {
        &self.story.scenario
    }

    fn begin(&self, of: fn(Lab, upgrade_core::Inventory, upgrade_core::plan::Plan) -> Night) -> Night {
        let Story { scenario, to, policy, .. } = &self.story;
        let mut scenario = scenario.clone();
        // Kills are dealt out by whoever tells the night.
        scenario.faults.retain(|fault| Fault::crash(fault).is_none());
        let lab = Lab::new(&scenario, SEED);
        let before = lab.inventory();
        let plan = plan(&before, policy, *to).expect("nothing of these clusters blocks an upgrade");
        of(lab, before, plan)
    }
}
