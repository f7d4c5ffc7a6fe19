//! Journals, wherever they are, keep the same promises: in a directory, in an object store in memory, in Azure Blob Storage.

use std::io::Write;
use std::sync::Arc;

use aks_drover::{Error, Fleet, JournalPlace, Journals, RunPlace};
use cluster_lab::{Lab, Scenario};
use futures::future::join;
use jiff::Timestamp;
use upgrade_core::event::{Event, EventKind, RunOutcome};
use upgrade_core::journal::{Entry, FORMAT, Record, RunState};
use upgrade_core::model::RunId;
use upgrade_core::plan::Plan;
use upgrade_core::ports::{Journal, Ports};
use upgrade_core::run::failure::{Failure, Next, response};
use upgrade_core::run::{DriveError, Start, drive, stop_signal};
use upgrade_core::{Policy, plan};

use crate::azurite::Azurite;
use crate::support::{Night, demo_inventory};

fn demo_plan() -> Plan {
    plan(&demo_inventory(), &Policy::default(), "1.35".parse().unwrap()).unwrap()
}

fn run(name: &str) -> RunId {
    RunId::new(name).unwrap()
}

/// The beginning of a run, then the ends and beginnings of its processes.
fn records(run: &RunId, number: u64) -> Vec<Record> {
    let header =
        Entry::Header { format: FORMAT, run: run.clone(), tool: "test".into(), plan: Box::new(demo_plan()) };
    let entry = |seq: u64| match seq {
        1 => header.clone(),
        even if even % 2 == 0 => Entry::Opened,
        _ => Entry::Closed { outcome: RunOutcome::Aborted, ledger: Vec::new() },
    };
    (1..=number).map(|seq| Record { seq, at: Timestamp::UNIX_EPOCH, entry: entry(seq) }).collect()
}

async fn append(journal: &Arc<dyn Journal>, records: &[Record]) {
    for record in records {
        journal.append(record).await.unwrap();
    }
}

/// Every promise, on journals that hold nothing yet.
async fn keep_their_promises(journals: &Journals) {
    what_was_written_is_read_back_and_gone_on_with(journals).await;
    a_run_is_begun_once_and_one_that_is_not_there_is_told(journals).await;
    a_killed_process_leaves_what_was_acknowledged(journals).await;
    of_two_processes_that_take_up_a_run_one_goes_on_and_the_other_never_again(journals).await;
}

async fn what_was_written_is_read_back_and_gone_on_with(journals: &Journals) {
    assert_eq!(journals.runs().await.unwrap(), []);
    let (run, all) = (run("shop-1"), records(&run("shop-1"), 21));
    let own = journals.run(&run);
    append(&own.create().await.unwrap(), &all[..11]).await;
    assert_eq!(own.load().await.unwrap(), RunState::replay(all[..11].to_vec()).unwrap());
    let (journal, state) = own.resume().await.unwrap();
    assert_eq!((state.next_seq(), state.closed()), (12, Some(&RunOutcome::Aborted)));
    append(&journal, &all[11..]).await;
    assert_eq!(own.records().await.unwrap(), all);
    assert_eq!(journals.runs().await.unwrap(), [run]);
}

async fn a_run_is_begun_once_and_one_that_is_not_there_is_told(journals: &Journals) {
    let exists = journals.run(&run("shop-1")).create().await.err().unwrap();
    assert!(exists.to_string().ends_with("there is a run of this name already"), "{exists}");
    let missing = journals.run(&run("shop-0"));
    for error in [missing.load().await.unwrap_err(), missing.resume().await.err().unwrap()] {
        assert_eq!(error.to_string(), format!("journal {}: there is no such run", missing.place()));
        assert_eq!(error.exit_code(), 2);
    }
}

async fn a_killed_process_leaves_what_was_acknowledged(journals: &Journals) {
    let (run, all) = (run("shop-2"), records(&run("shop-2"), 3));
    let own = journals.run(&run);
    append(&own.create().await.unwrap(), &all[..2]).await;
    // What was on its way to a container is there or is not; of what was on its way to a file there can be a part.
    if let RunPlace::File(path) = own.place() {
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"{\"seq\":3,\"at\":\"19").unwrap();
    }
    assert_eq!(own.load().await.unwrap().next_seq(), 3);
    let (journal, state) = own.resume().await.unwrap();
    assert_eq!(state.next_seq(), 3);
    append(&journal, &all[2..]).await;
    assert_eq!(own.records().await.unwrap(), all);
}

async fn of_two_processes_that_take_up_a_run_one_goes_on_and_the_other_never_again(journals: &Journals) {
    let (run, all) = (run("shop-3"), records(&run("shop-3"), 6));
    let own = journals.run(&run);
    append(&own.create().await.unwrap(), &all[..3]).await;
    let (first, _) = own.resume().await.unwrap();
    let goes_on = match own.resume().await {
        // A file is locked by whoever came first.
        Err(error) => {
            assert!(error.to_string().ends_with("another process is working on this run"), "{error}");
            first
        }
        // In a container the first to append goes on.
        Ok((second, _)) => {
            append(&second, &all[3..4]).await;
            let refused = first.append(&all[3]).await.unwrap_err().to_string();
            assert!(
                refused.contains("was written by another process, which works on the run now"),
                "{refused}"
            );
            let again = first.append(&all[4]).await.unwrap_err().to_string();
            assert!(again.ends_with("an earlier record could not be written"), "{again}");
            second
        }
    };
    let next = usize::try_from(own.load().await.unwrap().next_seq()).unwrap() - 1;
    append(&goes_on, &all[next..]).await;
    assert_eq!(own.records().await.unwrap(), all);
}

#[tokio::test]
async fn in_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    keep_their_promises(&Journals::in_directory(folder.path().join("new").join("journal"))).await;
}

/// Journals in memory, as a container keeps them.
fn in_memory() -> Journals {
    let Ok(JournalPlace::Container(folder)) = JournalPlace::parse("az://journals/team/a") else { panic!() };
    Journals::in_memory(folder)
}

#[tokio::test]
async fn in_an_object_store() {
    keep_their_promises(&in_memory()).await;
}

async fn in_azure(azurite: &Azurite, address: &str) -> Journals {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("drover.toml");
    std::fs::write(&config, azurite.toml()).unwrap();
    let place = JournalPlace::parse(address).unwrap();
    Fleet::from_file(config).unwrap().journals(&place).await.unwrap()
}

#[tokio::test]
async fn in_azure_blob_storage() {
    let Some(azurite) = Azurite::with_container("journals") else { return };
    keep_their_promises(&in_azure(&azurite, "az://journals/team/a").await).await;
    keep_their_promises(&in_azure(&azurite, "az://journals").await).await;

    let nowhere = in_azure(&azurite, "az://no-such-one").await;
    for error in [nowhere.runs().await.unwrap_err(), nowhere.run(&run("r")).create().await.err().unwrap()] {
        assert_eq!(error.to_string(), "journal az://no-such-one: there is no such container in the account");
        assert!(
            matches!(error, Error::Journal { .. }) && error.hint().unwrap().contains("create the container")
        );
    }
}

/// The lock is lost to somebody else without this process noticing, and the other goes on: what stops this one is the journal.
#[test]
fn a_run_whose_journal_is_gone_on_with_by_another_process_stops_at_once() {
    let night = Night::of(Lab::new(&Scenario::demo(), 1));
    let run = run("night-1");
    let own = in_memory().run(&run);
    let journal = futures::executor::block_on(own.create()).unwrap();
    let other = own.clone();
    night.at_stage(
        "user: move onto userbf",
        Box::new(move || {
            futures::executor::block_on(async {
                let (journal, state) = other.resume().await.unwrap();
                let opened =
                    Record { seq: state.next_seq(), at: Timestamp::UNIX_EPOCH, entry: Entry::Opened };
                journal.append(&opened).await.unwrap();
            });
        }),
    );
    let (_handle, stop) = stop_signal();
    let start = Start::Fresh { plan: demo_plan(), run, tool: "test".into() };
    let ended = night.lab.block_on(drive(start, Ports { journal, ..night.ports() }, stop)).unwrap();
    let DriveError::Journal(why) = ended.unwrap_err() else { panic!() };
    assert!(why.to_string().contains("was written by another process"), "{why}");
    // It is the driver that does what the table has for this.
    assert_eq!(response(None, Failure::JournalLost).next, Next::Stop);
    let sent = |event: &Event| {
        matches!(event.kind, EventKind::WriteStarted { .. } | EventKind::WriteAnswered { .. })
    };
    let events = night.events();
    let began = |event: &&Event| matches!(&event.kind, EventKind::StageStarted { title, .. } if title == "user: move onto userbf");
    let after = events.iter().skip_while(|event| !began(event));
    assert_eq!(
        after.filter(|event| sent(event)).count(),
        0,
        "something was written that the journal does not know"
    );
    let state = futures::executor::block_on(own.load()).unwrap();
    assert!(
        state.closed().is_none() && state.last_record() == Some(Timestamp::UNIX_EPOCH),
        "nothing followed"
    );
}

/// Two agents take up the same run at once. The one that gets the lock goes on; the other has left no trace in the journal.
#[test]
fn of_two_agents_with_one_journal_one_brings_the_run_to_its_end() {
    let night = Night::of(Lab::new(&Scenario::demo(), 1));
    let run = run("night-1");
    let own = in_memory().run(&run);
    let take_up = || futures::executor::block_on(own.resume()).unwrap();
    let header = records(&run, 1);
    futures::executor::block_on(async { append(&own.create().await.unwrap(), &header).await });
    let [one, two] = [take_up(), take_up()].map(|(journal, state)| {
        let (_, stop) = stop_signal();
        drive(Start::Resumed(state), Ports { journal, ..night.ports() }, stop)
    });
    let (one, two) = night.lab.block_on(join(one, two)).unwrap();
    let outcomes = [one.unwrap().outcome, two.unwrap().outcome];
    assert!(matches!(outcomes, [RunOutcome::Done, RunOutcome::Locked { .. }]), "{outcomes:?}");
    let records = futures::executor::block_on(own.records()).unwrap();
    assert_eq!(records.iter().filter(|record| record.entry == Entry::Opened).count(), 1);
    assert!(RunState::replay(records).unwrap().is_done());
}
