//! Parts of a verb: each runs its commands and closes with one line.

use std::io::{self, IsTerminal, Read};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::counts::Counts;

/// What a verb has seen so far.
#[derive(Default)]
pub(crate) struct Tally {
    tests: Counts,
    broken: Vec<&'static str>,
    counts_tests: bool,
}

impl Tally {
    /// Runs one part: its commands in order, up to the first that fails. Returns whether all went well.
    pub(crate) fn part(&mut self, name: &'static str, commands: Vec<Command>) -> bool {
        self.run(name, commands, None, nothing)
    }

    /// Runs a part that is a test runner. One that ends well without having run a test has failed.
    pub(crate) fn tests(&mut self, name: &'static str, command: Command, count: fn(&str) -> Counts) -> bool {
        self.counts_tests = true;
        self.run(name, vec![command], Some(count), nothing)
    }

    /// The same for one that says more than how many: `tell` finds the lines that are shown, too, if all is well.
    pub(crate) fn told_tests(
        &mut self,
        name: &'static str,
        command: Command,
        count: fn(&str) -> Counts,
        tell: fn(&str) -> Vec<String>,
    ) -> bool {
        self.counts_tests = true;
        self.run(name, vec![command], Some(count), tell)
    }

    /// Runs a part of one command whose output is seen as it comes.
    pub(crate) fn shown(&mut self, name: &'static str, mut command: Command) -> bool {
        let clock = Clock::start();
        let why = match command.status() {
            Ok(status) if status.success() => {
                println!("ok    {name:<12} {:>6.1} s", clock.seconds());
                return true;
            }
            Ok(_) => format!("failed: {}", shown(&command)),
            Err(error) => format!("could not run {}: {error}", shown(&command)),
        };
        println!("{why}\nFAIL  {name:<12} {:>6.1} s", clock.seconds());
        self.broken.push(name);
        false
    }

    fn run(
        &mut self,
        name: &'static str,
        commands: Vec<Command>,
        count: Option<fn(&str) -> Counts>,
        tell: fn(&str) -> Vec<String>,
    ) -> bool {
        let clock = Clock::start();
        if io::stderr().is_terminal() {
            eprintln!("... {name}");
        }
        let mut output = String::new();
        let mut ok = true;
        for command in commands {
            ok = run(command, &mut output);
            if !ok {
                break;
            }
        }
        let mut detail = String::new();
        if let Some(count) = count {
            let counts = count(&output);
            self.tests.passed += counts.passed;
            self.tests.failed += counts.failed;
            if ok && counts.passed == 0 {
                output.push_str("no test ran\n");
                ok = false;
            }
            detail = format!("  {} tests", counts.passed + counts.failed);
        }
        let word = if ok { "ok  " } else { "FAIL" };
        let mut line = format!("{word}  {name:<12} {:>6.1} s{detail}\n", clock.seconds());
        if ok {
            let told = tell(&output).into_iter().map(|told| format!("      {told}\n"));
            line.extend(told);
        }
        // One `print`: parts that run side by side do not mix their lines.
        print!("{}", if ok { line } else { self.break_off(name, &output, &line) });
        ok
    }

    /// Closes a part that could not even begin.
    pub(crate) fn give_up(&mut self, name: &'static str, why: &str) -> bool {
        print!("{}", self.break_off(name, why, &format!("FAIL  {name}\n")));
        false
    }

    fn break_off(&mut self, name: &'static str, output: &str, line: &str) -> String {
        self.broken.push(name);
        format!("---- {name}\n{}\n----\n{line}", output.trim_end())
    }

    /// Takes over what another lane has seen.
    pub(crate) fn add(&mut self, other: Self) {
        self.tests.passed += other.tests.passed;
        self.tests.failed += other.tests.failed;
        self.broken.extend(other.broken);
        self.counts_tests |= other.counts_tests;
    }

    pub(crate) fn is_green(&self) -> bool {
        self.broken.is_empty() && self.tests.failed == 0
    }

    /// Prints the last lines.
    pub(crate) fn close(&self) {
        if !self.broken.is_empty() {
            println!("failed: {}", self.broken.join(", "));
        }
        if self.counts_tests {
            println!("{} passed, {} failed", self.tests.passed, self.tests.failed);
        }
    }
}

/// What a part tells whose closing line says everything.
fn nothing(_: &str) -> Vec<String> {
    Vec::new()
}

/// Runs a command and appends what it prints, both streams in the order they came. Returns whether it succeeded.
fn run(command: Command, output: &mut String) -> bool {
    let shown = shown(&command);
    let why = match capture(command, output) {
        Ok(true) => return true,
        Ok(false) => format!("failed: {shown}\n"),
        Err(error) => format!("could not run {shown}: {error}\n"),
    };
    output.push_str(&why);
    false
}

/// A command as one would type it, to try it alone.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn capture(mut command: Command, output: &mut String) -> io::Result<bool> {
    let (mut reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The command holds the writing ends, too; until it is dropped, the reader would wait for ever.
    drop(command);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    output.push_str(&String::from_utf8_lossy(&bytes));
    Ok(child.wait()?.success())
}

struct Clock(Instant);

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a part took is told to people, nothing is decided by it"
    )]
    fn start() -> Self {
        Self(Instant::now())
    }

    fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(code: &str) -> Command {
        let mut command = Command::new("python3");
        command.args(["-c", code]);
        command
    }

    #[test]
    fn both_streams_are_kept() {
        let mut output = String::new();
        assert!(run(
            python("import sys; print('out', flush=True); print('err', file=sys.stderr)"),
            &mut output
        ));
        assert_eq!(output, "out\nerr\n");
    }

    #[test]
    fn a_part_stops_at_the_first_command_that_fails() {
        let mut tally = Tally::default();
        let ok = tally.part("story", vec![python("raise SystemExit(3)"), python("raise SystemExit(0)")]);
        assert!(!ok && !tally.is_green());
        assert_eq!(tally.broken, ["story"]);
    }

    #[test]
    fn a_command_that_does_not_exist_fails_the_part() {
        let mut output = String::new();
        assert!(!run(Command::new("./no-such-command"), &mut output));
        assert!(output.starts_with("could not run ./no-such-command: "), "{output}");
    }

    #[test]
    fn a_test_runner_that_runs_nothing_has_failed() {
        let mut tally = Tally::default();
        assert!(!tally.tests("story", python("print('0 passed in 0.01s')"), crate::counts::pytest));
        assert!(tally.tests("story", python("print('2 passed in 0.01s')"), crate::counts::pytest));
        assert_eq!((tally.tests.passed, tally.is_green()), (2, false));
    }
}
