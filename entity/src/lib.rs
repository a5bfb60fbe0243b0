//! The rows of Overlay's database: one SeaORM entity a table, and the newtypes of their columns.
//!
//! Types and nullability equal the migrated schema; a drift test compares them. A row is the first of three shapes of a
//! thing (row, noun, wire): nothing here is cached or answered as it is, so no entity derives serde or GraphQL traits.
//! Enumerations are text here, because the database checks their values and the domain gives them meaning.
//! `change_log`, `cache_epoch` and `epoch_mark` have no entities: only the feed speaks to them, in SQL of its own.

pub mod advisories;
pub mod advisory_targets;
pub mod asset_parents;
pub mod assets;
pub mod block_headers;
pub mod bundle_audit;
pub mod declarations;
pub mod ids;
pub mod import_progress;
pub mod lineage_datasets;
pub mod lineage_dead_letters;
pub mod lineage_edges;
pub mod lineage_event_audit;
pub mod lineage_io;
pub mod lineage_jobs;
pub mod lineage_runs;
pub mod policies;
pub mod policy_runs;
pub mod price_rules;
pub mod producers;
pub mod receipts;
pub mod request_nonces;
pub mod revenue_events;

/// Columns that exist in the database but in no entity, as (table, column): generated, and only ever matched against
/// in SQL.
pub const DATABASE_ONLY_COLUMNS: &[(&str, &str)] = &[("assets", "search")];
