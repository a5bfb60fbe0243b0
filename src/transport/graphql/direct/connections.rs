//! Pages of objects, as Relay has them.

use std::sync::Arc;

use async_graphql::parser::types::Field;
use futures_util::future::{BoxFuture, FutureExt, join};

use super::super::page::around;
use super::arguments::Arguments;
use super::compile::Compiler;
use super::relations::Entry;
use super::tree::{Column, Key, Noun, Objects, Relation, Selection, distinct, list, present, text};
use super::{Fetched, Run};
use crate::domain::page::{Cursor, Order, Page, Request};

/// What is selected of a connection.
pub(super) struct Connection<N: Noun> {
    names: Names,
    fields: Vec<(Key, Part)>,
    of: Selection<N>,
    has_total: bool,
}

/// The names of a connection's types.
#[derive(Clone, Copy)]
pub(super) struct Names {
    pub(super) connection: &'static str,
    pub(super) edge: &'static str,
}

enum Part {
    Typename,
    Nodes,
    Edges(Vec<(Key, EdgePart)>),
    PageInfo(Vec<(Key, InfoPart)>),
    TotalCount,
}

enum EdgePart {
    Typename,
    Cursor,
    Node,
}

enum InfoPart {
    Typename,
    HasNext,
    HasPrevious,
    Start,
    End,
}

impl<N: Noun> Connection<N> {
    pub(super) fn compile(field: &Field, names: Names, compiler: &Compiler<'_>) -> Option<Self> {
        let (mut fields, mut of, mut has_total) = (Vec::new(), None, false);
        // The nodes may be selected once, as `nodes` or in `edges`.
        let mut select = |field: &Field| match of.replace(compiler.selection::<N>(field)?) {
            None => Some(()),
            Some(_) => None,
        };
        for (key, field) in compiler.fields(&field.selection_set.node, names.connection)? {
            let part = match field.name.node.as_str() {
                "__typename" => Part::Typename,
                "nodes" => {
                    select(field)?;
                    Part::Nodes
                }
                "edges" => {
                    let mut parts = Vec::new();
                    for (key, field) in compiler.fields(&field.selection_set.node, names.edge)? {
                        let part = match field.name.node.as_str() {
                            "__typename" => EdgePart::Typename,
                            "cursor" => EdgePart::Cursor,
                            "node" => {
                                select(field)?;
                                EdgePart::Node
                            }
                            _ => return None,
                        };
                        parts.push((key, part));
                    }
                    Part::Edges(parts)
                }
                "pageInfo" => Part::PageInfo(page_info(field, compiler)?),
                "totalCount" => {
                    has_total = true;
                    Part::TotalCount
                }
                _ => return None,
            };
            fields.push((key, part));
        }
        let of = of.unwrap_or(Selection { fields: Vec::new(), relations: Vec::new() });
        Some(Self { names, fields, of, has_total })
    }

    /// What the connection costs but for its field. Twenty is what counting costs.
    fn cost(&self, run: Run<'_>) -> Option<usize> {
        let parts: usize = self
            .fields
            .iter()
            .map(|(_, part)| match part {
                Part::Typename | Part::Nodes => 1,
                Part::Edges(parts) => 1 + parts.len(),
                Part::PageInfo(parts) => 1 + parts.len(),
                Part::TotalCount => 20,
            })
            .sum();
        Some(self.of.cost(run)?.saturating_add(parts))
    }
}

fn page_info(field: &Field, compiler: &Compiler<'_>) -> Option<Vec<(Key, InfoPart)>> {
    let part = |field: &Field| {
        Some(match field.name.node.as_str() {
            "__typename" => InfoPart::Typename,
            "hasNextPage" => InfoPart::HasNext,
            "hasPreviousPage" => InfoPart::HasPrevious,
            "startCursor" => InfoPart::Start,
            "endCursor" => InfoPart::End,
            _ => return None,
        })
    };
    let fields = compiler.fields(&field.selection_set.node, "PageInfo")?;
    fields.into_iter().map(|(key, field)| Some((key, part(field)?))).collect()
}

type Pages<N> = Vec<Arc<Page<<N as Noun>::Id>>>;

/// Pages with their objects, one for each of a batch.
struct Paged<'p, N: Noun> {
    plan: &'p Connection<N>,
    request: Request,
    pages: Pages<N>,
    /// For each page its rows that are still there: by place in the page, and among the objects.
    rows: Vec<Vec<(usize, usize)>>,
    totals: Option<Vec<i64>>,
    of: Objects<'p, N>,
    /// The page of each of the batch.
    at: Vec<usize>,
}

impl<'p, N: Noun> Paged<'p, N> {
    async fn fetch(
        run: Run<'p>, plan: &'p Connection<N>, request: Request, pages: Pages<N>, totals: Option<Vec<i64>>,
        at: Vec<usize>,
    ) -> Fetched<Self> {
        let (ids, places) = distinct(pages.iter().flat_map(|page| page.rows.iter().map(|row| row.id.clone())));
        let (items, present) = present(N::many(run, &ids).await?);
        let mut places = places.into_iter().map(|place| present[place]);
        let still = |page: &Arc<Page<N::Id>>| {
            places.by_ref().take(page.rows.len()).enumerate().filter_map(|(row, at)| Some((row, at?))).collect()
        };
        let rows = pages.iter().map(still).collect();
        let of = plan.of.fetch(run, items).boxed().await?;
        Some(Self { plan, request, pages, rows, totals, of, at })
    }

    fn cursor(&self, page: usize, row: usize, out: &mut Vec<u8>) {
        let row = &self.pages[page].rows[row];
        text(out, &Cursor::new(self.request.order, &row.sort, &row.id.to_string()).encode());
    }

    fn info(&self, parts: &[(Key, InfoPart)], page: usize, out: &mut Vec<u8>) {
        let (previous, next) = around(&self.request, self.pages[page].more);
        let truth = |is: bool| if is { &b"true"[..] } else { b"false" };
        out.push(b'{');
        for (at, (key, part)) in parts.iter().enumerate() {
            key.write(out, at);
            let row = match part {
                InfoPart::Typename => {
                    out.extend_from_slice(b"\"PageInfo\"");
                    continue;
                }
                InfoPart::HasNext => {
                    out.extend_from_slice(truth(next));
                    continue;
                }
                InfoPart::HasPrevious => {
                    out.extend_from_slice(truth(previous));
                    continue;
                }
                InfoPart::Start => self.rows[page].first(),
                InfoPart::End => self.rows[page].last(),
            };
            match row {
                Some((row, _)) => self.cursor(page, *row, out),
                None => out.extend_from_slice(b"null"),
            }
        }
        out.push(b'}');
    }

    fn edge(&self, parts: &[(Key, EdgePart)], page: usize, (row, item): (usize, usize), out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, (key, part)) in parts.iter().enumerate() {
            key.write(out, at);
            match part {
                EdgePart::Typename => text(out, self.plan.names.edge),
                EdgePart::Cursor => self.cursor(page, row, out),
                EdgePart::Node => self.of.write(out, item),
            }
        }
        out.push(b'}');
    }
}

impl<N: Noun> Column for Paged<'_, N> {
    fn write(&self, out: &mut Vec<u8>, at: usize) {
        let page = self.at[at];
        out.push(b'{');
        for (at, (key, part)) in self.plan.fields.iter().enumerate() {
            key.write(out, at);
            match part {
                Part::Typename => text(out, self.plan.names.connection),
                Part::Nodes => list(out, &self.rows[page], |out, (_, item)| self.of.write(out, *item)),
                Part::Edges(parts) => list(out, &self.rows[page], |out, row| self.edge(parts, page, *row, out)),
                Part::PageInfo(parts) => self.info(parts, page, out),
                Part::TotalCount => match &self.totals {
                    Some(totals) => out.extend_from_slice(totals[page].to_string().as_bytes()),
                    None => out.extend_from_slice(b"null"),
                },
            }
        }
        out.push(b'}');
    }
}

/// Reads one page of several scopes, no two of which are the same.
type ReadPages<N, S> = for<'a> fn(Run<'a>, &'a [S], &'a Request) -> BoxFuture<'a, Fetched<Pages<N>>>;
type ReadTotals<S> = for<'a> fn(Run<'a>, &'a [S]) -> BoxFuture<'a, Fetched<Vec<i64>>>;

/// A page of objects that belong to each of a batch.
pub(super) struct Owned<N, T: Noun, S> {
    pub(super) arguments: Arguments,
    pub(super) of: Connection<T>,
    pub(super) order: &'static Order,
    pub(super) scope: fn(&N) -> S,
    pub(super) pages: ReadPages<T, S>,
    pub(super) totals: Option<ReadTotals<S>>,
}

impl<N, T, S> Relation<N> for Owned<N, T, S>
where
    N: Send + Sync + 'static,
    T: Noun,
    S: Clone + Eq + std::hash::Hash + Send + Sync + 'static,
{
    fn cost(&self, run: Run<'_>) -> Option<usize> {
        self.arguments.cost(run, self.of.cost(run)?)
    }

    fn fetch<'a, 'p: 'a>(&'p self, run: Run<'p>, items: &'a [Arc<N>]) -> BoxFuture<'a, Fetched<Box<dyn Column + 'p>>> {
        async move {
            let request = self.arguments.page(run, self.order)?;
            let (scopes, at) = distinct(items.iter().map(|item| (self.scope)(item)));
            let totals = async {
                match self.totals.filter(|_| self.of.has_total) {
                    Some(totals) => Some(Some(totals(run, &scopes).await?)),
                    None => Some(None),
                }
            };
            let (pages, totals) = join((self.pages)(run, &scopes, &request), totals).await;
            let (pages, totals) = (pages?, totals?);
            Some(Box::new(Paged::fetch(run, &self.of, request, pages, totals, at).await?) as _)
        }
        .boxed()
    }
}

/// One page, and its total where it has one and `true` asks for it.
type ReadPage<N> = for<'a> fn(
    Run<'a>,
    &'a Arguments,
    bool,
) -> BoxFuture<'a, Fetched<(Request, Arc<Page<<N as Noun>::Id>>, Option<i64>)>>;

/// A page of the catalogue.
pub(super) struct Catalogue<N: Noun> {
    pub(super) arguments: Arguments,
    pub(super) of: Connection<N>,
    /// What the field costs beside its page.
    pub(super) extra: usize,
    pub(super) page: ReadPage<N>,
}

impl<N: Noun> Entry for Catalogue<N> {
    fn cost(&self, run: Run<'_>) -> Option<usize> {
        Some(self.arguments.cost(run, self.of.cost(run)?)?.saturating_add(self.extra))
    }

    fn fetch<'p>(&'p self, run: Run<'p>) -> BoxFuture<'p, Fetched<Box<dyn Column + 'p>>> {
        async move {
            let (request, page, total) = (self.page)(run, &self.arguments, self.of.has_total).await?;
            let totals = total.map(|total| vec![total]);
            Some(Box::new(Paged::fetch(run, &self.of, request, vec![page], totals, vec![0]).await?) as _)
        }
        .boxed()
    }
}
