//! kubectl against the lab, unchanged and without flags that would spare the lab anything.
//!
//! Where kubectl is missing, or older than 1.30, the stories are skipped, and say so. `kubectl create KIND` and its like are not
//! among them: they speak protobuf, which the lab refuses as it refuses everything that it does not read.
#![expect(clippy::print_stderr, reason = "a story that is skipped says so")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use cluster_lab::{Lab, Scenario, Server, ServerOptions};
use tempfile::TempDir;

/// Virtual seconds in a real one.
const FAST: f64 = 300.0;

/// So slow that nothing happens while somebody looks.
const STANDING: f64 = 1e-9;

/// A lab on loopback, and kubectl with nothing but its kubeconfig.
struct Bench {
    folder: TempDir,
    server: Server,
}

/// How kubectl ended.
#[derive(Debug)]
struct Ended {
    good: bool,
    stdout: String,
    stderr: String,
}

impl Bench {
    /// `None` where there is no kubectl that is new enough.
    fn new(time_scale: f64) -> Option<Self> {
        match kubectl_minor() {
            Some(30..) => {}
            Some(minor) => {
                eprintln!("skipped: kubectl 1.{minor} is older than 1.30");
                return None;
            }
            None => {
                eprintln!("skipped: there is no kubectl on this machine");
                return None;
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let options = ServerOptions { port: 0, time_scale, token_dir: folder.path().to_owned() };
        let server = Server::start(Lab::new(&Scenario::demo(), 1), &options).unwrap();
        Some(Self { folder, server })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .env("HOME", self.folder.path())
            .arg("--kubeconfig")
            .arg(self.server.kubeconfig())
            .args(["--request-timeout", "120s"])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended { good: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// What kubectl says where it succeeds.
    fn says(&self, command: &str) -> String {
        let ended = self.run(&command.split_whitespace().collect::<Vec<_>>());
        assert!(ended.good, "kubectl {command}: {ended:?}");
        ended.stdout
    }

    /// What kubectl says where it fails.
    fn refuses(&self, command: &str) -> String {
        let ended = self.run(&command.split_whitespace().collect::<Vec<_>>());
        assert!(!ended.good, "kubectl {command}: {ended:?}");
        ended.stderr
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(content.as_bytes()).unwrap();
        text(&path)
    }
}

/// Which kubectl there is, by the second number of its version.
fn kubectl_minor() -> Option<u32> {
    let output = Command::new("kubectl").args(["version", "--client", "-o", "json"]).output().ok()?;
    let version: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let minor = version["clientVersion"]["minor"].as_str()?;
    minor.trim_end_matches(|letter: char| !letter.is_ascii_digit()).parse().ok()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The words of the first line that begins with a name.
fn row<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
    let found = table.lines().find(|line| line.split_whitespace().next() == Some(name));
    found.unwrap_or_else(|| panic!("no {name} in:\n{table}")).split_whitespace().collect()
}

const WEB: &str = "\
apiVersion: v1
kind: Namespace
metadata: { name: web }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: web }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers:
      - name: web
        image: registry.example/web:1
        resources: { requests: { cpu: 100m, memory: 64Mi } }
        volumeMounts: [{ name: scratch, mountPath: /scratch }]
      volumes: [{ name: scratch, emptyDir: {} }]
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: web }
spec:
  selector: { app: web }
  ports: [{ name: http, port: 80, targetPort: 8080 }]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: { name: web, namespace: web }
spec:
  maxUnavailable: 1
  selector: { matchLabels: { app: web } }
";

const MORE: &str = "
apiVersion: v1
kind: ConfigMap
metadata: { name: settings, namespace: web }
data: { a: '1' }
---
apiVersion: v1
kind: Secret
metadata: { name: key, namespace: web }
stringData: { a: '1' }
";

#[test]
fn somebody_looks_around() {
    let Some(bench) = Bench::new(STANDING) else { return };
    assert!(bench.says("version").contains("Server Version: v1."));
    let versions = bench.says("api-versions");
    for version in ["apps/v1", "autoscaling/v2", "policy/v1", "v1"] {
        assert!(versions.lines().any(|line| line == version), "{versions}");
    }
    let resources = bench.says("api-resources");
    assert_eq!(row(&resources, "deployments"), ["deployments", "deploy", "apps/v1", "true", "Deployment"]);
    assert_eq!(bench.says("auth can-i create pods --subresource eviction").trim(), "yes");

    let nodes = bench.says("get nodes -o wide");
    let header: Vec<_> =
        nodes.lines().next().unwrap().split("  ").filter(|word| !word.is_empty()).map(str::trim).collect();
    assert_eq!(
        header,
        [
            "NAME",
            "STATUS",
            "ROLES",
            "AGE",
            "VERSION",
            "INTERNAL-IP",
            "EXTERNAL-IP",
            "OS-IMAGE",
            "KERNEL-VERSION",
            "CONTAINER-RUNTIME"
        ]
    );
    let node = nodes.lines().nth(1).unwrap().split_whitespace().next().unwrap();
    assert_eq!(row(&nodes, node)[1..3], ["Ready", "<none>"]);
    let everything = bench.says("get pods -A");
    assert!(everything.lines().count() > 30 && everything.contains("Running"), "{everything}");
    assert!(bench.says("get all -n shop").contains("deployment.apps/"));
    assert!(bench.says(&format!("get node {node} -o yaml")).contains("kind: Node"));
    let names = bench.says("get deploy -n shop -o name");
    let deployment = names.lines().next().unwrap();
    let path = format!("get {deployment} -n shop -o jsonpath={{.spec.strategy.type}}");
    assert_eq!(bench.says(&path), "RollingUpdate", "a default can be seen");

    let described = bench.says(&format!("describe node {node}"));
    for part in ["Roles:", "Allocatable:", "Non-terminated Pods:", "Allocated resources:"] {
        assert!(described.contains(part), "{part} in:\n{described}");
    }
    let described = bench.says(&format!("describe {deployment} -n shop"));
    for part in ["Replicas:", "StrategyType:", "Pod Template:", "NewReplicaSet:"] {
        assert!(described.contains(part), "{part} in:\n{described}");
    }
    let pods = bench.says("get pods -n shop -o name");
    let described = bench.says(&format!("describe {} -n shop", pods.lines().next().unwrap()));
    for part in ["Controlled By:", "Containers:", "Conditions:", "QoS Class:"] {
        assert!(described.contains(part), "{part} in:\n{described}");
    }
    assert!(bench.refuses("get pods nobody").contains("pods \"nobody\" not found"));
    assert!(bench.refuses("get unicorns").contains("the server doesn't have a resource type \"unicorns\""));
}

#[test]
fn a_manifest_is_applied_changed_and_taken_away() {
    let Some(bench) = Bench::new(FAST) else { return };
    let manifest = bench.file("web.yaml", WEB);
    let made = bench.says(&format!("apply -f {manifest}"));
    assert_eq!(made.lines().filter(|line| line.ends_with("created")).count(), 4, "{made}");
    assert!(bench.says("rollout status deployment/web -n web").contains("successfully rolled out"));
    let again = bench.says(&format!("apply -f {manifest}"));
    // kubectl always sends the selector of a budget, because its patch strategy is `replace`.
    let unchanged = again.lines().filter(|line| line.ends_with("unchanged")).count();
    assert!(unchanged == 3 && again.contains("poddisruptionbudget.policy/web configured"), "{again}");

    let changed =
        bench.file("changed.yaml", &WEB.replace("web:1", "web:2").replace("replicas: 2", "replicas: 3"));
    assert!(bench.says(&format!("apply -f {changed}")).contains("deployment.apps/web configured"));
    bench.says("rollout status deployment/web -n web");
    let table = bench.says("get deployment web -n web -o wide");
    assert_eq!(row(&table, "web")[1..4], ["3/3", "3", "3"]);
    assert!(table.contains("registry.example/web:2"), "{table}");
    let odd = bench.file("odd.yaml", &WEB.replace("replicas: 2", "replica: 2"));
    let refused = bench.refuses(&format!("apply -f {odd}"));
    assert!(refused.contains("strict decoding error: unknown field \"spec.replica\""), "{refused}");
    let other = bench.file("other.yaml", &WEB.replace("app: web", "app: other"));
    assert!(bench.refuses(&format!("apply -f {other}")).contains("spec.selector: Invalid value"));
    assert!(bench.refuses(&format!("apply --server-side -f {manifest}")).contains("apply"));

    // What became of it can be read.
    let described = bench.says("describe deployment web -n web");
    assert!(
        described.contains("ScalingReplicaSet") && described.contains("Scaled up replica set"),
        "{described}"
    );
    let pods = bench.says("get pods -n web -o name");
    let described = bench.says(&format!("describe {} -n web", pods.lines().next().unwrap()));
    for part in ["Successfully assigned web/web-", "Pulling image", "Started container web"] {
        assert!(described.contains(part), "{part} in:\n{described}");
    }
    assert!(bench.says("events -n web").contains("Scheduled"));

    let history = bench.says("rollout history deployment/web -n web");
    assert_eq!(history.lines().filter(|line| line.starts_with(['1', '2'])).count(), 2, "{history}");
    bench.says("rollout undo deployment/web -n web");
    bench.says("rollout status deployment/web -n web");
    let image = "get deployment web -n web -o jsonpath={.spec.template.spec.containers[0].image}";
    assert_eq!(bench.says(image), "registry.example/web:1");
    let before = bench.says("get pods -n web -o name");
    bench.says("rollout restart deployment/web -n web");
    bench.says("rollout status deployment/web -n web");
    let after = bench.says("get pods -n web --field-selector status.phase=Running -o name");
    assert!(before.lines().any(|old| !after.contains(old)), "{before}{after}");

    bench.says("scale deployment/web -n web --replicas 1");
    bench.says("wait deployment/web -n web --for jsonpath={.status.replicas}=1 --timeout 60s");
    bench.says("label deployment/web -n web tier=front");
    bench.says("annotate deployment/web -n web note=seen");
    bench.says("set image deployment/web -n web web=registry.example/web:3");
    assert!(bench.says("get deployment -n web -l tier=front").contains("web"));
    let more = bench.file("more.yaml", MORE);
    assert_eq!(bench.says(&format!("create -f {more}")).lines().count(), 2);
    assert_eq!(row(&bench.says("get secrets -n web"), "key")[1..3], ["Opaque", "1"]);
    assert!(
        bench.says(&format!("delete -f {manifest} --ignore-not-found")).contains("namespace \"web\" deleted")
    );
    assert!(bench.refuses("get namespace web").contains("not found"));
}

#[test]
fn a_change_is_watched_as_it_comes() {
    let Some(bench) = Bench::new(FAST) else { return };
    let manifest = bench.file("web.yaml", &WEB.replace("replicas: 2", "replicas: 1"));
    bench.says(&format!("apply -f {manifest}"));
    let mut watch = bench.command(&["get", "deployment", "web", "-n", "web", "-w"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut seen = Vec::new();
    let mut scaled = false;
    for line in lines {
        let ready = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
        seen.push(line);
        if ready == "1/1" && !scaled {
            bench.says("scale deployment/web -n web --replicas 2");
            scaled = true;
        }
        if ready == "2/2" {
            break;
        }
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(seen.last().is_some_and(|line| line.contains("2/2")), "{seen:?}");
    assert_eq!(seen.iter().filter(|line| line.starts_with("NAME")).count(), 1, "{seen:?}");
}

#[test]
fn a_stateful_set_is_rolled_back() {
    let Some(bench) = Bench::new(FAST) else { return };
    let manifest = WEB.replace("kind: Deployment", "kind: StatefulSet").replace("replicas: 2", "replicas: 1");
    bench.says(&format!("apply -f {}", bench.file("web.yaml", &manifest)));
    bench.says("rollout status statefulset/web -n web");
    bench.says("set image statefulset/web -n web web=registry.example/web:2");
    bench.says("rollout status statefulset/web -n web");
    let history = bench.says("rollout history statefulset/web -n web");
    assert_eq!(history.lines().filter(|line| line.starts_with(['1', '2'])).count(), 2, "{history}");
    assert!(
        bench.says("rollout history statefulset/web -n web --revision 1").contains("registry.example/web:1")
    );
    bench.says("rollout undo statefulset/web -n web");
    bench.says("rollout status statefulset/web -n web");
    let image = "get pod web-0 -n web -o jsonpath={.spec.containers[0].image}";
    assert_eq!(bench.says(image), "registry.example/web:1");
    assert!(bench.says("describe statefulset web -n web").contains("SuccessfulDelete"));
}

#[test]
fn a_node_is_drained_and_given_back() {
    let Some(bench) = Bench::new(FAST) else { return };
    bench.says(&format!("apply -f {}", bench.file("web.yaml", WEB)));
    bench.says("rollout status deployment/web -n web");
    let place = "get pods -n web -o jsonpath={.items[0].spec.nodeName}";
    let node = bench.says(place);
    bench.says(&format!("cordon {node}"));
    assert_eq!(row(&bench.says("get nodes"), &node)[1], "Ready,SchedulingDisabled");
    bench.says(&format!("cordon {node} --dry-run=server"));
    let refused = bench.refuses(&format!("drain {node}"));
    assert!(refused.contains("DaemonSet-managed Pods") && refused.contains("local storage"), "{refused}");
    let drained = bench.says(&format!(
        "drain {node} --ignore-daemonsets --delete-emptydir-data --pod-selector app=web --timeout 100s"
    ));
    assert!(drained.contains("evicted") && drained.contains(&format!("node/{node} drained")), "{drained}");
    bench.says("rollout status deployment/web -n web");
    let left = bench.says(&format!("get pods -n web --field-selector spec.nodeName={node} -o name"));
    assert_eq!(left, "", "nothing of it is left there");
    bench.says(&format!("uncordon {node}"));
    assert_eq!(row(&bench.says("get nodes"), &node)[1], "Ready");
    bench.says(&format!("taint node {node} a=b:NoSchedule"));
    bench.says(&format!("taint node {node} a=b:NoSchedule-"));
    let taints = bench.says(&format!("get node {node} -o jsonpath={{.spec.taints}}"));
    assert!(!taints.contains("\"a\""), "{taints}");
}
