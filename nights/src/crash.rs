//! Runs that are killed everywhere: after every record of the journal, and in every write, before and after its effect. Each is gone
//! on with, and ends in the same world as if nothing had happened.

use std::fmt;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use upgrade_core::event::RunOutcome;

use crate::casts::Cast;
use crate::kept::Kill;
use crate::likeness;

/// One in so many cases is killed again while it goes on.
const AGAIN: usize = 5;

/// A night without a kill: what the others are held to.
pub struct Whole {
    world: Vec<String>,
    bounds: Vec<(String, u32)>,
    outcome: RunOutcome,
    records: usize,
    writes: Vec<String>,
    /// The rules that it breaks by itself.
    pub broken: Vec<String>,
}

/// A night with kills.
pub struct Case {
    /// When.
    pub kills: Vec<Kill>,
    /// What was not as in the whole night, in words; empty if all is well.
    pub broken: Vec<String>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kills: Vec<String> = self.kills.iter().map(ToString::to_string).collect();
        f.write_str(&kills.join(","))
    }
}

impl Whole {
    /// The cast's own night.
    pub fn of(cast: &Cast) -> Self {
        let night = cast.night();
        let told = night.through(&[]);
        night.rest();
        let (records, _) = night.kept.length();
        let writes = night.kept.story().writes.clone();
        let world = likeness::of(&night.lab);
        Self { world, bounds: night.bounds(), outcome: told.outcome, records, writes, broken: told.broken }
    }

    /// Every place in which the run can be killed. Some are killed a second time, at a place drawn from the number of the case.
    pub fn cases(&self) -> Vec<Vec<Kill>> {
        let records = (1..=self.records).map(Kill::Record);
        let writes = (1..=self.writes.len()).flat_map(|write| [Kill::Before(write), Kill::After(write)]);
        let once: Vec<Vec<Kill>> = records.chain(writes).map(|kill| vec![kill]).collect();
        let again = once.iter().enumerate().filter(|(number, _)| number % AGAIN == 0);
        let again: Vec<Vec<Kill>> = again.map(|(number, first)| self.killed_again(number, first)).collect();
        once.into_iter().chain(again).collect()
    }

    fn killed_again(&self, number: usize, first: &[Kill]) -> Vec<Kill> {
        let mut rng = fastrand::Rng::with_seed(number as u64);
        // A write has two or three records; which one comes first does not matter, a kill that is past is passed over.
        let later =
            |rng: &mut fastrand::Rng, from: usize, to: usize| from + rng.usize(1..=(to - from).max(1));
        let per_write = self.records / self.writes.len().max(1);
        let (records, writes) = match first[0] {
            Kill::Record(at) => (at, at / per_write.max(1)),
            Kill::Before(at) | Kill::After(at) => ((at * per_write).min(self.records), at),
        };
        let record = later(&mut rng, records, self.records);
        let write = later(&mut rng, writes.min(self.writes.len()), self.writes.len());
        let second = match rng.u8(0..3) {
            0 => Kill::Record(record),
            1 => Kill::Before(write),
            _ => Kill::After(write),
        };
        vec![first[0], second]
    }

    /// Tells these cases, on all cores.
    pub fn tell(&self, cast: &Cast, cases: &[Vec<Kill>]) -> Vec<Case> {
        cases.par_iter().map(|kills| self.case(cast, kills)).collect()
    }

    fn case(&self, cast: &Cast, kills: &[Kill]) -> Case {
        let night = cast.night();
        let told = night.through(kills);
        night.rest();
        let mut broken = told.broken;
        if told.kills == 0 {
            broken.push("nobody was killed".to_owned());
        }
        if told.outcome.is_done() != self.outcome.is_done() {
            broken.push(format!("it ends as {:?} and not as {:?}", told.outcome, self.outcome));
        }
        let world = likeness::of(&night.lab);
        broken.extend(likeness::differences(&self.world, &world));
        for (service, fewest) in night.fewest() {
            let bound = self.bounds.iter().find(|(name, _)| *name == service).map(|(_, bound)| *bound);
            if let Some(bound) = bound.filter(|bound| fewest < *bound) {
                broken
                    .push(format!("Service {service} had {fewest} endpoints once, and {bound} are expected"));
            }
        }
        Case { kills: kills.to_vec(), broken }
    }

    /// The size of the night, in words.
    pub fn size(&self) -> String {
        format!("{} records, {} writes", self.records, self.writes.len())
    }

    /// What the kills are, in words.
    pub fn place(&self, kill: Kill) -> String {
        match kill {
            Kill::Record(number) => format!("after record {number}"),
            Kill::Before(number) | Kill::After(number) => {
                let side = if matches!(kill, Kill::Before(_)) { "before" } else { "after" };
                let what = self.writes.get(number - 1).map_or("a later write", String::as_str);
                format!("{side} the effect of write {number}, {what}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::casts;

    /// A handful; `cargo xtask test` tells every one, and those of the demo.
    #[test]
    fn killed_here_and_there_a_run_ends_in_the_same_world() {
        for cast in casts::all().iter().filter(|cast| cast.name != "demo") {
            let whole = Whole::of(cast);
            assert_eq!(whole.broken, Vec::<String>::new(), "{}", cast.name);
            let some: Vec<Vec<Kill>> = whole.cases().into_iter().skip(17).step_by(119).collect();
            for case in whole.tell(cast, &some) {
                assert_eq!(case.broken, Vec::<String>::new(), "cargo xtask crash {} {case}", cast.name);
            }
        }
    }

    #[test]
    fn each_write_of_a_night_sent_twice_changes_nothing_more() {
        let loans = casts::all().into_iter().find(|cast| cast.name == "loans").expect("it is one of them");
        let night = loans.night_of_twice();
        assert_eq!(night.through(&[]).broken, Vec::<String>::new());
        assert!(night.writes() > 50, "{}", night.writes());
    }
}
