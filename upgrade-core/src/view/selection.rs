//! Which selectors of a namespace choose some labels, without a look at all of them.

use std::collections::{BTreeSet, HashMap};

use crate::model::{LabelSelector, Labels, ObjectName};

/// The selecting objects of one kind (budgets, Services), each under the first label that it asks for. Most selectors ask for a
/// label that few others ask for with that value, so that a pod meets those that choose it and hardly another.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    namespaces: HashMap<String, Selectors>,
}

/// Those of one namespace.
#[derive(Clone, Debug, Default)]
struct Selectors {
    by_label: HashMap<String, HashMap<String, BTreeSet<ObjectName>>>,
    /// Those that ask for no value of a label.
    wide: BTreeSet<ObjectName>,
}

impl Selection {
    /// An object that asks for these labels among other things.
    pub(super) fn insert(&mut self, name: &ObjectName, labels: &Labels) {
        let selectors = self.namespaces.entry(name.namespace().to_owned()).or_default();
        let names = match labels.first_key_value() {
            Some((label, value)) => {
                let values = selectors.by_label.entry(label.clone()).or_default();
                values.entry(value.clone()).or_default()
            }
            None => &mut selectors.wide,
        };
        names.insert(name.clone());
    }

    /// It is gone, or asks for something else now.
    pub(super) fn remove(&mut self, name: &ObjectName, labels: &Labels) {
        let Some(selectors) = self.namespaces.get_mut(name.namespace()) else { return };
        let Some((label, value)) = labels.first_key_value() else {
            selectors.wide.remove(name);
            return;
        };
        let Some(values) = selectors.by_label.get_mut(label) else { return };
        if let Some(names) = values.get_mut(value) {
            names.remove(name);
            if names.is_empty() {
                values.remove(value);
            }
        }
    }

    /// Those that may choose these labels, by name: each that does, and some that ask for more.
    pub(super) fn candidates<'a>(&'a self, namespace: &str, labels: &Labels) -> Vec<&'a ObjectName> {
        let Some(selectors) = self.namespaces.get(namespace) else { return Vec::new() };
        let with = |(label, value): (&String, &String)| selectors.by_label.get(label)?.get(value);
        let chosen = labels.iter().filter_map(with).flatten();
        let mut names: Vec<&ObjectName> = chosen.chain(&selectors.wide).collect();
        names.sort_unstable();
        names
    }
}

/// The labels that a selector asks for; `None` of one that chooses nothing.
pub(super) fn asked(selector: Option<&LabelSelector>) -> Option<&Labels> {
    selector.map(|selector| &selector.labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &[(&str, &str)]) -> Labels {
        text.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_pod_meets_the_selectors_of_its_labels_and_the_wide_ones_in_the_order_of_names() {
        let name = |text: &str| text.parse::<ObjectName>().unwrap();
        let mut selection = Selection::default();
        let web = labels(&[("app", "web")]);
        selection.insert(&name("shop/b"), &web);
        selection.insert(&name("shop/a"), &Labels::new());
        selection.insert(&name("shop/c"), &labels(&[("app", "api")]));
        selection.insert(&name("pay/b"), &web);
        let pod = labels(&[("app", "web"), ("tier", "front")]);
        let met = |selection: &Selection| -> Vec<String> {
            selection.candidates("shop", &pod).into_iter().map(ToString::to_string).collect()
        };
        assert_eq!(met(&selection), ["shop/a", "shop/b"]);
        selection.remove(&name("shop/a"), &Labels::new());
        selection.remove(&name("shop/b"), &web);
        assert_eq!(met(&selection), [""; 0]);
    }
}
