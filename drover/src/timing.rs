//! Timing files: how long things take where a plan is rehearsed.

use std::fs;
use std::path::Path;

use cluster_lab::{TimingChanges, TimingProblem};

use crate::config::nearest;
use crate::error::{ConfigError, Error};

/// Reads a file of the form of the lab's own table of timings, `timing.toml` of `aks-drover-lab`: some of its tables and keys.
///
/// # Errors
/// [`Error::Config`] names the line, the key and the nearest known one; [`Error::Unreadable`] if there is no such file.
pub fn timing_file(path: impl AsRef<Path>) -> Result<TimingChanges, Error> {
    let path = path.as_ref();
    let text = fs::read_to_string(path).map_err(|error| Error::Unreadable {
        what: "timing file",
        path: path.to_owned(),
        problem: error.to_string(),
        source: Some(error.into()),
    })?;
    TimingChanges::read(&text).map_err(|error| {
        let key = error.place.rsplit('.').next().unwrap_or_default();
        let remedy = match &error.problem {
            TimingProblem::UnknownKey { known } => Some(match nearest(key, known.iter().copied()) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("known here: {}", known.join(", ")),
            }),
            TimingProblem::Syntax(_) | TimingProblem::Value(_) => None,
        };
        let problem = error.problem.to_string();
        let (file, line) = (path.to_owned(), Some(error.line));
        Error::Config(Box::new(ConfigError { file, line, place: error.place, problem, remedy }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_a_configuration_error_with_its_place_and_the_nearest_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("timing.toml");
        let refused = |text: &str| {
            fs::write(&path, text).unwrap();
            let error = timing_file(&path).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
            (error.to_string().replace(&path.display().to_string(), "timing.toml"), error.hint())
        };
        assert_eq!(
            refused("[azure]\nboots = \"2m\"\n"),
            ("timing.toml:2: azure.boots: unknown key".to_owned(), Some("did you mean `boot`?".to_owned()))
        );
        let (text, hint) = refused("[nodes]\nboot = \"2m\"\n");
        assert_eq!(
            (text.as_str(), hint.as_deref()),
            ("timing.toml:1: nodes: unknown key", Some("did you mean `node`?"))
        );
        let (text, hint) = refused("[azure]\nboot = \"2 tables\"\n");
        assert!(text.starts_with("timing.toml:2: azure.boot: `2 tables` is not a duration"), "{text}");
        assert_eq!(hint, None);
        assert_eq!(timing_file(folder.path().join("none.toml")).unwrap_err().exit_code(), 2);
    }
}
