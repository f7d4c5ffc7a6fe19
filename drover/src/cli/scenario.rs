//! The lab's scenarios, by their names on the command line or from files.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use cluster_lab::{Scenario, Story};
use upgrade_core::Policy;
use upgrade_core::model::VersionRequest;

use super::failure::Failure;
use crate::config::nearest;

/// How often the lab's Rancher reads Azure, where it does: the default of its setting `aks-refresh`.
const RANCHER_REFRESH: Duration = Duration::from_secs(300);

/// Where the demo's cluster goes: one minor release up from where its scenario begins.
pub(super) const DEMO_TARGET: VersionRequest = VersionRequest::Minor { major: 1, minor: 35 };

/// The demo cluster in its kinds.
const DEMOS: [&str; 4] = ["demo", "unmanaged", "managed", "managed-stale"];

/// A scenario as somebody names it: one that comes with the lab, or a file of one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ScenarioName {
    /// It comes with the lab.
    Known(String),
    /// A YAML file.
    File(PathBuf),
}

impl FromStr for ScenarioName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_yaml(Path::new(text)) {
            return Ok(Self::File(text.into()));
        }
        let known = || DEMOS.into_iter().chain(Story::names());
        if known().any(|name| name == text) {
            return Ok(Self::Known(text.to_owned()));
        }
        let hint = match nearest(text, known()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("known: {}; or a .yaml file", known().collect::<Vec<_>>().join(", ")),
        };
        Err(format!("no such scenario; {hint}"))
    }
}

/// Does the path name a scenario file?
pub(super) fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// The names of the stories, for a command's help.
pub(super) fn names() -> String {
    let names: Vec<&str> = Story::names().collect();
    let lines = names.chunks(4).map(|names| format!("  {}", names.join(", ")));
    format!("Stories, each a bad night that somebody had:\n{}", lines.collect::<Vec<_>>().join(",\n"))
}

impl ScenarioName {
    /// The scenario with its story.
    pub(super) fn story(&self) -> Result<Story, Failure> {
        match self {
            Self::Known(name) => Ok(demo(name).or_else(|| Story::named(name)).expect("its name was known")),
            Self::File(path) => {
                let shown = path.display().to_string();
                let text = fs::read_to_string(path).map_err(|source| Failure::Usage {
                    message: format!("cannot read {shown}: {source}"),
                    hint: None,
                })?;
                Story::read(&shown, &text)
                    .map_err(|error| Failure::Usage { message: error.to_string(), hint: None })
            }
        }
    }
}

/// The demo cluster in one of its kinds: no file, and nothing happens to it.
fn demo(name: &str) -> Option<Story> {
    let scenario = match name {
        "demo" => Scenario::demo(),
        "unmanaged" => Scenario::demo().unmanaged(),
        "managed" => Scenario::demo().managed(RANCHER_REFRESH),
        "managed-stale" => Scenario::demo().managed_stale(),
        _ => return None,
    };
    let (text, policy) = (String::new(), Policy::default());
    Some(Story { name: name.to_owned(), text, scenario, to: DEMO_TARGET, policy })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_found_by_its_name_or_its_file_and_a_slip_is_told() {
        let named = |text: &str| text.parse::<ScenarioName>();
        for name in DEMOS.into_iter().chain(Story::names()) {
            assert_eq!(named(name).unwrap().story().unwrap().name, name);
        }
        assert_eq!(named("nights/mine.yaml").unwrap(), ScenarioName::File("nights/mine.yaml".into()));
        assert_eq!(named("deleted-imag").unwrap_err(), "no such scenario; did you mean `deleted-image`?");
        assert!(named("mars").unwrap_err().contains("known: demo, unmanaged, "));
        assert!(matches!(named("missing.yaml").unwrap().story(), Err(Failure::Usage { .. })));
    }
}
