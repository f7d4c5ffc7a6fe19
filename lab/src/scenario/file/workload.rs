//! A workload in a few words.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use upgrade_core::model::ObjectName;

use super::super::Manifest;
use super::super::app::App;
use crate::faults::span;

/// What a team would write in its manifests, in short.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Workload {
    /// Namespace and name; its pods carry the label `app` with the name.
    name: ObjectName,
    #[serde(default)]
    kind: Kind,
    #[serde(default = "one")]
    replicas: u32,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    cpu: Option<String>,
    #[serde(default)]
    memory: Option<String>,
    /// When its readiness probe looks first.
    #[serde(default)]
    ready_after: Option<Span>,
    /// It has no readiness probe.
    #[serde(default)]
    unprobed: bool,
    #[serde(default)]
    service: Front,
    #[serde(default)]
    budget: Option<Budget>,
    /// Its pods are all stopped before new ones start.
    #[serde(default)]
    recreate: bool,
    /// Each pod has a disk of its own; of a Deployment see `spec`.
    #[serde(default)]
    disks: bool,
    /// No two of its pods on one node.
    #[serde(default)]
    apart: bool,
    /// Spread over the zones.
    #[serde(default)]
    spread: bool,
    /// On Windows nodes.
    #[serde(default)]
    windows: bool,
    /// How long the pod of a Job runs.
    #[serde(default)]
    runs_for: Option<Span>,
    /// Annotations of its pods.
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    /// More of the pod's spec, as Kubernetes writes it.
    #[serde(default)]
    spec: Option<Value>,
}

fn one() -> u32 {
    1
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    #[default]
    Deployment,
    StatefulSet,
    DaemonSet,
    Job,
}

/// The Service in front of it.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Front {
    #[default]
    Cluster,
    Public,
    None,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Budget {
    MinAvailable(Value),
    MaxUnavailable(Value),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(transparent)]
struct Span(#[serde(with = "span")] Duration);

impl Span {
    fn seconds(self) -> u32 {
        u32::try_from(self.0.as_secs()).unwrap_or(u32::MAX)
    }
}

impl Workload {
    /// The objects that it stands for.
    pub(super) fn manifests(self) -> Vec<Manifest> {
        let Self { kind, runs_for, .. } = self;
        let app = self.app();
        match kind {
            Kind::Deployment => app.deployment(),
            Kind::StatefulSet => app.stateful_set(),
            Kind::DaemonSet => app.daemon_set(),
            Kind::Job => app.job(runs_for.map_or(60, Span::seconds)),
        }
    }

    fn app(self) -> App {
        let mut app = App::new(self.name.namespace(), self.name.name(), self.replicas);
        app = app.asks(self.cpu.as_deref().unwrap_or("100m"), self.memory.as_deref().unwrap_or("128Mi"));
        if let Some(image) = &self.image {
            app = app.image(image);
        }
        if let Some(after) = self.ready_after {
            app = app.ready_after(after.seconds());
        }
        if self.unprobed {
            app = app.unprobed();
        }
        app = match self.service {
            Front::Cluster => app,
            Front::Public => app.public(),
            Front::None => app.unserved(),
        };
        app = match self.budget {
            None => app,
            Some(Budget::MinAvailable(least)) => app.budget("minAvailable", least),
            Some(Budget::MaxUnavailable(most)) => app.budget("maxUnavailable", most),
        };
        if self.recreate {
            app = app.strategy(json!({ "type": "Recreate" }));
        }
        if self.disks {
            app = app.with_disks();
        }
        if self.apart {
            app = app.apart();
        }
        if self.spread {
            app = app.spread();
        }
        // Whoever has nodes of both kinds says for which one an image is.
        let system = if self.windows { "windows" } else { "linux" };
        app = app.spec(json!({ "nodeSelector": { "kubernetes.io/os": system } }));
        for (name, value) in &self.annotations {
            app = app.annotation(name, value);
        }
        match self.spec {
            Some(spec) => app.spec(spec),
            None => app,
        }
    }
}
