//! Executes the common queries without the general executor.
//!
//! async-graphql makes a future, a value and a map entry of every field of every object, which on a page of fifty assets
//! takes several times longer than PostgreSQL does. A document that it has validated and executed once without an error is
//! compiled into a [`Plan`]: a tree of selections that is fetched level by level, each relation for all its parents in one
//! call, and written straight to JSON.
//!
//! A plan only ever answers what the general executor would answer, byte for byte. Whatever it does not know (other fields,
//! directives, interfaces, introspection, a wrong variable) and whatever fails is left to that one, which starts from the
//! beginning: so there is one place that words errors. The tests compare both over every field of the schema.
//!
//! - `compile` a document as a plan
//! - `arguments` what fields are given, once the variables are known
//! - `variables` whether they are of the types declared
//! - `tree` selections, what was fetched for them, and how it is written
//! - `relations` the ways from object to object
//! - `connections` pages of objects
//! - `nouns` the fields of each type

mod arguments;
mod compile;
mod connections;
mod nouns;
mod relations;
mod tree;
mod variables;

use async_graphql::Variables;

use crate::app::App;
use crate::domain::caller::Caller;
use arguments::Definitions;
use tree::{Column, Key};

pub(super) use compile::plan;

/// A document, ready to be executed.
pub(super) struct Plan {
    name: Option<String>,
    roots: Vec<(Key, Root)>,
    definitions: Definitions,
}

enum Root {
    Typename,
    Field(Box<dyn relations::Entry>),
}

/// What an execution works with.
#[derive(Clone, Copy)]
struct Run<'p> {
    app: &'p App,
    caller: &'p Caller,
    variables: &'p Variables,
    definitions: &'p Definitions,
    /// Bytes that the answer may take.
    most: usize,
}

/// `None`: left to the general executor.
type Fetched<T> = Option<T>;

impl Plan {
    /// The answer's `data` as JSON; `None` when the general executor must answer.
    pub(super) async fn execute(
        &self, operation: Option<&str>, app: &App, caller: &Caller, variables: &Variables, most: usize,
    ) -> Fetched<Vec<u8>> {
        if operation.is_some_and(|wanted| self.name.as_deref() != Some(wanted)) {
            return None;
        }
        if !self.definitions.fit(variables) {
            return None;
        }
        let run = Run { app, caller, variables, definitions: &self.definitions, most };
        let mut cost = 0usize;
        for (_, root) in &self.roots {
            cost = cost.saturating_add(match root {
                Root::Typename => 1,
                Root::Field(entry) => entry.cost(run)?,
            });
        }
        // Beyond it the general executor says so.
        if cost > super::MAX_COMPLEXITY {
            return None;
        }
        let fields = self.roots.iter().filter_map(|(_, root)| match root {
            Root::Typename => None,
            Root::Field(entry) => Some(entry.fetch(run)),
        });
        let columns: Option<Vec<Box<dyn Column + '_>>> =
            futures_util::future::join_all(fields).await.into_iter().collect();
        let (mut columns, mut out) = (columns?.into_iter(), Vec::with_capacity(1024));
        out.push(b'{');
        for (at, (key, root)) in self.roots.iter().enumerate() {
            key.write(&mut out, at);
            match root {
                Root::Typename => out.extend_from_slice(b"\"Query\""),
                Root::Field(_) => columns.next()?.write(&mut out, 0),
            }
        }
        out.push(b'}');
        // Cut short then; the general executor says that it is too large.
        (out.len() <= most).then_some(out)
    }
}
