//! What is published: one row a version of a dataset or model.
//!
//! A version is content-addressed: its manifest never changes. The generated column `search` (`tsvector`) is left out,
//! see [`crate::DATABASE_ONLY_COLUMNS`].

use sea_orm::entity::prelude::*;

use crate::ids::VersionId;

/// A row of `assets`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "assets")]
pub struct Model {
    /// Identity of the version: SHA-256 of its canonical manifest.
    #[sea_orm(primary_key, auto_increment = false)]
    pub version_id: VersionId,
    /// The dataset or model this is a version of, 1…500 characters.
    #[sea_orm(column_type = "Text")]
    pub dataset_id: String,
    /// Who published it.
    #[sea_orm(column_type = "Text")]
    pub producer_id: String,
    /// Title, at most 500 characters; searched with weight A.
    #[sea_orm(column_type = "Text")]
    pub name: String,
    /// Prose, at most 20,000 characters; empty when there is none; searched with weight B.
    #[sea_orm(column_type = "Text")]
    pub description: String,
    /// SHA-256 of the content, 64 lower-case hex.
    #[sea_orm(column_type = "Text")]
    pub content_hash: String,
    /// Media type of the content.
    #[sea_orm(column_type = "Text")]
    pub mime_type: Option<String>,
    /// Size of the content in bytes.
    pub size_bytes: Option<i64>,
    /// What policies and listings look at: an object with `license`, `classification`, PII flags, `tags` (searched with
    /// weight C) and more.
    #[sea_orm(column_type = "JsonBinary")]
    pub policy_meta: Json,
    /// SHA-256 of the canonical manifest, 64 lower-case hex.
    #[sea_orm(column_type = "Text")]
    pub manifest_hash: String,
    /// The manifest, an object. Key order and number spelling are not kept: canonicalise before hashing.
    #[sea_orm(column_type = "JsonBinary")]
    pub manifest: Json,
    /// When the version was published.
    pub created_at: DateTimeUtc,
    /// When the row was last changed; listings are ordered by it.
    pub updated_at: DateTimeUtc,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// Who published it.
    #[sea_orm(
        belongs_to = "super::producers::Entity",
        from = "Column::ProducerId",
        to = "super::producers::Column::ProducerId"
    )]
    Producers,
    /// Its declaration on the chain.
    #[sea_orm(has_one = "super::declarations::Entity")]
    Declarations,
    /// The edges to its parents.
    #[sea_orm(has_many = "super::asset_parents::Entity")]
    AssetParents,
    /// Receipts for it.
    #[sea_orm(has_many = "super::receipts::Entity")]
    Receipts,
    /// Prices for this version alone.
    #[sea_orm(has_many = "super::price_rules::Entity")]
    PriceRules,
    /// Blocks it was verified in.
    #[sea_orm(has_many = "super::bundle_audit::Entity")]
    BundleAudit,
}

impl Related<super::producers::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Producers.def()
    }
}

impl Related<super::declarations::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Declarations.def()
    }
}

impl Related<super::asset_parents::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::AssetParents.def()
    }
}

impl Related<super::receipts::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Receipts.def()
    }
}

impl Related<super::price_rules::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::PriceRules.def()
    }
}

impl Related<super::bundle_audit::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::BundleAudit.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
