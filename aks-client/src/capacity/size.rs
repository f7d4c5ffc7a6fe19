//! Virtual machine sizes and what stands in their way.

use serde_json::Value;

use crate::value::{list_at, text_at, texts_at};

/// A virtual machine size in a region: the JSON of the list of SKUs, with typed views.
#[derive(Debug, Clone, PartialEq)]
pub struct VmSize {
    raw: Value,
    name: String,
}

/// Why a size cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restriction {
    /// Nowhere in the region.
    Location {
        /// `QuotaId` or `NotAvailableForSubscription`.
        reason: String,
    },
    /// Not in these zones, which were asked for.
    Zones {
        /// `QuotaId` or `NotAvailableForSubscription`; `NotOffered` where the region does not have it there at all.
        reason: String,
        /// The zones.
        zones: Vec<String>,
    },
}

impl VmSize {
    /// A size from an element of the list; `None` for another kind of SKU.
    pub fn from_value(raw: Value) -> Option<Self> {
        let kind = text_at(&raw, &["resourceType"])?;
        let name = text_at(&raw, &["name"])?.to_owned();
        kind.eq_ignore_ascii_case("virtualMachines").then_some(Self { raw, name })
    }

    /// The JSON it came as.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// The name, `Standard_D4s_v5`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The family whose quota it counts against, `standardDSv5Family`.
    pub fn family(&self) -> Option<&str> {
        text_at(&self.raw, &["family"])
    }

    /// vCPUs as quota counts them; a constrained size may show its machine fewer.
    pub fn vcpus(&self) -> Option<u32> {
        self.capability("vCPUs")?.parse().ok()
    }

    /// vCPUs that a machine has.
    pub fn vcpus_available(&self) -> Option<u32> {
        self.capability("vCPUsAvailable").and_then(|value| value.parse().ok()).or_else(|| self.vcpus())
    }

    /// Memory in GiB; sizes with 0.5 and 0.75 exist.
    pub fn memory_gib(&self) -> Option<f64> {
        self.capability("MemoryGB")?.parse().ok()
    }

    /// Whether the OS disk may be ephemeral.
    pub fn ephemeral_os_disk(&self) -> bool {
        self.capability("EphemeralOSDiskSupported").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The cache that an ephemeral OS disk must fit in, in bytes.
    pub fn cached_disk_bytes(&self) -> Option<u64> {
        self.capability("CachedDiskBytes")?.parse().ok()
    }

    /// `x64` or `Arm64`.
    pub fn architecture(&self) -> Option<&str> {
        self.capability("CpuArchitectureType")
    }

    /// A capability by its name, as text.
    pub fn capability(&self, name: &str) -> Option<&str> {
        let capabilities = list_at(&self.raw, &["capabilities"]).iter();
        let named =
            |value: &&Value| text_at(value, &["name"]).is_some_and(|found| found.eq_ignore_ascii_case(name));
        capabilities.clone().find(named).and_then(|value| text_at(value, &["value"]))
    }

    /// The zones of `location` that have it.
    pub fn zones(&self, location: &str) -> Vec<&str> {
        let places = list_at(&self.raw, &["locationInfo"]).iter();
        places
            .filter(|place| text_at(place, &["location"]).is_some_and(|found| is_region(found, location)))
            .flat_map(|place| texts_at(place, &["zones"]))
            .collect()
    }

    /// What stands in the way of a pool of this size in `location` and, if it has any, in each of `zones`.
    pub fn restriction(&self, location: &str, zones: &[&str]) -> Option<Restriction> {
        let mut closed: Vec<String> = Vec::new();
        let mut why = None;
        for restriction in list_at(&self.raw, &["restrictions"]) {
            let reason = text_at(restriction, &["reasonCode"]).unwrap_or("no reason given").to_owned();
            let names = |list| texts_at(restriction, &["restrictionInfo", list]);
            // Older answers name the places in `values` alone.
            let places = [names("locations"), texts_at(restriction, &["values"])].concat();
            let elsewhere = !places.is_empty() && !places.iter().any(|place| is_region(place, location));
            match text_at(restriction, &["type"]) {
                Some(kind) if kind.eq_ignore_ascii_case("Zone") => {
                    let hit = names("zones").into_iter().filter(|zone| zones.contains(zone));
                    let hit: Vec<_> = hit.map(str::to_owned).collect();
                    if !elsewhere && !hit.is_empty() {
                        why = Some(reason);
                        closed.extend(hit);
                    }
                }
                // Of a kind that is not known: as bad as the worst.
                _ if !elsewhere => return Some(Restriction::Location { reason }),
                _ => {}
            }
        }
        if let Some(reason) = why {
            closed.sort();
            closed.dedup();
            return Some(Restriction::Zones { reason, zones: closed });
        }
        let offered = self.zones(location);
        let absent = zones.iter().filter(|zone| !offered.contains(zone));
        let absent: Vec<_> = absent.map(|&zone| zone.to_owned()).collect();
        (!absent.is_empty()).then(|| Restriction::Zones { reason: "NotOffered".to_owned(), zones: absent })
    }
}

/// Regions are shown as `westeurope`, `WestEurope` and `West Europe`.
fn is_region(one: &str, other: &str) -> bool {
    let plain = |text: &str| text.replace(' ', "").to_ascii_lowercase();
    plain(one) == plain(other)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn size(restrictions: &Value) -> VmSize {
        VmSize::from_value(json!({
            "resourceType": "virtualMachines", "name": "Standard_E8-4s_v5", "family": "standardESv5Family",
            "locationInfo": [{"location": "WestEurope", "zones": ["3", "1", "2"]}],
            "capabilities": [{"name": "vCPUs", "value": "8"}, {"name": "vCPUsAvailable", "value": "4"},
                {"name": "MemoryGB", "value": "0.75"}, {"name": "EphemeralOSDiskSupported", "value": "True"},
                {"name": "CachedDiskBytes", "value": "214748364800"}, {"name": "CpuArchitectureType", "value": "x64"}],
            "restrictions": restrictions
        }))
        .unwrap()
    }

    #[test]
    fn every_view_reads_its_member() {
        let size = size(&json!([]));
        assert_eq!((size.name(), size.family()), ("Standard_E8-4s_v5", Some("standardESv5Family")));
        assert_eq!((size.vcpus(), size.vcpus_available()), (Some(8), Some(4)));
        assert_eq!((size.memory_gib(), size.cached_disk_bytes()), (Some(0.75), Some(214_748_364_800)));
        assert_eq!((size.ephemeral_os_disk(), size.architecture()), (true, Some("x64")));
        assert_eq!((size.zones("West Europe"), size.zones("eastus")), (vec!["3", "1", "2"], vec![]));
        assert_eq!(size.capability("nothing"), None);
        assert_eq!(VmSize::from_value(json!({"resourceType": "disks", "name": "Premium_LRS"})), None);
    }

    #[test]
    fn a_restriction_counts_where_the_pool_would_be() {
        let location = |places: Value| {
            json!([{"type": "Location", "values": places,
            "reasonCode": "NotAvailableForSubscription", "restrictionInfo": {"locations": places}}])
        };
        let zone = |zones: Value| {
            json!([{"type": "Zone", "values": ["WestEurope"], "reasonCode": "QuotaId",
            "restrictionInfo": {"locations": ["WestEurope"], "zones": zones}}])
        };
        let refused =
            |restrictions: Value, zones: &[&str]| size(&restrictions).restriction("westeurope", zones);
        let nowhere = Restriction::Location { reason: "NotAvailableForSubscription".to_owned() };
        let closed = |zones: &[&str]| Restriction::Zones {
            reason: "QuotaId".to_owned(),
            zones: zones.iter().map(|&zone| zone.to_owned()).collect(),
        };
        assert_eq!(refused(json!([]), &["1", "2"]), None);
        assert_eq!(refused(location(json!(["westeurope"])), &[]), Some(nowhere.clone()));
        assert_eq!(refused(location(json!([])), &[]), Some(nowhere));
        assert_eq!(refused(location(json!(["eastus"])), &[]), None);
        assert_eq!(refused(zone(json!(["3"])), &["1", "2"]), None);
        assert_eq!(refused(zone(json!(["3", "2"])), &["1", "2", "3"]), Some(closed(&["2", "3"])));
        assert_eq!(refused(zone(json!(["3"])), &[]), None);
        let unheard_of = json!([{"type": "Planet", "reasonCode": "X"}]);
        assert_eq!(refused(unheard_of, &[]), Some(Restriction::Location { reason: "X".to_owned() }));
        let not_offered = Restriction::Zones { reason: "NotOffered".to_owned(), zones: vec!["4".to_owned()] };
        assert_eq!(refused(json!([]), &["1", "4"]), Some(not_offered));
    }
}
