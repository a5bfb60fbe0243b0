//! The schema of Overlay's database, as forward steps in order, each with a way back.
//!
//! A step is plain SQL, because what matters here (checks, partial and expression indexes, generated columns,
//! transition tables) has no better spelling. Every name is qualified with `public.`, so no step depends on a
//! session's `search_path`. Needs PostgreSQL 13 or newer and a role that owns the database (`pg_trgm` is a trusted
//! extension). Each step runs in one transaction with its own bookkeeping: it happens whole or not at all.
//!
//! A step that was released is never edited; the next one corrects it.

mod step;
pub mod triggers;

/// Asks a database for its shape: a line for each table, column, constraint, index, trigger and function (with a digest of its source), in order.
pub const ASK_SHAPE: &str = include_str!("shape.sql");

/// What [`ASK_SHAPE`] answers once all steps are applied. A test holds it to that.
pub const SHAPE: &str = include_str!("shape.txt");

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::{MigrationTrait, async_trait};

use crate::step::{Step, sql};

/// All steps, oldest first. Applied names are kept in `public.seaql_migrations`.
#[derive(Debug, Clone, Copy)]
pub struct Migrator;

impl Migrator {
    fn steps() -> [Step; 12] {
        [
            sql!("m0001_extensions_and_feed"),
            sql!("m0002_market"),
            sql!("m0003_trade"),
            sql!("m0004_lineage"),
            Step::new("m0005_triggers", triggers::install(triggers::FIRST), triggers::remove(triggers::FIRST)),
            sql!("m0006_imports"),
            sql!("m0007_epoch_mark"),
            sql!("m0008_request_nonces"),
            sql!("m0009_payments"),
            sql!("m0010_broadcast"),
            Step::new(
                "m0011_lineage_nodes",
                include_str!("../sql/m0011_lineage_nodes.up.sql").to_owned() + &triggers::replace(triggers::LINEAGE),
                include_str!("../sql/m0011_lineage_nodes.down.sql").to_owned()
                    + &triggers::attach("lineage_edges")
                    + &triggers::replace(&triggers::before(triggers::LINEAGE)),
            ),
            Step::new(
                "m0012_lineage_io",
                include_str!("../sql/m0012_lineage_io.up.sql").to_owned()
                    + &triggers::install(triggers::LINEAGE_IO)
                    + &triggers::replace(triggers::LINEAGE_EVENTS),
                triggers::replace(&triggers::before(triggers::LINEAGE_EVENTS))
                    + &triggers::remove(triggers::LINEAGE_IO)
                    + include_str!("../sql/m0012_lineage_io.down.sql"),
            ),
        ]
    }

    /// The SQL that makes the whole schema: what a database migrated by this build is made of.
    pub fn script() -> String {
        Self::steps().iter().map(Step::up_sql).collect::<Vec<_>>().join("\n")
    }
}

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        Self::steps().map(|step| Box::new(step) as Box<dyn MigrationTrait>).into()
    }
}
