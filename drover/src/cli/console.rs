//! Where text goes: data to stdout, everything else to stderr, and the answers that come back.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressDrawTarget};

use super::args::{Colour, Common, Output};
use crate::report::{Page, clean_line};

/// The terminal, or what stands in for it. Clones share it.
#[derive(Clone)]
pub(super) struct Console {
    inner: Arc<Inner>,
}

struct Inner {
    output: Output,
    quiet: bool,
    colour_out: bool,
    colour_err: bool,
    /// Somebody can read a question and type an answer.
    interactive: bool,
    live: bool,
    /// The live view at the bottom of the terminal; draws nothing without one.
    view: MultiProgress,
    asking: AtomicBool,
    /// Why stdout took no more; the first reason counts.
    lost: Mutex<Option<io::Error>>,
}

impl Console {
    pub(super) fn new(common: &Common) -> Self {
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let coloured = |terminal: bool| match common.color {
            Colour::Auto => terminal,
            Colour::Always => true,
            Colour::Never => false,
        };
        let live = err && !common.quiet && common.output != Output::Json;
        let target = if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let inner = Inner {
            output: common.output,
            quiet: common.quiet,
            colour_out: coloured(out),
            colour_err: coloured(err),
            interactive: err && io::stdin().is_terminal(),
            live,
            view: MultiProgress::with_draw_target(target),
            asking: AtomicBool::new(false),
            lost: Mutex::new(None),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The form of the data.
    pub(super) fn output(&self) -> Output {
        self.inner.output
    }

    /// Is a live view drawn?
    pub(super) fn is_live(&self) -> bool {
        self.inner.live
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.inner.quiet
    }

    /// Can a person be asked?
    pub(super) fn is_interactive(&self) -> bool {
        self.inner.interactive
    }

    /// The live view.
    pub(super) fn view(&self) -> &MultiProgress {
        &self.inner.view
    }

    /// Data, to stdout. A reader who has left is not an error; anything else is kept for [`lost`](Self::lost): an upgrade does
    /// not stop because nobody can read about it.
    pub(super) fn data(&self, text: &str) {
        let write = || {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()
        };
        if let Err(error) = self.inner.view.suspend(write)
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            let mut lost = self.inner.lost.lock().unwrap_or_else(PoisonError::into_inner);
            lost.get_or_insert(error);
        }
    }

    /// A page of data, to stdout.
    pub(super) fn page(&self, page: &Page) {
        self.data(&page.render(self.inner.colour_out));
    }

    /// A page for the reader of the log, to stderr, above the live view.
    pub(super) fn say(&self, page: &Page) {
        self.err(&page.render(self.inner.colour_err));
    }

    /// A line of progress, to stderr; nothing when quiet.
    pub(super) fn note(&self, text: impl Into<String>) {
        if !self.inner.quiet {
            let mut page = Page::default();
            page.line(0).plain(text.into());
            self.say(&page);
        }
    }

    fn err(&self, text: &str) {
        // Without stderr there is nowhere left to say that there is no stderr.
        let write = || io::stderr().lock().write_all(text.as_bytes());
        let _ = self.inner.view.suspend(write);
    }

    /// Why stdout did not take everything; `None` if it did, or if its reader has left.
    pub(super) fn lost(&self) -> Option<io::Error> {
        self.inner.lost.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Asks a question on the terminal. Anything but `y` or `yes` is a no, so is a terminal that nobody can be asked on, or one
    /// on which another question waits.
    pub(super) async fn ask(&self, page: &Page, prompt: &str) -> bool {
        if !self.inner.interactive || self.inner.asking.swap(true, Ordering::AcqRel) {
            return false;
        }
        // The live view would be drawn over what is being typed.
        let _ = self.inner.view.clear();
        self.inner.view.set_draw_target(ProgressDrawTarget::hidden());
        self.err(&format!("{}{prompt} [y/N] ", page.render(self.inner.colour_err)));
        let (sender, answer) = tokio::sync::oneshot::channel();
        // A thread of its own, and never joined: a read from a terminal cannot be called off when the run ends first.
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = io::stdin().lock().read_line(&mut line);
            let _ = sender.send(read.is_ok() && matches!(line.trim().to_lowercase().as_str(), "y" | "yes"));
        });
        let yes = answer.await.unwrap_or(false);
        if self.inner.live {
            self.inner.view.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.inner.asking.store(false, Ordering::Release);
        yes
    }
}

/// The log's way to the console: whole lines, cleaned.
pub(super) struct Log {
    console: Console,
    line: Vec<u8>,
}

impl Log {
    pub(super) fn new(console: Console) -> Self {
        Self { console, line: Vec::new() }
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let text = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        for line in text.lines() {
            self.console.err(&format!("{}\n", clean_line(line)));
        }
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Writing into memory; what `err` cannot write is lost anyway.
        let _ = self.flush();
    }
}
