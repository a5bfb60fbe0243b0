//! The REST routes that existing clients use: field names, types and status codes are a promise.

pub(super) mod advisories;
mod body;
pub(super) mod bundle;
pub(super) mod chain;
mod drawing;
pub(super) mod error;
pub(super) mod health;
pub(super) mod lineage;
pub(super) mod listings;
pub(super) mod marquez;
pub(super) mod metrics;
pub(super) mod openapi;
pub(super) mod openlineage;
pub(super) mod payments;
pub(super) mod policies;
pub(super) mod prices;
pub(super) mod producers;
mod query;
pub(super) mod ready;
mod reply;
pub(super) mod search;
pub(super) mod submit;
