//! Whether something of a request has begun to be committed. Until then it can be given up and nothing has happened; from then on
//! it has to be waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

tokio::task_local! {
    static DEED: Deed;
}

/// Of one request, and of its own task: what another task commits for it is not known here.
#[derive(Clone, Default)]
pub struct Deed(Arc<AtomicBool>);

impl Deed {
    /// Runs `work` for the request.
    pub async fn within<F: Future>(&self, work: F) -> F::Output {
        DEED.scope(self.clone(), work).await
    }

    /// Whether a commit has begun.
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Notes that a commit begins.
pub(super) fn begins() {
    let _nobody_asks = DEED.try_with(|deed| deed.0.store(true, Ordering::SeqCst));
}
