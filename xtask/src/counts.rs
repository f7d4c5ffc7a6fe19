//! How many tests ran, and for how long, from what the test runners print.

/// Tests that ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

/// Adds up the closing lines of every test binary of `cargo test`.
pub(crate) fn cargo(output: &str) -> Counts {
    let mut counts = Counts::default();
    for line in output.lines().filter(|line| line.starts_with("test result: ")) {
        counts.passed += before(line, "passed");
        counts.failed += before(line, "failed");
    }
    counts
}

/// The test binaries of `cargo test` that took a second or longer, longest first: how long, and which.
pub(crate) fn slowest(output: &str) -> Vec<String> {
    let (mut binary, mut took) = ("", Vec::new());
    for line in output.lines().map(str::trim_start) {
        if let Some(name) = line.strip_prefix("Doc-tests ") {
            binary = name;
        } else if let Some(source) = line.strip_prefix("Running ") {
            binary = source.rsplit(['/', '(']).next().unwrap_or(source).trim_end_matches(')');
        } else if let Some((_, seconds)) = line.split_once("; finished in ") {
            let seconds: f64 = seconds.trim_end_matches('s').parse().unwrap_or_default();
            took.push((seconds, binary));
        }
    }
    took.retain(|(seconds, _)| *seconds >= 1.0);
    took.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    took.iter().map(|(seconds, binary)| format!("{seconds:>6.1} s  {binary}")).collect()
}

/// Reads pytest's closing line. A test whose fixture broke has failed, too.
pub(crate) fn pytest(output: &str) -> Counts {
    let ends = |line: &&str| {
        line.contains(" in ") && ["passed", "failed", "error"].iter().any(|word| line.contains(word))
    };
    let Some(line) = output.lines().rev().find(ends) else { return Counts::default() };
    let failed = before(line, "failed") + before(line, "error") + before(line, "errors");
    Counts { passed: before(line, "passed"), failed }
}

/// The number before a word, or 0.
fn before(line: &str, word: &str) -> u64 {
    let words: Vec<&str> =
        line.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()).collect();
    let at = words.windows(2).find(|pair| pair[1] == word);
    at.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binaries_of_cargo_test_are_added_up() {
        let output = "\
running 3 tests
test a_test_result_is_kept ... ok
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
   Doc-tests upgrade_core
test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 4.20s
";
        assert_eq!(cargo(output), Counts { passed: 15, failed: 2 });
    }

    #[test]
    fn the_binaries_that_took_long_are_named() {
        let output = "\
     Running unittests src/lib.rs (target/debug/deps/upgrade_core-4c9b3ece2a165ffe)
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 9.52s
     Running unittests src/main.rs (target/debug/deps/nights-71f1166958c84646)
test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
   Doc-tests aks_drover
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 171.01s
all doctests ran in 176.74s; merged doctests compilation took 5.39s
";
        assert_eq!(slowest(output), [" 171.0 s  aks_drover", "   9.5 s  upgrade_core-4c9b3ece2a165ffe"]);
    }

    #[test]
    fn pytest_closes_with_one_line() {
        assert_eq!(pytest("....\n36 passed in 0.41s\n"), Counts { passed: 36, failed: 0 });
        let line = "=== 2 failed, 33 passed, 1 skipped, 1 warning, 1 error in 61.02s (0:01:01) ===\n";
        assert_eq!(pytest(line), Counts { passed: 33, failed: 3 });
    }

    #[test]
    fn a_runner_that_never_closed_ran_nothing() {
        assert_eq!(cargo("error: could not compile\n"), Counts::default());
        assert_eq!(pytest("ERROR: file or directory not found: tests\n"), Counts::default());
    }
}
