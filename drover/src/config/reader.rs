//! Reading TOML by hand, so that every error can say where it is and what would be right.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::ConfigError;

/// A file's text with its path.
pub(super) struct Source {
    path: PathBuf,
    text: String,
}

/// Where something stands: kept, so that what is found wrong later (a variable that is not set) can be placed too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    file: PathBuf,
    line: usize,
    path: String,
}

impl Place {
    /// An error about this place.
    pub(crate) fn error(&self, problem: impl Into<String>, remedy: impl Into<String>) -> ConfigError {
        self.error_with(problem, Some(remedy.into()))
    }

    /// The key with its table.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    fn error_with(&self, problem: impl Into<String>, remedy: Option<String>) -> ConfigError {
        ConfigError {
            file: self.file.clone(),
            line: Some(self.line),
            place: self.path.clone(),
            problem: problem.into(),
            remedy,
        }
    }
}

impl Source {
    pub(super) fn new(path: &Path, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The document as a table with places, or the first error of syntax.
    pub(super) fn parse(&self) -> Result<Spanned<DeTable<'_>>, ConfigError> {
        DeTable::parse(&self.text).map_err(|error| {
            let line = error.span().map_or(1, |span| self.line(span.start));
            let message = error.message().replace(['\r', '\n'], " ");
            self.place(line, String::new()).error_with(format!("not TOML: {message}"), None)
        })
    }

    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }

    fn place(&self, line: usize, path: String) -> Place {
        Place { file: self.path.clone(), line, path }
    }

    /// The folder against which relative paths count.
    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }
}

/// One table being read.
pub(super) struct Table<'s> {
    source: &'s Source,
    entries: &'s DeTable<'s>,
    path: String,
    span: Range<usize>,
}

/// One value being read.
pub(super) struct Value<'s> {
    source: &'s Source,
    given: &'s Spanned<DeValue<'s>>,
    path: String,
    span: Range<usize>,
}

impl<'s> Table<'s> {
    /// The whole document.
    pub(super) fn top(source: &'s Source, document: &'s Spanned<DeTable<'s>>) -> Self {
        Self { source, entries: document.get_ref(), path: String::new(), span: 0..0 }
    }

    /// Refuses every key but these.
    pub(super) fn allow(&self, known: &[&str]) -> Result<(), ConfigError> {
        for (key, _) in self.entries {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let place = self.source.place(self.source.line(key.span().start), self.below(name));
                let remedy = match nearest(name, known.iter().copied()) {
                    Some(nearest) => format!("did you mean `{nearest}`?"),
                    None => format!("known here: {}", known.join(", ")),
                };
                return Err(place.error("unknown key", remedy));
            }
        }
        Ok(())
    }

    fn below(&self, key: &str) -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let key = if key.bytes().all(plain) { key.to_owned() } else { format!("{key:?}") };
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    /// The value of a key, if it is there.
    pub(super) fn maybe_value(&self, key: &str) -> Option<Value<'s>> {
        let (name, value) = self.entries.get_key_value(key)?;
        Some(Value { source: self.source, given: value, path: self.below(key), span: name.span() })
    }

    /// The value of a key that has to be there.
    pub(super) fn value(&self, key: &str) -> Result<Value<'s>, ConfigError> {
        self.maybe_value(key).ok_or_else(|| self.place().error_with(format!("`{key}` is missing"), None))
    }

    /// A table that has to be there.
    pub(super) fn table(&self, key: &str) -> Result<Self, ConfigError> {
        self.value(key)?.table()
    }

    /// A table, if it is there.
    pub(super) fn maybe_table(&self, key: &str) -> Result<Option<Self>, ConfigError> {
        self.maybe_value(key).map(|value| value.table()).transpose()
    }

    /// The tables below a table of names that the user has chosen; none if it is not there.
    pub(super) fn tables(&self, key: &str) -> Result<Vec<(String, Self)>, ConfigError> {
        let Some(outer) = self.maybe_table(key)? else { return Ok(Vec::new()) };
        let names = outer.entries.keys().map(|name| name.get_ref().to_string());
        names.map(|name| outer.table(&name).map(|table| (name, table))).collect()
    }

    /// Where it stands.
    pub(super) fn place(&self) -> Place {
        self.source.place(self.source.line(self.span.start), self.path.clone())
    }

    pub(super) fn error(&self, problem: impl Into<String>, remedy: impl Into<String>) -> ConfigError {
        self.place().error(problem, remedy)
    }
}

impl<'s> Value<'s> {
    /// Where it stands.
    pub(super) fn place(&self) -> Place {
        self.source.place(self.source.line(self.span.start), self.path.clone())
    }

    pub(super) fn error(&self, problem: impl Into<String>, remedy: impl Into<String>) -> ConfigError {
        self.place().error(problem, remedy)
    }

    /// An error in the words of whoever found it.
    pub(super) fn error_of(&self, error: &impl fmt::Display) -> ConfigError {
        self.place().error_with(error.to_string(), None)
    }

    fn wrong_type(&self, wanted: &str) -> ConfigError {
        let found = match self.given.get_ref() {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.place().error_with(format!("{wanted} is needed here, not {found}"), None)
    }

    pub(super) fn is_text(&self) -> bool {
        self.given.get_ref().is_str()
    }

    pub(super) fn text(&self) -> Result<&'s str, ConfigError> {
        self.given.get_ref().as_str().ok_or_else(|| self.wrong_type("a text in quotes"))
    }

    pub(super) fn not_empty(&self) -> Result<&'s str, ConfigError> {
        let text = self.text()?;
        if text.trim().is_empty() { Err(self.place().error_with("it is empty", None)) } else { Ok(text) }
    }

    /// A text that means something to `read`.
    pub(super) fn parse<T, E: fmt::Display>(
        &self,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, ConfigError> {
        read(self.text()?).map_err(|error| self.error_of(&error))
    }

    /// A path; a relative one counts from the folder of the file.
    pub(super) fn path(&self) -> Result<PathBuf, ConfigError> {
        Ok(self.source.folder().join(self.not_empty()?))
    }

    pub(super) fn boolean(&self) -> Result<bool, ConfigError> {
        self.given.get_ref().as_bool().ok_or_else(|| self.wrong_type("true or false"))
    }

    /// A whole number of at least `least`.
    pub(super) fn count(&self, least: u32) -> Result<u32, ConfigError> {
        let integer = self.given.get_ref().as_integer().ok_or_else(|| self.wrong_type("a whole number"))?;
        let count = u32::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|n| *n >= least);
        count.ok_or_else(|| {
            self.place().error_with(format!("a whole number of at least {least} is needed here"), None)
        })
    }

    /// A number, whole or not.
    pub(super) fn number(&self) -> Result<f64, ConfigError> {
        let number = match self.given.get_ref() {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .ok()
                .and_then(|integer| i32::try_from(integer).ok())
                .map(f64::from),
            _ => return Err(self.wrong_type("a number")),
        };
        let number = number.filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| self.place().error_with("a finite number is needed here", None))
    }

    /// A date, quoted or not.
    pub(super) fn date(&self) -> Result<jiff::civil::Date, ConfigError> {
        let text = match self.given.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(date) => date.to_string(),
            _ => return Err(self.wrong_type("a date such as \"2026-12-31\"")),
        };
        text.parse().map_err(|_| self.place().error_with("not a date such as \"2026-12-31\"", None))
    }

    /// A moment, quoted or not, with its offset from UTC: a time of day alone means another moment in each zone.
    pub(super) fn moment(&self) -> Result<jiff::Timestamp, ConfigError> {
        const LIKE: &str = "a moment with its offset from UTC, such as \"2026-12-20T00:00:00+01:00\"";
        let text = match self.given.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(moment) => moment.to_string(),
            _ => return Err(self.wrong_type(LIKE)),
        };
        text.parse().map_err(|_| self.place().error_with(format!("not {LIKE}"), None))
    }

    pub(super) fn list(&self) -> Result<Vec<Self>, ConfigError> {
        let items = self.given.get_ref().as_array().ok_or_else(|| self.wrong_type("a list"))?;
        let item = |(index, value): (usize, &'s Spanned<DeValue<'s>>)| Self {
            source: self.source,
            given: value,
            path: format!("{}[{index}]", self.path),
            span: value.span(),
        };
        Ok(items.iter().enumerate().map(item).collect())
    }

    pub(super) fn table(&self) -> Result<Table<'s>, ConfigError> {
        let entries = self.given.get_ref().as_table().ok_or_else(|| self.wrong_type("a table"))?;
        // The key of an inline table stands where its value does; a `[table]` has its place in the header.
        let span = self.given.span();
        Ok(Table { source: self.source, entries, path: self.path.clone(), span })
    }

    /// A word that is none of the known ones.
    pub(super) fn unknown_word(&self, word: &str, known: &[&str]) -> ConfigError {
        let remedy = match nearest(word, known.iter().copied()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("write one of {}", known.join(", ")),
        };
        self.place().error(format!("`{}` is not known here", shown(word)), remedy)
    }

    /// The text is none of the names that the file itself gives.
    pub(super) fn unknown_word_of<'k>(&self, known: impl Iterator<Item = &'k str>) -> ConfigError {
        let known: Vec<&str> = known.collect();
        self.unknown_word(self.given.get_ref().as_str().unwrap_or_default(), &known)
    }
}

/// A word of the user's, fit for a message.
fn shown(word: &str) -> String {
    word.chars().filter(|c| !c.is_control()).take(60).collect()
}

/// The known word that `word` was probably meant to be.
pub(crate) fn nearest<K: Borrow<str>>(word: &str, known: impl Iterator<Item = K>) -> Option<K> {
    let distance = |known: &str| strsim::damerau_levenshtein(word, known);
    let closest = known.map(|known| (distance(known.borrow()), known)).min_by_key(|(distance, _)| *distance);
    // Every third letter may be wrong; more than that is another word.
    closest.filter(|(distance, known)| *distance <= known.borrow().len().max(3) / 3).map(|(_, known)| known)
}
