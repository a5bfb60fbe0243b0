//! Long random histories with every feature on: the properties hold beyond the bounds of the exhaustive search, and the real
//! clock agrees with the model's at each step.

use std::time::Duration;

use stateright::{Expectation, Model};

use super::steps::Step;
use super::world::{Bounds, EVERYTHING, Entry, NOWHERE, PROCESSES, World};
use crate::coherence::clock::{Clock, Epoch, History};
use crate::coherence::poll::Polled;
use crate::coherence::{Moment, Tag, Tags};

const WIDE: Bounds = Bounds {
    txs: 8,
    touches: &[1, 2, 3, EVERYTHING],
    parts: 2,
    writers: &[0, 1, 2],
    crashes: 2,
    prepared: true,
    restarts: true,
    prunes: true,
    replica: true,
    landings: true,
    mutant: None,
};

/// Choices that are the same each time (splitmix64, Steele et al. 2014).
struct Choices(u64);

impl Choices {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    /// The next step: what ends something, and costs the real clock much, comes seldom.
    fn step(&mut self, world: &World) -> Option<Step> {
        let mut steps = Vec::new();
        WIDE.possible(world, &mut steps);
        if self.below(12) != 0 {
            steps.retain(|step| !matches!(step, Step::Crash | Step::Restart(_)));
        }
        (!steps.is_empty()).then(|| steps[self.below(steps.len())])
    }
}

#[test]
fn long_random_histories_keep_every_promise() {
    let promises: Vec<_> = WIDE.properties().into_iter().filter(|p| p.expectation == Expectation::Always).collect();
    for seed in 0..300 {
        let (mut choices, mut world, mut story) = (Choices(seed), World::new(), Vec::new());
        for _ in 0..150 {
            let Some(step) = choices.step(&world) else { break };
            WIDE.apply(&mut world, step);
            story.push(step);
            world = world.canonical(&WIDE);
            for promise in &promises {
                assert!((promise.condition)(&WIDE, &world), "{}: {story:?}", promise.name);
            }
        }
    }
}

/// A process as the server has it.
struct Real {
    clock: Clock,
    /// A poll whose answer is not applied yet.
    polled: Option<Polled>,
}

impl Real {
    fn new() -> Self {
        Self { clock: Clock::new(Duration::MAX), polled: None }
    }

    /// `Feed::advance`, with the model's world for a database.
    fn poll(&mut self, world: &World) {
        let (known, token) = (self.clock.history(), world.token.to_string());
        let goes_on = known.token == token;
        let from = if goes_on { known.horizon() } else { 0 };
        let rows = world.rows(u8::try_from(from).expect("a small id"));
        let polled = Polled {
            next: u64::MAX,
            horizon: world.horizon().into(),
            token,
            pruned_below: world.pruned_below.into(),
            changes: rows.map(|(xid, touches)| (xid.into(), names(xid, touches))).collect(),
        };
        if goes_on {
            self.polled = Some(polled);
        } else {
            let fresh = History::new(epoch(world.token), polled.token.as_str());
            polled.apply(&fresh);
            self.clock.begin(fresh);
        }
    }

    fn publish(&mut self) {
        self.polled.take().expect("a poll was answered").apply(&self.clock.history());
    }
}

fn epoch(number: u8) -> Epoch {
    Epoch::new("system", "database", &number.to_string())
}

/// The tags that a transaction logs; every other one touches the first part by its wildcard.
fn names(xid: u8, touches: u8) -> Vec<String> {
    let first = if xid.is_multiple_of(2) { "asset:*" } else { "asset:1" };
    let all = [(1, first), (2, "assets"), (EVERYTHING, "*")];
    all.iter().filter(|(bit, _)| touches & bit != 0).map(|(_, name)| (*name).to_owned()).collect()
}

fn agree(world: &World, at: usize, real: &Clock, story: &[Step]) {
    let model = &world.processes[at].clock;
    let moment = real.moment();
    let is_same = model.epoch == NOWHERE || (moment.epoch, moment.as_of) == (epoch(model.epoch), model.horizon.into());
    assert!(is_same, "process {at}: {model:?}, but {moment:?} after {story:?}");
    let tags = Tags::new(["asset:1", "assets"].map(Tag::new));
    for number in 1..=world.life {
        for as_of in 0..=world.next + 1 {
            let entry = Entry { epoch: number, as_of, shown: 0 };
            let moment = Moment { epoch: epoch(number), as_of: as_of.into() };
            let (theirs, ours) = (real.is_valid(moment, &tags), model.vouches(&entry, &WIDE));
            assert_eq!(theirs, ours, "process {at}: {entry:?} with {model:?} after {story:?}");
            let (theirs, ours) = (real.has_seen(epoch(number), as_of.into()), model.has_seen(number, as_of));
            assert_eq!(theirs, ours, "process {at}: token {number}.{as_of} with {model:?} after {story:?}");
        }
    }
}

#[test]
fn the_real_clock_agrees_with_the_models_at_each_step() {
    let mut compared = 0;
    for seed in 0..12 {
        let (mut choices, mut world, mut story) = (Choices(seed), World::new(), Vec::new());
        let mut real: [Real; PROCESSES] = std::array::from_fn(|_| Real::new());
        for _ in 0..120 {
            let Some(step) = choices.step(&world) else { break };
            match step {
                Step::Poll(at) if world.token != NOWHERE => real[at].poll(&world),
                Step::Publish(at) => real[at].publish(),
                Step::Restart(at) => real[at] = Real::new(),
                Step::Acknowledge(tx) => {
                    let tx = &world.txs[tx];
                    let at = usize::from(tx.by) - 1;
                    let raised =
                        real[at].clock.committed(&tx.token.to_string(), tx.xid.into(), &names(tx.xid, tx.touches));
                    assert_eq!(raised.is_some(), world.processes[at].clock.epoch == tx.token);
                }
                _ => {}
            }
            WIDE.apply(&mut world, step);
            story.push(step);
            // The model applies a poll in two steps and the server in one: between them they may differ.
            for at in (0..PROCESSES).filter(|at| real[*at].polled.is_none()) {
                agree(&world, at, &real[at].clock, &story);
                compared += 1;
            }
        }
    }
    assert!(compared > 1000, "only {compared} comparisons");
}
