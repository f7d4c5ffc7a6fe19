//! Nights by the thousand (`nights/`).

use std::env;
use std::path::Path;
use std::process::Command;

use crate::counts;
use crate::parts::Tally;
use crate::rust::{cargo, command};

/// The whole of it, by the program that [`crate::rust::build`] has built beside this one. It computes for minutes where the tests
/// often wait, and some of them wait for seconds that are real: it gets what they leave.
pub(crate) fn test(root: &Path, tally: &mut Tally) {
    let program = match env::current_exe() {
        Ok(own) => own.with_file_name(format!("nights{}", env::consts::EXE_SUFFIX)),
        Err(error) => {
            tally.give_up("nights", &format!("where this program lies is not known: {error}"));
            return;
        }
    };
    let mut nights = if cfg!(unix) {
        let mut nice = command("nice", root);
        nice.args(["-n", "19"]).arg(program);
        nice
    } else {
        command(program, root)
    };
    nights.arg("test");
    let everything = |output: &str| output.lines().map(str::to_owned).collect();
    tally.told_tests("nights", nights, counts::cargo, everything);
}

/// One of its verbs, with these words behind it; what it says is seen as it comes. Optimised, for there may be many.
pub(crate) fn verb(root: &Path, name: &'static str, words: &[String], tally: &mut Tally) {
    let mut nights: Command = cargo(
        root,
        &["run", "--quiet", "--locked", "--profile", "search", "--package", "aks-drover-nights", "--", name],
    );
    nights.args(words);
    tally.shown(name, nights);
}
