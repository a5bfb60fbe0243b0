//! Reading single settings: each fault is noted, reading goes on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

use super::{Config, Fault, SETTINGS, Setting};
use crate::domain::receipts::broadcast::{Protocol, Provider};

pub(super) struct Reader<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    faults: Vec<Fault>,
    /// Settings that are read under another name this time.
    renamed: Vec<(&'static str, &'static str)>,
    /// What the files hold that secrets are read from.
    files: BTreeMap<&'static str, String>,
}

/// Largest file that a secret is read from, bytes.
const MAX_SECRET: u64 = 64 << 10;

/// The text of a file, without the end of its last line.
fn secret_of(path: &str) -> std::result::Result<String, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_SECRET + 1).read_to_string(&mut text));
    match read {
        Err(cause) => Err(format!("{path:?} cannot be read: {cause}")),
        Ok(_) if text.len() as u64 > MAX_SECRET => Err(format!("{path:?} has more than {} KiB", MAX_SECRET >> 10)),
        Ok(_) if text.trim().is_empty() => Err(format!("{path:?} is empty")),
        Ok(_) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(get: &'a dyn Fn(&str) -> Option<String>) -> Self {
        let mut reader = Self { get, faults: Vec::new(), renamed: Vec::new(), files: BTreeMap::new() };
        for setting in SETTINGS.iter().filter(|setting| setting.secret) {
            let Some(path) = reader.given(&format!("{}_FILE", setting.name)) else { continue };
            match secret_of(path.trim()) {
                _ if reader.given(setting.name).is_some() => {
                    reader.fault_because(setting.name, "is given twice: itself, and with _FILE".into());
                }
                Ok(secret) => drop(reader.files.insert(setting.name, secret)),
                Err(why) => reader.fault_because(setting.name, format!("with _FILE, {why}")),
            }
        }
        reader
    }

    /// The settings, if nothing is wrong with any.
    pub(super) fn finish(self, config: Config) -> Result<Config, Vec<Fault>> {
        if self.faults.is_empty() { Ok(config) } else { Err(self.faults) }
    }

    fn setting(name: &str) -> &'static Setting {
        SETTINGS.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("{name} is not in SETTINGS"))
    }

    /// The value as given, or as the file holds it that is named by the setting's name and `_FILE`, of secrets.
    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        let other = self.renamed.iter().find(|(to, _)| *to == name).map(|(_, from)| *from);
        self.given(other.unwrap_or(name)).or_else(|| self.files.get(name).cloned())
    }

    /// What a variable holds; an empty one counts as not set.
    fn given(&self, name: &str) -> Option<String> {
        (self.get)(name).filter(|value| !value.trim().is_empty())
    }

    /// The value as given, or the default.
    pub(super) fn value(&self, name: &'static str) -> String {
        self.text(name).unwrap_or_else(|| Self::setting(name).default.to_owned())
    }

    /// Reads `name` from `old` when only that is set; answers whether either is.
    pub(super) fn fallback(&mut self, name: &'static str, old: &'static str) -> bool {
        if self.text(name).is_none() && self.given(old).is_some() {
            self.renamed.push((name, old));
        }
        self.text(name).is_some()
    }

    pub(super) fn fault(&mut self, name: &'static str) {
        let Setting { form, secret, .. } = Self::setting(name);
        let message = match self.text(name) {
            Some(value) if !secret => {
                format!("must be {form}; it is {:?}", value.chars().take(100).collect::<String>())
            }
            _ => format!("must be {form}"),
        };
        self.fault_because(name, message);
    }

    pub(super) fn fault_because(&mut self, name: &'static str, message: String) {
        let name = self.renamed.iter().find(|(to, _)| *to == name).map_or(name, |(_, from)| *from);
        let fault = Fault { name, message };
        // A setting that two checks find wrong is told once.
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Notes a fault when the setting is given and does not pass.
    pub(super) fn check(&mut self, name: &'static str, passes: impl Fn(&str) -> bool) {
        if self.text(name).is_some_and(|value| !passes(value.trim())) {
            self.fault(name);
        }
    }

    pub(super) fn parsed<T: FromStr>(&mut self, name: &'static str) -> Option<T> {
        let value = self.value(name).trim().parse().ok();
        if value.is_none() {
            self.fault(name);
        }
        value
    }

    /// A whole number between `min` and `max`; `min` stands in for a faulty one.
    pub(super) fn number<T: FromStr + PartialOrd>(&mut self, name: &'static str, min: T, max: T) -> T {
        match self.value(name).trim().parse::<T>() {
            Ok(number) if number >= min && number <= max => number,
            _ => {
                self.fault(name);
                min
            }
        }
    }

    pub(super) fn ms(&mut self, name: &'static str, min: u64, max: u64) -> Duration {
        Duration::from_millis(self.number(name, min, max))
    }

    pub(super) fn flag(&mut self, name: &'static str) -> bool {
        self.choice(name, &["true", "false"]) == "true"
    }

    pub(super) fn choice(&mut self, name: &'static str, choices: &[&'static str]) -> &'static str {
        let value = self.value(name).trim().to_ascii_lowercase();
        match choices.iter().find(|c| **c == value) {
            Some(choice) => choice,
            None => {
                self.fault(name);
                choices[0]
            }
        }
    }

    /// A number of bytes, with or without a unit.
    pub(super) fn size(&mut self, name: &'static str, max: usize) -> usize {
        let value = self.value(name).trim().to_ascii_lowercase();
        let (digits, unit) = value.split_at(value.bytes().take_while(u8::is_ascii_digit).count());
        let factor = match unit.trim() {
            "" | "b" => Some(1),
            "kb" => Some(1 << 10),
            "mb" => Some(1 << 20),
            _ => None,
        };
        let bytes = factor.and_then(|f: usize| digits.parse::<usize>().ok()?.checked_mul(f));
        match bytes.filter(|b| (1..=max).contains(b)) {
            Some(bytes) => bytes,
            None => {
                self.fault(name);
                max
            }
        }
    }

    pub(super) fn json(&mut self, name: &'static str, passes: impl Fn(&Value) -> bool) -> Value {
        match serde_json::from_str(&self.value(name)).ok().filter(|v| passes(v)) {
            Some(value) => value,
            None => {
                self.fault(name);
                Value::Null
            }
        }
    }

    /// The bytes of the file that is named, which must hold `mark`.
    pub(super) fn pem(&mut self, name: &'static str, mark: &str) -> Option<Vec<u8>> {
        let path = self.text(name)?;
        match std::fs::read(path.trim()) {
            Ok(bytes) if bytes.windows(mark.len()).any(|part| part == mark.as_bytes()) => return Some(bytes),
            Ok(_) => self.fault_because(name, format!("{path:?} holds no PEM of the right kind (`{mark}`)")),
            Err(cause) => self.fault_because(name, format!("{path:?} cannot be read: {cause}")),
        }
        None
    }

    /// The URL that `PG_HOST` and its companions make; `None` without `PG_HOST`. Where there is an authority to check
    /// certificates by, it says nothing of TLS unless `PG_SSL` does.
    pub(super) fn pg_url_of_parts(&mut self, has_authority: bool) -> Option<String> {
        let port: u16 = self.number("PG_PORT", 1, 65_535);
        let modes = ["disable", "prefer", "require", "verify-ca", "verify-full"];
        // The old server knew only yes and no.
        let ssl = match self.value("PG_SSL").as_str() {
            "true" => "require",
            "false" => "disable",
            _ => self.choice("PG_SSL", &modes),
        };
        let host = self.text("PG_HOST")?;
        let (user, database) = (encode(&self.value("PG_USER")), encode(&self.value("PG_DATABASE")));
        let password = self.text("PG_PASSWORD").map(|p| format!(":{}", encode(&p))).unwrap_or_default();
        let query =
            if has_authority && self.text("PG_SSL").is_none() { String::new() } else { format!("?sslmode={ssl}") };
        Some(format!("postgres://{user}{password}@{host}:{port}/{database}{query}"))
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |out, byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out + &char::from(byte).to_string(),
        _ => out + &format!("%{byte:02X}"),
    })
}

pub(super) fn has_scheme(text: &str, schemes: &[&str]) -> bool {
    let has_rest = text.trim().split_once("://").is_some_and(|(_, rest)| !rest.is_empty());
    // Parsed whole: who uses the URL later would quote it, password and all, when it cannot.
    has_rest && url::Url::parse(text.trim()).is_ok_and(|url| schemes.contains(&url.scheme()))
}

/// Services that take payments: `type` (arc or mapi) and `url`, and perhaps `apiKey` and `timeoutMs`.
pub(super) fn providers(text: &str) -> Option<Vec<Provider>> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Given {
        r#type: Protocol,
        url: String,
        api_key: Option<String>,
        timeout_ms: Option<u64>,
    }
    let given: Vec<Given> = serde_json::from_str(text).ok()?;
    let provider = |given: Given| {
        let timeout = given.timeout_ms.unwrap_or(5_000);
        let timeout = (100..=30_000).contains(&timeout).then(|| Duration::from_millis(timeout))?;
        Provider::new(given.r#type, &given.url, given.api_key.as_deref(), timeout)
    };
    Some(given).filter(|given| given.len() <= 10)?.into_iter().map(provider).collect()
}

/// Shares of `overlay` and `producer`, either of which may be left out.
pub(super) fn is_whole_split(value: &Value) -> bool {
    let Some(shares) = value.as_object() else { return false };
    let is_known = shares.keys().all(|name| ["overlay", "producer"].contains(&name.as_str()));
    let shares: Vec<f64> = shares.values().map(|share| share.as_f64().unwrap_or(f64::NAN)).collect();
    is_known && shares.iter().all(|x| (0.0..=1.0).contains(x)) && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-9
}

pub(super) fn is_script(hex: &str) -> bool {
    let is_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_hex && hex.len().is_multiple_of(2) && (2..=20_000).contains(&hex.len())
}

pub(super) fn is_identity_key(key: &str) -> bool {
    let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    key.len() == 66 && (key.starts_with("02") || key.starts_with("03")) && key.bytes().all(hex)
}
