//! Loading from a read replica, as far as that is as fresh as the clock.

use super::entry::Loaded;
use super::read::Load;
use crate::coherence::{Moment, Replicas, Tags};

/// What a replica has of `ids`, in order, and the moment it shows; `None` for a value that something changed under since, which the
/// primary must be asked for, as for all when there is no answer.
///
/// The check comes after the load, so it is made against a clock that knows whatever a passenger of the flight may insist on: those
/// who came before the flight took off waited for their freshness before that, and those who came later check for themselves.
pub(super) async fn load<I, V>(
    replicas: &Replicas, ids: Vec<I>, load: &impl Load<I, V>,
) -> Option<(Moment, Vec<Option<Loaded<V>>>)> {
    let count = ids.len();
    let (moment, loaded) = replicas.read(|| load(ids)).await?;
    if loaded.len() != count {
        return None;
    }
    let is_fresh = |value: &Loaded<V>| replicas.is_fresh(moment, &Tags::new(value.tags.iter().cloned()));
    let fresh: Vec<_> = loaded.into_iter().map(|value| is_fresh(&value).then_some(value)).collect();
    replicas.note(fresh.iter().all(Option::is_some));
    Some((moment, fresh))
}
