//! Pods that ask nodes for the same thing: what a node says to one of them it says to all, until it changes.

use std::sync::Arc;

use upgrade_core::model::KubeVersion;

use super::cache::{Cache, Spot, Version};
use super::filter::{Refusal, itself};
use super::needs::{Needs, Wants};
use super::score::{self, Suit};

/// How many classes are remembered: those whose pods come in these moments.
const MOST: usize = 64;

/// What nodes say to a class of pods.
#[derive(Debug)]
pub(super) struct Class {
    like: Arc<Wants>,
    /// What the scores rest on beside the node.
    ground: (Version, KubeVersion),
    answers: Vec<(Version, Result<Suit, Refusal>)>,
}

/// The classes that came last.
#[derive(Debug, Default)]
pub(super) struct Classes(Vec<Class>);

impl Classes {
    /// The class of a pod; it is given back with [`give_back`](Self::give_back).
    pub(super) fn take(&mut self, wants: &Arc<Wants>, ground: (Version, KubeVersion)) -> Class {
        let same = |class: &Class| Arc::ptr_eq(&class.like, wants);
        let known = self.0.iter().rposition(same);
        let known = known.or_else(|| self.0.iter().rposition(|class| class.like.is_like(wants)));
        let mut class = match known {
            Some(place) => self.0.remove(place),
            None => Class { like: Arc::clone(wants), ground, answers: Vec::new() },
        };
        if class.ground != ground {
            class.ground = ground;
            class.answers.clear();
        }
        class.like = Arc::clone(wants);
        class
    }

    pub(super) fn give_back(&mut self, class: Class) {
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push(class);
    }
}

impl Class {
    /// What the node in this spot says to a pod of the class, as far as it decides alone.
    pub(super) fn answer(&mut self, pod: &Needs, spot: Spot, cache: &Cache) -> &Result<Suit, Refusal> {
        let version = cache.version_at(spot);
        if self.answers.len() <= spot {
            self.answers.resize_with(cache.spots().max(spot + 1), || (0, Ok(Suit::default())));
        }
        let answer = &mut self.answers[spot];
        if answer.0 != version
            && let Some(place) = cache.at(spot)
        {
            let suit = || score::suit(pod, place, cache, self.ground.1);
            *answer = (version, itself(pod, place).map_or_else(|| Ok(suit()), Err));
        }
        &answer.1
    }
}
