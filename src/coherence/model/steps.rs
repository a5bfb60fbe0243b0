//! What can happen next in the model's world.

use stateright::{Model, Property};

use super::world::{Bounds, Clock, Entry, Fate, Flight, Mutant, NOWHERE, PROCESSES, Poll, Process, Tx, World};

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// A transaction gets its id and writes. Nobody sees what it wrote before it commits, so the two are one step.
    Begin {
        by: u8,
        touches: u8,
    },
    Prepare(usize),
    /// Its commit is on disk.
    Log(usize),
    /// Its commit is visible on the primary; an outsider's is acknowledged.
    Commit(usize),
    Abort(usize),
    /// A process raises its own clock and answers.
    Acknowledge(usize),
    /// The replica replays a transaction's end.
    Replay(usize),
    /// Crash and recovery: unlogged tables are empty, open transactions are gone.
    Crash,
    /// A process prunes up to the horizon it knows.
    Prune(usize),
    Restart(usize),
    /// The poll's statement runs, and the first half of its answer is applied; or it finds no token and puts one.
    Poll(usize),
    /// The second half is applied.
    Publish(usize),
    /// A load takes its moment.
    TakeOff {
        process: usize,
        replica: bool,
    },
    /// It reads its next part.
    Read(usize),
    /// Those who waited have been answered.
    Land(usize),
}

fn bits(set: u8) -> impl Iterator<Item = usize> {
    (0..8).filter(move |at| set >> at & 1 == 1)
}

impl Bounds {
    pub(super) fn possible(&self, world: &World, steps: &mut Vec<Step>) {
        if world.txs.len() < self.txs {
            let serves = |by: u8| by == 0 || world.processes[usize::from(by) - 1].clock.epoch != NOWHERE;
            for by in self.writers.iter().copied().filter(|by| serves(*by)) {
                steps.extend(self.touches.iter().map(|touches| Step::Begin { by, touches: *touches }));
            }
        }
        for at in bits(world.set(Tx::is_open)) {
            steps.push(Step::Commit(at));
        }
        for at in bits(world.set(|tx| tx.fate == Fate::Running)) {
            steps.push(Step::Abort(at));
            if self.prepared {
                steps.push(Step::Prepare(at));
            }
            if self.replica {
                steps.push(Step::Log(at));
            }
        }
        if self.replica {
            let ended = |tx: &Tx| matches!(tx.fate, Fate::Logged | Fate::Committed | Fate::Aborted);
            steps.extend(bits(world.set(ended) & !world.replayed).map(Step::Replay));
        }
        for at in bits(world.set(|tx| tx.fate == Fate::Committed && !tx.acked)) {
            let (tx, process) = (&world.txs[at], &world.processes[usize::from(world.txs[at].by) - 1]);
            if process.clock.epoch == tx.token || process.polled >> at & 1 == 1 {
                steps.push(Step::Acknowledge(at));
            }
        }
        if world.life <= self.crashes {
            steps.push(Step::Crash);
        }
        for (at, process) in world.processes.iter().enumerate() {
            let clock = &process.clock;
            if self.prunes && clock.epoch == world.token && clock.horizon > world.forgotten {
                steps.push(Step::Prune(at));
            }
            if self.restarts && *process != Process::NEW {
                steps.push(Step::Restart(at));
            }
            match process.poll {
                // A poll that would find nothing new is left out.
                None if world.token == NOWHERE || self.moves(process, &world.poll(clock, self)) => {
                    steps.push(Step::Poll(at));
                }
                None => {}
                Some(_) => steps.push(Step::Publish(at)),
            }
            match process.flight {
                None if clock.epoch != NOWHERE => {
                    steps.push(Step::TakeOff { process: at, replica: false });
                    if self.replica {
                        steps.push(Step::TakeOff { process: at, replica: true });
                    }
                }
                None => {}
                Some(flight) if flight.parts < self.parts => steps.push(Step::Read(at)),
                Some(_) => steps.push(Step::Land(at)),
            }
        }
    }

    fn moves(&self, process: &Process, poll: &Poll) -> bool {
        let mut after = Process { poll: Some(*poll), ..*process };
        self.raise(&mut after);
        self.publish(&mut after, poll.saw);
        after != *process
    }

    pub(super) fn apply(&self, world: &mut World, step: Step) {
        match step {
            Step::Begin { by, touches } => {
                let (xid, life) = (world.next, world.life);
                world.next += 1;
                world.txs.push(Tx { xid, life, fate: Fate::Running, touches, by, acked: false, token: NOWHERE });
            }
            Step::Prepare(at) => world.txs[at].fate = Fate::Prepared,
            Step::Log(at) => world.txs[at].fate = Fate::Logged,
            Step::Commit(at) => self.commit(world, at),
            Step::Abort(at) => world.txs[at].fate = Fate::Aborted,
            Step::Acknowledge(at) => {
                let Tx { xid, touches, by, token, .. } = world.txs[at];
                let clock = &mut world.processes[usize::from(by) - 1].clock;
                if clock.epoch == token {
                    clock.raise(xid, touches, self);
                }
                world.txs[at].acked = true;
            }
            Step::Replay(at) => world.replayed |= 1 << at,
            Step::Crash => self.crash(world),
            Step::Prune(at) => {
                world.forgotten = world.processes[at].clock.horizon;
                if !self.is(Mutant::NoFloor) {
                    world.pruned_below = world.pruned_below.max(world.forgotten);
                }
            }
            Step::Restart(at) => {
                world.processes[at] = Process::NEW;
                for tx in world.txs.iter_mut().filter(|tx| usize::from(tx.by) == at + 1) {
                    tx.by = 0;
                    tx.acked |= tx.fate == Fate::Committed;
                }
            }
            Step::Poll(_) if world.token == NOWHERE => {
                world.token = world.life;
                world.pruned_below = if self.is(Mutant::BirthWithoutFloor) { 0 } else { world.next };
            }
            Step::Poll(at) => {
                world.processes[at].poll = Some(world.poll(&world.processes[at].clock, self));
                self.raise(&mut world.processes[at]);
            }
            Step::Publish(at) => {
                let saw = world.visible();
                self.publish(&mut world.processes[at], saw);
            }
            Step::TakeOff { process, replica } => self.take_off(world, process, replica),
            Step::Read(at) => {
                let Some(mut flight) = world.processes[at].flight else { return };
                let txs = if flight.replica { world.visible_on_replica() } else { world.visible() };
                flight.entry.shown |= world.part(txs, flight.parts);
                flight.parts += 1;
                let clock = &world.processes[at].clock;
                if self.is(Mutant::MomentAfterTheRead) {
                    flight.entry.as_of = clock.horizon;
                }
                let is_refused = flight.replica && !clock.vouches(&flight.entry, self);
                let is_over = flight.parts == self.parts && !is_refused;
                world.processes[at].flight = (!is_over || self.landings).then_some(flight);
                if is_over {
                    world.keep(flight.entry);
                }
            }
            Step::Land(at) => {
                if let Some(refused) = world.processes[at].flight.take().filter(|flight| flight.replica) {
                    self.take_off(world, at, false);
                    world.processes[at].flight.iter_mut().for_each(|again| again.owed = refused.owed);
                }
            }
        }
    }

    fn commit(&self, world: &mut World, at: usize) {
        let epoch_of_clock = |by: u8| world.processes[usize::from(by) - 1].clock.epoch;
        let tx = world.txs[at];
        // A process reads the token in the transaction itself; an outsider's is whatever the epoch will be called.
        let token = match tx.by {
            0 => world.life,
            by if self.is(Mutant::CommitTrustsTheClock) => epoch_of_clock(by),
            _ => world.token,
        };
        world.txs[at] = Tx { fate: Fate::Committed, acked: tx.by == 0, token, ..tx };
    }

    fn crash(&self, world: &mut World) {
        for (at, tx) in world.txs.iter_mut().enumerate() {
            let is_replayed = world.replayed >> at & 1 == 1;
            match tx.fate {
                Fate::Running => tx.fate = Fate::Lost,
                // An abort need not have reached the disk either, unless it has reached the replica.
                Fate::Aborted if !is_replayed => tx.fate = Fate::Lost,
                Fate::Logged => {
                    // Its commit is on disk; its process is not told, so it is nobody's own.
                    *tx = Tx { fate: Fate::Committed, acked: true, by: 0, ..*tx };
                }
                Fate::Aborted | Fate::Prepared | Fate::Committed | Fate::Lost => {}
            }
        }
        world.next = 1 + world.txs.iter().filter(|tx| tx.fate != Fate::Lost).map(|tx| tx.xid).max().unwrap_or(0);
        world.life += 1;
        world.token = NOWHERE;
        world.pruned_below = 0;
        world.forgotten = 0;
    }

    /// The first half of `Polled::apply`; of another epoch, the whole: a clock that is complete replaces the old one.
    fn raise(&self, process: &mut Process) {
        let (Some(poll), clock) = (&mut process.poll, &mut process.clock) else { return };
        let goes_on = self.is(Mutant::EpochIgnored) && clock.epoch != NOWHERE;
        if clock.epoch != poll.found.epoch && !goes_on {
            *clock = poll.found;
            process.polled = poll.saw;
            process.poll = None;
        } else if self.is(Mutant::HorizonBeforeSlots) {
            clock.horizon = clock.horizon.max(poll.found.horizon);
        } else {
            clock.join(&poll.found);
            poll.found = Clock { floor: 0, slots: [0; 2], ..poll.found };
        }
    }

    fn publish(&self, process: &mut Process, visible: u8) {
        if let Some(poll) = process.poll.take() {
            process.clock.join(&poll.found);
            process.clock.horizon = process.clock.horizon.max(poll.found.horizon);
            process.polled |= if self.is(Mutant::StrongReadJoinsARunningPoll) { visible } else { poll.saw };
        }
    }

    fn take_off(&self, world: &mut World, at: usize, replica: bool) {
        let Clock { epoch, horizon, .. } = world.processes[at].clock;
        let theirs = replica && !self.is(Mutant::ReplicaWithTheClocksMoment);
        let as_of = if theirs { world.replica_horizon() } else { horizon };
        let owed = if self.landings { world.shown(world.owed(at), self) } else { 0 };
        let entry = Entry { epoch, as_of, shown: 0 };
        world.processes[at].flight = Some(Flight { entry, parts: 0, owed, replica });
    }

    /// Landed flights from the primary, with what is owed to those who need not check the landing.
    fn landed<'a>(&'a self, world: &'a World) -> impl Iterator<Item = (Flight, u16)> + 'a {
        world.processes.iter().enumerate().filter_map(|(at, process)| {
            let flight = process.flight.filter(|flight| flight.parts == self.parts && !flight.replica)?;
            let now = self.is(Mutant::LatePassengerUnchecked).then(|| world.shown(world.owed(at), self));
            Some((flight, flight.owed | now.unwrap_or(0)))
        })
    }
}

/// The four that must always hold.
pub(super) const STRONG: &str = "a strong read shows what was committed before its poll began";
pub(super) const TOKEN: &str = "a token read shows the write that the token names";
pub(super) const OWN: &str = "a process shows what it has itself written";
pub(super) const LANDED: &str = "a landing shows what was owed when its flight took off";

impl Model for Bounds {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        self.possible(world, steps);
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        self.apply(&mut next, step);
        let next = next.canonical(self);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(STRONG, |bounds: &Self, world: &World| {
                world.always_shows(bounds, |process| world.processes[process].polled)
            }),
            Property::always(TOKEN, |bounds: &Self, world: &World| {
                world.always_shows(bounds, |process| world.seen_by_token(process))
            }),
            Property::always(OWN, |bounds: &Self, world: &World| {
                world.always_shows(bounds, |process| world.own(process))
            }),
            Property::always(LANDED, |bounds: &Self, world: &World| {
                bounds.landed(world).all(|(flight, owed)| owed & !flight.entry.shown == 0)
            }),
            Property::sometimes("a hit is served", |bounds: &Self, world: &World| hits(bounds, world).next().is_some()),
            Property::sometimes("an invalid entry is rejected", |bounds: &Self, world: &World| {
                let rejects = |process: &Process| {
                    let own = world.kept.iter().filter(|entry| entry.epoch == process.clock.epoch);
                    own.into_iter().any(|entry| !process.clock.vouches(entry, bounds))
                };
                world.processes.iter().any(rejects)
            }),
            Property::sometimes("a hit after a long writer", |bounds: &Self, world: &World| {
                // `before` shows that the later id was committed first; the hit shows both.
                let overtaken = |before: &Entry, hit: &Entry| {
                    let added = hit.shown & !before.shown;
                    added != 0
                        && before.shown != 0
                        && before.shown & !hit.shown == 0
                        && added.trailing_zeros() < before.shown.trailing_zeros()
                };
                hits(bounds, world).any(|hit| world.kept.iter().any(|before| overtaken(before, &hit)))
            }),
        ]
        .into_iter()
        .chain(self.features())
        .collect()
    }
}

fn hits<'a>(bounds: &'a Bounds, world: &'a World) -> impl Iterator<Item = Entry> + 'a {
    let vouched = |entry: &Entry| world.processes.iter().any(|process| process.clock.vouches(entry, bounds));
    world.kept.iter().copied().filter(vouched)
}

impl Bounds {
    /// What each feature must lead to at some time, or it is not there.
    fn features(&self) -> Vec<Property<Self>> {
        let mut wanted = Vec::new();
        if self.replica {
            wanted.push(Property::sometimes(
                "a load from the replica goes to the primary instead",
                |bounds: &Self, world: &World| {
                    let is_refused = |process: &Process| {
                        process.flight.is_some_and(|f| {
                            f.replica && f.parts == bounds.parts && !process.clock.vouches(&f.entry, bounds)
                        })
                    };
                    world.processes.iter().any(is_refused)
                },
            ));
            wanted.push(Property::sometimes("the replica is ahead in what it shows", |_: &Self, world: &World| {
                world.visible_on_replica() & !world.visible() != 0
            }));
        }
        if self.prunes {
            wanted.push(Property::sometimes("pruning raises a floor", |_: &Self, world: &World| {
                let is_raised = |clock: &Clock| clock.epoch == world.life && clock.floor == world.forgotten;
                world.forgotten > 0 && world.processes.iter().any(|process| is_raised(&process.clock))
            }));
        }
        if self.crashes > 0 {
            wanted.push(Property::sometimes(
                "a new epoch is seen and an id is used twice",
                |_: &Self, world: &World| {
                    let is_reused = |lost: &Tx| {
                        lost.fate == Fate::Lost
                            && world.txs.iter().any(|tx| tx.fate == Fate::Committed && tx.xid == lost.xid)
                    };
                    world.processes.iter().any(|process| process.clock.epoch > 1) && world.txs.iter().any(is_reused)
                },
            ));
        }
        if self.writers != [0] {
            wanted.push(Property::sometimes(
                "a process has heard of its own write before any poll",
                |_: &Self, world: &World| {
                    let is_ahead = |at: usize| world.own(at) & !world.processes[at].polled != 0;
                    (0..PROCESSES).any(is_ahead)
                },
            ));
        }
        if self.prepared {
            wanted.push(Property::sometimes(
                "a prepared transaction outlives a crash and commits",
                |_: &Self, world: &World| {
                    world.life > 1 && world.txs.iter().any(|tx| tx.fate == Fate::Committed && tx.life < tx.token)
                },
            ));
        }
        wanted
    }
}
