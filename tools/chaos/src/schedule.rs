//! What breaks when: rounds of one fault or two at once, drawn from the seed alone, so that the same seed
//! breaks the same things in the same order for as long.
//!
//! Faults are dealt like cards, each once before any comes again: a few seeds then see all of them.

use std::fmt;
use std::time::Duration;

use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::faults::Fault;

/// Reckoned for recovery and pause when rounds are counted; the real time depends on the machine.
const BETWEEN_ROUNDS: Duration = Duration::from_secs(8);
/// The second fault of a pair begins up to this much later, so that one meets the other's beginning,
/// middle or end.
const LATEST_START: u64 = 4_000;

/// One fault with everything that was drawn for it.
#[derive(Clone, Debug)]
pub struct Draw {
    pub fault: Fault,
    pub target: &'static str,
    pub starts_after: Duration,
    pub lasts: Duration,
    /// For what the fault itself draws.
    pub seed: u64,
}

pub type Round = Vec<Draw>;

/// The rounds of a run: as many as fill its length by reckoning, and one at least.
pub fn draw(seed: u64, length: Duration, faults: &[Fault]) -> Vec<Round> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut deck = Vec::new();
    let mut rounds = Vec::new();
    let mut reckoned = Duration::ZERO;
    while rounds.is_empty() || reckoned < length {
        if deck.is_empty() {
            deck.extend_from_slice(faults);
            deck.shuffle(&mut dice);
        }
        let mut round: Round = deal(&mut dice, &mut deck, &[]).into_iter().collect();
        if dice.random_bool(0.5)
            && let Some(mut second) = deal(&mut dice, &mut deck, &round)
        {
            second.starts_after = Duration::from_millis(dice.random_range(0..LATEST_START));
            round.push(second);
        }
        reckoned += round.iter().map(|draw| draw.starts_after + draw.lasts).max().unwrap_or_default();
        reckoned += BETWEEN_ROUNDS;
        rounds.push(round);
    }
    rounds
}

/// Each fault once, alone.
pub fn draw_each(seed: u64, faults: &[Fault]) -> Vec<Round> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut deck: Vec<Fault> = faults.iter().rev().copied().collect();
    std::iter::from_fn(|| deal(&mut dice, &mut deck, &[])).map(|draw| vec![draw]).collect()
}

/// Takes the top card, or the first below it that leaves alone what the table touches.
fn deal(dice: &mut ChaCha8Rng, deck: &mut Vec<Fault>, table: &[Draw]) -> Option<Draw> {
    let card = deck.iter().rposition(|fault| !targets_beside(fault, table).is_empty())?;
    let fault = deck.remove(card);
    let (shortest, longest) = fault.lasts;
    Some(Draw {
        fault,
        target: targets_beside(&fault, table).choose(dice).copied()?,
        starts_after: Duration::ZERO,
        lasts: Duration::from_millis(dice.random_range(shortest * 1_000..=longest * 1_000)),
        seed: dice.random(),
    })
}

/// Two faults must not lay hands on the same thing: neither would be what it says.
fn targets_beside(fault: &Fault, table: &[Draw]) -> Vec<&'static str> {
    let touched: Vec<_> = table.iter().flat_map(|draw| touches(&draw.fault, draw.target)).collect();
    let is_free = |target: &&str| touches(fault, target).all(|part| !touched.contains(&part));
    fault.targets.iter().copied().filter(is_free).collect()
}

fn touches<'a>(fault: &Fault, target: &'a str) -> impl Iterator<Item = &'a str> {
    target.split('+').chain(fault.needs.iter().copied())
}

impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.fault.name, self.target)?;
        if !self.lasts.is_zero() {
            write!(f, " for {:.1} s", self.lasts.as_secs_f64())?;
        }
        Ok(())
    }
}

/// `pause payment for 12.0 s, 1.3 s later: kill nats`
pub fn describe(round: &Round) -> String {
    let mut text = String::new();
    for draw in round {
        if !text.is_empty() {
            text += &format!(", {:.1} s later: ", draw.starts_after.as_secs_f64());
        }
        text += draw.to_string().trim_end();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults;
    use std::collections::BTreeSet;

    fn plan(seed: u64, minutes: u64) -> Vec<String> {
        let faults = faults::of(false);
        draw(seed, Duration::from_secs(60 * minutes), &faults).iter().map(describe).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_schedule_and_another_seed_another() {
        assert_eq!(plan(7, 10), plan(7, 10));
        assert_ne!(plan(7, 10), plan(8, 10));
    }

    #[test]
    fn a_longer_run_begins_like_a_shorter_one() {
        let (short, long) = (plan(7, 2), plan(7, 20));
        assert_eq!(short, long[..short.len()]);
    }

    #[test]
    fn every_fault_comes_before_any_comes_again() {
        let faults = faults::of(false);
        let rounds = draw(3, Duration::from_secs(3_600), &faults);
        let dealt: Vec<_> = rounds.iter().flatten().map(|draw| draw.fault.name).collect();
        let first: BTreeSet<_> = dealt.iter().take(faults.len()).collect();
        assert_eq!(first.len(), faults.len());
    }

    #[test]
    fn no_two_faults_of_a_pair_touch_the_same_thing() {
        for seed in 0..50 {
            for round in draw(seed, Duration::from_secs(600), &faults::of(false)) {
                if let [one, other] = round.as_slice() {
                    let taken: Vec<_> = touches(&one.fault, one.target).collect();
                    let both = touches(&other.fault, other.target).any(|part| taken.contains(&part));
                    assert!(!both, "{one} and {other}");
                }
            }
        }
    }
}
