//! How a pod ends when it is told to: the preStop hook, SIGTERM, and SIGKILL when the grace is over.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Node, Pod};

use super::{STOP_SECONDS, Step, machine_name, next, said_seconds, spec};
use crate::kube::events::Reason;
use crate::kube::{key_of, pods};
use crate::timing::Timing;
use crate::world::World;

/// After a preStop hook that has used up the grace, the processes still get this long (kubelet).
const LEAST_AFTER_HOOK: Duration = Duration::from_secs(2);

/// The kubelet learns that the pod is to go.
pub(crate) fn told_to_stop(world: &mut World, pod: &Pod) {
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
    let grace = Duration::from_secs(u64::try_from(grace).unwrap_or_default());
    let notice = world.draw(Timing::Notice);
    let stop = if machine_name(world, pod).is_none() {
        if pods::node_of(pod).is_some_and(|node| world.store.get::<Node>("", node).is_some()) {
            // A node object that somebody has made, and no kubelet to say that the pod has ended.
            return;
        }
        // No machine, no process.
        Duration::ZERO
    } else {
        tell_killing(world, pod);
        let own = said_seconds(pod, STOP_SECONDS).unwrap_or_else(|| world.draw(Timing::Stop));
        let runs = pods::phase(pod) == "Running";
        let hook = spec(pod).containers.iter().filter(|_| runs).map(hook_time).max().unwrap_or_default();
        takes(grace, hook, own)
    };
    next(world, notice + stop, Step::Ends, pod);
}

fn tell_killing(world: &mut World, pod: &Pod) {
    if world.tells_events() {
        let key = key_of(pod);
        for container in &spec(pod).containers {
            world.tell::<Pod>(&key, Reason::Killing, || format!("Stopping container {}", container.name));
        }
    }
}

/// From the notice to the end of the last process.
pub(super) fn takes(grace: Duration, hook: Duration, own: Duration) -> Duration {
    let hook = hook.min(grace);
    let left = grace.saturating_sub(hook).max(if hook.is_zero() { Duration::ZERO } else { LEAST_AFTER_HOOK });
    hook + own.min(left)
}

/// How long the preStop hook takes: what a sleep says, and nothing for a request.
fn hook_time(container: &Container) -> Duration {
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    hook.and_then(sleep_of).map(Duration::from_secs).unwrap_or_default()
}

fn sleep_of(hook: &LifecycleHandler) -> Option<u64> {
    if let Some(sleep) = &hook.sleep {
        return u64::try_from(sleep.seconds).ok();
    }
    // `sleep 15`, by itself or through a shell.
    let command = hook.exec.as_ref()?.command.as_ref()?.join(" ");
    let mut words = command.split_whitespace().skip_while(|word| !word.ends_with("sleep")).skip(1);
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_what_its_hook_leaves_of_the_grace_and_two_seconds_at_least() {
        for (grace, hook, own, whole) in [
            (30, 0, 5, 5),    // ends by itself
            (30, 0, 90, 30),  // killed
            (30, 15, 5, 20),  // hook, then SIGTERM
            (30, 15, 90, 30), // killed at the grace
            (30, 30, 90, 32), // the hook used all: two seconds more
            (30, 60, 90, 32), // the hook is cut off
            (0, 15, 5, 0),    // no grace, no hook
        ] {
            let seconds = Duration::from_secs;
            assert_eq!(
                takes(seconds(grace), seconds(hook), seconds(own)),
                seconds(whole),
                "{grace} {hook} {own}"
            );
        }
    }

    #[test]
    fn a_hook_that_sleeps_says_how_long() {
        let exec = |command: &[&str]| {
            let hook = serde_json::json!({ "exec": { "command": command } });
            sleep_of(&serde_json::from_value(hook).unwrap())
        };
        assert_eq!(exec(&["sleep", "15"]), Some(15));
        assert_eq!(exec(&["/bin/sh", "-c", "sleep 7 && nginx -s quit"]), Some(7));
        assert_eq!(exec(&["/bin/drain"]), None);
    }
}
