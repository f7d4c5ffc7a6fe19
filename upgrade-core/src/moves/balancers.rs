//! External load balancers: a node is taken out of them before what answers there goes.
//!
//! A load balancer sends to nodes and hears late that nothing answers there any more. With `externalTrafficPolicy: Local` that is
//! so from the moment a Service's last pod on the node begins to end, with `Cluster` from the moment the machine itself goes. A
//! cordon changes nothing about it; the label `node.kubernetes.io/exclude-from-external-load-balancers` does (Kubernetes: service
//! controller). Only Services of type `LoadBalancer` are of concern: the label acts on no others.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::journal::Write;
use crate::model::{Node, ObjectName, Pod, PoolName, RunId, Service, ServiceType, Uid};
use crate::run::Verdict;
use crate::span;
use crate::view::View;

/// How long a load balancer may take to send nothing to a node any more: its back ends are written anew, and what is on its way
/// comes to its end. No promise of Azure's is known; two failed probes, five seconds apart, take a node out without the label.
const SETTLES: Duration = Duration::from_secs(30);

/// What is known of nodes and load balancers.
#[derive(Clone, Copy)]
pub(crate) struct Balancers<'a> {
    pub(crate) view: &'a View,
    pub(crate) run: &'a RunId,
    /// Since when the nodes are surely out that the run has had taken out.
    pub(crate) excluded: &'a BTreeMap<Uid, Timestamp>,
    pub(crate) now: Timestamp,
}

/// A Service for which an external load balancer stands.
pub(crate) fn is_balanced(service: &Service) -> bool {
    service.service_type == ServiceType::LoadBalancer
}

/// A Service whose load balancer sends only to nodes on which one of its pods answers.
pub(crate) fn stays_on_its_node(service: &Service) -> bool {
    is_balanced(service) && service.local_traffic_only
}

/// Lets those of the nodes back in that the run has had taken out.
pub(crate) fn back_in<'a>(run: &RunId, nodes: impl Iterator<Item = &'a Node>) -> Vec<Write> {
    let ours = nodes.filter(|node| node.excluded_by() == Some(run.as_str()));
    ours.map(|node| Write::Include { node: node.name.clone(), uid: node.uid.clone() }).collect()
}

impl<'a> Balancers<'a> {
    /// What has to be done, or waited for, before this pod may go; `None` if nothing has. `goes` says of the others whether they
    /// go as well.
    pub(super) fn before_eviction(&self, pod: &Pod, goes: impl Fn(&Pod) -> bool) -> Option<Verdict> {
        let node = self.view.node(pod.node.as_ref()?)?;
        let services = self.view.services_for(pod.name.namespace(), &pod.labels);
        let mut local = services.filter(|service| stays_on_its_node(service)).peekable();
        local.peek()?;
        let is_last = local.any(|service| {
            let others =
                || self.view.ready_pods_behind(&service.name).filter(|o| o.uid != pod.uid && !goes(o));
            let here = others().any(|other| other.node.as_ref() == Some(&node.name));
            // Where no other node answers, the load balancer has nowhere else to send to.
            !here && others().any(|other| self.is_in(other))
        });
        if !is_last {
            return None;
        }
        if self.cut_off(node, |other| other != node).is_some() {
            // Another Service answers nowhere else: for it, the load balancer has to go on sending here.
            return None;
        }
        match self.take_out(node)? {
            Outing::Write(write) => Some(Verdict::Write(vec![write])),
            Outing::Settles(rest) => {
                Some(Verdict::Patience(format!("load balancers to leave node {}, {} more", node.name, rest)))
            }
        }
    }

    /// What has to be done, or waited for, before the nodes of a pool go; `None` if nothing has. A node on which a Service
    /// answers that answers nowhere else stays in.
    pub(crate) fn before_nodes_go(&self, pool: &PoolName) -> Option<Verdict> {
        if !self.view.services().any(is_balanced) {
            return None;
        }
        let stays = |node: &Node| !node.is_in(pool);
        if !self.view.nodes().any(|node| stays(node) && node.ready && node.excluded_by().is_none()) {
            return None;
        }
        let going = self.view.nodes_of(pool).filter(|node| self.cut_off(node, stays).is_none());
        let (mut writes, mut settles) = (Vec::new(), None);
        for outing in going.filter_map(|node| self.take_out(node)) {
            match outing {
                Outing::Write(write) => writes.push(write),
                Outing::Settles(rest) => settles = Some(rest),
            }
        }
        match (writes.is_empty(), settles) {
            (false, _) => Some(Verdict::Write(writes)),
            (true, Some(rest)) => {
                Some(Verdict::Patience(format!("load balancers to leave the nodes of {pool}, {rest} more")))
            }
            (true, None) => None,
        }
    }

    fn take_out(&self, node: &Node) -> Option<Outing> {
        let write = || Outing::Write(Write::Exclude { node: node.name.clone(), uid: node.uid.clone() });
        match node.excluded_by() {
            Some(by) if by == self.run.as_str() => {
                // When it was is not known after a lost answer: writing it once more tells, and changes nothing.
                let Some(since) = self.excluded.get(&node.uid) else { return Some(write()) };
                let out = Duration::try_from(self.now.duration_since(*since)).unwrap_or_default();
                let rest = SETTLES.checked_sub(out).filter(|rest| !rest.is_zero())?;
                Some(Outing::Settles(span::show(rest)))
            }
            // Somebody keeps it out for reasons of their own.
            Some(_) => None,
            None => Some(write()),
        }
    }

    /// A Service that answers on this node and on none that stays in.
    fn cut_off(&self, node: &Node, stays: impl Fn(&Node) -> bool) -> Option<&'a ObjectName> {
        let mut local = self.view.services().filter(|service| stays_on_its_node(service));
        let cut_off = local.find(|service| {
            let behind = || self.view.ready_pods_behind(&service.name);
            let here = behind().any(|pod| pod.node.as_ref() == Some(&node.name));
            let on = |pod: &Pod| pod.node.as_ref().and_then(|name| self.view.node(name));
            here && !behind().any(|pod| self.is_in(pod) && on(pod).is_some_and(&stays))
        });
        cut_off.map(|service| &service.name)
    }

    /// Is the pod's node in external load balancers?
    fn is_in(&self, pod: &Pod) -> bool {
        let node = pod.node.as_ref().and_then(|name| self.view.node(name));
        node.is_some_and(|node| node.excluded_by().is_none())
    }
}

/// What taking a node out of load balancers needs.
enum Outing {
    Write(Write),
    /// It is under way for so long still.
    Settles(String),
}
