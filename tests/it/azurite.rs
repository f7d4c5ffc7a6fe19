//! Azure Blob Storage as Azurite plays it: the program of Microsoft's that imitates the service.
//!
//! It comes from npm. Where it is not installed in `target/azurite` it is fetched once; where that cannot be done the stories that
//! need it are skipped, and say so.
#![expect(clippy::print_stderr, reason = "a story that is skipped says so")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::HttpRequestBody;

/// The account that Azurite always has, and its key, which are known to everybody (Microsoft: Azurite, "Well-known storage
/// account and key").
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A storage account of one's own until this value is dropped.
pub(crate) struct Azurite {
    process: Child,
    // Held open, so that what it says has somewhere to go.
    _stdout: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
    address: String,
}

impl Azurite {
    /// Starts one on a free port, with one container in it.
    pub(crate) fn with_container(container: &str) -> Option<Self> {
        let azurite = Self::start()?;
        azurite.create(container);
        Some(azurite)
    }

    fn start() -> Option<Self> {
        let program = program()?;
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(program)
            .args(["--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Azurite starts");
        let mut stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        let address = loop {
            let mut line = String::new();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "Azurite ended before it listened");
            if let Some((_, address)) = line.trim().split_once("successfully listens on http://") {
                break address.to_owned();
            }
        };
        std::fs::write(folder.path().join("key"), KEY).unwrap();
        Some(Self { process, _stdout: stdout, folder, address })
    }

    /// The table `[journal]` for this account.
    pub(crate) fn toml(&self) -> String {
        format!(
            "\n[journal]\naccount = \"{ACCOUNT}\"\ncredential = {{ kind = \"account-key\", file = \"{}\" }}\n\
             endpoint = \"http://{}/{ACCOUNT}\"\n",
            self.folder.path().join("key").display(),
            self.address
        )
    }

    fn create(&self, container: &str) {
        let path = format!("/{ACCOUNT}/{container}?restype=container");
        let mut request = http::Request::put(format!("http://{}{path}", self.address))
            .header("content-length", "0")
            .body(HttpRequestBody::empty())
            .unwrap();
        let key = AzureCredential::AccessKey(AzureAccessKey::try_new(KEY).unwrap());
        AzureAuthorizer::new(&key, ACCOUNT).try_authorize(&mut request).unwrap();
        // By hand: one request does not need a client that wants to know about certificates.
        let mut text = format!("PUT {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        for (name, value) in request.headers() {
            write!(text, "{name}: {}\r\n", value.to_str().unwrap()).unwrap();
        }
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program, fetched if need be; `None`, said once, where there is none to be had.
fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(fetched).as_deref()
}

fn fetched() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/azurite");
    let program = home.join("node_modules/.bin/azurite-blob");
    if !program.exists() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&home).arg("azurite@3");
        match npm.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                eprintln!("skipped: Azurite cannot be fetched: {}", String::from_utf8_lossy(&output.stderr));
                return None;
            }
            Err(_) => {
                eprintln!("skipped: there is no npm on this machine to fetch Azurite with");
                return None;
            }
        }
    }
    Some(program)
}
