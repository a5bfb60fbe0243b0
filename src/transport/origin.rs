//! Where an answer came from, as its headers tell it.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};

use super::answer::line;
use crate::cache::{Ledger, Outcome};

/// The headers that say where an answer came from.
pub(super) const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
/// `Warning` of an answer that is made of what could not be verified.
pub(super) const UNVERIFIED: HeaderValue = HeaderValue::from_static("110 overlay \"Response is Stale\"");
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Where an answer came from.
pub(super) enum Origin<'a> {
    /// It was kept.
    Kept {
        /// Time since it was built.
        age: Duration,
        /// Time until it is built anew.
        left: Duration,
        /// Time since the request came.
        elapsed: Duration,
    },
    /// It was kept, and nobody can say now whether it still holds.
    Unverified {
        /// Time since it was built.
        age: Duration,
        /// Time since the request came.
        elapsed: Duration,
    },
    /// It was made for this request.
    Made(&'a Ledger),
}

impl Origin<'_> {
    /// `x-cache` for old clients, `Cache-Status` (RFC 9211), `Age` and `Server-Timing` for new ones.
    pub(super) fn tell(&self, head: &mut Vec<u8>) {
        match self {
            // Written part by part: this is the answer whose making costs next to nothing.
            Self::Kept { age, left, elapsed } => {
                head.extend_from_slice(b"x-cache: hit\r\ncache-status: overlay; hit; ttl=");
                number(head, left.as_secs());
                aged(head, *age, *elapsed);
            }
            Self::Unverified { age, elapsed } => {
                head.extend_from_slice(b"x-cache: stale\r\ncache-status: overlay; hit");
                aged(head, *age, *elapsed);
                line(head, "warning", UNVERIFIED.as_bytes());
            }
            Self::Made(ledger) => {
                let outcome = ledger.outcome().unwrap_or(Outcome::Miss);
                line(head, X_CACHE.as_str(), outcome.label().as_bytes());
                head.extend_from_slice(match outcome {
                    Outcome::Hit | Outcome::Stale => b"cache-status: overlay; hit",
                    Outcome::Miss => b"cache-status: overlay; fwd=miss",
                });
                // Of an entry past its soft TTL nothing is left, which is what a zero says.
                if let Some(ttl) = ledger.ttl() {
                    head.extend_from_slice(b"; ttl=");
                    number(head, ttl.as_secs());
                }
                head.extend_from_slice(b"\r\nserver-timing: load;dur=");
                ms(head, ledger.load_time());
                head.extend_from_slice(b", total;dur=");
                ms(head, ledger.elapsed());
                head.extend_from_slice(b"\r\n");
                if ledger.is_unverified() {
                    line(head, "warning", UNVERIFIED.as_bytes());
                }
            }
        }
    }
}

/// Ends a line, and tells how old what was kept is and how long it took to find it.
fn aged(head: &mut Vec<u8>, age: Duration, elapsed: Duration) {
    head.extend_from_slice(b"\r\nage: ");
    number(head, age.as_secs());
    head.extend_from_slice(b"\r\nserver-timing: load;dur=0, total;dur=");
    ms(head, elapsed);
    head.extend_from_slice(b"\r\n");
}

fn number(head: &mut Vec<u8>, number: u64) {
    head.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Milliseconds, to the microsecond.
fn ms(head: &mut Vec<u8>, time: Duration) {
    let us = time.as_micros() as u64;
    number(head, us / 1_000);
    head.push(b'.');
    head.extend([us / 100 % 10, us / 10 % 10, us % 10].map(|digit| b'0' + digit as u8));
}
