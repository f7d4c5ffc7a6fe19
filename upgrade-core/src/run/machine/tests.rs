//! What the machine sees, apart from any world.

use jiff::Timestamp;

use super::{Effect, Input, Machine};
use crate::event::EventKind;
use crate::model::RunId;
use crate::model::tests_support::{inventory, service, slice};
use crate::plan::plan;
use crate::policy::Policy;
use crate::view::{Change, Object, ResourceKind};

/// A machine that has just listed everything: one Service with one ready pod.
fn watching(now: Timestamp) -> Machine {
    let plan = plan(&inventory(), &Policy::default(), "1.35".parse().unwrap()).unwrap();
    let (mut machine, _) = Machine::begin(plan, RunId::new("r").unwrap(), "test".into(), now);
    let objects = |kind| match kind {
        ResourceKind::Service => vec![Object::Service(service("shop/web"))],
        ResourceKind::EndpointSlice => vec![Object::Slice(slice("shop/web", &["shop/web-1-a"]))],
        _ => Vec::new(),
    };
    let lists = ResourceKind::ALL.map(|kind| Change::Listed { kind, objects: objects(kind) });
    machine.on(now, Input::Changes(lists.into()));
    machine
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
