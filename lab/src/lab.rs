//! The handle to a world, and the executor in virtual time.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake as WakeTask, Waker};
use std::time::Duration;

use jiff::Timestamp;

use crate::scenario::Scenario;
use crate::world::World;

/// How long a future may take in virtual time before it counts as stuck.
const HORIZON: Duration = Duration::from_secs(14 * 24 * 3600);

/// A handle to one [`World`]; clones share it.
#[derive(Clone)]
pub struct Lab(Arc<Mutex<Shared>>);

struct Shared {
    world: World,
    watchers: Vec<Waker>,
    /// Whoever paces the world in real time, waiting for the next thing that is due.
    pacers: Vec<Waker>,
    sleepers: BTreeMap<(Timestamp, u64), Waker>,
    slept: u64,
}

/// A future that cannot end: nothing is scheduled that could wake it, or it has waited for two weeks of virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing that will happen after {at} can end the wait")]
pub struct Stuck {
    /// The virtual time at which this was found.
    pub at: Timestamp,
}

struct Woken(AtomicBool);

impl WakeTask for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Lab {
    /// A world of the scenario, settled: its workloads run and its controllers are at rest.
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let mut world = World::new(scenario, seed);
        world.warm_up();
        world.begin_actors(&scenario.actors);
        world.begin_faults(&scenario.faults);
        Self::of_world(world)
    }

    pub(crate) fn of_world(world: World) -> Self {
        let (watchers, pacers, sleepers) = (Vec::new(), Vec::new(), BTreeMap::new());
        let shared = Shared { world, watchers, pacers, sleepers, slept: 0 };
        Self(Arc::new(Mutex::new(shared)))
    }

    fn shared<T>(&self, f: impl FnOnce(&mut Shared) -> T) -> T {
        // A panic inside a world leaves it as it was between two statements; the tests that look at it want to see that.
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The virtual time.
    pub fn now(&self) -> Timestamp {
        self.shared(|shared| shared.world.now())
    }

    /// Looks at the world, or changes it. Controllers learn of the changes, and watchers are woken afterwards.
    ///
    /// The world is locked meanwhile: do not call the lab from inside.
    pub fn with<T>(&self, f: impl FnOnce(&mut World) -> T) -> T {
        let (result, wakers) = self.shared(|shared| {
            let world = &mut shared.world;
            let (revision, due) = (world.revision(), world.next_due());
            let result = f(world);
            world.dispatch();
            let mut wakers = Vec::new();
            if world.revision() != revision {
                wakers.append(&mut shared.watchers);
            }
            if world.next_due() != due {
                wakers.append(&mut shared.pacers);
            }
            (result, wakers)
        });
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// Lets virtual time pass up to `until` and carries out what is due; returns when the next thing is due. For a world that
    /// is paced by a real clock.
    pub fn advance_to(&self, until: Timestamp) -> Option<Timestamp> {
        let (next, wakers) = self.shared(|shared| {
            let revision = shared.world.revision();
            shared.world.advance_to(until);
            let mut wakers = shared.sleepers_due();
            if shared.world.revision() != revision {
                wakers.append(&mut shared.watchers);
            }
            (shared.next_due(), wakers)
        });
        wakers.into_iter().for_each(Waker::wake);
        next
    }

    /// Lets time pass until the next thing happens. Says whether there was one.
    fn advance(&self) -> bool {
        let Some(next) = self.shared(|shared| shared.next_due()) else { return false };
        self.advance_to(next);
        true
    }

    /// Runs a future on this thread in virtual time: whenever it waits, time passes to the next thing that happens.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Stuck> {
        let mut future = pin!(future);
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let horizon = self.now() + HORIZON;
        loop {
            while woken.0.swap(false, Ordering::SeqCst) {
                if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                    return Ok(output);
                }
            }
            if self.now() > horizon || !self.advance() {
                return Err(Stuck { at: self.now() });
            }
        }
    }

    /// Resolves with the world's revision as soon as it is beyond `seen`. Nothing is polled.
    pub fn changed_since(&self, seen: u64) -> impl Future<Output = u64> + Send + use<> {
        let lab = self.clone();
        poll_fn(move |context| {
            lab.shared(|shared| {
                let revision = shared.world.revision();
                if revision > seen {
                    return Poll::Ready(revision);
                }
                if !shared.watchers.iter().any(|waker| waker.will_wake(context.waker())) {
                    shared.watchers.push(context.waker().clone());
                }
                Poll::Pending
            })
        })
    }

    #[cfg(feature = "http")]
    /// Resolves as soon as something is due before `planned`: a thing that the world does, or the end of somebody's sleep.
    pub(crate) fn due_before(&self, planned: Option<Timestamp>) -> impl Future<Output = ()> + Send + use<> {
        let lab = self.clone();
        poll_fn(move |context| {
            lab.shared(|shared| {
                let earlier = match (shared.next_due(), planned) {
                    (Some(due), Some(planned)) => due < planned,
                    (due, None) => due.is_some(),
                    (None, Some(_)) => false,
                };
                if earlier {
                    return Poll::Ready(());
                }
                if !shared.pacers.iter().any(|waker| waker.will_wake(context.waker())) {
                    shared.pacers.push(context.waker().clone());
                }
                Poll::Pending
            })
        })
    }

    /// Resolves at `until`, in virtual time.
    pub(crate) fn sleep_until(&self, until: Timestamp) -> impl Future<Output = ()> + Send + use<> {
        Sleep { lab: self.clone(), until, place: None }
    }
}

impl Shared {
    fn next_due(&self) -> Option<Timestamp> {
        let sleeper = self.sleepers.first_key_value().map(|((at, _), _)| *at);
        self.world.next_due().into_iter().chain(sleeper).min()
    }

    fn sleepers_due(&mut self) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some(entry) = self.sleepers.first_entry() {
            if entry.key().0 > self.world.now() {
                break;
            }
            due.push(entry.remove());
        }
        due
    }
}

/// A sleep; dropped, it leaves no trace that time would stop at.
struct Sleep {
    lab: Lab,
    until: Timestamp,
    place: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (until, place) = (self.until, self.place);
        let lab = self.lab.clone();
        let (poll, pacers) = lab.shared(|shared| {
            if shared.world.now() >= until {
                return (Poll::Ready(()), Vec::new());
            }
            let place = place.unwrap_or_else(|| {
                shared.slept += 1;
                shared.slept
            });
            self.place = Some(place);
            let due = shared.next_due();
            shared.sleepers.insert((until, place), context.waker().clone());
            let first = due.is_none_or(|due| until < due);
            (Poll::Pending, if first { std::mem::take(&mut shared.pacers) } else { Vec::new() })
        });
        pacers.into_iter().for_each(Waker::wake);
        poll
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let until = self.until;
            self.lab.shared(|shared| shared.sleepers.remove(&(until, place)));
        }
    }
}

#[cfg(test)]
#[path = "lab_tests.rs"]
mod tests;
