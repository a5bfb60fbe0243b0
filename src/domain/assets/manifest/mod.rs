//! Manifests: what a producer says about a version, and the identity that follows from it.

mod canonical;
mod check;
mod schema;

pub use canonical::{canonical_json, version_id};
pub use check::{ProducerClaim, Published, check, is_identity_key};
pub use schema::SCHEMA;
