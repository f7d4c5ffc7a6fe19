//! Which objects a path names.

use crate::store::Kind;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) kind: Kind,
    pub(super) place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Every object of the kind.
    Everywhere,
    /// Every object of the kind in a namespace.
    Namespace(String),
    /// One object; the namespace is empty for kinds without.
    Object { namespace: String, name: String, part: Part },
}

/// Which part of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Status,
    Scale,
    Eviction,
    Binding,
}

/// Has the kind a size, to be read and set without knowing the kind?
pub(super) const fn has_scale(kind: Kind) -> bool {
    matches!(kind, Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet)
}

impl Target {
    /// The object's name; empty where it is about all of a kind.
    pub(super) fn name(&self) -> &str {
        match &self.place {
            Place::Everywhere | Place::Namespace(_) => "",
            Place::Object { name, .. } => name,
        }
    }

    /// The version and kind of what a client sends there.
    pub(super) fn kind_of_body(&self) -> (&'static str, &'static str) {
        let names = self.kind.names();
        match self.place {
            Place::Object { part: Part::Scale, .. } => ("autoscaling/v1", "Scale"),
            Place::Object { part: Part::Binding, .. } => ("v1", "Binding"),
            _ => (names.api_version, names.kind),
        }
    }

    /// From the path below the API server's root.
    pub(super) fn of(path: &[&str]) -> Option<Self> {
        let (group, version, rest) = match path {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let find = |plural: &str| Kind::find(group, version, plural);
        // `namespaces/<name>` and `namespaces/<name>/status` are the Namespace; anything else below it lies in it.
        match rest {
            ["namespaces", namespace, plural, rest @ ..] if *plural != "status" => {
                let kind = find(plural).filter(|kind| kind.is_namespaced())?;
                Self::below(kind, namespace, rest)
            }
            [plural, rest @ ..] => {
                let kind = find(plural)?;
                if kind.is_namespaced() && !rest.is_empty() {
                    return None;
                }
                Self::below(kind, "", rest)
            }
            [] => None,
        }
    }

    fn below(kind: Kind, namespace: &str, rest: &[&str]) -> Option<Self> {
        let place = match rest {
            [] if namespace.is_empty() => Place::Everywhere,
            [] => Place::Namespace(namespace.to_owned()),
            [name, part @ ..] if !name.is_empty() => {
                let part = match part {
                    [] => Part::Whole,
                    ["status"] if kind.has_status() => Part::Status,
                    ["scale"] if has_scale(kind) => Part::Scale,
                    ["eviction"] if kind == Kind::Pod => Part::Eviction,
                    ["binding"] if kind == Kind::Pod => Part::Binding,
                    _ => return None,
                };
                Place::Object { namespace: namespace.to_owned(), name: (*name).to_owned(), part }
            }
            _ => return None,
        };
        Some(Self { kind, place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Option<Target> {
        Target::of(&path.split('/').collect::<Vec<_>>())
    }

    fn object(kind: Kind, namespace: &str, name: &str, part: Part) -> Target {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Target { kind, place: Place::Object { namespace, name, part } }
    }

    #[test]
    fn every_form_of_a_path_names_what_it_should() {
        let table = [
            ("api/v1/nodes", Target { kind: Kind::Node, place: Place::Everywhere }),
            ("api/v1/nodes/n1", object(Kind::Node, "", "n1", Part::Whole)),
            ("api/v1/pods", Target { kind: Kind::Pod, place: Place::Everywhere }),
            ("api/v1/namespaces/shop", object(Kind::Namespace, "", "shop", Part::Whole)),
            ("api/v1/namespaces/shop/status", object(Kind::Namespace, "", "shop", Part::Status)),
            (
                "api/v1/namespaces/shop/pods",
                Target { kind: Kind::Pod, place: Place::Namespace("shop".into()) },
            ),
            (
                "api/v1/namespaces/shop/pods/web-0/eviction",
                object(Kind::Pod, "shop", "web-0", Part::Eviction),
            ),
            (
                "apis/apps/v1/namespaces/shop/deployments/web/status",
                object(Kind::Deployment, "shop", "web", Part::Status),
            ),
            (
                "apis/apps/v1/namespaces/shop/deployments/web/scale",
                object(Kind::Deployment, "shop", "web", Part::Scale),
            ),
            ("api/v1/namespaces/shop/pods/web-0/binding", object(Kind::Pod, "shop", "web-0", Part::Binding)),
        ];
        for (path, expected) in table {
            assert_eq!(target(path), Some(expected), "{path}");
        }
        for odd in [
            "api/v1",
            "api/v2/pods",
            "api/v1/pods/web-0",
            "api/v1/namespaces/shop/nodes",
            "api/v1/namespaces/shop/pods/",
            "api/v1/namespaces/shop/pods/web-0/exec",
            "apis/apps/v1/deployments/web",
            "apis/apps/v1/namespaces/shop/daemonsets/web/scale",
            "api/v1/namespaces/shop/configmaps/a/status",
            "apis/apps/v1beta1/deployments",
            "apis/policy/v1/namespaces/a/poddisruptionbudgets/b/eviction",
        ] {
            assert_eq!(target(odd), None, "{odd}");
        }
    }
}
