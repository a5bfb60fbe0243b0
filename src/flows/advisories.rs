//! Issuing and withdrawing advisories.

mod store;

use chrono::{DateTime, Datelike, SubsecRound, Utc};
use overlay_entity::ids::VersionId;
use serde_json::Value;

use super::lineage::own;
use crate::app::App;
use crate::coherence::Token;
use crate::domain::Document;
use crate::domain::advisories::{Advisory, Severity};
use crate::domain::caller::Caller;
use crate::domain::has_nul;
use crate::error::{Error, Kind, Result};

/// An advisory to be issued.
#[derive(Debug, Clone)]
pub struct Issue {
    /// How bad it is.
    pub severity: Severity,
    /// For people.
    pub reason: String,
    /// Details.
    pub payload: Option<Value>,
    /// When it ends; `None` is never.
    pub expires_at: Option<DateTime<Utc>>,
    /// The versions it is about, whether we have heard of them or not.
    pub versions: Vec<VersionId>,
    /// The producers it is about, by identifier or identity key.
    pub producers: Vec<String>,
}

/// Most targets of an advisory.
const MAX_TARGETS: usize = 1_000;
/// Longest reason, characters.
const MAX_REASON: usize = 5_000;
/// Largest payload, bytes of JSON.
const MAX_PAYLOAD: usize = 64 << 10;

/// Issues an advisory; answers it as it is kept. It is in force in the very next read.
///
/// # Errors
/// `identity-required`, `forbidden`; `bad-request` naming what is wrong; `idempotency-key-reused` when the key stands for
/// another; what the database answers.
pub async fn issue(app: &App, caller: &Caller, issue: Issue, now: DateTime<Utc>) -> Result<(Advisory, Token)> {
    caller.may_administer()?;
    check(&issue, now)?;
    let id = caller.new_id("adv")?;
    // PostgreSQL keeps microseconds.
    let now = now.trunc_subsecs(6);
    // It knows no leap seconds either: the 60th is the next minute's first.
    let whole = |end: DateTime<Utc>| DateTime::from_timestamp_micros(end.timestamp_micros()).unwrap_or(end);
    let expires_at = issue.expires_at.map(whole);
    let issue = Issue { expires_at, ..issue };
    let advisory = Advisory {
        advisory_id: id.clone(),
        severity: issue.severity,
        reason: issue.reason.clone(),
        payload: issue.payload.as_ref().map(Document::new).transpose()?,
        created_at: now,
        expires_at,
    };
    let told = own::recalled(&app.terms.lineage_namespace, &advisory, &issue.versions);
    let (made, token) = app
        .write("advisory.issue", move |tx| {
            Box::pin(async move {
                let (made, is_new) = store::issue(tx, &id, issue, now).await?;
                own::tell(tx, told.into_iter().filter(|_| is_new).collect()).await?;
                Ok(made)
            })
        })
        .await?;
    Ok((Advisory { created_at: made, ..advisory }, token))
}

/// Withdraws an advisory.
///
/// # Errors
/// `identity-required`, `forbidden`; `not-found`; what the database answers.
pub async fn withdraw(app: &App, caller: &Caller, advisory_id: &str) -> Result<Token> {
    caller.may_administer()?;
    let absent = || Error::not_found("there is no advisory of that id").hint("advisoryId");
    let id = advisory_id.to_owned();
    if id.contains('\0') {
        return Err(absent());
    }
    let namespace = app.terms.lineage_namespace.clone();
    let (found, token) = app
        .write("advisory.withdraw", move |tx| {
            Box::pin(async move {
                let versions = store::versions(tx, &id).await?;
                own::tell(tx, own::withdrawn(&namespace, &id, &versions, Utc::now()).into_iter().collect()).await?;
                store::withdraw(tx, &id).await
            })
        })
        .await?;
    if found { Ok(token) } else { Err(absent()) }
}

fn check(issue: &Issue, now: DateTime<Utc>) -> Result<()> {
    let wrong = |name: &'static str, message: String| Err(Error::new(Kind::Invalid, "bad-request", message).hint(name));
    let Issue { reason, payload, expires_at, versions, producers, .. } = issue;
    if reason.trim().is_empty() || reason.chars().count() > MAX_REASON || reason.contains('\0') {
        return wrong("reason", format!("`reason` must be 1 to {MAX_REASON} characters, not all blank"));
    }
    if !(1..=MAX_TARGETS).contains(&(versions.len() + producers.len())) {
        return wrong("versionIds", format!("an advisory is about 1 to {MAX_TARGETS} versions and producers"));
    }
    if producers.iter().any(|id| id.is_empty() || id.len() > 200 || id.contains('\0')) {
        return wrong("producerIds", "a producer's id is 1 to 200 bytes".into());
    }
    // No later than clients can write down.
    if expires_at.is_some_and(|end| end <= now || end.year() > 9_999) {
        return wrong("expiresAt", "`expiresAt` must be in the future, and before the year 10000".into());
    }
    if payload.as_ref().is_some_and(|payload| payload.to_string().len() > MAX_PAYLOAD || has_nul(payload)) {
        return wrong("payload", format!("`payload` must have at most {} KiB, and no NUL", MAX_PAYLOAD >> 10));
    }
    Ok(())
}
