//! Where secrets are, as the file says it: never the secret itself.

use std::path::PathBuf;

use super::reader::{Place, Table, Value};
use crate::error::ConfigError;

/// Where a secret is, and where the file says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Secret {
    pub(crate) from: SecretPlace,
    pub(crate) place: Place,
}

/// The places a secret can be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretPlace {
    /// A variable of the environment.
    Variable(String),
    /// A file that holds nothing else.
    File(PathBuf),
    /// A program that prints it, with its arguments.
    Command { program: String, arguments: Vec<String> },
}

const REMEDY: &str =
    "write { env = \"NAME\" }, { file = \"PATH\" } or { command = [\"PROGRAM\", \"ARGUMENT\"] }";

impl Secret {
    /// A secret in a variable, on behalf of the key at `place`.
    pub(super) fn variable(name: &str, place: Place) -> Self {
        Self { from: SecretPlace::Variable(name.to_owned()), place }
    }
}

/// `token = { env = ".." }` and its like.
pub(super) fn read(value: &Value<'_>) -> Result<Secret, ConfigError> {
    if value.is_text() {
        return Err(value.error("a secret does not belong into this file", REMEDY));
    }
    let table = value.table()?;
    table.allow(&["env", "file", "command"])?;
    read_table(&table)
}

/// The same from a table that may hold other keys, too.
pub(super) fn read_table(table: &Table<'_>) -> Result<Secret, ConfigError> {
    let given = ["env", "file", "command"].into_iter().filter_map(|key| Some((key, table.maybe_value(key)?)));
    let given: Vec<(&str, Value<'_>)> = given.collect();
    let [(key, value)] = &given[..] else {
        let problem =
            if given.is_empty() { "it says nowhere to look" } else { "it names more than one place" };
        return Err(table.error(problem, REMEDY));
    };
    let from = match *key {
        "env" => SecretPlace::Variable(value.parse(variable_name)?),
        "file" => SecretPlace::File(value.path()?),
        _ => {
            let (program, arguments) = command_line(value)?;
            SecretPlace::Command { program, arguments }
        }
    };
    Ok(Secret { from, place: table.place() })
}

fn variable_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !text.is_empty() && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        // Somebody may have written the secret itself: it is not repeated.
        Err("not the name of a variable: letters, digits and `_`".to_owned())
    }
}

/// A program with its arguments.
pub(super) fn command_line(value: &Value<'_>) -> Result<(String, Vec<String>), ConfigError> {
    let words = value.list()?.into_iter().map(|word| word.text().map(str::to_owned));
    let mut words = words.collect::<Result<Vec<_>, _>>()?.into_iter();
    match words.next().filter(|program| !program.is_empty()) {
        Some(program) => Ok((program, words.collect())),
        None => Err(value.error("it names no program", "write [\"PROGRAM\", \"ARGUMENT\"]")),
    }
}
