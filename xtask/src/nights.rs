//! Nights by the thousand (`nights/`): the one part that is worth an optimised program.

use std::path::Path;
use std::process::Command;

use crate::counts;
use crate::parts::Tally;
use crate::rust::cargo;

fn nights(root: &Path, words: &[&str]) -> Command {
    let mut command = cargo(
        root,
        &["run", "--quiet", "--locked", "--profile", "search", "--package", "aks-drover-nights", "--"],
    );
    command.args(words);
    command
}

/// The whole of it.
pub(crate) fn test(root: &Path, tally: &mut Tally) {
    tally.told_tests("nights", nights(root, &["test"]), counts::cargo);
}

/// One of its verbs, with these words behind it; what it says is seen as it comes.
pub(crate) fn verb(root: &Path, name: &'static str, words: &[String], tally: &mut Tally) {
    let words: Vec<&str> = std::iter::once(name).chain(words.iter().map(String::as_str)).collect();
    tally.shown(name, nights(root, &words));
}
