use std::io::Write as _;

use jiff::Timestamp;
use upgrade_core::event::RunOutcome;
use upgrade_core::journal::Entry;
use upgrade_core::model::FormatVersion;
use upgrade_core::plan::Plan;

use super::*;

fn run() -> RunId {
    RunId::new("shop-1").unwrap()
}

fn record(seq: u64, entry: Entry) -> Record {
    Record { seq, at: Timestamp::UNIX_EPOCH, entry }
}

fn records() -> Vec<Record> {
    let inventory = crate::test_support::inventory();
    let plan = Plan {
        format: FormatVersion::CURRENT,
        cluster: inventory.identity.clone(),
        from: inventory.cluster.version,
        target: inventory.cluster.version,
        policy: upgrade_core::Policy::default(),
        findings: Vec::new(),
        accepted_gaps: Vec::new(),
        stages: Vec::new(),
        basis: upgrade_core::plan::Basis::default(),
    };
    let header = Entry::Header {
        format: FormatVersion::CURRENT,
        run: run(),
        tool: "test".into(),
        plan: Box::new(plan),
    };
    vec![
        record(1, header),
        record(2, Entry::Opened),
        record(3, Entry::Closed { outcome: RunOutcome::Aborted, ledger: Vec::new() }),
    ]
}

async fn written(dir: &Path) -> PathBuf {
    let journal = FileJournal::create(dir, &run()).unwrap();
    for record in records() {
        journal.append(&record).await.unwrap();
    }
    journal.path().to_owned()
}

#[tokio::test]
async fn what_was_written_is_read_back_and_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("new").join("journal");
    let path = written(&dir).await;
    assert_eq!(runs(&dir).unwrap(), [run()]);
    assert_eq!(load(&path).unwrap(), RunState::replay(records()).unwrap());

    let (journal, state) = FileJournal::resume(&path).unwrap();
    assert_eq!((state.next_seq(), state.closed()), (4, Some(&RunOutcome::Aborted)));
    journal.append(&record(4, Entry::Opened)).await.unwrap();
    assert_eq!(load(&path).unwrap().next_seq(), 5);
}

#[tokio::test]
async fn a_run_is_worked_on_by_one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let journal = FileJournal::create(folder.path(), &run()).unwrap();
    journal.append(&records()[0]).await.unwrap();
    let busy = FileJournal::resume(journal.path()).unwrap_err();
    assert!(busy.to_string().ends_with("another process is working on this run"), "{busy}");
    assert!(load(journal.path()).is_ok(), "looking is free");
    let path = journal.path().to_owned();
    drop(journal);
    assert!(FileJournal::resume(&path).is_ok());
    let exists = FileJournal::create(folder.path(), &run()).unwrap_err();
    assert!(exists.to_string().ends_with("there is a run of this name already"), "{exists}");
}

/// A process that is killed in the middle of a line leaves half of it behind, at whatever byte.
#[tokio::test]
async fn a_torn_last_line_is_cut_off_wherever_it_is_torn() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path()).await;
    let bytes = fs::read(&path).unwrap();
    let last = whole_lines(&bytes[..bytes.len() - 1]).len();
    for torn in (last + 1)..bytes.len() {
        fs::write(&path, &bytes[..torn]).unwrap();
        assert_eq!(load(&path).unwrap().next_seq(), 3);
        let (journal, state) = FileJournal::resume(&path).unwrap();
        assert_eq!(state.next_seq(), 3);
        journal.append(&records()[2]).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes, "torn at {torn}");
    }
}

#[tokio::test]
async fn a_damaged_journal_is_told_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path()).await;
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"seq\":4}\n").unwrap();
    let error = load(&path).unwrap_err();
    let start = format!("journal {}:4: this line is not a record (", path.display());
    assert!(error.to_string().starts_with(&start), "{error}");

    let lines: Vec<String> = records().iter().map(|r| serde_json::to_string(r).unwrap()).collect();
    fs::write(&path, format!("{}\n{}\n", lines[0], lines[2])).unwrap();
    let error = load(&path).unwrap_err();
    assert!(error.to_string().contains(":2: record 3 (closed) cannot follow record 1"), "{error}");
    assert_eq!(error.exit_code(), 2);

    fs::write(&path, "").unwrap();
    assert!(load(&path).unwrap_err().to_string().ends_with("it holds no run: the header is missing"));
    let missing = load(&folder.path().join("other.jsonl")).unwrap_err();
    assert!(missing.to_string().ends_with("there is no such run"), "{missing}");
    assert_eq!(runs(&folder.path().join("none")).unwrap(), []);
}

#[test]
fn after_a_record_that_could_not_be_written_nothing_follows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("full");
    fs::write(&path, "").unwrap();
    // Opened for reading: every write fails, as on a full disk.
    let mut open = Open { file: File::open(&path).unwrap(), torn: false };
    assert!(open.append(b"one\n").is_err());
    open.file = OpenOptions::new().append(true).open(&path).unwrap();
    assert!(open.append(b"two\n").unwrap_err().to_string().contains("an earlier record"));
    assert_eq!(fs::read(&path).unwrap(), b"");
}
