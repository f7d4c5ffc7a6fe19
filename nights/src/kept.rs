//! What outlives a process: its journal, and what is known of the hands that it had.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::channel::oneshot;
use futures::future::pending;
use upgrade_core::event::Event;
use upgrade_core::inventory::ClusterIdentity;
use upgrade_core::journal::{Entry, Record, to_line};
use upgrade_core::model::{HolderId, PoolName, Uid};
use upgrade_core::ports::{Answer, EventSink, Gate, Journal, PortError, Question};

/// When a process is killed. Numbers count over the whole night, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kill {
    /// As soon as so many records are durable.
    Record(usize),
    /// In this write, before it arrives.
    Before(usize),
    /// In this write, when it is carried out and not answered.
    After(usize),
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(number) => write!(f, "record:{number}"),
            Self::Before(number) => write!(f, "before:{number}"),
            Self::After(number) => write!(f, "after:{number}"),
        }
    }
}

impl FromStr for Kill {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is none of record:N, before:N and after:N");
        let (kind, number) = text.split_once(':').ok_or_else(wrong)?;
        let number = number.parse().map_err(|_| wrong())?;
        match kind {
            "record" => Ok(Self::Record(number)),
            "before" => Ok(Self::Before(number)),
            "after" => Ok(Self::After(number)),
            _ => Err(wrong()),
        }
    }
}

/// What outlives a process. It can kill it, too: the call never returns.
pub(crate) struct Kept {
    cluster: ClusterIdentity,
    twice: bool,
    story: Mutex<Story>,
}

/// Everything that is known.
#[derive(Default)]
pub(crate) struct Story {
    journal: Vec<u8>,
    records: usize,
    /// Every write that the run has sent, in words, but those of its lock.
    pub(crate) writes: Vec<String>,
    pub(crate) holder: Option<HolderId>,
    /// The cluster is proven for the stage under way, by the process under way.
    pub(crate) proven: bool,
    /// The pools that the run has asked for.
    pub(crate) pools: BTreeSet<PoolName>,
    /// The nodes that the run has cordoned, or has tried to.
    pub(crate) cordoned: BTreeSet<Uid>,
    /// The rules that were broken.
    pub(crate) broken: Vec<String>,
    kill: Option<Kill>,
    killed: Option<oneshot::Sender<()>>,
    /// The process is dead: whatever of it is still asked does nothing any more.
    is_dead: bool,
    kills: usize,
    /// How many records there were when the process began.
    records_before: usize,
}

impl Kept {
    /// Nothing yet, of a run on this cluster; its writes are sent `twice` or as they are.
    pub(crate) fn new(cluster: ClusterIdentity, twice: bool) -> Self {
        Self { cluster, twice, story: Mutex::default() }
    }

    /// Is each write sent twice in a row?
    pub(crate) fn is_sent_twice(&self) -> bool {
        self.twice
    }

    /// A process begins.
    pub(crate) fn begin(&self, holder: HolderId, kill: Option<Kill>) -> oneshot::Receiver<()> {
        let (sender, killed) = oneshot::channel();
        let mut story = self.story();
        (story.holder, story.proven) = (Some(holder), false);
        story.records_before = story.records;
        (story.kill, story.killed, story.is_dead) = (kill, Some(sender), false);
        killed
    }

    /// The first of the kills that is still to come.
    pub(crate) fn next_kill(&self, kills: &[Kill]) -> Option<Kill> {
        let story = self.story();
        let to_come = |kill: &&Kill| match **kill {
            Kill::Record(number) => number > story.records,
            Kill::Before(number) | Kill::After(number) => number > story.writes.len(),
        };
        kills.iter().find(to_come).copied()
    }

    /// How many records there are, and how many writes were sent.
    pub(crate) fn length(&self) -> (usize, usize) {
        let story = self.story();
        (story.records, story.writes.len())
    }

    pub(crate) fn story(&self) -> MutexGuard<'_, Story> {
        self.story.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn broken(&self) -> Vec<String> {
        self.story().broken.clone()
    }

    /// The bytes of the journal, cut down to its whole lines.
    pub(crate) fn whole_journal(&self, whole: fn(&[u8]) -> &[u8]) -> Vec<u8> {
        let mut story = self.story();
        let length = whole(&story.journal).len();
        story.journal.truncate(length);
        story.journal.clone()
    }

    /// The process read which cluster it is.
    pub(crate) fn has_read(&self, identity: &ClusterIdentity) {
        let proven = identity.is_same_cluster(&self.cluster) && identity.proof().is_ok();
        self.story().proven = proven;
    }

    /// Has the process under way written anything down? One that does not get the lock of the run has not.
    pub(crate) fn has_recorded(&self) -> bool {
        let story = self.story();
        story.records > story.records_before
    }

    /// How many processes were killed.
    pub(crate) fn kills(&self) -> usize {
        self.story().kills
    }

    /// Never returns if the process is dead.
    pub(crate) async fn lives(&self) {
        let is_dead = self.story().is_dead;
        if is_dead {
            pending::<()>().await;
        }
    }

    /// The process is killed here, if this is the moment: the call never returns.
    pub(crate) async fn perhaps_dies(&self, here: Kill) {
        let killed = {
            let mut story = self.story();
            if story.kill.take_if(|kill| *kill == here).is_none() {
                return;
            }
            story.is_dead = true;
            story.kills += 1;
            // Of the record that it would have written next, a part is on the disk.
            story.journal.extend_from_slice(b"{\"seq\":4711,\"at\":\"20");
            story.killed.take()
        };
        if let Some(killed) = killed {
            // Nobody listens any more if the process has just ended.
            let _ = killed.send(());
        }
        pending::<()>().await;
    }
}

#[async_trait]
impl Journal for Kept {
    async fn append(&self, record: &Record) -> Result<(), PortError> {
        self.lives().await;
        let records = {
            let mut story = self.story();
            story.journal.extend_from_slice(to_line(record).as_bytes());
            story.records += 1;
            // Each stage is proven anew.
            story.proven &= !matches!(record.entry, Entry::StageFinished { .. });
            story.records
        };
        self.perhaps_dies(Kill::Record(records)).await;
        Ok(())
    }
}

#[async_trait]
impl Gate for Kept {
    async fn ask(&self, _: &Question) -> Answer {
        Answer::Pause
    }
}

impl EventSink for Kept {
    fn emit(&self, _: &Event) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_read_as_it_is_written() {
        for kill in [Kill::Record(3), Kill::Before(17), Kill::After(1)] {
            assert_eq!(kill.to_string().parse(), Ok(kill));
        }
        assert!("during:3".parse::<Kill>().is_err() && "record".parse::<Kill>().is_err());
    }
}
