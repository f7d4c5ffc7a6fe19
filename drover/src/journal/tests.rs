//! What is particular to files, and to blobs; what both do is in tests/it/journals.rs.

mod unreliable;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use jiff::Timestamp;
use object_store::ObjectStoreExt;
use upgrade_core::event::RunOutcome;
use upgrade_core::journal::{Entry, FORMAT, to_line};
use upgrade_core::model::FormatVersion;
use upgrade_core::plan::Plan;
use upgrade_core::ports::{CallOutcome, PortErrorKind};

use super::*;
use unreliable::{Trouble, Unreliable};

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
        disks_per_node: BTreeMap::new(),
        basis: upgrade_core::plan::Basis::default(),
    };
    let header = Entry::Header { format: FORMAT, run: run(), tool: "test".into(), plan: Box::new(plan) };
    vec![
        record(1, header),
        record(2, Entry::Opened),
        record(3, Entry::Closed { outcome: RunOutcome::Aborted, ledger: Vec::new() }),
    ]
}

/// A journal of three records in a file.
async fn written(dir: &Path) -> PathBuf {
    let own = Journals::in_directory(dir).run(&run());
    let journal = own.create().await.unwrap();
    for record in records() {
        journal.append(&record).await.unwrap();
    }
    own.place().file().unwrap().to_owned()
}

async fn load(path: &Path) -> Result<RunState, Error> {
    RunJournal::in_file(path).load().await
}

#[tokio::test]
async fn a_file_is_locked_while_its_run_is_worked_on() {
    let folder = tempfile::tempdir().unwrap();
    let own = Journals::in_directory(folder.path()).run(&run());
    let journal = own.create().await.unwrap();
    journal.append(&records()[0]).await.unwrap();
    let busy = own.resume().await.err().unwrap();
    assert!(busy.to_string().ends_with("another process is working on this run"), "{busy}");
    assert!(own.load().await.is_ok(), "looking is free");
    drop(journal);
    assert!(own.resume().await.is_ok());
}

/// A process that is killed in the middle of a line leaves half of it behind, at whatever byte; a machine that loses its power,
/// zeros.
#[tokio::test]
async fn a_torn_last_line_is_cut_off_wherever_it_is_torn() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path()).await;
    let bytes = fs::read(&path).unwrap();
    let last = bytes.len() - to_line(&records()[2]).len();
    let torn = ((last + 1)..bytes.len()).map(|at| bytes[..at].to_vec());
    let zeroed = [&bytes[..last + 9], &[0; 20], b"\n"].concat();
    for torn in torn.chain([zeroed]) {
        fs::write(&path, &torn).unwrap();
        assert_eq!(load(&path).await.unwrap().next_seq(), 3);
        let (journal, state) = RunJournal::in_file(&path).resume().await.unwrap();
        assert_eq!(state.next_seq(), 3);
        journal.append(&records()[2]).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes, "torn to {} bytes", torn.len());
    }
}

#[tokio::test]
async fn a_damaged_journal_is_told_by_its_line_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path()).await;
    let good = fs::read_to_string(&path).unwrap();
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"seq\":4}\n").unwrap();
    let error = load(&path).await.unwrap_err();
    let start = format!("journal {}:4: this line is not a record (", path.display());
    assert!(error.to_string().starts_with(&start), "{error}");

    fs::write(
        &path,
        good.replace(
            "1970-01-01T00:00:00Z\",\"record\":\"opened",
            "1970-01-02T00:00:00Z\",\"record\":\"opened",
        ),
    )
    .unwrap();
    let error = load(&path).await.unwrap_err();
    assert!(error.to_string().contains(":2: this line was changed or damaged: its checksum is "), "{error}");
    assert!(error.hint().unwrap().contains("restore the journal from a copy"), "{error:?}");
    assert!(RunJournal::in_file(&path).resume().await.is_err());

    fs::write(&path, format!("{}{}", to_line(&records()[0]), to_line(&records()[2]))).unwrap();
    let error = load(&path).await.unwrap_err();
    let illegal = ":2: record 3 (closed) cannot follow record 1 in line 1: expected number 2";
    assert!(error.to_string().ends_with(illegal), "{error}");
    assert_eq!(error.exit_code(), 2);

    fs::write(&path, "").unwrap();
    assert!(load(&path).await.unwrap_err().to_string().ends_with("it holds no run: the header is missing"));
    let missing = load(&folder.path().join("other.jsonl")).await.unwrap_err();
    assert!(missing.to_string().ends_with("there is no such run"), "{missing}");
}

/// As versions before format 1.1 wrote them.
#[tokio::test]
async fn a_journal_without_checksums_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.jsonl");
    let mut old = records();
    if let Entry::Header { format, .. } = &mut old[0].entry {
        *format = FormatVersion { major: 1, minor: 0 };
    }
    let lines = old[..2].iter().map(|record| format!("{}\n", serde_json::to_string(record).unwrap()));
    fs::write(&path, lines.collect::<String>()).unwrap();
    let (journal, _) = RunJournal::in_file(&path).resume().await.unwrap();
    journal.append(&old[2]).await.unwrap();
    assert_eq!(load(&path).await.unwrap().closed(), Some(&RunOutcome::Aborted));
}

fn blobs(trouble: Trouble) -> (Arc<Unreliable>, RunJournal) {
    let store = Arc::new(Unreliable::new(trouble));
    let Ok(JournalPlace::Container(folder)) = JournalPlace::parse("az://journals/team") else { panic!() };
    let journals = Journals(Place::Container(Blobs::new(Arc::<Unreliable>::clone(&store), folder)));
    (store, journals.run(&run()))
}

#[tokio::test]
async fn each_append_is_a_blob_that_is_created_and_never_changed() {
    let (store, own) = blobs(Trouble::None);
    let journal = own.create().await.unwrap();
    for record in records() {
        journal.append(&record).await.unwrap();
    }
    assert_eq!(
        store.names().await,
        ["team/shop-1/00000001.jsonl", "team/shop-1/00000002.jsonl", "team/shop-1/00000003.jsonl"]
    );
    assert_eq!(own.load().await.unwrap(), RunState::replay(records()).unwrap());
}

/// The answer is lost, and the request sent again: what is there then is the process's own.
#[tokio::test]
async fn a_record_whose_answer_was_lost_is_known_as_ones_own() {
    let (_, own) = blobs(Trouble::SentTwice);
    let journal = own.create().await.unwrap();
    for record in records() {
        journal.append(&record).await.unwrap();
    }
    assert_eq!(own.records().await.unwrap(), records());
}

/// The same record of another process is another's.
#[tokio::test]
async fn the_same_words_of_another_process_are_not_ones_own() {
    let (_, own) = blobs(Trouble::None);
    let (one, other) = (own.create().await.unwrap(), own.create().await.unwrap());
    one.append(&records()[0]).await.unwrap();
    let refused = other.append(&records()[0]).await.unwrap_err();
    assert_eq!((refused.kind, refused.outcome), (PortErrorKind::Conflict, CallOutcome::NothingDone));
    assert_eq!(
        refused.to_string(),
        "the journal: az://journals/team/shop-1/00000001.jsonl was written by another process, which works on the run now; \
         this one has stopped"
    );
}

#[tokio::test]
async fn after_a_record_that_could_not_be_written_nothing_follows() {
    let (store, own) = blobs(Trouble::None);
    let journal = own.create().await.unwrap();
    journal.append(&records()[0]).await.unwrap();
    store.have(Trouble::Away);
    let failed = journal.append(&records()[1]).await.unwrap_err();
    assert_eq!((failed.kind, failed.outcome), (PortErrorKind::Unreachable, CallOutcome::Unknown));
    store.have(Trouble::None);
    let refused = journal.append(&records()[1]).await.unwrap_err();
    assert!(refused.to_string().ends_with("an earlier record could not be written"), "{refused}");
    let (journal, state) = own.resume().await.unwrap();
    assert_eq!(state.next_seq(), 2);
    journal.append(&records()[1]).await.unwrap();
}

#[tokio::test]
async fn a_blob_that_was_changed_or_lost_is_told() {
    let (store, own) = blobs(Trouble::None);
    let journal = own.create().await.unwrap();
    for record in records() {
        journal.append(&record).await.unwrap();
    }
    let second = "team/shop-1/00000002.jsonl".into();
    let line = to_line(&records()[1]).replace("1970", "1971");
    store.inner.put(&second, line.into()).await.unwrap();
    let error = own.load().await.unwrap_err();
    let start = "journal az://journals/team/shop-1/00000002.jsonl:1: this line was changed or damaged";
    assert!(error.to_string().starts_with(start), "{error}");
    store.inner.delete(&second).await.unwrap();
    let error = own.load().await.unwrap_err();
    assert!(
        error.to_string().contains("00000003.jsonl:1: record 3 (closed) cannot follow record 1"),
        "{error}"
    );
}
