//! An asset with its price, for the listing's detail.

use std::sync::Arc;

use overlay_entity::ids::VersionId;

use crate::app::App;
use crate::domain::assets::Asset;
use crate::domain::caller::Caller;
use crate::domain::prices::Price;
use crate::error::Result;

/// An asset and the price of one unit; `None` when it is not published.
///
/// # Errors
/// `unavailable` or `timeout` when the database does not answer.
pub async fn detail(app: &App, caller: &Caller, id: VersionId) -> Result<Option<(Arc<Asset>, Arc<Price>)>> {
    let Some(asset) = app.assets.get(caller, id).await? else { return Ok(None) };
    let priced = [(asset.version_id, asset.producer_id.clone())];
    Ok(app.prices.of_one_unit(caller, &priced).await?.pop().map(|price| (asset, price)))
}
