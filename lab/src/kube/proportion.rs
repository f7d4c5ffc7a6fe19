//! A Deployment whose size changes in the middle of a rollout: its sets share the difference (deployment/sync.go, `scale`).

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::deployment::{Case, DESIRED, MAX, Sets, age, annotation, available, scale_set, spec_replicas};
use crate::world::World;

pub(super) fn scale(world: &mut World, case: &Case, sets: &Sets) {
    let active: Vec<&Arc<ReplicaSet>> = sets.all().filter(|set| spec_replicas(set) > 0).collect();
    let only = match active.as_slice() {
        [] => sets.new.as_ref().or_else(|| sets.old.last()),
        [one] => Some(*one),
        _ => None,
    };
    if let Some(set) = only {
        scale_set(world, case, set, case.replicas);
        return;
    }
    let saturated = sets.new.as_ref().is_some_and(|new| {
        spec_replicas(new) == case.replicas
            && annotation(new, DESIRED) == Some(case.replicas)
            && available(new) == case.replicas
    });
    if saturated {
        for set in sets.old.iter().filter(|set| spec_replicas(set) > 0) {
            scale_set(world, case, set, 0);
        }
        return;
    }
    let sizes = share(case.most(), case.replicas + case.surge, active);
    for (set, size) in sizes {
        scale_set(world, case, &set, size);
    }
}

/// The sets with their new sizes, so that together they are `most`.
fn share(most: i32, with_surge: i32, mut sets: Vec<&Arc<ReplicaSet>>) -> Vec<(Arc<ReplicaSet>, i32)> {
    let to_add = most - sets.iter().map(|set| spec_replicas(set)).sum::<i32>();
    // The larger first; of equal ones the newer grows first and the older shrinks first.
    sets.sort_by(|a, b| {
        let by_age = age(a).cmp(&age(b));
        spec_replicas(b).cmp(&spec_replicas(a)).then(if to_add > 0 { by_age.reverse() } else { by_age })
    });
    let mut added = 0;
    let mut sizes = Vec::new();
    for set in sets {
        let part = proportion(set, most, with_surge, to_add, added);
        added += part;
        sizes.push((Arc::clone(set), spec_replicas(set) + part));
    }
    if let Some((_, first)) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    sizes
}

fn proportion(set: &ReplicaSet, most: i32, with_surge: i32, to_add: i32, added: i32) -> i32 {
    let size = spec_replicas(set);
    if size == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let allowed = to_add - added;
    let fraction = if most == 0 {
        -size
    } else {
        let before = annotation(set, MAX).filter(|max| *max > 0).unwrap_or(with_surge).max(1);
        rounded(i64::from(size) * i64::from(with_surge), i64::from(before)) - size
    };
    if to_add > 0 { fraction.min(allowed) } else { fraction.max(allowed) }
}

/// A quotient, rounded half up.
fn rounded(dividend: i64, divisor: i64) -> i32 {
    i32::try_from((2 * dividend + divisor).div_euclid(2 * divisor)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::ReplicaSetSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    fn set(uid: &str, size: i32, max: i32) -> Arc<ReplicaSet> {
        Arc::new(ReplicaSet {
            metadata: ObjectMeta {
                uid: Some(uid.to_owned()),
                annotations: Some([(MAX.to_owned(), max.to_string())].into()),
                ..ObjectMeta::default()
            },
            spec: ReplicaSetSpec { replicas: Some(size), ..ReplicaSetSpec::default() },
            status: None,
        })
    }

    #[test]
    fn the_sets_of_a_rollout_share_what_is_added() {
        // The example of Kubernetes' documentation: 10 replicas with a surge of 3, 8 old and 5 new, scaled to 15.
        let (old, new) = (set("a", 8, 13), set("b", 5, 13));
        let sizes: Vec<i32> = share(18, 18, vec![&old, &new]).into_iter().map(|(_, size)| size).collect();
        assert_eq!(sizes, [11, 7]);
    }

    #[test]
    fn scaled_to_nothing_every_set_is_empty() {
        let (old, new) = (set("a", 8, 13), set("b", 5, 13));
        let sizes: Vec<i32> = share(0, 3, vec![&old, &new]).into_iter().map(|(_, size)| size).collect();
        assert_eq!(sizes, [0, 0]);
    }
}
