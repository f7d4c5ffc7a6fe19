//! The driver: performs what the machine decides, and nothing else.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, select_biased};
use jiff::Timestamp;

use super::keeper::Keeper;
use super::lost;
use super::machine::{Effect, Input, Look, Machine};
use super::stop::StopSignal;
use crate::event::Report;
use crate::journal::{IllegalRecord, RunState, Write, WriteAnswer};
use crate::model::RunId;
use crate::plan::Plan;
use crate::ports::{BufferSpec, CallOutcome, OperationRef, PortError, Ports, WriteMode};
use crate::view::Change;

/// How many changes are taken in before the machine decides: a burst costs one decision, not one each.
const BATCH: usize = 512;

/// What to execute.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made once per run")]
pub enum Start {
    /// A plan, from its beginning.
    Fresh {
        /// The plan.
        plan: Plan,
        /// The new run's id.
        run: RunId,
        /// The version of the tool, for the journal.
        tool: String,
    },
    /// A run, from its journal.
    Resumed(RunState),
}

/// Why a run could not be brought to an end of its own. Whatever the world does is an outcome in the [`Report`]; these are
/// failures of the run's own ground.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriveError {
    /// The journal could not be written. Nothing is done that is not in the journal, so the run stopped at once.
    #[error("the journal cannot be written; nothing was done after that")]
    Journal(#[source] PortError),
    /// The journal does not tell the story of a run that can go on.
    #[error("the run cannot go on from its journal")]
    Illegal(#[source] IllegalRecord),
}

/// Executes a plan, or goes on with a run, to its end.
///
/// Guarantees: each write's intent is durable before the write is sent; each write is sent once and observed, and only while
/// the lock of the cluster is held, which is given back at the end; the last event is
/// [`RunEnded`](crate::event::EventKind::RunEnded), and its report is the one returned. Dropping the future stops at once, as a
/// killed process would.
pub async fn drive(start: Start, ports: Ports, stop: StopSignal) -> Result<Report, DriveError> {
    let now = ports.clock.now();
    let (mut machine, mut effects) = match start {
        Start::Fresh { plan, run, tool } => Machine::begin(plan, run, tool, now),
        Start::Resumed(state) => Machine::resume(state, now).map_err(DriveError::Illegal)?,
    };
    effects.extend(machine.meet(now, &*ports.gate));
    let mut keeper = Keeper::new(&ports, machine.run());
    let mut writes = 0;
    let ended = work(machine, effects, &ports, &mut keeper, &mut writes, stop).await;
    // A write that was not answered may still be on its way: nobody is let in before the Lease has ended by itself.
    if writes == 0 {
        keeper.give_back().await;
    }
    ended
}

/// Works until the run has ended. `writes` counts those that were sent and not answered.
async fn work(
    mut machine: Machine,
    mut effects: Vec<Effect>,
    ports: &Ports,
    keeper: &mut Keeper,
    writes: &mut usize,
    stop: StopSignal,
) -> Result<Report, DriveError> {
    let run = machine.run().clone();
    let mut stop = stop.fuse();
    let mut watch = ports.kubernetes.watch().ready_chunks(BATCH).fuse();
    let mut calls: FuturesUnordered<BoxFuture<'static, Input>> = FuturesUnordered::new();
    loop {
        for effect in effects {
            match effect {
                Effect::Record(record) => ports.journal.append(&record).await.map_err(DriveError::Journal)?,
                Effect::Emit(event) => ports.events.emit(&event),
                Effect::End(report) => return Ok(*report),
                Effect::TakeLock => keeper.seek(),
                Effect::Act { id, write } => {
                    *writes += 1;
                    calls.push(act(ports, &run, id, write, keeper.permit()));
                }
                call => calls.push(perform(ports, call)),
            }
        }
        let wake = machine.wake_at(ports.clock.now());
        let mut timer = sleep(ports, wake).fuse();
        let mut lock = pin!(keeper.news().fuse());
        // In a fixed order, because chance would tell the same night differently each time. What comes seldom comes first, so
        // that a busy watch holds up neither a request to stop nor the lock nor an answer.
        effects = select_biased! {
            () = stop.select_next_some() => machine.on(ports.clock.now(), Input::Stop),
            news = lock => machine.on(ports.clock.now(), Input::Lock(news)),
            input = calls.select_next_some() => {
                *writes -= usize::from(matches!(input, Input::Answered { .. }));
                machine.on(ports.clock.now(), input)
            }
            chunk = watch.select_next_some() => take_in(&mut machine, ports, chunk),
            () = timer => machine.on(ports.clock.now(), Input::Tick),
        };
    }
}

/// Feeds a burst of watch items to the machine, in order.
fn take_in(machine: &mut Machine, ports: &Ports, chunk: Vec<Result<Change, PortError>>) -> Vec<Effect> {
    let now = ports.clock.now();
    let mut effects = Vec::new();
    let mut changes = Vec::new();
    for item in chunk {
        match item {
            Ok(change) => changes.push(change),
            Err(error) => {
                if !changes.is_empty() {
                    effects.extend(machine.on(now, Input::Changes(std::mem::take(&mut changes))));
                }
                effects.extend(machine.on(now, Input::ContactLost(error)));
            }
        }
    }
    if !changes.is_empty() {
        effects.extend(machine.on(now, Input::Changes(changes)));
    }
    effects
}

fn sleep(ports: &Ports, until: Timestamp) -> BoxFuture<'static, ()> {
    let clock = Arc::clone(&ports.clock);
    async move { clock.sleep_until(until).await }.boxed()
}

/// Sends one write, if it is permitted; the answer comes back as an input.
fn act(
    ports: &Ports,
    run: &RunId,
    id: u64,
    write: Write,
    permit: Result<(), PortError>,
) -> BoxFuture<'static, Input> {
    let (ports, run) = (ports.clone(), run.clone());
    async move {
        let (answer, retry_after) = send_if(&ports, &run, write, permit).await;
        Input::Answered { id, answer, retry_after }
    }
    .boxed()
}

/// Sends one write, once, if it is permitted. One whose answer was lost is looked for.
pub(crate) async fn send_if(
    ports: &Ports,
    run: &RunId,
    write: Write,
    permit: Result<(), PortError>,
) -> (WriteAnswer, Option<Duration>) {
    let (answer, retry_after) = match permit {
        Ok(()) => send(ports, run, write.clone()).await,
        Err(error) => failed(&error),
    };
    match answer {
        lost @ WriteAnswer::Unknown { .. } => (lost::look_for(ports, &write, lost).await, retry_after),
        answer => (answer, retry_after),
    }
}

/// Starts one call that reads or asks; its answer comes back as an input.
fn perform(ports: &Ports, effect: Effect) -> BoxFuture<'static, Input> {
    let ports = ports.clone();
    async move {
        match effect {
            Effect::LookAtAzure(operations) => Input::Azure(look(&ports, operations).await),
            Effect::Prove => Input::Identity(ports.rancher.identity().await),
            Effect::LookForRoom(buffers) => Input::Room(shortages(&ports, &buffers).await),
            Effect::ReadRancher => Input::Rancher(ports.rancher.facts().await),
            Effect::Ask(question) => Input::Gate(ports.gate.ask(&question).await),
            Effect::Probe(probe) => {
                let answer = ports.gate.probe(&probe).await;
                Input::Probed { probe, answer }
            }
            // Performed by the caller, which alone may order them.
            Effect::Record(_) | Effect::Emit(_) | Effect::End(_) | Effect::TakeLock | Effect::Act { .. } => {
                Input::Tick
            }
        }
    }
    .boxed()
}

/// What is not enough for one of the buffers; they stand one after another.
async fn shortages(ports: &Ports, buffers: &[BufferSpec]) -> Result<Vec<String>, PortError> {
    let mut missing = Vec::new();
    for buffer in buffers {
        let short = ports.azure.shortages(buffer).await?;
        missing.extend(short.into_iter().map(|what| format!("buffer {}: {what}", buffer.name)));
    }
    Ok(missing)
}

async fn look(ports: &Ports, operations: Vec<OperationRef>) -> Result<Look, PortError> {
    // Operations first: one that has ended shows in a resource that is read after it, never before.
    let mut states = Vec::with_capacity(operations.len());
    for operation in operations {
        let state = ports.azure.operation(&operation).await?;
        states.push((operation, state));
    }
    let view = ports.azure.observe().await?;
    Ok(Look { view, operations: states })
}

/// Sends one write, once.
async fn send(ports: &Ports, run: &RunId, write: Write) -> (WriteAnswer, Option<Duration>) {
    let (kubernetes, azure) = (&ports.kubernetes, &ports.azure);
    let accepted = |operation| WriteAnswer::Accepted { operation };
    let result = match write {
        Write::UpgradeControlPlane { to } => azure.upgrade_control_plane(to).await.map(accepted),
        Write::CreatePool { name, like, count, version } => {
            azure.create_pool(&BufferSpec { name, like, count, version }, run).await.map(accepted)
        }
        Write::UpgradePool { pool, to } => azure.upgrade_pool(&pool, to).await.map(accepted),
        Write::DeletePool { pool } => azure.delete_pool(&pool, run).await.map(accepted),
        Write::Cordon { node, uid } => kubernetes
            .set_unschedulable(&node, &uid, true, WriteMode::Commit)
            .await
            .map(|()| WriteAnswer::Done),
        Write::Uncordon { node, uid } => kubernetes
            .set_unschedulable(&node, &uid, false, WriteMode::Commit)
            .await
            .map(|()| WriteAnswer::Done),
        Write::Exclude { node, uid } => kubernetes
            .set_excluded(&node, &uid, true, run, WriteMode::Commit)
            .await
            .map(|()| WriteAnswer::Done),
        Write::Include { node, uid } => kubernetes
            .set_excluded(&node, &uid, false, run, WriteMode::Commit)
            .await
            .map(|()| WriteAnswer::Done),
        Write::Restart { workload, uid, restart } => {
            let at = ports.clock.now();
            kubernetes
                .restart(&workload, &uid, &restart, at, WriteMode::Commit)
                .await
                .map(|()| WriteAnswer::Done)
        }
        Write::Lend { workload, uid, former, lent } => kubernetes
            .change_settings(&workload, &uid, &former, &lent, WriteMode::Commit)
            .await
            .map(|()| WriteAnswer::Done),
        Write::GiveBack { workload, uid, lent, former } => kubernetes
            .change_settings(&workload, &uid, &lent, &former, WriteMode::Commit)
            .await
            .map(|()| WriteAnswer::Done),
        Write::Evict { pod, uid } => kubernetes
            .evict(&pod, &uid, WriteMode::Commit)
            .await
            .map(|eviction| WriteAnswer::Eviction { eviction }),
        Write::CreatePrewarmPod { pod } => {
            kubernetes.create_prewarm_pod(&pod, run, WriteMode::Commit).await.map(|()| WriteAnswer::Done)
        }
        Write::DeletePrewarmPod { pod, uid } => {
            kubernetes.delete_prewarm_pod(&pod, &uid, WriteMode::Commit).await.map(|()| WriteAnswer::Done)
        }
    };
    match result {
        Ok(answer) => (answer, None),
        Err(error) => failed(&error),
    }
}

/// What a call that failed is as an answer.
fn failed(error: &PortError) -> (WriteAnswer, Option<Duration>) {
    let message = error.to_string();
    let answer = match error.outcome {
        CallOutcome::NothingDone => WriteAnswer::Failed { message, kind: error.kind },
        CallOutcome::Unknown => WriteAnswer::Unknown { message },
    };
    (answer, error.retry_after)
}
