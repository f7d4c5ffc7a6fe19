//! What a decision costs, by the size of the cluster: each input of the run machine in a rehearsed round trip.
//!
//! `cargo bench -p aks-drover-lab --bench decide [-- NODESxPODS_A_NODE ...]`; `100x30 1000x30 5000x30` if nothing is said. Each
//! cluster is rehearsed in a process of its own. An input is what the driver hands to the machine at a time: a burst of changes,
//! an answer, a look at Azure. `lists` are those with everything of a kind, which a run reads at its beginning. Times are of
//! CPU: others who use the machine do not count.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program's output is its result")]

#[expect(dead_code, reason = "`rehearse` prints what a whole rehearsal took")]
mod common;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::{Error, cpu_time, rehearse, table};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// What is aimed at for one input.
const AIM: Duration = Duration::from_millis(5);

fn main() -> ExitCode {
    let head = format!(
        "{:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "cluster", "input", "count", "changes", "mean us", "p99 us", "max us", "over 5 ms"
    );
    table(&head, &["100x30", "1000x30", "5000x30"], one)
}

fn one(size: &str) -> Result<(), Error> {
    let stopwatch = Stopwatch::default();
    tracing::subscriber::set_global_default(stopwatch.clone())?;
    rehearse(size)?;
    let taken = std::mem::take(&mut stopwatch.lock().taken);
    let mut events = Taken::default();
    for (input, taken) in taken {
        if input != "lists" {
            events.changes += taken.changes;
            events.times.extend(&taken.times);
        }
        print(size, &input, taken);
    }
    print(size, "events", events);
    Ok(())
}

fn print(size: &str, input: &str, taken: Taken) {
    let Taken { changes, mut times } = taken;
    times.sort_unstable();
    let Some(last) = times.last().copied() else { return };
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let p99 = times[(times.len() * 99 / 100).min(times.len() - 1)];
    let over = times.iter().filter(|time| **time > AIM).count();
    #[expect(clippy::cast_precision_loss, reason = "numbers for people")]
    let mean = us(times.iter().sum()) / times.len() as f64;
    println!(
        "{size:>10} {input:>9} {:9} {changes:9} {mean:9.1} {:9.1} {:9.1} {over:9}",
        times.len(),
        us(p99),
        us(last)
    );
}

/// What the inputs of one kind have taken.
#[derive(Default)]
struct Taken {
    changes: u64,
    times: Vec<Duration>,
}

/// Takes the times of the machine's spans. A rehearsal is one thread, and an input is taken in after the other.
#[derive(Clone, Default)]
struct Stopwatch(Arc<Mutex<Times>>);

#[derive(Default)]
struct Times {
    taken: BTreeMap<String, Taken>,
    deciding: Deciding,
    since: Duration,
}

/// What the span that is open says.
#[derive(Default)]
struct Deciding {
    input: String,
    changes: u64,
}

impl Visit for Deciding {
    fn record_u64(&mut self, _: &Field, value: u64) {
        self.changes = value;
    }

    fn record_str(&mut self, _: &Field, value: &str) {
        value.clone_into(&mut self.input);
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl Stopwatch {
    fn lock(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for Stopwatch {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.name() == "decide"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut self.lock().deciding);
        Id::from_u64(1)
    }

    fn enter(&self, _: &Id) {
        self.lock().since = cpu_time();
    }

    fn exit(&self, _: &Id) {
        let now = cpu_time();
        let mut times = self.lock();
        let (input, took) = (times.deciding.input.clone(), now.saturating_sub(times.since));
        let changes = times.deciding.changes;
        let taken = times.taken.entry(input).or_default();
        taken.changes += changes;
        taken.times.push(took);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}
}
