//! What people call the kinds: short names, and the categories that name several (`kubectl get all`).

use crate::store::Kind;

/// The short names and categories of a kind, for those that have some.
const NAMES: &[(Kind, &[&str], &[&str])] = &[
    (Kind::ConfigMap, &["cm"], &[]),
    (Kind::CronJob, &["cj"], &["all"]),
    (Kind::DaemonSet, &["ds"], &["all"]),
    (Kind::Deployment, &["deploy"], &["all"]),
    (Kind::Event, &["ev"], &[]),
    (Kind::HorizontalPodAutoscaler, &["hpa"], &["all"]),
    (Kind::Ingress, &["ing"], &[]),
    (Kind::Job, &[], &["all"]),
    (Kind::LimitRange, &["limits"], &[]),
    (Kind::MutatingWebhookConfiguration, &[], &["api-extensions"]),
    (Kind::Namespace, &["ns"], &[]),
    (Kind::NetworkPolicy, &["netpol"], &[]),
    (Kind::Node, &["no"], &[]),
    (Kind::PersistentVolume, &["pv"], &[]),
    (Kind::PersistentVolumeClaim, &["pvc"], &[]),
    (Kind::Pod, &["po"], &["all"]),
    (Kind::PodDisruptionBudget, &["pdb"], &[]),
    (Kind::PriorityClass, &["pc"], &[]),
    (Kind::ReplicaSet, &["rs"], &["all"]),
    (Kind::ResourceQuota, &["quota"], &[]),
    (Kind::Service, &["svc"], &["all"]),
    (Kind::ServiceAccount, &["sa"], &[]),
    (Kind::StatefulSet, &["sts"], &["all"]),
    (Kind::StorageClass, &["sc"], &[]),
    (Kind::ValidatingWebhookConfiguration, &[], &["api-extensions"]),
];

pub(super) fn short_names(kind: Kind) -> &'static [&'static str] {
    NAMES.iter().find(|(named, ..)| *named == kind).map_or(&[], |(_, short, _)| *short)
}

pub(super) fn categories(kind: Kind) -> &'static [&'static str] {
    NAMES.iter().find(|(named, ..)| *named == kind).map_or(&[], |(.., categories)| *categories)
}
