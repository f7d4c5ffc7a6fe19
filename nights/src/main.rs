//! The program: tells nights, and says which rules were broken.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program's output is its result")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use nights::casts::{self, Cast};
use nights::crash::Whole;
use nights::{Kill, search};

const USAGE: &str = "\
  search [--runs N] [--first-seed S]   small upgrades in drawn weather; 2000 from seed 0 if nothing is said
  crash [CAST [KILL[,KILL]]]           upgrades killed after every record and in every write, and gone on with;
                                       a KILL is record:N, before:N or after:N
  twice [CAST]                         upgrades of which every write is sent twice in a row
  test                                 all of these, as `cargo xtask test` runs them";

/// How many nights a search has if nothing is said.
const RUNS: u64 = 2000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let went = match &words[..] {
        ["search", rest @ ..] => numbers(rest).map(|(runs, first)| search_nights(runs, first)),
        ["crash"] => Ok(each(&casts::all(), crash_nights)),
        ["crash", name] => cast(name).map(|cast| crash_nights(&cast)),
        ["crash", name, kills] => cast(name).and_then(|cast| crash_night(&cast, kills)),
        ["twice"] => Ok(each(&casts::all(), twice)),
        ["twice", name] => cast(name).map(|cast| twice(&cast)),
        ["test"] => Ok(test()),
        _ => Err("what shall be told?".to_owned()),
    };
    match went {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Everything, closed with a line that counts as a test runner's does.
fn test() -> bool {
    let casts = casts::all();
    let mut went = vec![search_nights(RUNS, 0)];
    went.extend(casts.iter().map(crash_nights));
    went.extend(casts.iter().map(twice));
    let failed = went.iter().filter(|ok| !**ok).count();
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {} passed; {failed} failed", went.len() - failed);
    failed == 0
}

fn each(casts: &[Cast], tell: fn(&Cast) -> bool) -> bool {
    let went: Vec<bool> = casts.iter().map(tell).collect();
    went.into_iter().all(|ok| ok)
}

fn cast(name: &str) -> Result<Cast, String> {
    let mut casts = casts::all();
    let names: Vec<&str> = casts.iter().map(|cast| cast.name).collect();
    let unknown = || format!("there is no cast `{name}`; there are {}", names.join(", "));
    casts.iter().position(|cast| cast.name == name).map(|at| casts.swap_remove(at)).ok_or_else(unknown)
}

/// `--runs` and `--first-seed`.
fn numbers(words: &[&str]) -> Result<(u64, u64), String> {
    let (mut runs, mut first) = (RUNS, 0);
    for pair in words.chunks(2) {
        let &[key @ ("--runs" | "--first-seed"), number] = pair else {
            return Err(format!("`{}` is not understood", pair.join(" ")));
        };
        let number = number.parse().map_err(|_| format!("{key} takes a number, not `{number}`"))?;
        if key == "--runs" { runs = number } else { first = number }
    }
    Ok((runs, first))
}

fn search_nights(runs: u64, first: u64) -> bool {
    let clock = Clock::start();
    let told = search::nights(first, runs);
    let broken: Vec<_> = told.iter().filter(|night| !night.told.broken.is_empty()).collect();
    for night in &broken {
        println!("{night}");
    }
    let done = told.iter().filter(|night| night.told.outcome.is_done()).count();
    let events: u64 = told.iter().map(|night| night.events).sum();
    println!(
        "search: {runs} nights from seed {first}, {done} of them done, {events} events, {} broke a rule; {clock}",
        broken.len()
    );
    broken.is_empty()
}

fn crash_nights(cast: &Cast) -> bool {
    let clock = Clock::start();
    let whole = Whole::of(cast);
    for rule in &whole.broken {
        println!("{}, without a kill: {rule}", cast.name);
    }
    let cases = whole.cases();
    let told = whole.tell(cast, &cases);
    let broken: Vec<_> = told.iter().filter(|case| !case.broken.is_empty()).collect();
    for case in &broken {
        let places: Vec<String> = case.kills.iter().map(|kill| whole.place(*kill)).collect();
        println!("{}, killed {}", cast.name, places.join(" and "));
        case.broken.iter().for_each(|rule| println!("  broken: {rule}"));
        println!("  again: cargo xtask crash {} {case}", cast.name);
    }
    println!(
        "crash {}: {} cases ({}), {} broke a rule; {clock}",
        cast.name,
        cases.len(),
        whole.size(),
        broken.len()
    );
    broken.is_empty() && whole.broken.is_empty()
}

/// One case.
fn crash_night(cast: &Cast, kills: &str) -> Result<bool, String> {
    let kills = kills.split(',').map(str::parse).collect::<Result<Vec<Kill>, String>>()?;
    let whole = Whole::of(cast);
    let told = whole.tell(cast, &[kills]);
    let broken: Vec<&String> = told.iter().flat_map(|case| &case.broken).collect();
    for rule in &broken {
        println!("broken: {rule}");
    }
    Ok(broken.is_empty())
}

/// Every write is sent twice in a row, and the second changes nothing.
fn twice(cast: &Cast) -> bool {
    let clock = Clock::start();
    let night = cast.night_of_twice();
    let told = night.through(&[]);
    for rule in &told.broken {
        println!("{}, each write twice: {rule}", cast.name);
    }
    let writes = night.writes();
    println!("twice {}: {writes} writes, {} broke a rule; {clock}", cast.name, told.broken.len());
    told.broken.is_empty()
}

/// How long something took, for people.
struct Clock(Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "it is told to people, nothing is decided by it")]
    fn start() -> Self {
        Self(Instant::now())
    }
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(began) = self;
        let took: Duration = began.elapsed();
        write!(f, "{:.1} s", took.as_secs_f64())
    }
}
