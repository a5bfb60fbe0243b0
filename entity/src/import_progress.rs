//! How far each source of a bulk import has come, so that an interrupted one resumes.

use sea_orm::entity::prelude::*;

/// A row of `import_progress`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "import_progress")]
pub struct Model {
    /// Name of the source, at most 200 characters.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub source: String,
    /// Lines read so far.
    pub lines_done: i64,
    /// Rows taken over so far.
    pub rows_in: i64,
    /// Lines refused so far.
    pub rejected: i64,
    /// Whether the source was read to its end.
    pub finished: bool,
    /// When the row was last changed.
    pub updated_at: DateTimeUtc,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
