//! Merges loads of one kind that are asked for while others are under way, as a database merges commits: the busier it
//! is, the more identifiers a statement has, and alone nobody waits.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tracing::{Instrument, Span};

use crate::db::tally::{self, Tally};
use crate::error::{Error, Result};

/// Statements of one kind that run at a time.
const AT_ONCE: usize = 2;

/// Most identifiers in one statement.
const MOST: usize = 1_000;

type Find<I, V> = dyn Fn(Vec<I>) -> BoxFuture<'static, Result<HashMap<I, V>>> + Send + Sync;

/// One kind of load: finds values by identifier. Cheap to clone.
pub struct Merge<I, V> {
    inner: Arc<Inner<I, V>>,
}

impl<I, V> Clone for Merge<I, V> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

struct Inner<I, V> {
    find: Box<Find<I, V>>,
    queue: Mutex<Queue<I, V>>,
}

struct Queue<I, V> {
    running: usize,
    waiting: Vec<Waiting<I, V>>,
}

struct Waiting<I, V> {
    ids: Vec<I>,
    /// Whom the statement is for, in traces and in what a request costs.
    span: Span,
    tally: Option<Arc<Tally>>,
    answer: oneshot::Sender<Result<HashMap<I, V>>>,
}

impl<I, V> Merge<I, V>
where
    I: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + 'static,
{
    /// A load that `find` does with `what` it needs; what it leaves out does not exist.
    pub fn new<W, F>(what: W, find: impl Fn(W, Vec<I>) -> F + Send + Sync + 'static) -> Self
    where
        W: Clone + Send + Sync + 'static,
        F: Future<Output = Result<HashMap<I, V>>> + Send + 'static,
    {
        let queue = Mutex::new(Queue { running: 0, waiting: Vec::new() });
        Self { inner: Arc::new(Inner { find: Box::new(move |ids| find(what.clone(), ids).boxed()), queue }) }
    }

    /// The values of `ids`: the statement begins after this call, with whoever else waits by then.
    ///
    /// # Errors
    /// What `find` answers.
    pub async fn find(&self, ids: Vec<I>) -> Result<HashMap<I, V>> {
        // What is read in a replica's snapshot is read for this load alone.
        if crate::db::is_in_snapshot() {
            return (self.inner.find)(ids).await;
        }
        let (answer, answered) = oneshot::channel();
        let may_run = {
            let mut queue = self.inner.queue();
            queue.waiting.push(Waiting { ids, span: Span::current(), tally: tally::current(), answer });
            let may_run = queue.running < AT_ONCE;
            queue.running += usize::from(may_run);
            may_run
        };
        if may_run {
            tokio::spawn(Inner::run(self.inner.clone()));
        }
        answered.await.unwrap_or_else(|_| Err(Error::internal("a load was lost")))
    }
}

/// Where the statement of a batch belongs in traces: to the one who waits, or to the first of them, with links to the others.
fn span<I, V>(batch: &[Waiting<I, V>]) -> Span {
    match batch {
        [] => Span::none(),
        [only] => only.span.clone(),
        [first, others @ ..] => {
            let span = tracing::info_span!(parent: &first.span, "cache.merged", loads = batch.len());
            for other in others {
                span.follows_from(&other.span);
            }
            span
        }
    }
}

/// Frees the place of a run whose statement panicked. Who waits is told that the load was lost.
struct Place<'a, I, V>(&'a Inner<I, V>);

impl<I, V> Drop for Place<'_, I, V> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.running -= 1;
        queue.waiting.clear();
    }
}

impl<I, V> Inner<I, V> {
    fn queue(&self) -> MutexGuard<'_, Queue<I, V>> {
        // Nothing panics while the queue is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I, V> Inner<I, V>
where
    I: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + 'static,
{
    /// Runs statements until nobody waits.
    async fn run(self: Arc<Self>) {
        while let Some(batch) = self.next() {
            let place = Place(&self);
            let mut ids: Vec<I> = batch.iter().flat_map(|waiting| waiting.ids.iter().cloned()).collect();
            let wanted = ids.len();
            let mut seen = HashSet::new();
            ids.retain(|id| seen.insert(id.clone()));
            // A key is loaded by one flight at a time, so hardly ever do two want the same.
            let are_shared = ids.len() < wanted;
            let cost = batch.iter().any(|waiting| waiting.tally.is_some()).then(Arc::<Tally>::default);
            let find = tally::within(cost.clone(), (self.find)(ids));
            let mut found = find.instrument(span(&batch)).await;
            for Waiting { ids, tally, answer, .. } in batch {
                if let (Some(tally), Some(cost)) = (tally, &cost) {
                    tally.add(cost);
                }
                let own = match &mut found {
                    Err(error) => Err(error.clone()),
                    Ok(found) => {
                        let mut take = |id: &I| if are_shared { found.get(id).cloned() } else { found.remove(id) };
                        Ok(ids.into_iter().filter_map(|id| take(&id).map(|value| (id, value))).collect())
                    }
                };
                // Who has gone away needs no answer.
                let _gone = answer.send(own);
            }
            std::mem::forget(place);
        }
    }

    /// Those who wait, as many as fit into a statement; `None`, and the place is free, when nobody does.
    fn next(&self) -> Option<Vec<Waiting<I, V>>> {
        let mut queue = self.queue();
        if queue.waiting.is_empty() {
            queue.running -= 1;
            return None;
        }
        let mut ids = 0;
        let fits = |waiting: &&Waiting<I, V>| {
            ids += waiting.ids.len();
            ids <= MOST || ids == waiting.ids.len()
        };
        let count = queue.waiting.iter().take_while(fits).count();
        Some(queue.waiting.drain(..count).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn who_waits_shares_a_statement_and_gets_its_own() {
        let (statements, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let merge = Merge::new((statements.clone(), gate.clone()), |(statements, gate), ids: Vec<u32>| async move {
            statements.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.expect("open").forget();
            Ok(ids.into_iter().filter(|id| id % 10 != 0).map(|id| (id, id.to_string())).collect())
        });
        let asked = (1..=100u32).map(|id| {
            let merge = merge.clone();
            tokio::spawn(async move { (id, merge.find(vec![id, 7]).await.expect("found")) })
        });
        let asked: Vec<_> = asked.collect();
        while statements.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1_000);
        for outcome in join_all(asked).await {
            let (id, found) = outcome.expect("no panic");
            let expected: HashMap<u32, String> =
                [id, 7].into_iter().filter(|id| id % 10 != 0).map(|id| (id, id.to_string())).collect();
            assert_eq!(found, expected);
        }
        let statements = statements.load(Ordering::SeqCst);
        assert!(statements <= AT_ONCE + 2, "{statements} statements");
    }

    #[tokio::test]
    async fn a_panic_loses_a_load_and_nothing_else() {
        let merge = Merge::new((), |(), ids: Vec<u32>| async move {
            assert!(!ids.contains(&13), "unlucky");
            Ok(ids.into_iter().map(|id| (id, ())).collect())
        });
        assert!(merge.find(vec![13]).await.is_err());
        for _ in 0..AT_ONCE + 1 {
            assert!(merge.find(vec![13]).await.is_err());
            assert_eq!(merge.find(vec![1]).await.expect("found").len(), 1);
        }
    }
}
