//! Relay's paging arguments, checked, as a request for a keyset page; and a page as a Relay connection.

use async_graphql::connection::{Connection, ConnectionNameType, Edge, EdgeNameType, EmptyFields};
use async_graphql::{ObjectType, OutputType};

use crate::domain::page::{Cursor, DEFAULT_LIMIT, Direction, MAX_LIMIT, Order, Page, Request, Row};
use crate::error::{Error, Result};

/// `first`, `after`, `last` and `before` as they came.
pub(super) struct Arguments {
    pub(super) first: Option<i32>,
    pub(super) after: Option<String>,
    pub(super) last: Option<i32>,
    pub(super) before: Option<String>,
}

impl Arguments {
    /// The page they ask for.
    ///
    /// # Errors
    /// `bad-request` naming the argument that is wrong.
    pub(super) fn request(self, order: &'static Order) -> Result<Request> {
        let Self { first, after, last, before } = self;
        let (direction, limit, cursor) = match (first, last, after, before) {
            (Some(_), Some(_), ..) => {
                return Err(Error::invalid("`first` and `last` exclude each other").hint("last"));
            }
            (_, Some(_), Some(_), _) | (_, None, Some(_), Some(_)) => {
                return Err(Error::invalid("`after` goes with `first`, `before` with `last`").hint("after"));
            }
            (Some(_), None, _, Some(_)) => {
                return Err(Error::invalid("`before` goes with `last`").hint("before"));
            }
            (first, None, after, None) => (Direction::Forward, limit(first, "first")?, after.map(|c| (c, "after"))),
            (None, last, None, before) => (Direction::Backward, limit(last, "last")?, before.map(|c| (c, "before"))),
        };
        let cursor = cursor.map(|(text, name)| Cursor::decode(&text, order, name)).transpose()?;
        Ok(Request { direction, limit, cursor, ..Request::first(order, limit) })
    }
}

fn limit(asked: Option<i32>, name: &'static str) -> Result<u32> {
    let Some(asked) = asked else { return Ok(DEFAULT_LIMIT) };
    let limit = u32::try_from(asked).ok().filter(|n| (1..=MAX_LIMIT).contains(n));
    limit.ok_or_else(|| Error::invalid(format!("`{name}` must be 1 to {MAX_LIMIT}")).hint(name))
}

/// What a list field costs: its size, times what each item costs. A size out of range costs the most a list may: the
/// field refuses it by name.
pub(super) fn cost(first: Option<i32>, last: Option<i32>, child: usize) -> usize {
    let size = first.or(last).map_or(DEFAULT_LIMIT, |n| u32::try_from(n).unwrap_or(0).min(MAX_LIMIT));
    (size as usize).saturating_mul(child).saturating_add(1)
}

/// Whether there is a previous and a next page of one that has `more` rows after it. In the direction asked for it is
/// known; in the other, there is what the cursor stands on.
pub(super) fn around(request: &Request, more: bool) -> (bool, bool) {
    let behind = request.cursor.is_some();
    match request.direction {
        Direction::Forward => (behind, more),
        Direction::Backward => (more, behind),
    }
}

/// A page as a connection. `node` finds a row's node: what was deleted since the page was read is left out.
pub(super) fn connection<Id, Node, Extra, Name, EdgeName>(
    request: &Request, page: &Page<Id>, extra: Extra, mut node: impl FnMut(&Row<Id>) -> Option<Node>,
) -> Connection<String, Node, Extra, EmptyFields, Name, EdgeName>
where
    Name: ConnectionNameType,
    EdgeName: EdgeNameType,
    Id: std::fmt::Display,
    Node: OutputType,
    Extra: ObjectType,
{
    let (previous, next) = around(request, page.more);
    let mut connection = Connection::with_additional_fields(previous, next, extra);
    connection.edges = page
        .rows
        .iter()
        .filter_map(|row| {
            let cursor = Cursor::new(request.order, &row.sort, &row.id.to_string()).encode();
            Some(Edge::new(cursor, node(row)?))
        })
        .collect();
    connection
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::assets::NEWEST;

    fn request(first: Option<i32>, after: Option<&str>, last: Option<i32>, before: Option<&str>) -> Result<Request> {
        let arguments = Arguments { first, after: after.map(Into::into), last, before: before.map(Into::into) };
        arguments.request(&NEWEST)
    }

    #[test]
    fn arguments_that_make_no_page_are_named() {
        for (asked, hint) in [
            (request(Some(1), None, Some(1), None), "last"),
            (request(Some(0), None, None, None), "first"),
            (request(Some(201), None, None, None), "first"),
            (request(None, None, Some(-1), None), "last"),
            (request(None, Some("x"), None, None), "after"),
            (request(None, None, Some(1), Some("x")), "before"),
            (request(None, Some("x"), Some(1), None), "after"),
            (request(Some(1), None, None, Some("x")), "before"),
        ] {
            assert_eq!(asked.expect_err(hint).hint_text(), Some(hint));
        }
        assert_eq!(request(None, None, None, None).expect("default").limit, 50);
    }

    #[test]
    fn cost_multiplies_and_does_not_overflow() {
        assert_eq!(cost(None, None, 3), 151);
        assert_eq!(cost(Some(2), None, 3), 7);
        assert_eq!(cost(Some(-5), None, 3), 1);
        assert_eq!(cost(Some(i32::MAX), None, usize::MAX), usize::MAX);
    }
}
