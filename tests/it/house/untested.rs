//! What clients see and no test speaks of: `tests/data/untested.txt` lists it, so that whoever adds a field or a route
//! without a test has to say so there.
//!
//! A scan of names: a field counts as tested when one file of `tests/it` or `scripts/clients` has its name and a name that
//! leads to its type. That finds what was forgotten, not what is tested badly.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use async_graphql::parser::types::{BaseType, InputValueDefinition, Type, TypeKind, TypeSystemDefinition};
use async_graphql::{Name, Positioned};
use serde_json::{Map, Value};

use super::top;

const LIST: &str = "tests/data/untested.txt";

/// A test's text without its comments, and its words.
struct Spoken {
    text: String,
    words: BTreeSet<String>,
}

impl Spoken {
    fn new(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let text = lines.collect::<Vec<_>>().join("\n");
        let is_apart = |c: char| !c.is_alphanumeric() && c != '_';
        let words = text.split(is_apart).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        Self { text, words }
    }

    fn has_any<'a>(&self, mut words: impl Iterator<Item = &'a String>) -> bool {
        words.any(|word| self.words.contains(word))
    }
}

/// Whoever speaks of what clients see. This file speaks of nothing.
fn tests() -> Vec<Spoken> {
    fn walk(folder: &Path, out: &mut Vec<Spoken>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let is_of_tests = path.extension().is_some_and(|e| e == "rs" || e == "mjs");
            if path.is_dir() && path.file_name().is_some_and(|name| name != "node_modules") {
                walk(&path, out);
            } else if is_of_tests && !path.ends_with("house/untested.rs") {
                out.push(Spoken::new(&std::fs::read_to_string(&path).expect("a text")));
            }
        }
    }
    let mut all = Vec::new();
    for folder in ["tests/it", "scripts/clients"] {
        walk(&top().join(folder), &mut all);
    }
    all
}

fn base(of: &Type) -> &Name {
    match &of.base {
        BaseType::Named(name) => name,
        BaseType::List(of) => base(of),
    }
}

/// What clients may name in GraphQL: beside each, the names of which a test has one, all in the same file.
fn named(schema: &str) -> BTreeMap<String, Vec<BTreeSet<String>>> {
    let document = async_graphql::parser::parse_schema(schema).expect("a schema");
    let types: Vec<_> = document
        .definitions
        .into_iter()
        .filter_map(|definition| match definition {
            TypeSystemDefinition::Type(definition) => Some(definition.node),
            _ => None,
        })
        .collect();
    let mut doors: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut leads = |name: &Name, of: &Type| {
        doors.entry(base(of).to_string()).or_default().insert(name.to_string());
    };
    let mut found: Vec<(String, String, Vec<Name>)> = Vec::new();
    let mut inputs = |of: String, owner: &str, by: &[Name], all: &[Positioned<InputValueDefinition>]| {
        for input in all.iter().map(|input| &input.node) {
            leads(&input.name.node, &input.ty.node);
            let words = by.iter().cloned().chain([input.name.node.clone()]).collect();
            found.push((format!("{of}{}", input.name.node), owner.to_owned(), words));
        }
    };
    for of in &types {
        let owner = of.name.node.as_str();
        if let TypeKind::InputObject(object) = &of.kind {
            inputs(format!("{owner}."), owner, &[], &object.fields);
        }
    }
    for of in &types {
        let owner = of.name.node.as_str();
        let (TypeKind::Object(_) | TypeKind::Interface(_)) = &of.kind else { continue };
        for field in fields(&of.kind) {
            inputs(
                format!("{owner}.{}.", field.name.node),
                owner,
                std::slice::from_ref(&field.name.node),
                &field.arguments,
            );
        }
    }
    for of in &types {
        let owner = of.name.node.as_str();
        for field in fields(&of.kind) {
            doors.entry(base(&field.ty.node).to_string()).or_default().insert(field.name.node.to_string());
            found.push((format!("{owner}.{}", field.name.node), owner.to_owned(), vec![field.name.node.clone()]));
        }
    }
    let spoken = |(what, owner, words): (String, String, Vec<Name>)| {
        let mut all: Vec<BTreeSet<String>> = words.iter().map(|word| [word.to_string()].into()).collect();
        if !matches!(owner.as_str(), "Query" | "Mutation" | "Subscription") {
            let mut doors = doors.get(&owner).cloned().unwrap_or_default();
            doors.insert(owner);
            all.push(doors);
        }
        (what, all)
    };
    found.into_iter().map(spoken).collect()
}

fn fields(kind: &TypeKind) -> impl Iterator<Item = &async_graphql::parser::types::FieldDefinition> {
    let fields = match kind {
        TypeKind::Object(object) => object.fields.as_slice(),
        TypeKind::Interface(interface) => interface.fields.as_slice(),
        _ => &[],
    };
    fields.iter().map(|field| &field.node)
}

/// Whether a test asks for this path by this method.
fn is_asked(test: &Spoken, method: &str, path: &str) -> bool {
    let fixed = path.split('{').next().unwrap_or(path);
    let ends_here =
        |rest: &str| fixed != path || !rest.starts_with(|c: char| c.is_alphanumeric() || "/-_.".contains(c));
    let is_named = test.text.match_indices(fixed).any(|(at, _)| ends_here(&test.text[at + fixed.len()..]));
    let ways = [method.to_uppercase(), method.to_owned()];
    is_named && (method == "get" || test.has_any(ways.iter()))
}

/// The routes, and their parameters, that no test asks for.
fn unasked(description: &Value, tests: &[Spoken]) -> Vec<String> {
    let none = Map::new();
    let mut out = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap_or(&none) {
        for (method, operation) in methods.as_object().unwrap_or(&none).iter().filter(|(name, _)| *name != "parameters")
        {
            let asking: Vec<&Spoken> = tests.iter().filter(|test| is_asked(test, method, path)).collect();
            let route = format!("{} {path}", method.to_uppercase());
            if asking.is_empty() {
                out.push(route.clone());
            }
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            for name in parameters.filter(|p| p["in"] == "query").filter_map(|p| p["name"].as_str()) {
                if !asking.iter().any(|test| test.words.contains(name)) {
                    out.push(format!("{route} ?{name}"));
                }
            }
        }
    }
    out
}

/// What no test speaks of, sorted.
fn untested(schema: &str, description: &Value, tests: &[Spoken]) -> Vec<String> {
    let is_spoken_of =
        |all: &Vec<BTreeSet<String>>| tests.iter().any(|test| all.iter().all(|words| test.has_any(words.iter())));
    let named = named(schema);
    let mut out: Vec<String> =
        named.iter().filter(|(_, all)| !is_spoken_of(all)).map(|(what, _)| what.clone()).collect();
    out.extend(unasked(description, tests));
    out.sort();
    out
}

#[test]
fn what_no_test_speaks_of_is_listed() {
    let read = |path: &str| std::fs::read_to_string(top().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let description = serde_json::from_str(&read("src/transport/rest/openapi.json")).expect("JSON");
    let found = untested(&read("schema.graphql"), &description, &tests()).join("\n");
    let listed = read(LIST);
    let listed: Vec<&str> = listed.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert!(
        found == listed.join("\n"),
        "{LIST} lists other names than those no test has; test them, or list:\n{found}"
    );
}

#[test]
fn a_field_that_is_not_spoken_of_is_found() {
    let schema = "type Query { thing(of: Int, new: Boolean): Thing } type Thing { name: String at: Place } \
        type Place { name: String city: String } input Sought { text: String }";
    let description = serde_json::json!({"paths": {
        "/things": {"get": {"parameters": [{"in": "query", "name": "q"}]}, "post": {}},
        "/things/{id}": {"get": {}, "delete": {}},
    }});
    let of = |texts: &[&str]| {
        untested(schema, &description, &texts.iter().map(|text| Spoken::new(text)).collect::<Vec<_>>())
    };
    let all = of(&[
        "{ thing(of: 1, new: true) { name at { name city } } } Sought text",
        "get(\"/things?q=1\") post(\"/things\") get(\"/things/1\") delete(\"/things/1\")",
    ]);
    assert_eq!(all, Vec::<String>::new());
    let some = of(&["{ thing(of: 1) { name } } // city", "// at\n city name /things-of /things/", "sought text"]);
    let wanted = [
        "DELETE /things/{id}",
        "GET /things",
        "GET /things ?q",
        "POST /things",
        "Place.city",
        "Place.name",
        "Query.thing.new",
        "Sought.text",
        "Thing.at",
    ];
    assert_eq!(some, wanted);
}
