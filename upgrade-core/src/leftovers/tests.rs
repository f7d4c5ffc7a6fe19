//! What is a leftover, and when a buffer may go.

use jiff::Timestamp;

use super::decide::{Next, tasks, unaccounted_cordons, without_journal};
use super::*;
use crate::event::StepOutcome;
use crate::journal::{Entry, Record, Write, WriteAnswer};
use crate::model::tests_support::{inventory, managed, node, pod, pool};
use crate::model::{PoolMode, PoolName, RUN_TAG};
use crate::plan::{Action, plan};
use crate::policy::Policy;
use crate::ports::OperationRef;
use crate::view::{Change, Object};

fn run() -> RunId {
    RunId::new("night-1").unwrap()
}

/// The journal of a run that has made its first buffer, and was killed then; and the buffer's name.
fn made_a_buffer() -> (RunState, PoolName) {
    let plan = plan(&inventory(), &Policy::default(), "1.35".parse().unwrap()).unwrap();
    let mut state = RunState::default();
    let mut record = |entry| {
        state.apply(&Record { seq: state.next_seq(), at: Timestamp::UNIX_EPOCH, entry }).unwrap();
    };
    let (format, tool) = (crate::journal::FORMAT, "test".to_owned());
    record(Entry::Header { format, run: run(), tool, plan: Box::new(plan.clone()) });
    record(Entry::Opened);
    for stage in &plan.stages {
        record(Entry::StageStarted { stage: stage.number });
        for step in stage.steps() {
            if let Action::CreateBuffer { buffer } = &step.action {
                let write = Write::create(buffer);
                record(Entry::Intent { id: 1, step: step.id.clone(), write });
                let answer = WriteAnswer::Accepted { operation: OperationRef("op".into()) };
                record(Entry::Answered { id: 1, answer });
                let name = buffer.name.clone();
                return (state, name);
            }
            let outcome = StepOutcome::Done { message: String::new() };
            record(Entry::StepFinished { step: step.id.clone(), outcome });
        }
        record(Entry::StageFinished { stage: stage.number });
    }
    panic!("the plan has a buffer");
}

/// The cluster with that buffer, of one node.
fn seen(buffer: &PoolName, by: &str, cordoned: bool) -> Seen {
    let inventory = inventory();
    let mut view = inventory.view();
    let mut own = node("buffer-1", buffer.as_str());
    own.unschedulable = cordoned;
    view.apply(Change::Applied(Object::Node(own)));
    let mut made = pool(buffer.as_str(), PoolMode::User, 1);
    made.tags.insert(RUN_TAG.into(), by.into());
    let mut pools = inventory.pools.clone();
    pools.push(made);
    let ownership = Ownership::Generic;
    Seen { view, cluster: inventory.cluster.clone(), pools, ownership, unseen: Vec::new() }
}

fn next(seen: &Seen) -> Next {
    let (state, _) = made_a_buffer();
    let tasks = tasks(&state, seen, &inventory().identity);
    let [task] = &tasks[..] else { panic!("{tasks:?}") };
    assert_eq!(task.leftover.kind, LeftoverKind::Buffer);
    task.next.clone()
}

fn stuck(next: Next) -> String {
    if let Next::Stuck(why) = next { why } else { panic!("{next:?}") }
}

#[test]
fn a_buffer_is_closed_first_and_goes_when_nothing_is_on_it() {
    let (_, buffer) = made_a_buffer();
    let Next::Write(writes) = next(&seen(&buffer, "night-1", false)) else { panic!() };
    assert!(matches!(&writes[..], [Write::Cordon { node, .. }] if node.as_str() == "buffer-1"), "{writes:?}");
    let delete = Next::Write(vec![Write::DeletePool { pool: buffer.clone() }]);
    assert_eq!(next(&seen(&buffer, "night-1", true)), delete);
}

/// Name, tag and journal agree, or it is not touched.
#[test]
fn a_pool_that_bears_another_name_or_another_tag_is_not_the_runs() {
    let (state, buffer) = made_a_buffer();
    let identity = inventory().identity;
    let foreign = seen(&buffer, "night-2", true);
    assert_eq!(tasks(&state, &foreign, &identity), []);
    let named = without_journal(&foreign, &identity, std::slice::from_ref(&state), None);
    assert_eq!(named.iter().map(|left| left.object.as_str()).collect::<Vec<_>>(), [buffer.as_str()]);
    assert!(named[0].by_hand.contains("--resource-group rg --cluster-name shop"), "{}", named[0].by_hand);
    assert_eq!(
        without_journal(&foreign, &identity, &[], RunId::new("night-2").ok().as_ref()),
        [],
        "it is at work"
    );
    let other_name = seen(&PoolName::new("other").unwrap(), "night-1", true);
    assert_eq!(tasks(&state, &other_name, &identity), []);
}

#[test]
fn a_buffer_stays_while_pods_run_on_it_or_cannot_be_seen() {
    let (_, buffer) = made_a_buffer();
    let mut used = seen(&buffer, "night-1", true);
    used.view.apply(Change::Applied(Object::Pod(pod("shop/web-1", "buffer-1"))));
    assert_eq!(stuck(next(&used)), "pods run on it (1): shop/web-1");
    let mut blind = seen(&buffer, "night-1", true);
    blind.unseen.push(Unseen { what: "pods".into(), why: "forbidden".into() });
    assert_eq!(stuck(next(&blind)), "pods could not be seen: forbidden");
}

#[test]
fn a_rancher_that_has_taken_the_cluster_over_since_keeps_the_buffer() {
    let (_, buffer) = made_a_buffer();
    let mut taken = seen(&buffer, "night-1", true);
    taken.ownership = managed(&[]);
    assert!(stuck(next(&taken)).starts_with("Rancher manages this cluster's pools now"));
}

#[test]
fn cordons_of_nobody_that_is_known_are_named_and_no_more() {
    let (state, buffer) = made_a_buffer();
    let seen = seen(&buffer, "night-1", true);
    let told = unaccounted_cordons(&seen, std::slice::from_ref(&state));
    assert_eq!(told.as_deref(), Some("cordoned, and no journal that was read says by whom: buffer-1"));
}
