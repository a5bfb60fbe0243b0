//! Single flight: at most one load of a key is under way in a process, whoever asks.
//!
//! A flight is numbered when it takes off. Its result may be handed to a passenger who came **before** that without
//! any check, because the load began after the passenger's request; one who came later must check it like any cached
//! value. That is what keeps strong reads and a process's own writes right while loads are shared.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::entry::Entry;
use super::ledger::Outcome;
use crate::error::Error;

/// What became of a key's flight: its entry and where that came from, or the error that all passengers get.
pub(super) type Landing = Result<(Arc<Entry>, Outcome), Error>;

/// The landings of a flight's keys, in the order of [`Flight::legs`]; nothing as long as it is under way.
type Landings = Option<Arc<[Landing]>>;

/// A seat in a flight: it yields the landing, or nothing when the flight was lost (a panic, a cancelled task).
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) number: u64,
    leg: usize,
    landings: watch::Receiver<Landings>,
}

impl Seat {
    pub(super) async fn landed(mut self) -> Option<Landing> {
        let landings = self.landings.wait_for(Option::is_some).await.ok()?;
        landings.as_ref()?.get(self.leg).cloned()
    }
}

/// The flights under way, by key.
#[derive(Default)]
pub(super) struct Flights {
    open: Mutex<HashMap<Arc<str>, Seat>>,
    taken_off: AtomicU64,
}

impl Flights {
    fn open(&self) -> MutexGuard<'_, HashMap<Arc<str>, Seat>> {
        // Nothing panics while the map is held, and a half-done insert would only cost a load.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the newest flight: those with a larger one began after now.
    pub(super) fn newest(&self) -> u64 {
        self.taken_off.load(Ordering::SeqCst)
    }

    /// A seat for each key, and the flight that the caller must fly for those keys nobody was loading.
    pub(super) fn board(self: &Arc<Self>, keys: impl Iterator<Item = Arc<str>>) -> (Vec<Seat>, Option<Flight>) {
        let mut open = self.open();
        let mut mine: Option<Flight> = None;
        let seats = keys
            .enumerate()
            .map(|(index, key)| {
                if let Some(seat) = open.get(&key) {
                    return seat.clone();
                }
                let flight = mine.get_or_insert_with(|| Flight {
                    flights: self.clone(),
                    number: self.taken_off.fetch_add(1, Ordering::SeqCst) + 1,
                    legs: Vec::new(),
                    landings: watch::Sender::new(None),
                });
                let seat =
                    Seat { number: flight.number, leg: flight.legs.len(), landings: flight.landings.subscribe() };
                open.insert(key.clone(), seat.clone());
                flight.legs.push(Leg { index, key });
                seat
            })
            .collect();
        (seats, mine)
    }

    /// How many keys are being loaded.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.open().len()
    }
}

/// One key of a flight.
pub(super) struct Leg {
    /// Where the key stood in the list given to [`Flights::board`].
    pub(super) index: usize,
    pub(super) key: Arc<str>,
}

/// A load to be flown. Dropping it, however that comes about, frees all who wait.
pub(super) struct Flight {
    flights: Arc<Flights>,
    number: u64,
    legs: Vec<Leg>,
    /// One for all legs: they land together, and a sender for each would be most of what a leg costs.
    landings: watch::Sender<Landings>,
}

impl Flight {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// The leg of a flight that has just one.
    pub(super) fn only_leg(&self) -> Option<&Leg> {
        self.legs.first().filter(|_| self.legs.len() == 1)
    }

    /// Hands the landings out; `landings` is in the order of [`Self::legs`].
    pub(super) fn land(self, landings: Vec<Landing>) {
        // Closed first: who finds a landing too old for it and boards again must not find this flight again.
        self.close();
        self.landings.send_replace(Some(landings.into()));
    }

    /// Takes no more passengers.
    fn close(&self) {
        let mut open = self.flights.open();
        for leg in &self.legs {
            if open.get(&leg.key).is_some_and(|o| o.number == self.number) {
                open.remove(&leg.key);
            }
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> std::vec::IntoIter<Arc<str>> {
        names.iter().map(|n| Arc::from(*n)).collect::<Vec<_>>().into_iter()
    }

    #[tokio::test]
    async fn passengers_share_a_flight_and_a_lost_one_frees_them() {
        let flights = Arc::new(Flights::default());
        let (seats, flight) = flights.board(keys(&["a", "b", "a"]));
        let flight = flight.expect("nobody was loading");
        assert_eq!(flight.legs().len(), 2, "a key asked for twice is loaded once");
        let (late, none) = flights.board(keys(&["b"]));
        assert!(none.is_none());
        let panicked = tokio::spawn(async move {
            let _flight = flight;
            panic!("the load panics");
        });
        assert!(panicked.await.is_err());
        for seat in seats.into_iter().chain(late) {
            assert!(seat.landed().await.is_none());
        }
        assert_eq!(flights.len(), 0);
    }

    /// A passenger that must go again, because the value changed since the flight took off, gets another flight.
    #[tokio::test]
    async fn who_boards_after_a_landing_gets_another_flight() {
        let flights = Arc::new(Flights::default());
        let (seats, flight) = flights.board(keys(&["a"]));
        let flight = flight.expect("mine");
        let again = tokio::spawn({
            let flights = flights.clone();
            async move {
                let first = seats.into_iter().next().expect("a seat");
                let number = first.number;
                assert!(first.landed().await.expect("landed").is_err());
                let (seats, flight) = flights.board(keys(&["a"]));
                (number, seats[0].number, flight.is_some())
            }
        });
        // However the two threads interleave, the landing is seen only once the flight is closed.
        flight.land(vec![Err(Error::not_found("x"))]);
        let (first, second, mine) = again.await.expect("no panic");
        assert!(second > first && mine);
    }

    #[tokio::test]
    async fn a_landing_reaches_everybody() {
        let flights = Arc::new(Flights::default());
        let newest = flights.newest();
        let (seats, flight) = flights.board(keys(&["a"]));
        assert!(seats[0].number > newest);
        flight.expect("mine").land(vec![Err(Error::not_found("x"))]);
        for seat in seats {
            assert!(matches!(seat.landed().await, Some(Err(e)) if e.code() == "not-found"));
        }
        assert_eq!(flights.len(), 0);
    }
}
