//! `kill -9` again and again: the command as a process, the lab over HTTP, and instants drawn from a seed. Whatever the last one left,
//! the next one goes on, and the cluster ends as if nothing had happened.

use std::process::Stdio;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use cluster_lab::{Lab, Server, ServerOptions};
use fastrand::Rng;
use k8s_openapi::api::coordination::v1::Lease;
use nights::casts::Cast;
use nights::likeness;

use super::{Ended, command};

/// How many processes are killed, and the seed of when.
const KILLS: usize = 40;
const SEED: u64 = 6;

/// How many upgrades go on at a time.
const LANES: usize = 4;

/// A process is killed within this time of its start: while it connects, waits for the lock, works, or says good-bye.
const LONGEST: u64 = 4000;

/// Azure's minutes become a fraction of a second.
const FAST: f64 = 1200.0;

/// A small cluster with everything in it that can be borrowed, served over HTTP.
struct Scene {
    lab: Lab,
    folder: tempfile::TempDir,
    server: Server,
}

impl Scene {
    fn new(cast: &Cast) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab::new(cast.scenario(), 1);
        let options = ServerOptions { port: 0, time_scale: FAST, token_dir: folder.path().to_owned() };
        let server = Server::start(lab.clone(), &options).unwrap();
        std::fs::write(folder.path().join("drover.toml"), server.drover_toml()).unwrap();
        let scene = Self { lab, folder, server };
        let plan = scene.work(&["plan", "demo", "--to", "1.35", "-o", "plan.json", "--runs", "0"], None);
        assert_eq!(plan.unwrap().code, Some(0));
        scene
    }

    /// Runs the command to its end, or until it is killed so long after its start; `None` then.
    fn work(&self, arguments: &[&str], killed_after: Option<Duration>) -> Option<Ended> {
        let mut command = command(self.folder.path(), arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let id = child.id().to_string();
        let (sender, ended) = channel();
        // What it says is read aside: a full pipe would stop it.
        let reader = std::thread::spawn(move || {
            let output = child.wait_with_output().expect("it ends");
            // Nobody waits for the end of one that was killed.
            let _ = sender.send(());
            Ended::from(output)
        });
        if let Some(after) = killed_after
            && ended.recv_timeout(after) == Err(RecvTimeoutError::Timeout)
        {
            let sent = std::process::Command::new("kill").args(["-KILL", &id]).status();
            assert!(sent.expect("`kill` is everywhere").success());
        }
        let ended = reader.join().unwrap();
        ended.code.is_some().then_some(ended)
    }

    /// The dead leave a Lease that lasts a minute of the next process's own time. Here they had asked for a second only: it is
    /// waited out all the same, and forty minutes are not.
    fn shorten_the_lease(&self) {
        self.lab.with(|world| {
            // It may not have come so far.
            let _ = world.store.update::<Lease>("kube-system", "drover-upgrade", |lease| {
                if let Some(spec) = &mut lease.spec {
                    spec.lease_duration_seconds = Some(1);
                }
            });
        });
    }

    /// The words that go on with the only run; `None` if none was begun.
    fn journal(&self) -> Option<String> {
        let mut entries = std::fs::read_dir(self.folder.path().join("journal")).ok()?;
        let entry = entries.next()?.unwrap();
        assert!(entries.next().is_none(), "more than one run");
        Some(entry.path().to_str().unwrap().to_owned())
    }
}

/// One upgrade, through as many kills as it lives through; says how many.
fn night(cast: &Cast, rng: &mut Rng, most: usize, whole: &[String]) -> usize {
    let scene = Scene::new(cast);
    let mut kills = 0;
    loop {
        let journal = scene.journal();
        let words = match &journal {
            Some(journal) => ["resume", journal],
            None => ["apply", "plan.json"],
        };
        let after = (kills < most).then(|| Duration::from_millis(rng.u64(0..LONGEST)));
        let Some(ended) = scene.work(&words, after) else {
            kills += 1;
            scene.shorten_the_lease();
            continue;
        };
        assert_eq!(ended.code, Some(0), "after {kills} kills: {ended:?}");
        let known = ended.stdout.contains("0 s without ready endpoints");
        assert!(known || ended.stderr.contains("the run is done"), "after {kills} kills: {ended:?}");
        break;
    }
    let Scene { lab, server, .. } = scene;
    server.shutdown();
    let differences = likeness::differences(whole, &likeness::of(&lab));
    assert!(differences.is_empty(), "after {kills} kills: {differences:#?}");
    kills
}

#[cfg(unix)]
#[test]
fn killed_at_forty_random_instants_every_run_ends_in_the_same_world() {
    let cast = nights::casts::all().into_iter().find(|cast| cast.name == "loans").unwrap();
    // The same upgrade in virtual time, in which nobody is killed.
    let undisturbed = cast.night();
    let told = undisturbed.through(&[]);
    assert_eq!(told.broken, Vec::<String>::new());
    let whole = likeness::of(&undisturbed.lab);
    let (cast, whole) = (&cast, &whole);
    // Side by side: most of the time they wait.
    let kills: usize = std::thread::scope(|scope| {
        let lanes: [_; LANES] = std::array::from_fn(|lane| {
            scope.spawn(move || {
                let (mut rng, mut kills) = (Rng::with_seed(SEED + lane as u64), 0);
                while kills < KILLS / LANES {
                    kills += night(cast, &mut rng, KILLS / LANES - kills, whole);
                }
                kills
            })
        });
        lanes.into_iter().map(|lane| lane.join().unwrap()).sum()
    });
    assert_eq!(kills, KILLS);
}
