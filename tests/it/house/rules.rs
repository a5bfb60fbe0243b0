//! The floors, and what else holds for every file.

use std::collections::BTreeSet;
use std::fmt;

use super::source::{File, Source, Target, module_of, words};

/// From the top down. A floor may use those after it.
pub(super) const FLOORS: [&str; 13] = [
    "main",
    "boot",
    "transport",
    "config",
    "flows",
    "app",
    "domain",
    "cache",
    "coherence",
    "db",
    "https",
    "error",
    "entity",
];

/// Outside of the floors: what each may use, and where it may be used.
const OUTSIDE: [Outside; 2] = [
    Outside { name: "devstack", uses: &[], used_by: &["main.rs", "boot.rs"] },
    Outside {
        name: "telemetry",
        uses: &["config", "error"],
        used_by: &["main.rs", "boot.rs", "transport/http.rs", "transport/opened.rs"],
    },
];

struct Outside {
    name: &'static str,
    uses: &'static [&'static str],
    used_by: &'static [&'static str],
}

/// What all rooms share; everything else in `domain/` is a room.
const SHARED: [&str; 5] = ["caller", "canonical", "hex", "page", "whole"];

/// Crates that live in few places: their names, those places in `src/` (a folder, a file, or any file of a name), and
/// how the README says it.
const KEPT: [(&[&str], &[&str], &str); 7] = [
    (&["axum"], &["transport/", "boot.rs", "telemetry.rs"], "axum lives in transport, boot and telemetry"),
    (
        &["async_graphql", "async_graphql_axum", "dataloader"],
        &["transport/graphql/"],
        "async_graphql lives in transport/graphql",
    ),
    (
        &["sea_orm", "sea_query_sqlx", "sqlx"],
        &["*/store.rs", "db.rs", "db/", "coherence/feed.rs", "coherence/poll.rs", "coherence/wake.rs", "error.rs"],
        "sea_orm lives in store.rs files, db.rs, coherence/{feed,poll,wake}.rs and error.rs",
    ),
    (&["redis", "bb8", "bb8_redis"], &["cache/store/"], "redis lives in cache/store"),
    (&["secp256k1"], &["domain/sessions/"], "secp256k1 lives in domain/sessions"),
    (&["rusqlite"], &["flows/import/legacy/sqlite.rs"], "rusqlite lives in flows/import/legacy/sqlite.rs"),
    (&["overlay_migration", "sea_orm_migration"], &["main.rs", "boot.rs"], "migrations are run by main and boot"),
];

/// Most lines of a file.
const MAX_LINES: usize = 400;

/// A rule broken.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Breach {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) reason: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.reason)
    }
}

/// Every breach in these files, which are all there are.
pub(super) fn breaches(files: &[File]) -> Vec<Breach> {
    let modules: BTreeSet<Vec<String>> = files.iter().filter_map(|f| module_of(&f.path)).collect();
    let sources: Vec<(&File, Source)> = files.iter().map(|file| (file, Source::read(file))).collect();
    let for_tests: BTreeSet<Vec<String>> = sources.iter().flat_map(|(_, source)| test_files(source)).collect();
    let mut found = BTreeSet::new();
    for (file, source) in &sources {
        let mut breach = |line: usize, reason: String| {
            found.insert(Breach { file: file.path.clone(), line, reason });
        };
        let lines = file.text.lines().count();
        if lines > MAX_LINES {
            breach(MAX_LINES + 1, format!("{lines} lines; a file has at most {MAX_LINES}"));
        }
        if !["//!", "#![doc"].iter().any(|doc| file.text.starts_with(doc)) {
            breach(1, "a file begins with a doc comment".into());
        }
        if !source.module.as_ref().is_some_and(|module| for_tests.contains(module)) {
            for at in unwraps(&source.code).filter(|at| !source.is_test(*at)) {
                breach(source.line(at), "no `unwrap()` outside of tests: `expect` says why it holds".into());
            }
        }
        let Some(module) = &source.module else { continue };
        for import in source.imports(&modules) {
            let reasons = match &import.target {
                Target::Ours(path) => ours(&file.path, module, path, &modules),
                Target::Foreign(path) => foreign(&file.path, &path[0]),
            };
            reasons.into_iter().for_each(|reason| breach(import.line, reason));
        }
    }
    found.into_iter().collect()
}

/// Modules in files of their own that only tests compile.
fn test_files(source: &Source) -> Vec<Vec<String>> {
    let Some(module) = &source.module else { return Vec::new() };
    source.test_modules().into_iter().map(|name| [&module[..], &[name]].concat()).collect()
}

fn unwraps(code: &str) -> impl Iterator<Item = usize> {
    words(code, "unwrap").filter(|at| {
        let before = code[..*at].trim_end();
        let after = code[at + "unwrap".len()..].trim_start();
        let called = before.ends_with('.') && after.strip_prefix('(').is_some_and(|a| a.trim_start().starts_with(')'));
        called || before.ends_with("::")
    })
}

/// What is wrong with a file of `module` naming `path` of our own crate.
fn ours(file: &str, module: &[String], path: &[String], modules: &BTreeSet<Vec<String>>) -> Vec<String> {
    let (Some(own), Some(other)) = (module.first(), path.first()) else {
        // `lib.rs` itself, or the crate's root.
        return Vec::new();
    };
    let mut reasons = Vec::new();
    if other == "*" {
        reasons.push("names everything there is; name what is meant".to_owned());
    } else if own != other {
        reasons.extend(floor(file, own, other, modules));
    }
    let segment = |path: &[String], n: usize| path.get(n).cloned().unwrap_or_default();
    if own == "domain" && other == "domain" {
        let (room, sibling) = (segment(module, 1), segment(path, 1));
        let exists = modules.contains(&vec!["domain".to_owned(), sibling.clone()]);
        let is_room = sibling == "*" || exists && !SHARED.contains(&sibling.as_str());
        if is_room && room != sibling && !room.is_empty() {
            reasons.push(format!("{room} names its sibling {sibling}; what needs two rooms is a flow"));
        }
    }
    if own == "transport" && other == "transport" {
        let (side, sibling) = (segment(module, 1), segment(path, 1));
        let sides = ["graphql", "rest"];
        let crosses = sides.contains(&side.as_str()) && sides.contains(&sibling.as_str()) && side != sibling;
        if crosses && !(sibling == "rest" && segment(path, 2) == "error") {
            reasons.push(format!("{side} names {sibling}; the two transports do not know each other"));
        }
        if sides.contains(&side.as_str()) && sibling == "*" {
            reasons.push(format!("{side} names all of transport; the two transports do not know each other"));
        }
    }
    reasons
}

fn floor(file: &str, own: &str, other: &str, modules: &BTreeSet<Vec<String>>) -> Option<String> {
    let inside = file.strip_prefix("src/").unwrap_or(file);
    if let Some(outside) = OUTSIDE.iter().find(|o| o.name == other) {
        let allowed = outside.used_by.contains(&inside);
        return (!allowed).then(|| format!("{other} is used by {} alone", outside.used_by.join(", ")));
    }
    if let Some(outside) = OUTSIDE.iter().find(|o| o.name == own) {
        return (!outside.uses.contains(&other)).then(|| format!("{own} stands outside and may not use {other}"));
    }
    let place = |floor: &str| FLOORS.iter().position(|f| *f == floor);
    match (place(own), place(other)) {
        (Some(from), Some(to)) if to < from => Some(format!("imports go down only: {own} is below {other}")),
        (Some(_), Some(_)) => None,
        (Some(_), None) if !modules.contains(&vec![other.to_owned()]) => None,
        // A new module gets its place in the README's list before anybody uses it.
        (Some(_), None) => Some(format!("{other} is on no floor")),
        (None, _) => Some(format!("{own} is on no floor")),
    }
}

/// What is wrong with a file naming a crate.
fn foreign(file: &str, name: &str) -> Vec<String> {
    let inside = file.strip_prefix("src/").unwrap_or(file);
    let is_at = |place: &&str| match place.strip_prefix('*') {
        Some(end) => inside.ends_with(end),
        None if place.ends_with('/') => inside.starts_with(*place),
        None => inside == *place,
    };
    let broken = KEPT.iter().filter(|(crates, places, _)| crates.contains(&name) && !places.iter().any(is_at));
    broken.map(|(.., rule)| (*rule).to_owned()).collect()
}
