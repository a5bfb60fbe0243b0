//! Bringing the market into the database.

use std::fmt;

use super::{Market, market, store};
use crate::app::App;
use crate::domain::assets::{Filter, Scope};
use crate::domain::caller::Caller;
use crate::error::Result;
use crate::flows::import;

/// What was loaded.
#[derive(Debug)]
pub struct Report {
    /// Versions that are new.
    pub added: u64,
    /// Versions of the market.
    pub versions: usize,
    /// Producers of the market.
    pub producers: usize,
    /// Headers of its chain.
    pub headers: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { added, versions, producers, headers } = self;
        write!(f, "demo market: {versions} versions ({added} new) of {producers} producers, {headers} block headers")
    }
}

/// Loads the market. What is there already stays as it is, so loading it twice changes nothing.
///
/// # Errors
/// What the database answers; a part that failed can be loaded again.
pub async fn load(app: &App) -> Result<Report> {
    let market = market();
    store::producers(&app.db, &market).await?;
    let added = import::manifests(app, &market.manifests).await?;
    store::rest(&app.db, &market).await?;
    let Market { version_ids, producers, headers, .. } = market;
    Ok(Report { added, versions: version_ids.len(), producers: producers.len(), headers: headers.len() })
}

/// Loads the market if nothing is published; answers whether it did.
///
/// # Errors
/// As [`load`].
pub async fn if_empty(app: &App) -> Result<bool> {
    let count = app.assets.count(&Caller::anonymous(), &Scope::Catalogue, &Filter::default()).await?;
    if count > 0 {
        return Ok(false);
    }
    load(app).await?;
    Ok(true)
}
