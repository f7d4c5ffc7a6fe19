//! What rehearsals say of a plan.

use cluster_lab::{Forecast, Spread, TimingChanges};

use super::{Page, Tone};
use crate::report::page::Column;
use crate::report::{count, exact, outcome_words, took, usage_words};

/// What a plan did in its rehearsals: how long it took, stage by stage, and what every Service lived through.
pub fn forecast(forecast: &Forecast) -> Page {
    let mut page = Page::default();
    let all = forecast.completed == forecast.runs;
    let tone = if all { Tone::Good } else { Tone::Bad };
    page.line(0)
        .put(Tone::Strong, "Forecast")
        .plain(": ")
        .put(
            tone,
            format!(
                "{} of {} done",
                forecast.completed,
                count(forecast.runs as usize, "rehearsal", "rehearsals")
            ),
        )
        .plain(format!(", in {} of the cluster's time; {}", range(&forecast.duration_ms), seeds(forecast)));
    page.blank();
    let rows: Vec<_> = forecast
        .stages
        .iter()
        .map(|stage| {
            let Spread { min: _, median, p95, max } = stage.duration_ms;
            let times = [median, p95, max].map(|ms| (Tone::Plain, took(ms)));
            let head = [(Tone::Faint, stage.number.to_string()), (Tone::Plain, stage.title.clone())];
            head.into_iter().chain(times).collect()
        })
        .collect();
    let columns = [
        Column::right(""),
        Column::left("stage"),
        Column::right("median"),
        Column::right("p95"),
        Column::right("longest"),
    ];
    page.table(2, &columns, &rows);
    page.blank();
    if forecast.completed > 0 {
        page.paragraph(2, "", Tone::Plain, usage_words(&forecast.usage));
    }
    if !forecast.probes.is_empty() {
        let probes = forecast.probes.join(", ");
        page.paragraph(2, "probes that nobody asked, and that counted as green: ", Tone::Warn, probes);
    }
    services(&mut page, forecast);
    for failure in &forecast.failures {
        let lead = format!("seed {}: ", failure.seed);
        page.paragraph(2, &lead, Tone::Bad, outcome_words(&failure.outcome));
    }
    page
}

/// What a run has shown of how long things take, as the timing file that says the same.
pub fn learnt(changes: &TimingChanges) -> Page {
    let mut page = Page::default();
    if changes.is_empty() {
        page.line(0).put(Tone::Strong, "Learnt").plain(": nothing; no step in Azure was watched to its end");
    } else {
        page.line(0).put(Tone::Strong, "Learnt").plain(", as a file for --timing:");
        for line in changes.to_string().lines() {
            page.line(2).plain(line);
        }
    }
    page.blank();
    page
}

fn services(page: &mut Page, forecast: &Forecast) {
    let mut with_gap: Vec<_> = forecast.services.iter().filter(|service| service.runs_with_gap > 0).collect();
    if with_gap.is_empty() {
        let services = count(forecast.services.len(), "Service", "Services");
        page.line(2)
            .put(Tone::Good, format!("0 s without ready endpoints in any rehearsal, over {services}"));
        return;
    }
    with_gap.sort_by_key(|service| std::cmp::Reverse(service.longest_gap_ms));
    for service in with_gap {
        page.line(2).put(Tone::Strong, &service.service).put(
            Tone::Warn,
            format!(
                "  without a ready endpoint in {} of {}, for {} at most",
                service.runs_with_gap,
                count(forecast.runs as usize, "rehearsal", "rehearsals"),
                exact(service.longest_gap_ms)
            ),
        );
    }
}

/// Which seeds to take to see the same again.
fn seeds(forecast: &Forecast) -> String {
    let last = forecast.seed.wrapping_add(u64::from(forecast.runs.saturating_sub(1)));
    if last == forecast.seed { format!("seed {last}") } else { format!("seeds {} to {last}", forecast.seed) }
}

fn range(spread: &Spread) -> String {
    let (min, max) = (took(spread.min), took(spread.max));
    if min == max { min } else { format!("{min} to {max}") }
}
