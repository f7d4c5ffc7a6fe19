use std::collections::VecDeque;
use std::sync::Mutex;

use serde_json::json;

use super::*;
use crate::ownership::{PoolView, Side};

const NOW: i64 = 1_795_500_000;

/// Time that passes only when it is waited for: a pause shorter than the limit is over at once and counted.
#[derive(Default)]
struct Leaps(Mutex<Vec<Duration>>);

impl Pause for Leaps {
    fn pause(&self, duration: Duration) -> BoxFuture<'_, ()> {
        if duration > Duration::from_secs(120) {
            return Box::pin(std::future::pending());
        }
        self.0.lock().unwrap().push(duration);
        Box::pin(std::future::ready(()))
    }
}

/// Gives its answers one after the other, and the last one for ever.
struct Script(Mutex<VecDeque<Answer>>);

type Answer = fn() -> Result<Cluster, Error>;

impl Script {
    fn new(answers: &[Answer]) -> Self {
        Self(Mutex::new(answers.iter().copied().collect()))
    }
}

impl ClusterReader for Script {
    fn read(&self) -> BoxFuture<'_, Result<Cluster, Error>> {
        let mut answers = self.0.lock().unwrap();
        let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().copied() };
        Box::pin(std::future::ready(next.unwrap()()))
    }
}

/// A server that never answers.
struct Silent;

impl ClusterReader for Silent {
    fn read(&self) -> BoxFuture<'_, Result<Cluster, Error>> {
        Box::pin(std::future::pending())
    }
}

fn managed(pools: &[&str], refreshed: i64) -> Cluster {
    let pools: Vec<_> = pools
        .iter()
        .map(|name| json!({"name": name, "mode": "User", "count": 3, "orchestratorVersion": "1.34.2"}))
        .collect();
    let config = json!({"kubernetesVersion": "1.34.2", "nodePools": pools});
    let raw = json!({
        "id": "c-x7k2p", "driver": "AKS", "provider": "aks", "state": "active", "transitioning": "no",
        "conditions": [{"type": "Provisioned", "status": "True"}, {"type": "Updated", "status": "True"}],
        "aksConfig": config, "appliedSpec": {"aksConfig": config}, "aksStatus": {"upstreamSpec": config},
        "annotations": {"clusters.management.cattle.io/ke-last-refresh": refreshed.to_string()},
    });
    Cluster::from_json(raw).unwrap()
}

fn of_driver(driver: &str) -> Cluster {
    Cluster::from_json(json!({"id": "c-x7k2p", "driver": driver})).unwrap()
}

fn throttled() -> Error {
    Error::RateLimited {
        operation: "read cluster c-x7k2p".into(),
        retry_after: Some(Duration::from_secs(40)),
    }
}

/// Azure has just been given the pool `buffer`.
fn with_buffer() -> LockStep {
    let pool = |name: &str| PoolView {
        name: name.into(),
        version: Some("1.34.2".into()),
        count: Some(3),
        autoscaling: None,
        mode: "User".into(),
    };
    let pools = vec![pool("user"), pool("buffer")];
    LockStep::new(AzureState { version: Some("1.34.2".into()), pools }, Timestamp::from_second(NOW).unwrap())
}

async fn wait(
    step: &LockStep,
    reader: &dyn ClusterReader,
) -> (Result<Adopted, LockStepError>, Vec<Progress>, Duration) {
    let (leaps, mut seen) = (Leaps::default(), Vec::new());
    let result = step.wait(reader, &leaps, |progress| seen.push(progress.clone())).await;
    let passed = leaps.0.lock().unwrap().iter().sum();
    (result, seen, passed)
}

#[tokio::test]
async fn rancher_is_read_until_it_shows_the_new_pool() {
    let script = Script::new(&[
        || Ok(managed(&["user"], NOW)),
        || Err(throttled()),
        || Ok(managed(&["user", "buffer"], NOW + 20)),
    ]);
    let (result, seen, passed) = wait(&with_buffer(), &script).await;
    let adopted = result.unwrap();
    assert!(matches!(adopted.ownership, Ownership::Managed(_)));
    assert_eq!(adopted.cluster.last_refresh().unwrap().as_second(), NOW + 20);
    assert_eq!((adopted.waited, passed), (Duration::from_secs(55), Duration::from_secs(55)));
    let Standing::Behind(reasons) = &seen[0].standing else { panic!("{seen:?}") };
    assert_eq!(*reasons, [OutOfSync::PoolUnknown { name: "buffer".into(), other: Side::Azure }]);
    assert!(matches!(seen[1].standing, Standing::NotRead(_)));
    assert_eq!(
        seen[0].to_string(),
        "0 s of at most 720 s: Azure has pool `buffer`, which Rancher does not want; it would delete it"
    );
}

#[tokio::test]
async fn it_gives_up_after_two_refreshes_and_the_slack_and_says_what_was_missing() {
    let script = Script::new(&[|| Ok(managed(&["user"], NOW))]);
    for (step, limit) in [
        (with_buffer(), 720),
        (with_buffer().limit(Duration::from_secs(10)), 720),
        (with_buffer().refresh(Duration::from_secs(60)), 240),
        (with_buffer().limit(Duration::from_secs(3600)), 3600),
    ] {
        let (result, seen, passed) = wait(&step, &script).await;
        let error = result.unwrap_err();
        assert!(matches!(error, LockStepError::TimedOut { .. }) && error.is_retryable(), "{error:?}");
        assert!(error.to_string().contains("pool `buffer`"), "{error}");
        assert_eq!(passed, Duration::from_secs(limit));
        assert_eq!(seen.len() as u64, limit / 15 + 1, "one read at once, then one every 15 s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_does_not_hold_the_wait_for_ever() {
    let step = with_buffer();
    let before = tokio::time::Instant::now();
    let error = step.wait(&Silent, &crate::pause::TokioPause, |_| {}).await.unwrap_err();
    assert_eq!(before.elapsed().as_secs(), 720);
    assert!(error.to_string().ends_with("Rancher was not read yet"), "{error}");
}

#[tokio::test]
async fn what_time_does_not_heal_ends_the_wait_at_once() {
    let refused = Script::new(&[|| Ok(managed(&["user"], NOW)), || Ok(of_driver("rke2"))]);
    let (result, _, passed) = wait(&with_buffer(), &refused).await;
    assert!(matches!(result, Err(LockStepError::Refused(Refusal::Driver { .. }))), "{result:?}");
    assert_eq!(passed, INTERVAL);

    let gone = Script::new(&[|| Err(Error::NotFound { subject: "cluster c-x7k2p".into() })]);
    let error = wait(&with_buffer(), &gone).await.0.unwrap_err();
    assert!(matches!(error, LockStepError::NotRead(_)) && !error.is_retryable() && error.outcome_known());
}

#[tokio::test]
async fn a_cluster_that_nobody_manages_has_nothing_to_adopt() {
    let script = Script::new(&[|| Ok(of_driver("imported"))]);
    let step = with_buffer().newer_than(Timestamp::from_second(NOW).ok());
    let (result, seen, passed) = wait(&step, &script).await;
    assert_eq!(result.unwrap().ownership, Ownership::Generic);
    assert!(seen.is_empty() && passed.is_zero());
}

#[tokio::test]
async fn one_more_refresh_can_be_asked_for_although_nothing_differs() {
    let script = Script::new(&[
        || Ok(managed(&["user", "buffer"], NOW - 200)),
        || Ok(managed(&["user", "buffer"], NOW + 10)),
    ]);
    let step = with_buffer().newer_than(Timestamp::from_second(NOW - 200).ok());
    let (result, seen, _) = wait(&step, &script).await;
    assert_eq!(result.unwrap().waited, INTERVAL);
    assert!(seen[0].to_string().ends_with("Rancher has not read Azure since the change"));
}
