//! Whether there is anything at all.

use sea_orm::{FromQueryResult, Value};

use super::Db;
use crate::error::Result;

#[derive(FromQueryResult)]
struct Is {
    there: bool,
}

impl Db {
    /// Whether a query finds anything.
    ///
    /// # Errors
    /// As [`Db::all`].
    pub async fn is_there(&self, name: &'static str, query: &str, values: Vec<Value>) -> Result<bool> {
        let found: Option<Is> = self.one(name, &format!("select exists({query}) as there"), values).await?;
        Ok(found.is_some_and(|found| found.there))
    }

    /// The column `line` of all rows.
    ///
    /// # Errors
    /// As [`Self::all`].
    pub async fn lines(&self, name: &'static str, sql: &str) -> Result<Vec<String>> {
        #[derive(FromQueryResult)]
        struct Row {
            line: String,
        }
        Ok(self.all::<Row>(name, sql, vec![]).await?.into_iter().map(|row| row.line).collect())
    }
}
