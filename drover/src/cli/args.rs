//! The command line as people type it.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::Styles;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use upgrade_core::model::VersionRequest;
use upgrade_core::ports::AskBefore;
use upgrade_core::run::failure::OnFailure;
use upgrade_core::span;

use super::scenario::ScenarioName;
use crate::journal::{JournalPlace, RunSelector};

const EXAMPLES: &str = "\
Examples:
  aks-drover demo                                      see an upgrade from end to end, on this machine alone
  aks-drover plan shop-acc --to 1.36 -o plan.json      decide what will be done, and read it
  aks-drover rehearse plan.json                        do it in a simulated copy of the cluster
  aks-drover apply plan.json                           do it
  aks-drover resume shop-acc-20261124-200000-0a1f      go on with a run that was not done

Exit codes:
    0  done, or nothing to do
    1  failed; the run holds; the message says what is held and which command goes on
    2  usage or configuration error; nothing was contacted or changed
    3  blocked by findings or by identity; nothing was changed
    4  paused: a gate, an approval or an unaccepted gap waits for a person
    5  stale plan: the cluster is not as it was when the plan was made; nothing was changed
  130  aborted on request, at a safe point

Data goes to stdout; progress, questions and logs go to stderr.";

/// Upgrades AKS clusters with zero downtime: Kubernetes through Rancher, Azure through ARM.
#[derive(Debug, Parser)]
#[command(name = "aks-drover", bin_name = "aks-drover", version, after_help = EXAMPLES, styles = Styles::plain(), max_term_width = 110)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Common options")]
pub(super) struct Common {
    /// The configuration [default: the file that $AKS_DROVER_CONFIG names, else ./drover.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The form of what goes to stdout; `json` on apply and resume is a stream of events, one a line
    #[arg(long, global = true, value_enum, value_name = "FORM", default_value_t = Output::Text)]
    pub(super) output: Output,
    /// Say nothing on stderr but gaps, warnings, questions and errors [default: progress is shown]
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Log every call on stderr [default: warnings only]
    #[arg(long, short, global = true)]
    pub(super) verbose: bool,
    /// Colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Colour::Auto)]
    pub(super) color: Colour,
}

/// The forms of what goes to stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    Text,
    /// For programs
    Json,
    /// For pull requests and pipeline summaries
    Markdown,
    /// For the "Tests" tab of a pipeline
    Junit,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Colour {
    /// On a terminal
    Auto,
    /// In files and pipes too
    Always,
    /// Nowhere
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Demo(Demo),
    Check(Check),
    Plan(Plan),
    Rehearse(Rehearse),
    Apply(Apply),
    Resume(Resume),
    Status(Status),
    Abort(Abort),
    Leftovers(Leftovers),
    Snapshot(Snapshot),
    Lab(Lab),
}

/// An upgrade from end to end on an embedded lab, over real HTTP, with the proof
///
/// Starts a simulated Rancher, Kubernetes and Azure on a free loopback port, plans the upgrade of its cluster, applies the plan
/// through the same clients that a real cluster gets, and shows how long each stage took and that no Service was ever without
/// a ready endpoint. Touches nothing outside of this machine.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Another seed is another night: other pod names, other start-up times
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// How many times faster than a real cluster the lab runs; durations are shown in the cluster's time
    #[arg(long, value_name = "N", default_value_t = 240, value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub(super) time_scale: u32,
}

/// Findings only: what stands in the way of an upgrade; reads, never writes
///
/// Exits with 3 if a finding blocks the upgrade.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  aks-drover check shop-acc --to 1.36 --output junit > check.xml")]
pub(super) struct Check {
    /// The cluster's name in the configuration
    pub(super) cluster: String,
    #[command(flatten)]
    pub(super) to: Target,
}

/// The version to reach.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Target {
    /// The version to reach: `1.36` for the newest patch that Azure offers, or `1.36.2`
    #[arg(long, value_name = "VERSION")]
    pub(super) to: VersionRequest,
}

/// Findings, plan and forecast; reads, never writes
///
/// The same cluster, policy and version always give the same plan, byte for byte. Exits with 3 if a finding blocks the upgrade;
/// then there is no plan, and no file is written.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  aks-drover plan shop-acc --to 1.36 -o plan.json")]
pub(super) struct Plan {
    /// The cluster's name in the configuration
    pub(super) cluster: String,
    #[command(flatten)]
    pub(super) to: Target,
    /// Write the plan file, for `apply` and `rehearse` [default: no file]
    #[arg(short, long = "out", value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// How many times the plan is rehearsed for the forecast; 0 makes none
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(super) runs: u32,
}

/// Executes a plan in a simulated copy of the cluster, in virtual time; contacts nothing
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aks-drover rehearse plan.json
  aks-drover rehearse snapshot.json --to 1.36 --runs 50
  aks-drover rehearse plan.json --learn-from shop-acc-20261124-200000-0a1f
  aks-drover rehearse deleted-image                    one of the lab's scenarios, with what happens in it

Exits with 1 if a rehearsal does not end well, and with 3 if findings leave no plan to rehearse.")]
pub(super) struct Rehearse {
    /// A plan file; a snapshot file with --to; or a scenario of the lab, by name or as a YAML file
    #[arg(value_name = "PLAN|SNAPSHOT|SCENARIO")]
    pub(super) file: PathBuf,
    /// The version to plan for; only with a snapshot. The policy is the configuration's if --config is given, else the default
    #[arg(long, value_name = "VERSION")]
    pub(super) to: Option<VersionRequest>,
    /// The first run's seed; the same seed tells the same story
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// How many runs, each with the next seed
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) runs: u32,
    /// How long things take there, as far as the file says; the keys are those of the lab's own table, lab/timing.toml
    #[arg(long, value_name = "FILE")]
    pub(super) timing: Option<PathBuf>,
    /// How long Azure takes, as far as the journal of a run shows it; what --timing says counts before it
    #[arg(long, value_name = "RUN|FILE", value_parser = OsStringValueParser::new().try_map(RunSelector::parse))]
    pub(super) learn_from: Option<RunSelector>,
    #[command(flatten)]
    pub(super) journal: Journal,
}

/// Executes a plan
///
/// Proves the cluster's identity, refuses a plan whose cluster has changed (exit 5), then works stage by stage. On a terminal it
/// asks once before it begins; without a terminal it does not ask. Ctrl-C or SIGTERM stops at a safe point; a second time, at
/// once. Whatever happens, `resume` goes on from the journal.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  aks-drover apply plan.json --journal runs --output json > events.jsonl")]
pub(super) struct Apply {
    /// The plan file
    #[arg(value_name = "PLAN")]
    pub(super) plan: PathBuf,
    #[command(flatten)]
    pub(super) journal: Journal,
    /// Before what somebody is asked. Where nobody can be, the run pauses (exit 4), and `resume --approve` answers
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Approve::None)]
    pub(super) approve: Approve,
    /// What to do when a step fails
    #[arg(long, value_enum, value_name = "THEN", default_value_t = WhenItFails::Hold)]
    pub(super) on_failure: WhenItFails,
    /// Do not ask before beginning
    #[arg(long, short)]
    pub(super) yes: bool,
}

/// Before what somebody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Approve {
    /// Nothing, but for what is asked in any case: gaps that nobody has accepted, freezes, probes that are not green, soaks
    /// that do not end, and maintenance of Azure's own
    None,
    /// Each stage
    Stage,
    /// Each step that changes something
    Step,
}

impl From<Approve> for AskBefore {
    fn from(approve: Approve) -> Self {
        match approve {
            Approve::None => Self::None,
            Approve::Stage => Self::Stage,
            Approve::Step => Self::Step,
        }
    }
}

/// What to do when a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum WhenItFails {
    /// Stop there, keep capacity, and go on from there with `resume`
    Hold,
    /// Bring the workloads back to the nodes they came from and delete the buffer, as long as those nodes are not upgraded;
    /// `plan` says until which step. Where it is too late, hold
    Reverse,
}

impl From<WhenItFails> for OnFailure {
    fn from(then: WhenItFails) -> Self {
        match then {
            WhenItFails::Hold => Self::Hold,
            WhenItFails::Reverse => Self::Reverse,
        }
    }
}

/// Where runs are written down.
#[derive(Clone, Debug, Args)]
pub(super) struct Journal {
    /// Where journals are: a directory that holds each run as RUN.jsonl, or az://CONTAINER/FOLDER in the storage account of the
    /// configuration's table `[journal]`
    #[arg(long, value_name = "DIR|URL", default_value = "journal", value_parser = OsStringValueParser::new().try_map(JournalPlace::parse))]
    pub(super) journal: JournalPlace,
}

/// Goes on with a run that was paused, aborted, held or killed
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aks-drover resume shop-acc-20261124-200000-0a1f
  aks-drover resume runs/shop-acc-20261124-200000-0a1f.jsonl
  aks-drover resume shop-acc-20261124-200000-0a1f --approve stage-3

The plan is in the journal; the cluster is the one it names.")]
pub(super) struct Resume {
    /// The id of the question that the run waits for: go on. It is written into the journal, with who and when
    #[arg(long, value_name = "QUESTION")]
    pub(super) approve: Option<String>,
    /// What to do when a step fails from now on; without it, what was said when the run began. The step at which the run holds is
    /// tried once more first
    #[arg(long, value_enum, value_name = "THEN")]
    pub(super) on_failure: Option<WhenItFails>,
    /// The run: an id where journals are, or its journal: a file, or az://CONTAINER/FOLDER/RUN
    #[arg(value_parser = OsStringValueParser::new().try_map(RunSelector::parse))]
    pub(super) run: RunSelector,
    #[command(flatten)]
    pub(super) journal: Journal,
}

/// Where a run stands; reads its journal, contacts nothing
#[derive(Debug, Args)]
pub(super) struct Status {
    /// The run: an id where journals are, or its journal: a file, or az://CONTAINER/FOLDER/RUN
    #[arg(value_parser = OsStringValueParser::new().try_map(RunSelector::parse))]
    pub(super) run: RunSelector,
    #[command(flatten)]
    pub(super) journal: Journal,
}

/// Asks a run to stop that works elsewhere: in another terminal, or on another agent
///
/// Proves the cluster's identity, then asks through the cluster itself: the request stands in the Lease of the lock, which the
/// run's process renews every few seconds. The run finishes the action in hand, gives back what it has borrowed of workloads, and
/// exits with 130, as after Ctrl-C. `abort` waits for that and says how it ended. It may take up to 3 minutes while a rollout needs
/// what was borrowed for it, and longer where Rancher has to adopt a change first (`rancher_managed = "lock-step"`).
///
/// Exits with 0 when the run is not at work any more, also if it was not before; with 3 if another run works on the cluster; with 1
/// if the run is still at work, or its process is dead and holds what it held.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aks-drover abort shop-acc-20261124-200000-0a1f
  aks-drover abort shop-acc-20261124-200000-0a1f --now       as a second Ctrl-C")]
pub(super) struct Abort {
    /// The run: its id, or its journal: a file, or az://CONTAINER/FOLDER/RUN
    #[arg(value_parser = OsStringValueParser::new().try_map(RunSelector::parse))]
    pub(super) run: RunSelector,
    /// At once: writes that are under way stay without an answer, which the journal says
    #[arg(long)]
    pub(super) now: bool,
    /// How long to wait until the run has stopped
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = span::parse)]
    pub(super) wait: Duration,
    /// The cluster's name in the configuration [default: the one that the journal names, or the run's id]
    #[arg(long, value_name = "CLUSTER")]
    pub(super) cluster: Option<String>,
    #[command(flatten)]
    pub(super) journal: Journal,
}

/// What interrupted runs have left behind on a cluster; with --clean it is given back
///
/// Looks at the cluster, at Azure and into the journals together: temporary pools, cordons, settings that were borrowed of
/// workloads, pods that have images pulled, and the lock of a process that has died. What a run that is at work holds is not left.
/// Cordons and borrowed settings are known by their run's journal alone; what could not be seen is said. A list exits with 0.
///
/// With --clean what is left is given back, under the lock of the cluster and written into the run's journal first: what was taken
/// last first, only if it still is as the run has set it, and a pool only if its name, its tag and the journal agree and nothing runs
/// on it that has to move. The run is given up then: it cannot be resumed. Exits with 0 if nothing is left, with 1 if something can only
/// be given back by hand (the command is printed), and with 3 if a run is at work on the cluster.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aks-drover leftovers shop-acc
  aks-drover leftovers shop-acc --journal az://journals/shop --clean")]
pub(super) struct Leftovers {
    /// The cluster's name in the configuration
    pub(super) cluster: String,
    /// Give it back
    #[arg(long)]
    pub(super) clean: bool,
    /// Do not ask before beginning
    #[arg(long, short, requires = "clean")]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) journal: Journal,
}

/// The inventory as a file, without secrets or environment values
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  aks-drover snapshot shop-acc -o snapshot.json")]
pub(super) struct Snapshot {
    /// The cluster's name in the configuration
    pub(super) cluster: String,
    /// The file to write [default: the snapshot itself goes to stdout]
    #[arg(short, long = "out", value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

/// The lab on loopback; prints a drover.toml that points at it
///
/// Serves a simulated Rancher, Kubernetes and Azure until Ctrl-C, for trying everything out. The configuration and the tokens it
/// names are written to a directory of their own, so that `--config` can point there.
#[derive(Debug, Args)]
#[command(after_help = super::scenario::names())]
pub(super) struct Lab {
    /// What the cluster looks like, and what happens to it: `demo` (3 system and 6 user nodes in 3 zones, 1.34, with budgets,
    /// StatefulSets, DaemonSets and a long Job); `unmanaged`, `managed`, `managed-stale` (the same in Rancher's hands: never
    /// edited there; wanted as it is; wanted in versions of long ago); a story; or a YAML file of your own
    #[arg(long, value_name = "NAME|FILE", default_value = "demo")]
    pub(super) scenario: ScenarioName,
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) port: u16,
    /// Another seed is another night: other pod names, other start-up times
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// How many times faster than a real cluster the lab runs
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub(super) time_scale: u32,
    /// Where to write drover.toml and the tokens [default: a new directory among the temporary files]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use insta::assert_snapshot;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        let words = line.split_whitespace();
        Arguments::try_parse_from(words)
            .map_err(|error| error.to_string().lines().next().unwrap_or("").to_owned())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_teaches() {
        // The width of a terminal must not change the transcript.
        let mut command = Arguments::command().term_width(100);
        command.build();
        assert_snapshot!("help", command.render_help());
        for name in [
            "demo",
            "check",
            "plan",
            "rehearse",
            "apply",
            "resume",
            "status",
            "abort",
            "leftovers",
            "snapshot",
            "lab",
        ] {
            let sub = command.find_subcommand_mut(name).unwrap();
            assert_snapshot!(format!("help_{name}"), sub.render_long_help());
        }
    }

    #[test]
    fn a_version_is_a_minor_release_or_exact() {
        for version in ["1.36", "1.36.2", "v1.36.2"] {
            let parsed = parse(&format!("aks-drover check shop --to {version}")).unwrap();
            assert!(matches!(parsed.command, Command::Check(check) if check.to.to.release() == (1, 36)));
        }
    }

    #[test]
    fn wrong_usage_says_what_is_wrong_with_it() {
        for (line, want) in [
            (
                "aks-drover check shop --to latest",
                "`latest` is not a Kubernetes version; write `1.35` or `1.35.2`",
            ),
            ("aks-drover check shop", "required arguments were not provided"),
            ("aks-drover plan shop --to 1.35 --runs many", "invalid value 'many' for '--runs <N>'"),
            ("aks-drover rehearse plan.json --runs 0", "0 is not in 1..=1000"),
            ("aks-drover lab --scenario mars", "invalid value 'mars' for '--scenario <NAME|FILE>'"),
            ("aks-drover lab --port 70000", "70000 is not in 0..=65535"),
            (
                "aks-drover apply plan.json --journal https://x/y",
                "`https://x/y` is an address that journals cannot have; write a directory, or az://",
            ),
            ("aks-drover apply plan.json --quiet --verbose", "cannot be used with"),
            ("aks-drover apply plan.json --output yaml", "invalid value 'yaml'"),
            ("aks-drover upgrade", "unrecognized subcommand 'upgrade'"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(want), "{line}: {error}");
        }
    }

    #[test]
    fn common_options_stand_before_or_after_the_command() {
        for line in ["aks-drover --output json -q status r-1", "aks-drover status r-1 -q --output json"] {
            let parsed = parse(line).unwrap();
            assert!(parsed.common.quiet && parsed.common.output == Output::Json, "{line}");
        }
    }
}
