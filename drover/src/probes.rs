//! The user's own probes, asked as the configuration says.
//!
//! What comes back is one clean, short line, whoever wrote it: it ends up in a question, in a journal and in a CI log. A probe
//! that could not be asked is never green.

mod command;
mod prometheus;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Response};
use secrecy::ExposeSecret;
use upgrade_core::model::ProbeName;
use upgrade_core::ports::ProbeAnswer;
use upgrade_core::span;

use crate::adapters::text::{one_line, with_causes};
use crate::config::{ProbeConfig, ProbeKind, ProbeSource};
use crate::error::ConfigError;
use crate::transport;

/// The most of an answer that is read, in bytes.
const MOST: usize = 1 << 20;
/// The most of it that is repeated, in characters.
const MOST_WORDS: usize = 200;

/// The probes of one cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probes(Arc<[Probe]>);

#[derive(Debug)]
struct Probe {
    config: ProbeConfig,
    /// For those that are asked over HTTP.
    http: Option<Client>,
}

impl Probes {
    /// Makes ready to ask; nothing is contacted.
    pub(crate) fn new(configs: &[ProbeConfig]) -> Result<Self, Box<ConfigError>> {
        let probe = |config: &ProbeConfig| {
            let http = match &config.kind {
                ProbeKind::Command { .. } => None,
                ProbeKind::Http { from, .. } | ProbeKind::Prometheus { from, .. } => {
                    Some(transport::probe(from, &config.place, config.timeout)?)
                }
            };
            Ok(Probe { config: config.clone(), http })
        };
        configs.iter().map(probe).collect::<Result<Vec<_>, _>>().map(|probes| Self(probes.into()))
    }

    /// Makes sure that there is a token where one is wanted, before anything is contacted.
    pub(crate) async fn check_tokens(&self) -> Result<(), Box<ConfigError>> {
        for probe in self.0.iter() {
            if let ProbeKind::Http { from, .. } | ProbeKind::Prometheus { from, .. } = &probe.config.kind
                && let Some(token) = &from.token
            {
                token.fetch_at_start().await?;
            }
        }
        Ok(())
    }

    /// Asks a probe; `None` if the configuration has none of the name.
    pub(crate) async fn ask(&self, name: &ProbeName) -> Option<ProbeAnswer> {
        let probe = self.0.iter().find(|probe| probe.config.name == *name)?;
        Some(probe.ask().await)
    }
}

impl Probe {
    async fn ask(&self) -> ProbeAnswer {
        let timeout = self.config.timeout;
        match (&self.config.kind, &self.http) {
            (ProbeKind::Command { program, arguments }, _) => command::ask(program, arguments, timeout).await,
            (ProbeKind::Http { from, status }, Some(http)) => match get(http, from, &[]).await {
                Ok(response) => page(response, *status).await,
                Err(Failed::Token(words)) => ProbeAnswer::Unknown { words },
                Err(Failed::Call(error)) => ProbeAnswer::Red { words: unanswered(&error, timeout) },
            },
            (ProbeKind::Prometheus { from, query, bounds }, Some(http)) => {
                match get(http, &prometheus::endpoint(from), &[("query", query)]).await {
                    Ok(response) => prometheus::read(response, *bounds).await,
                    Err(Failed::Token(words)) => ProbeAnswer::Unknown { words },
                    Err(Failed::Call(error)) => ProbeAnswer::Unknown { words: unanswered(&error, timeout) },
                }
            }
            (ProbeKind::Http { .. } | ProbeKind::Prometheus { .. }, None) => {
                ProbeAnswer::Unknown { words: "there is no client to ask it with".to_owned() }
            }
        }
    }
}

/// Why there is no answer.
enum Failed {
    Token(String),
    Call(reqwest::Error),
}

/// Sends one request. The token is read anew each time: whoever renews it writes to the same place.
async fn get(http: &Client, from: &ProbeSource, query: &[(&str, &str)]) -> Result<Response, Failed> {
    let mut request = http.get(from.url.clone()).query(query);
    if let Some(token) = &from.token {
        let token = token.fetch().await.map_err(|error| Failed::Token(one_line(&error.to_string())))?;
        request = request.bearer_auth(token.expose_secret());
    }
    request.send().await.map_err(Failed::Call)
}

/// Is it the status that is wanted? If not, the page's own words.
async fn page(response: Response, wanted: u16) -> ProbeAnswer {
    let found = response.status().as_u16();
    if found == wanted {
        return ProbeAnswer::Green { words: format!("status {found}") };
    }
    let said = body(response).await.unwrap_or_default();
    let said = short(&String::from_utf8_lossy(&said));
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    ProbeAnswer::Red { words: format!("status {found} instead of {wanted}{said}") }
}

/// The body, as far as anybody will read it.
async fn body(mut response: Response) -> reqwest::Result<Vec<u8>> {
    let mut read = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        read.extend_from_slice(&chunk);
        if read.len() > MOST {
            read.truncate(MOST);
            break;
        }
    }
    Ok(read)
}

fn unanswered(error: &reqwest::Error, timeout: Duration) -> String {
    if error.is_timeout() {
        return no_answer(timeout);
    }
    // An address can hold a key in its query: it is not repeated.
    let with_causes = with_causes(error);
    let text = match error.url() {
        Some(url) => with_causes.replace(url.as_str(), url.host_str().unwrap_or_default()),
        None => with_causes,
    };
    short(&text)
}

fn no_answer(timeout: Duration) -> String {
    format!("it gave no answer within {}", span::show(timeout))
}

/// An answer of somebody else's, as clean and short as our own.
pub(crate) fn cleaned(answer: ProbeAnswer) -> ProbeAnswer {
    match answer {
        ProbeAnswer::Green { words } => ProbeAnswer::Green { words: short(&words) },
        ProbeAnswer::Red { words } => ProbeAnswer::Red { words: short(&words) },
        ProbeAnswer::Unknown { words } => ProbeAnswer::Unknown { words: short(&words) },
    }
}

/// One clean line that fits into a question.
fn short(text: &str) -> String {
    let line = one_line(text);
    match line.char_indices().nth(MOST_WORDS) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests;
