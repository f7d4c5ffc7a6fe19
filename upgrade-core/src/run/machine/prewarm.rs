//! Pulling images ahead: which pods are made and deleted next, and what they have shown.
//!
//! Nothing of it is needed to resume. A process that takes up the run deletes the pods of the one before, or goes on with those
//! that it would make itself; an image that is there already costs a node nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::{Machine, Phase, millis, signed};
use crate::event::{EventKind, RunOutcome};
use crate::journal::Write;
use crate::model::{Bytes, NodeName, Pod, PoolName, PullState, RunId, StepId, Uid, full_image_name};
use crate::plan::{Action, Step};
use crate::prewarm::{NodeNeeds, PrewarmPod, needs, users};
use crate::run::Verdict;
use crate::run::failure::Failure;
use crate::view::View;

/// How many nodes pull at the same time. A kubelet pulls one image after another; a registry of the middle tier serves so many
/// at their own speed, and more of them would share what it gives.
const NODES_AT_ONCE: usize = 50;

/// How long an image may fail to be pulled. The kubelet tries again after 10, 20, 40 and 80 s, so that the registry has been
/// asked five times by then.
const FAILS_FOR: Duration = Duration::from_secs(180);

/// What the kubelet says while it pauses between two tries.
const BACK_OFF: &str = "ImagePullBackOff";

/// How many images a message names.
const NAMED: usize = 3;

/// How far the images of one step are.
#[derive(Debug, Default)]
pub(super) struct Warming {
    /// Pods to make, by node, in order.
    queue: BTreeMap<NodeName, VecDeque<PrewarmPod>>,
    /// The pod that a node is at.
    active: BTreeMap<NodeName, Active>,
    /// Images that are done with, on which node, well or not.
    settled: BTreeSet<(Uid, String)>,
    sizes: BTreeMap<String, Bytes>,
    /// What was pulled by name and content, and compared with what runs: most nodes pull the same.
    compared: BTreeSet<(String, String)>,
    /// Images whose names mean another one now, told once.
    changed: BTreeSet<String>,
    /// Namespaces that do not admit such pods.
    closed: BTreeSet<String>,
    /// Nodes that have pulled something.
    warm: BTreeSet<NodeName>,
    pulled: usize,
    bytes: u64,
    cold: usize,
    /// What cannot be pulled, and for whom.
    failure: Option<String>,
    /// It was looked whether anything more is needed, and nothing is.
    complete: bool,
}

/// A pod that pulls.
#[derive(Debug)]
struct Active {
    pod: PrewarmPod,
    uid: Uid,
    /// Since when its next image is waited for.
    since: Timestamp,
    failing: Option<Timestamp>,
    /// What was said of images that could not be pulled. While the kubelet pauses it says only that it does.
    said: BTreeMap<String, String>,
    told: BTreeSet<String>,
    /// Nothing more is wanted of it.
    over: bool,
}

/// What a look at the pods is about.
struct Looking<'a> {
    view: &'a View,
    run: &'a RunId,
    step: &'a StepId,
    on: &'a PoolName,
    off: &'a PoolName,
    now: Timestamp,
    limit: Duration,
}

impl Looking<'_> {
    /// The pod, if it is there and the run's own.
    fn pod(&self, wanted: &PrewarmPod) -> Option<&Pod> {
        self.view.pod(&wanted.name).filter(|pod| pod.pulling.as_ref().is_some_and(|own| own.run == *self.run))
    }
}

impl Warming {
    /// Takes in what the pods show, and chooses the next ones. Gives what there is to tell.
    fn look(&mut self, case: &Looking<'_>) -> Vec<EventKind> {
        let mut news = Vec::new();
        let mut active = std::mem::take(&mut self.active);
        active.retain(|name, active| {
            let stands = case.view.node(name).is_some_and(|node| node.uid == active.uid);
            if stands && !active.over {
                self.observe(case, active, &mut news);
            }
            stands && !(active.over && case.pod(&active.pod).is_none())
        });
        self.active = active;
        self.queue.retain(|name, _| case.view.node(name).is_some());
        self.promote(case.now, case.view);
        if self.queue.is_empty() && self.active.is_empty() && !self.complete {
            self.refill(case, &mut news);
            self.promote(case.now, case.view);
            self.complete = self.active.is_empty();
        }
        news
    }

    fn observe(&mut self, case: &Looking<'_>, active: &mut Active, news: &mut Vec<EventKind>) {
        let mut failing = false;
        let mut refused = None;
        if let Some(pulling) = case.pod(&active.pod).and_then(|pod| pod.pulling.as_ref()) {
            for pull in &pulling.images {
                match &pull.state {
                    PullState::Pulled if active.told.insert(pull.image.clone()) => {
                        news.push(self.pulled(case, active, &pull.image));
                        news.extend(self.changed(case, active, &pull.image));
                    }
                    PullState::Failed { reason, message } => {
                        failing = true;
                        if reason != BACK_OFF || !active.said.contains_key(&pull.image) {
                            active.said.insert(pull.image.clone(), format!("{reason}: {message}"));
                        }
                    }
                    PullState::Pulled | PullState::Waiting => {}
                }
            }
            refused.clone_from(&pulling.refused);
        }
        active.over = active.pod.images.iter().all(|image| active.told.contains(image));
        if active.over {
            return;
        }
        let since = failing.then(|| *active.failing.get_or_insert(case.now));
        active.failing = since;
        if since.is_some_and(|since| case.now.duration_since(since) > signed(FAILS_FOR)) {
            self.failure.get_or_insert_with(|| failure(case, active));
        } else if let Some(why) = refused {
            news.push(self.leave_cold(active, &format!("the node does not take the pod: {why}")));
        } else if !failing && case.now.duration_since(active.since) > signed(case.limit) {
            let why = format!("nothing came in {} (`move_timeout`)", crate::span::show(case.limit));
            news.push(self.leave_cold(active, &why));
        }
    }

    fn pulled(&mut self, case: &Looking<'_>, active: &mut Active, image: &str) -> EventKind {
        let bytes = self.sizes.get(&full_image_name(image)).map(|bytes| bytes.0);
        let duration_ms = millis(case.now, active.since);
        active.since = case.now;
        self.settled.insert((active.uid.clone(), image.to_owned()));
        self.warm.insert(active.pod.node.clone());
        self.pulled += 1;
        self.bytes += bytes.unwrap_or(0);
        EventKind::ImagePulled {
            step: case.step.clone(),
            node: active.pod.node.clone(),
            image: image.to_owned(),
            bytes,
            duration_ms,
        }
    }

    /// A tag that was pushed again: what runs is not what was pulled, and a pod that moves runs the new one.
    fn changed(&mut self, case: &Looking<'_>, active: &Active, image: &str) -> Option<EventKind> {
        let new = case.pod(&active.pod)?.content_of(image)?;
        if !self.compared.insert((image.to_owned(), new.to_owned())) {
            return None;
        }
        let mut running = case.view.pods_in(case.off).filter(|pod| !pod.leaves_with_node());
        let old = running.find_map(|pod| pod.content_of(image).filter(|old| *old != new))?;
        self.changed.insert(image.to_owned()).then(|| {
            let message = format!(
                "image {image} is another one now: what runs on {} is {old}, what was pulled is {new}; pods that move run the new one",
                case.off
            );
            EventKind::Warning { message }
        })
    }

    /// The pods of these images pull them themselves.
    fn leave_cold(&mut self, active: &mut Active, why: &str) -> EventKind {
        active.over = true;
        let left: Vec<&String> =
            active.pod.images.iter().filter(|image| !active.told.contains(*image)).collect();
        self.settled.extend(left.iter().map(|image| (active.uid.clone(), (*image).clone())));
        self.cold += left.len();
        cold(&active.pod.node, &left, why)
    }

    /// The next pod of each node that is free.
    fn promote(&mut self, now: Timestamp, view: &View) {
        let mut free: Vec<NodeName> =
            self.queue.keys().filter(|node| !self.active.contains_key(*node)).cloned().collect();
        free.truncate(NODES_AT_ONCE.saturating_sub(self.active.len()));
        for name in free {
            let Some(node) = view.node(&name) else { continue };
            while let Some(pod) = self.queue.get_mut(&name).and_then(VecDeque::pop_front) {
                if self.closed.contains(pod.name.namespace()) {
                    self.cold += pod.images.len();
                    self.settled.extend(pod.images.into_iter().map(|image| (node.uid.clone(), image)));
                    continue;
                }
                let active = Active {
                    pod,
                    uid: node.uid.clone(),
                    since: now,
                    failing: None,
                    said: BTreeMap::new(),
                    told: BTreeSet::new(),
                    over: false,
                };
                self.active.insert(name.clone(), active);
                break;
            }
            if self.queue.get(&name).is_some_and(VecDeque::is_empty) {
                self.queue.remove(&name);
            }
        }
    }

    fn refill(&mut self, case: &Looking<'_>, news: &mut Vec<EventKind>) {
        let needs = needs(case.view, case.on, case.off, &self.settled);
        self.sizes.extend(needs.sizes);
        for (name, lacks) in needs.nodes {
            let NodeNeeds { uid, windows, images, too_large } = lacks;
            if !too_large.is_empty() {
                news.push(cold(
                    &name,
                    &too_large.iter().collect::<Vec<_>>(),
                    "its disk has no room for them",
                ));
                self.cold += too_large.len();
                self.settled.extend(too_large.into_iter().map(|image| (uid.clone(), image)));
            }
            let pods = images.into_iter().map(|((namespace, access), images)| {
                PrewarmPod::new(case.run, &namespace, (&name, &uid), windows, images, access)
            });
            let pods: VecDeque<PrewarmPod> = pods.collect();
            if !pods.is_empty() {
                self.queue.insert(name, pods);
            }
        }
    }

    fn verdict(&self, view: &View, run: &RunId, on: &PoolName) -> Verdict {
        if let Some(failure) = &self.failure {
            return Verdict::Fail(Failure::ImageMissing, failure.clone());
        }
        let own = view.pulling_pods().filter(|pod| pod.pulling.as_ref().is_some_and(|own| own.run == *run));
        let own: BTreeMap<_, _> = own.map(|pod| (&pod.name, pod)).collect();
        let wanted = |pod: &Pod| {
            let active = pod.node.as_ref().and_then(|node| self.active.get(node));
            active.is_some_and(|active| active.pod.name == pod.name && !active.over)
        };
        let delete = own.values().filter(|pod| !pod.terminating && !wanted(pod)).map(|pod| delete(pod));
        let missing =
            self.active.values().filter(|active| !active.over && !own.contains_key(&active.pod.name));
        let create = missing.map(|active| Write::CreatePrewarmPod { pod: active.pod.clone() });
        let writes: Vec<Write> = delete.chain(create).collect();
        if !writes.is_empty() {
            return Verdict::Write(writes);
        }
        if self.complete && own.is_empty() {
            return Verdict::Done(self.said(on));
        }
        let queued: usize = self.queue.values().flatten().map(|pod| pod.images.len()).sum();
        let left: usize =
            self.active.values().map(|active| active.pod.images.len() - active.told.len()).sum();
        let nodes = self.active.len();
        Verdict::Patience(format!("{} images to be pulled, on {nodes} nodes at a time", left + queued))
    }

    fn said(&self, on: &PoolName) -> String {
        let cold = match self.cold {
            0 => String::new(),
            cold => format!("; {cold} are pulled when their pods land"),
        };
        if self.pulled == 0 && self.cold == 0 {
            return format!("the nodes of {on} lack no image");
        }
        let (pulled, nodes, size) = (self.pulled, self.warm.len(), mebibytes(self.bytes));
        format!("{pulled} pulls ({size}) onto {nodes} nodes of {on}{cold}")
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn delete(pod: &Pod) -> Write {
    Write::DeletePrewarmPod { pod: pod.name.clone(), uid: pod.uid.clone() }
}

fn cold(node: &NodeName, images: &[&String], why: &str) -> EventKind {
    let message = format!(
        "{} not pulled ahead onto node {node}: {why}; pods pull there when they land",
        listed(images)
    );
    EventKind::Warning { message }
}

fn listed(images: &[&String]) -> String {
    let named: Vec<&str> = images.iter().take(NAMED).map(|image| image.as_str()).collect();
    match images.len().saturating_sub(NAMED) {
        0 => format!("{} {}", named.join(", "), if images.len() == 1 { "is" } else { "are" }),
        more => format!("{} and {more} more images are", named.join(", ")),
    }
}

/// What cannot be pulled, in the server's words, and who needs it.
fn failure(case: &Looking<'_>, active: &Active) -> String {
    let node = &active.pod.node;
    let failed =
        active.said.iter().filter(|(image, _)| !active.told.contains(*image)).map(|(image, words)| {
            let users: Vec<String> = users(case.view, case.off, image).into_iter().collect();
            let who =
                if users.is_empty() { String::new() } else { format!(", which {} needs,", users.join(", ")) };
            format!("image {image}{who} cannot be pulled onto node {node} ({words})")
        });
    let failed: Vec<String> = failed.take(NAMED).collect();
    format!("{}; nothing of {} is cordoned yet", failed.join("; "), case.off)
}

impl Machine {
    /// Takes in how far the pods of the step are.
    pub(super) fn warm(&mut self, now: Timestamp, step: &Step) {
        let Action::Prewarm { on, for_pods_of } = &step.action else { return };
        let mut warming = self.warming.take().unwrap_or_default();
        let case = Looking {
            view: &self.view,
            run: &self.run,
            step: &step.id,
            on,
            off: for_pods_of,
            now,
            limit: self.plan.policy.move_timeout,
        };
        let news = warming.look(&case);
        self.warming = Some(warming);
        for kind in news {
            self.emit(now, kind);
        }
    }

    pub(super) fn warmed(&self, on: &PoolName) -> Verdict {
        match &self.warming {
            Some(warming) => warming.verdict(&self.view, &self.run, on),
            None => Verdict::Patience(String::new()),
        }
    }

    /// The API server does not admit a pod that pulls: a quota, a policy, a right. No other is tried in that namespace.
    pub(super) fn not_admitted(&mut self, now: Timestamp, pod: &PrewarmPod, message: &str) {
        let Some(warming) = &mut self.warming else { return };
        let namespace = pod.name.namespace();
        let told = !warming.closed.insert(namespace.to_owned());
        for active in warming.active.values_mut().filter(|active| active.pod.name == pod.name) {
            active.over = true;
            warming.cold += active.pod.images.len();
            let images = active.pod.images.iter().cloned();
            warming.settled.extend(images.map(|image| (active.uid.clone(), image)));
        }
        if !told {
            let message = format!(
                "images of namespace {namespace} are not pulled ahead: {message}; pods pull them when they land"
            );
            self.emit(now, EventKind::Warning { message });
        }
    }

    /// At the end, whatever it is, the pods that pull are deleted, each tried once.
    pub(super) fn stop_pulling(&mut self, now: Timestamp, outcome: &RunOutcome) {
        let may_write = match outcome {
            RunOutcome::Held { .. } | RunOutcome::Paused { .. } | RunOutcome::Aborted => {
                self.stops <= 1 && self.may_write()
            }
            // Nothing is written to a cluster that is another one, or somebody else's; at the end of a plan none is left.
            RunOutcome::IdentityLost { .. }
            | RunOutcome::Locked { .. }
            | RunOutcome::Done
            | RunOutcome::Reversed { .. } => false,
        };
        let stage = self.state.current_stage().filter(|stage| self.state.stage_started(*stage).is_some());
        let Some(stage) = stage.filter(|_| may_write).and_then(|number| self.plan.stage(number)) else {
            return;
        };
        let open = |step: &&Step| {
            matches!(step.action, Action::Prewarm { .. }) && self.state.outcome(&step.id).is_none()
        };
        let Some(step) = stage.steps().find(open).cloned() else { return };
        let own = self.view.pulling_pods().filter(|pod| !pod.terminating);
        let own = own.filter(|pod| pod.pulling.as_ref().is_some_and(|own| own.run == self.run));
        let writes: Vec<Write> = own.map(delete).filter(|write| !self.sent.is_pending(write)).collect();
        for write in writes {
            if let Write::DeletePrewarmPod { uid, .. } = &write
                && self.stopped_pulling.insert(uid.clone())
                && matches!(self.phase, Phase::Ending(_))
            {
                self.send(now, &step, write);
            }
        }
    }
}

#[cfg(test)]
mod tests;
