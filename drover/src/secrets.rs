//! Fetching secrets from where the configuration says they are. Each fetch reads the place anew.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use secrecy::SecretString;
use tokio::process::Command;

use crate::adapters::text::one_line;
use crate::config::{Secret, SecretPlace};
use crate::env;
use crate::error::ConfigError;

/// The longest wait for a program that prints a secret. Some ask a vault over the network; one that asks a person is
/// not meant for a pipeline.
const COMMAND_PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no secret. Its text says where it was looked for, and never holds what was found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("the variable `{name}` {problem}")]
    Variable { name: String, problem: &'static str },
    #[error("the file {path} {problem}")]
    File { path: String, problem: String },
    #[error("the command `{program}` {problem}")]
    Command { program: String, problem: String },
}

impl Secret {
    /// Fetches the secret now. Line breaks at its end are dropped: files and programs end with one.
    pub(crate) async fn fetch(&self) -> Result<SecretString, SecretError> {
        match &self.from {
            SecretPlace::Variable(name) => variable(name),
            SecretPlace::File(path) => file(path).await,
            SecretPlace::Command { program, arguments } => command(program, arguments).await,
        }
    }

    /// The same at a time when a missing secret is an error of the configuration.
    pub(crate) async fn fetch_at_start(&self) -> Result<SecretString, ConfigError> {
        self.fetch().await.map_err(|error| self.place.error(error.to_string(), error.remedy()))
    }
}

impl SecretError {
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Variable { .. } => "set it, or say in the configuration where else the secret is",
            Self::File { .. } => "check the path and who may read it",
            Self::Command { .. } => "run it by hand to see what it says",
        }
    }
}

fn trimmed(text: &str) -> Option<SecretString> {
    let text = text.trim_end_matches(['\r', '\n']);
    (!text.is_empty()).then(|| SecretString::from(text))
}

fn variable(name: &str) -> Result<SecretString, SecretError> {
    let problem = |problem| SecretError::Variable { name: name.to_owned(), problem };
    let text = env::text(name).map(SecretString::from).ok_or_else(|| problem("is not set"))?;
    trimmed(secrecy::ExposeSecret::expose_secret(&text)).ok_or_else(|| problem("is empty"))
}

async fn file(path: &Path) -> Result<SecretString, SecretError> {
    let problem = |problem: String| SecretError::File { path: path.display().to_string(), problem };
    let text = tokio::fs::read_to_string(path).await.map(SecretString::from);
    let text = text.map_err(|error| problem(format!("cannot be read: {error}")))?;
    trimmed(secrecy::ExposeSecret::expose_secret(&text)).ok_or_else(|| problem("is empty".to_owned()))
}

async fn command(program: &str, arguments: &[String]) -> Result<SecretString, SecretError> {
    let problem = |problem: String| SecretError::Command { program: one_line(program), problem };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(COMMAND_PATIENCE, command.output()).await;
    let output = output
        .map_err(|_| problem(format!("gave no answer within {} s", COMMAND_PATIENCE.as_secs())))?
        .map_err(|error| problem(format!("cannot be run: {error}")))?;
    if !output.status.success() {
        return Err(problem(failed(output.status, &output.stderr)));
    }
    let text = String::from_utf8(output.stdout).map(SecretString::from);
    let text = text.map_err(|_| problem("printed something that is not text".to_owned()))?;
    trimmed(secrecy::ExposeSecret::expose_secret(&text)).ok_or_else(|| problem("printed nothing".to_owned()))
}

/// How a program failed, with what it said last on its error output.
fn failed(status: ExitStatus, stderr: &[u8]) -> String {
    let said = String::from_utf8_lossy(stderr);
    let last = said.lines().map(one_line).rfind(|line| !line.is_empty());
    let last = last.map(|line| format!(": {line}")).unwrap_or_default();
    format!("failed ({status}){last}")
}

#[cfg(test)]
mod tests;
