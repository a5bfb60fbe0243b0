//! Mirror of the header source.
//!
//! At most one header of each height is on the best chain; the index checks row by row, so a reorg first takes the old
//! branch off, then puts the new one on.

use sea_orm::entity::prelude::*;

/// A row of `block_headers`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "block_headers")]
pub struct Model {
    /// Block hash, 64 lower-case hex in display order.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub hash: String,
    /// Distance from the genesis block.
    pub height: i32,
    /// Hash of the block before; zeros for the genesis block.
    #[sea_orm(column_type = "Text")]
    pub prev_hash: String,
    /// Root of the block's Merkle tree, 64 lower-case hex in display order.
    #[sea_orm(column_type = "Text")]
    pub merkle_root: String,
    /// The 80 bytes of the header, when the source gave them.
    #[sea_orm(column_type = "Blob")]
    pub raw: Option<Vec<u8>>,
    /// Whether the block is on the best chain now.
    pub on_best_chain: bool,
    /// When the header was first seen.
    pub received_at: DateTimeUtc,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
