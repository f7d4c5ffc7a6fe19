//! The command `aks-drover`: arguments in, exit code out. Thin: everything it does, the library can do without it.

mod args;
mod commands;
mod console;
mod embedded;
mod failure;
mod follow;
mod gate;
mod scenario;
mod signals;
mod view;

use std::ffi::OsString;

use clap::Parser as _;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use args::{Arguments, Common};
use commands::Session;
use console::{Console, Log};
use failure::{Failure, exit};
use signals::Signals;

/// The crates whose calls `--verbose` logs.
const OWN: [&str; 5] = ["aks_drover", "upgrade_core", "rancher_client", "aks_client", "cluster_lab"];

/// Runs the command line and returns its exit code. The arguments begin with the program's name.
///
/// Starts threads of its own and blocks until the command has ended. Data goes to this process's stdout, everything else to its
/// stderr; SIGINT and SIGTERM are taken over.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are data. Without stdout or stderr there is nobody to tell.
            let _ = error.print();
            return if error.use_stderr() { exit::USAGE } else { exit::DONE };
        }
    };
    let console = Console::new(&arguments.common);
    log(&console, &arguments.common);
    let ended = begin(&console, arguments);
    let mut code = ended.unwrap_or_else(|failure| tell(&console, &failure));
    if let Some(source) = console.lost() {
        let told =
            tell(&console, &Failure::Ground { message: "stdout cannot be written".to_owned(), source });
        code = if code == exit::DONE { told } else { code };
    }
    code
}

fn begin(console: &Console, arguments: Arguments) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ground = |source| Failure::Ground { message: "no threads can be started".to_owned(), source };
    let runtime = runtime.map_err(ground)?;
    let ended = runtime.block_on(async {
        let signals = Signals::listen().map_err(ground)?;
        let session = Session { console: console.clone(), common: arguments.common, signals };
        commands::perform(session, arguments.command).await
    });
    // What still works (a rehearsal that was left, a read from the terminal) ends with the process.
    runtime.shutdown_background();
    ended
}

fn tell(console: &Console, failure: &Failure) -> u8 {
    console.say(&failure.page());
    failure.exit_code()
}

/// Sends the log to the console. A process that has a log already (a Python program that calls the command) keeps its own.
fn log(console: &Console, common: &Common) {
    let level = match (common.quiet, common.verbose) {
        (true, _) => LevelFilter::ERROR,
        (_, true) => LevelFilter::DEBUG,
        _ => LevelFilter::WARN,
    };
    let targets = Targets::new().with_targets(OWN.map(|name| (name, level)));
    let console = console.clone();
    let lines =
        tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || Log::new(console.clone()));
    let _ = tracing_subscriber::registry().with(targets).with(lines).try_init();
}
