//! What is written down twice says the same: the schema file and the schema, entities and tables, triggers and their
//! list, steps and their way back, settings and their documents.

mod drift;
mod migrations;
mod shape;

use overlay::config::SETTINGS;

/// A file at the top level.
fn file(name: &str) -> String {
    let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn the_schema_file_is_the_schema() {
    assert!(
        file("schema.graphql") == overlay::transport::graphql::sdl(),
        "schema.graphql is not what the server serves: run `make schema` and review the difference"
    );
}

/// Settings of which `wanted` finds no line, and whether those found stand in the order of the list.
fn documented(text: &str, wanted: impl Fn(&str, &str) -> String) -> (Vec<String>, bool) {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let place = |line: &str| lines.iter().position(|l| l.starts_with(line));
    let wanted: Vec<String> = SETTINGS.iter().map(|s| wanted(s.name, s.default)).collect();
    let missing = wanted.iter().filter(|line| place(line).is_none()).cloned().collect();
    (missing, wanted.iter().filter_map(|line| place(line)).is_sorted())
}

#[test]
fn every_setting_is_in_the_example_with_its_default() {
    let text = file(".env.example").lines().map(|l| format!("{}\n", l.trim_end())).collect::<String>();
    // The end of the line is part of it: a default must not be a longer one's beginning.
    let lines = text.replace('\n', "$\n");
    let (missing, in_order) = documented(&lines, |name, default| format!("# {name}={default}$"));
    assert!(missing.is_empty(), ".env.example lacks these lines:\n{}", missing.join("\n"));
    assert!(in_order, "the settings in .env.example stand in another order than in SETTINGS");
}

#[test]
fn every_setting_is_in_the_readme_with_its_default() {
    let row = |name: &str, default: &str| match default {
        "" => format!("| `{name}` | – |"),
        default => format!("| `{name}` | `{default}` |"),
    };
    let (missing, _) = documented(&file("README.md"), row);
    assert!(missing.is_empty(), "README.md's table of settings lacks these rows:\n{}", missing.join("\n"));
}

#[test]
fn a_missing_or_different_default_is_noticed() {
    let whole: String = SETTINGS.iter().map(|s| format!("# {}={}\n", s.name, s.default)).collect();
    let line = |name: &str, default: &str| format!("# {name}={default}");
    assert_eq!(documented(&whole, line), (vec![], true));
    let (missing, _) = documented(&whole.replace("# PG_PORT=5432\n", ""), line);
    assert_eq!(missing, ["# PG_PORT=5432"]);
    let (missing, _) = documented(&whole.replace("5432", "5433"), line);
    assert_eq!(missing, ["# PG_PORT=5432"]);
    let turned: String = whole.lines().rev().map(|l| format!("{l}\n")).collect();
    assert_eq!(documented(&turned, line), (vec![], false));
}
