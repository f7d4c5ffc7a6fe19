//! README's Rust snippet: what people copy first is compiled, and upgrades the lab.
#![expect(clippy::print_stdout, reason = "the snippet shows events as a reader would")]

// README
use std::error::Error;
use std::path::Path;

use aks_drover::Fleet;
use upgrade_core::event::Report;

async fn upgrade(folder: &Path) -> Result<Report, Box<dyn Error>> {
    let fleet = Fleet::from_file(folder.join("drover.toml"))?;
    let cluster = fleet.connect("demo").await?; // identity proven
    let plan = cluster.plan("1.35".parse()?).await?;
    plan.save(folder.join("plan.json"))?;
    let mut run = cluster.apply(plan).journal(folder.join("journal")).start().await?;
    while let Some(event) = run.next().await {
        println!("{:>6} ms  {:?}", event.elapsed_ms, event.kind);
    }
    Ok(run.finish().await?) // the outcome, and the ledger with every Service's gaps
}
// end

use cluster_lab::{Lab, Scenario, Server, ServerOptions};
use upgrade_core::event::RunOutcome;

#[test]
fn the_readme_shows_this_code() {
    let block = |text: &'static str, begin: &str, end: &str| {
        text.split_once(begin).and_then(|(_, rest)| rest.split_once(end)).map(|(block, _)| block.trim())
    };
    let shown = block(include_str!("../../README.md"), "```rust\n", "\n```");
    let run = block(include_str!("readme.rs"), "// README\n", "\n// end");
    assert!(run.is_some_and(|code| code.contains("async fn upgrade")));
    assert_eq!(shown, run);
}

#[tokio::test]
async fn the_readmes_code_upgrades_the_lab() {
    let folder = tempfile::tempdir().unwrap();
    let options = ServerOptions { port: 0, time_scale: 1200.0, token_dir: folder.path().to_owned() };
    let server = Server::start(Lab::new(&Scenario::demo(), 1), &options).unwrap();
    std::fs::write(folder.path().join("drover.toml"), server.drover_toml()).unwrap();
    let report = upgrade(folder.path()).await.unwrap();
    assert_eq!(report.outcome, RunOutcome::Done);
    assert!(report.ledger.len() >= 10 && report.ledger.iter().all(|record| record.gaps.is_empty()));
    server.shutdown();
}
