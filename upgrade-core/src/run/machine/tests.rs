//! What the machine sees, apart from any world.

use jiff::Timestamp;

use super::{Effect, Input, Machine};
use crate::event::EventKind;
use crate::model::RunId;
use crate::model::tests_support::{inventory, service, slice};
use crate::plan::plan;
use crate::policy::Policy;
use crate::view::{Change, Object, ResourceKind};

fn fresh(now: Timestamp) -> (Machine, Vec<Effect>) {
    let plan = plan(&inventory(), &Policy::default(), "1.35".parse().unwrap()).unwrap();
    Machine::begin(plan, RunId::new("r").unwrap(), "test".into(), now)
}

/// A machine that has just listed everything: one Service with one ready pod.
fn watching(now: Timestamp) -> Machine {
    let (mut machine, _) = fresh(now);
    machine.on(now, everything());
    machine
}

fn everything() -> Input {
    let objects = |kind| match kind {
        ResourceKind::Service => vec![Object::Service(service("shop/web"))],
        ResourceKind::EndpointSlice => vec![Object::Slice(slice("shop/web", &["shop/web-1-a"]))],
        _ => Vec::new(),
    };
    let lists = ResourceKind::ALL.map(|kind| Change::Listed { kind, objects: objects(kind) });
    Input::Changes(lists.into())
}

#[test]
fn a_gap_that_opens_and_closes_within_one_burst_is_a_gap() {
    let now = Timestamp::from_second(1000).unwrap();
    let mut machine = watching(now);
    let none = Change::Applied(Object::Slice(slice("shop/web", &[])));
    let again = Change::Applied(Object::Slice(slice("shop/web", &["shop/web-1-b"])));
    let effects = machine.on(now, Input::Changes(vec![none, again]));
    let told: Vec<&str> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Emit(event) => match &event.kind {
                EventKind::GapOpened { gap } => Some(("opened", gap)),
                EventKind::GapClosed { gap } => Some(("closed", gap)),
                _ => None,
            },
            _ => None,
        })
        .map(|(what, gap)| {
            assert_eq!(gap.service, "shop/web".parse().unwrap());
            what
        })
        .collect();
    assert_eq!(told, ["opened", "closed"]);
}

#[test]
fn a_list_that_replaces_a_slice_by_another_is_no_gap() {
    let now = Timestamp::from_second(1000).unwrap();
    let mut machine = watching(now);
    let objects = vec![Object::Slice(slice("shop/web", &["shop/web-1-b"]))];
    let relisted = Change::Listed { kind: ResourceKind::EndpointSlice, objects };
    let effects = machine.on(now, Input::Changes(vec![relisted]));
    let gap = |effect: &Effect| matches!(effect, Effect::Emit(event) if matches!(event.kind, EventKind::GapOpened { .. }));
    assert!(!effects.iter().any(gap));
}

/// What the machine does when it is told about the identity: the step it begins, the end it comes to, and what it warns of.
mod identity {
    use std::time::Duration;

    use super::super::{Effect, Input, Machine, TICK};
    use super::*;
    use crate::event::RunOutcome;
    use crate::inventory::{ClusterIdentity, Evidence, EvidenceKind, EvidenceVerdict};
    use crate::journal::{Entry, Record, RunState};
    use crate::lock::{LockHolder, StopRequest};
    use crate::model::Uid;
    use crate::ports::{CallOutcome, PortError, PortErrorKind, RemoteService};
    use crate::run::LockNews;

    fn evidence(what: EvidenceKind, verdict: EvidenceVerdict) -> Evidence {
        Evidence { what, verdict, detail: "values".into() }
    }

    fn seen(authority: EvidenceVerdict, nodes: EvidenceVerdict) -> ClusterIdentity {
        let evidence =
            vec![evidence(EvidenceKind::ApiServerCa, authority), evidence(EvidenceKind::Nodes, nodes)];
        ClusterIdentity { evidence, ..inventory().identity }
    }

    fn failed(kind: PortErrorKind) -> PortError {
        PortError::new(RemoteService::Rancher, kind, CallOutcome::NothingDone, "no answer")
    }

    fn begins(effects: &[Effect]) -> bool {
        let started = |effect: &Effect| matches!(effect, Effect::Emit(event) if matches!(event.kind, EventKind::StageStarted { .. }));
        effects.iter().any(started)
    }

    fn warnings(effects: &[Effect]) -> Vec<String> {
        let warning = |effect: &Effect| match effect {
            Effect::Emit(event) => match &event.kind {
                EventKind::Warning { message } => Some(message.clone()),
                _ => None,
            },
            _ => None,
        };
        effects.iter().filter_map(warning).collect()
    }

    fn end(effects: &[Effect]) -> Option<RunOutcome> {
        effects.iter().find_map(|effect| match effect {
            Effect::End(report) => Some(report.outcome.clone()),
            _ => None,
        })
    }

    /// The run ended, and nothing was sent on the way.
    fn refused(effects: &[Effect]) -> RunOutcome {
        let writes = |effect: &Effect| matches!(effect, Effect::Act { .. });
        assert!(!effects.iter().any(writes) && !begins(effects), "{effects:?}");
        end(effects).expect("the run ends")
    }

    /// The machine is told about the identity; if it asks for the lock then, it gets it.
    fn tell(
        machine: &mut Machine,
        now: Timestamp,
        identity: Result<ClusterIdentity, PortError>,
    ) -> Vec<Effect> {
        let mut effects = machine.on(now, Input::Identity(identity));
        if effects.iter().any(|effect| matches!(effect, Effect::TakeLock)) {
            assert!(!begins(&effects), "no stage begins without the lock");
            effects.extend(machine.on(now, Input::Lock(LockNews::Held)));
        }
        effects
    }

    fn told(identity: Result<ClusterIdentity, PortError>) -> Vec<Effect> {
        let now = Timestamp::from_second(1000).unwrap();
        tell(&mut watching(now), now, identity)
    }

    #[test]
    fn a_proven_identity_begins_the_stage() {
        use EvidenceVerdict::Agrees;
        assert!(begins(&told(Ok(seen(Agrees, Agrees)))));
    }

    #[test]
    fn another_cluster_or_a_contradiction_loses_the_identity() {
        use EvidenceVerdict::{Agrees, Contradicts};
        let mut other = seen(Agrees, Agrees);
        other.kube_system = Uid::new("another").unwrap();
        let lost = refused(&told(Ok(other)));
        let why = "kube-system uid is another, planned for ks".to_owned();
        assert_eq!(lost, RunOutcome::IdentityLost { why });
        let lost = refused(&told(Ok(seen(Agrees, Contradicts))));
        let why = "the evidence contradicts: node provider ids: values".to_owned();
        assert_eq!(lost, RunOutcome::IdentityLost { why });
    }

    /// A run that may not read the identity any more has not lost it. It holds, and says what it needs.
    #[test]
    fn an_identity_that_may_not_be_read_holds_at_once() {
        let held = refused(&told(Err(failed(PortErrorKind::Forbidden))));
        let RunOutcome::Held { cause, .. } = held else { panic!("{held:?}") };
        assert_eq!(cause, "the identity could not be read: Rancher: no answer");
    }

    /// Tells the machine the same again whenever it asks; gives what it did in all.
    fn insisted(
        machine: &mut Machine,
        from: Timestamp,
        what: impl Fn() -> Input,
    ) -> (Vec<Effect>, Timestamp) {
        let (mut now, mut all) = (from, machine.on(from, what()));
        for _ in 0..200 {
            if end(&all).is_some() {
                return (all, now);
            }
            now = machine.wake_at(now);
            let effects = machine.on(now, Input::Tick);
            let asked = effects.iter().any(|effect| matches!(effect, Effect::Prove));
            all.extend(effects);
            if asked {
                all.extend(machine.on(now, what()));
            }
        }
        panic!("it asks for ever")
    }

    #[test]
    fn evidence_out_of_sight_is_looked_at_again_and_then_the_run_holds() {
        use EvidenceVerdict::{Agrees, Unavailable};
        let began = Timestamp::from_second(1000).unwrap();
        for (what, said) in [
            (seen(Unavailable, Agrees), "API server CA: values"),
            (seen(Agrees, Unavailable), "node provider ids: values"),
        ] {
            let (effects, ended) =
                insisted(&mut watching(began), began, || Input::Identity(Ok(what.clone())));
            let held = refused(&effects);
            let RunOutcome::Held { cause, .. } = held else { panic!("{held:?}") };
            assert!(cause.contains(said) && cause.contains("nothing was written for 5m"), "{cause}");
            assert!(cause.contains(if said.starts_with("API") {
                "listClusterUserCredential"
            } else {
                "list nodes"
            }));
            let waited = ended.duration_since(began).unsigned_abs();
            assert!(
                waited > Duration::from_secs(300) && waited <= Duration::from_secs(300) + 2 * TICK,
                "{waited:?}"
            );
            assert_eq!(warnings(&effects).len(), 1, "the same is said once");
        }
    }

    #[test]
    fn evidence_that_comes_back_in_time_lets_the_run_go_on() {
        use EvidenceVerdict::{Agrees, Unavailable};
        let began = Timestamp::from_second(1000).unwrap();
        let mut machine = watching(began);
        let doubt = machine.on(began, Input::Identity(Ok(seen(Agrees, Unavailable))));
        assert!(!begins(&doubt) && end(&doubt).is_none());
        let lost = machine.on(began + TICK, Input::Tick);
        assert!(lost.iter().any(|effect| matches!(effect, Effect::Prove)), "it looks again");
        let unread = machine.on(began + TICK, Input::Identity(Err(failed(PortErrorKind::Unreachable))));
        assert_eq!(warnings(&unread), ["the identity could not be read: Rancher: no answer; trying again"]);
        machine.on(began + 2 * TICK, Input::Tick);
        assert!(begins(&tell(&mut machine, began + 2 * TICK, Ok(seen(Agrees, Agrees)))));
    }

    /// A machine that is proven and waits for the lock.
    fn at_the_lock(now: Timestamp) -> Machine {
        use EvidenceVerdict::Agrees;
        let mut machine = watching(now);
        let effects = machine.on(now, Input::Identity(Ok(seen(Agrees, Agrees))));
        assert!(effects.iter().any(|effect| matches!(effect, Effect::TakeLock)));
        machine
    }

    fn ann() -> LockHolder {
        let since = Some("2026-11-24T23:05:09.123Z".parse().unwrap());
        LockHolder { holder: "ann:build-7:4711".into(), since, run: RunId::new("r-7").ok() }
    }

    #[test]
    fn a_lock_that_somebody_else_holds_is_told_once_and_ends_the_run_when_he_is_alive() {
        let now = Timestamp::from_second(1000).unwrap();
        let mut machine = at_the_lock(now);
        let effects = machine.on(now, Input::Lock(LockNews::Occupied(ann())));
        let who = "ann:build-7:4711 since 2026-11-24T23:05:09Z for run r-7";
        assert_eq!(
            warnings(&effects),
            [format!("the lock of the cluster is held by {who}; looking whether it is still at work")]
        );
        let ended = refused(&machine.on(now, Input::Lock(LockNews::Refused(ann()))));
        assert_eq!(ended, RunOutcome::Locked { by: ann() });
    }

    /// Another process may be at work on this very run.
    #[test]
    fn a_run_is_gone_on_with_in_its_journal_only_when_the_lock_is_held() {
        use EvidenceVerdict::Agrees;
        let written = |effects: &[Effect]| -> Vec<Record> {
            let record = |effect: &Effect| match effect {
                Effect::Record(record) => Some(record.clone()),
                _ => None,
            };
            effects.iter().filter_map(record).collect()
        };
        let now = Timestamp::from_second(1000).unwrap();
        let (_, effects) = fresh(now);
        let state = RunState::replay(written(&effects)).unwrap();
        let at_the_lock = || {
            let (mut machine, mut effects) = Machine::resume(state.clone(), now).unwrap();
            effects.extend(machine.on(now, everything()));
            effects.extend(machine.on(now, Input::Identity(Ok(seen(Agrees, Agrees)))));
            assert_eq!(written(&effects), []);
            machine
        };
        let refused = at_the_lock().on(now, Input::Lock(LockNews::Refused(ann())));
        assert!(end(&refused).is_some());
        assert_eq!(written(&refused), []);
        let held = at_the_lock().on(now, Input::Lock(LockNews::Held));
        assert!(matches!(written(&held)[0].entry, Entry::Opened), "{held:?}");
    }

    #[test]
    fn a_lock_that_cannot_be_reached_is_waited_for_and_one_that_may_not_be_written_is_not() {
        let now = Timestamp::from_second(1000).unwrap();
        let cause = |effects: &[Effect]| match refused(effects) {
            RunOutcome::Held { cause, .. } => cause,
            other => panic!("{other:?}"),
        };
        let because = "the lock of the cluster (Lease kube-system/drover-upgrade) could not be taken: Rancher: no answer";
        let mut machine = at_the_lock(now);
        let away = machine.on(now, Input::Lock(LockNews::Failed(failed(PortErrorKind::Unreachable))));
        assert_eq!(end(&away), None);
        assert_eq!(end(&machine.on(now + Duration::from_secs(300), Input::Tick)), None);
        assert_eq!(cause(&machine.on(now + Duration::from_secs(301), Input::Tick)), because);
        let forbidden = Input::Lock(LockNews::Failed(failed(PortErrorKind::Forbidden)));
        assert_eq!(cause(&at_the_lock(now).on(now, forbidden)), because);
    }

    /// From afar and by Ctrl-C it is asked for the same, and who asks for the first once more asks for nothing new.
    #[test]
    fn a_request_by_the_lock_stops_like_ctrl_c_and_names_who_asks() {
        let asked = |at_once| {
            let (run, by) = (RunId::new("r-1").unwrap(), "ann on build-7".to_owned());
            Input::Lock(LockNews::StopAsked(StopRequest { run, at_once, by }))
        };
        let now = Timestamp::from_second(1000).unwrap();
        let at_work = || {
            let mut machine = at_the_lock(now);
            assert!(begins(&machine.on(now, Input::Lock(LockNews::Held))));
            machine
        };
        let first = at_work().on(now, asked(false));
        let told = [
            "ann on build-7 asks the run to stop at a safe point (`abort`)",
            "stopping: writes in hand are answered first; ask again to stop at once",
        ];
        assert_eq!(warnings(&first), told);
        let mut machine = at_work();
        machine.take_in(now, Input::Stop);
        machine.take_in(now, asked(false));
        assert_eq!(machine.stops, 1, "two people who ask once each do not ask twice");
        machine.take_in(now, asked(true));
        assert_eq!(machine.stops, 2);
    }

    #[test]
    fn a_lock_that_is_lost_holds_the_run() {
        let now = Timestamp::from_second(1000).unwrap();
        let mut machine = at_the_lock(now);
        assert!(begins(&machine.on(now, Input::Lock(LockNews::Held))));
        let effects = machine.on(now, Input::Lock(LockNews::Lost(None)));
        let Some(RunOutcome::Held { cause, .. }) = end(&effects) else { panic!("{effects:?}") };
        assert_eq!(
            cause,
            "the lock of the cluster was lost: its Lease was deleted or emptied; nothing was written after that was seen"
        );
    }
}
