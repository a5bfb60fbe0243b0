//! Taking OpenLineage events: what can be understood is kept, once, with all that follows from it; what cannot is kept as a dead
//! letter, with everything that is wrong with it.

pub(crate) mod own;
pub mod retain;
pub mod standing;
mod store;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::coherence::Token;
use crate::db::Tx;
use crate::domain::Fault;
use crate::domain::caller::Caller;
use crate::domain::hex::encode_hex;
use crate::domain::lineage::batch::Batch;
use crate::domain::lineage::event::{Event, read};
use crate::domain::lineage::intake::{Group, Taken};
use crate::error::{Error, Kind, Result};

/// What came of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is kept.
    Kept,
    /// It was kept before.
    Known,
    /// It cannot be understood, and is a dead letter. `Invalid`: it is no JSON; `Unprocessable`: it is no event.
    Refused(Kind, Vec<Fault>),
}

/// Times that a transaction is tried which others are in the way of.
const TRIES: usize = 3;

/// Takes events as they came, each a JSON text; answers what came of each, and what names the write for reads elsewhere, if
/// there was one. All that can be understood are kept when this answers, and the graph says what they say.
///
/// # Errors
/// `unavailable` and `timeout`: nothing was kept, or what was is kept once more when it is sent again.
pub async fn record(app: &App, texts: &[&str]) -> Result<(Vec<Outcome>, Option<Token>)> {
    let parse = |text: &&str| match serde_json::from_str::<Value>(text) {
        Ok(value) => read(value).map_err(|faults| (Kind::Unprocessable, faults)),
        Err(cause) => {
            let fault = Fault { pointer: String::new(), rule: format!("must be JSON: {cause}") };
            Err((Kind::Invalid, vec![fault]))
        }
    };
    let (mut events, mut outcomes) = (Vec::new(), Vec::new());
    for outcome in texts.iter().map(parse) {
        outcomes.push(outcome.map(|event| events.push(event)));
    }
    let kept = if events.is_empty() {
        Ok(None)
    } else {
        app.takes_writes()?;
        let bytes = texts.iter().map(|text| text.len()).sum();
        app.intake.keep(events, bytes, |group| Box::pin(keep(app.clone(), group))).await.map(Some)
    };
    let kept = match kept {
        Ok(kept) => kept,
        // Read, and yet not to be kept: as good as not understood.
        Err(error) if error.kind() == Kind::Invalid => {
            let fault = Fault { pointer: String::new(), rule: format!("cannot be kept: {}", error.message()) };
            let refused = (Kind::Unprocessable, vec![fault]);
            outcomes.iter_mut().filter(|outcome| outcome.is_ok()).for_each(|outcome| *outcome = Err(refused.clone()));
            None
        }
        Err(error) => return Err(error),
    };
    let refused = texts.iter().zip(&outcomes).filter_map(|(text, outcome)| Some((text, outcome.as_ref().err()?)));
    let buried = bury(app, refused.map(|(text, (_, faults))| Letter::new(text, faults)).collect()).await?;
    let (new, kept) = kept.map(|kept| (kept.new, kept.token)).unzip();
    // What is as fresh as the later write has the earlier one too.
    let token = buried.or(kept);
    let mut new = new.unwrap_or_default().into_iter();
    let told = |outcome: std::result::Result<(), (Kind, Vec<Fault>)>| match outcome {
        Err((kind, faults)) => Outcome::Refused(kind, faults),
        Ok(()) if new.next().unwrap_or_default() => Outcome::Kept,
        Ok(()) => Outcome::Known,
    };
    let outcomes: Vec<Outcome> = outcomes.into_iter().map(told).collect();
    count("kept", outcomes.iter().filter(|outcome| **outcome == Outcome::Kept).count());
    count("known", outcomes.iter().filter(|outcome| **outcome == Outcome::Known).count());
    Ok((outcomes, token))
}

fn count(outcome: &'static str, events: usize) {
    metrics::counter!("overlay_lineage_events_total", "outcome" => outcome).increment(events as u64);
}

/// Puts away what is known to be no event.
///
/// # Errors
/// What the database answers.
pub async fn refuse(app: &App, text: &str, faults: &[Fault]) -> Result<()> {
    bury(app, vec![Letter::new(text, faults)]).await.map(drop)
}

async fn bury(app: &App, letters: Vec<Letter>) -> Result<Option<Token>> {
    if letters.is_empty() {
        return Ok(None);
    }
    let refused = letters.len();
    let written = app.write("lineage.dead_letters", move |tx| Box::pin(async move { store::bury(tx, letters).await }));
    let ((), token) = written.await?;
    count("refused", refused);
    Ok(Some(token))
}

/// Keeps the events of several requests in one transaction. If one of them is in the way, each in its own.
async fn keep(app: App, group: Group) {
    match transact(&app, &group).await {
        Ok(kept) => group.tell(|events| Ok(told(events, &kept))),
        Err(error) if group.is_shared() && !error.is_passing() => {
            for alone in group.apart() {
                let outcome = transact(&app, &alone).await;
                alone.tell(|events| outcome.as_ref().map(|kept| told(events, kept)).map_err(Error::clone));
            }
        }
        Err(error) => group.tell(|_| Err(error.clone())),
    }
}

/// What came of a request's events, where `new` says of all which are new.
fn told(events: &[Event], (new, token): &(BTreeMap<String, bool>, Token)) -> Taken {
    let new = events.iter().map(|event| new.get(&event.hash).copied().unwrap_or_default()).collect();
    Taken { new, token: *token }
}

/// Of each event, by its hash, whether it is new.
async fn transact(app: &App, group: &Group) -> Result<(BTreeMap<String, bool>, Token)> {
    let mut outcome = write(app, group).await;
    for _ in 1..TRIES {
        match &outcome {
            // Two servers that keep the same things at once may be in each other's way.
            Err(error) if error.kind() == Kind::Unavailable => outcome = write(app, group).await,
            _ => break,
        }
    }
    outcome
}

async fn write(app: &App, group: &Group) -> Result<(BTreeMap<String, bool>, Token)> {
    let requests: Vec<_> = group.requests().cloned().collect();
    app.write("lineage.record", move |tx| {
        Box::pin(async move { take(tx, requests.iter().flat_map(|events| events.iter())).await })
    })
    .await
}

/// Takes events as part of a transaction; of each, by its hash, whether it is new.
pub(crate) async fn take(tx: &Tx, events: impl Iterator<Item = &Event>) -> Result<BTreeMap<String, bool>> {
    let events: BTreeMap<&str, &Event> = events.map(|event| (event.hash.as_str(), event)).collect();
    if events.is_empty() {
        return Ok(BTreeMap::new());
    }
    let new = store::audit(tx, events.values().copied()).await?;
    let mut batch = Batch::default();
    events.values().filter(|event| new.contains(&event.hash)).for_each(|event| batch.tell(event));
    store::tell(tx, &batch).await?;
    Ok(events.keys().map(|hash| ((*hash).to_owned(), new.contains(*hash))).collect())
}

/// Puts away what could not be understood, as part of a transaction.
///
/// # Errors
/// What the database answers.
pub(crate) async fn bury_in(tx: &Tx, letters: Vec<Letter>) -> Result<()> {
    if letters.is_empty() { Ok(()) } else { store::bury(tx, letters).await }
}

/// What could not be understood, as it is kept.
#[derive(Clone)]
pub(crate) struct Letter {
    payload: String,
    hash: String,
    errors: Value,
}

impl Letter {
    pub(crate) fn new(text: &str, faults: &[Fault]) -> Self {
        let errors = faults.iter().map(|fault| json!({"pointer": fault.pointer, "message": fault.rule})).collect();
        // PostgreSQL keeps no NUL, in a text neither.
        let payload = text.replace('\0', "\u{fffd}");
        Self { payload, hash: encode_hex(&Sha256::digest(text)), errors }
    }

    /// What it is known by.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }
}

/// Takes one event of an administrator; whether it is new, and what names the write.
///
/// # Errors
/// `identity-required` or `forbidden`; `invalid-event` with all that is wrong with it, which is then a dead letter; as
/// [`record`].
pub async fn ingest(app: &App, caller: &Caller, text: &str) -> Result<(bool, Option<Token>)> {
    caller.may_administer()?;
    let (mut outcomes, token) = record(app, &[text]).await?;
    match outcomes.pop() {
        Some(Outcome::Refused(kind, faults)) => Err(Fault::refusal(kind, "invalid-event", &faults)),
        outcome => Ok((outcome == Some(Outcome::Kept), token)),
    }
}

/// Takes what could not be understood once more: a server that has learned since may read it. It is a dead letter no more
/// when it is kept.
///
/// # Errors
/// As [`ingest`]; `not-found`.
pub async fn retry(app: &App, caller: &Caller, payload_hash: &str) -> Result<(bool, Token)> {
    let letter = app.lineage.dead_letter(caller, payload_hash).await?;
    let letter = letter.ok_or_else(|| Error::not_found("there is no such dead letter").hint("payloadHash"))?;
    let (is_new, _earlier) = ingest(app, caller, &letter.payload).await?;
    let ((), token) = app
        .write("lineage.unbury", move |tx| Box::pin(async move { store::unbury(tx, &letter.payload_hash).await }))
        .await?;
    Ok((is_new, token))
}
