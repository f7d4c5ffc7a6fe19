//! Virtual time in step with the real clock.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::lab::Lab;

/// How virtual time follows real time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The virtual time at `started`.
    from: Timestamp,
    started: Instant,
    /// Virtual seconds in a real one.
    scale: f64,
}

impl Pace {
    pub(super) fn new(from: Timestamp, scale: f64) -> Self {
        Self { from, started: Instant::now(), scale }
    }

    /// The virtual time of this moment.
    pub(super) fn now(&self) -> Timestamp {
        self.from + self.started.elapsed().mul_f64(self.scale)
    }

    /// How long a virtual pause is for somebody with a real clock.
    pub(super) fn real(&self, pause: Duration) -> Duration {
        pause.div_f64(self.scale)
    }

    /// Whole real seconds of a virtual pause, at least one: the finest that `Retry-After` can say.
    pub(super) fn retry_after(&self, pause: Duration) -> u64 {
        let real = self.real(pause);
        (real.as_secs() + u64::from(real.subsec_nanos() > 0)).max(1)
    }

    fn until(&self, at: Timestamp) -> Duration {
        self.real(at.duration_since(self.now()).try_into().unwrap_or(Duration::ZERO))
    }

    /// Lets the lab's time pass until `closing` says so: sleeps until the next thing is due, or until something has become
    /// due earlier.
    pub(super) async fn run(self, lab: Lab, mut closing: watch::Receiver<bool>) {
        loop {
            let next = lab.advance_to(self.now());
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep(self.until(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = lab.due_before(next) => {}
                _ = closing.wait_for(|closing| *closing) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;

    /// A run whose clock is the lab's waits for Azure in a world where nothing else happens.
    #[tokio::test(start_paused = true)]
    async fn a_sleep_ends_though_the_world_does_nothing_by_itself() {
        let lab = Lab::new(&Scenario::demo(), 1);
        let begun = lab.now();
        let pace = Pace::new(begun, 60.0);
        let (close, closing) = watch::channel(false);
        let pacing = tokio::spawn(pace.run(lab.clone(), closing));
        let clock = lab.clock();
        let (short, long) = (begun + Duration::from_secs(1), begun + Duration::from_secs(400 * 24 * 3600));
        tokio::select! {
            () = clock.sleep_until(long) => panic!("the long sleep ended first"),
            () = clock.sleep_until(short) => {}
        }
        assert!(lab.now() >= short && lab.now() < begun + Duration::from_secs(60), "{}", lab.now());
        close.send(true).unwrap();
        pacing.await.unwrap();
    }
}
