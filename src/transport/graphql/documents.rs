//! Parsed documents, kept by their text: clients send the same few again and again, and parsing one takes longer than
//! executing it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_graphql::Name;
use async_graphql::parser::parse_query;
use async_graphql::parser::types::{ExecutableDocument, OperationType};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::direct::{self, Plan};
use super::{guard, overlap, weigh};

/// Bytes of memory for parsed documents, roughly.
const MEMORY: u64 = 8 << 20;

/// Bytes that a parsed document is taken to occupy for each of its text.
const SWELL: u64 = 16;

#[derive(Clone)]
struct Bytes;

impl Weighter<String, Arc<Known>> for Bytes {
    fn weight(&self, text: &String, _: &Arc<Known>) -> u64 {
        SWELL * text.len() as u64 + 500
    }
}

/// A parsed document.
pub(super) struct Known {
    pub(super) document: ExecutableDocument,
    /// Whether it asks for the schema.
    pub(super) introspects: bool,
    /// Whether it was validated and executed without an error.
    is_proven: AtomicBool,
    /// How it is executed from then on, if there is a plan for it.
    plan: OnceLock<Option<Plan>>,
}

impl Known {
    /// The general executor has answered it without an error.
    pub(super) fn prove(&self) {
        self.is_proven.store(true, Ordering::Relaxed);
    }

    /// Whether the operation of that name, or the only one, is of that type.
    pub(super) fn is(&self, ty: OperationType, name: Option<&str>) -> bool {
        let is_chosen = |own: Option<&Name>| name.is_none_or(|name| own.is_some_and(|own| own == name));
        let mut operations = self.document.operations.iter();
        operations.any(|(own, operation)| is_chosen(own) && operation.node.ty == ty)
    }

    /// The name of the operation of that name, or of the only one: as the document has it, so it is a name and nothing else.
    pub(super) fn operation(&self, name: Option<&str>) -> Option<&str> {
        let mut operations = self.document.operations.iter();
        let is_chosen = |own: &&Name| name.is_none_or(|name| own.as_str() == name);
        operations.find_map(|(own, _)| own.filter(is_chosen)).map(Name::as_str).filter(|name| name.len() <= 100)
    }

    /// How to execute it directly.
    pub(super) fn plan(&self) -> Option<&Plan> {
        if !self.is_proven.load(Ordering::Relaxed) {
            return None;
        }
        self.plan.get_or_init(|| direct::plan(&self.document)).as_ref()
    }
}

/// The documents kept. Cheap to clone.
#[derive(Clone)]
pub struct Documents(Arc<Cache<String, Arc<Known>, Bytes>>);

impl Default for Documents {
    fn default() -> Self {
        Self(Arc::new(Cache::with_weighter(1_000, MEMORY, Bytes)))
    }
}

/// Why there is no document.
pub(super) enum Refusal {
    /// It cannot be parsed: the execution says so, in the words of the parser.
    Unparsed,
    /// It is beyond a limit.
    Beyond(String),
    /// It does not pass validation, in a point that the library does not see.
    Invalid(String),
}

impl Documents {
    /// The document of a text, within the limits of what may be parsed and executed.
    pub(super) fn get(&self, text: &str) -> Result<Arc<Known>, Refusal> {
        if let Some(known) = self.0.get(text) {
            return Ok(known);
        }
        guard::check(text).map_err(Refusal::Beyond)?;
        let document = parse_query(text).map_err(|_| Refusal::Unparsed)?;
        let introspects = weigh::check(&document).map_err(Refusal::Beyond)?;
        overlap::check(&document).map_err(Refusal::Invalid)?;
        let document =
            Arc::new(Known { document, introspects, is_proven: AtomicBool::new(false), plan: OnceLock::new() });
        self.0.insert(text.to_owned(), document.clone());
        Ok(document)
    }
}
