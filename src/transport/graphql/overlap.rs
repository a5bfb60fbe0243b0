//! Whether fields that share a response key can be one field: "Field Selection Merging" of the specification (section
//! 5.3.2), which the library's validation sees only in part.
//!
//! Below a mutation, a key may be used once: the library executes each of the fields that share one, where the
//! specification merges them into one first (section 6.4.2), so a purchase named twice would be made twice.

use std::collections::{BTreeMap, BTreeSet};

use async_graphql::parser::types::{ExecutableDocument, Field, OperationType, Selection, SelectionSet};

/// Most fields that are looked at, those of a fragment wherever it is spread: several times what a document may have.
const MOST: usize = 50_000;

/// The interfaces, whose fields are those of every type that has them.
const INTERFACES: [&str; 1] = ["Node"];

/// Whether each operation's fields can be merged; if not, why.
pub(super) fn check(document: &ExecutableDocument) -> Result<(), String> {
    for (_, operation) in document.operations.iter() {
        let mut looked = Looked { document, fields: 0 };
        let root = &operation.node.selection_set.node;
        if operation.node.ty == OperationType::Mutation {
            let mut fields = Vec::new();
            looked.collect(root, None, &mut fields)?;
            let mut keys = BTreeSet::new();
            if let Some((_, field)) = fields.iter().find(|(_, field)| !keys.insert(key(field))) {
                return Err(format!("a mutation may have `{}` only once: give each its own alias", key(field)));
            }
        }
        looked.merge(&[root])?;
    }
    Ok(())
}

fn key(field: &Field) -> &str {
    field.response_key().node.as_str()
}

/// A field, and the object type that it is asked of if that is not the type around it.
type Asked<'d> = (Option<&'d str>, &'d Field);

struct Looked<'d> {
    document: &'d ExecutableDocument,
    fields: usize,
}

impl<'d> Looked<'d> {
    /// Whether the fields of these sets, which belong to one object, can be merged.
    fn merge(&mut self, sets: &[&'d SelectionSet]) -> Result<(), String> {
        let mut fields = Vec::new();
        for set in sets {
            self.collect(set, None, &mut fields)?;
        }
        let mut by_key: BTreeMap<&str, Vec<Asked<'d>>> = BTreeMap::new();
        for asked in fields {
            by_key.entry(key(asked.1)).or_default().push(asked);
        }
        by_key.values().try_for_each(|asked| self.merge_key(asked))
    }

    /// Whether these fields of one key can be merged. Fields of two object types never meet.
    fn merge_key(&mut self, asked: &[Asked<'d>]) -> Result<(), String> {
        let types: BTreeSet<Option<&str>> = asked.iter().map(|(of, _)| *of).filter(Option::is_some).collect();
        let types = if types.is_empty() { [None].into() } else { types };
        for of in types {
            let same: Vec<&Field> = asked.iter().filter(|(on, _)| on.is_none() || *on == of).map(|(_, f)| *f).collect();
            let [first, others @ ..] = same.as_slice() else { continue };
            if let Some(other) = others.iter().find(|other| !is_same(first, other)) {
                let (key, a, b) = (key(first), &first.name.node, &other.name.node);
                let how = if a == b { format!("`{a}` with other arguments") } else { format!("`{a}` and `{b}`") };
                return Err(format!("`{key}` stands for {how}: give each its own alias"));
            }
            let below: Vec<&SelectionSet> = same.iter().map(|field| &field.selection_set.node).collect();
            if below.iter().any(|set| !set.items.is_empty()) {
                self.merge(&below)?;
            }
        }
        Ok(())
    }

    /// The fields of a set, fragments written out. The weight of the document, which is checked before, ends every cycle.
    fn collect(&mut self, set: &'d SelectionSet, of: Option<&'d str>, out: &mut Vec<Asked<'d>>) -> Result<(), String> {
        for selection in &set.items {
            let (condition, set) = match &selection.node {
                Selection::Field(field) => {
                    self.fields += 1;
                    if self.fields > MOST {
                        return Err("the document uses the same keys too often: use aliases".into());
                    }
                    out.push((of, &field.node));
                    continue;
                }
                Selection::InlineFragment(fragment) => {
                    (fragment.node.type_condition.as_ref(), &fragment.node.selection_set.node)
                }
                Selection::FragmentSpread(spread) => {
                    // Validation says that it is not there.
                    let Some(fragment) = self.document.fragments.get(&spread.node.fragment_name.node) else { continue };
                    (Some(&fragment.node.type_condition), &fragment.node.selection_set.node)
                }
            };
            let named = condition.map(|condition| condition.node.on.node.as_str());
            self.collect(set, named.filter(|name| !INTERFACES.contains(name)).or(of), out)?;
        }
        Ok(())
    }
}

/// Whether two fields are the same, but for what is selected of them.
fn is_same(a: &Field, b: &Field) -> bool {
    let is_given = |(name, value): &(_, _)| b.arguments.iter().any(|(other, given)| (other, given) == (name, value));
    a.name == b.name && a.arguments.len() == b.arguments.len() && a.arguments.iter().all(is_given)
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn checked(query: &str) -> Result<(), String> {
        check(&parse_query(query).expect("a document"))
    }

    #[test]
    fn what_can_be_one_field_is_let_pass() {
        for query in [
            "{ a { x } a { y } }",
            "{ a(p: 1, q: [2]) { x } a(q: [2], p: 1) { x } }",
            "{ a { x } ...f } fragment f on Query { a { x y } }",
            "{ node { ... on A { x: id } ... on B { x: name } } }",
            "{ node { ... on A { x { y } } ... on B { x { y: z } } } }",
            "mutation { a: buy { x } b: buy { x x } }",
            "query Q { a } mutation M { a: b { c } }",
        ] {
            assert_eq!(checked(query), Ok(()), "{query}");
        }
    }

    #[test]
    fn what_cannot_is_refused_however_it_is_nested() {
        for query in [
            "{ a: x a: y }",
            "{ a(p: 1) a(p: 2) }",
            "{ a(p: 1) a }",
            "{ a { x: id } a { x: name } }",
            "{ a { b { x: id } } ...f } fragment f on Query { a { b { x: name } } }",
            "{ node { x: id ... on A { x: name } } }",
            "{ node { ... on A { x: id } ... on B { x: id } x: name } }",
            "{ node { ... on Node { x: id } ... on A { x: name } } }",
            "{ node { ... on A { x: id } ... on A { x: name } } }",
        ] {
            let why = checked(query).expect_err(query);
            assert!(why.contains("alias"), "{why}");
        }
    }

    #[test]
    fn a_mutation_makes_nothing_twice() {
        for query in [
            "mutation { buy { x } buy { x } }",
            "mutation { ...f ...f } fragment f on Mutation { buy { x } }",
            "mutation { buy { x } ... on Mutation { buy { y } } }",
            "mutation { buy @skip(if: true) { x } buy { x } }",
        ] {
            assert!(checked(query).expect_err(query).contains("only once"), "{query}");
        }
    }

    #[test]
    fn types_that_multiply_are_given_up() {
        let level = |inner: &str| {
            let each: String = (0..8).map(|n| format!("... on T{n} {{ k }} ")).collect();
            format!("k {{ {each} {inner} }}")
        };
        let query = (0..12).fold("k { x }".to_owned(), |inner, _| level(&inner));
        assert!(checked(&format!("{{ {query} }}")).is_err());
    }
}
