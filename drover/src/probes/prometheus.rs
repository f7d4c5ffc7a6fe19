//! A query to Prometheus, or to whoever speaks like it (Prometheus: HTTP API, "Instant queries").

use reqwest::Response;
use serde::Deserialize;
use serde_json::Value;
use upgrade_core::ports::ProbeAnswer;

use super::{body, short};
use crate::config::{Bounds, ProbeSource};

#[derive(Deserialize)]
struct Answer {
    status: String,
    error: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    result: Value,
}

/// One value of a vector, with the labels that tell it from the others.
#[derive(Deserialize)]
struct Sample {
    #[serde(default)]
    metric: serde_json::Map<String, Value>,
    value: Point,
}

/// When, and what: numbers are texts, because JSON has neither `NaN` nor `+Inf`.
type Point = (f64, String);

/// The address of the query API below that of the server.
pub(super) fn endpoint(server: &ProbeSource) -> ProbeSource {
    let mut source = server.clone();
    let path = format!("{}/api/v1/query", server.url.path().trim_end_matches('/'));
    source.url.set_path(&path);
    source
}

/// Judges every value of an answer. Without a value nothing is known.
pub(super) async fn read(response: Response, bounds: Bounds) -> ProbeAnswer {
    let status = response.status();
    let body = match body(response).await {
        Ok(body) => body,
        Err(error) => return unknown(&format!("its answer broke off: {error}")),
    };
    match serde_json::from_slice::<Answer>(&body) {
        Ok(answer) if answer.status == "success" => judge(answer.data, bounds),
        Ok(answer) => unknown(&format!("it refuses the query: {}", answer.error.unwrap_or_default())),
        Err(_) => unknown(&format!("status {status}, and not the answer of a Prometheus")),
    }
}

fn judge(data: Option<Data>, bounds: Bounds) -> ProbeAnswer {
    let Some(data) = data else { return unknown("the query has no result") };
    let samples = match data.kind.as_str() {
        "vector" => serde_json::from_value::<Vec<Sample>>(data.result),
        "scalar" => serde_json::from_value::<Point>(data.result)
            .map(|value| vec![Sample { metric: serde_json::Map::new(), value }]),
        other => {
            let words = format!("the query gives a {other}; it must give a vector or a scalar");
            return unknown(&words);
        }
    };
    let Ok(samples) = samples else { return unknown("its result cannot be understood") };
    let mut green = Vec::new();
    for sample in &samples {
        match sample.value.1.parse::<f64>() {
            // 0/0: nothing has happened that could have gone well or badly.
            Ok(value) if value.is_nan() => return unknown(&format!("{} is no number", shown(sample))),
            Ok(value) if bounds.hold(value) => green.push(shown(sample)),
            Ok(_) => {
                return ProbeAnswer::Red { words: short(&format!("{}, {}", shown(sample), wanted(bounds))) };
            }
            Err(_) => return unknown("its result cannot be understood"),
        }
    }
    match &green[..] {
        [] => unknown("the query has no result"),
        [one] => ProbeAnswer::Green { words: short(one) },
        more => ProbeAnswer::Green { words: format!("{} values, {}", more.len(), wanted(bounds)) },
    }
}

fn shown(sample: &Sample) -> String {
    let label = |(name, value): (&String, &Value)| format!("{name}={}", value.as_str().unwrap_or_default());
    let labels: Vec<String> = sample.metric.iter().map(label).collect();
    let of = if labels.is_empty() { String::new() } else { format!(" ({})", labels.join(", ")) };
    format!("{}{of}", sample.value.1)
}

fn wanted(bounds: Bounds) -> String {
    match (bounds.at_least, bounds.at_most) {
        (Some(least), Some(most)) => format!("{least} to {most} is wanted"),
        (Some(least), None) => format!("at least {least} is wanted"),
        (None, Some(most)) => format!("at most {most} is wanted"),
        (None, None) => "any value is wanted".to_owned(),
    }
}

fn unknown(words: &str) -> ProbeAnswer {
    ProbeAnswer::Unknown { words: short(words) }
}
