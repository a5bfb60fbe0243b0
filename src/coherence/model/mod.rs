//! A model of the whole protocol: `stateright` walks every history within stated bounds and finds no read that is older
//! than was promised; and it finds one at once when a rule of the protocol is broken.
//!
//! # What is modelled
//!
//! - Transactions that overlap: each gets its id, writes its row of the log, and commits or aborts in any order, so one that
//!   began early holds the horizon back for as long as it likes.
//! - Two processes with the clock of `clock.rs`. A poll's statement is one snapshot; it is applied in two steps, slots and
//!   floor first, then the horizon, and everything else may happen between them. A poll that finds another epoch builds a
//!   clock of its own and puts it in place at once.
//! - Loads: the moment is taken, then each part is read by a query of its own, then the value is kept. A value may have two
//!   parts with a tag each, and a transaction may change one, the other, both, or everything (`*`).
//! - Own writes: a process commits, raises its clock, answers with a token. The epoch of a commit is the one that the
//!   transaction itself read. If the clock is in another, the answer waits for a poll that began after the commit:
//!   otherwise the reused id is below every old `as_of` ([`Mutant::CommitTrustsTheClock`]).
//! - Crashes: open transactions, log and token are gone, ids that never reached the disk are used again, prepared
//!   transactions survive without their rows in the log. That is why an epoch is born with the next id as its floor
//!   ([`Mutant::BirthWithoutFloor`]).
//! - Pruning up to any process's horizon; processes that start again with an empty clock while the cache lives on.
//! - A replica that replays ends in any order, lags, and may show a commit before the primary does. A load from it that the
//!   clock does not vouch for goes to the primary.
//!
//! **Memory and Redis are one set that entries are only ever added to, and a lookup may find any of them or none.** That
//! is every way in which a cache can lose, delay, repeat or resurrect a write, and be flushed, all at once.
//!
//! **A read is not an event.** What it could be answered with is a function of the state, so the promises are asked of every
//! state: whatever entry the clock vouches for now shows (strong) what was committed before the newest finished poll began,
//! (token) each acknowledged write that the clock takes for seen, (own) what the process has itself answered for. A
//! bounded read promises only the last. "Committed" is more than "acknowledged", so the strong promise is stronger
//! than it need be.
//!
//! # What is left out, and why that loses nothing
//!
//! The time between a poll's snapshot and its first half, and between a load's last part and its being kept: whatever
//! could happen there could as well happen before the snapshot, or with an entry that is found later. Polls that
//! find nothing new. What [`World::canonical`](world::World::canonical) folds together.
//!
//! # What is left out
//!
//! Collisions of slots (they only cost hits), time (a feed too old to be believed, TTLs), more than one value (values do
//! not touch each other but through the clock), loads that are shared by reads of several keys, failing polls (as polls
//! that do not happen), fail-over to a replica that lacks commits (an epoch ends, and promises with it), and a server that
//! is given back an older copy of its own files after an orderly stop: nothing is emptied then.
//!
//! # Bounds
//!
//! One value, two processes, two transactions (three where nothing else is on); any number of polls, loads, restarts and
//! prunings, which only lead back to known states. All reachable states are visited; each test states how many there
//! are: 386,000 in all, seven seconds on two slow cores in the dev profile. `wider_bounds` has 3.2 million more (processes that
//! write across a crash, replicas across a crash) and is run by hand.
//! Beyond the bounds, `walk` takes random histories of eight transactions with every feature on, and compares the clock
//! of `clock.rs` with the model's at each step.

mod steps;
mod walk;
mod world;

use stateright::{Checker, HasDiscoveries, Model};

use steps::{LANDED, OWN, STRONG, TOKEN};
use world::{Bounds, EVERYTHING, Mutant};

const TWO: Bounds = Bounds { txs: 2, ..Bounds::PLAIN };
const CRASH: Bounds = Bounds { crashes: 1, ..TWO };

/// All states within the bounds keep all promises, there are so many of them, so many steps deep (the longest of the
/// shortest ways), and each feature leads to what it is there for.
fn holds(bounds: Bounds, states: usize) {
    let checker = bounds.checker().threads(2).spawn_bfs().join();
    let (found, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("{found} states, {depth} steps deep");
    checker.assert_properties();
    assert_eq!(found, states, "the model has changed: look whether it still says what it should");
}

/// With a rule broken this promise is broken too; the shortest history that shows it has so many steps.
fn breaks(promise: &'static str, mutant: Mutant, bounds: Bounds, shortest: usize) {
    let bounds = Bounds { mutant: Some(mutant), ..bounds };
    let checker = bounds.checker().finish_when(HasDiscoveries::AnyOf([promise].into())).spawn_bfs().join();
    let history = checker.discovery(promise).unwrap_or_else(|| panic!("{mutant:?} does no harm")).into_actions();
    assert_eq!(history.len(), shortest, "{mutant:?}: {history:?}");
}

#[test]
fn transactions_that_overtake_each_other() {
    holds(Bounds::PLAIN, 30_709);
}

#[test]
fn values_of_two_parts_and_changes_of_everything() {
    holds(Bounds { touches: &[1, 2], parts: 2, ..TWO }, 21_102);
    holds(Bounds { touches: &[1, EVERYTHING], parts: 2, ..TWO }, 32_911);
}

#[test]
fn writers_that_are_processes() {
    holds(Bounds { writers: &[0, 1, 2], ..TWO }, 21_234);
}

#[test]
fn passengers_of_a_flight() {
    holds(Bounds { landings: true, ..TWO }, 7_732);
}

#[test]
fn a_crash_that_reuses_ids() {
    holds(CRASH, 42_421);
}

#[test]
fn prepared_transactions_that_outlive_a_crash() {
    holds(Bounds { prepared: true, ..CRASH }, 64_270);
}

#[test]
fn pruning_and_restarts() {
    holds(Bounds { prunes: true, ..TWO }, 24_224);
    holds(Bounds { restarts: true, prunes: true, ..TWO }, 71_645);
}

#[test]
fn a_replica_that_lags() {
    holds(Bounds { replica: true, ..TWO }, 69_536);
}

#[test]
#[ignore = "minutes: `cargo test --lib coherence::model -- --ignored`"]
fn wider_bounds() {
    holds(Bounds { txs: 4, ..TWO }, 304_208);
    holds(Bounds { writers: &[0, 1, 2], ..CRASH }, 364_833);
    holds(Bounds { restarts: true, prunes: true, ..CRASH }, 465_080);
    holds(Bounds { crashes: 2, ..TWO }, 251_906);
    holds(Bounds { replica: true, ..CRASH }, 1_806_929);
}

#[test]
fn a_moment_taken_after_the_read_is_found_out() {
    breaks(STRONG, Mutant::MomentAfterTheRead, Bounds { parts: 2, ..TWO }, 8);
}

#[test]
fn a_loose_comparison_is_found_out() {
    breaks(STRONG, Mutant::LooseValidity, TWO, 10);
    breaks(STRONG, Mutant::FloorAtEverything, Bounds { touches: &[EVERYTHING], ..TWO }, 10);
}

/// It is the token read that relies on the order: it takes a horizon for the word that all below it is on the clock.
#[test]
fn a_horizon_published_before_the_slots_are_raised_is_found_out() {
    breaks(TOKEN, Mutant::HorizonBeforeSlots, TWO, 9);
}

#[test]
fn a_moment_that_counts_running_transactions_in_is_found_out() {
    breaks(STRONG, Mutant::XmaxForXmin, TWO, 7);
    breaks(STRONG, Mutant::ReplicaWithTheClocksMoment, Bounds { replica: true, ..TWO }, 8);
}

#[test]
fn a_crash_that_goes_unnoticed_is_found_out() {
    breaks(STRONG, Mutant::EpochIgnored, CRASH, 10);
    breaks(STRONG, Mutant::BirthWithoutFloor, Bounds { prepared: true, ..CRASH }, 9);
    for promise in [TOKEN, OWN] {
        breaks(promise, Mutant::CommitTrustsTheClock, Bounds { writers: &[0, 1, 2], ..CRASH }, 9);
    }
}

#[test]
fn a_floor_that_does_not_rise_is_found_out() {
    breaks(STRONG, Mutant::NoFloor, Bounds { prunes: true, ..TWO }, 9);
    breaks(STRONG, Mutant::NoFloor, Bounds { prunes: true, restarts: true, ..TWO }, 9);
}

#[test]
fn a_read_that_takes_what_began_before_it_is_found_out() {
    breaks(STRONG, Mutant::StrongReadJoinsARunningPoll, TWO, 9);
    breaks(LANDED, Mutant::LatePassengerUnchecked, Bounds { landings: true, ..TWO }, 9);
}
