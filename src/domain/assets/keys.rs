//! What is cached about assets, under which keys and tags.

use std::sync::Arc;

use overlay_entity::ids::VersionId;

use super::model::{Asset, Filter, Parents, Scope};
use crate::cache::{Cached, Key, Kind, Known, Params};
use crate::coherence::Tag;
use crate::domain::Document;
use crate::domain::page::{Page, Request};

impl Cached for Asset {
    const KIND: Kind = Kind::Asset;

    /// It shows its row alone: edges raise `asset:<id>` without a collection.
    fn belongs(&self, known: &mut Known<'_>) -> bool {
        known(format_args!("assets"))
            || known(format_args!("assets@producer:{}", self.producer_id))
            || known(format_args!("assets@dataset:{}", self.dataset_id))
    }

    fn size(&self) -> usize {
        let texts = [&self.dataset_id, &self.producer_id, &self.name, &self.description];
        let optional = [&self.mime_type, &self.license, &self.classification];
        let lists = self.pii_flags.iter().chain(&self.tags);
        // Hashes, times, and the names of the fields.
        600 + texts
            .into_iter()
            .chain(optional.into_iter().flatten())
            .chain(lists)
            .map(|text| text.len() + 3)
            .sum::<usize>()
    }
}

impl Cached for Parents {
    const KIND: Kind = Kind::Asset;

    fn size(&self) -> usize {
        2 + 67 * self.0.len()
    }
}

impl Cached for Page<VersionId> {
    const KIND: Kind = Kind::Listing;
    const MAY_BE_ABSENT: bool = false;

    fn size(&self) -> usize {
        self.bytes(|_| 66)
    }
}

/// A manifest as it was published.
impl Cached for Document {
    const KIND: Kind = Kind::Manifest;
}

/// The number of assets of a filter.
impl Cached for i64 {
    const KIND: Kind = Kind::Listing;
    const MAY_BE_ABSENT: bool = false;
}

pub(super) fn asset(id: &VersionId) -> Key<Asset> {
    Key::new(id.prefixed::<Arc<str>>("cache:asset:"))
}

pub(super) fn parents(id: &VersionId) -> Key<Parents> {
    Key::new(format!("cache:asset:{id}:parents"))
}

pub(super) fn manifest(id: &VersionId) -> Key<Document> {
    Key::new(format!("cache:asset:{id}:manifest"))
}

pub(super) fn page(scope: &Scope, filter: &Filter, request: &Request) -> Key<Page<VersionId>> {
    let params = request.params(filter_params(scope, filter));
    Key::new(format!("cache:listings:{}", params.canonical()))
}

pub(super) fn found(text: &str, request: &Request) -> Key<Page<VersionId>> {
    Key::new(format!("cache:listings:{}", request.params(Params::default().with("search", text)).canonical()))
}

pub(super) fn count(scope: &Scope, filter: &Filter) -> Key<i64> {
    Key::new(format!("cache:listings:{}", filter_params(scope, filter).with("count", 1).canonical()))
}

fn filter_params(scope: &Scope, filter: &Filter) -> Params {
    // A list is written as JSON, so that no element can pass for two.
    let list = |values: &Option<Vec<String>>| values.as_ref().map(|v| serde_json::json!(v).to_string());
    let params = match scope {
        Scope::Catalogue => Params::default(),
        Scope::Producer(id) => Params::default().with("producer", id),
        Scope::Parent(id) => Params::default().with("parent", id),
    };
    params
        .with_some("q", filter.text.as_ref())
        .with_some("datasetId", list(&filter.datasets))
        .with_some("producerId", list(&filter.producers))
        .with_some("classification", list(&filter.classifications))
        .with_some("license", list(&filter.licenses))
        .with_some("nameContains", filter.name_contains.as_ref())
        .with_some("name", filter.name.as_ref())
}

pub(super) fn asset_tags(id: &VersionId) -> Vec<Tag> {
    vec![Tag::new(id.prefixed::<Arc<str>>("asset:"))]
}

/// The narrowest collections that every row of a page belongs to: a row that enters or leaves the page raises one.
pub(super) fn page_tags(scope: &Scope, filter: &Filter) -> Vec<Tag> {
    let each = |kind: &str, ids: &[String]| ids.iter().map(|id| Tag::new(format!("assets@{kind}:{id}"))).collect();
    match (scope, &filter.datasets, &filter.producers) {
        // Edges only: a page of descendants is ordered by identifier, so nothing else can move a row.
        (Scope::Parent(id), ..) => vec![Tag::new(format!("children:{id}"))],
        (Scope::Producer(id), ..) => each("producer", std::slice::from_ref(id)),
        (Scope::Catalogue, Some(datasets), _) => each("dataset", datasets),
        (Scope::Catalogue, None, Some(producers)) => each("producer", producers),
        (Scope::Catalogue, None, None) => vec![Tag::new("assets")],
    }
}
