//! Readers: each read notes what was committed before it began, and holds the answer to that.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::nemesis::Outages;
use super::world::{Dice, Thing, World};
use crate::harness::{Answer, Wire};

/// Starts readers, which read until the world is stopped.
pub(super) fn start(
    world: &Arc<World>, addresses: &[String], outages: &Arc<Outages>, count: u64,
) -> Vec<JoinHandle<Tally>> {
    let start = |n| {
        let (world, addresses, outages) = (world.clone(), addresses.to_owned(), outages.clone());
        tokio::spawn(async move {
            let mut reader = Reader::new(world.clone(), &addresses, n);
            while !world.is_stopped() {
                reader.read(&outages).await;
            }
            reader.tally
        })
    };
    (0..count).map(start).collect()
}

/// What the readers found.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) reads: u64,
    /// Reads that were not answered with 200 or 304.
    pub(super) failed: u64,
    /// Why the first of them failed.
    first_failure: Option<String>,
    /// Answers from a cache of whole answers.
    pub(super) kept: u64,
    /// Answers that were given while PostgreSQL was away.
    pub(super) while_away: u64,
    pub(super) stale_strong: u64,
    pub(super) stale_token: u64,
    /// How old the bounded reads were, µs; 0 for those that were not.
    bounded_us: Vec<u32>,
    pub(super) commits: u64,
    /// What the servers' auditors found wrong.
    pub(super) wrong: f64,
    audited: f64,
    polls: f64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.reads += other.reads;
        self.failed += other.failed;
        self.kept += other.kept;
        self.while_away += other.while_away;
        self.stale_strong += other.stale_strong;
        self.stale_token += other.stale_token;
        self.bounded_us.extend(other.bounded_us);
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }

    pub(super) fn add_metrics(&mut self, metrics: &str) {
        let sum = |name: &str| -> f64 {
            let values = metrics
                .lines()
                .filter(|l| l.starts_with(name))
                .filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok());
            values.sum()
        };
        self.wrong += sum("overlay_audit_wrong_total");
        self.audited += sum("overlay_audit_total{");
        self.polls += sum("overlay_feed_polls_total");
    }

    pub(super) fn fail(&mut self, why: String) {
        self.failed += 1;
        self.first_failure.get_or_insert(why);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ages = self.bounded_us.clone();
        ages.sort_unstable();
        let at = |percent: f64| {
            let index = (ages.len() as f64 * percent / 100.0) as usize;
            f64::from(ages.get(index.min(ages.len().saturating_sub(1))).copied().unwrap_or(0)) / 1e3
        };
        write!(
            f,
            "{} reads against {} commits: {} failed ({}), {} from kept answers, {} while PostgreSQL was away; stale: {} strong, {} token; \
             {} bounded reads were old by ms p50 {:.1}, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1}; \
             {} audits, {} wrong; {} polls",
            self.reads,
            self.commits,
            self.failed,
            self.first_failure.as_deref().unwrap_or("none"),
            self.kept,
            self.while_away,
            self.stale_strong,
            self.stale_token,
            ages.len(),
            at(50.0),
            at(90.0),
            at(99.0),
            at(99.9),
            at(100.0),
            self.audited,
            self.wrong,
            self.polls,
        )
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Bounded,
    Token,
    Strong,
}

/// What a client remembers of an answer, to ask whether it has changed.
struct Remembered {
    etag: String,
    body: Vec<u8>,
}

/// One reader: a connection to each server, and what it remembers.
pub(super) struct Reader {
    world: Arc<World>,
    wires: Vec<Wire>,
    dice: Dice,
    remembered: HashMap<String, Remembered>,
    pub(super) tally: Tally,
}

/// Reads `count` times.
pub(super) async fn reads(world: Arc<World>, addresses: Vec<String>, who: u64, count: u64) -> Tally {
    let mut reader = Reader::new(world, &addresses, who);
    let outages = Outages::default();
    for _ in 0..count {
        reader.read(&outages).await;
    }
    reader.tally
}

impl Reader {
    pub(super) fn new(world: Arc<World>, addresses: &[String], who: u64) -> Self {
        let dice = Dice::new(world.seed, who);
        let wires = addresses.iter().map(|a| Wire::new(a)).collect();
        Self { world, wires, dice, remembered: HashMap::new(), tally: Tally::default() }
    }

    /// One read, held to what was committed before it. While the database is away a refusal is no failure.
    pub(super) async fn read(&mut self, outages: &Outages) {
        let outage = outages.number();
        let world = self.world.clone();
        let thing = &world.things[self.dice.below(world.things.len() as u64) as usize];
        let before: Vec<u64> = world.things.iter().map(|t| t.committed.load(Ordering::SeqCst)).collect();
        let token = thing.token();
        let (asked, header, least) = match (self.dice.below(10), token) {
            (0..4, _) => (Asked::Strong, "overlay-consistency: strong\r\n".to_owned(), None),
            (4..7, Some((count, token))) => (Asked::Token, format!("overlay-consistency: {token}\r\n"), Some(count)),
            _ => (Asked::Bounded, String::new(), None),
        };
        let (key, line, body) = self.request(thing);
        let place = self.dice.below(self.wires.len() as u64) as usize;
        let memory = format!("{place} {key}");
        let condition = match self.remembered.get(&memory).filter(|_| self.dice.below(2) == 0) {
            Some(known) => format!("if-none-match: {}\r\n", known.etag),
            None => String::new(),
        };
        let request = format!("{line} HTTP/1.1\r\nhost: x\r\n{header}{condition}{body}");
        let begun = Instant::now();
        let answer = self.wires[place].ask(&request).await;
        self.tally.reads += 1;
        let must_succeed = outage == outages.number() && !Outages::is_away(outage);
        match answer {
            Ok(answer) if matches!(answer.status, 200 | 304) && !answer.body.starts_with(b"{\"errors\"") => {
                self.tally.while_away += u64::from(outage == outages.number() && Outages::is_away(outage));
                self.tally.kept += u64::from(answer.header("age").is_some());
                let unverified = answer.header("warning").is_some();
                let body = self.remember(memory, answer);
                let seen = counts(&body);
                for (n, known) in world.things.iter().enumerate() {
                    let Some(count) = seen.get(&known.id).copied() else { continue };
                    let is_asked = known.id == thing.id;
                    assert!(count <= known.attempted.load(Ordering::SeqCst), "a count from nowhere: {count}");
                    match asked {
                        Asked::Strong => self.tally.stale_strong += u64::from(count < before[n]),
                        // The token names the one commit; what others committed may be younger than the answer.
                        Asked::Token if is_asked => self.tally.stale_token += u64::from(Some(count) < least),
                        Asked::Bounded if is_asked && !unverified => {
                            self.tally.bounded_us.push(age(known, count, before[n], begun).as_micros() as u32);
                        }
                        Asked::Token | Asked::Bounded => {}
                    }
                }
                assert!(seen.contains_key(&thing.id), "{key}: {}", String::from_utf8_lossy(&body));
            }
            Ok(answer) if must_succeed => {
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                self.tally.fail(format!("{} {key}: {}", answer.status, body));
            }
            Err(error) if must_succeed => self.tally.fail(format!("{key}: {error}")),
            Ok(_) | Err(_) => {}
        }
    }

    /// A request that shows `thing`: its name for the client's memory, its first line, and the rest.
    fn request(&mut self, thing: &Thing) -> (String, String, String) {
        const LIST: &str = "/listings?datasetId=d/raced&limit=50";
        const ALL: &str =
            "{ assets(first: 50, filter: {datasetId: {eq: \\\"d/raced\\\"}}) { nodes { versionId name } } }";
        let id = &thing.id;
        let post = |query: &str| {
            let body = format!("{{\"query\":\"{query}\"}}");
            format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        };
        match self.dice.below(8) {
            0 => ("list".into(), format!("GET {LIST}"), "\r\n".into()),
            1 => ("all".into(), "POST /graphql".into(), post(ALL)),
            2..5 => (format!("detail {id}"), format!("GET /listings/{id}"), "\r\n".into()),
            _ => {
                let query = format!("{{ asset(versionId: \\\"{id}\\\") {{ versionId name }} }}");
                (format!("asset {id}"), "POST /graphql".into(), post(&query))
            }
        }
    }

    /// The answer's body, which for a 304 is the one remembered.
    fn remember(&mut self, memory: String, answer: Answer) -> Vec<u8> {
        if answer.status == 304 {
            return self.remembered[&memory].body.clone();
        }
        if let Some(etag) = answer.header("etag") {
            self.remembered.insert(memory, Remembered { etag: etag.to_owned(), body: answer.body.clone() });
        }
        answer.body
    }
}

/// How long ago a commit was acknowledged that the answer does not show, at the time the read began.
fn age(thing: &Thing, count: u64, committed: u64, begun: Instant) -> Duration {
    // Some counts were rolled back and never committed.
    let missed = (count + 1..=committed).find_map(|later| thing.at(later));
    missed.map_or(Duration::ZERO, |(_, at)| begun.saturating_duration_since(at))
}

/// The counts that a body shows, by version.
fn counts(body: &[u8]) -> HashMap<String, u64> {
    fn walk(value: &serde_json::Value, found: &mut HashMap<String, u64>) {
        match value {
            serde_json::Value::Object(object) => {
                let name = object.get("name").or_else(|| object.get("manifest")?.get("name")).and_then(|n| n.as_str());
                let count = name.and_then(|n| n.strip_prefix('v')?.parse().ok());
                if let (Some(id), Some(count)) = (object.get("versionId").and_then(|v| v.as_str()), count) {
                    found.insert(id.to_owned(), count);
                }
                object.values().for_each(|value| walk(value, found));
            }
            serde_json::Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let mut found = HashMap::new();
    if let Ok(value) = serde_json::from_slice(body) {
        walk(&value, &mut found);
    }
    found
}
