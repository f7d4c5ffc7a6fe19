//! The wrong cluster: names that mean two clusters, evidence that contradicts, evidence that is out of sight. Each is refused before
//! anything is written, counted where the writes would arrive.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aks_drover::Fleet;
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cluster_lab::{Lab, Scenario, Server, ServerOptions};
use insta::assert_snapshot;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use upgrade_core::event::{EventKind, Report, RunOutcome};
use upgrade_core::inventory::Ownership;
use upgrade_core::ports::Clock;

use super::{Ended, run};
use crate::tamper::Tamper;

const CLUSTER: &str = "/v3/clusters/c-m-demo0001";
const ARM: &str = "/resourceGroups/rg-demo/providers/Microsoft.ContainerService/managedClusters/demo";
const CREDENTIAL: &str = "/managedClusters/demo/listClusterUserCredential";
const NODES: &str = "/api/v1/nodes";
const KUBE_SYSTEM: &str = "/api/v1/namespaces/kube-system";
const ROOT_CA: &str = "/configmaps/kube-root-ca.crt";

const SUBSCRIPTION: &str = "00000000-0000-4000-8000-00000000de30";
const OTHER_SUBSCRIPTION: &str = "00000000-0000-4000-8000-00000000beef";
const OTHER_CA: &str = "-----BEGIN CERTIFICATE-----\nbm90IHRoaXMgb25l\n-----END CERTIFICATE-----\n";

/// So slow that nothing happens while somebody looks.
const STANDING: f64 = 1e-9;
/// Azure's minutes become a fraction of a second.
const FAST: f64 = 1200.0;

/// A lab, what stands before it, and a folder with its drover.toml and a plan.
struct Scene {
    lab: Lab,
    tamper: Tamper,
    folder: tempfile::TempDir,
    config: String,
    _server: Server,
}

impl Scene {
    /// The demo cluster, imported as it is.
    fn generic(time_scale: f64) -> Self {
        Self::of(&Scenario::demo(), time_scale)
    }

    /// The demo cluster with an AKS configuration in Rancher, in which nobody has ever edited anything.
    fn in_ranchers_hands() -> Self {
        let mut scenario = Scenario::demo();
        scenario.rancher.ownership = Ownership::Unmanaged;
        Self::of(&scenario, STANDING)
    }

    fn of(scenario: &Scenario, time_scale: f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab::new(scenario, 1);
        let options = ServerOptions { port: 0, time_scale, token_dir: folder.path().to_owned() };
        let server = Server::start(lab.clone(), &options).unwrap();
        let tamper = Tamper::before(server.address());
        let config =
            server.drover_toml().replace(&server.address().to_string(), &tamper.address().to_string());
        let scene = Self { lab, tamper, folder, config, _server: server };
        scene.configure(str::to_owned);
        let planned = scene.run(&["plan", "demo", "--to", "1.35", "-o", "plan.json", "--runs", "0"]);
        assert_eq!(planned.code, Some(0), "{planned:?}");
        assert_eq!(scene.tamper.writes(), [""; 0], "a plan writes nothing");
        assert!(!scene.tamper.touched_the_lock());
        scene
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn configure(&self, edit: impl FnOnce(&str) -> String) {
        std::fs::write(self.folder().join("drover.toml"), edit(&self.config)).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        run(self.folder(), arguments)
    }

    /// What the user sees, without what is another in every run.
    fn seen(&self, ended: &Ended) -> String {
        let folder = self.folder().to_str().unwrap();
        let text = ended.stderr.replace(&self.tamper.address().to_string(), "LAB").replace(folder, "FOLDER");
        let code = ended.code.expect("it ends by itself");
        format!("{text}exit {code}\n")
    }
}

/// A kubeconfig as Azure hands it out, with another authority in it.
fn with_other_ca(answer: &mut Value) {
    let kubeconfig = STANDARD.decode(answer["kubeconfigs"][0]["value"].as_str().unwrap()).unwrap();
    let text = String::from_utf8(kubeconfig).unwrap();
    let edited: Vec<String> = text
        .lines()
        .map(|line| match line.split_once("certificate-authority-data: ") {
            Some((indent, _)) => format!("{indent}certificate-authority-data: {}", STANDARD.encode(OTHER_CA)),
            None => line.to_owned(),
        })
        .collect();
    answer["kubeconfigs"][0]["value"] = STANDARD.encode(edited.join("\n")).into();
}

/// An edit of every node.
fn every_node(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> impl Fn(&mut Value) + Send + Sync {
    move |list| list["items"].as_array_mut().unwrap().iter_mut().for_each(&edit)
}

/// An edit of the first node.
fn one_node(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> impl Fn(&mut Value) + Send + Sync {
    move |list| edit(&mut list["items"][0])
}

/// A text, put in the place of another wherever it stands in the value.
fn replace(value: &mut Value, from: &str, to: &str) {
    *value = serde_json::from_str(&value.to_string().replace(from, to)).unwrap();
}

/// Azure's refusal, in its words.
fn no_credential() -> Value {
    json!({ "error": {
        "code": "AuthorizationFailed",
        "message": format!(
            "The client 'drover' with object id 'd' does not have authorization to perform action \
             'Microsoft.ContainerService/managedClusters/listClusterUserCredential/action' over scope \
             '/subscriptions/{SUBSCRIPTION}{ARM}' or the scope is invalid."
        ),
    }})
}

/// How a twin in another place answers: under its own names, with an authority of its own.
fn twin(scene: &Scene, from: (&'static str, &'static str), path: &str) {
    scene.tamper.rename(from.1, from.0).edit(CREDENTIAL, with_other_ca);
    scene.tamper.edit(path, move |cluster| replace(cluster, from.0, from.1));
}

/// One way to the wrong cluster: what it is called, and what is other than it should be.
type Mismatch = (&'static str, fn(&Scene));

const GENERIC: [Mismatch; 19] = [
    ("a cluster of the same name in another subscription", |scene| {
        scene.configure(|config| config.replace(SUBSCRIPTION, OTHER_SUBSCRIPTION));
        twin(scene, (SUBSCRIPTION, OTHER_SUBSCRIPTION), ARM);
    }),
    ("a cluster of the same name and region in another resource group", |scene| {
        scene.configure(|config| config.replace("\"rg-demo\"", "\"rg-twin\""));
        twin(scene, ("rg-demo", "rg-twin"), &ARM.replace("rg-demo", "rg-twin"));
    }),
    ("another node resource group in Azure", |scene| {
        scene.tamper.edit(ARM, |cluster| cluster["properties"]["nodeResourceGroup"] = "MC_other".into());
    }),
    ("one node of a neighbour among ours", |scene| {
        let edit = |node: &mut Value| {
            replace(node, "resourceGroups/MC_rg-demo_demo", "resourceGroups/MC_rg-next_demo");
        };
        scene.tamper.edit(NODES, one_node(edit));
    }),
    ("a node with the label of another cluster", |scene| {
        let edit =
            |node: &mut Value| node["metadata"]["labels"]["kubernetes.azure.com/cluster"] = "MC_other".into();
        scene.tamper.edit(NODES, one_node(edit));
    }),
    ("the pools of another cluster", |scene| {
        let edit = |node: &mut Value| {
            for label in ["agentpool", "kubernetes.azure.com/agentpool"] {
                node["metadata"]["labels"][label] = "np1".into();
            }
        };
        scene.tamper.edit(NODES, every_node(edit));
    }),
    ("a node of a pool that Azure does not show", |scene| {
        let edit =
            |node: &mut Value| node["metadata"]["labels"]["kubernetes.azure.com/agentpool"] = "gone".into();
        scene.tamper.edit(NODES, one_node(edit));
    }),
    ("a node without a machine", |scene| {
        scene.tamper.edit(NODES, one_node(|node| node["spec"]["providerID"] = Value::Null));
    }),
    ("no nodes", |scene| {
        scene.tamper.edit(NODES, |list| list["items"] = json!([]));
    }),
    ("nodes that may not be listed", |scene| {
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden",
            "message": "nodes is forbidden: User \"u-drover\" cannot list resource \"nodes\" in API group \"\" at the cluster scope",
        });
        scene.tamper.answer(NODES, 403, body);
    }),
    ("another authority in Azure", |scene| {
        scene.tamper.edit(CREDENTIAL, with_other_ca);
    }),
    ("another authority in Rancher", |scene| {
        scene.tamper.edit(CLUSTER, |cluster| cluster["caCert"] = STANDARD.encode(OTHER_CA).into());
    }),
    ("no authority in Rancher", |scene| {
        scene.tamper.edit(CLUSTER, |cluster| cluster["caCert"] = Value::Null);
    }),
    ("an authority that Azure does not let be read", |scene| {
        scene.tamper.answer(CREDENTIAL, 403, no_credential());
    }),
    ("an authority that Azure does not let be read, in front of another cluster", |scene| {
        scene.tamper.answer(CREDENTIAL, 403, no_credential());
        scene.tamper.edit(ROOT_CA, |map| map["data"]["ca.crt"] = OTHER_CA.into());
    }),
    ("Azure answers for another cluster", |scene| {
        scene.tamper.edit(ARM, |cluster| replace(cluster, "managedClusters/demo", "managedClusters/demo2"));
    }),
    ("Rancher answers for another cluster", |scene| {
        scene.tamper.edit(CLUSTER, |cluster| cluster["id"] = "c-m-other999".into());
    }),
    ("another cluster registered under the same Rancher id since the plan", |scene| {
        scene.tamper.edit(KUBE_SYSTEM, |namespace| {
            namespace["metadata"]["uid"] = "0e0e0e0e-1111-4222-8333-444444444444".into();
        });
    }),
    ("the name in Rancher given to another cluster since the plan", |scene| {
        scene.configure(|config| config.replace("rancher_id = \"c-m-demo0001\"", "rancher_name = \"demo\""));
        scene.tamper.rename("c-m-other999", "c-m-demo0001");
        scene.tamper.edit("/v3/clusters", |list| replace(list, "c-m-demo0001", "c-m-other999"));
    }),
];

const IN_RANCHERS_HANDS: [Mismatch; 5] = [
    ("the API server of another cluster", |scene| {
        scene.tamper.edit(CLUSTER, |cluster| {
            cluster["apiEndpoint"] = "https://next-dns-99.hcp.westeurope.azmk8s.io:443".into();
        });
    }),
    ("a cloud credential of another subscription", |scene| {
        scene.tamper.edit("/v3/cloudcredentials/cattle-global-data:cc-lab01", |credential| {
            credential["azurecredentialConfig"]["subscriptionId"] = OTHER_SUBSCRIPTION.into();
        });
    }),
    ("an AKS configuration for another cluster", |scene| {
        scene.tamper.edit(CLUSTER, |cluster| cluster["aksConfig"]["clusterName"] = "demo2".into());
    }),
    ("an authority that Azure does not let be read, where all else agrees", |scene| {
        scene.tamper.answer(CREDENTIAL, 403, no_credential());
    }),
    ("neither nodes nor an endpoint with a name", |scene| {
        scene.tamper.edit(NODES, |list| list["items"] = json!([]));
        scene.tamper.edit(CLUSTER, |cluster| cluster["apiEndpoint"] = "https://10.0.0.1:443".into());
    }),
];

/// Applies the plan once for each mismatch; gives what the user sees each time.
fn refusals(scene: &Scene, mismatches: &[Mismatch]) -> String {
    let refused = mismatches.iter().map(|(name, arrange)| {
        arrange(scene);
        let ended = scene.run(&["apply", "plan.json", "--yes"]);
        assert_eq!(ended.code, Some(3), "{name}: {ended:?}");
        assert_eq!(scene.tamper.writes(), [""; 0], "{name}");
        assert!(!scene.tamper.touched_the_lock(), "{name}");
        assert!(scene.tamper.lied_after().is_some(), "{name}: the truth was told");
        assert!(!scene.folder().join("journal").exists(), "{name}: a refused plan begins no run");
        scene.tamper.reset();
        scene.configure(str::to_owned);
        format!("# {name}\n{}", scene.seen(&ended))
    });
    refused.collect::<Vec<_>>().join("\n")
}

/// What is other and means the same: the proof holds, and the command goes on to what it was asked for.
fn accepted(scene: &Scene, likenesses: &[Mismatch]) {
    for (name, arrange) in likenesses {
        arrange(scene);
        let ended = scene.run(&["check", "demo", "--to", "1.35"]);
        assert!(!ended.stderr.contains("identity"), "{name}: {ended:?}");
        assert!(ended.stdout.contains("agree       API server CA"), "{name}: {ended:?}");
        assert!(scene.tamper.lied_after().is_some(), "{name}: the truth was told");
        scene.tamper.reset();
    }
}

#[test]
fn the_wrong_cluster_is_refused_before_anything_is_written() {
    let scene = Scene::generic(STANDING);
    assert_snapshot!("refused", refusals(&scene, &GENERIC));
    accepted(
        &scene,
        &[
            ("Azure in another case", |scene| {
                scene.tamper.edit(ARM, |cluster| {
                    let properties = &mut cluster["properties"];
                    properties["nodeResourceGroup"] = "mc_RG-DEMO_demo_westeurope".into();
                    replace(cluster, "/resourceGroups/rg-demo/", "/resourcegroups/RG-Demo/");
                });
            }),
            ("an additional authority in Rancher", |scene| {
                scene.tamper.edit(CLUSTER, |cluster| {
                    let own = STANDARD.decode(cluster["caCert"].as_str().unwrap()).unwrap();
                    let both = format!("{OTHER_CA}{}", String::from_utf8(own).unwrap());
                    cluster["caCert"] = STANDARD.encode(both).into();
                });
            }),
            ("a node that has just come", |scene| {
                let edit = |node: &mut Value| {
                    node["spec"]["providerID"] = Value::Null;
                    let taint = json!({ "key": "node.cloudprovider.kubernetes.io/uninitialized", "effect": "NoSchedule" });
                    node["spec"]["taints"] = json!([taint]);
                };
                scene.tamper.edit(NODES, one_node(edit));
            }),
        ],
    );
    let truth = scene.run(&["check", "demo", "--to", "1.35"]);
    assert_eq!(truth.code, Some(0), "{truth:?}");
}

#[test]
fn ranchers_own_record_of_another_cluster_is_refused_before_anything_is_written() {
    let scene = Scene::in_ranchers_hands();
    assert_snapshot!("refused_in_ranchers_hands", refusals(&scene, &IN_RANCHERS_HANDS));
    accepted(
        &scene,
        &[
            ("nodes that show nothing, where the endpoint does", |scene| {
                scene.tamper.edit(NODES, one_node(|node| node["spec"]["providerID"] = Value::Null));
            }),
            ("a credential that only its owner sees", |scene| {
                let body = json!({ "type": "error", "baseType": "error", "status": 404, "code": "NotFound", "message": "no" });
                scene.tamper.answer("/v3/cloudcredentials/cattle-global-data:cc-lab01", 404, body);
            }),
            ("a token limited to the cluster", |scene| {
                let body = json!({ "type": "error", "status": "401", "message": "Unauthorized 401: must authenticate" });
                scene.tamper.answer("/v3/cloudcredentials/cattle-global-data:cc-lab01", 401, body);
            }),
        ],
    );
}

/// Somebody registers another cluster under the same Rancher id while the control plane is upgraded. The next stage does not begin.
#[test]
fn a_cluster_that_changes_in_the_middle_of_a_run_is_not_written_to_any_more() {
    let scene = Scene::generic(FAST);
    scene.tamper.wait_for_write(1).edit(KUBE_SYSTEM, |namespace| {
        namespace["metadata"]["uid"] = "0e0e0e0e-1111-4222-8333-444444444444".into();
    });
    let ended = scene.run(&["apply", "plan.json", "--yes", "--quiet"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(scene.tamper.lied_after(), Some(1), "it was this cluster until then");
    let [only] = &scene.tamper.writes()[..] else { panic!("{:?}", scene.tamper.writes()) };
    assert_eq!(*only, format!("PUT /subscriptions/{SUBSCRIPTION}{ARM}"));
    let journal = scene.folder().join("journal").read_dir().unwrap().next().unwrap().unwrap().file_name();
    let seen = scene.seen(&ended).replace(journal.to_str().unwrap(), "RUN.jsonl");
    assert_snapshot!("lost", seen);

    // It is explained by morning: the registration is undone, and the run goes on where it held.
    scene.tamper.reset();
    let resumed = scene.run(&["resume", &format!("journal/{}", journal.to_str().unwrap()), "--quiet"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
}

/// The permission to read the CA is taken away while the control plane is upgraded. Nothing says that it is another cluster, and
/// nothing proves that it is this one: the run waits for a while, and then it holds.
#[test]
fn evidence_that_goes_out_of_sight_in_the_middle_of_a_run_holds_it() {
    let scene = Scene::generic(FAST);
    scene.tamper.wait_for_write(1).answer(CREDENTIAL, 403, no_credential());
    let (report, warnings) = tokio::runtime::Runtime::new().unwrap().block_on(applied(&scene));
    let RunOutcome::Held { title, cause, .. } = &report.outcome else { panic!("{:?}", report.outcome) };
    assert_eq!(aks_drover::exit_code(&report), 1);
    assert_eq!((scene.tamper.lied_after(), scene.tamper.writes().len()), (Some(1), 1));
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert_snapshot!("held", format!("warning: {warning}\n\nheld at: {title}\ncause: {cause}\n"));
}

/// Real time, as the lab's clock tells it, until somebody makes it leap.
struct Leaping {
    lab: Arc<dyn Clock>,
    start: Timestamp,
    /// Milliseconds.
    leapt: AtomicI64,
}

impl Leaping {
    fn of(lab: &Lab) -> Arc<Self> {
        Arc::new(Self { lab: lab.clock(), start: lab.now(), leapt: AtomicI64::new(0) })
    }

    fn leap(&self, duration: Duration) {
        self.leapt.fetch_add(i64::try_from(duration.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for Leaping {
    fn now(&self) -> Timestamp {
        let passed = self.lab.now().duration_since(self.start).as_secs_f64() / FAST;
        let leapt = SignedDuration::from_millis(self.leapt.load(Ordering::Relaxed));
        self.start + SignedDuration::from_secs_f64(passed) + leapt
    }

    fn elapsed(&self) -> Duration {
        let passed = self.lab.now().duration_since(self.start).as_secs_f64() / FAST;
        Duration::from_secs_f64(passed)
    }

    async fn sleep_until(&self, until: Timestamp) {
        let rest = until.duration_since(self.now()).as_secs_f64().max(0.0) * FAST;
        self.lab.sleep_until(self.lab.now() + SignedDuration::from_secs_f64(rest)).await;
    }
}

/// A run that makes five minutes pass as soon as it has warned, with all that it warned of.
async fn applied(scene: &Scene) -> (Report, Vec<String>) {
    let clock = Leaping::of(&scene.lab);
    let fleet = Fleet::from_file(scene.folder().join("drover.toml")).unwrap();
    let fleet = fleet.with_clock(Arc::<Leaping>::clone(&clock));
    let cluster = fleet.connect("demo").await.unwrap();
    let plan = cluster.plan("1.35".parse().unwrap()).await.unwrap();
    let mut run = cluster.apply(plan).journal(scene.folder().join("journal")).start().await.unwrap();
    let mut warnings = Vec::new();
    while let Some(event) = run.next().await {
        if let EventKind::Warning { message } = event.kind {
            warnings.push(message);
            clock.leap(Duration::from_secs(301));
        }
    }
    (run.finish().await.unwrap(), warnings)
}
