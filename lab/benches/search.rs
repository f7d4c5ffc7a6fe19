//! How many small upgrades in drawn weather a machine tells in a minute, and whether one of them breaks a rule.
//!
//! `cargo bench -p aks-drover-lab --bench search [-- NIGHTS [FIRST_SEED]]`; 2,000 nights from seed 0 if nothing is said.
#![expect(clippy::print_stdout, reason = "a program's output is its result")]
#![expect(clippy::disallowed_methods, reason = "this measures real time")]

use std::process::ExitCode;
use std::time::Instant;

use cluster_lab::{Searched, search};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<u64>().ok());
    let (nights, first) = (numbers.next().unwrap_or(2000), numbers.next().unwrap_or(0));
    let began = Instant::now();
    let told: Vec<Searched> = (first..first + nights).into_par_iter().map(search).collect();
    let took = began.elapsed();
    let (done, events) = (
        told.iter().filter(|night| night.outcome.is_done()).count(),
        told.iter().map(|night| night.events).sum::<u64>(),
    );
    let broken: Vec<&Searched> = told.iter().filter(|night| !night.broken.is_empty()).collect();
    for night in &broken {
        println!("{night}\n  again: cargo bench -p aks-drover-lab --bench search -- 1 {}", night.seed);
    }
    println!(
        "{nights} nights in {:.1} s, {events} events; {done} done, {} not, {} broke a rule",
        took.as_secs_f64(),
        told.len() - done,
        broken.len()
    );
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
