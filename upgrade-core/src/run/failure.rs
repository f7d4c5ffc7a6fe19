//! The table of failures: what comes next, for each kind of step and each kind of failure.
//!
//! The machine asks here and decides nothing of the kind by itself. A journal that cannot be written the machine never hears of: that
//! row holds the driver to what it does (`tests/it/journals.rs`). `docs/failures.md` is this table for people; a test holds the two
//! together.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::journal::{Write, WriteAnswer};
use crate::plan::Action;
use crate::policy::Policy;
use crate::ports::{EvictionAnswer, PortError, PortErrorKind};

/// How long what comes before the first write may take. A cluster that cannot be seen or proven in this time is not touched.
const BEGINNING: Duration = Duration::from_secs(300);
/// How long Azure may work on one step. The longest control-plane and pool upgrades reported take hours.
const AZURE: Duration = Duration::from_secs(6 * 3600);

macro_rules! words {
    ($(#[$about:meta])* $name:ident: $($(#[$doc:meta])* $variant:ident = $words:literal, $more:literal;)*) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// Every one, in the order of the page.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            fn texts(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$variant => ($words, $more),)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.texts().0)
            }
        }
    };
}

words! {
    /// A kind of step, with what it leaves when a run holds at it.
    StepKind:
    /// [`Action::UpgradeControlPlane`].
    ControlPlane = "upgrade the control plane",
        "Nothing is cordoned and nothing has moved. The control plane is at one version or the other, or Azure still works on it.";
    /// [`Action::CreateBuffer`].
    CreateBuffer = "create the buffer",
        "Workloads are where they were. The buffer may stand, whole or in part, and costs money until it is deleted.";
    /// [`Action::Prewarm`].
    Prewarm = "pull images ahead",
        "Both pools stand, and workloads are where they were before this step. The pods that pulled are deleted.";
    /// [`Action::Cordon`].
    Cordon = "cordon a pool",
        "Both pools stand; some nodes of the one to be left are cordoned, and every pod on them runs on.";
    /// [`Action::Uncordon`].
    Uncordon = "uncordon a pool, on the way back",
        "Both pools stand; some nodes of the workloads' own pool may still be cordoned.";
    /// [`Action::Move`].
    Move = "move a workload",
        "Both pools stand, and the one to be left is cordoned. Each workload runs on one of them or on both; what was borrowed of it is given back.";
    /// [`Action::Soak`].
    Soak = "watch for a while",
        "The workloads have moved. Both pools stand, and the one they left is cordoned.";
    /// [`Action::Drain`].
    Drain = "drain a pool",
        "The workloads have moved. Both pools stand; the one they left is cordoned, and what is left on it is named.";
    /// [`Action::UpgradePool`].
    UpgradePool = "upgrade a pool",
        "The workloads run on the buffer. The pool's nodes are old, new, or some of each, and Azure may still work on them.";
    /// [`Action::DeleteBuffer`].
    DeleteBuffer = "delete the buffer",
        "The workloads run on the pool. The buffer may still stand, cordoned and empty.";
    /// [`Action::AwaitRancher`].
    AwaitRancher = "wait for Rancher",
        "Azure has the change of the step before. Rancher does not want it yet, and may take it back.";
    /// [`Action::Verify`].
    Verify = "verify at the end",
        "Everything in the plan was done. What is not as it should be is named, with what was expected and what was found.";
}

words! {
    /// A kind of failure, with what a person can do about it.
    Failure:
    /// A write was not allowed.
    Denied = "a write is not allowed (401, 403)",
        "Give the right that the message names (SECURITY.md lists them) or a fresh credential, then `resume`.";
    /// A write was understood and refused.
    Refused = "a write is refused (quota, policy, validation, an admission webhook)",
        "Mend what the message names, then `resume`.";
    /// The object of a write is not there.
    Missing = "the object of a write is gone (404)",
        "Nothing: the step looks whether it is still needed. If it does not end, bring the object back or plan anew.";
    /// Somebody else changed the object, or changes it now.
    Conflict = "somebody else changes the object (409, 412)",
        "Find out who works on the cluster, too; Azure's activity log says.";
    /// Too many calls.
    Throttled = "the service asks for a pause (429)",
        "Nothing.";
    /// The service could not be reached, or failed, and surely did nothing.
    NoService = "the service is away or fails, and surely did nothing",
        "Nothing, unless it stays away.";
    /// The answer to a write was lost.
    AnswerLost = "the answer to a write is lost",
        "Nothing: whether it was done is read from the cluster or from Azure, and it is not repeated before that.";
    /// A budget does not allow an eviction now.
    BudgetDenies = "a budget does not allow an eviction now (429)",
        "Nothing, unless it lasts: then bring the workload that the budget guards to strength.";
    /// No eviction of the pod can ever be allowed.
    NeverEvicted = "a pod can never be evicted (two budgets select it)",
        "Let one budget select the pod, then `resume`.";
    /// A pod that pulls images is not admitted.
    NotAdmitted = "a pod that pulls images is not admitted",
        "Nothing: images are pulled when pods land. `prewarm = false` does without such pods.";
    /// A read failed for a passing reason.
    LookFailed = "Azure, Rancher or the identity cannot be read now",
        "Nothing, unless it lasts.";
    /// A read is not allowed, or refused.
    LookDenied = "Azure, Rancher or the identity may not be read",
        "Give the right that the message names or a fresh credential, then `resume`.";
    /// The watch of the cluster was cut.
    ContactLost = "the watch of the cluster is cut",
        "Nothing: it is taken up again.";
    /// An operation in Azure failed.
    OperationFailed = "an operation in Azure fails",
        "Mend what Azure names, then `resume`: the step is tried once more.";
    /// The buffer's creation failed.
    BufferFailed = "the buffer comes up Failed or Canceled in Azure",
        "Mend what Azure names, then `resume`: a buffer of this run that is empty is deleted and made anew. If pods are on it, delete them, or reverse.";
    /// Azure lacks what a buffer needs.
    NoRoom = "a quota, a size or addresses are not enough for a buffer",
        "Ask Azure for more, or make room; nothing was changed. Then `resume`.";
    /// It may not be read whether there is room.
    RoomUnseen = "it may not be read whether Azure has room for the buffers",
        "Nothing, or give the right that the message names.";
    /// A pool is not the run's, or is gone.
    PoolForeign = "a pool is gone, is being deleted, or is not this run's",
        "Find out who changes the pools. Plan anew if the pool is not coming back.";
    /// The buffer was taken away while workloads were on it.
    BufferLost = "the buffer is taken away or breaks while it is needed",
        "Pods find room on the nodes that were uncordoned. Find out who did it; delete what is left of the buffer, and plan anew.";
    /// Somebody else has changed the control plane or a pool.
    Changed = "somebody upgrades, scales or deletes in Azure what the plan was made for",
        "Bring it back to what the message says, then `resume`; or delete the buffer, if it is empty, and plan anew.";
    /// An image cannot be pulled.
    ImageMissing = "an image cannot be pulled",
        "Push the image again, or give the nodes access to its registry, then `resume`.";
    /// A workload cannot leave without a person.
    CannotLeave = "a workload cannot leave without a person",
        "Do what the message says of the workload, then `resume`.";
    /// Rancher decides about the cluster, too, and does not agree.
    SecondWriter = "Rancher, as a second writer, does not want what Azure has",
        "See in Rancher what the message names; `rancher_managed` says whether Drover may work beside it.";
    /// Nothing has come of waiting.
    TimedOut = "what a step waits for does not come",
        "Mend what the message names, or raise `move_timeout` and plan anew; then `resume`.";
    /// Azure, kubelets and Kubernetes do not agree at the end.
    Untrue = "at the end something is not as it should be",
        "Mend what the message names; `resume` looks once more.";
    /// Azure has worked on a step for very long.
    AzureTooLong = "Azure does not come to an end",
        "Look at the operation in Azure. `resume` goes on waiting for it.";
    /// The cluster cannot be seen.
    NotSeen = "the cluster cannot be listed when a run begins",
        "See that Rancher reaches the cluster, then `resume`.";
    /// The identity is not proven.
    NotProven = "too little can be read to prove which cluster it is",
        "Follow the remedy that the message names, then `resume`.";
    /// It is another cluster.
    OtherCluster = "it is another cluster than the plan's",
        "Correct `drover.toml`. If the cluster was made anew, plan anew.";
    /// Somebody else holds the lock.
    LockTaken = "somebody else holds the lock",
        "Wait for the run that is named to end.";
    /// The lock cannot be taken.
    LockNotTaken = "the lock cannot be taken",
        "See that the Lease can be written, then `resume`.";
    /// The lock was lost.
    LockLost = "the lock is lost while a run works",
        "Find out who has it now. `resume` takes it again when it is free.";
    /// A gap that nobody has accepted.
    Gap = "a Service has no ready endpoint, and nobody has accepted that",
        "Mend the workload, or accept the gap: `resume --approve` with the question's id.";
    /// A probe is not green before a stage.
    ProbeNotGreen = "a probe of yours is not green before a stage",
        "Mend what it watches, or go on without it: `resume --approve` with the question's id.";
    /// A soak has come to its limit, and not all was well.
    SoakTooLong = "a soak comes to `soak_limit` and not all was well",
        "Mend what the question names, or go on all the same: `resume --approve` with its id.";
    /// Somebody took a cordon away.
    CordonUndone = "somebody takes a cordon away",
        "Nothing.";
    /// Somebody took a restart out of a template.
    RestartUndone = "somebody takes a restart out of a template",
        "Let GitOps ignore the annotation, and moves are faster.";
    /// Somebody set what was borrowed.
    LoanOverwritten = "somebody sets what was borrowed of a workload",
        "Nothing.";
    /// The journal cannot be written.
    JournalLost = "the journal cannot be written",
        "Make room, or give access, where the journal is; then `resume`.";
    /// The machine and the journal's rules disagree.
    Defect = "a defect of Drover (a record that its own journal refuses)",
        "Report it, with the journal.";
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Next {
    /// It is tried again, after pauses that double to a minute or are as long as the service asks; at the limit the run holds.
    Retry(Limit),
    /// What is so is observed, and the step decides anew; at the limit the run holds.
    Observe(Limit),
    /// It is told, and the run goes on.
    GoOn,
    /// A person is asked; where nobody is there, the run pauses.
    Ask,
    /// The run holds: nothing more is started, what can be given back is, capacity stays.
    Hold,
    /// The run ends without another write.
    Stop,
}

/// What a run does where the table says that it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// It holds, and goes on from there when it is resumed.
    #[default]
    Hold,
    /// It brings the workloads in hand back to the nodes that they came from and takes the buffer away, while those nodes stand.
    Reverse,
}

/// For how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Before the first write.
    Beginning,
    /// The policy's `move_timeout`.
    Policy,
    /// What Azure may take for one step.
    Azure,
    /// As long as it takes.
    None,
}

impl Limit {
    /// How long it is.
    pub fn lasts(self, policy: &Policy) -> Duration {
        match self {
            Self::Beginning => BEGINNING,
            Self::Policy => policy.move_timeout,
            Self::Azure => AZURE,
            Self::None => Duration::MAX,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str(&crate::span::show(BEGINNING)),
            Self::Policy => f.write_str("`move_timeout`"),
            Self::Azure => f.write_str(&crate::span::show(AZURE)),
            Self::None => f.write_str("for as long as it takes"),
        }
    }
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry(Limit::None) => f.write_str("tries again, with pauses"),
            Self::Retry(limit) => write!(f, "tries again, with pauses, until {limit}; then holds"),
            Self::Observe(limit) => write!(f, "looks and decides anew, until {limit}; then holds"),
            Self::GoOn => f.write_str("says so and goes on"),
            Self::Ask => f.write_str("asks; pauses if nobody is there"),
            Self::Hold => f.write_str("holds"),
            Self::Stop => f.write_str("stops without another write"),
        }
    }
}

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// What comes next.
    pub next: Next,
    /// Why.
    pub why: &'static str,
}

impl StepKind {
    /// The kind of a step.
    pub fn of(action: &Action) -> Self {
        match action {
            Action::UpgradeControlPlane { .. } => Self::ControlPlane,
            Action::CreateBuffer { .. } => Self::CreateBuffer,
            Action::Prewarm { .. } => Self::Prewarm,
            Action::Cordon { .. } => Self::Cordon,
            Action::Uncordon { .. } => Self::Uncordon,
            Action::Move { .. } => Self::Move,
            Action::Soak { .. } => Self::Soak,
            Action::Drain { .. } => Self::Drain,
            Action::UpgradePool { .. } => Self::UpgradePool,
            Action::DeleteBuffer { .. } => Self::DeleteBuffer,
            Action::AwaitRancher { .. } => Self::AwaitRancher,
            Action::Verify { .. } => Self::Verify,
        }
    }

    /// Is it Azure that carries it out?
    pub fn is_in_azure(self) -> bool {
        match self {
            Self::ControlPlane | Self::CreateBuffer | Self::UpgradePool | Self::DeleteBuffer => true,
            Self::Prewarm
            | Self::Cordon
            | Self::Uncordon
            | Self::Move
            | Self::Soak
            | Self::Drain
            | Self::AwaitRancher
            | Self::Verify => false,
        }
    }

    /// How the cluster is when a run holds at such a step.
    pub fn leaves(self) -> &'static str {
        self.texts().1
    }

    fn limit(self) -> Limit {
        if self.is_in_azure() { Limit::Azure } else { Limit::Policy }
    }
}

impl Failure {
    /// What went wrong with a write; `None` if it was accepted.
    pub(super) fn of_answer(write: &Write, answer: &WriteAnswer) -> Option<Self> {
        match answer {
            WriteAnswer::Done | WriteAnswer::Accepted { .. } => None,
            WriteAnswer::Eviction { eviction } => match eviction {
                EvictionAnswer::Accepted | EvictionAnswer::Gone => None,
                EvictionAnswer::Refused { .. } => Some(Self::BudgetDenies),
                EvictionAnswer::Misconfigured { .. } => Some(Self::NeverEvicted),
            },
            WriteAnswer::Failed { kind, .. }
                if matches!(write, Write::CreatePrewarmPod { .. }) && !kind.is_retryable() =>
            {
                Some(Self::NotAdmitted)
            }
            WriteAnswer::Failed { kind, .. } => Some(match kind {
                PortErrorKind::Unauthorized | PortErrorKind::Forbidden => Self::Denied,
                PortErrorKind::NotFound => Self::Missing,
                PortErrorKind::Conflict => Self::Conflict,
                PortErrorKind::Throttled => Self::Throttled,
                PortErrorKind::Unreachable | PortErrorKind::Internal => Self::NoService,
                PortErrorKind::Rejected => Self::Refused,
            }),
            WriteAnswer::Unknown { .. } => Some(Self::AnswerLost),
        }
    }

    /// What went wrong with a read.
    pub(super) fn of_look(error: &PortError) -> Self {
        if error.is_retryable() { Self::LookFailed } else { Self::LookDenied }
    }

    /// What a person can do about it.
    pub fn remedy(self) -> &'static str {
        self.texts().1
    }
}

/// The table: what comes next when this goes wrong, at a step of this kind or between steps, and why.
pub fn response(step: Option<StepKind>, failure: Failure) -> Response {
    let limit = step.map_or(Limit::Policy, StepKind::limit);
    let (next, why) = match failure {
        Failure::Denied => {
            (Next::Hold, "the same write would be denied again, and only a person gives rights")
        }
        Failure::Refused => (Next::Hold, "the same write would be refused again"),
        Failure::Missing => (Next::Observe(limit), "what is gone may not be needed any more"),
        Failure::Conflict => {
            (Next::Retry(limit), "the other one comes to an end; what is so then is looked at first")
        }
        Failure::Throttled => (Next::Retry(limit), "the service has said when"),
        Failure::NoService => (Next::Retry(limit), "services come back"),
        Failure::AnswerLost => (Next::Observe(limit), "doing it twice may do harm, looking never does"),
        Failure::BudgetDenies => (Next::Retry(limit), "a budget is right, and it gets room again"),
        Failure::NeverEvicted => (Next::Hold, "Kubernetes will never evict the pod"),
        Failure::NotAdmitted => (Next::GoOn, "pulling ahead saves time; nothing depends on it"),
        Failure::LookFailed => match step {
            // The identity is read between steps: nothing may be written for it.
            None => (Next::Retry(Limit::Beginning), "nothing is written meanwhile"),
            Some(_) => (
                Next::Retry(Limit::None),
                "nothing is decided on what is not seen; the step's own limit counts",
            ),
        },
        Failure::LookDenied => (Next::Hold, "what may not be read cannot be judged"),
        Failure::ContactLost => {
            (Next::Retry(Limit::None), "watches are cut now and then; the step's own limit counts")
        }
        Failure::OperationFailed => {
            (Next::Hold, "Azure has tried for long; blind repetition only costs time")
        }
        Failure::BufferFailed => (Next::Hold, "a lack of room, quota or addresses does not pass by itself"),
        Failure::NoRoom => (Next::Hold, "after the control plane's upgrade there is no way back"),
        Failure::RoomUnseen => (Next::GoOn, "Azure itself looks when the buffer is made"),
        Failure::PoolForeign => (Next::Hold, "only what the run made is changed or deleted"),
        Failure::BufferLost => {
            (Next::Hold, "somebody works against the run: first the pods' old nodes take them again")
        }
        Failure::Changed => (Next::Hold, "the plan was made for another cluster than this has become"),
        Failure::ImageMissing => (Next::Hold, "its pods would not start there; nothing is cordoned yet"),
        Failure::CannotLeave => (Next::Hold, "every way that is left makes a gap that nobody has accepted"),
        Failure::SecondWriter => (Next::Hold, "it would take the next change back"),
        Failure::TimedOut => (Next::Hold, "what has not come by then needs a person"),
        Failure::Untrue => (
            Next::Hold,
            "success is not declared on one witness's word, and nothing is left that is not done",
        ),
        Failure::AzureTooLong => {
            (Next::Hold, "the operation is not stopped, and a later process waits for it again")
        }
        Failure::NotSeen => (Next::Hold, "a cluster that is not seen is not touched"),
        Failure::NotProven => (
            Next::Retry(Limit::Beginning),
            "a new node gets its id, a right takes effect; nothing is written meanwhile",
        ),
        Failure::OtherCluster => (Next::Stop, "whatever was written would go to the wrong cluster"),
        Failure::LockTaken => (Next::Stop, "two runs would undo each other's work"),
        Failure::LockNotTaken => (Next::Hold, "without the lock nothing is written"),
        Failure::LockLost => (Next::Stop, "somebody else may be at work"),
        Failure::Gap => (Next::Ask, "people wait; whether going on makes it better is for a person to say"),
        Failure::ProbeNotGreen => (Next::Ask, "the stage has not begun, and nothing is lost by waiting"),
        Failure::SoakTooLong => (Next::Ask, "evidence is against going on, and a person may know more"),
        Failure::CordonUndone => {
            (Next::GoOn, "the node is cordoned again, or it would take the pods that leave the others")
        }
        Failure::RestartUndone => {
            (Next::GoOn, "a second restart would repeat the fight: what is left is evicted")
        }
        Failure::LoanOverwritten => {
            (Next::GoOn, "a later change of somebody else is theirs; it stays, and nothing is borrowed again")
        }
        Failure::JournalLost => (Next::Stop, "nothing is done that is not in the journal"),
        Failure::Defect => (Next::Stop, "a run that does not understand itself must not write"),
    };
    Response { next, why }
}

#[cfg(test)]
mod tests;
