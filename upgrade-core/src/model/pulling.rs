//! Images: how a pod may pull them, and how far the pulls of a pod are that was made for them.

use serde::{Deserialize, Serialize};

use super::RunId;

/// The label of a pod that is there to have a node pull images, and for nothing else. No selector of anybody asks for it.
pub const PREWARM_LABEL: &str = "aks-drover/prewarm";

/// With whose credentials a pod's images are pulled. The kubelet's own identity comes on top.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PullAccess {
    /// Its ServiceAccount, whose pull secrets are used where the pod names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// The Secrets that it names itself (`imagePullSecrets`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
}

impl PullAccess {
    /// Nothing is said.
    pub fn is_empty(&self) -> bool {
        self.service_account.is_none() && self.secrets.is_empty()
    }
}

/// What a pod shows that a run has made to have images pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulling {
    /// The run.
    pub run: RunId,
    /// Its images, in the order in which they are pulled.
    pub images: Vec<ImagePull>,
    /// Why the kubelet does not take the pod at all, in its words (`OutOfpods`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// One image of such a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePull {
    /// The image, as the pod names it.
    pub image: String,
    /// How far it is.
    pub state: PullState,
}

/// How far the pull of an image is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum PullState {
    /// It was not tried yet, or is being pulled.
    Waiting,
    /// It is on the node's disk.
    Pulled,
    /// It could not be pulled; the kubelet tries again.
    Failed {
        /// The kubelet's word for it (`ErrImagePull`).
        reason: String,
        /// The words of the registry or the runtime.
        message: String,
    },
}

/// What the kubelet reports of a container.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContainerReport<'a> {
    /// `imageID`, empty where the runtime has no container.
    pub image_id: &'a str,
    /// It runs or has run: its state is `running` or `terminated`, and not because nobody knows.
    pub has_run: bool,
    /// Why it waits (`state.waiting.reason`).
    pub reason: &'a str,
    /// The words that go with it.
    pub message: &'a str,
}

impl PullState {
    /// What a container's state says of its image. The kubelet pulls first and then makes the container, so that whatever goes
    /// wrong later says that the image is there (Kubernetes: `kuberuntime_container.go`, `images/types.go`).
    pub fn of(report: ContainerReport<'_>) -> Self {
        if report.has_run || !report.image_id.is_empty() {
            return Self::Pulled;
        }
        match report.reason {
            "CreateContainerConfigError"
            | "CreateContainerError"
            | "PreCreateHookError"
            | "PreStartHookError"
            | "PostStartHookError"
            | "RunContainerError"
            | "CrashLoopBackOff" => Self::Pulled,
            "ErrImagePull"
            | "ImagePullBackOff"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "InvalidImageName"
            | "RegistryUnavailable"
            | "SignatureValidationFailed" => {
                Self::Failed { reason: report.reason.to_owned(), message: report.message.to_owned() }
            }
            // `ContainerCreating`, `PodInitializing`, and what a newer kubelet says.
            _ => Self::Waiting,
        }
    }
}

/// The full name of an image, as container runtimes report it: with its registry, and with the tag that is meant where none is
/// given.
pub fn full_image_name(image: &str) -> String {
    let (registry, path) = match image.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => ("docker.io", image),
    };
    let library = if registry == "docker.io" && !path.contains('/') { "library/" } else { "" };
    let named = path.contains('@') || path.rsplit('/').next().is_some_and(|last| last.contains(':'));
    let tag = if named { "" } else { ":latest" };
    format!("{registry}/{library}{path}{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_there_as_soon_as_anything_later_goes_wrong() {
        let waits = |reason| PullState::of(ContainerReport { reason, ..ContainerReport::default() });
        for reason in ["CreateContainerError", "RunContainerError", "CreateContainerConfigError"] {
            assert_eq!(waits(reason), PullState::Pulled, "{reason}");
        }
        for reason in ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"] {
            assert!(matches!(waits(reason), PullState::Failed { .. }), "{reason}");
        }
        for reason in ["ContainerCreating", "PodInitializing", "", "SomethingNew"] {
            assert_eq!(waits(reason), PullState::Waiting, "{reason}");
        }
        let ended = ContainerReport { has_run: true, ..ContainerReport::default() };
        assert_eq!(PullState::of(ended), PullState::Pulled);
        let known = ContainerReport { image_id: "reg/a@sha256:1", ..ContainerReport::default() };
        assert_eq!(PullState::of(known), PullState::Pulled);
    }

    #[test]
    fn images_are_compared_by_their_full_names() {
        for (short, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("bitnami/nginx:1", "docker.io/bitnami/nginx:1"),
            ("docker.io/nginx:1", "docker.io/library/nginx:1"),
            ("localhost:5000/web", "localhost:5000/web:latest"),
            ("reg.example.com/shop/web:1", "reg.example.com/shop/web:1"),
            ("reg.example.com/web@sha256:ab", "reg.example.com/web@sha256:ab"),
        ] {
            assert_eq!(full_image_name(short), full);
        }
    }
}
