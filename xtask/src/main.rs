//! The project's own verbs: `cargo xtask` lists them.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's output is its result")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use crate::parts::Tally;
use crate::python::Python;

mod counts;
mod parts;
mod python;
mod rust;

struct Verb {
    name: &'static str,
    help: &'static str,
    act: fn(&Path) -> Tally,
}

const VERBS: [Verb; 4] = [
    Verb { name: "test", help: "everything that must hold before a change lands; what CI runs", act: test },
    Verb { name: "lint", help: "formatting and lints of Rust and Python, without tests", act: lint },
    Verb { name: "python", help: "the Python half alone: lints, wheel, stubs, pytest", act: python_alone },
    Verb { name: "wheel", help: "a release wheel in target/wheels", act: wheel },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name] = &arguments[..] else {
        println!("{}", usage());
        return if arguments.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) };
    };
    let Some(verb) = VERBS.iter().find(|verb| verb.name == name) else {
        eprintln!("there is no verb `{name}`\n\n{}", usage());
        return ExitCode::from(2);
    };
    let tally = (verb.act)(&root());
    tally.close();
    if tally.is_green() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> String {
    let lines = VERBS.iter().map(|verb| format!("  cargo xtask {:<8} {}", verb.name, verb.help));
    lines.collect::<Vec<_>>().join("\n")
}

/// The workspace's root: this crate's parent folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ lies in the workspace's root").to_path_buf()
}

/// The Python tools are fetched and the Python sources linted while cargo compiles: they wait for the network, it does not.
fn test(root: &Path) -> Tally {
    let python = Python::new(root);
    thread::scope(|scope| {
        let aside = scope.spawn(|| {
            let mut tally = Tally::default();
            let ready = python.tools(&mut tally) && python.lint(&mut tally);
            (tally, ready)
        });
        let mut tally = Tally::default();
        rust::lint(root, &mut tally);
        rust::test(root, &mut tally);
        let (beside, ready) = aside.join().expect("a part reports what goes wrong, it does not panic");
        tally.add(beside);
        if ready {
            python.test(&mut tally);
        }
        tally
    })
}

fn lint(root: &Path) -> Tally {
    let mut tally = Tally::default();
    let python = Python::new(root);
    rust::lint(root, &mut tally);
    if python.tools(&mut tally) {
        python.lint(&mut tally);
    }
    tally
}

fn python_alone(root: &Path) -> Tally {
    let mut tally = Tally::default();
    let python = Python::new(root);
    if python.tools(&mut tally) {
        python.lint(&mut tally);
        python.test(&mut tally);
    }
    tally
}

fn wheel(root: &Path) -> Tally {
    let mut tally = Tally::default();
    let python = Python::new(root);
    if python.tools(&mut tally) {
        python.release_wheel(&mut tally);
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_listed_on_a_line_of_its_own() {
        let usage = usage();
        assert_eq!(usage.lines().count(), VERBS.len());
        for verb in &VERBS {
            assert!(usage.contains(&format!("cargo xtask {} ", verb.name)), "{usage}");
        }
    }
}
