//! The one metric of the API server that matters here, picked out of its megabytes as they pass.

use std::collections::BTreeSet;

use futures::StreamExt;
use upgrade_core::inventory::DeprecatedApi;

use super::api::{Api, get};
use super::failure::Failure;
use crate::adapters::text::one_line;

const METRIC: &[u8] = b"apiserver_requested_deprecated_apis{";

/// Lines are some hundred bytes; a longer one is not the one that is looked for, and is not kept.
const LONGEST_LINE: usize = 16 * 1024;

/// Large clusters have some tens of megabytes of metrics.
const LARGEST: usize = 512 * 1024 * 1024;

/// The deprecated APIs that somebody has requested since the API server started.
pub(super) async fn deprecated_apis(api: &Api) -> Result<Vec<DeprecatedApi>, Failure> {
    let mut body = api.body(get("/metrics")).await?;
    let mut scanner = Scanner::default();
    let mut size = 0;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| Failure::Broken(crate::adapters::text::with_causes(&error)))?;
        size += piece.len();
        if size > LARGEST {
            return Err(Failure::Unreadable(format!("it is larger than {} MiB", LARGEST / 1024 / 1024)));
        }
        scanner.take(&piece);
    }
    scanner.finish().ok_or_else(|| Failure::Unreadable("it is not a list of metrics".to_owned()))
}

/// Reads Prometheus' text format line by line, whatever pieces it comes in.
#[derive(Default)]
struct Scanner {
    /// The beginning of a line that is not complete.
    line: Vec<u8>,
    /// The rest of a line that is too long to be looked at.
    skipping: bool,
    found: BTreeSet<DeprecatedApi>,
    /// A line such as only a list of metrics has.
    recognized: bool,
}

impl Scanner {
    fn take(&mut self, piece: &[u8]) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let (text, complete) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            if !self.skipping {
                self.line.extend_from_slice(&text[..text.len().min(LONGEST_LINE)]);
                self.skipping = self.line.len() >= LONGEST_LINE;
            }
            if complete {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.skipping) {
            return;
        }
        self.recognized |= line.starts_with(b"# TYPE ");
        if line.starts_with(METRIC) {
            self.found.extend(sample(&line));
        }
    }

    fn finish(mut self) -> Option<Vec<DeprecatedApi>> {
        self.end_line();
        self.recognized.then(|| self.found.into_iter().collect())
    }
}

/// `name{label="value",...} 1`. A sample that is 0, or that is not written so, says nothing.
fn sample(line: &[u8]) -> Option<DeprecatedApi> {
    let line = std::str::from_utf8(line).ok()?;
    let mut rest = line.split_once('{')?.1;
    let mut api = DeprecatedApi {
        group: String::new(),
        version: String::new(),
        resource: String::new(),
        removed_release: String::new(),
    };
    let mut subresource = String::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(value) = rest.strip_prefix('}') {
            // A time may follow the value.
            let value: f64 = value.split_whitespace().next()?.parse().ok()?;
            if !subresource.is_empty() {
                api.resource = format!("{}/{subresource}", api.resource);
            }
            return (value > 0.0 && !api.resource.is_empty() && !api.version.is_empty()).then_some(api);
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = unquote(quoted)?;
        let value = one_line(&value);
        rest = after;
        match name {
            "group" => api.group = value,
            "version" => api.version = value,
            "resource" => api.resource = value,
            "subresource" => subresource = value,
            "removed_release" => api.removed_release = value,
            // A label of a later version.
            _ => {}
        }
    }
}

/// A label's value up to its closing quote, and what follows.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = r#"# HELP apiserver_requested_deprecated_apis [STABLE] Gauge of deprecated APIs that have been requested
# TYPE apiserver_requested_deprecated_apis gauge
apiserver_requested_deprecated_apis{group="flowcontrol.apiserver.k8s.io",removed_release="1.32",resource="flowschemas",subresource="status",version="v1beta3"} 1
apiserver_requested_deprecated_apis{group="",removed_release="",resource="endpoints",subresource="",version="v1"} 1 1764032400000
apiserver_requested_deprecated_apis{version="v1beta1", resource="a\"b\\c", later="x", group="g"} 1.0
apiserver_requested_deprecated_apis{group="zero",removed_release="1.40",resource="r",subresource="",version="v1"} 0
apiserver_requested_deprecated_apis{group="broken",removed_release="1.40
apiserver_request_total{group="",resource="pods",version="v1",verb="GET"} 17
"#;

    fn scanned(pieces: &[&[u8]]) -> Option<Vec<String>> {
        let mut scanner = Scanner::default();
        for piece in pieces {
            scanner.take(piece);
        }
        let show = |api: DeprecatedApi| {
            format!("{}/{} {} {}", api.group, api.version, api.resource, api.removed_release)
        };
        scanner.finish().map(|found| found.into_iter().map(show).collect())
    }

    #[test]
    fn the_metric_is_found_whatever_pieces_it_comes_in_and_what_is_odd_is_left_out() {
        let expected = [
            "/v1 endpoints ",
            "flowcontrol.apiserver.k8s.io/v1beta3 flowschemas/status 1.32",
            "g/v1beta1 a\"b\\c ",
        ];
        let bytes = METRICS.as_bytes();
        assert_eq!(scanned(&[bytes]).unwrap(), expected);
        for size in [1, 7, 64, 200] {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(scanned(&pieces).unwrap(), expected, "pieces of {size}");
        }
        let long = format!("apiserver_x{{a=\"{}\"}} 1\n", "x".repeat(LONGEST_LINE * 2));
        assert_eq!(scanned(&[long.as_bytes(), bytes]).unwrap(), expected);
    }

    #[test]
    fn what_is_no_list_of_metrics_is_not_one_without_deprecated_apis() {
        assert_eq!(scanned(&[b"<html>please log in</html>"]), None);
        assert_eq!(scanned(&[]), None);
        assert_eq!(scanned(&[b"# TYPE go_threads gauge\ngo_threads 12"]).unwrap(), Vec::<String>::new());
    }
}
