//! The house's floors hold: who may import whom, which crate lives where, how long a file is. `src/README.md` says why.

mod rules;
mod source;
mod untested;

use std::path::{Path, PathBuf};

use rules::{FLOORS, breaches};
use source::{File, blanked};

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below `folder`, sorted.
fn files(folder: &Path, out: &mut Vec<File>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let path = path.strip_prefix(top()).expect("below the top level").display().to_string();
            out.push(File { path, text });
        }
    }
}

#[test]
fn every_file_keeps_to_its_floor() {
    let mut all = Vec::new();
    for folder in ["src", "entity", "migration", "tests"] {
        files(&top().join(folder), &mut all);
    }
    assert!(all.len() > 100, "only {} files were found", all.len());
    let found: Vec<String> = breaches(&all).iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{} breaches of src/README.md:\n{}", found.len(), found.join("\n"));
}

#[test]
fn the_readme_lists_the_floors_that_are_checked() {
    let readme = std::fs::read_to_string(top().join("src/README.md")).expect("src/README.md");
    let wanted = format!("Imports go down only: {}.", FLOORS.join(" → "));
    assert!(readme.replace('\n', " ").contains(&wanted), "src/README.md does not say: {wanted}");
}

/// Breaches of made-up files, as `file:line reason`; files not given a doc comment get one.
fn found(sources: &[(&str, &str)]) -> Vec<String> {
    let file = |(path, text): &(&str, &str)| {
        let text = if text.starts_with("//!") || path.contains("bare") {
            (*text).to_owned()
        } else {
            format!("//! A.\n{text}")
        };
        File { path: (*path).to_owned(), text }
    };
    let files: Vec<File> = sources.iter().map(file).collect();
    breaches(&files).iter().map(ToString::to_string).collect()
}

/// A module of each kind, so that made-up paths lead somewhere.
const ROOMS: [(&str, &str); 10] = [
    ("src/domain/mod.rs", "pub mod assets;"),
    ("src/domain/assets/mod.rs", ""),
    ("src/domain/prices/mod.rs", ""),
    ("src/domain/spv/mod.rs", ""),
    ("src/domain/page.rs", ""),
    ("src/transport/mod.rs", ""),
    ("src/transport/rest/mod.rs", ""),
    ("src/transport/rest/error.rs", ""),
    ("src/transport/graphql/mod.rs", ""),
    ("src/cache/mod.rs", ""),
];

/// What is found when `text` is the file at `path`, beside [`ROOMS`].
fn found_in(path: &str, text: &str) -> Vec<String> {
    let rooms = ROOMS.iter().filter(|(other, _)| *other != path).copied();
    found(&rooms.chain([(path, text)]).collect::<Vec<_>>())
}

#[test]
fn each_kind_of_breach_is_found() {
    let long = "\n".repeat(400);
    let cases = [
        ("src/db.rs", "use crate::cache::Key;", "src/db.rs:2: imports go down only: db is below cache"),
        ("src/error.rs", "use crate::{db, error::X};", "src/error.rs:2: imports go down only: error is below db"),
        ("src/cache/read.rs", "fn a() { crate::domain::b(); }", "src/cache/read.rs:2: imports go down only"),
        ("src/cache/a/b.rs", "\nuse super::super::super::app::App;", "src/cache/a/b.rs:3: imports go down only"),
        ("src/app.rs", "use crate::{\n    db::Db,\n    flows::listing,\n};", "src/app.rs:4: imports go down only"),
        ("src/flows/a.rs", "mod b { use super::super::super::transport::x; }", "src/flows/a.rs:2: imports go down"),
        ("src/flows/a.rs", "use crate as house; fn a() { house::boot::b() }", "src/flows/a.rs:2: imports go down"),
        ("src/domain/assets/keys.rs", "use crate::*;", "src/domain/assets/keys.rs:2: names everything"),
        ("src/cache/read.rs", "use crate::telemetry::metrics;", "src/cache/read.rs:2: telemetry is used by"),
        ("src/flows/a.rs", "use crate::devstack::DevStack;", "src/flows/a.rs:2: devstack is used by"),
        ("src/telemetry.rs", "use crate::db::Db;", "src/telemetry.rs:2: telemetry stands outside"),
        ("src/attic.rs", "use crate::db::Db;", "src/attic.rs:2: attic is on no floor"),
        (
            "src/domain/assets/store.rs",
            "use crate::domain::prices::Price;",
            "store.rs:2: assets names its sibling prices",
        ),
        (
            "src/domain/assets/store.rs",
            "use super::super::prices::Price;",
            "store.rs:2: assets names its sibling prices",
        ),
        (
            "src/domain/assets/store.rs",
            "use crate::domain; fn a() { domain::spv::b() }",
            "assets names its sibling spv",
        ),
        ("src/domain/spv/tx.rs", "use crate::domain::{page, assets};", "tx.rs:2: spv names its sibling assets"),
        ("src/domain/assets/a.rs", "use crate::domain::*;", "a.rs:2: assets names its sibling *"),
        ("src/domain/page.rs", "use super::assets::Asset;", "page.rs:2: page names its sibling assets"),
        ("src/transport/rest/a.rs", "use crate::transport::graphql::sdl;", "a.rs:2: rest names graphql"),
        ("src/transport/graphql/a.rs", "use super::super::rest::listings;", "a.rs:2: graphql names rest"),
        ("src/transport/graphql/a.rs", "use crate::transport::*;", "a.rs:2: graphql names all of transport"),
        ("src/flows/a.rs", "use axum::Router;", "src/flows/a.rs:2: axum lives in"),
        ("src/flows/a.rs", "fn a() -> ::axum::Router { }", "src/flows/a.rs:2: axum lives in"),
        ("src/transport/rest/a.rs", "use async_graphql::ID;", "a.rs:2: async_graphql lives in"),
        ("src/domain/assets/mod.rs", "use sea_orm::Value;", "mod.rs:2: sea_orm lives in"),
        ("src/coherence/clock.rs", "type A = sea_orm::DbErr;", "clock.rs:2: sea_orm lives in"),
        ("src/cache/read.rs", "use redis::Cmd;", "read.rs:2: redis lives in"),
        ("src/cache/read.rs", "use bb8_redis::bb8;", "read.rs:2: redis lives in"),
        ("src/db.rs", "use overlay_migration::Migrator;", "db.rs:2: migrations are run by"),
        ("src/db.rs", "fn a() { b().unwrap(); }", "src/db.rs:2: no `unwrap()`"),
        ("src/db.rs", "fn a() { b()\n        .unwrap ( ); }", "src/db.rs:3: no `unwrap()`"),
        ("src/db.rs", "fn a() { b().map(Option::unwrap); }", "src/db.rs:2: no `unwrap()`"),
        ("tests/it/a.rs", "fn a() { b().unwrap(); }", "tests/it/a.rs:2: no `unwrap()`"),
        ("entity/src/a.rs", "#[cfg(test)]\nmod t { }\nfn a() { b().unwrap(); }", "entity/src/a.rs:4: no `unwrap()`"),
        ("src/db.rs", &long, "src/db.rs:401: 401 lines"),
        ("migration/src/bare.rs", "// A comment.\n", "migration/src/bare.rs:1: a file begins with a doc comment"),
    ];
    let missed: Vec<_> = cases
        .iter()
        .filter(|(path, text, wanted)| !found_in(path, text).iter().any(|breach| breach.contains(wanted)))
        .map(|(path, text, wanted)| format!("{path} with {text:?}: no `{wanted}` in {:?}", found_in(path, text)))
        .collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn what_is_allowed_is_not_reported() {
    let cases = [
        ("src/db.rs", "// use crate::cache::Key;\n/* crate::app /* axum::x */ */\nconst A: &str = \"crate::app::x\";"),
        (
            "src/db.rs",
            "const A: &str = r#\"\"crate::app::x\"#; const B: char = '\"'; const C: u8 = b'\\''; // crate::app::x",
        ),
        ("src/db.rs", "fn a<'t>(b: &'t str) -> &'t str { b } // 'crate::app"),
        ("src/db.rs", "#[cfg(test)]\nmod tests { fn a() { b().unwrap(); } }"),
        ("src/db.rs", "fn a() { b().unwrap_or_default(); c().unwrap_or_else(d); unwrap(); }"),
        ("src/flows/a.rs", "use crate::app::App; use crate::domain::spv::Tx;"),
        ("src/domain/assets/store.rs", "use sea_orm::Value; use crate::domain::page; use super::Asset;"),
        ("src/domain/mod.rs", "pub mod assets; use self::assets::Asset;"),
        ("src/transport/graphql/a.rs", "use crate::transport::rest::error; use async_graphql::ID;"),
        ("src/transport/http.rs", "use super::{graphql, rest}; fn a() { crate::telemetry::continue_trace(); }"),
        ("src/cache/store/a.rs", "use redis::Cmd; use bb8_redis::bb8;"),
        ("src/main.rs", "use overlay::devstack::DevStack; use overlay::transport::graphql;"),
        ("tests/it/a.rs", "use overlay::cache::Redis; use sea_orm::Value;"),
    ];
    for (path, text) in cases {
        assert_eq!(found_in(path, text), Vec::<String>::new(), "{path}: {text}");
    }
    let apart = [
        ("src/db.rs", "#[cfg(test)]\nmod tests;"),
        ("src/db/tests.rs", "fn a() { b().unwrap(); }"),
        ("src/devstack/mod.rs", "mod redis; pub use redis::Server;"),
        ("src/devstack/redis.rs", "pub struct Server;"),
    ];
    assert_eq!(found(&apart), Vec::<String>::new());
}

#[test]
fn blanking_keeps_every_place() {
    let text = "a /* é\n*/ \"x\\\"y\nz\" r##\"q\"#\"## 'é' '\\'' b'\\\\' 'life b\"s\" // end\ncode";
    let code = blanked(text);
    assert_eq!(code.len(), text.len());
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "b", "'life", "b", "code"]);
    assert_eq!(code.matches('\n').count(), text.matches('\n').count());
}
