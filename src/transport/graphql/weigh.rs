//! The size of a parsed document, fragments written out, before it is validated or executed.
//!
//! Validation walks each fragment wherever it is spread, so fragments that spread two others each double its work a level:
//! 800 bytes keep a processor busy for seconds. And introspection answers lists whose length no argument bounds. Both are
//! reckoned here in one pass over the document, each fragment once.

use std::collections::HashMap;

use async_graphql::Name;
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};

/// Most fields of a document with its fragments written out.
pub(super) const MAX_FIELDS: u64 = 5_000;

/// Most that introspection may weigh. The usual query of tools weighs about a third.
pub(super) const MAX_INTROSPECTION: u64 = 100_000;

/// How deep fragments may spread others: also what ends a cycle.
const MAX_SPREADS: usize = 64;

/// What a document asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Weight {
    /// Fields, fragments written out.
    fields: u64,
    /// Objects that introspection would answer with, by rough lengths of its lists.
    introspected: u64,
}

impl Weight {
    fn add(&mut self, other: Self) {
        self.fields = self.fields.saturating_add(other.fields);
        self.introspected = self.introspected.saturating_add(other.introspected);
    }
}

/// Whether a document introspects; if it is not of a size that can be dealt with, why.
pub(super) fn check(document: &ExecutableDocument) -> Result<bool, String> {
    let mut scales = Scales { document, known: HashMap::new() };
    let mut total = Weight::default();
    for (_, operation) in document.operations.iter() {
        total.add(scales.set(&operation.node.selection_set.node, false, 0)?);
    }
    // A fragment that no operation uses is walked by validation all the same.
    for name in document.fragments.keys() {
        let weight = scales.fragment(name, false, 0)?;
        total.fields = total.fields.max(weight.fields);
        total.introspected = total.introspected.max(weight.introspected);
    }
    match total {
        Weight { fields, .. } if fields > MAX_FIELDS => {
            Err(format!("the document has more than {MAX_FIELDS} fields, its fragments written out"))
        }
        Weight { introspected, .. } if introspected > MAX_INTROSPECTION => {
            Err("the document introspects too much at once: ask for less, or read /schema.graphql".into())
        }
        _ => Ok(total.introspected > 0),
    }
}

struct Scales<'d> {
    document: &'d ExecutableDocument,
    /// Fragments weighed so far, by name and by whether they stand inside introspection.
    known: HashMap<(&'d Name, bool), Weight>,
}

impl<'d> Scales<'d> {
    fn set(&mut self, set: &'d SelectionSet, introspecting: bool, spreads: usize) -> Result<Weight, String> {
        let mut total = Weight::default();
        for selection in &set.items {
            total.add(match &selection.node {
                Selection::Field(field) => {
                    let name = field.node.name.node.as_str();
                    let inside = introspecting || name == "__schema" || name == "__type";
                    let mut weight = self.set(&field.node.selection_set.node, inside, spreads)?;
                    weight.fields = weight.fields.saturating_add(1);
                    if inside {
                        weight.introspected = weight.introspected.max(1).saturating_mul(length(name));
                    }
                    weight
                }
                Selection::InlineFragment(fragment) => {
                    self.set(&fragment.node.selection_set.node, introspecting, spreads)?
                }
                Selection::FragmentSpread(spread) => {
                    match self.document.fragments.get_key_value(&spread.node.fragment_name.node) {
                        Some((name, _)) => self.fragment(name, introspecting, spreads)?,
                        // Validation says that it is not there.
                        None => Weight::default(),
                    }
                }
            });
        }
        Ok(total)
    }

    fn fragment(&mut self, name: &'d Name, introspecting: bool, spreads: usize) -> Result<Weight, String> {
        if let Some(weight) = self.known.get(&(name, introspecting)) {
            return Ok(*weight);
        }
        if spreads >= MAX_SPREADS {
            return Err(format!("fragments spread each other in a circle, or more than {MAX_SPREADS} deep"));
        }
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Weight::default()) };
        let weight = self.set(&fragment.node.selection_set.node, introspecting, spreads + 1)?;
        self.known.insert((name, introspecting), weight);
        Ok(weight)
    }
}

/// About how many items introspection's lists have in a schema like ours.
fn length(field: &str) -> u64 {
    match field {
        "types" => 50,
        "fields" | "possibleTypes" => 10,
        "args" | "inputFields" | "enumValues" | "interfaces" | "directives" => 5,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_graphql::parser::parse_query;

    fn checked(query: &str) -> Result<bool, String> {
        check(&parse_query(query).expect("parses"))
    }

    #[test]
    fn doubling_fragments_and_circles_are_refused_quickly() {
        let doubling = |levels: usize| {
            let fragments: String =
                (0..levels).map(|i| format!("fragment f{i} on Query {{ ...f{} ...f{} }} ", i + 1, i + 1)).collect();
            format!("{{ ...f0 }} {fragments} fragment f{levels} on Query {{ __typename }}")
        };
        assert!(checked(&doubling(8)).is_ok());
        for levels in [13, 30, 62] {
            assert!(checked(&doubling(levels)).expect_err("too many").contains("fields"));
        }
        assert!(checked("{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }").is_err());
        assert!(checked("{ x } fragment a on Query { ...a }").is_err(), "also where nothing uses it");
        assert!(checked(&format!("{{ {} }}", "a ".repeat(5_001))).is_err());
    }

    #[test]
    fn the_usual_introspection_passes_once_and_not_thrice() {
        let usual = include_str!("introspection.graphql");
        assert_eq!(checked(usual), Ok(true));
        assert_eq!(checked("{ a { __typename } }"), Ok(false));
        assert_eq!(checked("{ a } fragment f on Query { __type(name: \"A\") { name } }"), Ok(true));
        let thrice = usual.replacen("__schema {", "a: __schema { ...S } b: __schema { ...S } c: __schema {", 1);
        assert!(checked(&format!("{thrice} fragment S on __Schema {{ types {{ ...FullType }} }}")).is_err());
        let nested = "{ __schema { types { fields { type { fields { type { fields { type { fields { name }}}}}}}}} }";
        assert!(checked(nested).is_err());
        let wide: String = (0..200)
            .map(|i| {
                format!("a{i}: __type(name: \"Node\") {{ possibleTypes {{ fields {{ name args {{ name }} }} }} }} ")
            })
            .collect();
        assert!(checked(&format!("{{ {wide} }}")).is_err());
    }
}
