//! The ways from object to object, and from the root to objects.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};

use super::arguments::Arguments;
use super::tree::{Column, Noun, Relation, Selection, ToMany, ToOne, Values, distinct, present};
use super::{Fetched, Run};
use crate::domain::assets::{self, Asset};

/// A field of the root.
pub(super) trait Entry: Send + Sync {
    /// What the field costs, itself included; never less than the schema says.
    fn cost(&self, run: Run<'_>) -> Option<usize>;

    /// Its value, as the only one of a column.
    fn fetch<'p>(&'p self, run: Run<'p>) -> BoxFuture<'p, Fetched<Box<dyn Column + 'p>>>;
}

/// One object by its identifier, which `id` reads from the arguments.
pub(super) struct ById<N: Noun> {
    pub(super) arguments: Arguments,
    pub(super) of: Selection<N>,
    pub(super) id: fn(&Arguments, Run<'_>) -> Option<N::Id>,
}

impl<N: Noun> Entry for ById<N> {
    fn cost(&self, run: Run<'_>) -> Option<usize> {
        Some(self.of.cost(run)?.saturating_add(1))
    }

    fn fetch<'p>(&'p self, run: Run<'p>) -> BoxFuture<'p, Fetched<Box<dyn Column + 'p>>> {
        async move {
            let id = (self.id)(&self.arguments, run)?;
            Some(Box::new(ToOne::fetch(run, &self.of, std::iter::once(id)).await?) as _)
        }
        .boxed()
    }
}

/// The object that `id` names.
pub(super) struct One<N, T: Noun> {
    pub(super) of: Selection<T>,
    pub(super) id: fn(&N) -> T::Id,
}

impl<N: Send + Sync, T: Noun> Relation<N> for One<N, T> {
    fn cost(&self, run: Run<'_>) -> Option<usize> {
        Some(self.of.cost(run)?.saturating_add(1))
    }

    fn fetch<'a, 'p: 'a>(&'p self, run: Run<'p>, items: &'a [Arc<N>]) -> BoxFuture<'a, Fetched<Box<dyn Column + 'p>>> {
        async move {
            let ids = items.iter().map(|item| (self.id)(item));
            Some(Box::new(ToOne::fetch(run, &self.of, ids).await?) as _)
        }
        .boxed()
    }
}

/// The published parents of an asset.
pub(super) struct ParentsOf {
    pub(super) arguments: Arguments,
    pub(super) of: Selection<Asset>,
}

impl Relation<Asset> for ParentsOf {
    fn cost(&self, run: Run<'_>) -> Option<usize> {
        self.arguments.cost(run, self.of.cost(run)?)
    }

    fn fetch<'a, 'p: 'a>(
        &'p self, run: Run<'p>, items: &'a [Arc<Asset>],
    ) -> BoxFuture<'a, Fetched<Box<dyn Column + 'p>>> {
        async move {
            let limit = self.arguments.page(run, &assets::CHILDREN)?.limit as usize;
            let (versions, at) = distinct(items.iter().map(|item| item.version_id));
            let parents = run.app.assets.parents(run.caller, &versions).await.ok()?;
            let first = |parents: &Option<Arc<assets::Parents>>| {
                parents.iter().flat_map(|p| p.0.iter().copied().take(limit)).collect::<Vec<_>>()
            };
            let wanted: Vec<Vec<_>> = parents.iter().map(first).collect();
            let (ids, places) = distinct(wanted.iter().flatten().copied());
            let (published, present) = present(Asset::many(run, &ids).await?);
            let mut places = places.into_iter().map(|place| present[place]);
            let mut lists: Vec<Vec<usize>> = Vec::with_capacity(wanted.len());
            for (wanted, all) in wanted.iter().zip(&parents) {
                let list: Vec<usize> = places.by_ref().take(wanted.len()).flatten().collect();
                // Some are not published: others stand in for them, which is rare.
                if list.len() < wanted.len() && all.as_ref().is_some_and(|all| all.0.len() > wanted.len()) {
                    return None;
                }
                lists.push(list);
            }
            let of = self.of.fetch(run, published).await?;
            let lists = at.into_iter().map(|at| lists[at].clone()).collect();
            Some(Box::new(ToMany { of, lists }) as _)
        }
        .boxed()
    }
}

/// Answers one value for each object of a batch.
type Find<N, T> = for<'a> fn(Run<'a>, &'a [Arc<N>]) -> BoxFuture<'a, Fetched<Vec<T>>>;

/// Values that no selection is made of: `find` answers one for each object of a batch.
pub(super) struct Plain<N, T> {
    pub(super) cost: usize,
    pub(super) find: Find<N, T>,
    pub(super) write: fn(&T, &mut Vec<u8>),
}

impl<N: Send + Sync, T: Send + Sync + 'static> Relation<N> for Plain<N, T> {
    fn cost(&self, _: Run<'_>) -> Option<usize> {
        Some(self.cost)
    }

    fn fetch<'a, 'p: 'a>(&'p self, run: Run<'p>, items: &'a [Arc<N>]) -> BoxFuture<'a, Fetched<Box<dyn Column + 'p>>> {
        async move {
            let of = (self.find)(run, items).await?;
            Some(Box::new(Values { of, write: self.write }) as _)
        }
        .boxed()
    }
}
