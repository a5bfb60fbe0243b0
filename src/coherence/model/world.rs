//! What the model's world consists of, and the rules of the protocol as functions of it.

/// Processes with a clock each. They are interchangeable: see [`World::canonical`].
pub(super) const PROCESSES: usize = 2;

/// The epoch of a clock that has not polled yet (`Clock::new`: it vouches for nothing).
pub(super) const NOWHERE: u8 = 0;

/// A transaction touches a set of parts, one bit each, or all of them at once by TRUNCATE, which logs `*`.
pub(super) const EVERYTHING: u8 = 0b1000_0000;

/// A set of transactions, by index in [`World::txs`].
pub(super) type Txs = u8;

/// What a value shows: for each of its parts, eight bits, the transactions that it includes.
pub(super) type Shown = u16;

/// How a rule is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mutant {
    /// The moment of a load is taken after its queries.
    MomentAfterTheRead,
    /// `clock[tag] <= as_of` passes for valid.
    LooseValidity,
    /// The horizon is published before the slots are raised.
    HorizonBeforeSlots,
    /// A moment is a snapshot's `xmax`: whatever runs is taken for included.
    XmaxForXmin,
    /// Epochs are not told apart: the clock goes on after a crash.
    EpochIgnored,
    /// What was pruned is not recorded, so nobody's floor rises: not after a gap, not at a start.
    NoFloor,
    /// The floor of `*` is its transaction, not the one after it.
    FloorAtEverything,
    /// A strong read is content with a poll that was already under way.
    StrongReadJoinsARunningPoll,
    /// A passenger who came after take-off takes the landing unchecked.
    LatePassengerUnchecked,
    /// A load from a replica is given the moment of the process's clock.
    ReplicaWithTheClocksMoment,
    /// A commit is raised on whatever clock the process has, and its token names that clock's epoch.
    CommitTrustsTheClock,
    /// A new epoch begins with floor 0, though a prepared transaction may be older than the epoch.
    BirthWithoutFloor,
}

/// Which features are on, and how much of each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Transactions in all.
    pub(super) txs: usize,
    /// What a transaction may touch.
    pub(super) touches: &'static [u8],
    /// Parts (tags) of the one cached value, each read by a query of its own.
    pub(super) parts: u8,
    /// Who may write: 0 is an outsider, 1 and 2 are the processes.
    pub(super) writers: &'static [u8],
    /// Crashes of the database.
    pub(super) crashes: u8,
    /// Transactions can be prepared.
    pub(super) prepared: bool,
    /// Processes restart.
    pub(super) restarts: bool,
    /// The log is pruned.
    pub(super) prunes: bool,
    /// Loads may go to a replica.
    pub(super) replica: bool,
    /// A flight's landing is a state of its own, with those who wait for it.
    pub(super) landings: bool,
    /// The broken rule.
    pub(super) mutant: Option<Mutant>,
}

impl Bounds {
    pub(super) const PLAIN: Self = Self {
        txs: 3,
        touches: &[1],
        parts: 1,
        writers: &[0],
        crashes: 0,
        prepared: false,
        restarts: false,
        prunes: false,
        replica: false,
        landings: false,
        mutant: None,
    };

    pub(super) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

/// What has become of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Fate {
    Running,
    /// `PREPARE TRANSACTION`: as running, but a crash does not end it.
    Prepared,
    /// Its commit is on disk and may be seen on a replica, but not here yet.
    Logged,
    Committed,
    Aborted,
    /// A crash ended it before its commit was on disk: its id may be used again.
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tx {
    pub(super) xid: u8,
    /// The life of the database in which it wrote its row of the unlogged `change_log`.
    pub(super) life: u8,
    pub(super) fate: Fate,
    pub(super) touches: u8,
    /// The process that wrote it, plus one; 0 = an outsider.
    pub(super) by: u8,
    /// The answer was given. An outsider's is given as soon as its commit is visible.
    pub(super) acked: bool,
    /// The epoch in the token that the answer carries; [`NOWHERE`]: none, to be read as `strong`.
    pub(super) token: u8,
}

impl Tx {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.fate, Fate::Running | Fate::Prepared | Fate::Logged)
    }

    pub(super) fn changes(&self, part: u8) -> bool {
        self.touches & (1 << part | EVERYTHING) != 0
    }
}

/// `History` of `clock.rs`, with a slot for each part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Clock {
    pub(super) epoch: u8,
    pub(super) horizon: u8,
    pub(super) floor: u8,
    pub(super) slots: [u8; 2],
}

impl Clock {
    pub(super) const NEW: Self = Self { epoch: NOWHERE, horizon: 0, floor: u8::MAX, slots: [0; 2] };

    /// `History::raise`, for all that a transaction touched.
    pub(super) fn raise(&mut self, xid: u8, touches: u8, bounds: &Bounds) {
        if touches & EVERYTHING != 0 {
            self.floor = self.floor.max(if bounds.is(Mutant::FloorAtEverything) { xid } else { xid + 1 });
        }
        for part in 0..2 {
            if touches & (1 << part) != 0 {
                self.slots[part] = self.slots[part].max(xid);
            }
        }
    }

    /// The first half of `Polled::apply`: slots and floor.
    pub(super) fn join(&mut self, other: &Self) {
        self.floor = self.floor.max(other.floor);
        for part in 0..2 {
            self.slots[part] = self.slots[part].max(other.slots[part]);
        }
    }

    /// `Clock::is_valid`.
    pub(super) fn vouches(&self, entry: &Entry, bounds: &Bounds) -> bool {
        let slots = &self.slots[..usize::from(bounds.parts)];
        let loose = bounds.is(Mutant::LooseValidity);
        (self.epoch == entry.epoch || bounds.is(Mutant::EpochIgnored))
            && entry.as_of >= self.floor
            && slots.iter().all(|slot| *slot < entry.as_of || loose && *slot == entry.as_of)
    }

    /// `Clock::has_seen`.
    pub(super) fn has_seen(&self, epoch: u8, xid: u8) -> bool {
        self.epoch == epoch && self.horizon > xid
    }
}

/// A cached value, wherever it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) epoch: u8,
    pub(super) as_of: u8,
    pub(super) shown: Shown,
}

/// A poll half applied: what is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Poll {
    /// What it found and is not yet on the clock.
    pub(super) found: Clock,
    /// What was committed when it began.
    pub(super) saw: Txs,
}

/// A load under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Flight {
    pub(super) entry: Entry,
    /// Parts read so far.
    pub(super) parts: u8,
    /// What is owed to those who came before it took off.
    pub(super) owed: Shown,
    pub(super) replica: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Process {
    pub(super) clock: Clock,
    /// What was committed when the newest finished poll began: what a strong read is owed.
    pub(super) polled: Txs,
    pub(super) poll: Option<Poll>,
    pub(super) flight: Option<Flight>,
}

impl Process {
    pub(super) const NEW: Self = Self { clock: Clock::NEW, polled: 0, poll: None, flight: None };
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    /// In the order in which they began.
    pub(super) txs: Vec<Tx>,
    /// The next transaction id.
    pub(super) next: u8,
    /// How often the database has come up; what is unlogged lasts for one life.
    pub(super) life: u8,
    /// The epoch in `cache_epoch`, [`NOWHERE`] when that is empty.
    pub(super) token: u8,
    /// `cache_epoch.pruned_below`.
    pub(super) pruned_below: u8,
    /// Rows of `change_log` below it are gone.
    pub(super) forgotten: u8,
    /// Transactions whose end the replica has replayed.
    pub(super) replayed: Txs,
    pub(super) processes: [Process; PROCESSES],
    /// Every entry that anybody ever kept and that could still be served: see the module's words on L1 and L2.
    pub(super) kept: Vec<Entry>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            txs: Vec::new(),
            next: 1,
            life: 1,
            token: 1,
            pruned_below: 0,
            forgotten: 0,
            replayed: 0,
            processes: [Process::NEW; PROCESSES],
            kept: Vec::new(),
        }
    }

    /// What a query on the primary sees.
    pub(super) fn visible(&self) -> Txs {
        self.set(|tx| tx.fate == Fate::Committed)
    }

    /// What a query on the replica sees.
    pub(super) fn visible_on_replica(&self) -> Txs {
        self.replayed & self.set(|tx| matches!(tx.fate, Fate::Committed | Fate::Logged))
    }

    pub(super) fn set(&self, is: impl Fn(&Tx) -> bool) -> Txs {
        self.txs.iter().enumerate().fold(0, |set, (at, tx)| set | Txs::from(is(tx)) << at)
    }

    /// `pg_snapshot_xmin` on the primary.
    pub(super) fn horizon(&self) -> u8 {
        self.txs.iter().filter(|tx| tx.is_open()).map(|tx| tx.xid).min().unwrap_or(self.next)
    }

    /// `pg_snapshot_xmin` on the replica: the lowest id whose end it has not replayed.
    pub(super) fn replica_horizon(&self) -> u8 {
        let is_replayed =
            |xid| self.txs.iter().enumerate().any(|(at, tx)| tx.xid == xid && self.replayed >> at & 1 == 1);
        (1..=self.next).find(|xid| !is_replayed(*xid)).unwrap_or(self.next)
    }

    /// The rows of `change_log` that a poll sees from `from` on: id and what it touched.
    pub(super) fn rows(&self, from: u8) -> impl Iterator<Item = (u8, u8)> {
        let is_there = move |tx: &&Tx| {
            tx.fate == Fate::Committed && tx.life == self.life && tx.xid >= from && tx.xid >= self.forgotten
        };
        self.txs.iter().filter(is_there).map(|tx| (tx.xid, tx.touches))
    }

    /// `Polled::read`, and what `Polled::apply` will make of it for a process whose clock is `known`.
    pub(super) fn poll(&self, known: &Clock, bounds: &Bounds) -> Poll {
        let goes_on = known.epoch == self.token || bounds.is(Mutant::EpochIgnored) && known.epoch != NOWHERE;
        let from = if goes_on { known.horizon } else { 0 };
        let mut found = Clock { epoch: self.token, horizon: self.horizon(), floor: 0, slots: [0; 2] };
        if bounds.is(Mutant::XmaxForXmin) {
            found.horizon = self.next;
        }
        if self.pruned_below > from {
            found.floor = self.pruned_below;
        }
        for (xid, touches) in self.rows(from) {
            found.raise(xid, touches, bounds);
        }
        Poll { found, saw: self.visible() }
    }

    /// `shown` as if every part were read when `txs` were visible.
    pub(super) fn shown(&self, txs: Txs, bounds: &Bounds) -> Shown {
        (0..bounds.parts).fold(0, |shown, part| shown | self.part(txs, part))
    }

    /// One part, read when `txs` were visible.
    pub(super) fn part(&self, txs: Txs, part: u8) -> Shown {
        Shown::from(txs & self.set(|tx| tx.changes(part))) << (8 * part)
    }

    /// What a process has itself written and answered for.
    pub(super) fn own(&self, process: usize) -> Txs {
        self.set(|tx| tx.fate == Fate::Committed && tx.acked && usize::from(tx.by) == process + 1)
    }

    /// The writes whose tokens a process takes for seen without another poll.
    pub(super) fn seen_by_token(&self, process: usize) -> Txs {
        let clock = &self.processes[process].clock;
        let is_seen = |tx: &Tx| tx.token != NOWHERE && clock.has_seen(tx.token, tx.xid);
        self.set(|tx| tx.fate == Fate::Committed && tx.acked && is_seen(tx))
    }

    /// All that a reader of a process may be owed at once.
    pub(super) fn owed(&self, process: usize) -> Txs {
        self.processes[process].polled | self.own(process) | self.seen_by_token(process)
    }

    /// Every value that a read of `process` which is checked against the clock could be answered with now.
    pub(super) fn answers<'a>(&'a self, process: usize, bounds: &'a Bounds) -> impl Iterator<Item = Entry> + 'a {
        let process = &self.processes[process];
        let landed = process.flight.filter(|flight| flight.parts == bounds.parts).map(|flight| flight.entry);
        self.kept.iter().copied().chain(landed).filter(|entry| process.clock.vouches(entry, bounds))
    }

    /// Whether every such answer, at every process, shows what `owed` says.
    pub(super) fn always_shows(&self, bounds: &Bounds, owed: impl Fn(usize) -> Txs) -> bool {
        (0..PROCESSES).all(|process| {
            let owed = self.shown(owed(process), bounds);
            self.answers(process, bounds).all(|entry| owed & !entry.shown == 0)
        })
    }

    /// Keeps an entry. Of two in one epoch, one that is no younger and shows no more stands for the other: it is valid
    /// wherever the other is and stale wherever the other is.
    pub(super) fn keep(&mut self, entry: Entry) {
        let covers = |a: &Entry, b: &Entry| a.epoch == b.epoch && a.as_of >= b.as_of && a.shown & !b.shown == 0;
        if !self.kept.iter().any(|other| covers(other, &entry)) {
            self.kept.retain(|other| !covers(&entry, other));
            self.kept.push(entry);
            self.kept.sort_unstable();
        }
    }

    /// The one that stands for all worlds which differ in nothing that matters: the processes in order, nothing said of
    /// transactions that left no trace, no entries that nobody can take any more (a clock only rises and epochs only
    /// follow, so what every process rejects, every process rejects for ever).
    pub(super) fn canonical(mut self, bounds: &Bounds) -> Self {
        for tx in self.txs.iter_mut().filter(|tx| matches!(tx.fate, Fate::Aborted | Fate::Lost)) {
            *tx = Tx { touches: 0, by: 0, acked: false, token: NOWHERE, life: 0, ..*tx };
        }
        if self.processes[1] < self.processes[0] {
            self.processes.swap(0, 1);
            self.txs.iter_mut().filter(|tx| tx.by != 0).for_each(|tx| tx.by = 3 - tx.by);
        }
        if !bounds.is(Mutant::EpochIgnored) {
            let (processes, restarts) = (&self.processes, bounds.restarts);
            let may_take = |process: &Process, entry: &Entry| {
                process.clock.epoch < entry.epoch
                    || process.clock.epoch == entry.epoch && (restarts || process.clock.vouches(entry, bounds))
            };
            self.kept.retain(|entry| processes.iter().any(|process| may_take(process, entry)));
        }
        self
    }
}
