//! Integration tests: one binary, real PostgreSQL, real Redis, real connections. Files are named after what they prove.

mod harness;

mod alerts;
mod binary;
mod cache;
mod coherence;
mod commerce;
mod door;
mod drain;
mod explain;
mod graphql;
mod house;
mod identity;
mod legacy;
mod lineage;
mod live;
mod races;
mod rest;
mod schema;
mod telemetry;
mod topology;
mod transfer;
mod trust;
