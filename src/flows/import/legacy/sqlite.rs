//! Reading the SQLite file of an old installation, as it stood at one moment.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, params};

use super::Source;
use super::cells::{Cell, MAX_CELL, Row};
use crate::error::{Error, Result};
use crate::flows::import::digest::digest;

/// An open file.
pub struct Sqlite {
    connection: Connection,
    name: String,
}

fn unreadable(cause: rusqlite::Error) -> Error {
    Error::invalid(
        "the file cannot be read as a SQLite database: is it whole, and no copy of one that was being written?",
    )
    .because(cause)
}

/// A name in SQL; the names come from the file.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Where SQLite keeps what is not yet in the file itself.
fn log_of(file: &Path) -> std::path::PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

impl Sqlite {
    /// Opens a file for reading. What is written to it later is not seen.
    ///
    /// # Errors
    /// `bad-request` when it is no SQLite database, with what to do.
    pub fn open(file: &Path) -> Result<Self> {
        // A pipe would be waited for without end.
        if !std::fs::metadata(file).is_ok_and(|found| found.is_file()) {
            return Err(Error::invalid(format!("there is no file {}", file.display())));
        }
        let log = log_of(file);
        let has_log = std::fs::metadata(&log).is_ok_and(|log| log.len() > 0);
        let (hex, _bytes) = digest(&[file, &log][..1 + usize::from(has_log)])?;
        // Without a log the file is all there is, and can be read where nothing may be written, as from a read-only disk.
        let mut address = url::Url::from_file_path(std::path::absolute(file).map_err(Error::internal)?)
            .map_err(|()| Error::invalid("the file's name has no address"))?;
        address.set_query(Some(if has_log { "mode=ro" } else { "mode=ro&immutable=1" }));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(address.as_str(), flags).map_err(unreadable)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(unreadable)?;
        // One transaction to the end: all tables as of one moment.
        connection.execute_batch("begin; select count(*) from sqlite_schema;").map_err(unreadable)?;
        Ok(Self { connection, name: format!("sqlite:{}", hex) })
    }
}

impl Sqlite {
    /// What a table calls the number of its rows: the first of SQLite's names for it that is no column of its own.
    fn number_of(&self, table: &str) -> Result<&'static str> {
        let sql = format!("select * from {} limit 0", quoted(table));
        let columns = self.connection.prepare_cached(&sql).map_err(unreadable)?;
        let is_own = |name: &&str| columns.column_names().iter().any(|own| own.eq_ignore_ascii_case(name));
        let message = || Error::invalid(format!("the rows of `{table}` have no number that they could be read by"));
        ["rowid", "_rowid_", "oid"].into_iter().find(|name| !is_own(name)).ok_or_else(message)
    }
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Whole(number),
        ValueRef::Real(number) => Cell::Real(number),
        ValueRef::Text(text) if text.len() > MAX_CELL => Cell::Unreadable("is longer than 4 MiB"),
        ValueRef::Text(text) => {
            str::from_utf8(text).map_or(Cell::Unreadable("is not UTF-8"), |text| Cell::Text(text.to_owned()))
        }
        ValueRef::Blob(_) => Cell::Unreadable("is a blob"),
    }
}

impl Source for Sqlite {
    fn name(&self) -> &str {
        &self.name
    }

    fn tables(&mut self) -> Result<Vec<(String, u64)>> {
        const SQL: &str = "select name from sqlite_schema where type = 'table' and name not like 'sqlite\\_%' escape '\\' order by name";
        let mut names = self.connection.prepare(SQL).map_err(unreadable)?;
        let names = names.query_map([], |row| row.get::<_, String>(0)).map_err(unreadable)?;
        names
            .map(|name| {
                // As SQLite compares them.
                let name = name.map_err(unreadable)?.to_lowercase();
                let sql = format!("select count(*) from {}", quoted(&name));
                let count: i64 = self.connection.query_row(&sql, [], |row| row.get(0)).map_err(unreadable)?;
                Ok((name, count.unsigned_abs()))
            })
            .collect()
    }

    fn rows(&mut self, table: &str, after: Option<i64>, most: usize, bytes: usize) -> Result<Vec<Row>> {
        let number = self.number_of(table)?;
        let beyond = if after.is_some() { ">" } else { ">=" };
        let sql =
            format!("select {number}, * from {} where {number} {beyond} ?1 order by {number} limit ?2", quoted(table));
        let mut statement = self.connection.prepare_cached(&sql).map_err(unreadable)?;
        let names: Vec<String> = statement.column_names().into_iter().map(str::to_lowercase).collect();
        let most = i64::try_from(most).map_err(Error::internal)?;
        let mut found = statement.query(params![after.unwrap_or(i64::MIN), most]).map_err(unreadable)?;
        let (mut rows, mut size) = (Vec::new(), 0);
        while let Some(row) = found.next().map_err(unreadable)? {
            let mut cells = std::collections::BTreeMap::new();
            for (at, name) in names.iter().enumerate().skip(1) {
                let cell = cell(row.get_ref(at).map_err(unreadable)?);
                size += if let Cell::Text(text) = &cell { text.len() } else { 8 };
                cells.insert(name.clone(), cell);
            }
            rows.push(Row { number: row.get(0).map_err(unreadable)?, cells });
            if size >= bytes {
                break;
            }
        }
        Ok(rows)
    }

    fn row_at(&mut self, table: &str, count: u64) -> Result<Option<i64>> {
        let Some(before) = count.checked_sub(1) else { return Ok(None) };
        let number = self.number_of(table)?;
        let sql = format!("select {number} from {} order by {number} limit 1 offset ?1", quoted(table));
        let before = i64::try_from(before).map_err(Error::internal)?;
        match self.connection.query_row(&sql, params![before], |row| row.get(0)) {
            Ok(number) => Ok(Some(number)),
            Err(rusqlite::Error::QueryReturnedNoRows) => Ok(None),
            Err(cause) => Err(unreadable(cause)),
        }
    }
}
