//! The fields of each type, as `assets`, `producers` and `receipts` beside this module declare them to the schema.

use std::sync::Arc;

use async_graphql::parser::types::Field;
use chrono::{DateTime, Utc};
use futures_util::future::{BoxFuture, FutureExt};
use overlay_entity::ids::VersionId;

use super::super::inputs::{AssetFilter, AssetOrder};
use super::super::producers::ProducerOrder;
use super::super::relay::{global_id, identifier};
use super::super::scalars::Hex32;
use super::arguments::Arguments;
use super::compile::Compiler;
use super::connections::{Catalogue, Connection, Names, Owned};
use super::relations::{ById, Entry, One, ParentsOf, Plain};
use super::tree::{Leaf, Noun, Relation, list, text};
use super::{Fetched, Run};
use crate::domain::assets::{self, Asset, Filter, Scope};
use crate::domain::producers::Producer;
use crate::domain::receipts::broadcast::Broadcast;
use crate::domain::receipts::{self, Receipt, Status};

const ASSETS: Names = Names { connection: "AssetConnection", edge: "AssetEdge" };
const FOUND: Names = Names { connection: "SearchConnection", edge: "SearchEdge" };
const PRODUCERS: Names = Names { connection: "ProducerConnection", edge: "ProducerEdge" };
const RECEIPTS: Names = Names { connection: "ReceiptConnection", edge: "ReceiptEdge" };

/// A field of the root, with the name of what it answers.
pub(super) fn entry(name: &str, field: &Field, compiler: &Compiler<'_>) -> Option<(&'static str, Box<dyn Entry>)> {
    let arguments = Arguments::of(field);
    Some(match name {
        "asset" => {
            let id = |arguments: &Arguments, run: Run<'_>| Some(arguments.get::<Hex32>("versionId", run)?.0);
            ("Asset", Box::new(ById { arguments, of: compiler.selection::<Asset>(field)?, id }))
        }
        "producer" => {
            let id =
                |arguments: &Arguments, run: Run<'_>| identifier(arguments.get("producerId", run)?, "producerId").ok();
            ("Producer", Box::new(ById { arguments, of: compiler.selection::<Producer>(field)?, id }))
        }
        "receipt" => {
            let id =
                |arguments: &Arguments, run: Run<'_>| identifier(arguments.get("receiptId", run)?, "receiptId").ok();
            ("Receipt", Box::new(ById { arguments, of: compiler.selection::<Receipt>(field)?, id }))
        }
        "assets" => {
            let of = Connection::<Asset>::compile(field, ASSETS, compiler)?;
            ("Asset", Box::new(Catalogue { arguments, of, extra: 0, page: assets_page }))
        }
        "search" => {
            let of = Connection::<Asset>::compile(field, FOUND, compiler)?;
            ("Asset", Box::new(Catalogue { arguments, of, extra: 1_000, page: found_page }))
        }
        "producers" => {
            let of = Connection::<Producer>::compile(field, PRODUCERS, compiler)?;
            ("Producer", Box::new(Catalogue { arguments, of, extra: 0, page: producers_page }))
        }
        _ => return None,
    })
}

type PageOf<Id> = (crate::domain::page::Request, Arc<crate::domain::page::Page<Id>>, Option<i64>);

fn assets_page<'a>(run: Run<'a>, given: &'a Arguments, total: bool) -> BoxFuture<'a, Fetched<PageOf<VersionId>>> {
    async move {
        let filter = given.get::<Option<AssetFilter>>("filter", run)?.unwrap_or_default().filter().ok()?;
        let order = given.get_or("orderBy", run, Some(AssetOrder::UpdatedAtDesc))?.order();
        let request = given.page(run, order)?;
        let page = run.app.assets.page(run.caller, Scope::Catalogue, &filter, &request);
        let count = async {
            if total { run.app.assets.count(run.caller, &Scope::Catalogue, &filter).await.map(Some) } else { Ok(None) }
        };
        let (page, total) = futures_util::future::try_join(page, count).await.ok()?;
        Some((request, page, total))
    }
    .boxed()
}

fn found_page<'a>(run: Run<'a>, given: &'a Arguments, _: bool) -> BoxFuture<'a, Fetched<PageOf<VersionId>>> {
    async move {
        let query: String = given.get("query", run)?;
        let request = given.page(run, &assets::RANK)?;
        let page = run.app.assets.search(run.caller, &query, &request).await.ok()?;
        Some((request, page, None))
    }
    .boxed()
}

fn producers_page<'a>(run: Run<'a>, given: &'a Arguments, _: bool) -> BoxFuture<'a, Fetched<PageOf<String>>> {
    async move {
        let order = given.get_or("orderBy", run, Some(ProducerOrder::NameAsc))?.order();
        let request = given.page(run, order)?;
        let page = run.app.producers.page(run.caller, &request).await.ok()?;
        Some((request, page, None))
    }
    .boxed()
}

/// Assets that belong to other objects.
fn owned<N: Send + Sync + 'static>(
    field: &Field, compiler: &Compiler<'_>, order: &'static crate::domain::page::Order, scope: fn(&N) -> Scope,
) -> Option<Box<dyn Relation<N>>> {
    Some(Box::new(Owned {
        arguments: Arguments::of(field),
        of: Connection::<Asset>::compile(field, ASSETS, compiler)?,
        order,
        scope,
        pages: |run, scopes, request| {
            async move { run.app.assets.pages(run.caller, scopes, &Filter::default(), request).await.ok() }.boxed()
        },
        totals: Some(|run, scopes| {
            async move {
                let counts = run.app.assets.counts(run.caller, scopes, &Filter::default()).await.ok()?;
                Some(counts.into_iter().map(|n| *n).collect())
            }
            .boxed()
        }),
    }))
}

impl Noun for Asset {
    const NAME: &'static str = "Asset";
    type Id = VersionId;

    fn leaf(name: &str) -> Option<Leaf<Self>> {
        Some(match name {
            "id" => |a, out| text(out, &global_id("Asset", &a.version_id.to_string())),
            "versionId" => |a, out| hex(out, &a.version_id),
            "datasetId" => |a, out| text(out, &a.dataset_id),
            "producerId" => |a, out| text(out, &a.producer_id),
            "name" => |a, out| text(out, &a.name),
            "description" => |a, out| text(out, &a.description),
            "contentHash" => |a, out| text(out, &a.content_hash),
            "manifestHash" => |a, out| text(out, &a.manifest_hash),
            "mimeType" => |a, out| optional(out, a.mime_type.as_deref()),
            "sizeBytes" => |a, out| match a.size_bytes {
                Some(bytes) => quoted(out, bytes),
                None => null(out),
            },
            "license" => |a, out| optional(out, a.license.as_deref()),
            "classification" => |a, out| optional(out, a.classification.as_deref()),
            "piiFlags" => |a, out| list(out, &a.pii_flags, |out, flag| text(out, flag)),
            "tags" => |a, out| list(out, &a.tags, |out, tag| text(out, tag)),
            "createdAt" => |a, out| time(out, &a.created_at),
            "updatedAt" => |a, out| time(out, &a.updated_at),
            _ => return None,
        })
    }

    fn relation(name: &str, field: &Field, compiler: &Compiler<'_>) -> Option<(&'static str, Box<dyn Relation<Self>>)> {
        Some(match name {
            "producer" => {
                let of = compiler.selection(field)?;
                ("Producer", Box::new(One::<Self, Producer> { of, id: |a| a.producer_id.clone() }))
            }
            "parents" => {
                let of = compiler.selection(field)?;
                ("Asset", Box::new(ParentsOf { arguments: Arguments::of(field), of }))
            }
            "children" => ("Asset", owned(field, compiler, &assets::CHILDREN, |a: &Self| Scope::Parent(a.version_id))?),
            "receipts" => ("Receipt", Box::new(receipts_of(field, compiler)?)),
            "parentIds" => ("parents", Box::new(Plain { cost: 5, find: parent_ids, write: write_ids })),
            "unitPrice" => ("price", Box::new(Plain { cost: 1, find: prices, write: |sats, out| quoted(out, *sats) })),
            "manifest" => ("manifest", Box::new(Plain { cost: 5, find: manifests, write: write_document })),
            _ => return None,
        })
    }

    fn many<'a>(run: Run<'a>, ids: &'a [VersionId]) -> BoxFuture<'a, Fetched<Vec<Option<Arc<Self>>>>> {
        async move { run.app.assets.get_many(run.caller, ids).await.ok() }.boxed()
    }
}

fn receipts_of(field: &Field, compiler: &Compiler<'_>) -> Option<Owned<Asset, Receipt, VersionId>> {
    Some(Owned {
        arguments: Arguments::of(field),
        of: Connection::compile(field, RECEIPTS, compiler)?,
        order: &receipts::NEWEST,
        scope: |asset| asset.version_id,
        pages: |run, versions, request| {
            async move { run.app.receipts.pages(run.caller, versions, request).await.ok() }.boxed()
        },
        totals: None,
    })
}

fn parent_ids<'a>(run: Run<'a>, items: &'a [Arc<Asset>]) -> BoxFuture<'a, Fetched<Vec<Option<Arc<assets::Parents>>>>> {
    each(items, |asset| asset.version_id, async move |ids| run.app.assets.parents(run.caller, &ids).await.ok()).boxed()
}

fn write_ids(parents: &Option<Arc<assets::Parents>>, out: &mut Vec<u8>) {
    list(out, parents.as_ref().map_or(&[], |parents| &parents.0[..]), hex);
}

fn prices<'a>(run: Run<'a>, items: &'a [Arc<Asset>]) -> BoxFuture<'a, Fetched<Vec<i64>>> {
    each(
        items,
        |asset| (asset.version_id, asset.producer_id.clone()),
        async move |priced| {
            let prices = run.app.prices.of_one_unit(run.caller, &priced).await.ok()?;
            Some(prices.into_iter().map(|price| price.satoshis).collect())
        },
    )
    .boxed()
}

type Documents = Vec<Option<Arc<crate::domain::Document>>>;

fn manifests<'a>(run: Run<'a>, items: &'a [Arc<Asset>]) -> BoxFuture<'a, Fetched<Documents>> {
    each(items, |asset| asset.version_id, async move |ids| run.app.assets.manifests(run.caller, &ids).await.ok())
        .boxed()
}

/// Read and written anew, so that its form does not depend on how it was kept.
fn write_document(document: &Option<Arc<crate::domain::Document>>, out: &mut Vec<u8>) {
    let value = document.as_ref().and_then(|d| serde_json::from_str::<async_graphql::Value>(d.text()).ok());
    match value {
        Some(value) => serde_json::to_writer(out, &value).expect("a value is JSON"),
        None => null(out),
    }
}

/// What `find` answers for the key of each item; it is asked for each key once.
async fn each<N, K, V, F>(items: &[Arc<N>], key: fn(&N) -> K, find: impl FnOnce(Vec<K>) -> F) -> Fetched<Vec<V>>
where
    K: Clone + Eq + std::hash::Hash,
    V: Clone,
    F: Future<Output = Fetched<Vec<V>>>,
{
    let (keys, at) = super::tree::distinct(items.iter().map(|item| key(item)));
    let found = find(keys).await?;
    Some(at.into_iter().map(|at| found[at].clone()).collect())
}

impl Noun for Producer {
    const NAME: &'static str = "Producer";
    type Id = String;

    fn leaf(name: &str) -> Option<Leaf<Self>> {
        Some(match name {
            "id" => |p, out| text(out, &global_id("Producer", &p.producer_id)),
            "producerId" => |p, out| text(out, &p.producer_id),
            "identityKey" => |p, out| text(out, &p.identity_key),
            "name" => |p, out| text(out, &p.display_name),
            "website" => |p, out| optional(out, p.website.as_deref()),
            "createdAt" => |p, out| time(out, &p.created_at),
            _ => return None,
        })
    }

    fn relation(name: &str, field: &Field, compiler: &Compiler<'_>) -> Option<(&'static str, Box<dyn Relation<Self>>)> {
        let scope = |producer: &Self| Scope::Producer(producer.producer_id.clone());
        (name == "assets").then(|| Some(("Asset", owned(field, compiler, &assets::NEWEST, scope)?))).flatten()
    }

    fn many<'a>(run: Run<'a>, ids: &'a [String]) -> BoxFuture<'a, Fetched<Vec<Option<Arc<Self>>>>> {
        async move { run.app.producers.get_many(run.caller, ids).await.ok() }.boxed()
    }
}

impl Noun for Receipt {
    const NAME: &'static str = "Receipt";
    type Id = String;

    fn leaf(name: &str) -> Option<Leaf<Self>> {
        Some(match name {
            "id" => |r, out| text(out, &global_id("Receipt", &r.receipt_id)),
            "receiptId" => |r, out| text(out, &r.receipt_id),
            "status" => |r, out| {
                out.extend_from_slice(match r.status {
                    Status::Pending => b"\"PENDING\"",
                    Status::Paid => b"\"PAID\"",
                    Status::Confirmed => b"\"CONFIRMED\"",
                    Status::Consumed => b"\"CONSUMED\"",
                    Status::Expired => b"\"EXPIRED\"",
                });
            },
            "quantity" => |r, out| out.extend_from_slice(r.quantity.to_string().as_bytes()),
            "unitPrice" => |r, out| quoted(out, r.unit_price_sat),
            "amount" => |r, out| quoted(out, r.amount_sat),
            "broadcast" => |r, out| {
                out.extend_from_slice(match r.broadcast {
                    None => b"null",
                    Some(Broadcast::Due) => b"\"DUE\"",
                    Some(Broadcast::Accepted) => b"\"ACCEPTED\"",
                });
            },
            "paymentTxid" => |r, out| optional(out, r.payment_txid.as_deref()),
            "createdAt" => |r, out| time(out, &r.created_at),
            "expiresAt" => |r, out| match &r.expires_at {
                Some(at) => time(out, at),
                None => null(out),
            },
            _ => return None,
        })
    }

    fn relation(name: &str, field: &Field, compiler: &Compiler<'_>) -> Option<(&'static str, Box<dyn Relation<Self>>)> {
        let relation = || {
            let of = compiler.selection(field)?;
            let one: Box<dyn Relation<Self>> = Box::new(One::<Self, Asset> { of, id: |r| r.version_id });
            Some(("Asset", one))
        };
        (name == "asset").then(relation).flatten()
    }

    fn many<'a>(run: Run<'a>, ids: &'a [String]) -> BoxFuture<'a, Fetched<Vec<Option<Arc<Self>>>>> {
        async move { run.app.receipts.get_many(run.caller, ids).await.ok() }.boxed()
    }
}

fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"null");
}

fn optional(out: &mut Vec<u8>, value: Option<&str>) {
    match value {
        Some(value) => text(out, value),
        None => null(out),
    }
}

fn hex(out: &mut Vec<u8>, id: &VersionId) {
    out.push(b'"');
    out.extend_from_slice(&id.to_hex());
    out.push(b'"');
}

/// A whole number as a text, for clients whose numbers are floats.
fn quoted(out: &mut Vec<u8>, number: i64) {
    use std::io::Write;
    write!(out, "\"{number}\"").expect("memory takes every write");
}

fn time(out: &mut Vec<u8>, time: &DateTime<Utc>) {
    out.push(b'"');
    out.extend_from_slice(time.to_rfc3339().as_bytes());
    out.push(b'"');
}
