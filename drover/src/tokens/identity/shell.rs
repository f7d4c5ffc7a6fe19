//! How `az` is run.

use std::ffi::OsStr;
use std::io;
use std::process::{Output, Stdio};

use async_trait::async_trait;
use azure_identity::Executor;
use tokio::process::Command;

/// Runs a program that cannot ask anybody anything, and that ends with whoever waits for it.
#[derive(Debug)]
pub(super) struct Shell;

#[async_trait]
impl Executor for Shell {
    async fn run(&self, program: &OsStr, arguments: &[&OsStr]) -> io::Result<Output> {
        Command::new(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await
    }
}
