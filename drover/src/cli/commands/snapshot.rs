//! `snapshot`: the inventory as a file.

use super::{Session, quoted};
use crate::cli::args::{Output, Snapshot};
use crate::cli::failure::{Failure, exit};
use crate::files::SnapshotFile;
use crate::report::{json, markdown, text};

pub(super) async fn snapshot(session: &mut Session, args: &Snapshot) -> Result<u8, Failure> {
    if session.common.output == Output::Junit {
        return Err(Failure::usage("a snapshot has no JUnit form", "use --output text, json or markdown"));
    }
    let cluster = session.connect(&args.cluster).await?;
    let inventory = session.read(format!("reading {}", args.cluster), cluster.inventory()).await?;
    let file = SnapshotFile::new(inventory);
    let Some(path) = &args.out else {
        session.console.data(&json::snapshot(&file));
        return Ok(exit::DONE);
    };
    file.save(path)?;
    session.console.note(format!("wrote {}", quoted(path)));
    match session.console.output() {
        Output::Json => session.console.data(&json::snapshot(&file)),
        Output::Markdown => session.console.data(&markdown::inventory(&file.inventory)),
        Output::Text | Output::Junit => session.console.page(&text::inventory(&file.inventory)),
    }
    Ok(exit::DONE)
}
