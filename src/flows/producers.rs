//! Registering producers: who signs says what its key is called.

mod store;

use url::Url;

use crate::app::App;
use crate::coherence::Token;
use crate::domain::caller::Caller;
use crate::domain::hex::decode_hex;
use crate::domain::producers::id_of_key;
use crate::error::{Error, Result};

/// What a producer says of itself.
#[derive(Debug)]
pub struct Profile {
    /// Display name.
    pub name: String,
    /// Web site, if any.
    pub website: Option<String>,
    /// Output script that payments go to, hex, if any.
    pub payout_script_hex: Option<String>,
}

/// Longest name and web site, characters.
const MAX_NAME: usize = 500;
const MAX_WEBSITE: usize = 2_000;
/// Longest script, bytes.
const MAX_SCRIPT: usize = 10_000;

/// Registers the key that signed the request, or changes its profile; answers the producer's identifier. A producer that was
/// met in a manifest before keeps its own.
///
/// # Errors
/// `identity-required`; `forbidden` for the developer, who has no key; `bad-request` naming what is wrong; what the database
/// answers.
pub async fn register(app: &App, caller: &Caller, profile: Profile) -> Result<(String, Token)> {
    let key = caller.signer()?.key.clone();
    check(&profile)?;
    let new_id = id_of_key(&key);
    app.write("producer.register", move |tx| Box::pin(async move { store::register(tx, &new_id, &key, profile).await }))
        .await
}

fn check(profile: &Profile) -> Result<()> {
    let wrong = |name: &'static str, message: String| Err(Error::invalid(message).hint(name));
    let Profile { name, website, payout_script_hex } = profile;
    if name.trim().is_empty() || name.chars().count() > MAX_NAME || name.contains('\0') {
        return wrong("name", format!("`name` must be 1 to {MAX_NAME} characters, not all blank"));
    }
    // It is shown as a link.
    let is_web = |text: &str| Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if website.as_deref().is_some_and(|text| !is_web(text) || text.chars().count() > MAX_WEBSITE || text.contains('\0'))
    {
        return wrong("website", format!("`website` must be an http or https URL of at most {MAX_WEBSITE} characters"));
    }
    let is_script = |text: &str| {
        let is_lower = !text.bytes().any(|b| b.is_ascii_uppercase());
        is_lower && decode_hex(text).is_ok_and(|script| (1..=MAX_SCRIPT).contains(&script.len()))
    };
    if payout_script_hex.as_deref().is_some_and(|text| !is_script(text)) {
        let message = format!("`payoutScriptHex` must be an output script of 1 to {MAX_SCRIPT} bytes, lower-case hex");
        return wrong("payoutScriptHex", message);
    }
    Ok(())
}
