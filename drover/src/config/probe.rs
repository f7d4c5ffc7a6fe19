//! `probes` in the tables of the policy: how the user's own signs are asked. Their names are part of the policy, and so of a
//! plan; the rest stays here.

use std::time::Duration;

use upgrade_core::model::ProbeName;
use upgrade_core::span;
use url::{Host, Url};

use super::reader::{Table, Value};
use super::{CaFile, Place, Secret, ca_file, secret};
use crate::error::ConfigError;

/// How long a probe may take unless it says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest that it may take: a run waits for it.
const LONGEST: Duration = Duration::from_secs(240);

const KINDS: [&str; 3] = ["command", "http", "prometheus"];

/// A user's probe.
#[derive(Clone, Debug)]
pub(crate) struct ProbeConfig {
    pub(crate) name: ProbeName,
    pub(crate) kind: ProbeKind,
    pub(crate) timeout: Duration,
    pub(crate) place: Place,
}

/// How it is asked.
#[derive(Clone, Debug)]
pub(crate) enum ProbeKind {
    /// A program that ends with 0 if all is well. No shell.
    Command { program: String, arguments: Vec<String> },
    /// A GET that is answered with this status.
    Http { from: Source, status: u16 },
    /// A query, every value of which is within bounds.
    Prometheus { from: Source, query: String, bounds: Bounds },
}

/// Who answers a request.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) url: Url,
    pub(crate) token: Option<Secret>,
    pub(crate) ca: Option<CaFile>,
}

/// The bounds of a value; at least one is given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) at_least: Option<f64>,
    pub(crate) at_most: Option<f64>,
}

impl Bounds {
    /// Is the value within them? What is no number is not.
    pub(crate) fn hold(self, value: f64) -> bool {
        let least = self.at_least.is_none_or(|least| value >= least);
        least && self.at_most.is_none_or(|most| value <= most) && !value.is_nan()
    }
}

pub(super) fn read(list: &Value<'_>) -> Result<Vec<ProbeConfig>, ConfigError> {
    let mut probes: Vec<ProbeConfig> = Vec::new();
    for value in list.list()? {
        let table = value.table()?;
        let name = table.value("name")?;
        let probe = probe(&table, name.parse(|text| ProbeName::new(text))?)?;
        if probes.iter().any(|known| known.name == probe.name) {
            return Err(name.error("another probe has this name", "give each its own"));
        }
        probes.push(probe);
    }
    Ok(probes)
}

fn probe(table: &Table<'_>, name: ProbeName) -> Result<ProbeConfig, ConfigError> {
    let given = KINDS.into_iter().filter_map(|key| Some((key, table.maybe_value(key)?)));
    let kind = match &given.collect::<Vec<_>>()[..] {
        [("command", value)] => {
            table.allow(&["name", "timeout", "command"])?;
            let (program, arguments) = secret::command_line(value)?;
            ProbeKind::Command { program, arguments }
        }
        [("http", value)] => {
            table.allow(&["name", "timeout", "http", "status", "token", "ca_file"])?;
            let status = table.maybe_value("status").map(|status| http_status(&status)).transpose()?;
            ProbeKind::Http { from: source(table, value)?, status: status.unwrap_or(200) }
        }
        [(_, value)] => {
            table.allow(&[
                "name",
                "timeout",
                "prometheus",
                "query",
                "at_least",
                "at_most",
                "token",
                "ca_file",
            ])?;
            let query = table.value("query")?.not_empty()?.to_owned();
            ProbeKind::Prometheus { from: source(table, value)?, query, bounds: bounds(table)? }
        }
        given => {
            let problem =
                if given.is_empty() { "it says not how it is asked" } else { "it is asked in two ways" };
            let remedy = "write one of `command = [\"./smoke.sh\"]`, `http = \"https://...\"` and `prometheus = \"https://...\"`";
            return Err(table.error(problem, remedy));
        }
    };
    let timeout = table.maybe_value("timeout").map(|value| timeout(&value)).transpose()?.unwrap_or(TIMEOUT);
    Ok(ProbeConfig { name, kind, timeout, place: table.place() })
}

fn source(table: &Table<'_>, url: &Value<'_>) -> Result<Source, ConfigError> {
    let token = table.maybe_value("token").map(|token| secret::read(&token)).transpose()?;
    Ok(Source { url: url.parse(address)?, token, ca: ca_file(table)? })
}

fn bounds(table: &Table<'_>) -> Result<Bounds, ConfigError> {
    let bound = |key| table.maybe_value(key).map(|value| value.number()).transpose();
    match (bound("at_least")?, bound("at_most")?) {
        (None, None) => {
            Err(table.error("it says not which values are well", "write `at_most` or `at_least`"))
        }
        (Some(least), Some(most)) if least > most => Err(table
            .error("no value is both `at_least` and `at_most`", "write the smaller number as `at_least`")),
        (at_least, at_most) => Ok(Bounds { at_least, at_most }),
    }
}

fn http_status(value: &Value<'_>) -> Result<u16, ConfigError> {
    let status = value.count(100)?;
    u16::try_from(status)
        .ok()
        .filter(|status| *status <= 599)
        .ok_or_else(|| value.error("not a status of HTTP", "write a number such as 200"))
}

fn timeout(value: &Value<'_>) -> Result<Duration, ConfigError> {
    let timeout = value.parse(span::parse)?;
    if timeout.is_zero() || timeout > LONGEST {
        let remedy = format!("write a duration of up to {}", span::show(LONGEST));
        return Err(value.error("a run waits for its probes", remedy));
    }
    Ok(timeout)
}

/// An address that a token may be sent to. It is not repeated: people paste addresses with passwords.
fn address(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "not an address such as https://shop.example.com/health")?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        _ if url.host().is_none() => Err("it names no host"),
        _ if !url.username().is_empty() || url.password().is_some() => {
            Err("credentials do not belong into the address; give a `token`")
        }
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        _ => Err("https is required, http is for loopback addresses only"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn parse(probes: &str) -> Result<Vec<ProbeConfig>, ConfigError> {
        let text = format!(
            r#"
[environments.e]
rancher = {{ url = "http://127.0.0.1:1", token = {{ env = "X" }} }}
azure = {{ subscription = "00000000-0000-0000-0000-000000000001", credential = {{ kind = "token", env = "X" }} }}
[clusters]
c = {{ environment = "e", rancher_id = "c-abcde", resource_group = "rg" }}
[policy]
probes = [{probes}]
"#
        );
        let config = Config::parse(Path::new("/etc/drover/drover.toml"), &text)?;
        let cluster = &config.clusters["c"];
        let names: Vec<_> = cluster.probes.iter().map(|probe| &probe.name).collect();
        assert_eq!(cluster.policy.probes.iter().collect::<Vec<_>>(), names, "the plan names each");
        Ok(cluster.probes.clone())
    }

    #[test]
    fn each_way_to_ask_is_read_and_only_the_names_become_part_of_the_plan() {
        let probes = parse(
            r#"{ name = "checkout", http = "https://shop.example.com/health", status = 204 },
               { name = "errors", prometheus = "http://127.0.0.1:9090/prom", query = "rate(x[5m])", at_most = 0.01,
                 token = { env = "PROM" }, timeout = "10s" },
               { name = "smoke", command = ["./smoke.sh", "--quick"] }"#,
        )
        .unwrap();
        let [checkout, errors, smoke] = &probes[..] else { panic!("{probes:?}") };
        assert!(matches!(&checkout.kind, ProbeKind::Http { status: 204, from } if from.token.is_none()));
        assert!(matches!(&errors.kind, ProbeKind::Prometheus { bounds, query, from }
            if bounds.at_most == Some(0.01) && query == "rate(x[5m])" && from.token.is_some()));
        assert_eq!((checkout.timeout, errors.timeout.as_secs()), (TIMEOUT, 10));
        assert!(matches!(&smoke.kind, ProbeKind::Command { program, arguments }
            if program == "./smoke.sh" && arguments == &["--quick"]));
    }

    #[test]
    fn what_is_wrong_with_a_probe_is_told_with_its_place() {
        for (probe, wrong) in [
            (r#"{ name = "a b", command = ["x"] }"#, "`a b` is not a probe's name: letters, digits"),
            (r#"{ name = "a" }"#, "it says not how it is asked"),
            (r#"{ name = "a", command = ["x"], http = "https://x" }"#, "it is asked in two ways"),
            (r#"{ name = "a", command = [] }"#, "it names no program"),
            (r#"{ name = "a", command = ["x"], status = 200 }"#, "unknown key"),
            (r#"{ name = "a", http = "http://shop.example.com" }"#, "http is for loopback addresses only"),
            (
                r#"{ name = "a", http = "https://u:hunter2@shop" }"#,
                "credentials do not belong into the address",
            ),
            (r#"{ name = "a", http = "https://x", status = 999 }"#, "not a status of HTTP"),
            (
                r#"{ name = "a", http = "https://x", token = "hunter2" }"#,
                "a secret does not belong into this file",
            ),
            (r#"{ name = "a", http = "https://x", timeout = "1h" }"#, "a run waits for its probes"),
            (r#"{ name = "a", prometheus = "https://x", at_most = 1 }"#, "`query` is missing"),
            (
                r#"{ name = "a", prometheus = "https://x", query = "up" }"#,
                "it says not which values are well",
            ),
            (
                r#"{ name = "a", prometheus = "https://x", query = "up", at_most = 1, at_least = 2.5 }"#,
                "no value is both",
            ),
            (
                r#"{ name = "a", prometheus = "https://x", query = "up", at_most = "1" }"#,
                "a number is needed here",
            ),
            (
                r#"{ name = "a", command = ["x"] }, { name = "a", command = ["y"] }"#,
                "another probe has this name",
            ),
        ] {
            let error = parse(probe).unwrap_err().to_string();
            assert!(error.contains("policy.probes[") && error.contains(wrong), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_value_is_within_its_bounds_or_it_is_not_and_what_is_no_number_is_not() {
        let bounds = |at_least, at_most| Bounds { at_least, at_most };
        assert!(bounds(None, Some(0.01)).hold(0.01) && !bounds(None, Some(0.01)).hold(0.011));
        assert!(bounds(Some(1.0), None).hold(f64::INFINITY) && !bounds(Some(1.0), Some(2.0)).hold(0.5));
        assert!(!bounds(None, Some(0.01)).hold(f64::NAN));
    }
}
