//! What is measured, as the source, the manual, the alerts and the dashboard say it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use super::{metrics, promtool, read};
use crate::harness::folder;

type Labels = BTreeSet<String>;

/// Every metric that the source records, with its labels.
fn measured() -> BTreeMap<String, Labels> {
    fn walk(folder: &Path, out: &mut BTreeMap<String, Labels>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                scan(&std::fs::read_to_string(&path).expect("a text"), out);
            }
        }
    }
    fn scan(text: &str, out: &mut BTreeMap<String, Labels>) {
        for macro_of in ["metrics::counter!(", "metrics::gauge!(", "metrics::histogram!("] {
            for rest in text.split(macro_of).skip(1) {
                let mut depth = 1;
                let end = rest.find(|c| {
                    depth += i32::from(c == '(') - i32::from(c == ')');
                    depth == 0
                });
                let parts: Vec<&str> = rest[..end.expect("an end")].split('"').collect();
                let mut literals = parts.iter().zip(parts.iter().skip(1)).skip(1).step_by(2);
                // A name that is a constant is told once, by `describe`.
                let Some((name, _)) = literals.next().filter(|(name, _)| name.starts_with("overlay_")) else {
                    continue;
                };
                let labels = literals.filter(|(_, next)| next.trim_start().starts_with("=>"));
                out.entry((*name).to_string()).or_default().extend(labels.map(|(label, _)| (*label).to_string()));
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut out);
    out.entry("overlay_connections_handed_over_total".into()).or_default();
    out
}

/// The rows of the manual's table: metrics, and the labels that any of them has.
fn told(manual: &str) -> Vec<(Labels, Labels)> {
    let rows = manual.lines().filter_map(|line| line.strip_prefix("| `overlay_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let names = format!("overlay_{}", cells[0]);
        let names = names.split(", ").map(|name| name.trim_matches('`').to_owned()).collect();
        let labels = cells[1].split(", ").filter(|label| !label.is_empty());
        (names, labels.map(str::to_owned).collect())
    })
    .collect()
}

#[test]
fn the_manual_lists_every_metric_with_its_labels() {
    let (measured, rows) = (measured(), told(&read("docs/OPERATIONS.md")));
    assert!(measured.len() > 50, "{measured:?}");
    for (names, labels) in &rows {
        let known: Vec<&Labels> =
            names.iter().map(|n| measured.get(n).unwrap_or_else(|| panic!("{n} is not"))).collect();
        assert_eq!(&known.into_iter().flatten().cloned().collect::<Labels>(), labels, "labels of {names:?}");
    }
    let listed: BTreeSet<&String> = rows.iter().flat_map(|(names, _)| names).collect();
    let missing: Vec<_> = measured.keys().filter(|name| !listed.contains(name)).collect();
    assert!(missing.is_empty(), "not in the table of metrics: {missing:?}");
}

/// What an expression asks for and nobody measures: metrics, and labels that its metrics do not have.
fn unknown(expression: &str, measured: &BTreeMap<String, Labels>) -> Vec<String> {
    let asked = metrics(expression);
    let nobodys = asked.iter().filter(|name| !measured.contains_key(**name)).map(|name| (*name).to_owned());
    let mut wrong: Vec<String> = nobodys.collect();
    // A selector belongs to the word before it, `by (…)` to the whole.
    let all: Labels = asked.iter().filter_map(|name| measured.get(*name)).flatten().cloned().collect();
    let is_given = |label: &str| ["instance", "job", "le"].contains(&label);
    let mut rest = expression;
    while let Some(at) = rest.find('{') {
        let end = at + rest[at..].find('}').expect("a selector ends");
        let name = metrics(&rest[..at])
            .last()
            .map(|_| rest[..at].rsplit(|c: char| !(c.is_ascii_lowercase() || c == '_')).next());
        let name = name.flatten().unwrap_or_default().trim_end_matches("_bucket").trim_end_matches("_count");
        let labels = measured.get(name);
        for matcher in rest[at + 1..end].split(',').map(str::trim).filter(|matcher| matcher.contains(['=', '!'])) {
            let label = matcher.split(['=', '!']).next().unwrap_or_default();
            if !is_given(label) && !labels.is_some_and(|labels| labels.contains(label)) {
                wrong.push(format!("{name}{{{label}}}"));
            }
        }
        rest = &rest[end + 1..];
    }
    for by in expression.split("by (").skip(1) {
        let labels = by.split(')').next().unwrap_or_default().split(", ");
        wrong.extend(labels.filter(|l| !is_given(l) && !all.contains(*l)).map(|l| format!("by ({l})")));
    }
    wrong
}

#[test]
fn what_nobody_measures_is_found() {
    let measured = measured();
    let find = |expression: &str| unknown(expression, &measured);
    assert!(
        find(r#"sum by (route, le) (rate(overlay_http_seconds_bucket{instance=~"$instance",status=~"5.."}[5m]))"#)
            .is_empty()
    );
    assert_eq!(find("rate(overlay_nothing_total[5m])"), ["overlay_nothing_total"]);
    assert_eq!(find(r#"overlay_http_seconds_count{path="x"}"#), ["overlay_http_seconds{path}"]);
    assert_eq!(find("sum by (path) (overlay_http_seconds_count)"), ["by (path)"]);
}

/// Each expression of the dashboard is one that Prometheus can read.
#[test]
fn prometheus_can_read_what_the_dashboard_asks() {
    let dashboard: Value = serde_json::from_str(&read("docs/monitoring/dashboard.json")).expect("JSON");
    let targets = dashboard["panels"].as_array().expect("panels").iter().flat_map(|p| p["targets"].as_array());
    let expressions: Vec<&str> = targets.flatten().filter_map(|target| target["expr"].as_str()).collect();
    assert!(expressions.len() > 40);
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (n, expression) in expressions.iter().enumerate() {
        // Grafana puts a duration there.
        let expression = expression.replace("$__rate_interval", "1m").replace("$__range", "1h");
        writeln!(rules, "      - {{ record: 'r{n}', expr: {} }}", Value::from(expression)).expect("a String takes it");
    }
    let file = folder().join("dashboard.yml");
    std::fs::write(&file, rules).expect("a file");
    promtool("check", &file);
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_what_is_measured() {
    let measured = measured();
    let dashboard: Value = serde_json::from_str(&read("docs/monitoring/dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let rows: Vec<&str> = panels.iter().filter(|p| p["type"] == "row").filter_map(|p| p["title"].as_str()).collect();
    assert_eq!(rows, ["Traffic", "Cache", "Coherence", "PostgreSQL", "Redis", "Chain", "Commerce", "Lineage"]);
    let asked = |panel: &Value| -> Vec<String> {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(|target| target["expr"].as_str().expect("an expression").to_owned()).collect()
    };
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(!asked(panel).is_empty(), "{panel} shows nothing");
        for expression in asked(panel) {
            assert!(!metrics(&expression).is_empty(), "{expression} asks for nothing of ours");
            let wrong = unknown(&expression, &measured);
            assert!(wrong.is_empty(), "{}: {wrong:?} in {expression}", panel["title"]);
        }
    }
    let rules = read("docs/monitoring/alerts.yml");
    // Texts have braces of their own.
    let rules: Vec<&str> = rules.lines().filter(|line| !line.contains("{{") && !line.contains("labels: {")).collect();
    for (line, wrong) in rules.iter().map(|line| (line, unknown(line, &measured))) {
        let wrong: Vec<_> = wrong.iter().filter(|wrong| !wrong.starts_with("by (")).collect();
        assert!(wrong.iter().all(|wrong| wrong.starts_with("up{")), "{wrong:?} in {line}");
    }
}
