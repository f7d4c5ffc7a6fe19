//! What holds of Leases, and of the lock that is made of one.

use super::*;

/// A Lease is created once and written by whoever read it last; everybody slower has a conflict and changed nothing.
pub(crate) async fn a_lease_has_one_writer_at_a_time(ports: Ports) {
    let (kubernetes, name) = (ports.kubernetes, lock_name());
    let record = |holder: &str| LeaseRecord {
        holder: holder.to_owned(),
        duration_seconds: 60,
        acquired_at: Some("2026-11-24T01:02:03.000001Z".parse().unwrap()),
        renewed_at: Some("2026-11-24T01:02:03.123456Z".parse().unwrap()),
        transitions: 0,
        run: Some(run()),
        stop: StopRequest::parse(&format!("{} now ann on build-7", run())),
    };
    let conflict = |error: PortError| {
        assert_eq!((error.kind, error.outcome_known()), (PortErrorKind::Conflict, true), "{error}");
    };
    assert_eq!(kubernetes.lease(&name).await.unwrap(), None);
    let created = kubernetes.create_lease(&name, &record("a")).await.unwrap();
    assert_eq!(created.record, record("a"));
    conflict(kubernetes.create_lease(&name, &record("b")).await.unwrap_err());
    assert_eq!(kubernetes.lease(&name).await.unwrap().as_ref(), Some(&created));

    let free = LeaseRecord { run: None, stop: None, ..record("") };
    let released = LeaseRecord { duration_seconds: 1, ..free };
    let second = kubernetes.update_lease(&name, &created, &released).await.unwrap();
    assert_eq!((&second.uid, &second.record), (&created.uid, &released));
    conflict(kubernetes.update_lease(&name, &created, &record("b")).await.unwrap_err());
    let other = Lease { uid: Uid::new("00000000-0000-0000-0000-000000000000").unwrap(), ..second.clone() };
    conflict(kubernetes.update_lease(&name, &other, &record("b")).await.unwrap_err());
    // One that is gone is not made again by an update.
    let elsewhere = "kube-system/another".parse().unwrap();
    conflict(kubernetes.update_lease(&elsewhere, &second, &record("b")).await.unwrap_err());
    assert_eq!(kubernetes.lease(&elsewhere).await.unwrap(), None);
    let endless = LeaseRecord { duration_seconds: 0, ..record("b") };
    let error = kubernetes.update_lease(&name, &second, &endless).await.unwrap_err();
    assert_eq!((error.kind, error.outcome_known()), (PortErrorKind::Rejected, true), "{error}");
    assert_eq!(kubernetes.lease(&name).await.unwrap(), Some(second));
}

/// Does what a lock says until it wants to wait. Returns until when.
async fn act(lock: &mut Lock, now: Duration, ports: &Ports) -> Option<Duration> {
    let (kubernetes, name, wall) = (&ports.kubernetes, lock_name(), ports.clock.now());
    let mut action = LockAction::Look { at: now };
    loop {
        action = match action {
            LockAction::Look { at } if at > now => return Some(at),
            LockAction::Look { .. } => lock.on(now, wall, kubernetes.lease(&name).await.unwrap()),
            LockAction::Create(record) => {
                let answer = kubernetes.create_lease(&name, &record).await;
                lock.answered(now, now, answer.ok())
            }
            LockAction::Update { over, record } => {
                let answer = kubernetes.update_lease(&name, &over, &record).await;
                lock.answered(now, now, answer.ok())
            }
            LockAction::Rest => return None,
        };
    }
}

/// The lock passes from a process that gives it back to the next, and from one that has died only after the Lease's whole time.
pub(crate) async fn the_lock_of_a_cluster_passes_from_one_process_to_the_next(ports: Ports) {
    let lock = |name: &str| Lock::new(HolderId::new(name).unwrap(), run(), LockTimes::default());
    let (mut a, mut b, mut c) = (lock("a"), lock("b"), lock("c"));
    let at = Duration::from_secs;
    act(&mut a, at(0), &ports).await;
    assert!(a.may_write(at(0)));
    act(&mut b, at(1), &ports).await;
    assert!(!b.may_write(at(1)) && b.held_by().is_some_and(|record| record.run == Some(run())));
    let _ = a.give_back(at(2));
    assert_eq!(act(&mut a, at(2), &ports).await, None);
    act(&mut b, at(3), &ports).await;
    assert_eq!((a.may_write(at(3)), b.may_write(at(3)), b.transitions()), (false, true, Some(1)));
    // b is not heard of again.
    let mut next = act(&mut c, at(4), &ports).await.unwrap();
    let mut looks = 0;
    while c.transitions().is_none() {
        assert!(next <= at(64), "the dead process is waited for too long");
        next = act(&mut c, next, &ports).await.unwrap();
        looks += 1;
    }
    assert_eq!((looks, c.transitions(), b.may_write(at(64))), (12, Some(2), false));
    assert_eq!(act(&mut b, at(65), &ports).await, None);
    assert!(b.is_lost());
}
