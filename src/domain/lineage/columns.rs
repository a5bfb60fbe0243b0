//! Which columns of a dataset were made of which: what its facet `columnLineage` says
//! (`https://openlineage.io/spec/facets/1-2-0/ColumnLineageDatasetFacet.json`).

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::Named;
use super::graph::Lineage;
use super::store;
use crate::cache::{Cached, Key, Kind, Loaded};
use crate::coherence::Tag;
use crate::domain::caller::Caller;
use crate::error::Result;

/// A column that was made of a column of another dataset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Column {
    /// The dataset that was read.
    pub dataset: Named,
    /// Its column.
    pub from: String,
    /// The column that was made of it.
    pub to: String,
}

/// The columns of a dataset, by what they were made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns(pub Vec<Column>);

impl Cached for Columns {
    const KIND: Kind = Kind::Lineage;

    fn size(&self) -> usize {
        self.0.iter().map(|column| 60 + column.dataset.bytes() + column.from.len() + column.to.len()).sum()
    }
}

impl Columns {
    /// Reads the facet; what is not as the specification has it is passed over.
    fn read(facet: &Value) -> Self {
        let text = |value: &Value, name: &str| value[name].as_str().map(str::to_owned);
        let mut columns = BTreeSet::new();
        for (to, field) in facet["fields"].as_object().into_iter().flatten() {
            let inputs = field["inputFields"].as_array().into_iter().flatten();
            columns.extend(inputs.filter_map(|input| {
                let dataset = Named { namespace: text(input, "namespace")?, name: text(input, "name")? };
                Some(Column { dataset, from: text(input, "field")?, to: to.clone() })
            }));
        }
        Self(columns.into_iter().collect())
    }

    /// Those that were made of a dataset's columns: `(its column, the column that was made of it)`.
    pub fn of<'a>(&'a self, dataset: &'a Named) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
        // Sorted by dataset.
        let first = self.0.partition_point(|column| column.dataset < *dataset);
        let all = self.0[first..].iter().take_while(move |column| column.dataset == *dataset);
        all.map(|column| (column.from.as_str(), column.to.as_str()))
    }
}

impl Lineage {
    /// What is said of the columns of datasets, in order. One statement for those not cached.
    ///
    /// # Errors
    /// `lineage-too-large` when all that is said is; `unavailable` or `timeout` when the database does not answer.
    pub async fn columns(&self, caller: &Caller, datasets: &[Named]) -> Result<Vec<Option<Arc<Columns>>>> {
        let key = |named: &Named| Key::new(format!("ol:cache:lineage:columns:{}", named.key()));
        let db = self.db.clone();
        let load = move |datasets: Vec<Named>| {
            let db = db.clone();
            async move {
                let mut found = store::column_facets(&db, &datasets).await?;
                let loaded = datasets.iter().map(|named| {
                    let key = named.key();
                    let value = found.remove(&key).map(|facet| Columns::read(&facet));
                    Loaded { value, tags: vec![Tag::new(format!("lineage_dataset:{key}"))] }
                });
                Ok(loaded.collect())
            }
            .boxed()
        };
        self.cache.get_many(caller.ledger(), datasets, key, load).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_facet_is_read_as_far_as_it_is_one() {
        let named = |name: &str| Named { namespace: "n".into(), name: name.into() };
        let input = |name: &str, field: &str| json!({"namespace": "n", "name": name, "field": field});
        let columns = Columns::read(&json!({"fields": {
            "sum": {"inputFields": [input("b", "x"), input("a", "y"), input("a", "x"), input("a", "x"), {"name": "a"}, 5]},
            "none": {}, "odd": {"inputFields": 7},
        }}));
        assert_eq!(columns.of(&named("a")).collect::<Vec<_>>(), [("x", "sum"), ("y", "sum")]);
        assert_eq!(columns.of(&named("b")).collect::<Vec<_>>(), [("x", "sum")]);
        assert_eq!((columns.of(&named("c")).count(), columns.0.len()), (0, 3));
        assert_eq!(Columns::read(&json!([])), Columns(Vec::new()));
    }
}
