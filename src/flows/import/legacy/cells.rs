//! A row of an old installation, and reading its cells: times as epoch seconds, JSON as text, hex in any case. All that is wrong
//! with a row is told at once.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDateTime, Utc};
use overlay_entity::ids::VersionId;
use serde_json::Value;

/// Longest cell that is read, bytes.
pub(super) const MAX_CELL: usize = 4 << 20;

/// What is in a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A whole number.
    Whole(i64),
    /// Another number.
    Real(f64),
    /// A text.
    Text(String),
    /// Something that cannot be taken: what.
    Unreadable(&'static str),
}

/// A row, its cells by the names of their columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// SQLite's `rowid`.
    pub number: i64,
    /// The cells.
    pub cells: BTreeMap<String, Cell>,
}

/// Above this, a number is a time in milliseconds: as seconds it would be in the year 5138.
const MILLISECONDS: i64 = 100_000_000_000;

/// Reads a row; what is not as it should be is noted, and reading goes on.
pub(super) struct Reader<'a> {
    row: &'a Row,
    faults: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(row: &'a Row) -> Self {
        Self { row, faults: Vec::new() }
    }

    /// `value`, if nothing was wrong.
    pub(super) fn end<T>(self, value: impl FnOnce() -> Option<T>) -> Result<T, Vec<String>> {
        match value() {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ if self.faults.is_empty() => Err(vec!["the row cannot be read".into()]),
            _ => Err(self.faults),
        }
    }

    pub(super) fn fault(&mut self, text: impl Into<String>) {
        self.faults.push(text.into());
    }

    /// The first of these columns that holds something, and its name: what one version of the old schema called `name`,
    /// another called `display_name`.
    fn cell<'n>(&self, names: &[&'n str]) -> Option<(&'n str, &'a Cell)> {
        let held = |name: &&'n str| self.row.cells.get(*name).filter(|cell| **cell != Cell::Null).map(|c| (*name, c));
        names.iter().find_map(held)
    }

    /// A text; `None` for an empty one.
    pub(super) fn text(&mut self, names: &[&str]) -> Option<String> {
        let (name, text) = match self.cell(names)? {
            (name, Cell::Text(text)) => (name, text.clone()),
            (name, Cell::Whole(number)) => (name, number.to_string()),
            (name, Cell::Real(number)) => (name, number.to_string()),
            (name, Cell::Unreadable(what)) => {
                self.fault(format!("{name}: {what}"));
                return None;
            }
            (_, Cell::Null) => return None,
        };
        if text.contains('\0') {
            self.fault(format!("{name}: holds a NUL"));
            return None;
        }
        (!text.trim().is_empty()).then_some(text)
    }

    /// A text that must be there, of `most` bytes.
    pub(super) fn named(&mut self, names: &[&str], most: usize) -> Option<String> {
        let faults = self.faults.len();
        let text = self.text(names);
        match &text {
            None if self.faults.len() == faults => self.fault(format!("{}: is missing", names[0])),
            Some(text) if text.len() > most => self.fault(format!("{}: is longer than {most} bytes", names[0])),
            _ => {}
        }
        text
    }

    /// A whole number from `least` to `most`.
    pub(super) fn whole(&mut self, name: &str, least: i64, most: i64) -> Option<i64> {
        let number = match self.cell(&[name])?.1 {
            Cell::Whole(number) => Some(*number),
            Cell::Real(number) if number.fract() == 0.0 && number.abs() < 9e15 => Some(*number as i64),
            Cell::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        if !number.is_some_and(|number| (least..=most).contains(&number)) {
            self.fault(format!("{name}: must be a whole number from {least} to {most}"));
            return None;
        }
        number
    }

    /// Whether a flag is set.
    pub(super) fn flag(&mut self, name: &str, default: bool) -> bool {
        match self.cell(&[name]).map(|(_, cell)| cell) {
            None => default,
            Some(Cell::Whole(0)) => false,
            Some(Cell::Whole(1)) => true,
            Some(Cell::Text(text)) if ["true", "1"].contains(&text.as_str()) => true,
            Some(Cell::Text(text)) if ["false", "0"].contains(&text.as_str()) => false,
            Some(_) => {
                self.fault(format!("{name}: must be 0 or 1"));
                default
            }
        }
    }

    /// A time: epoch seconds, as the old server wrote them; milliseconds and ISO texts of its relatives.
    pub(super) fn instant(&mut self, name: &str) -> Option<DateTime<Utc>> {
        let number = |number: i64| match number {
            _ if number.abs() >= MILLISECONDS => DateTime::from_timestamp_millis(number),
            _ => DateTime::from_timestamp(number, 0),
        };
        let time = match self.cell(&[name])?.1 {
            Cell::Whole(seconds) => number(*seconds),
            Cell::Real(seconds) if seconds.abs() < 9e15 => number(*seconds as i64),
            Cell::Text(text) => written(text.trim()).or_else(|| number(text.trim().parse().ok()?)),
            _ => None,
        };
        let time = time.filter(|time| (1..=9_999).contains(&time.year()));
        if time.is_none() {
            self.fault(format!("{name}: is no time"));
        }
        time
    }

    /// A time that must be there.
    pub(super) fn instant_of(&mut self, name: &str) -> Option<DateTime<Utc>> {
        if self.cell(&[name]).is_none() {
            self.fault(format!("{name}: is missing"));
        }
        self.instant(name)
    }

    /// JSON in a text.
    pub(super) fn json(&mut self, names: &[&str]) -> Option<Value> {
        let text = self.text(names)?;
        self.parsed(names[0], &text)
    }

    /// JSON in a text of `most` bytes that must be there.
    pub(super) fn document(&mut self, name: &str, most: usize) -> Option<Value> {
        let text = self.named(&[name], most)?;
        self.parsed(name, &text)
    }

    fn parsed(&mut self, name: &str, text: &str) -> Option<Value> {
        match serde_json::from_str(text) {
            Ok(Value::Null) => None,
            Ok(value) if crate::domain::has_nul(&value) => {
                self.fault(format!("{name}: holds a NUL"));
                None
            }
            Ok(value) => Some(value),
            Err(cause) => {
                self.fault(format!("{name}: not JSON: {cause}"));
                None
            }
        }
    }

    /// Hex digits, in lower case.
    pub(super) fn hex(&mut self, name: &str, length: Option<usize>) -> Option<String> {
        let text = self.text(&[name])?.trim().to_ascii_lowercase();
        let right = length.is_none_or(|length| text.len() == length) && text.len().is_multiple_of(2);
        if !right || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let digits = length.map_or("hex digits in pairs".to_owned(), |length| format!("{length} hex digits"));
            self.fault(format!("{name}: must be {digits}"));
            return None;
        }
        Some(text)
    }

    /// A version's identifier that must be there.
    pub(super) fn version(&mut self, name: &str) -> Option<VersionId> {
        if self.cell(&[name]).is_none() {
            self.fault(format!("{name}: is missing"));
        }
        self.hex(name, Some(64))?.parse().ok()
    }
}

/// A time as RFC 3339 or as SQLite's `datetime()` writes it, which is UTC.
fn written(text: &str) -> Option<DateTime<Utc>> {
    let zoned = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    zoned.ok().or_else(|| Some(NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()?.and_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(cell: Cell, read: impl Fn(&mut Reader<'_>) -> Option<T>) -> Result<T, Vec<String>> {
        let row = Row { number: 1, cells: [("c".to_owned(), cell)].into() };
        let mut reader = Reader::new(&row);
        let value = read(&mut reader);
        reader.end(|| value)
    }

    #[test]
    fn times_of_all_spellings() {
        let of = |cell| read(cell, |reader| reader.instant("c")).map(|time| time.to_rfc3339());
        let moment = Ok("2024-01-02T03:04:05+00:00".to_owned());
        assert_eq!(of(Cell::Whole(1_704_164_645)), moment);
        assert_eq!(of(Cell::Whole(1_704_164_645_000)), moment);
        assert_eq!(of(Cell::Real(1_704_164_645.0)), moment);
        assert_eq!(of(Cell::Text("1704164645".into())), moment);
        assert_eq!(of(Cell::Text("2024-01-02 03:04:05".into())), moment);
        assert_eq!(of(Cell::Text("2024-01-02T04:04:05+01:00".into())), moment);
        for wrong in [Cell::Text("yesterday".into()), Cell::Whole(i64::MAX), Cell::Unreadable("is a blob")] {
            assert_eq!(of(wrong), Err(vec!["c: is no time".to_owned()]));
        }
    }

    #[test]
    fn hex_in_any_case_and_nothing_else() {
        let of = |text: &str| read(Cell::Text(text.into()), |reader| reader.hex("c", None)).ok();
        assert_eq!(of("AbCd").as_deref(), Some("abcd"));
        assert_eq!((of("abc"), of("zz"), of(" ")), (None, None, None));
        assert_eq!(read(Cell::Text("A\0".into()), |r| r.text(&["c"])), Err(vec!["c: holds a NUL".to_owned()]));
    }

    #[test]
    fn numbers_within_bounds() {
        let of = |cell| read(cell, |reader| reader.whole("c", 1, 10)).ok();
        assert_eq!(
            (of(Cell::Whole(10)), of(Cell::Real(2.0)), of(Cell::Text(" 3 ".into()))),
            (Some(10), Some(2), Some(3))
        );
        assert_eq!((of(Cell::Whole(11)), of(Cell::Real(2.5)), of(Cell::Text("x".into()))), (None, None, None));
    }
}
