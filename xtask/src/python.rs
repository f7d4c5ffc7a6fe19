//! The Python parts, in a virtual environment of their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::counts;
use crate::parts::Tally;
use crate::rust::command;

/// The Python half of the project, with the environment it is tested in.
pub(crate) struct Python {
    /// `py-bindings/`.
    folder: PathBuf,
    /// `target/xtask/`: everything these parts write.
    scratch: PathBuf,
    /// `target/wheels/`.
    wheels: PathBuf,
}

impl Python {
    pub(crate) fn new(root: &Path) -> Self {
        let target = root.join("target");
        Self {
            folder: root.join("py-bindings"),
            scratch: target.join("xtask"),
            wheels: target.join("wheels"),
        }
    }

    fn venv(&self) -> PathBuf {
        self.scratch.join("venv")
    }

    fn bin(&self, program: &str) -> PathBuf {
        self.venv().join(if cfg!(windows) { "Scripts" } else { "bin" }).join(program)
    }

    /// A program of the environment, in `py-bindings/`.
    fn run(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = command(self.bin(program), &self.folder);
        command.args(arguments).env("VIRTUAL_ENV", self.venv()).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    fn requirements(&self) -> PathBuf {
        self.folder.join("requirements-dev.txt")
    }

    /// Makes the environment and installs the tools, unless that was done for the same requirements.
    pub(crate) fn tools(&self, tally: &mut Tally) -> bool {
        let stamp = self.venv().join("drover-requirements.txt");
        let wanted = fs::read_to_string(self.requirements()).unwrap_or_default();
        if !wanted.is_empty() && fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
            return true;
        }
        let mut venv = command(if cfg!(windows) { "python" } else { "python3" }, &self.folder);
        venv.args(["-m", "venv", "--clear"]).arg(self.venv());
        let mut install =
            self.run("python", &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
        install.arg(self.requirements());
        // Written last: an installation that was interrupted is made again.
        tally.part("python tools", vec![venv, install]) && fs::write(&stamp, wanted).is_ok()
    }

    /// Ruff and mypy over the sources; needs no wheel.
    pub(crate) fn lint(&self, tally: &mut Tally) -> bool {
        let ruff_cache = self.scratch.join("ruff");
        let mut check = self.run("ruff", &["check"]);
        let mut format = self.run("ruff", &["format", "--check"]);
        for command in [&mut check, &mut format] {
            command.arg("--cache-dir").arg(&ruff_cache);
        }
        let mut mypy = self.run("mypy", &["--cache-dir"]);
        mypy.arg(self.scratch.join("mypy"));
        let ruff = tally.part("ruff", vec![check, format]);
        tally.part("mypy", vec![mypy]) && ruff
    }

    /// The wheel as pip would get it, installed, and everything that is said about it tried on it.
    pub(crate) fn test(&self, tally: &mut Tally) {
        if !self.install_wheel(tally) {
            return;
        }
        let stubtest = ["-m", "mypy.stubtest", "aks_drover._native", "--mypy-config-file", "pyproject.toml"];
        tally.part("stubtest", vec![self.run("python", &stubtest)]);
        let mut pytest = self.run("python", &["-m", "pytest", "-q", "-o"]);
        pytest.arg(format!("cache_dir={}", self.scratch.join("pytest").display()));
        tally.tests("pytest", pytest, counts::pytest);
    }

    /// Builds with the profile and the features of the tests, so that what they have compiled is used again.
    fn install_wheel(&self, tally: &mut Tally) -> bool {
        let out = self.scratch.join("wheel");
        if let Err(error) = emptied(&out) {
            return tally.give_up("wheel", &format!("cannot empty {}: {error}", out.display()));
        }
        let mut build = self.run(
            "maturin",
            &["build", "--locked", "--profile", "dev", "--features", "as-in-tests", "--interpreter"],
        );
        build.arg(self.bin("python")).arg("--out").arg(&out);
        let install = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--force-reinstall",
            "--no-deps",
        ];
        let mut install = self.run("python", &install);
        install.args(["--no-index", "--find-links"]).arg(&out).arg("aks-drover");
        tally.part("wheel", vec![build, install])
    }

    /// The wheel that would be published.
    pub(crate) fn release_wheel(&self, tally: &mut Tally) {
        let mut build = self.run("maturin", &["build", "--locked", "--release", "--out"]);
        build.arg(&self.wheels);
        tally.part("wheel", vec![build]);
    }
}

/// An empty folder: what an earlier version left there must not be installed.
fn emptied(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(folder),
    }
}
