//! Cache-aside with a validity check, as a library: it knows no noun of the domain.
//!
//! A read goes memory → Redis → load. Whatever comes out of a cache is checked against the clock before it is believed
//! (`coherence/`), so Redis may lose, delay or resurrect entries and a write may forget to delete them: none of it can
//! make a read stale. Loads are coalesced: one flight a key, many passengers.
//!
//! - `key` names a value and fixes its type; `entry` is what is kept; `ttl` how long
//! - `store/` memory and Redis; `flight` who is loading what, `fly` where it is loaded from; `replica` loads that a standby answers; `read` puts them together
//! - `worth` how much is asked of Redis and told it; `counts` what became of look-ups
//! - `merge` makes one statement of loads that are asked for at the same time
//! - `lock` lets one process build what costs much, for all
//! - `outage` what is read while nothing can be verified
//! - `ledger` what a request touched; `response` whole answers, kept as finished bytes

mod counts;
mod entry;
mod envelope;
mod flight;
mod fly;
mod key;
mod ledger;
mod lock;
mod merge;
mod outage;
mod read;
mod replica;
mod response;
mod store;
mod ttl;
mod worth;

pub use entry::Loaded;
pub use key::{Cached, Key, Known, Params};
pub use ledger::{Basis, Ledger, Outcome};
pub use merge::Merge;
pub use read::{Cache, Config};
pub use response::{Answer, Digest, Found, Kept, Responses};
pub use store::redis::{Config as RedisConfig, Redis, Tls as RedisTls};
pub use ttl::{Kind, Ttls};
