//! What is wrong with a scenario file.

use std::fmt;

use serde_saphyr::Error;

/// A scenario file that cannot be used: where, what, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoryError {
    /// The file's name.
    pub file: String,
    /// The line and column, counted from 1, where they are known.
    pub place: Option<(u64, u64)>,
    /// What is wrong there.
    pub problem: String,
    /// What would be right, if that can be said.
    pub remedy: Option<String>,
}

impl std::error::Error for StoryError {}

impl fmt::Display for StoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.problem)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl StoryError {
    /// Something in a file that can be read and cannot be.
    pub(super) fn new(file: &str, problem: impl Into<String>) -> Self {
        Self { file: file.to_owned(), place: None, problem: problem.into(), remedy: None }
    }

    pub(super) fn of_yaml(file: &str, error: &Error) -> Self {
        let error = error.without_snippet();
        let place = error.location().map(|location| (location.line(), location.column()));
        let (problem, remedy) = match error {
            Error::SerdeUnknownField { field, expected, .. } => {
                (format!("unknown key `{}`", shown(field)), Some(nearest(field, expected)))
            }
            Error::SerdeUnknownVariant { variant, expected, .. } => {
                (format!("`{}` is not known here", shown(variant)), Some(nearest(variant, expected)))
            }
            other => (other.to_string().replace(['\r', '\n'], " "), None),
        };
        Self { file: file.to_owned(), place, problem, remedy }
    }
}

/// A word of the user's, fit for a message.
fn shown(word: &str) -> String {
    word.chars().filter(|c| !c.is_control()).take(60).collect()
}

/// The known word that was probably meant, else all of them.
fn nearest(word: &str, known: &[&'static str]) -> String {
    let distance = |known: &&str| strsim::damerau_levenshtein(word, known);
    let closest = known.iter().map(|known| (distance(known), *known)).min();
    // Every third letter may be wrong; more than that is another word.
    match closest.filter(|(distance, known)| *distance <= known.len().max(3) / 3) {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}
