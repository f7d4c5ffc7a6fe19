//! `/metrics` of the API server: Prometheus' text format.

use std::fmt::Write;

use upgrade_core::inventory::DeprecatedApi;

use crate::world::World;

/// The metrics that matter here, between some that do not.
pub(super) fn text(world: &World) -> String {
    let mut text = String::from(
        "# HELP apiserver_requested_deprecated_apis [STABLE] Gauge of deprecated APIs that have been requested, broken \
         out by API group, version, resource, subresource, and removed_release.\n\
         # TYPE apiserver_requested_deprecated_apis gauge\n",
    );
    for DeprecatedApi { group, version, resource, removed_release } in &world.deprecated_apis {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        writeln!(
            text,
            "apiserver_requested_deprecated_apis{{group=\"{group}\",removed_release=\"{removed_release}\",\
             resource=\"{resource}\",subresource=\"{subresource}\",version=\"{version}\"}} 1",
        )
        .expect("a String takes everything");
    }
    let (major, minor) = world.version().release();
    write!(
        text,
        "# HELP kubernetes_build_info [BETA] A metric with a constant '1' value.\n\
         # TYPE kubernetes_build_info gauge\n\
         kubernetes_build_info{{major=\"{major}\",minor=\"{minor}\",platform=\"linux/amd64\"}} 1\n",
    )
    .expect("a String takes everything");
    text
}
