//! What runs have left on a cluster.

use upgrade_core::leftovers::{LeftBehind, Leftover};

use super::{Page, Tone};
use crate::report::page::Column;
use crate::report::{count, leftover_kind};

/// What is left, what cannot be given back and why, what stays, and what is not known.
pub fn leftovers(left_behind: &LeftBehind) -> Page {
    let mut page = Page::default();
    let left = &left_behind.left;
    let (tone, lead) = if left.is_empty() {
        (Tone::Good, "nothing is left".to_owned())
    } else {
        (Tone::Warn, format!("{} left", count(left.len(), "thing is", "things are")))
    };
    page.line(0).put(Tone::Strong, &left_behind.cluster).plain(": ").put(tone, lead);
    if let Some(holder) = &left_behind.at_work {
        page.paragraph(2, "at work  ", Tone::Plain, format!("{holder}; what it holds is not left"));
    }
    let rows: Vec<_> = left.iter().map(row).collect();
    if !rows.is_empty() {
        page.heading("Left");
        let columns = ["what", "name", "is", "run"].map(Column::left);
        page.table(2, &columns, &rows);
        by_hand(&mut page, left);
    }
    list(&mut page, "Changed since, and left as it is", &left_behind.changed_since);
    list(&mut page, "Not known", &left_behind.unknown);
    page
}

fn row(left: &Leftover) -> Vec<(Tone, String)> {
    let run = left.run.as_ref().map_or_else(|| "not known".to_owned(), ToString::to_string);
    vec![
        (Tone::Plain, leftover_kind(left.kind).to_owned()),
        (Tone::Plain, left.object.clone()),
        (Tone::Plain, left.detail.clone()),
        (Tone::Faint, run),
    ]
}

/// What `--clean` cannot do, with the command for a person.
fn by_hand(page: &mut Page, left: &[Leftover]) {
    let stuck: Vec<_> = left.iter().filter_map(|left| Some((left, left.obstacle.as_ref()?))).collect();
    if stuck.is_empty() {
        return;
    }
    page.heading("By hand only");
    for (left, why) in stuck {
        let what = format!("{} {}: {why}", leftover_kind(left.kind), left.object);
        page.paragraph(2, "", Tone::Bad, what);
        // On a line of its own, never broken: it is there to be copied.
        page.line(4).put(Tone::Strong, &left.by_hand);
    }
}

fn list(page: &mut Page, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        page.heading(title);
        for line in lines {
            page.paragraph(2, "- ", Tone::Warn, line);
        }
    }
}

/// What was given back, in its order.
pub fn written(written: &[String]) -> Page {
    let mut page = Page::default();
    if !written.is_empty() {
        page.heading("Given back");
        for write in written {
            page.paragraph(2, "- ", Tone::Plain, write);
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use upgrade_core::leftovers::LeftoverKind;
    use upgrade_core::model::RunId;

    use super::*;
    use crate::report::markdown;

    #[test]
    fn a_list_says_what_is_left_why_and_what_is_not_known() {
        let run = || RunId::new("shop-acc-20261124-230000-0001").ok();
        let left = vec![
            Leftover {
                run: run(),
                kind: LeftoverKind::Settings,
                object: "Deployment shop/web".into(),
                detail: "maxSurge 1 instead of maxSurge 0".into(),
                obstacle: None,
                by_hand: "kubectl -n shop patch deployment web".into(),
            },
            Leftover {
                run: None,
                kind: LeftoverKind::Buffer,
                object: "userbf".into(),
                detail: "Succeeded in Azure, 3 nodes, 12 pods to move".into(),
                obstacle: Some("12 pods run on it: shop/web-1, shop/web-2, shop/web-3 and 9 more".into()),
                by_hand: "az aks nodepool delete --name userbf".into(),
            },
        ];
        let left_behind = LeftBehind {
            cluster: "shop-acc".into(),
            at_work: None,
            left,
            changed_since: vec![
                "maxSurge 2 of Deployment shop/api was set by somebody since; it stays".into(),
            ],
            unknown: vec!["cordoned, and no journal that was read says by whom: node-1".into()],
        };
        let nothing = LeftBehind {
            left: Vec::new(),
            changed_since: Vec::new(),
            unknown: Vec::new(),
            ..left_behind.clone()
        };
        let pages = [leftovers(&left_behind), written(&["uncordon node-2".into()]), leftovers(&nothing)];
        let text: Vec<String> = pages.iter().map(ToString::to_string).collect();
        assert_snapshot!(
            "leftovers",
            format!("{}---\n{}", text.join("---\n"), markdown::leftovers(&left_behind))
        );
    }
}
