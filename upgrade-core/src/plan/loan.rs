//! What a move has to borrow of its workload, so that nobody notices it.

use super::Route;
use crate::model::{IntOrPercent, Settings, Strategy, Workload};
use crate::view::View;

/// How long a new pod must have run before it counts where nothing else says that it serves: long enough to see one that dies
/// at its start, and short enough for a hundred replicas one by one within the usual limit of a move.
const MIN_READY_SECONDS: u32 = 10;

/// What a move by this route borrows of the workload as it is; empty if it needs nothing, or not any more.
pub(crate) fn lent_by(route: Route, workload: &Workload, view: &View) -> Settings {
    match route {
        Route::RestartWithLoan => for_restart(workload, view),
        // An autoscaler that has come since would take it back at once.
        Route::ScaleThenEvict if view.is_autoscaled(&workload.reference) => Settings::default(),
        Route::ScaleThenEvict => for_one_more(workload, view),
        Route::Restart | Route::Evict | Route::WaitThenEvict | Route::Gap => Settings::default(),
    }
}

/// What a Deployment's rolling update needs so that each new pod serves before an old one goes.
pub(super) fn for_restart(workload: &Workload, view: &View) -> Settings {
    let Strategy::Rolling { max_surge, max_unavailable } = workload.strategy else {
        return Settings::default();
    };
    let replicas = workload.replicas;
    let surges = max_surge.ceil_of(replicas) > 0;
    let stops_all = replicas > 0 && max_unavailable.floor_of(replicas) >= replicas;
    Settings {
        replicas: None,
        max_surge: (!surges).then_some(IntOrPercent::Int(1)),
        max_unavailable: stops_all.then_some(IntOrPercent::Int(0)),
        min_ready_seconds: ready_time(workload, view),
    }
}

/// What an owner needs so that one more pod serves before one of them goes.
pub(super) fn for_one_more(workload: &Workload, view: &View) -> Settings {
    let replicas = Some(workload.replicas.saturating_add(1));
    Settings { replicas, min_ready_seconds: ready_time(workload, view), ..Settings::default() }
}

/// The time that makes "ready" mean something, where a Service sends traffic to pods that say nothing about it: no container
/// has a probe, or one of a single replica has none.
fn ready_time(workload: &Workload, view: &View) -> Option<u32> {
    let template = &workload.template;
    let silent = template.unprobed || workload.replicas == 1 && !template.readiness_probe;
    let served = || view.services_for(workload.reference.name.namespace(), &template.labels).next().is_some();
    (silent && workload.min_ready_seconds < MIN_READY_SECONDS && served()).then_some(MIN_READY_SECONDS)
}
