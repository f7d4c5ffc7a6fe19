//! APIs in use that the target version does not serve any more.

use super::{Case, finding, target};
use crate::finding::{Finding, Severity};
use crate::inventory::DeprecatedApi;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let Some(target) = target(case.inventory, case.request) else { return Vec::new() };
    case.inventory.deprecated_apis.iter().map(|api| report(api, target.release())).collect()
}

fn report(api: &DeprecatedApi, target: (u16, u16)) -> Finding {
    let DeprecatedApi { group, version, resource, removed_release } = api;
    let group_version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
    let object = format!("{group_version} {resource}");
    let (severity, code, message) = match api.removed_in() {
        Some(removed) if removed <= target => {
            (Severity::Blocking, "API-001", format!("is in use, and not served from {removed_release} on"))
        }
        None if !removed_release.is_empty() => (
            Severity::Unknown,
            "API-001",
            format!("is in use and will be removed, in a release that cannot be read: {removed_release}"),
        ),
        Some(_) => (
            Severity::Info,
            "API-002",
            format!("is in use, deprecated, and not served from {removed_release} on"),
        ),
        None => {
            (Severity::Info, "API-002", "is in use and deprecated; no release is set for its end".to_owned())
        }
    };
    let remedy = "find who requests it (audit log: annotation k8s.io/removed-release; field managers) and move them to its \
                  successor; the API server counts since it started";
    finding(severity, code, &object, message, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests_support::inventory;
    use crate::policy::Policy;

    #[test]
    fn an_api_blocks_from_the_release_on_that_does_not_serve_it() {
        let api = |resource: &str, removed: &str| DeprecatedApi {
            group: "flowcontrol.apiserver.k8s.io".into(),
            version: "v1beta3".into(),
            resource: resource.into(),
            removed_release: removed.into(),
        };
        let mut case = inventory();
        case.deprecated_apis = vec![
            api("gone", "1.35"),
            api("older", "1.9"),
            api("later", "1.36"),
            api("odd", "soon"),
            DeprecatedApi { group: String::new(), version: "v1".into(), ..api("endpoints", "") },
        ];
        let findings = crate::check(&case, &Policy::default(), "1.35".parse().unwrap());
        let about: Vec<_> = findings
            .iter()
            .filter(|finding| finding.code.starts_with("API-"))
            .map(|finding| {
                (finding.severity, finding.object.split(' ').next_back().unwrap(), finding.blocks())
            })
            .collect();
        assert_eq!(
            about,
            [
                (Severity::Blocking, "gone", true),
                (Severity::Blocking, "older", true),
                (Severity::Unknown, "odd", true),
                (Severity::Info, "later", false),
                (Severity::Info, "endpoints", false),
            ]
        );
    }
}
