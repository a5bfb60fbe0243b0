//! The alert rules in `docs/monitoring`: they ask for what is measured, fire when they should, and say what to do.

mod injected;
mod measured;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn read(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What follows `- alert:` in the rules.
fn alerts(rules: &str) -> Vec<&str> {
    rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect()
}

/// The metrics of ours that the rules ask for.
fn metrics(rules: &str) -> BTreeSet<&str> {
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let words = rules.split(|letter: char| !is_part(letter)).filter(|word| word.starts_with("overlay_"));
    words.map(|word| word.trim_end_matches("_bucket").trim_end_matches("_count")).collect()
}

#[test]
fn alerts_ask_for_what_is_measured_and_say_what_to_do() {
    let (rules, manual) = (read("docs/monitoring/alerts.yml"), read("docs/OPERATIONS.md"));
    assert!(metrics(&rules).len() > 10, "{:?}", metrics(&rules));
    for metric in metrics(&rules) {
        assert!(manual.contains(&format!("`{metric}`")), "{metric} is not in the table of metrics");
    }
    for alert in alerts(&rules) {
        let row = manual.lines().find(|line| line.starts_with(&format!("| `{alert}` |")));
        assert!(row.is_some_and(|row| row.len() > 120), "docs/OPERATIONS.md does not say what to do about {alert}");
    }
}

#[test]
fn alerts_fire_when_they_should_and_not_before() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring");
    let (rules, tests) = (read("docs/monitoring/alerts.yml"), read("docs/monitoring/alerts_test.yml"));
    for alert in alerts(&rules) {
        assert!(tests.contains(&format!("      - alertname: {alert}\n")), "{alert} is never seen to fire");
        assert!(
            tests.contains(&format!("alertname: {alert}, eval_time: 50m, exp_alerts: []")),
            "{alert} is never quiet"
        );
    }
    promtool("check", &folder.join("alerts.yml"));
    promtool("test", &folder.join("alerts_test.yml"));
}

/// Prometheus's own tool must `check` or `test` a file of rules with success.
fn promtool(what: &str, file: &Path) {
    // On the path, or where scripts/bootstrap puts it.
    let places = ["promtool", concat!(env!("CARGO_MANIFEST_DIR"), "/.overlay/bin/promtool")];
    let run = |place| Command::new(place).args([what, "rules"]).arg(file).output().ok();
    let Some(output) = places.into_iter().find_map(run) else {
        assert!(std::env::var_os("OVERLAY_TEST_REQUIRE_PROMTOOL").is_none(), "promtool is not installed");
        return println!("NOT TESTED: promtool, which comes with Prometheus, is not installed");
    };
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}
