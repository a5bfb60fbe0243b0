//! Selections, what was fetched for them, and how it is written.

use std::fmt::Display;
use std::hash::Hash;
use std::sync::Arc;

use async_graphql::parser::types::Field;
use futures_util::future::{BoxFuture, FutureExt, join_all};

use super::compile::Compiler;
use super::{Fetched, Run};

/// A field's name in the answer, written as `"name":`. Names are letters, digits and `_`.
pub(super) struct Key(Box<str>);

impl Key {
    pub(super) fn new(name: &str) -> Self {
        Self(format!(",\"{name}\":").into())
    }

    /// Writes it as the `at`th of its object.
    pub(super) fn write(&self, out: &mut Vec<u8>, at: usize) {
        out.extend_from_slice(&self.0.as_bytes()[usize::from(at == 0)..]);
    }
}

/// Writes one field of an object.
pub(super) type Leaf<N> = fn(&N, &mut Vec<u8>);

/// A type of the schema whose objects the rooms find by identifier.
pub(super) trait Noun: Send + Sync + Sized + 'static {
    /// Its name in the schema.
    const NAME: &'static str;
    type Id: Clone + Eq + Hash + Display + Send + Sync + 'static;

    /// A field that the object itself holds.
    fn leaf(name: &str) -> Option<Leaf<Self>>;

    /// Any other field, with the name of what it leads to: of each there may be one in a selection, since two would be two
    /// statements where the general executor has one.
    fn relation(name: &str, field: &Field, compiler: &Compiler<'_>) -> Option<(&'static str, Box<dyn Relation<Self>>)>;

    /// The objects of `ids`, no two of which are the same.
    fn many<'a>(run: Run<'a>, ids: &'a [Self::Id]) -> BoxFuture<'a, Fetched<Vec<Option<Arc<Self>>>>>;
}

/// A field that leads from objects to others.
pub(super) trait Relation<N>: Send + Sync {
    /// What the field costs, itself included; never less than the schema says.
    fn cost(&self, run: Run<'_>) -> Option<usize>;

    /// What it leads to from each of `items`.
    fn fetch<'a, 'p: 'a>(&'p self, run: Run<'p>, items: &'a [Arc<N>]) -> BoxFuture<'a, Fetched<Box<dyn Column + 'p>>>;
}

/// The values of one field, one for each object of a batch.
pub(super) trait Column: Send + Sync {
    /// Writes the value of the `at`th object.
    fn write(&self, out: &mut Vec<u8>, at: usize);
}

pub(super) enum Kind<N> {
    Typename,
    Leaf(Leaf<N>),
    /// By place in [`Selection::relations`].
    Relation(usize),
}

/// The fields wanted of objects of one type.
pub(super) struct Selection<N> {
    pub(super) fields: Vec<(Key, Kind<N>)>,
    pub(super) relations: Vec<Box<dyn Relation<N>>>,
}

impl<N: Noun> Selection<N> {
    pub(super) fn cost(&self, run: Run<'_>) -> Option<usize> {
        let own = self.fields.len() - self.relations.len();
        self.relations.iter().try_fold(own, |sum, relation| Some(sum.saturating_add(relation.cost(run)?)))
    }

    /// What the selection needs of `items` beside themselves.
    pub(super) async fn fetch<'p>(&'p self, run: Run<'p>, items: Vec<Arc<N>>) -> Fetched<Objects<'p, N>> {
        let columns = match &self.relations[..] {
            [] => Vec::new(),
            _ if items.is_empty() => Vec::new(),
            [one] => vec![one.fetch(run, &items).await?],
            many => {
                let columns = join_all(many.iter().map(|relation| relation.fetch(run, &items))).await;
                columns.into_iter().collect::<Option<_>>()?
            }
        };
        Some(Objects { selection: self, items, columns, most: run.most })
    }
}

/// Objects with everything that was selected of them.
pub(super) struct Objects<'p, N> {
    selection: &'p Selection<N>,
    items: Vec<Arc<N>>,
    columns: Vec<Box<dyn Column + 'p>>,
    /// Bytes that the answer may take.
    most: usize,
}

impl<N: Noun> Column for Objects<'_, N> {
    fn write(&self, out: &mut Vec<u8>, at: usize) {
        // It is too large already: there is no use in what else it says.
        if out.len() > self.most {
            return;
        }
        out.push(b'{');
        for (place, (key, kind)) in self.selection.fields.iter().enumerate() {
            key.write(out, place);
            match kind {
                Kind::Leaf(write) => write(&self.items[at], out),
                Kind::Typename => text(out, N::NAME),
                Kind::Relation(relation) => self.columns[*relation].write(out, at),
            }
        }
        out.push(b'}');
    }
}

/// For each object of a batch one other, or none. What several share is there once.
pub(super) struct ToOne<'p, N> {
    of: Objects<'p, N>,
    at: Vec<Option<usize>>,
}

impl<'p, N: Noun> ToOne<'p, N> {
    /// Finds the objects of `ids`, one for each of the batch.
    pub(super) async fn fetch(
        run: Run<'p>, selection: &'p Selection<N>, ids: impl Iterator<Item = N::Id>,
    ) -> Fetched<Self> {
        let (ids, wanted) = distinct(ids);
        let found = N::many(run, &ids).await?;
        let (items, at) = present(found);
        let of = selection.fetch(run, items).boxed().await?;
        Some(Self { of, at: wanted.into_iter().map(|wanted| at[wanted]).collect() })
    }
}

impl<N: Noun> Column for ToOne<'_, N> {
    fn write(&self, out: &mut Vec<u8>, at: usize) {
        match self.at[at] {
            Some(at) => self.of.write(out, at),
            None => out.extend_from_slice(b"null"),
        }
    }
}

/// For each object of a batch a list of others.
pub(super) struct ToMany<'p, N> {
    pub(super) of: Objects<'p, N>,
    pub(super) lists: Vec<Vec<usize>>,
}

impl<N: Noun> Column for ToMany<'_, N> {
    fn write(&self, out: &mut Vec<u8>, at: usize) {
        list(out, &self.lists[at], |out, at| self.of.write(out, *at));
    }
}

/// Values that are no objects, one for each object of a batch.
pub(super) struct Values<T> {
    pub(super) of: Vec<T>,
    pub(super) write: fn(&T, &mut Vec<u8>),
}

impl<T: Send + Sync> Column for Values<T> {
    fn write(&self, out: &mut Vec<u8>, at: usize) {
        (self.write)(&self.of[at], out);
    }
}

/// Each of the keys once, and where each stands among those.
pub(super) fn distinct<K: Clone + Eq + Hash>(keys: impl Iterator<Item = K>) -> (Vec<K>, Vec<usize>) {
    let (mut places, mut order) = (std::collections::HashMap::new(), Vec::new());
    let at = keys
        .map(|key| {
            *places.entry(key).or_insert_with_key(|key| {
                order.push(key.clone());
                order.len() - 1
            })
        })
        .collect();
    (order, at)
}

/// The items that are there, and the place of each among them.
pub(super) fn present<T>(found: Vec<Option<T>>) -> (Vec<T>, Vec<Option<usize>>) {
    let mut items = Vec::with_capacity(found.len());
    let at = found
        .into_iter()
        .map(|item| {
            items.push(item?);
            Some(items.len() - 1)
        })
        .collect();
    (items, at)
}

pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a text is JSON, and memory takes every write");
}

pub(super) fn list<T>(out: &mut Vec<u8>, items: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}
