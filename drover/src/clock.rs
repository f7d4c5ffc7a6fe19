//! The time of day.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use upgrade_core::ports::Clock;

/// The longest single sleep. A machine that was suspended, or whose clock was set, notices within so long.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock port over the system's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn elapsed(&self) -> Duration {
        since_boot()
    }

    async fn sleep_until(&self, until: Timestamp) {
        loop {
            let left = until.duration_since(self.now());
            let Ok(left) = Duration::try_from(left) else { return };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
        }
    }
}

/// Linux's own monotonic clock stands still while the machine sleeps, and a lock that others have taken meanwhile would look fresh.
#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(now).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
fn since_boot() -> Duration {
    use std::sync::LazyLock;
    use std::time::Instant;

    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGAN.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elapsed_time_moves_and_never_goes_back() {
        let before = SystemClock.elapsed();
        assert!(!before.is_zero() && SystemClock.elapsed() >= before);
    }

    #[tokio::test]
    async fn a_moment_that_has_passed_is_not_waited_for() {
        let clock = SystemClock;
        let before = clock.now();
        clock.sleep_until(before - Duration::from_secs(3600)).await;
        clock.sleep_until(before + Duration::from_millis(20)).await;
        assert!(clock.now() >= before + Duration::from_millis(20));
    }
}
