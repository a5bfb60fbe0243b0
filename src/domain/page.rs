//! Keyset pages: a page continues after a row, never after a count, so it is stable while rows come and go and as
//! quick on the last page as on the first.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Datelike;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Most rows on a page.
pub const MAX_LIMIT: u32 = 200;

/// Rows on a page when nothing is said.
pub const DEFAULT_LIMIT: u32 = 50;

/// Longest cursor accepted, bytes: a name of 500 and an identifier of 200 characters that JSON writes in six bytes each,
/// in base64, fit.
const MAX_CURSOR: usize = 8_192;

/// An order that pages can follow: by a column, then ascending by identifier.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Order {
    /// Its name in cursors and cache keys.
    pub name: &'static str,
    /// The column.
    pub column: &'static str,
    /// The column's SQL type, for reading a cursor back.
    pub cast: &'static str,
    /// Largest first.
    pub descending: bool,
}

/// Where a page begins: the row it comes after (or before), as that row stood when it was shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cursor {
    order: String,
    /// The text of the order's column.
    pub sort: String,
    /// The row's identifier.
    pub id: String,
}

impl Cursor {
    /// The cursor of a row.
    pub fn new(order: &Order, sort: &str, id: &str) -> Self {
        Self { order: order.name.into(), sort: sort.into(), id: id.into() }
    }

    /// The opaque text that clients hand back.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::json!([self.order, self.sort, self.id]).to_string())
    }

    /// Reads a cursor back; `parameter` is what the client called it.
    ///
    /// # Errors
    /// `bad-request` when it is not a cursor of ours, or one of another order.
    pub fn decode(text: &str, order: &Order, parameter: &'static str) -> Result<Self> {
        let refuse = |why: &str| Error::invalid(format!("`{parameter}` {why}")).hint(parameter);
        let unknown = || refuse("is not a cursor that a previous page gave");
        if text.len() > MAX_CURSOR {
            return Err(unknown());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| unknown())?;
        let (named, sort, id): (String, String, String) = serde_json::from_slice(&bytes).map_err(|_| unknown())?;
        if named != order.name {
            return Err(refuse("belongs to a page in another order; begin again without it"));
        }
        // PostgreSQL would refuse what is not of the column's type: a fault of the client's, so it is found here.
        let typed = match order.cast {
            // Chrono reads more than PostgreSQL does: years without end, Unicode's spaces and signs.
            "timestamptz" => chrono::DateTime::parse_from_str(&sort, "%Y-%m-%d %H:%M:%S%.f%#z")
                .is_ok_and(|t| sort.is_ascii() && sort.ends_with("+00") && (1..=9999).contains(&t.year())),
            // What is too small for the type is zero to Rust, and an error to PostgreSQL.
            "float4" => sort.parse::<f32>().is_ok_and(|f| f.is_normal() || sort == "0"),
            _ => !sort.contains('\0'),
        };
        if !typed || id.contains('\0') {
            return Err(unknown());
        }
        Ok(Self { order: named, sort, id })
    }
}

/// Which way a page reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The rows after the cursor (from the start without one).
    Forward,
    /// The rows before the cursor (the last ones without one), in the same order as forward.
    Backward,
}

/// Which page is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// The order it follows.
    pub order: &'static Order,
    /// The way it reads.
    pub direction: Direction,
    /// Rows wanted, 1…[`MAX_LIMIT`].
    pub limit: u32,
    /// Rows to skip, for clients that know only offsets.
    pub offset: u32,
    /// Where it begins.
    pub cursor: Option<Cursor>,
}

impl Request {
    /// The first page of an order.
    pub fn first(order: &'static Order, limit: u32) -> Self {
        Self { order, direction: Direction::Forward, limit, offset: 0, cursor: None }
    }

    /// How a page is walked.
    pub fn ways(&self) -> Ways {
        let backward = self.direction == Direction::Backward;
        let (beyond, by) = if self.order.descending == backward { (">", "asc") } else { ("<", "desc") };
        let (after, id_by) = if backward { ("<", "desc") } else { (">", "asc") };
        Ways { beyond, by, after, id_by }
    }

    /// The values of the cursor's two parameters, where there is one.
    pub fn place(&self) -> impl Iterator<Item = String> {
        self.cursor.iter().flat_map(|cursor| [cursor.sort.clone(), cursor.id.clone()])
    }

    /// What follows `order by`: the rows that [`select`] found, called `rows`, in its order.
    pub fn order_by(&self, rows: &str) -> String {
        let Ways { by, id_by, .. } = self.ways();
        format!("{rows}.key {by}, {rows}.id {id_by}")
    }

    /// The request's part of a cache key.
    pub fn params(&self, params: crate::cache::Params) -> crate::cache::Params {
        params
            .with("order", self.order.name)
            .with("limit", self.limit)
            .with_some("back", (self.direction == Direction::Backward).then_some(1))
            .with_some("offset", (self.offset > 0).then_some(self.offset))
            .with_some("cursor", self.cursor.as_ref().map(Cursor::encode))
    }
}

/// SQL words of a page: how rows after the cursor compare, and how rows are ordered.
#[derive(Debug, Clone, Copy)]
pub struct Ways {
    /// Comparison of the order's column with the cursor's.
    pub beyond: &'static str,
    /// Direction of the order's column.
    pub by: &'static str,
    /// Comparison of the identifier with the cursor's, where the columns are equal.
    pub after: &'static str,
    /// Direction of the identifier.
    pub id_by: &'static str,
}

/// One row of a page: enough to find the row, and to continue from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row<Id> {
    /// The row's identifier.
    pub id: Id,
    /// The text of the order's column, for its cursor.
    pub sort: String,
}

/// A page of identifiers; the rows themselves are read by identifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<Id> {
    /// The rows, in order.
    pub rows: Vec<Row<Id>>,
    /// Whether more rows follow in the direction asked for.
    pub more: bool,
}

impl<Id> Page<Id> {
    /// Bytes of its JSON, roughly, where that of an identifier has so many.
    pub fn bytes(&self, id: impl Fn(&Id) -> usize) -> usize {
        30 + self.rows.iter().map(|row| 20 + row.sort.len() + id(&row.id)).sum::<usize>()
    }

    /// A page of the rows that a [`select`] answered: one row more than wanted says that there are more.
    pub fn of(request: &Request, mut rows: Vec<Row<Id>>) -> Self {
        let more = rows.len() > request.limit as usize;
        rows.truncate(request.limit as usize);
        if request.direction == Direction::Backward {
            rows.reverse();
        }
        Self { rows, more }
    }

    /// A page together with what its rows stand for, in its order.
    pub fn with<T>(request: &Request, found: Vec<(Row<Id>, T)>) -> (Self, Vec<T>) {
        let (rows, mut items): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let page = Self::of(request, rows);
        items.truncate(page.rows.len());
        if request.direction == Direction::Backward {
            items.reverse();
        }
        (page, items)
    }
}

/// What a page is taken from. Everything here is SQL of ours; what clients say goes in as parameters.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// What follows `from`; the table that the columns are of is called `t`.
    pub from: &'a str,
    /// The identifier's column.
    pub id: &'a str,
    /// Conditions, joined with `and`; empty for none.
    pub conditions: &'a str,
    /// What else is selected, such as `t.name, t.website`.
    pub columns: &'a str,
}

/// The `select` of one page, with columns `id`, `sort`, `key` (the sort column itself) and those of the source: one row more
/// than the limit. What is around it orders the rows again ([`Request::order_by`]). The cursor's `sort` and `id` are the parameters `$n` and `$n+1`, where n is `first_parameter`.
///
/// After a cursor it is a union of two ranges, the rest of the cursor's own sort value and what lies beyond it:
/// each is one index range, where an `or` would read every row that shares the value.
pub fn select(source: Source<'_>, request: &Request, first_parameter: usize) -> String {
    let Source { from, id, conditions, columns } = source;
    let Order { column, cast, .. } = request.order;
    let Ways { beyond, by, after, id_by } = request.ways();
    let limit = request.limit + 1;
    let reach = limit + request.offset;
    let columns = format!("select {id} as id, {column}::text as sort, {column} as key, {columns} from {from}");
    let filter = |extra: &str| match (conditions, extra) {
        ("", "") => String::new(),
        (one, "") | ("", one) => format!(" where {one}"),
        (one, two) => format!(" where {one} and {two}"),
    };
    let offset = if request.offset > 0 { format!(" offset {}", request.offset) } else { String::new() };
    if request.cursor.is_none() {
        return format!("{columns}{} order by {column} {by}, {id} {id_by} limit {limit}{offset}", filter(""));
    }
    let (sort, last) = (format!("${first_parameter}::{cast}"), format!("${}", first_parameter + 1));
    let mut sql = String::new();
    let _infallible = write!(
        sql,
        "select * from (({columns}{} order by {id} {id_by} limit {reach}) union all ({columns}{} \
         order by {column} {by}, {id} {id_by} limit {reach})) as both_ranges order by key {by}, id {id_by} limit {limit}{offset}",
        filter(&format!("{column} = {sort} and {id} {after} {last}")),
        filter(&format!("{column} {beyond} {sort}")),
    );
    sql
}

/// The statement of a page: each row's `sort`, then its columns. The cursor's parameters are as those of [`select`].
pub fn select_rows(source: Source<'_>, request: &Request, first_parameter: usize) -> String {
    let rows = select(source, request, first_parameter);
    format!("select t.sort, {} from ({rows}) as t order by {}", source.columns, request.order_by("t"))
}

/// The statement of the same page of each of several scopes: the number of each row's scope, counted from one, then what
/// [`select_rows`] answers. The scopes are `$1`, an array of texts; the source's conditions call one `scope.name`.
pub fn select_rows_of_each(scopes: usize, source: Source<'_>, request: &Request, first_parameter: usize) -> String {
    let (scope, rows) = (each(scopes), select(source, request, first_parameter));
    let (columns, order) = (source.columns, request.order_by("t"));
    format!(
        "select scope.position, t.sort, {columns} from {scope} cross join lateral ({rows}) as t \
         order by scope.position, {order}"
    )
}

/// The scopes `$1` as a table `scope` with the columns `name` and `position`.
pub fn each(scopes: usize) -> &'static str {
    match scopes {
        // Of one scope, the planner need not keep anything for the next.
        1 => "(select ($1::text[])[1], 1::bigint) as scope(name, position)",
        _ => "unnest($1::text[]) with ordinality as scope(name, position)",
    }
}

/// What [`select_rows_of_each`] found, with the number of its scope, by scope.
///
/// # Errors
/// The first of `found`; `internal` for a number that no scope has.
pub fn by_scope<T>(scopes: usize, found: impl Iterator<Item = Result<(i64, T)>>) -> Result<Vec<Vec<T>>> {
    let mut groups: Vec<Vec<T>> = std::iter::repeat_with(Vec::new).take(scopes).collect();
    for row in found {
        let (position, row) = row?;
        let group = usize::try_from(position - 1).ok().and_then(|place| groups.get_mut(place));
        group.ok_or_else(|| Error::internal("a row of no scope"))?.push(row);
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWEST: Order = Order { name: "newest", column: "updated_at", cast: "timestamptz", descending: true };
    const RANK: Order = Order { name: "rank", column: "rank", cast: "float4", descending: true };
    const NAME: Order = Order { name: "name", column: "name", cast: "text", descending: false };

    #[test]
    fn cursors_survive_the_journey_and_garbage_is_named() {
        let cursor = Cursor::new(&NEWEST, "2026-01-01 00:00:00.123456+00", "ab");
        assert_eq!(Cursor::decode(&cursor.encode(), &NEWEST, "after").expect("ours"), cursor);
        let garbage = [
            String::new(),
            "x".repeat(10_000),
            "!!".into(),
            URL_SAFE_NO_PAD.encode("[1,2,3]"),
            Cursor::new(&NEWEST, "not a time", "ab").encode(),
            Cursor::new(&NEWEST, "0000-01-01 00:00:00+00", "ab").encode(),
            Cursor::new(&NEWEST, "+20000-01-01 00:00:00+00", "ab").encode(),
            Cursor::new(&NEWEST, "2026-01-01 00:00:00+23", "ab").encode(),
            Cursor::new(&NEWEST, "2026-01-01\u{3000}00:00:00+00", "ab").encode(),
            Cursor::new(&NAME, "a\0b", "ab").encode(),
        ];
        for text in garbage {
            let error = Cursor::decode(&text, &NEWEST, "after").expect_err(&text);
            assert!(error.message().contains("`after`"), "{error}");
        }
        assert!(Cursor::decode(&cursor.encode(), &NAME, "after").is_err());
        for (rank, fine) in
            [("0", true), ("0.25", true), ("1e-20", true), ("1e-50", false), ("inf", false), ("", false)]
        {
            let cursor = Cursor::new(&RANK, rank, "ab").encode();
            assert_eq!(Cursor::decode(&cursor, &RANK, "after").is_ok(), fine, "{rank}");
        }
    }
}
