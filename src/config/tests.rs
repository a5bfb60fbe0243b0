//! What settings are accepted, and what is said of those that are not.

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Config, Vec<Fault>> {
    Config::read(&|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
}

#[test]
fn the_defaults_are_accepted() {
    let config = read(&[]).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert!(config.database.is_none() && config.redis.is_none());
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8788");
    assert_eq!(config.http.body_limit, 256 << 10);
}

#[test]
fn all_faults_are_told_at_once_by_name_and_without_secrets() {
    let faults = read(&[
        ("PG_URL", "mysql://u:hunter2@h/d"),
        ("PG_POOL_MAX", "zero"),
        ("BODY_SIZE_LIMIT", "9 parsecs"),
        ("CACHE_TTLS_JSON", r#"{"asset": 5, "bundles": -1}"#),
        ("PAY_SPLITS_JSON", r#"{"overlay": 0.5}"#),
        ("ADMIN_IDENTITY_KEYS", "02ff"),
        ("SWR_ENABLE", "maybe"),
        ("LOG_FILTER", "overlay=loudly"),
    ])
    .err()
    .expect("faults");
    let told = faults.iter().map(|f| format!("{}: {}", f.name, f.message)).collect::<Vec<_>>().join("\n");
    for name in [
        "PG_URL",
        "PG_POOL_MAX",
        "BODY_SIZE_LIMIT",
        "`asset`",
        "`bundles`",
        "PAY_SPLITS_JSON",
        "ADMIN_IDENTITY_KEYS",
        "SWR_ENABLE",
        "LOG_FILTER",
    ] {
        assert!(told.contains(name), "{name} is missing in:\n{told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
    assert!(told.contains("1 to 1000"), "the accepted form is told: {told}");
}

#[test]
fn a_partial_ttl_object_overrides_only_what_it_names() {
    let config = read(&[("CACHE_TTLS_JSON", r#"{"assets": 1000}"#)]).unwrap_or_else(|f| panic!("{f:?}"));
    assert_eq!(config.cache.ttls.soft(cache::Kind::Asset), Duration::from_secs(1));
    assert_eq!(config.cache.ttls.soft(cache::Kind::Listing), Duration::from_secs(180));
}

#[test]
fn parts_make_a_url_and_old_names_work() {
    let config =
        read(&[("PG_HOST", "db"), ("PG_PASSWORD", "p@ss/word"), ("PORT", "9000")]).unwrap_or_else(|f| panic!("{f:?}"));
    let url = config.database.expect("host given").url;
    assert_eq!(url, "postgres://overlay:p%40ss%2Fword@db:5432/overlay?sslmode=prefer");
    assert_eq!(config.http.listen.port(), 9000);
}

#[test]
fn replicas_have_half_the_time_for_a_statement() {
    let config = read(&[("PG_READ_URLS", "postgres://a/x, postgresql://b/x"), ("SQL_TIMEOUT_MS", "3000")]);
    let replicas = config.unwrap_or_else(|f| panic!("{f:?}")).replicas;
    let urls: Vec<&str> = replicas.databases.iter().map(|d| d.url.as_str()).collect();
    assert_eq!(urls, ["postgres://a/x", "postgresql://b/x"]);
    assert!(replicas.databases.iter().all(|d| d.statement_timeout == Duration::from_millis(1_500)));
    assert!(read(&[("PG_READ_URLS", "postgres://a/x,mysql://b/x")]).is_err());
}

#[test]
fn certificates_are_read_and_what_is_wrong_with_them_is_told_by_name() {
    let folder = std::env::temp_dir().join(format!("overlay-config-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir_all(&folder).expect("folder");
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("text").to_owned()
    };
    let (empty, key) = (file("empty.pem", "hunter2"), file("key.pem", "-----BEGIN PRIVATE KEY-----\nhunter2"));
    let url = ("REDIS_URL", "rediss://u:hunter2@h");
    let missing = folder.join("missing.pem").to_str().expect("text").to_owned();
    let settings: [(&[(&str, &str)], &str); 6] = [
        (&[url, ("REDIS_TLS_CA", &missing)], "REDIS_TLS_CA"),
        (&[url, ("REDIS_TLS_CA", &empty)], "REDIS_TLS_CA"),
        (&[url, ("REDIS_TLS_CERT", &key)], "REDIS_TLS_CERT"),
        (&[url, ("REDIS_TLS_KEY", &empty)], "REDIS_TLS_KEY"),
        (&[url, ("REDIS_TLS_KEY", &key)], "REDIS_TLS_KEY"),
        (&[("REDIS_URL", "redis-sentinel://u:hunter2@h")], "REDIS_URL"),
    ];
    for (given, name) in settings {
        let faults = read(given).err().expect("faults");
        assert!(faults.iter().any(|f| f.name == name), "{given:?}: {faults:?}");
        assert!(!format!("{faults:?}").contains("hunter2"), "{faults:?}");
    }
    std::fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn secrets_may_be_in_files() {
    let folder = std::env::temp_dir().join(format!("overlay-secrets-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let url = file("url", "postgres://u:hunter2@h/d\n");
    let config = read(&[("PG_URL_FILE", &url)]).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert!(config.database.is_some(), "what the file holds counts");
    let (empty, large) = (file("empty", " \n"), file("large", &"x".repeat(65 << 10)));
    let absent = folder.join("absent");
    for (given, why) in [
        (vec![("PG_URL_FILE", url.as_str()), ("PG_URL", "postgres://u@h/d")], "twice"),
        (vec![("PG_URL_FILE", absent.to_str().expect("UTF-8"))], "cannot be read"),
        (vec![("PG_URL_FILE", &empty)], "is empty"),
        (vec![("PG_URL_FILE", &large)], "more than 64 KiB"),
    ] {
        let faults = read(&given).err().unwrap_or_else(|| panic!("{given:?} is taken"));
        let told = format!("{faults:?}");
        assert!(told.contains("PG_URL") && told.contains(why) && !told.contains("hunter2"), "{told}");
    }
    // Only secrets.
    assert_eq!(read(&[("OVERLAY_PORT_FILE", &url)]).unwrap_or_else(|f| panic!("{f:?}")).http.listen.port(), 8788);
    std::fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn an_authority_of_our_own_checks_the_certificate_and_is_not_set_in_vain() {
    let ca = std::env::temp_dir().join(format!("overlay-ca-{}.pem", uuid::Uuid::new_v4().simple()));
    std::fs::write(&ca, "-----BEGIN CERTIFICATE-----").expect("a file");
    let ca = ca.to_str().expect("text");
    let url_of = |pairs: &[(&str, &str)]| {
        let config = read(&[pairs, &[("PG_TLS_CA", ca)]].concat()).unwrap_or_else(|f| panic!("{f:?}"));
        config.database.expect("given").url
    };
    let encoded: String = url::form_urlencoded::byte_serialize(ca.as_bytes()).collect();
    for (given, mode) in [
        (("PG_URL", "postgres://u@h/d"), "verify-full"),
        (("PG_HOST", "h"), "verify-full"),
        (("PG_URL", "postgres://u@h/d?sslmode=verify-ca"), "verify-ca"),
    ] {
        let url = url_of(&[given]);
        assert!(url.contains(&format!("sslmode={mode}")) && url.contains(&format!("sslrootcert={encoded}")), "{url}");
    }
    let own = "postgres://u@h/d?sslrootcert=/own.pem";
    assert_eq!(url_of(&[("PG_URL", own)]), format!("{own}&sslmode=verify-full"));
    for (given, name) in [
        (vec![("PG_URL", "postgres://u@h/d?sslmode=require")], "PG_URL"),
        (vec![("PG_HOST", "h"), ("PG_SSL", "prefer")], "PG_URL"),
        (vec![("PG_URL", "postgres://u@h/d?sslmode=verify-full&sslmode=disable")], "PG_URL"),
        (vec![("PG_URL", "postgres://u@h/d?sslmode=verify-full&ssl-mode=require")], "PG_URL"),
        (vec![("PG_URL", "postgres://u@h/d"), ("PG_POOLER_URL", "postgres://u@p/d?sslmode=disable")], "PG_POOLER_URL"),
        (vec![("PG_URL", "postgres://u@h/d"), ("PG_TLS_CERT", ca)], "PG_TLS_KEY"),
        (vec![("PG_POOLER_URL", "postgres://u@p/d")], "PG_POOLER_URL"),
    ] {
        let faults = read(&[&given[..], &[("PG_TLS_CA", ca)]].concat()).err().expect("faults");
        assert_eq!(faults.iter().map(|fault| fault.name).collect::<Vec<_>>(), [name], "{given:?}");
    }
    std::fs::remove_file(ca).expect("removed");
}
