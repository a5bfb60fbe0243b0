//! A row's columns, read one after another, in the order in which the statement selects them.
//!
//! Rows of pages are read by the ten thousand: looking a column up by its name, and comparing its type with the one that is
//! wanted, each take longer than reading it.

use std::str::FromStr;

use sea_orm::sqlx::postgres::PgRow;
use sea_orm::sqlx::types::Json;
use sea_orm::sqlx::{Decode, Postgres, Row, Type};
use sea_orm::{DbErr, FromQueryResult, QueryResult};
use serde::Deserialize;

/// What is left of a row.
pub struct Columns<'r> {
    row: &'r PgRow,
    next: usize,
}

impl<'r> Columns<'r> {
    /// All columns of a row.
    ///
    /// # Errors
    /// When the row is not PostgreSQL's.
    pub fn of(row: &'r QueryResult) -> Result<Self, DbErr> {
        let row = row.try_as_pg_row().ok_or_else(|| DbErr::Type("a row of another database".into()))?;
        Ok(Self { row, next: 0 })
    }

    /// The next column. That it is of the type wanted is checked in builds for tests: the statement says what it is.
    ///
    /// # Errors
    /// When there is none, or its value is not of the type.
    pub fn read<T: Decode<'r, Postgres> + Type<Postgres>>(&mut self) -> Result<T, DbErr> {
        let value = match cfg!(debug_assertions) {
            true => self.row.try_get(self.next),
            false => self.row.try_get_unchecked(self.next),
        };
        self.next += 1;
        value.map_err(|error| DbErr::Type(error.to_string()))
    }

    /// The next column, JSON.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn json<T: Deserialize<'r> + 'r>(&mut self) -> Result<T, DbErr> {
        self.read().map(|Json(value)| value)
    }

    /// The next column, the text of a `T`, which a constraint of its table says it is.
    ///
    /// # Errors
    /// When it is not, and as [`Self::read`].
    pub fn parsed<T: FromStr>(&mut self) -> Result<T, DbErr> {
        let text = self.read()?;
        parse(text)
    }

    /// The same where there may be nothing.
    ///
    /// # Errors
    /// As [`Self::parsed`].
    pub fn parsed_if_any<T: FromStr>(&mut self) -> Result<Option<T>, DbErr> {
        let text: Option<&str> = self.read()?;
        text.map(parse).transpose()
    }
}

/// What is read from a row's columns, in their order.
pub trait FromColumns: Sized {
    /// Reads as many of the columns as it has.
    ///
    /// # Errors
    /// As [`Columns::read`].
    fn from_columns(columns: &mut Columns<'_>) -> Result<Self, DbErr>;
}

/// A row that is read in the order of its columns.
pub struct InOrder<T>(pub T);

impl<T: FromColumns> FromQueryResult for InOrder<T> {
    fn from_query_result(row: &QueryResult, _: &str) -> Result<Self, DbErr> {
        T::from_columns(&mut Columns::of(row)?).map(Self)
    }
}

/// A row of a page: what it is sorted by, as text, and the value.
impl<T: FromColumns> FromColumns for (String, T) {
    fn from_columns(columns: &mut Columns<'_>) -> Result<Self, DbErr> {
        Ok((columns.read()?, T::from_columns(columns)?))
    }
}

/// A row of one of several pages: the page's place, counted from one, and the row.
impl<T: FromColumns> FromColumns for (i64, T) {
    fn from_columns(columns: &mut Columns<'_>) -> Result<Self, DbErr> {
        Ok((columns.read()?, T::from_columns(columns)?))
    }
}

fn parse<T: FromStr>(text: &str) -> Result<T, DbErr> {
    text.parse().map_err(|_| DbErr::Type(format!("the text of no {}: {text:?}", std::any::type_name::<T>())))
}
