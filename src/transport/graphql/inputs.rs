//! How assets are ordered and filtered, as queries say it.

use async_graphql::{Enum, InputObject};

use crate::domain::assets::{self, Filter};
use crate::domain::check_query;
use crate::domain::page::Order;
use crate::error::Error;

/// How assets are ordered; equals by version id.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(super) enum AssetOrder {
    /// Last changed first.
    UpdatedAtDesc,
    /// Last changed last.
    UpdatedAtAsc,
    /// Made last first.
    CreatedAtDesc,
    /// Made first first.
    CreatedAtAsc,
    /// By name.
    NameAsc,
    /// By name, backwards.
    NameDesc,
}

impl AssetOrder {
    pub(super) fn order(self) -> &'static Order {
        match self {
            Self::UpdatedAtDesc => &assets::NEWEST,
            Self::UpdatedAtAsc => &assets::OLDEST,
            Self::CreatedAtDesc => &assets::CREATED_DESC,
            Self::CreatedAtAsc => &assets::CREATED_ASC,
            Self::NameAsc => &assets::NAME_ASC,
            Self::NameDesc => &assets::NAME_DESC,
        }
    }
}

/// A whole number that counts something: GraphQL's `Int` has a sign.
///
/// # Errors
/// `bad-request` naming the argument when it is below 0.
pub(super) fn whole(asked: Option<i32>, name: &'static str) -> Result<Option<u32>, Error> {
    let whole = asked.map(u32::try_from).transpose();
    whole.map_err(|_| Error::invalid(format!("`{name}` must be a whole number, 0 or more")).hint(name))
}

/// A condition on a text that is compared whole. `eq` and `in` exclude each other.
#[derive(InputObject, Default)]
struct TextIs {
    /// Equal to this.
    eq: Option<String>,
    /// Equal to one of these, at most 100.
    r#in: Option<Vec<String>>,
}

/// A condition on a name. The conditions given are joined with *and*.
#[derive(InputObject, Default)]
struct TextLike {
    /// Equal to this.
    eq: Option<String>,
    /// Contains this, without regard to case.
    contains: Option<String>,
}

/// What assets are narrowed to. Conditions on different fields are joined with *and*.
#[derive(InputObject, Default)]
pub(super) struct AssetFilter {
    /// Name or description contain this text, without regard to case.
    text: Option<String>,
    /// The asset's name.
    name: Option<TextLike>,
    /// The dataset.
    dataset_id: Option<TextIs>,
    /// The producer.
    producer_id: Option<TextIs>,
    /// The classification.
    classification: Option<TextIs>,
    /// The licence.
    license: Option<TextIs>,
}

/// Most values of an `in`.
const MAX_IN: usize = 100;

impl AssetFilter {
    pub(super) fn filter(self) -> Result<Filter, Error> {
        if let Some(text) = &self.text {
            check_query(text, "filter.text")?;
        }
        let name = self.name.unwrap_or_default();
        if let Some(part) = &name.contains {
            check_query(part, "filter.name.contains")?;
        }
        Ok(Filter {
            text: self.text,
            name: name.eq.map(|eq| one(eq, "filter.name")).transpose()?,
            name_contains: name.contains,
            datasets: any(self.dataset_id, "filter.datasetId")?,
            producers: any(self.producer_id, "filter.producerId")?,
            classifications: any(self.classification, "filter.classification")?,
            licenses: any(self.license, "filter.license")?,
        })
    }
}

fn one(value: String, name: &'static str) -> Result<String, Error> {
    if value.contains('\0') || value.chars().count() > 500 {
        return Err(Error::invalid(format!("`{name}` must be at most 500 characters, without NUL")).hint(name));
    }
    Ok(value)
}

fn any(condition: Option<TextIs>, name: &'static str) -> Result<Option<Vec<String>>, Error> {
    let values = match condition {
        None | Some(TextIs { eq: None, r#in: None }) => return Ok(None),
        Some(TextIs { eq: Some(eq), r#in: None }) => vec![eq],
        Some(TextIs { eq: None, r#in: Some(values) }) if values.len() <= MAX_IN => values,
        Some(_) => {
            let message = format!("`{name}` takes `eq` or `in` (at most {MAX_IN} values), not both");
            return Err(Error::invalid(message).hint(name));
        }
    };
    let mut values: Vec<String> = values.into_iter().map(|v| one(v, name)).collect::<Result<_, _>>()?;
    values.sort_unstable();
    values.dedup();
    Ok(Some(values))
}
