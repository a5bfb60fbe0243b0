//! The REST routes keep their promise: fields, statuses, headers.

mod detail;
mod headers;
mod health;
mod listings;
mod search;
mod text;
mod wire;
