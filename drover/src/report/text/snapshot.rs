//! What was seen, in numbers.

use upgrade_core::inventory::Inventory;

use super::{Page, Tone};
use crate::report::page::Column;

/// An inventory in numbers: pools, kinds, and what could not be seen.
pub fn inventory(inventory: &Inventory) -> Page {
    let mut page = super::identity(&inventory.identity);
    page.line(2).plain("version     ").plain(inventory.cluster.version);
    page.heading("Pools");
    let rows: Vec<_> = inventory
        .pools
        .iter()
        .map(|pool| {
            let cells = [
                pool.name.to_string(),
                pool.version.to_string(),
                pool.count.to_string(),
                pool.vm_size.clone(),
            ];
            cells.map(|cell| (Tone::Plain, cell)).into()
        })
        .collect();
    let columns =
        [Column::left("pool"), Column::left("version"), Column::right("nodes"), Column::left("size")];
    page.table(2, &columns, &rows);
    page.heading("Seen");
    let kinds = [
        (inventory.nodes.len(), "nodes"),
        (inventory.workloads.iter().filter(|workload| workload.owner.is_none()).count(), "workloads"),
        (inventory.pods.len(), "pods"),
        (inventory.budgets.len(), "budgets"),
        (inventory.services.len(), "Services"),
        (inventory.claims.len(), "claims"),
    ];
    let kinds: Vec<String> = kinds.iter().map(|(n, what)| format!("{n} {what}")).collect();
    page.paragraph(2, "", Tone::Plain, kinds.join(", "));
    for unseen in &inventory.unseen {
        page.paragraph(2, "not seen: ", Tone::Warn, format!("{}: {}", unseen.what, unseen.why));
    }
    page
}
