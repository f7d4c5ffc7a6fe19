//! Faults as data.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use upgrade_core::model::{PoolName, Taint};
use upgrade_core::span::show;

use super::span;
use crate::rancher::RancherDeed;

/// Something that goes wrong, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Pair", into = "Pair")]
pub struct Fault {
    when: When,
    what: What,
}

/// As it is written down.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    when: When,
    what: What,
}

/// When a fault befalls the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum When {
    /// So long after the handover. What concerns one call concerns the next write then.
    After(#[serde(with = "span")] Duration),
    /// At a write of a run; what concerns one call concerns this one.
    Call {
        /// Of which kind.
        write: WriteKind,
        /// The how manieth of its kind since the handover, from 1. Trials do not count.
        nth: u32,
    },
    /// As soon as so many records of the run's journal are durable.
    Record(usize),
}

/// The writes that a run makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WriteKind {
    /// A node is cordoned, uncordoned, taken out of load balancers or let back in.
    Cordon,
    /// A workload is restarted.
    Restart,
    /// Settings of a workload are borrowed or given back.
    Loan,
    /// A pod is evicted.
    Evict,
    /// A pod that pulls images is created or deleted.
    Prewarm,
    /// A lease is created or written over.
    Lease,
    /// The control plane's upgrade is begun.
    UpgradeControlPlane,
    /// A pool's creation is begun.
    CreatePool,
    /// A pool's upgrade is begun.
    UpgradePool,
    /// A pool's deletion is begun.
    DeletePool,
}

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// The Rancher server itself.
    Rancher,
    /// The API server behind Rancher's proxy.
    Kubernetes,
    /// Azure Resource Manager.
    Azure,
}

/// On which side of its effect a call goes wrong. The caller cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Nothing was done.
    NotDone,
    /// It was done.
    Done,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    /// A write is answered with HTTP 500.
    Error(Effect),
    /// The connection breaks in a write.
    Cut(Effect),
    /// Calls are refused with 429 for a while: by the API server's fairness, or by ARM, which says how long. Rancher itself has
    /// no such limit.
    Throttled {
        /// By whom.
        by: Throttling,
        /// For how long.
        #[serde(rename = "for", with = "span")]
        lasts: Duration,
    },
    /// Every open watch breaks.
    WatchesCut,
    /// Every open watch is told that its place is too old (410), as after a compaction.
    WatchesExpired,
    /// Rancher's agent has lost its tunnel, for so long: nobody reaches the API server, and open watches break.
    AgentLost(#[serde(with = "span")] Duration),
    /// A token has expired; after so long there is a new one in its place.
    TokenExpired {
        /// Whose. That of Rancher opens the API server, too.
        of: Issuer,
        /// For how long.
        #[serde(rename = "for", with = "span")]
        lasts: Duration,
    },
    /// The next machines of a pool that boot, new ones and reimaged ones, never register a node.
    NeverJoin {
        /// The pool.
        pool: PoolName,
        /// How many.
        machines: u32,
    },
    /// From now on the machines of a pool take so many times as long to boot.
    SlowBoot {
        /// The pool.
        pool: PoolName,
        /// How many times.
        factor: u32,
    },
    /// From now on the machines of a pool that boot register with one more taint, which Azure knows nothing of.
    Tainted {
        /// The pool.
        pool: PoolName,
        /// The taint.
        taint: Taint,
    },
    /// Somebody deletes an image from the registry.
    ImageDeleted(String),
    /// From now on the containers of an image that start crash after so long, each time. Those that run already go on.
    ImageCrashes {
        /// The image.
        image: String,
        /// After how long.
        #[serde(with = "span")]
        after: Duration,
    },
    /// The next operation that begins in Azure does everything but its last act and fails.
    OperationFails {
        /// Azure's code.
        code: String,
        /// Azure's words.
        message: String,
    },
    /// Somebody does something in Rancher that the run does not expect.
    InRancher(RancherDeed),
    /// The name leads to another cluster: what answers there from now on has another `kube-system`.
    AnotherCluster,
    /// The process of the run is killed. Whoever runs the plan in the lab does that: see [`Fault::crash`].
    Crash,
}

/// Who refuses callers that call too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Throttling {
    /// The API server.
    Kubernetes,
    /// ARM.
    Azure,
}

/// Who makes tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Issuer {
    /// Rancher.
    Rancher,
    /// Azure.
    Azure,
}

/// A fault that cannot befall: the two halves do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// A record of the journal is an occasion for a crash alone.
    #[error("a record of the journal is an occasion for a crash alone; the world does not see the journal")]
    Record,
    /// A crash happens at a record of the journal.
    #[error("a crash happens at a record of the journal, as in `when: {{ record: 40 }}`")]
    Crash,
}

impl Fault {
    /// A fault, if its halves fit: a crash happens at a record of the journal, and nothing else does.
    pub fn new(when: When, what: What) -> Result<Self, Misfit> {
        match (when, &what) {
            (When::Record(_), What::Crash) => {}
            (When::Record(_), _) => return Err(Misfit::Record),
            (_, What::Crash) => return Err(Misfit::Crash),
            _ => {}
        }
        Ok(Self { when, what })
    }

    /// When.
    pub fn when(&self) -> When {
        self.when
    }

    /// What.
    pub fn what(&self) -> &What {
        &self.what
    }

    /// How many records of the journal are durable when the run's process is killed, if this is a crash. The harness that runs
    /// the plan carries it out: the call of the journal never returns, and the run is resumed.
    pub fn crash(&self) -> Option<usize> {
        match self.when {
            When::Record(number) => Some(number),
            When::After(_) | When::Call { .. } => None,
        }
    }
}

impl TryFrom<Pair> for Fault {
    type Error = Misfit;

    fn try_from(pair: Pair) -> Result<Self, Misfit> {
        Self::new(pair.when, pair.what)
    }
}

impl From<Fault> for Pair {
    fn from(fault: Fault) -> Self {
        Self { when: fault.when, what: fault.what }
    }
}

impl WriteKind {
    /// Every kind.
    pub(super) const ALL: [Self; 10] = [
        Self::Cordon,
        Self::Restart,
        Self::Loan,
        Self::Evict,
        Self::Prewarm,
        Self::Lease,
        Self::UpgradeControlPlane,
        Self::CreatePool,
        Self::UpgradePool,
        Self::DeletePool,
    ];

    /// Whom it is sent to.
    pub(crate) fn service(self) -> Service {
        match self {
            Self::Cordon | Self::Restart | Self::Loan | Self::Evict | Self::Prewarm | Self::Lease => {
                Service::Kubernetes
            }
            Self::UpgradeControlPlane | Self::CreatePool | Self::UpgradePool | Self::DeletePool => {
                Service::Azure
            }
        }
    }
}

impl From<Throttling> for Service {
    fn from(by: Throttling) -> Self {
        match by {
            Throttling::Kubernetes => Self::Kubernetes,
            Throttling::Azure => Self::Azure,
        }
    }
}

impl From<Issuer> for Service {
    fn from(issuer: Issuer) -> Self {
        match issuer {
            Issuer::Rancher => Self::Rancher,
            Issuer::Azure => Self::Azure,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rancher => "Rancher",
            Self::Kubernetes => "Kubernetes",
            Self::Azure => "Azure",
        })
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = |effect: &Effect| match effect {
            Effect::NotDone => "not carried out",
            Effect::Done => "carried out all the same",
        };
        match self {
            Self::Error(effect) => write!(f, "a write is answered with 500, {}", done(effect)),
            Self::Cut(effect) => write!(f, "the connection breaks in a write, {}", done(effect)),
            Self::Throttled { by, lasts, .. } => {
                write!(f, "{} answers 429 for {}", Service::from(*by), show(*lasts))
            }
            Self::WatchesCut => f.write_str("every open watch breaks"),
            Self::WatchesExpired => f.write_str("every open watch is too old to go on"),
            Self::AgentLost(lasts) => write!(f, "Rancher's agent is disconnected for {}", show(*lasts)),
            Self::TokenExpired { of, lasts } => {
                write!(f, "the token of {} is not accepted for {}", Service::from(*of), show(*lasts))
            }
            Self::NeverJoin { pool, machines } => {
                write!(f, "machines of pool {pool} that boot never join, the next {machines}")
            }
            Self::SlowBoot { pool, factor } => {
                write!(f, "machines of pool {pool} take {factor} times as long to boot")
            }
            Self::Tainted { pool, taint } => {
                write!(f, "machines of pool {pool} that boot come back with taint {taint}")
            }
            Self::ImageDeleted(image) => write!(f, "image {image} is deleted from the registry"),
            Self::ImageCrashes { image, after } => {
                write!(f, "containers of {image} that start crash after {}", show(*after))
            }
            Self::OperationFails { code, .. } => write!(f, "the next operation in Azure fails with {code}"),
            Self::InRancher(deed) => write!(f, "somebody {deed} in Rancher"),
            Self::AnotherCluster => f.write_str("the name leads to another cluster"),
            Self::Crash => f.write_str("the process of the run is killed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_written_as_people_would_say_them_and_read_back() {
        let written = [
            r#"{"when":{"call":{"write":"evict","nth":3}},"what":{"cut":"done"}}"#,
            r#"{"when":{"after":"20m"},"what":{"agent-lost":"1m 30s"}}"#,
            r#"{"when":{"after":"1h"},"what":{"throttled":{"by":"azure","for":"2m"}}}"#,
            r#"{"when":{"after":"0s"},"what":{"never-join":{"pool":"userbf","machines":1}}}"#,
            r#"{"when":{"record":40},"what":"crash"}"#,
        ];
        for text in written {
            let fault: Fault = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&fault).unwrap(), text);
        }
    }

    #[test]
    fn what_cannot_befall_is_refused_with_the_reason() {
        let refused = |text: &str| serde_json::from_str::<Fault>(text).unwrap_err().to_string();
        let crash = refused(r#"{"when":{"after":"20m"},"what":"crash"}"#);
        assert!(crash.contains("`when: { record: 40 }`"), "{crash}");
        let record = refused(r#"{"when":{"record":4},"what":"watches-cut"}"#);
        assert!(record.contains("does not see the journal"), "{record}");
    }
}
