//! The command as a process: exit codes, files, signals, and what a killed one leaves behind.

mod azure_journal;
mod bad_input;
mod kills;
mod stories;
mod wrong_cluster;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::JoinHandle;

/// The command, with nothing ambient that could point at a configuration, in a folder of its own.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drover-under-test"));
    command.args(arguments).current_dir(folder).env_remove("AKS_DROVER_CONFIG").stdin(Stdio::null());
    command
}

/// How the command ended: exit code, stdout, stderr.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the command writes UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Runs the command to its end.
fn run(folder: &Path, arguments: &[&str]) -> Ended {
    command(folder, arguments).output().expect("the command starts").into()
}

/// `aks-drover lab`, served by a process of its own until this value is dropped.
struct Lab {
    process: Child,
    // Held open: a lab whose stdout nobody reads is a lab that somebody has left.
    _stdout: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
    /// The cluster's name in its drover.toml.
    cluster: String,
    url: String,
}

impl Lab {
    /// A lab whose hours pass in seconds.
    fn serve() -> Self {
        Self::serve_at("1200")
    }

    /// A lab that is so many times faster than real time.
    fn serve_at(scale: &str) -> Self {
        Self::serve_scenario("demo", scale)
    }

    fn serve_scenario(scenario: &str, scale: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["lab", "--scenario", scenario, "--time-scale", scale, "--dir", ".", "--quiet"];
        let mut lab = command(folder.path(), &arguments);
        let mut process = lab.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the lab starts");
        let mut stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut toml = String::new();
        // The configuration ends with this key; the lab goes on running.
        while !toml.lines().last().is_some_and(|line| line.starts_with("aks_name")) {
            assert!(stdout.read_line(&mut toml).unwrap() > 0, "the lab ended after {toml}");
        }
        let quoted = |start: &str| {
            let line = toml.lines().find_map(|line| line.strip_prefix(start)).expect("the key is there");
            line.trim_matches(|c| c == '"' || c == ']').to_owned()
        };
        let (url, cluster) = (quoted("url = "), quoted("[clusters."));
        Self { process, _stdout: stdout, folder, cluster, url }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs the command against the lab: its drover.toml lies in the folder.
    fn run(&self, arguments: &[&str]) -> Ended {
        run(self.folder(), arguments)
    }

    /// Plans the upgrade into `plan.json`.
    fn plan(&self) -> PathBuf {
        let planned = self.run(&["plan", &self.cluster, "--to", "1.35", "-o", "plan.json", "--runs", "0"]);
        assert_eq!(planned.code, Some(0), "{planned:?}");
        self.folder().join("plan.json")
    }

    /// The journal of the only run.
    fn journal(&self) -> PathBuf {
        let files: Vec<PathBuf> = std::fs::read_dir(self.folder().join("journal"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        let [only] = &files[..] else { panic!("not one journal: {files:?}") };
        only.clone()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `apply` or `resume` under way: its stderr is read up to a line, then something is done to it.
struct UnderWay {
    process: Child,
    stderr: BufReader<std::process::ChildStderr>,
    stdout: JoinHandle<String>,
    heard: String,
}

impl UnderWay {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = command(folder, arguments);
        let mut process =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
        let stderr = BufReader::new(process.stderr.take().expect("it is piped"));
        let mut out = process.stdout.take().expect("it is piped");
        // Read aside: a full pipe would stop the command.
        let stdout = std::thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).expect("the command writes UTF-8");
            text
        });
        Self { process, stderr, stdout, heard: String::new() }
    }

    /// Reads stderr until a line holds `text`.
    fn hear(&mut self, text: &str) {
        loop {
            let mut line = String::new();
            assert!(self.stderr.read_line(&mut line).unwrap() > 0, "`{text}` was never said: {}", self.heard);
            self.heard.push_str(&line);
            if line.contains(text) {
                return;
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.process.id().to_string()]).status();
        assert!(sent.expect("`kill` is everywhere").success());
    }

    /// Waits for the end.
    fn end(mut self) -> Ended {
        self.stderr.read_to_string(&mut self.heard).unwrap();
        let status = self.process.wait().unwrap();
        Ended { code: status.code(), stdout: self.stdout.join().unwrap(), stderr: self.heard }
    }
}

/// The text of a file.
fn read(path: impl AsRef<Path> + AsRef<OsStr>) -> String {
    std::fs::read_to_string(path).unwrap()
}

impl Lab {
    /// Creates an object behind the back of whoever has made a plan, through the same proxy.
    fn post(&self, path: &str, object: &serde_json::Value) {
        self.request("POST", path, &object.to_string());
    }

    /// Deletes an object.
    fn delete(&self, path: &str) {
        self.request("DELETE", path, "{}");
    }

    fn request(&self, verb: &str, path: &str, body: &str) {
        let config = read(self.folder().join("drover.toml"));
        let id =
            config.lines().find_map(|line| line.strip_prefix("rancher_id = ")).unwrap().trim_matches('"');
        let address = self.url.strip_prefix("http://").unwrap();
        let token = read(self.folder().join("rancher-token"));
        // By hand: one request does not need a client that wants to know about certificates.
        let request = format!(
            "{verb} /k8s/clusters/{id}/{path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            token.trim(),
            body.len()
        );
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 20"), "{verb} {path}: {answer}");
    }
}
