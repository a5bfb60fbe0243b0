//! Flows: what needs two rooms, or a transaction.

pub mod advisories;
pub mod bundle;
pub mod doctor;
pub mod headers;
pub mod health;
pub mod import;
pub mod lineage;
pub mod listing;
pub mod policies;
pub mod policy;
pub mod prices;
pub mod producers;
pub mod publish;
pub mod ready;
pub mod receipts;
pub mod seed;
