//! The fuzz targets' bodies over a small corpus and mutations of it, on every run of the tests.
//!
//! The corpus lies beside this file, one folder for each target. A crash that a fuzzer finds becomes a file here.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside the functions marked as tests")]

use std::fs;
use std::path::{Path, PathBuf};

use aks_client::fuzzing;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 10] = [
    ("errors", fuzzing::errors),
    ("operation", fuzzing::operation),
    ("operation_url", fuzzing::operation_url),
    ("retry_after", fuzzing::retry_after),
    ("kubeconfig", fuzzing::kubeconfig),
    ("cluster", fuzzing::cluster),
    ("pool", fuzzing::pool),
    ("names", fuzzing::names),
    ("capacity", fuzzing::capacity),
    ("lists", fuzzing::lists),
];

/// How many mutations of each file are tried.
const MUTATIONS: u64 = 300;

/// Numbers that look like chance and are the same on every run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or(0)
    }
}

/// Pieces that decoders trip over.
const PIECES: [&[u8]; 14] = [
    b"null",
    b"\"\"",
    b"{}",
    b"[]",
    b"-1",
    b"1e999",
    b"\xff",
    b"\\u0000",
    b"\x1b[31m",
    b"\xe2\x80\xae",
    b"'",
    b"Code=",
    b"?s=SIG",
    b"/../",
];

fn mutated(seed: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(data.len() + 1);
        match numbers.below(5) {
            0 => data.truncate(at),
            1 if at < data.len() => data[at] ^= 1 << numbers.below(8),
            2 if at < data.len() => {
                data.remove(at);
            }
            3 => {
                let end = (at + numbers.below(40)).min(data.len());
                let again = data[at..end].to_vec();
                data.splice(at..at, again);
            }
            _ => {
                let piece = PIECES[numbers.below(PIECES.len())];
                data.splice(at..at, piece.iter().copied());
            }
        }
    }
    data
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn no_decoder_breaks_its_word_on_the_corpus_or_near_it() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/corpus");
    let mut numbers = Numbers(2026);
    for (name, target) in TARGETS {
        let seeds = files(&corpus.join(name));
        assert!(!seeds.is_empty(), "no corpus for {name}");
        for seed in seeds {
            let data = fs::read(&seed).unwrap();
            target(&data);
            for _ in 0..MUTATIONS {
                target(&mutated(&data, &mut numbers));
            }
        }
    }
    // Every other target's seeds, too: a decoder meets what it was not made for.
    for (name, target) in TARGETS {
        for other in files(&corpus).iter().flat_map(|folder| files(folder)) {
            assert!(other.is_file(), "{name}");
            target(&fs::read(other).unwrap());
        }
    }
}

#[test]
fn every_target_of_the_fuzzer_is_run_here() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let mut fuzzed: Vec<_> =
        manifest.lines().filter_map(|line| line.strip_prefix("name = \"aks_")?.strip_suffix('"')).collect();
    let mut run: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
    fuzzed.sort_unstable();
    run.sort_unstable();
    assert_eq!(fuzzed, run);
}
