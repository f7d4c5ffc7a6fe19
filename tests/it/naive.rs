//! What an upgrade without Drover does to the demo cluster: ARM alone, the way most scripts do it. Its transcripts are in
//! `docs/naive-upgrade.md`, beside Drover's.

use std::fmt::Write as _;
use std::time::Duration;

use cluster_lab::{Lab, RancherDeed, Scenario};
use futures::StreamExt;
use futures::future::{Either, select};
use upgrade_core::ledger::{Ledger, ServiceRecord};
use upgrade_core::model::{KubeVersion, PoolName, RunId, VersionRequest};
use upgrade_core::ports::{BufferSpec, OperationRef, OperationState};
use upgrade_core::run::Start;
use upgrade_core::view::View;
use upgrade_core::{Inventory, Policy, plan};

use crate::support::Night;

const TO: KubeVersion = KubeVersion::new(1, 35, 1);
const LOOK: Duration = Duration::from_secs(15);

/// Somebody with a script, and a ledger beside it that the script does not have.
struct Script {
    lab: Lab,
    view: View,
    ledger: Ledger,
    log: String,
}

impl Script {
    fn on(scenario: &Scenario) -> Self {
        let lab = Lab::new(scenario, 1);
        Self { lab, view: View::default(), ledger: Ledger::default(), log: String::new() }
    }

    fn say(&mut self, what: &str) {
        let _ = writeln!(self.log, "{}  {what}", self.lab.now().strftime("%H:%M"));
    }

    /// Waits for an operation, as a script does: it looks, sleeps and looks again. The ledger watches.
    fn wait(&mut self, operation: &OperationRef) -> Result<(), String> {
        let lab = self.lab.clone();
        let done = lab.block_on(async {
            let mut changes = lab.kubernetes().watch();
            loop {
                let (azure, clock) = (lab.azure(), lab.clock());
                let look = lab.now() + LOOK;
                let mut asleep = Box::pin(clock.sleep_until(look));
                while let Either::Left((change, still)) = select(changes.next(), asleep).await {
                    asleep = still;
                    for service in self.view.apply(change.unwrap().unwrap()).services {
                        let ready = self.view.ready_endpoints(&service);
                        self.ledger.note(&service, ready, lab.now(), false, String::new);
                    }
                }
                match azure.operation(operation).await.unwrap() {
                    OperationState::Running => {}
                    OperationState::Succeeded => break Ok(()),
                    OperationState::Failed { message } => break Err(message),
                }
            }
        });
        done.unwrap()
    }

    /// Asks ARM to upgrade a pool, and says what came of it.
    fn upgrade(&mut self, pool: &str) -> Result<(), String> {
        self.say(&format!("az aks nodepool upgrade --name {pool}"));
        let name = PoolName::new(pool).unwrap();
        let lab = self.lab.clone();
        let operation = lab.block_on(lab.azure().upgrade_pool(&name, TO)).unwrap().unwrap();
        let done = self.wait(&operation);
        match &done {
            Ok(()) => self.say("done"),
            Err(why) => self.say(&format!("FAILED: {why}")),
        }
        done
    }

    fn upgrade_control_plane(&mut self) {
        self.say("az aks upgrade --control-plane-only");
        let lab = self.lab.clone();
        let operation = lab.block_on(lab.azure().upgrade_control_plane(TO)).unwrap().unwrap();
        self.wait(&operation).unwrap();
        self.say("done");
    }

    fn count_nodes(&mut self) {
        let words = nodes_words(&self.lab.inventory());
        self.say(&words);
    }

    /// The person on call deletes what stands in the way, until the pool is upgraded.
    fn upgrade_by_force(&mut self, pool: &str) {
        while let Err(why) = self.upgrade(pool) {
            let name = self.blocker(&why);
            self.say(&format!("kubectl delete pod --namespace {} {}", name.0, name.1));
            self.lab.with(|world| world.delete_pod(&name.0, &name.1, None)).unwrap();
        }
    }

    /// The pod that a failed drain names.
    fn blocker(&self, why: &str) -> (String, String) {
        let pods = self.lab.inventory().pods;
        let named = pods.iter().find(|pod| why.contains(pod.name.name())).unwrap();
        (named.name.namespace().to_owned(), named.name.name().to_owned())
    }

    fn transcript(self) -> String {
        let gaps = ledger_words(&self.ledger.records(), self.lab.now());
        format!("{}\n{gaps}", self.log)
    }
}

fn nodes_words(inventory: &Inventory) -> String {
    let nodes = &inventory.nodes;
    let cordoned = nodes.iter().filter(|node| node.unschedulable).count();
    let old = nodes.iter().filter(|node| node.kubelet != Some(TO)).count();
    format!("{} nodes, {old} of them old, {cordoned} cordoned", nodes.len())
}

fn ledger_words(records: &[ServiceRecord], now: jiff::Timestamp) -> String {
    let mut text = String::new();
    let gaps: Vec<_> = records.iter().filter(|record| !record.gaps.is_empty()).collect();
    let _ = writeln!(
        text,
        "{} Services, {} of them with moments without a ready endpoint",
        records.len(),
        gaps.len()
    );
    for record in gaps {
        let seconds: u64 = record.gaps.iter().map(|gap| gap.millis(now)).sum::<u64>().div_ceil(1000);
        let _ = writeln!(text, "  {}: {seconds} s in {}", record.service, record.gaps.len());
    }
    text
}

/// What a script gets on the demo cluster: it stops at the first budget of a single replica, with nodes left behind.
fn stuck() -> String {
    let mut script = Script::on(&Scenario::demo());
    script.upgrade_control_plane();
    script.upgrade("system").and_then(|()| script.upgrade("user")).unwrap_err();
    script.count_nodes();
    script.transcript()
}

/// The same with a person on call who deletes what stands in the way.
fn forced() -> String {
    let mut script = Script::on(&Scenario::demo());
    script.upgrade_control_plane();
    script.upgrade_by_force("system");
    script.upgrade_by_force("user");
    script.count_nodes();
    script.transcript()
}

/// A script that knows of buffers, on a cluster that Rancher manages, while somebody has its form open.
fn lost_buffer() -> String {
    let mut script = Script::on(&Scenario::demo().managed(Duration::from_secs(300)));
    let lab = script.lab.clone();
    script.upgrade_control_plane();
    let pass = |minutes: u64| {
        let until = lab.now() + Duration::from_secs(60 * minutes);
        lab.block_on(lab.clock().sleep_until(until)).unwrap();
    };
    pass(6);
    script.say("somebody opens the cluster's form in Rancher, to change a description");
    lab.with(|world| world.in_rancher(RancherDeed::OpenForm));
    script.say("az aks nodepool add --name userbf");
    let (name, like) = (PoolName::new("userbf").unwrap(), PoolName::new("user").unwrap());
    let buffer = BufferSpec { name, like, count: 6, version: TO };
    let run = RunId::new("script").unwrap();
    let operation = lab.block_on(lab.azure().create_pool(&buffer, &run)).unwrap().unwrap();
    script.wait(&operation).unwrap();
    script.say("done");
    pass(30);
    script.say("the form is saved, with the pools that it showed");
    lab.with(|world| world.in_rancher(RancherDeed::SaveForm));
    pass(10);
    let pools: Vec<String> = script.lab.inventory().pools.iter().map(|pool| pool.name.to_string()).collect();
    script.say(&format!("pools: {}", pools.join(", ")));
    script.log
}

/// Drover on the same cluster.
fn drover() -> String {
    let night = Night::new();
    let to: VersionRequest = "1.35".parse().unwrap();
    let plan = plan(&night.inventory(), &Policy::default(), to).unwrap();
    let run = RunId::new("night-1").unwrap();
    let report = night.run(Start::Fresh { plan, run, tool: "test".into() }).unwrap();
    let minutes = report.duration_ms.div_ceil(60_000);
    let nodes = nodes_words(&night.inventory());
    let gaps = ledger_words(&report.ledger, jiff::Timestamp::UNIX_EPOCH);
    format!("{nodes}, after {minutes} minutes\n{gaps}")
}

#[test]
fn a_script_shows_gaps_a_stuck_drain_and_a_lost_buffer_where_drover_shows_none() {
    let told = [
        ("ARM alone", stuck()),
        ("ARM, and a person who deletes what blocks it", forced()),
        ("A buffer of one's own, beside Rancher", lost_buffer()),
        ("Drover", drover()),
    ];
    let page = include_str!("../../docs/naive-upgrade.md");
    let section = |(title, transcript): &&(&str, String)| {
        let heading = page.contains(&format!("## {title}\n"));
        !heading || !page.contains(&format!("```text\n{transcript}```\n"))
    };
    let differ: Vec<String> =
        told.iter().filter(section).map(|(title, transcript)| format!("## {title}\n{transcript}")).collect();
    assert!(differ.is_empty(), "docs/naive-upgrade.md has to say:\n{}", differ.join("\n"));
}
