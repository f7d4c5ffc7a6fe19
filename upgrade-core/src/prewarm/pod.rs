//! The pod that has a node pull images.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::model::{NodeName, ObjectName, PREWARM_LABEL, PullAccess, RUN_ANNOTATION, RunId, Uid};

/// The command of its containers. No image has it, so that a container of it is made and cannot start; the image was pulled by
/// then. On Windows it is no file either.
pub const PREWARM_COMMAND: &str = "/aks-drover/nothing-of-this-image-runs";

/// How the names of its containers begin: others were added by whoever adds some to every pod.
pub const PREWARM_CONTAINER: &str = "aks-drover-image-";

/// After how many seconds the kubelet gives such a pod up by itself, should nobody be left to delete it.
const DEADLINE_SECONDS: u32 = 2 * 3600;

/// A pod that has one node pull images with the credentials of one namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PrewarmPod {
    /// Namespace and name. The same need of the same run has the same name.
    pub name: ObjectName,
    /// The node.
    pub node: NodeName,
    /// It runs Windows.
    pub windows: bool,
    /// The images, in the order in which they are pulled.
    pub images: Vec<String>,
    /// With whose credentials.
    pub access: PullAccess,
}

impl PrewarmPod {
    /// The pod of `run` for a node, which is named by its uid, too.
    pub(crate) fn new(
        run: &RunId,
        namespace: &str,
        (node, uid): (&NodeName, &Uid),
        windows: bool,
        images: Vec<String>,
        access: PullAccess,
    ) -> Self {
        let mut hash = Sha256::new();
        let secrets = access.secrets.iter().map(String::as_str);
        let account = access.service_account.as_deref().unwrap_or_default();
        let parts = [run.as_str(), uid.as_str(), namespace, account].into_iter().chain(secrets);
        for part in parts.chain(images.iter().map(String::as_str)) {
            hash.update(part);
            hash.update([0]);
        }
        let digest = hash.finalize();
        let (first, _) = digest.split_first_chunk::<8>().expect("a SHA-256 has 32 bytes");
        let name = format!("aks-drover-pull-{:016x}", u64::from_be_bytes(*first));
        let name = ObjectName::new(namespace, name).expect("the namespace is one, and hexadecimal is plain");
        Self { name, node: node.clone(), windows, images, access }
    }

    /// The pod as it is created. It goes past the scheduler, takes what the namespaces of the strictest standard take
    /// (Kubernetes: pod security standard `restricted`), and no Service, budget or workload selects it by a label.
    pub fn manifest(&self, run: &RunId) -> Value {
        let containers = self.images.iter().enumerate().map(|(place, image)| {
            let mut container = json!({
                "name": format!("{PREWARM_CONTAINER}{place}"),
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": [PREWARM_COMMAND],
                "resources": {
                    "requests": {"cpu": "1m", "memory": "16Mi"},
                    "limits": {"cpu": "10m", "memory": "16Mi"},
                },
            });
            if !self.windows {
                container["securityContext"] = json!({
                    "allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"]},
                });
            }
            container
        });
        let mut security = json!({"runAsNonRoot": true});
        if !self.windows {
            security["runAsUser"] = json!(65534);
            security["seccompProfile"] = json!({"type": "RuntimeDefault"});
        }
        let mut spec = json!({
            "nodeName": self.node,
            "os": {"name": if self.windows { "windows" } else { "linux" }},
            "restartPolicy": "Never",
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "tolerations": [{"operator": "Exists"}],
            "securityContext": security,
            "containers": containers.collect::<Vec<_>>(),
        });
        if let Some(account) = &self.access.service_account {
            spec["serviceAccountName"] = json!(account);
        }
        if !self.access.secrets.is_empty() {
            let secrets = self.access.secrets.iter().map(|secret| json!({"name": secret}));
            spec["imagePullSecrets"] = secrets.collect();
        }
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name.name(),
                "namespace": self.name.namespace(),
                "labels": {PREWARM_LABEL: "images"},
                // Service meshes are asked to stay out: their proxy would run, and wait for a program that never comes.
                "annotations": {
                    RUN_ANNOTATION: run,
                    "sidecar.istio.io/inject": "false",
                    "linkerd.io/inject": "disabled",
                },
            },
            "spec": spec,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(windows: bool, images: &[&str]) -> PrewarmPod {
        let (node, uid) = (NodeName::new("n0").unwrap(), Uid::new("u0").unwrap());
        let access = PullAccess { service_account: Some("web".into()), secrets: vec!["registry".into()] };
        let images = images.iter().map(ToString::to_string).collect();
        PrewarmPod::new(&run(), "shop", (&node, &uid), windows, images, access)
    }

    fn run() -> RunId {
        RunId::new("r-1").unwrap()
    }

    #[test]
    fn a_name_says_what_is_pulled_where_and_no_more_than_a_name_may() {
        let pod = made(false, &["a:1", "b:1"]);
        assert_eq!(pod.name, made(false, &["a:1", "b:1"]).name);
        assert_ne!(pod.name, made(false, &["a:1"]).name);
        assert_eq!(pod.name.name().len(), "aks-drover-pull-".len() + 16);
    }

    #[test]
    fn nothing_of_the_image_runs_and_the_strictest_namespace_takes_the_pod() {
        let pod = made(false, &["a:1", "b:1"]).manifest(&run());
        let spec = &pod["spec"];
        assert_eq!((spec["nodeName"].as_str(), spec["os"]["name"].as_str()), (Some("n0"), Some("linux")));
        assert_eq!(spec["restartPolicy"], "Never");
        assert_eq!(spec["automountServiceAccountToken"], false);
        assert_eq!(spec["serviceAccountName"], "web");
        assert_eq!(spec["imagePullSecrets"], json!([{"name": "registry"}]));
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let containers = spec["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 2);
        for container in containers {
            assert_eq!(container["command"], json!([PREWARM_COMMAND]));
            assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
            assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
        }
        assert_eq!(pod["metadata"]["annotations"][RUN_ANNOTATION], "r-1");
        assert_eq!(pod["metadata"]["labels"], json!({PREWARM_LABEL: "images"}));
    }

    #[test]
    fn a_pod_for_windows_says_nothing_that_only_linux_knows() {
        let pod = made(true, &["a:1"]).manifest(&run());
        assert_eq!(pod["spec"]["os"]["name"], "windows");
        assert_eq!(pod["spec"]["securityContext"], json!({"runAsNonRoot": true}));
        assert_eq!(pod["spec"]["containers"][0].get("securityContext"), None);
    }
}
