//! How a number is drawn.

/// Where a drawn number lies.
///
/// All of it is whole numbers, so that a seed tells the same story on every machine; a log-normal would need logarithms, which
/// differ in their last digit from one C library to the next, and has no longest time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Always this.
    Always(u64),
    /// Each number between the two is as likely as the others.
    Between {
        /// The smallest.
        from: u64,
        /// The greatest.
        to: u64,
    },
    /// Half of the draws lie up to the median, nineteen of twenty up to `p95`, all up to the greatest; in each of the three
    /// parts each number is as likely as the others.
    Quantiles {
        /// The smallest.
        min: u64,
        /// Half of the draws are not greater.
        p50: u64,
        /// Nineteen of twenty draws are not greater.
        p95: u64,
        /// The greatest.
        max: u64,
    },
}

impl Distribution {
    /// A number by the seed. What is always the same costs no draw.
    pub(crate) fn draw(&self, rng: &mut fastrand::Rng) -> u64 {
        match *self {
            Self::Always(value) => value,
            Self::Between { from, to } => rng.u64(from..=to),
            Self::Quantiles { min, p50, p95, max } => {
                let (from, to) = match rng.u8(0..20) {
                    0..=9 => (min, p50),
                    10..=18 => (p50, p95),
                    _ => (p95, max),
                };
                rng.u64(from..=to)
            }
        }
    }

    /// What was seen, as a distribution; none of nothing.
    pub(crate) fn of_seen(mut seen: Vec<u64>) -> Option<Self> {
        seen.sort_unstable();
        let (min, max) = (*seen.first()?, *seen.last()?);
        // The nearest rank: of a few, the p95 is the greatest.
        let at = |percent: usize| seen[(seen.len() * percent).div_ceil(100) - 1];
        Some(if min == max {
            Self::Always(min)
        } else {
            Self::Quantiles { min, p50: at(50), p95: at(95), max }
        })
    }

    /// The smallest number that can be drawn.
    pub fn min(&self) -> u64 {
        match *self {
            Self::Always(min) | Self::Between { from: min, .. } | Self::Quantiles { min, .. } => min,
        }
    }

    /// The greatest number that can be drawn.
    pub fn max(&self) -> u64 {
        match *self {
            Self::Always(max) | Self::Between { to: max, .. } | Self::Quantiles { max, .. } => max,
        }
    }

    /// Do its numbers come in their order?
    pub(super) fn is_ordered(&self) -> bool {
        match *self {
            Self::Always(_) => true,
            Self::Between { from, to } => from <= to,
            Self::Quantiles { min, p50, p95, max } => min <= p50 && p50 <= p95 && p95 <= max,
        }
    }

    /// The numbers with their names, as a file has them; a lone one has no name.
    pub(super) fn parts(&self) -> Vec<(&'static str, u64)> {
        match *self {
            Self::Always(value) => vec![("", value)],
            Self::Between { from, to } => vec![("from", from), ("to", to)],
            Self::Quantiles { min, p50, p95, max } => {
                vec![("min", min), ("p50", p50), ("p95", p95), ("max", max)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_draws_are_up_to_the_median_and_nineteen_of_twenty_up_to_p95() {
        let distribution = Distribution::Quantiles { min: 100, p50: 200, p95: 1_000, max: 10_000 };
        let mut rng = fastrand::Rng::with_seed(1);
        let draws: Vec<u64> = (0..10_000).map(|_| distribution.draw(&mut rng)).collect();
        let up_to = |limit: u64| draws.iter().filter(|draw| **draw <= limit).count();
        assert!((4_800..=5_200).contains(&up_to(200)), "{}", up_to(200));
        assert!((9_400..=9_600).contains(&up_to(1_000)), "{}", up_to(1_000));
        assert!(draws.iter().all(|draw| (100..=10_000).contains(draw)));
    }

    #[test]
    fn what_never_varies_costs_no_chance() {
        let (mut rng, mut untouched) = (fastrand::Rng::with_seed(3), fastrand::Rng::with_seed(3));
        assert_eq!(Distribution::Always(7).draw(&mut rng), 7);
        assert_eq!(rng.u64(..), untouched.u64(..));
    }

    #[test]
    fn what_was_seen_is_what_is_drawn() {
        assert_eq!(Distribution::of_seen(Vec::new()), None);
        assert_eq!(Distribution::of_seen(vec![5, 5]), Some(Distribution::Always(5)));
        let seen = Distribution::of_seen((1..=40).rev().collect());
        assert_eq!(seen, Some(Distribution::Quantiles { min: 1, p50: 20, p95: 38, max: 40 }));
    }
}
