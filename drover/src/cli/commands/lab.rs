//! `lab`: a simulated cluster on loopback, to try everything out on.

use super::{Session, quoted};
use crate::cli::args::Lab;
use crate::cli::embedded::{Embedded, Wish};
use crate::cli::failure::{Failure, exit};

pub(super) async fn lab(session: &mut Session, args: &Lab) -> Result<u8, Failure> {
    let story = args.scenario.story()?;
    let wish = Wish {
        story: &story,
        seed: args.seed,
        port: args.port,
        time_scale: args.time_scale,
        dir: args.dir.as_deref(),
    };
    let lab = Embedded::serve(&wish)?;
    let console = &session.console;
    console.data(&lab.text);
    if !story.text.is_empty() {
        console.note(&story.text);
    }
    console.note(format!(
        "serving {} at http://{}, {} times real time",
        lab.cluster,
        lab.server.address(),
        args.time_scale
    ));
    console.note(format!("drover.toml and its tokens are in {}", quoted(&lab.dir)));
    console.note(format!(
        "try: aks-drover plan {} --to {} -o plan.json --config {}",
        lab.cluster,
        story.to,
        quoted(&lab.config)
    ));
    console.note(format!("or: kubectl --kubeconfig {} get pods -A", quoted(lab.server.kubeconfig())));
    console.note("Ctrl-C ends it");
    session.signals.next().await;
    Ok(exit::DONE)
}
