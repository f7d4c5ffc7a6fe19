//! How long an inventory takes and how much memory, beside a bare download of the same pages.
//!
//! `cargo bench -p aks-drover --bench inventory [-- NODES PODS]`; 5,000 nodes and 150,000 pods if nothing is said.
//!
//! The lab serves a large cluster from a process of its own. Then, in turns and each in its own process: a download, which asks
//! for every page that an inventory asks for, as many at a time, and throws it away; and `connect` and `inventory` as users
//! call them.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program's output is its result")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use aks_drover::Fleet;
use cluster_lab::{Lab, Server, ServerOptions};
use futures::{StreamExt, TryStreamExt, stream};

type Error = Box<dyn std::error::Error + Send + Sync>;

const ROUNDS: usize = 3;
/// What is aimed at.
const TIMES: f64 = 1.5;
const MEGABYTES: f64 = 400.0;

/// The adapter's own page and parallelism (`drover/src/adapters/kubernetes`).
const PAGE: usize = 500;
const LISTS_IN_FLIGHT: usize = 3;
const LISTS: [&str; 12] = [
    "/api/v1/persistentvolumes",
    "/api/v1/nodes",
    "/api/v1/pods",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/statefulsets",
    "/apis/apps/v1/daemonsets",
    "/apis/apps/v1/replicasets",
    "/apis/batch/v1/jobs",
    "/apis/policy/v1/poddisruptionbudgets",
    "/api/v1/services",
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/api/v1/persistentvolumeclaims",
];

/// The files by which the processes find each other.
const CONFIG: &str = "drover.toml";
const PROXY: &str = "proxy-url";
const TOKEN: &str = "rancher-token";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["serve", folder, nodes, pods] => serve(Path::new(folder), nodes, pods),
        ["download", folder, ..] => timed(download(Path::new(folder))),
        ["inventory", folder, nodes, pods] => timed(inventory(Path::new(folder), nodes, pods)),
        [] => compare("5000", "150000"),
        [nodes, pods] => compare(nodes, pods),
        _ => Err("usage: [NODES PODS]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What a child says: seconds, and megabytes resident at most.
struct Reading {
    seconds: f64,
    resident: f64,
}

fn compare(nodes: &str, pods: &str) -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_str().ok_or("the folder's name is not text")?;
    let mut server = Serving::start(path, nodes, pods)?;
    println!("{nodes} nodes, {pods} pods, in {ROUNDS} rounds");
    let (mut downloads, mut inventories) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (what, readings) in [("download", &mut downloads), ("inventory", &mut inventories)] {
            let reading = child(&[what, path, nodes, pods])?;
            println!("{what:<10} {:6.2} s {:7.1} MB resident", reading.seconds, reading.resident);
            readings.push(reading);
        }
    }
    server.stop()?;
    let best =
        |readings: &[Reading]| readings.iter().map(|reading| reading.seconds).fold(f64::INFINITY, f64::min);
    let times = best(&inventories) / best(&downloads);
    let resident = inventories.iter().map(|reading| reading.resident).fold(0.0, f64::max);
    println!(
        "an inventory takes {times:.2} times the download (aim: {TIMES}) and {resident:.0} MB (aim: {MEGABYTES:.0})"
    );
    if times <= TIMES && resident <= MEGABYTES { Ok(()) } else { Err("the aim is missed".into()) }
}

fn child(arguments: &[&str]) -> Result<Reading, Error> {
    let output = Command::new(std::env::current_exe()?).args(arguments).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{arguments:?} failed").into());
    }
    let text = String::from_utf8(output.stdout)?;
    let numbers = text.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    let [seconds, resident] = numbers[..] else {
        return Err(format!("not a reading: {text}").into());
    };
    Ok(Reading { seconds, resident })
}

/// The serving process; it ends when its standard input does.
struct Serving(Child);

impl Serving {
    fn start(folder: &str, nodes: &str, pods: &str) -> Result<Self, Error> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", folder, nodes, pods])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("the server has no output")?).read_line(&mut line)?;
        if line.trim() == "ready" { Ok(Self(child)) } else { Err("the server did not start".into()) }
    }

    fn stop(&mut self) -> Result<(), Error> {
        drop(self.0.stdin.take());
        self.0.wait()?;
        Ok(())
    }
}

fn serve(folder: &Path, nodes: &str, pods: &str) -> Result<(), Error> {
    let lab = Lab::at_rest(nodes.parse()?, pods.parse()?);
    let options = ServerOptions { port: 0, time_scale: 1.0, token_dir: folder.to_owned() };
    let server = Server::start(lab, &options)?;
    std::fs::write(folder.join(CONFIG), server.drover_toml())?;
    let id = server.drover_toml();
    let id =
        id.lines().find_map(|line| line.strip_prefix("rancher_id = ")).ok_or("the lab names no cluster")?;
    let proxy = format!("http://{}/k8s/clusters/{}", server.address(), id.trim_matches('"'));
    std::fs::write(folder.join(PROXY), proxy)?;
    println!("ready");
    std::io::stdin().lock().read_line(&mut String::new())?;
    server.shutdown();
    Ok(())
}

/// Runs one of the two and says what it took.
#[expect(clippy::disallowed_methods, reason = "this measures real time")]
fn timed(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    let start = Instant::now();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)?;
    println!("{} {}", start.elapsed().as_secs_f64(), most_resident()?);
    Ok(())
}

/// The most that was resident, in megabytes (Linux: `VmHWM` in KiB).
fn most_resident() -> Result<f64, Error> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024.0 / 1e6)
}

async fn inventory(folder: &Path, nodes: &str, pods: &str) -> Result<(), Error> {
    let fleet = Fleet::from_file(folder.join(CONFIG))?;
    let inventory = fleet.connect("demo").await?.inventory().await?;
    let seen = [inventory.nodes.len(), inventory.pods.len()].map(|count| count.to_string());
    if seen == [nodes, pods] { Ok(()) } else { Err(format!("{seen:?} were seen").into()) }
}

async fn download(folder: &Path) -> Result<(), Error> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().http1_only().no_proxy().build()?;
    let (proxy, token) =
        (std::fs::read_to_string(folder.join(PROXY))?, std::fs::read_to_string(folder.join(TOKEN))?);
    let list = |path: &'static str| pages(&http, format!("{proxy}{path}"), token.trim());
    let first = list(LISTS[0]).await?;
    let rest = stream::iter(&LISTS[1..]).map(|path| list(path)).buffered(LISTS_IN_FLIGHT);
    let bytes = rest.try_fold(first, |sum, bytes| std::future::ready(Ok(sum + bytes))).await?;
    eprintln!("{} MB in all", bytes / 1_000_000);
    Ok(())
}

/// Reads the pages of a list and throws them away; says how many bytes. How it goes on stands at the beginning of each page.
async fn pages(http: &reqwest::Client, list: String, token: &str) -> Result<usize, Error> {
    const HEAD: usize = 1024;
    let mut read = 0;
    let mut next = String::new();
    loop {
        let mut url = url::Url::parse(&list)?;
        url.query_pairs_mut().append_pair("limit", &PAGE.to_string());
        if !next.is_empty() {
            url.query_pairs_mut().append_pair("continue", &next);
        }
        let mut response = http.get(url).bearer_auth(token).send().await?.error_for_status()?;
        let mut head = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            read += chunk.len();
            head.extend_from_slice(&chunk[..chunk.len().min(HEAD.saturating_sub(head.len()))]);
        }
        let head = String::from_utf8_lossy(&head);
        let rest = head.split_once("\"continue\":\"").map_or("", |(_, rest)| rest);
        next = rest.split('"').next().unwrap_or_default().to_owned();
        if next.is_empty() {
            return Ok(read);
        }
    }
}
