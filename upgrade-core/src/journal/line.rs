//! Records as lines of text, each with a checksum of its own.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::{Entry, FORMAT, IllegalRecord, Record, RunState};

/// What stands between a record and its checksum. No field of a record is called like this.
const SUM: &str = ",\"sum\":\"";

/// What ends a line with a checksum.
const END: &str = "\"}";

/// How many digits a checksum has: enough that no damage passes by chance. It does not keep out who wants to deceive.
const DIGITS: usize = 16;

/// The record as a line, with its line break: JSON, whose last field is the checksum of all before it.
pub fn to_line(record: &Record) -> String {
    let mut line = serde_json::to_string(record).expect("a record is plain data");
    let sum = checksum(line.as_bytes());
    line.truncate(line.len() - 1);
    line.push_str(SUM);
    line.push_str(&sum);
    line.push_str(END);
    line.push('\n');
    line
}

/// Of a record without its checksum.
fn checksum(record: &[u8]) -> String {
    let mut digits = String::new();
    for byte in &Sha256::digest(record)[..DIGITS / 2] {
        // Writing to a text cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// Everything up to the last line break: what a killed process has left after it was never acknowledged.
///
/// A machine that loses its power can leave zeros where a line was to be, and its line break; JSON holds none.
pub fn whole_lines(bytes: &[u8]) -> &[u8] {
    let end = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let whole = &bytes[..end(bytes)];
    let last = end(&whole[..whole.len().saturating_sub(1)]);
    if whole[last..].contains(&0) { &whole[..last] } else { whole }
}

/// Why a line cannot be part of a journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// Not a record at all.
    #[error("this line is not a record ({0})")]
    NotARecord(String),
    /// It is not what was written.
    #[error("this line was changed or damaged: its checksum is {written}, what it says has {computed}")]
    Checksum {
        /// The checksum in the line.
        written: String,
        /// The checksum of the line.
        computed: String,
    },
    /// The checksum is missing in a journal whose lines have one.
    #[error("this line was changed or damaged: it has lost its checksum")]
    NoChecksum,
    /// It breaks a rule.
    #[error("record {} ({}) cannot follow record {} in line {line_before}: {}", .record.seq, .record.what, .record.after, .record.rule)]
    Illegal {
        /// The record, and the rule.
        record: IllegalRecord,
        /// The line of the last legal record; 0 if there is none.
        line_before: usize,
    },
}

impl BadLine {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        "nothing is skipped, because a resume would act on a story that did not happen: restore the journal from a copy, or plan \
         anew (what is done already is seen in the cluster, and not done again)"
    }
}

/// Reads a journal line by line.
#[derive(Debug, Default)]
pub struct Reader {
    state: RunState,
    line: usize,
    line_before: usize,
    /// The journal was begun by a version that writes checksums.
    sums: bool,
}

impl Reader {
    /// Takes in the next line, without its line break. An empty line is none, and counts.
    ///
    /// # Errors
    /// If the line is not a record, not what was written, or cannot follow what was before; then it changes nothing.
    pub fn take(&mut self, line: &[u8]) -> Result<Option<Record>, BadLine> {
        self.line += 1;
        if line.is_empty() {
            return Ok(None);
        }
        let (record, summed) = read(line)?;
        if let Entry::Header { format, .. } = &record.entry {
            self.sums = (format.major, format.minor) >= (1, 1) && format.major == FORMAT.major;
        }
        if self.sums && !summed {
            return Err(BadLine::NoChecksum);
        }
        let illegal = |record| BadLine::Illegal { record, line_before: self.line_before };
        self.state.apply(&record).map_err(illegal)?;
        self.line_before = self.line;
        Ok(Some(record))
    }

    /// The number of the line that was taken in last.
    pub fn line(&self) -> usize {
        self.line
    }

    /// What the lines tell.
    pub fn into_state(self) -> RunState {
        self.state
    }
}

/// The record, and whether it had a checksum, which was right.
fn read(line: &[u8]) -> Result<(Record, bool), BadLine> {
    let not_a_record = |error: serde_json::Error| BadLine::NotARecord(error.to_string());
    let Some((record, written)) = split(line) else {
        return serde_json::from_slice(line).map(|record| (record, false)).map_err(not_a_record);
    };
    let computed = checksum(&record);
    if computed.as_bytes() != written {
        let written = String::from_utf8_lossy(written).into_owned();
        return Err(BadLine::Checksum { written, computed });
    }
    serde_json::from_slice(&record).map(|record| (record, true)).map_err(not_a_record)
}

/// A line as its record and its checksum; `None` if it ends without one.
fn split(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let rest = line.strip_suffix(END.as_bytes())?;
    let (rest, written) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
    let mut record = rest.strip_suffix(SUM.as_bytes())?.to_vec();
    record.push(b'}');
    Some((record, written))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::tests_support::inventory;
    use crate::model::{FormatVersion, RunId};
    use crate::plan::plan;
    use crate::policy::Policy;

    fn records(format: FormatVersion) -> Vec<Record> {
        let plan = plan(&inventory(), &Policy::default(), "1.35".parse().unwrap()).unwrap();
        let run = RunId::new("r").unwrap();
        let header = Entry::Header { format, run, tool: "test".into(), plan: Box::new(plan) };
        let entries = [header, Entry::Opened, Entry::StageStarted { stage: 1 }];
        let numbered = (1..).zip(entries);
        numbered.map(|(seq, entry)| Record { seq, at: Timestamp::UNIX_EPOCH, entry }).collect()
    }

    fn read_all(text: &[u8]) -> Result<RunState, (usize, BadLine)> {
        let mut reader = Reader::default();
        for line in text.split(|byte| *byte == b'\n') {
            reader.take(line).map_err(|error| (reader.line(), error))?;
        }
        Ok(reader.into_state())
    }

    fn text(records: &[Record]) -> String {
        records.iter().map(to_line).collect()
    }

    #[test]
    fn a_line_ends_with_the_checksum_of_what_is_before_it() {
        let line = to_line(&records(FORMAT)[1]);
        assert_eq!(
            line,
            "{\"seq\":2,\"at\":\"1970-01-01T00:00:00Z\",\"record\":\"opened\",\"sum\":\"f8900912a1ae26dd\"}\n"
        );
    }

    #[test]
    fn what_was_written_is_read() {
        let records = records(FORMAT);
        assert_eq!(read_all(text(&records).as_bytes()), Ok(RunState::replay(records).unwrap()));
    }

    /// Whatever byte of whatever line is another one, the line is named, and nothing is taken for what was written.
    #[test]
    fn every_changed_byte_is_noticed() {
        let records = records(FORMAT);
        let good = text(&records[1..]);
        let header = to_line(&records[0]);
        for at in (0..good.len()).filter(|at| good.as_bytes()[*at] != b'\n') {
            let mut bad = good.clone().into_bytes();
            bad[at] ^= 1;
            let (line, error) = read_all(&[header.as_bytes(), &bad].concat()).unwrap_err();
            let changed = 1 + good[..=at].lines().count();
            assert_eq!(line, changed, "byte {at}: {error}");
        }
    }

    #[test]
    fn a_journal_without_checksums_is_read_and_gone_on_with() {
        let records = records(FormatVersion { major: 1, minor: 0 });
        let plain = |record: &Record| format!("{}\n", serde_json::to_string(record).unwrap());
        let old: String = records[..2].iter().map(plain).collect();
        let state = read_all(format!("{old}{}", to_line(&records[2])).as_bytes()).unwrap();
        assert_eq!(state.next_seq(), 4);
    }

    #[test]
    fn in_a_journal_with_checksums_one_that_is_missing_is_damage() {
        let records = records(FORMAT);
        let bare = serde_json::to_string(&records[1]).unwrap();
        let (line, error) = read_all(format!("{}{bare}\n", to_line(&records[0])).as_bytes()).unwrap_err();
        assert_eq!((line, error), (2, BadLine::NoChecksum));
    }

    #[test]
    fn a_record_that_breaks_a_rule_names_both_lines() {
        let records = records(FORMAT);
        let text = format!("{}\n{}", to_line(&records[0]), to_line(&records[2]));
        let (line, error) = read_all(text.as_bytes()).unwrap_err();
        assert_eq!(line, 3);
        let said = "record 3 (stage_started) cannot follow record 1 in line 1: expected number 2";
        assert_eq!(error.to_string(), said);
    }

    #[test]
    fn what_was_never_acknowledged_is_left_out() {
        for (bytes, whole) in [
            (&b""[..], &b""[..]),
            (b"tor", b""),
            (b"one\n", b"one\n"),
            (b"one\ntw", b"one\n"),
            (b"one\n\0\0\0", b"one\n"),
            (b"one\ntw\0\0\n", b"one\n"),
            (b"\0\0\n", b""),
            (b"one\ntwo\n", b"one\ntwo\n"),
        ] {
            assert_eq!(whole_lines(bytes), whole, "{bytes:?}");
        }
    }
}
