//! The project's own verbs: `cargo xtask` lists them.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's output is its result")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use crate::parts::Tally;
use crate::python::Python;

mod counts;
mod nights;
mod parts;
mod python;
mod rust;

struct Verb {
    name: &'static str,
    /// What may stand behind it; empty for nothing.
    takes: &'static str,
    help: &'static str,
    act: Act,
}

enum Act {
    /// A verb of this program.
    Own(fn(&Path) -> Tally),
    /// A verb of the program in `nights/`, which understands what stands behind it.
    Nights,
}

const VERBS: [Verb; 7] = [
    Verb {
        name: "test",
        takes: "",
        help: "everything that must hold before a change lands; what CI runs",
        act: Act::Own(test),
    },
    Verb {
        name: "lint",
        takes: "",
        help: "formatting and lints of Rust and Python, without tests",
        act: Act::Own(lint),
    },
    Verb {
        name: "python",
        takes: "",
        help: "the Python half alone: lints, wheel, stubs, pytest",
        act: Act::Own(python_alone),
    },
    Verb { name: "wheel", takes: "", help: "a release wheel in target/wheels", act: Act::Own(wheel) },
    Verb {
        name: "search",
        takes: "[--runs N] [--first-seed S]",
        help: "small upgrades in drawn weather, 2000 if nothing is said",
        act: Act::Nights,
    },
    Verb {
        name: "crash",
        takes: "[CAST [KILL[,KILL]]]",
        help: "upgrades killed everywhere and gone on with",
        act: Act::Nights,
    },
    Verb {
        name: "twice",
        takes: "[CAST]",
        help: "upgrades of which every write is sent twice",
        act: Act::Nights,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some((name, words)) = arguments.split_first() else {
        println!("{}", usage());
        return ExitCode::SUCCESS;
    };
    let Some(verb) = VERBS.iter().find(|verb| verb.name == name) else {
        eprintln!("there is no verb `{name}`\n\n{}", usage());
        return ExitCode::from(2);
    };
    let tally = match verb.act {
        Act::Own(_) if !words.is_empty() => {
            eprintln!("`{name}` takes nothing more\n\n{}", usage());
            return ExitCode::from(2);
        }
        Act::Own(act) => act(&root()),
        Act::Nights => {
            let mut tally = Tally::default();
            nights::verb(&root(), verb.name, words, &mut tally);
            tally
        }
    };
    tally.close();
    if tally.is_green() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> String {
    let lines = VERBS.iter().map(|verb| {
        let said = format!("{} {}", verb.name, verb.takes);
        format!("  cargo xtask {:<35} {}", said.trim_end(), verb.help)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The workspace's root: this crate's parent folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ lies in the workspace's root").to_path_buf()
}

/// The Python tools are fetched and the Python sources linted while cargo compiles: they wait for the network, it does not. The
/// nights and the examples are told beside all other tests.
fn test(root: &Path) -> Tally {
    const JOINS: &str = "a part reports what goes wrong, it does not panic";
    let python = Python::new(root);
    thread::scope(|scope| {
        let aside = scope.spawn(|| {
            let mut tally = Tally::default();
            let ready = python.tools(&mut tally) && python.lint(&mut tally);
            (tally, ready)
        });
        let mut tally = Tally::default();
        rust::lint(root, &mut tally);
        let is_built = rust::build(root, &mut tally);
        let lane = |part: fn(&Path, &mut Tally)| {
            scope.spawn(move || {
                let mut tally = Tally::default();
                part(root, &mut tally);
                tally
            })
        };
        let lanes = is_built.then(|| [lane(nights::test), lane(rust::examples)]);
        if is_built {
            rust::test(root, &mut tally);
        }
        let (beside, ready) = aside.join().expect(JOINS);
        tally.add(beside);
        if is_built && ready {
            python.test(&mut tally);
        }
        for lane in lanes.into_iter().flatten() {
            tally.add(lane.join().expect(JOINS));
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
