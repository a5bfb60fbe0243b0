//! An asset version as it is cached and reasoned about.

use chrono::{DateTime, Utc};
use overlay_entity::ids::VersionId;
use serde::{Deserialize, Serialize};

/// One published version of a dataset or model. Its identity is the hash of its manifest, so what the manifest says never
/// changes; what can change here is what the catalogue says about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asset {
    /// SHA-256 of the canonical manifest.
    pub version_id: VersionId,
    /// The dataset this is a version of.
    pub dataset_id: String,
    /// Who published it.
    pub producer_id: String,
    /// Display name.
    pub name: String,
    /// Free text; may be empty.
    pub description: String,
    /// SHA-256 of the content, 64 hex digits.
    pub content_hash: String,
    /// IANA media type of the content.
    pub mime_type: Option<String>,
    /// Size of the content, bytes.
    pub size_bytes: Option<i64>,
    /// Hash of the manifest, 64 hex digits.
    pub manifest_hash: String,
    /// SPDX identifier or free text.
    pub license: Option<String>,
    /// `public`, `internal`, `restricted` or `clinical-research`.
    pub classification: Option<String>,
    /// Kinds of personal data the content holds.
    pub pii_flags: Vec<String>,
    /// Free tags.
    pub tags: Vec<String>,
    /// When the manifest says it was made.
    pub created_at: DateTime<Utc>,
    /// When the catalogue last changed its row.
    pub updated_at: DateTime<Utc>,
}

/// What a page of assets is narrowed to. Conditions on different fields are joined with *and*.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Text contained in name or description, without regard to case.
    pub text: Option<String>,
    /// One of these datasets.
    pub datasets: Option<Vec<String>>,
    /// One of these producers.
    pub producers: Option<Vec<String>>,
    /// One of these classifications.
    pub classifications: Option<Vec<String>>,
    /// One of these licences.
    pub licenses: Option<Vec<String>>,
    /// Text contained in the name, without regard to case.
    pub name_contains: Option<String>,
    /// Exactly this name.
    pub name: Option<String>,
}

/// Which set of assets a page is taken from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The whole catalogue.
    Catalogue,
    /// The versions of one producer.
    Producer(String),
    /// The direct descendants of one version.
    Parent(VersionId),
}

/// The versions that one was made from, by identifier.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Parents(pub Vec<VersionId>);
