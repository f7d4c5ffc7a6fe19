//! A program as a probe.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use upgrade_core::ports::ProbeAnswer;

use super::{no_answer, short};

/// How much of a program's output is kept: its end.
const KEPT: usize = 4096;

/// Runs the program, without a shell and without an input; it is killed when its time is over. Its last line counts as its words,
/// that of its errors first.
pub(super) async fn ask(program: &str, arguments: &[String], timeout: Duration) -> ProbeAnswer {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.kill_on_drop(true).spawn() {
        Ok(child) => child,
        Err(error) => {
            return ProbeAnswer::Unknown { words: short(&format!("`{program}` cannot be run: {error}")) };
        }
    };
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let all = async { tokio::join!(child.wait(), end_of(out), end_of(err)) };
    let Ok((status, out, err)) = tokio::time::timeout(timeout, all).await else {
        return ProbeAnswer::Red { words: no_answer(timeout) };
    };
    let said = last_line(&err).or_else(|| last_line(&out));
    let after = |said: Option<String>| said.map(|said| format!(": {said}")).unwrap_or_default();
    match status {
        Ok(status) if status.success() => {
            ProbeAnswer::Green { words: last_line(&out).unwrap_or_else(|| "it ended well".to_owned()) }
        }
        Ok(status) => ProbeAnswer::Red { words: format!("it failed ({status}){}", after(said)) },
        Err(error) => ProbeAnswer::Unknown { words: short(&format!("its end is not known: {error}")) },
    }
}

/// Reads all and keeps the end, so that a program that talks much is neither held up nor remembered.
async fn end_of(output: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let Some(mut output) = output else { return Vec::new() };
    let (mut kept, mut chunk) = (Vec::new(), [0; KEPT]);
    loop {
        match output.read(&mut chunk).await {
            Ok(0) | Err(_) => return kept,
            Ok(count) => {
                kept.extend_from_slice(&chunk[..count]);
                let surplus = kept.len().saturating_sub(KEPT);
                kept.drain(..surplus);
            }
        }
    }
}

fn last_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    text.lines().map(short).rfind(|line| !line.is_empty())
}
