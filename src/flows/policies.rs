//! Keeping policies: a document is checked when it is saved, so that what is in force can be evaluated.

mod store;

use chrono::Utc;
use serde_json::Value;

use super::policy::invalid;
use crate::app::App;
use crate::coherence::Token;
use crate::domain::caller::Caller;
use crate::domain::policies::document::PolicyDocument;
use crate::error::{Error, Kind, Result};

/// What is to be changed of a policy; what is not given stays.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Display name.
    pub name: Option<String>,
    /// Whether it may be used.
    pub enabled: Option<bool>,
    /// The rules.
    pub document: Option<Value>,
}

/// Longest identifier and name, characters.
const MAX_ID: usize = 100;
const MAX_NAME: usize = 200;

/// A policy to be kept.
#[derive(Debug)]
pub struct New {
    /// Its identifier; made when none is given.
    pub policy_id: Option<String>,
    /// Display name.
    pub name: String,
    /// Whether it may be used.
    pub enabled: bool,
    /// The rules.
    pub document: Value,
}

impl New {
    /// The identifier, and the document in its one form.
    fn checked(&self, caller: &Caller) -> Result<(String, Value)> {
        let policy_id = self.policy_id.clone().map_or_else(|| caller.new_id("pol"), Ok)?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if policy_id.is_empty() || policy_id.len() > MAX_ID || !policy_id.chars().all(is_plain) {
            let message = format!("`policyId` must be 1 to {MAX_ID} letters, digits, `-`, `_`, `.` or `:`");
            return Err(Error::invalid(message).hint("policyId"));
        }
        check_name(&self.name)?;
        Ok((policy_id, checked(&self.document)?))
    }
}

/// Keeps a new policy; answers its identifier.
///
/// # Errors
/// `identity-required`, `forbidden`; `bad-request` naming what is wrong; `invalid-policy` with the faults; `policy-exists`;
/// what the database answers.
pub async fn create(app: &App, caller: &Caller, new: New) -> Result<(String, Token)> {
    caller.may_administer()?;
    let (policy_id, document) = new.checked(caller)?;
    if new.policy_id.is_none() {
        return once(app, policy_id, new, document).await;
    }
    let id = policy_id.clone();
    let (added, token) = app
        .write("policy.create", move |tx| {
            Box::pin(async move { store::create(tx, &id, &new.name, new.enabled, document, Utc::now()).await })
        })
        .await?;
    if !added {
        let message = "there is a policy of that id; change it, or choose another id";
        return Err(Error::new(Kind::Conflict, "policy-exists", message).hint("policyId"));
    }
    Ok((policy_id, token))
}

/// Keeps a policy, in the place of the one of its identifier if there is one; answers its identifier.
///
/// # Errors
/// As [`create`], but for `policy-exists`.
pub async fn save(app: &App, caller: &Caller, new: New) -> Result<(String, Token)> {
    caller.may_administer()?;
    let (policy_id, document) = new.checked(caller)?;
    if new.policy_id.is_none() {
        return once(app, policy_id, new, document).await;
    }
    let id = policy_id.clone();
    let ((), token) = app
        .write("policy.save", move |tx| {
            Box::pin(async move { store::save(tx, &id, &new.name, new.enabled, document, Utc::now()).await })
        })
        .await?;
    Ok((policy_id, token))
}

/// Keeps a policy under an identifier of ours: the same again under one idempotency key is kept once.
async fn once(app: &App, policy_id: String, new: New, document: Value) -> Result<(String, Token)> {
    let id = policy_id.clone();
    let ((), token) = app
        .write("policy.once", move |tx| {
            Box::pin(async move {
                let (name, now) = (new.name.as_str(), Utc::now());
                let is_there = store::create(tx, &id, name, new.enabled, document.clone(), now).await?
                    || store::is_same(tx, &id, name, new.enabled, document).await?;
                if is_there { Ok(()) } else { Err(Caller::reused()) }
            })
        })
        .await?;
    Ok((policy_id, token))
}

/// Changes a policy.
///
/// # Errors
/// `identity-required`, `forbidden`; `bad-request` naming what is wrong; `invalid-policy` with the faults; `policy-not-found`; what the
/// database answers.
pub async fn change(app: &App, caller: &Caller, policy_id: &str, change: Change) -> Result<Token> {
    caller.may_administer()?;
    change.name.as_deref().map(check_name).transpose()?;
    let document = change.document.as_ref().map(checked).transpose()?;
    let (id, Change { name, enabled, .. }) = (policy_id.to_owned(), change);
    let (changed, token) = app
        .write("policy.change", move |tx| {
            Box::pin(async move { store::change(tx, &id, name, enabled, document, Utc::now()).await })
        })
        .await?;
    if changed { Ok(token) } else { Err(absent()) }
}

/// Removes a policy. Its runs stay on record.
///
/// # Errors
/// `identity-required`, `forbidden`; `policy-not-found`; what the database answers.
pub async fn remove(app: &App, caller: &Caller, policy_id: &str) -> Result<Token> {
    caller.may_administer()?;
    let id = policy_id.to_owned();
    let (removed, token) =
        app.write("policy.remove", move |tx| Box::pin(async move { store::remove(tx, &id).await })).await?;
    if removed { Ok(token) } else { Err(absent()) }
}

/// The error of a policy that there is not.
pub fn absent() -> Error {
    Error::new(Kind::NotFound, super::policy::NOT_FOUND, "there is no policy of that id").hint("policyId")
}

fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() || name.chars().count() > MAX_NAME || name.contains('\0') {
        let message = format!("`name` must be 1 to {MAX_NAME} characters, not all blank");
        return Err(Error::invalid(message).hint("name"));
    }
    Ok(())
}

/// The document as it is stored: read, and written again in its one form.
fn checked(document: &Value) -> Result<Value> {
    let document = PolicyDocument::parse(document).map_err(|faults| invalid(&faults))?;
    serde_json::to_value(document).map_err(Error::internal)
}
