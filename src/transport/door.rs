//! The door: who has asked too often waits, and what cannot be done soon is refused at once instead of being queued.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock, MonotonicClock};
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::rest::error;
use crate::config::Limits;
use crate::domain::caller::{Caller, Identity};
use crate::error::{Error, Kind, Result};

/// After so many requests, who has not asked lately is forgotten.
const SWEEP_EVERY: u32 = 1 << 14;

/// Requests a minute of each of many.
struct Limiter<K: Hash + Eq + Clone> {
    clock: MonotonicClock,
    limiter: RateLimiter<K, DashMapStateStore<K>, MonotonicClock>,
    asked: AtomicU32,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    fn new(a_minute: u32) -> Option<Self> {
        let quota = Quota::per_minute(NonZeroU32::new(a_minute)?);
        let clock = MonotonicClock;
        let limiter = RateLimiter::new(quota, DashMapStateStore::default(), clock.clone());
        Some(Self { clock, limiter, asked: AtomicU32::new(0) })
    }

    /// Counts a request; seconds to wait when it is one too many.
    fn count(&self, key: &K) -> Result<(), u64> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
        }
        let not_until = |refused: governor::NotUntil<_>| refused.wait_time_from(self.clock.now()).as_secs() + 1;
        self.limiter.check_key(key).map_err(not_until)
    }
}

/// The door of a server. Shared by all its connections.
pub struct Door {
    addresses: Option<Limiter<IpAddr>>,
    identities: Option<Limiter<String>>,
    proxies: Vec<IpNet>,
    room: Arc<Semaphore>,
}

impl Door {
    /// A door that is kept as `limits` say.
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            addresses: Limiter::new(limits.address),
            identities: Limiter::new(limits.identity),
            proxies: limits.proxies.clone(),
            room: Arc::new(Semaphore::new(limits.in_flight)),
        }
    }

    /// Whose request it is that comes from `peer`: where that is a proxy of ours, of whom it says that it got it from, and so on.
    /// What the client itself may have written there is not believed.
    pub(super) fn client(&self, peer: IpAddr, forwarded_for: Option<&[u8]>) -> IpAddr {
        let is_ours = |address: &IpAddr| self.proxies.iter().any(|net| net.contains(&address.to_canonical()));
        let told = forwarded_for.and_then(|told| std::str::from_utf8(told).ok()).unwrap_or_default();
        let mut client = peer.to_canonical();
        for told in told.rsplit(',') {
            match told.trim().parse::<IpAddr>() {
                Ok(told) if is_ours(&client) => client = told.to_canonical(),
                _ => break,
            }
        }
        client
    }

    /// Whether anything is asked of addresses.
    pub(super) fn is_kept(&self) -> bool {
        self.addresses.is_some()
    }

    /// Counts a request from `client`.
    ///
    /// # Errors
    /// `rate-limited` when it is one too many.
    pub(super) fn knock(&self, client: IpAddr) -> Result<()> {
        let Some(addresses) = &self.addresses else { return Ok(()) };
        addresses.count(&household(client)).map_err(|seconds| too_often("address", seconds))
    }

    /// Counts a request of whoever has proven who it is.
    ///
    /// # Errors
    /// `rate-limited` when it is one too many.
    pub(super) fn show(&self, caller: &Caller) -> Result<()> {
        match (&self.identities, caller.identity()) {
            (Some(identities), Ok(Identity::Signer(signer))) => {
                identities.count(&signer.key).map_err(|seconds| too_often("identity", seconds))
            }
            _ => Ok(()),
        }
    }

    /// Room to make one answer more.
    ///
    /// # Errors
    /// `overloaded` when as many are being made as may be.
    pub(super) fn enter(&self) -> Result<OwnedSemaphorePermit> {
        self.room.clone().try_acquire_owned().map_err(|_| {
            turned_away("room");
            Error::new(Kind::Unavailable, "overloaded", "the server has as much to do as it can: try again")
        })
    }
}

fn too_often(whose: &'static str, seconds: u64) -> Error {
    turned_away(whose);
    let message = format!("too many requests from this {whose}: try again in {seconds} s");
    Error::new(Kind::TooOften(seconds), "rate-limited", message)
}

/// Counts what is not let in.
pub(super) fn turned_away(by: &'static str) {
    metrics::counter!("overlay_turned_away_total", "by" => by).increment(1);
}

/// A network of IPv6 is one client's: its addresses are its own to choose.
fn household(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

/// What is never turned away: whoever watches over the server must get through.
pub(super) fn is_open(path: &str) -> bool {
    path == "/metrics" || path == "/health" || path.starts_with("/health/")
}

/// Put into a request's extensions: why it is not let in. The router says so, since it knows how to say it to a page of another
/// origin, and to whoever counts answers.
#[derive(Clone)]
pub(super) struct TurnedAway(pub(super) Error);

/// Answers a request that is not let in.
pub(super) async fn keep(mut request: Request, next: Next) -> Response {
    match request.extensions_mut().remove() {
        Some(TurnedAway(error)) => error::answer(&error),
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::caller::Signer;

    fn door(proxies: &[&str]) -> Door {
        let proxies = proxies.iter().map(|net| net.parse().expect("a network")).collect();
        Door::new(&Limits { address: 2, identity: 1, in_flight: 1, connections: 1, proxies })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn only_proxies_are_believed() {
        let door = door(&["10.0.0.0/8", "fd00::/8"]);
        for (peer, told, client) in [
            ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
            ("10.1.1.1", "198.51.100.7", "198.51.100.7"),
            ("::ffff:10.1.1.1", "198.51.100.7", "198.51.100.7"),
            ("10.1.1.1", "1.2.3.4, 198.51.100.7, 10.2.2.2", "198.51.100.7"),
            ("10.1.1.1", "", "10.1.1.1"),
            ("10.1.1.1", "nonsense", "10.1.1.1"),
            ("10.1.1.1", "1.2.3.4, nonsense, 10.2.2.2", "10.2.2.2"),
            ("fd00::1", "2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(door.client(address(peer), Some(told.as_bytes())), address(client), "{peer} {told}");
        }
        assert_eq!(door.client(address("10.1.1.1"), None), address("10.1.1.1"));
    }

    #[test]
    fn each_has_its_own_count() {
        let door = door(&[]);
        for client in ["192.0.2.1", "192.0.2.2", "2001:db8:0:1::1"] {
            assert!(door.knock(address(client)).is_ok() && door.knock(address(client)).is_ok());
            let refused = door.knock(address(client)).expect_err("one too many").kind();
            assert!(matches!(refused, Kind::TooOften(1..=31)), "{refused:?}");
        }
        assert!(door.knock(address("2001:db8:0:1::2")).is_err(), "the same network");
        assert!(door.knock(address("2001:db8:0:2::1")).is_ok(), "another");
        let [a, b] = ["a", "b"].map(|key| {
            let signer = Signer { key: key.into(), is_admin: false, has_signed: true };
            Caller::default().known_as(Ok(Identity::Signer(signer)))
        });
        assert!(door.show(&a).is_ok() && door.show(&a).is_err() && door.show(&b).is_ok());
        assert!((0..9).all(|_| door.show(&Caller::default()).is_ok()), "who shows nothing");
        let permit = door.enter();
        assert!(permit.is_ok() && door.enter().is_err());
        drop(permit);
        assert!(door.enter().is_ok());
    }
}
