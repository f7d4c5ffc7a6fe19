//! Names for runs.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use upgrade_core::model::RunId;

/// What fits before the time and the four digits into the 63 characters of a run id.
const LONGEST_NAME: usize = 42;

/// A new run's id, `<cluster>-<yyyymmdd-hhmmss>-<4 hex digits>` in UTC: it sorts by time and says where it belongs.
pub(crate) fn new(cluster: &str, now: Timestamp, random: u16) -> RunId {
    let name = plain(cluster);
    let time = now.to_zoned(TimeZone::UTC).strftime("%Y%m%d-%H%M%S").to_string();
    RunId::new(format!("{name}-{time}-{random:04x}"))
        .expect("made of the allowed characters, and short enough")
}

/// Can this be the id of a run on the cluster of this name?
pub(crate) fn is_of(run: &RunId, cluster: &str) -> bool {
    let rest = run.as_str().strip_prefix(&*plain(cluster)).and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|rest| rest.len() == "yyyymmdd-hhmmss-0000".len())
}

fn plain(cluster: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    cluster.chars().map(plain).take(LONGEST_NAME).collect()
}

/// Four random digits, so that two runs begun in the same second differ.
pub(crate) fn random() -> u16 {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    u16::from_be_bytes([bytes[0], bytes[1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_which_cluster_and_when_and_is_always_valid() {
        let now: Timestamp = "2026-11-24T23:05:09.7Z".parse().unwrap();
        assert_eq!(new("shop-acc", now, 0x0a1f).as_str(), "shop-acc-20261124-230509-0a1f");
        assert_eq!(new("Shop.Äcc_1", now, 1).as_str(), "shop--cc-1-20261124-230509-0001");
        assert_eq!(new(&"x".repeat(200), now, 1).as_str().len(), 63);
        let run = new("shop-acc", now, 1);
        assert_eq!((is_of(&run, "shop-acc"), is_of(&run, "shop"), is_of(&run, "acc")), (true, false, false));
    }
}
