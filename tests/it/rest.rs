//! The REST routes keep their promise: fields, statuses, headers.

mod detail;
mod headers;
mod health;
mod listings;
mod openapi;
mod search;
mod text;
mod wire;
