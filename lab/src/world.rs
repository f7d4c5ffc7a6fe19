//! The world: everything there is, and the queue of what happens next.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use upgrade_core::inventory::DeprecatedApi;
use upgrade_core::view::View;

use crate::actors::{self, ActorWake, Actors};
use crate::azure::{self, Azure, AzureWake};
use crate::faults::{self, FaultWake, Weather};
use crate::kube::{Access, Kube, Task};
use crate::meter::Meter;
use crate::rancher::{self, Rancher, RancherWake};
use crate::scenario::Scenario;
use crate::site::Site;
use crate::store::Store;
use crate::timing::{Timing, TimingModel};

/// How long a new world is given to come to rest. What is due later (the end of a long Job) stays due.
const WARM_UP: SignedDuration = SignedDuration::from_mins(15);

/// Something that will happen.
#[derive(Clone, Debug)]
pub(crate) enum Wake {
    /// To Kubernetes.
    Kube(Task),
    /// To Azure.
    Azure(AzureWake),
    /// To Rancher.
    Rancher(RancherWake),
    /// To somebody who works on the cluster.
    Actor(ActorWake),
    /// Something goes wrong.
    Fault(FaultWake),
}

/// A simulated cluster with its Kubernetes, Azure and Rancher.
///
/// Whatever happens by itself is on one queue, in the order of time and, at the same moment, of being scheduled. Controllers
/// learn of a write when it has been [dispatched](World::dispatch), which the [`Lab`](crate::Lab) does after every call.
pub struct World {
    /// The API server's memory.
    pub store: Store,
    /// Who may do what in the cluster.
    pub access: Access,
    /// The deprecated APIs that somebody has requested, as the API server counts them.
    pub deprecated_apis: Vec<DeprecatedApi>,
    pub(crate) azure: Azure,
    pub(crate) rancher: Rancher,
    pub(crate) kube: Kube,
    pub(crate) actors: Actors,
    pub(crate) weather: Weather,
    pub(crate) meter: Meter,
    pub(crate) site: Site,
    /// How long things take here.
    pub(crate) timing: TimingModel,
    pub(crate) rng: fastrand::Rng,
    queue: BTreeMap<(Timestamp, u64), Wake>,
    scheduled: u64,
    happened: u64,
    touched: u64,
}

impl World {
    /// The world of a scenario at its first moment; nothing has happened yet.
    pub(crate) fn new(scenario: &Scenario, seed: u64) -> Self {
        let mut world = Self::empty(scenario, seed);
        scenario.build(&mut world);
        world.dispatch();
        world
    }

    /// The same without machines and objects.
    pub(crate) fn empty(scenario: &Scenario, seed: u64) -> Self {
        Self::empty_beside(scenario, seed, 0)
    }

    /// The same, with other names and uids than the world of this seed has: for one that takes over objects of another world,
    /// where a uid must not be given twice. `others` stands for the uids that are taken.
    pub(crate) fn empty_beside(scenario: &Scenario, seed: u64, others: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let store = Store::new(scenario.start, rng.u64(..) ^ others);
        let mut world = Self {
            store,
            access: Access::default(),
            deprecated_apis: Vec::new(),
            azure: Azure::new(scenario),
            rancher: Rancher::new(scenario),
            kube: Kube::new(scenario.cluster.version),
            actors: Actors::default(),
            weather: Weather::default(),
            meter: Meter::default(),
            site: Site::of(scenario),
            timing: scenario.timing.clone(),
            rng,
            queue: BTreeMap::new(),
            scheduled: 0,
            happened: 0,
            touched: 0,
        };
        scenario.found(&mut world);
        world.begin_rancher(&scenario.deeds);
        world
    }

    /// The virtual time.
    pub fn now(&self) -> Timestamp {
        self.store.now
    }

    /// Counts every change of anything.
    pub fn revision(&self) -> u64 {
        self.store.revision() + self.touched
    }

    /// The cluster as its ports show it, at this moment and in any weather.
    pub fn view(&self) -> &View {
        &self.kube.view
    }

    /// The cluster in Azure with its pools as a GET shows them, eTags included, in any weather.
    pub fn shown_by_azure(&self) -> Value {
        self.azure.cluster()
    }

    /// Tells the watchers that something outside the store has changed.
    pub(crate) fn touch(&mut self) {
        self.touched += 1;
    }

    /// Puts something on the queue.
    pub(crate) fn schedule(&mut self, after: Duration, what: Wake) {
        self.scheduled += 1;
        self.queue.insert((self.now() + after, self.scheduled), what);
    }

    /// How many things have happened by themselves so far: controllers' rounds, kubelets' steps, looks at an operation.
    pub fn events(&self) -> u64 {
        self.happened
    }

    /// When the next thing happens by itself.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// A duration between two bounds in milliseconds, drawn from the seed.
    pub(crate) fn between(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_millis(self.rng.u64(least_ms..=most_ms))
    }

    /// How long something takes this time.
    pub(crate) fn draw(&mut self, timing: Timing) -> Duration {
        Duration::from_millis(self.draw_number(timing))
    }

    /// A number of the timing model, drawn from the seed: a size or a speed.
    pub(crate) fn draw_number(&mut self, timing: Timing) -> u64 {
        self.timing[timing].draw(&mut self.rng)
    }

    /// Lets time pass up to `until` and carries out what is due on the way.
    pub(crate) fn advance_to(&mut self, until: Timestamp) {
        while let Some(entry) = self.queue.first_entry() {
            let (at, _) = *entry.key();
            if at > until {
                break;
            }
            let wake = entry.remove();
            self.happened += 1;
            self.store.now = self.store.now.max(at);
            match wake {
                Wake::Kube(task) => crate::kube::on_task(self, task),
                Wake::Azure(wake) => azure::on_wake(self, wake),
                Wake::Rancher(wake) => rancher::on_wake(self, wake),
                Wake::Actor(wake) => actors::on_wake(self, wake),
                Wake::Fault(wake) => faults::on_wake(self, wake),
            }
            self.dispatch();
        }
        self.store.now = self.store.now.max(until);
    }

    /// Lets the world come to rest: its workloads start and its controllers have nothing more to do.
    pub(crate) fn warm_up(&mut self) {
        self.settle(WARM_UP);
    }

    /// Carries out what happens within a time, up to its last event.
    pub(crate) fn settle(&mut self, within: SignedDuration) {
        let limit = self.now() + within;
        while let Some(due) = self.next_due().filter(|due| *due <= limit) {
            self.advance_to(due);
        }
    }

    /// Shows the writes since the last time to everybody who acts on them.
    pub(crate) fn dispatch(&mut self) {
        crate::kube::dispatch(self);
        self.meter.pods(self.store.count::<Pod>());
    }
}
