//! Compute quotas.

use std::fmt;

use serde_json::Value;

use super::VmSize;
use crate::value::{at, text_at};

/// One quota of a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Its name for programs: `cores`, `lowPriorityCores`, `standardDSv3Family`.
    pub name: String,
    /// Its name for people, where the service gives one.
    pub display_name: Option<String>,
    /// How much is in use.
    pub used: u64,
    /// How much is allowed.
    pub limit: u64,
}

impl Usage {
    /// How much is left.
    pub fn free(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    pub(crate) fn read(value: &Value) -> Option<Self> {
        Some(Self {
            name: text_at(value, &["name", "value"])?.to_owned(),
            display_name: text_at(value, &["name", "localizedValue"]).map(str::to_owned),
            used: count(value, "currentValue")?,
            limit: count(value, "limit")?,
        })
    }
}

/// A number of things; some answers write -1 for "no limit", some write numbers as 12.0.
pub(super) fn count(value: &Value, name: &str) -> Option<u64> {
    let number = at(value, &[name])?;
    if let Some(number) = number.as_u64() {
        return Some(number);
    }
    let number = number.as_f64()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, and the sign is looked at"
    )]
    let whole = if number < 0.0 { u64::MAX } else { number as u64 };
    Some(whole)
}

/// A quota that does not cover what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaShortage {
    /// The quota's name for people, or that for programs.
    pub quota: String,
    /// How much would be needed.
    pub needed: u64,
    /// How much is left.
    pub free: u64,
}

impl fmt::Display for QuotaShortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} needed, {} left", self.quota, self.needed, self.free)
    }
}

/// The quotas that stop `nodes` more machines of `size`: for regular machines the region's vCPUs and those of the size's
/// family, for spot machines their own. Empty: none that is known.
///
/// `None` where the size shows no number of vCPUs or the answer lacks the quota of the region: then nothing can be said.
///
/// ```
/// use aks_client::{Usage, VmSize, quota_shortages};
/// use serde_json::json;
///
/// let size = VmSize::from_value(json!({"resourceType": "virtualMachines", "name": "Standard_D4s_v5",
///     "family": "standardDSv5Family", "capabilities": [{"name": "vCPUs", "value": "4"}]})).expect("a size");
/// let quota = |name: &str, used, limit| Usage { name: name.into(), display_name: None, used, limit };
/// let quotas = [quota("cores", 90, 200), quota("StandardDSv5Family", 90, 100)];
/// let shortages = quota_shortages(&quotas, &size, 4, false).expect("quotas are known");
/// assert_eq!(shortages[0].to_string(), "StandardDSv5Family: 16 needed, 10 left");
/// assert_eq!(quota_shortages(&quotas, &size, 2, false), Some(vec![]));
/// ```
pub fn quota_shortages(
    usages: &[Usage],
    size: &VmSize,
    nodes: u32,
    spot: bool,
) -> Option<Vec<QuotaShortage>> {
    let needed = u64::from(nodes) * u64::from(size.vcpus()?);
    let row = |name: &str| usages.iter().find(|usage| usage.name.eq_ignore_ascii_case(name));
    let rows = if spot {
        vec![row("lowPriorityCores")?]
    } else {
        std::iter::once(row("cores")?).chain(size.family().and_then(row)).collect()
    };
    let short = rows.into_iter().filter(|usage| usage.free() < needed);
    Some(
        short
            .map(|usage| QuotaShortage {
                quota: usage.display_name.clone().unwrap_or_else(|| usage.name.clone()),
                needed,
                free: usage.free(),
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_read_in_every_form_and_text_is_none() {
        let row = |used: Value, limit: Value| {
            Usage::read(&json!({"name": {"value": "cores"}, "currentValue": used, "limit": limit}))
        };
        assert_eq!(row(json!(12), json!(100)).unwrap().free(), 88);
        assert_eq!(row(json!(12.0), json!(10)).unwrap().free(), 0);
        assert_eq!(row(json!(12), json!(-1)).unwrap().limit, u64::MAX);
        assert_eq!(row(json!("12"), json!(1)), None);
    }

    #[test]
    fn spot_machines_count_against_their_own_quota_and_an_unknown_quota_says_nothing() {
        let size = VmSize::from_value(json!({"resourceType": "virtualMachines", "name": "s", "family": "f",
            "capabilities": [{"name": "vCPUs", "value": "8"}]}))
        .unwrap();
        let quota = |name: &str, limit| Usage { name: name.to_owned(), display_name: None, used: 0, limit };
        let quotas = [quota("cores", 8), quota("lowPriorityCores", 7)];
        assert_eq!(quota_shortages(&quotas, &size, 1, false), Some(vec![]));
        assert_eq!(quota_shortages(&quotas, &size, 1, true).unwrap()[0].quota, "lowPriorityCores");
        assert_eq!(quota_shortages(&quotas[1..], &size, 1, false), None);
        let unsized_size =
            VmSize::from_value(json!({"resourceType": "virtualMachines", "name": "s"})).unwrap();
        assert_eq!(quota_shortages(&quotas, &unsized_size, 1, false), None);
    }
}
