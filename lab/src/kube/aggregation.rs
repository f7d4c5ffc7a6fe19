//! APIs that the API server passes on: each is available as long as somebody is ready behind its Service (kube-aggregator,
//! available condition controller).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{
    APIService, APIServiceCondition, APIServiceStatus, ServiceReference,
};
use upgrade_core::model::ObjectName;

use super::Work;
use crate::store::Key;
use crate::world::World;

/// The Service that answers for an API; `None` for one of the API server's own.
fn service(api: &APIService) -> Option<&ServiceReference> {
    api.spec.as_ref()?.service.as_ref()
}

/// The endpoints of a Service have changed.
pub(super) fn on_endpoints(world: &mut World, namespace: &str, name: &str) {
    let is_behind = |api: &APIService| {
        let service = service(api);
        service.is_some_and(|s| (s.namespace.as_deref(), s.name.as_deref()) == (Some(namespace), Some(name)))
    };
    let apis: Vec<Key> = world
        .store
        .list::<APIService>()
        .filter(|api| is_behind(api))
        .map(|api| super::key_of(&**api))
        .collect();
    for key in apis {
        world.enqueue(Work::AggregatedApi(key.name));
    }
}

/// Writes whether the API is available.
pub(super) fn reconcile(world: &mut World, name: &str) {
    let Some(api) = world.store.get::<APIService>("", name).cloned() else { return };
    let (status, reason, message) = match service(&api) {
        None => ("True", "Local", "Local APIServices are always available".to_owned()),
        Some(service) => {
            let (namespace, name) = (
                service.namespace.as_deref().unwrap_or_default(),
                service.name.as_deref().unwrap_or_default(),
            );
            let ready =
                ObjectName::new(namespace, name).map_or(0, |name| world.kube.view.ready_endpoints(&name));
            if ready > 0 {
                ("True", "Passed", "all checks passed".to_owned())
            } else {
                let message = format!("endpoints for service/{name} in \"{namespace}\" have no addresses");
                ("False", "MissingEndpoints", message)
            }
        }
    };
    let known = api.status.iter().flat_map(|status| status.conditions.iter().flatten());
    if known
        .into_iter()
        .any(|c| c.type_ == "Available" && c.status == status && c.reason.as_deref() == Some(reason))
    {
        return;
    }
    let condition = APIServiceCondition {
        last_transition_time: Some(Time(world.now())),
        message: Some(message),
        reason: Some(reason.to_owned()),
        status: status.to_owned(),
        type_: "Available".to_owned(),
    };
    let _ = world.store.update::<APIService>("", name, |api| {
        api.status = Some(APIServiceStatus { conditions: Some(vec![condition]) });
    });
}
