//! The server: a listener on loopback, a thread of its own, and the files that open it.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::app::{App, Shared};
use super::pace::Pace;
use crate::lab::Lab;

/// How a [`Server`] is set up.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Virtual seconds in a real one; 1 is real time. Must be positive and finite.
    pub time_scale: f64,
    /// An existing directory into which the tokens and a kubeconfig are written, readable by their owner alone.
    pub token_dir: PathBuf,
}

/// The lab over HTTP, on 127.0.0.1.
///
/// It runs on a thread of its own until [`shutdown`](Self::shutdown) or drop; endless answers (watches) end then. While it
/// runs, the lab's time follows the real clock: do not run the lab in virtual time beside it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    config: String,
    kubeconfig: PathBuf,
    closing: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// How long a stopping server waits for requests that are still coming in. Every answer takes milliseconds; what lasts longer
/// is a client that has stopped speaking.
const PATIENCE: Duration = Duration::from_secs(2);

/// The name of the lab's only Rancher token.
const TOKEN_NAME: &str = "token-lab01";

impl Server {
    /// Starts to serve. Fails where the port is taken, the token files cannot be written, or an option is out of range.
    pub fn start(lab: Lab, options: &ServerOptions) -> io::Result<Self> {
        lab.with(|world| world.store.remember());
        if !(options.time_scale.is_finite() && options.time_scale > 0.0) {
            let message = format!("the time scale must be a positive number, not {}", options.time_scale);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        // Whoever may read the files may use the lab; nothing in the lab depends on these letters.
        let mut letters = fastrand::Rng::new();
        let (rancher_secret, azure_token) = (secret(&mut letters, 54), secret(&mut letters, 64));
        let bearer = lab.with(|world| {
            let expires = world.rancher.token_expires();
            world.rancher.issue(TOKEN_NAME, &rancher_secret, expires)
        });
        let rancher_file = options.token_dir.join("rancher-token");
        let azure_file = options.token_dir.join("azure-token");
        write_secret(&rancher_file, &bearer)?;
        write_secret(&azure_file, &azure_token)?;
        let config = config(&lab, address, &rancher_file, &azure_file);
        let kubeconfig = options.token_dir.join("kubeconfig");
        write_secret(&kubeconfig, &kubectl_config(&lab, address, &bearer))?;
        let (closing, closed) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let scale = options.time_scale;
        let serve = move || runtime.block_on(serve(lab, listener, address, azure_token, scale, closed));
        let thread = std::thread::Builder::new().name("cluster-lab".to_owned()).spawn(serve)?;
        Ok(Self { address, config, kubeconfig, closing, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A complete `drover.toml` that points at the lab, with one cluster in one environment `lab`. The tokens are in files.
    pub fn drover_toml(&self) -> String {
        self.config.clone()
    }

    /// A file that lets kubectl reach the lab's cluster through the lab's Rancher: `kubectl --kubeconfig FILE`. Drover itself
    /// reads no such file.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Stops serving: open requests are answered, watches end. Returns when everything has ended.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        // Nobody listens any more where the thread has ended by itself.
        let _ = self.closing.send(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the lab's server ended in a panic");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(
    lab: Lab,
    listener: TcpListener,
    address: SocketAddr,
    azure_token: String,
    scale: f64,
    mut closing: watch::Receiver<bool>,
) {
    let pace = Pace::new(lab.now(), scale);
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the lab's listener cannot be used");
            return;
        }
    };
    let time = tokio::spawn(pace.run(lab.clone(), closing.clone()));
    let app = App::new(Shared {
        lab,
        pace,
        address,
        azure_token,
        closing: closing.clone(),
        requests: AtomicU64::new(0),
    });
    let mut stopping = closing.clone();
    let stopped = async move {
        // An error means that the server is gone, which is a reason to stop, too.
        let _ = stopping.wait_for(|closing| *closing).await;
    };
    let patience = async move {
        let _ = closing.wait_for(|closing| *closing).await;
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::select! {
        served = axum::serve(listener, app.router()).with_graceful_shutdown(stopped) => {
            if let Err(error) = served {
                tracing::error!(%error, "the lab's server ended");
            }
        }
        () = patience => tracing::debug!("a client did not let go"),
    }
    time.abort();
}

/// Letters as Rancher makes its secrets of.
fn secret(letters: &mut fastrand::Rng, length: usize) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..length).map(|_| char::from(LETTERS[letters.usize(..LETTERS.len())])).collect()
}

/// Writes beside, flushes, and renames, so that nobody reads half a token.
fn write_secret(path: &Path, content: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// What kubectl needs. It sends no bearer to a server without TLS, so the token is the name and password of the address, as
/// Rancher takes it, too.
fn kubectl_config(lab: &Lab, address: SocketAddr, bearer: &str) -> String {
    let (id, name) = lab.with(|world| (world.rancher.id().to_string(), world.rancher.name().to_owned()));
    let server = format!("http://{bearer}@{address}/k8s/clusters/{id}");
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": name, "users": [],
        "clusters": [{ "name": name, "cluster": { "server": server } }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": "" } }],
    });
    config.to_string()
}

/// The configuration. TOML's quoted texts are JSON's, as far as a path or a name goes.
fn config(lab: &Lab, address: SocketAddr, rancher_file: &Path, azure_file: &Path) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let file = |path: &Path| quoted(&path.to_string_lossy());
    let url = quoted(&format!("http://{address}"));
    let (arm, rancher_id, name) = lab.with(|world| {
        (world.azure.id().clone(), world.rancher.id().to_string(), world.rancher.name().to_owned())
    });
    format!(
        "# The lab on this machine. Its tokens are in files.\n\
         [environments.lab.rancher]\nurl = {url}\ntoken = {{ file = {} }}\n\n\
         [environments.lab.azure]\nsubscription = {}\ncredential = {{ kind = \"token\", file = {} }}\n\
         endpoint = {url}\n\n\
         [clusters.{}]\nenvironment = \"lab\"\nrancher_id = {}\nresource_group = {}\naks_name = {}\n",
        file(rancher_file),
        quoted(arm.subscription()),
        file(azure_file),
        quoted(&name),
        quoted(&rancher_id),
        quoted(arm.resource_group()),
        quoted(arm.name()),
    )
}
