//! Which addresses are understood, and that what is said of the others quotes no password.

use super::*;

fn parse(url: &str) -> Result<Address> {
    Address::parse(&Config { url: url.into(), timeout: Duration::from_millis(25), tls: None })
}

fn place(info: &ConnectionInfo) -> String {
    info.addr().to_string()
}

#[test]
fn one_server() {
    for (url, wanted) in [
        ("redis://cache", "cache:6379"),
        (" REDIS://u:p%40@cache:7000/3 ", "cache:7000"),
        ("rediss://[::1]:7000", "::1:7000"),
        ("redis+unix:///run/redis.sock?db=3", "/run/redis.sock"),
        ("unix:///run/redis.sock", "/run/redis.sock"),
    ] {
        let Ok(Address::Server(info)) = parse(url) else { panic!("{url} is not one server") };
        assert_eq!(place(&info), wanted);
        assert_eq!(matches!(info.addr(), ConnectionAddr::TcpTls { .. }), url.starts_with("rediss"));
    }
    let Ok(Address::Server(info)) = parse("redis://u:p%40@cache:7000/3") else { panic!("not one server") };
    let settings = info.redis_settings();
    assert_eq!((settings.username(), settings.password(), settings.db()), (Some("u"), Some("p@"), 3));
}

#[test]
fn a_cluster() {
    for url in ["redis-cluster://a:7000,b:7001", "redis+cluster://u:p@a,b,c/0", "rediss-cluster://:p@a:1,[::1]:2/"] {
        assert!(matches!(parse(url), Ok(Address::Cluster(_))), "{url}");
    }
}

#[test]
fn sentinels_and_their_master() {
    for (scheme, tls) in
        [("redis-sentinel", false), ("redis+sentinel", false), ("rediss-sentinel", true), ("rediss+sentinel", true)]
    {
        let url = format!("{scheme}://u:p%2F@a,b:7000/mine/2?sentinel_username=s&sentinel_password=q%26");
        let Ok(Address::Sentinel { sentinels, name, master }) = parse(&url) else { panic!("{url} names no sentinels") };
        assert_eq!(sentinels.iter().map(place).collect::<Vec<_>>(), ["a:26379", "b:7000"]);
        assert_eq!(name, "mine");
        let login = |i: &ConnectionInfo| {
            let settings = i.redis_settings();
            let text = |t: Option<&str>| t.unwrap_or_default().to_owned();
            (text(settings.username()), text(settings.password()), settings.db())
        };
        assert_eq!(login(&sentinels[1]), ("s".into(), "q&".into(), 0));
        assert_eq!(login(&master), ("u".into(), "p/".into(), 2));
        let found = moved(&master, "10.0.0.1".into(), 7);
        assert_eq!((place(&found), login(&found)), ("10.0.0.1:7".into(), login(&master)));
        assert_eq!(matches!(found.addr(), ConnectionAddr::TcpTls { .. }), tls);
    }
    let Ok(Address::Sentinel { sentinels, .. }) = parse("redis-sentinel://u:p@a/mine") else { panic!("no sentinels") };
    let settings = sentinels[0].redis_settings();
    assert_eq!(
        (settings.username(), settings.password()),
        (None, None),
        "the master's password is not shown to others"
    );
}

#[test]
fn what_is_malformed_is_refused_without_its_password() {
    for url in [
        "",
        "hunter2",
        "http://u:hunter2@h",
        "redis://u:hunter2@",
        "redis://u:hunter2@h:port",
        "redis://u:hunter2@h/zero",
        "redis://u:hunter2@a,b",
        "redis://u:hunter2@a:1,b:2",
        "rediss://u:hunter2@h#insecure",
        "rediss+unix:///hunter2",
        "redis-cluster://u:hunter2@",
        "redis-cluster://u:hunter2@a,,b",
        "redis-cluster://u:hunter2@a:1,b:x",
        "redis-cluster://u:hunter2@a/1",
        "redis-cluster://u:hunter2@a?master=b",
        "redis-sentinel://u:hunter2@a:1,b:2",
        "redis-sentinel://u:hunter2@a/mine/one",
        "redis-sentinel://u:hunter2@a/mine/-1",
        "redis-sentinel://u:hunter2@a/mine/1/2",
        "redis-sentinel://u:hunter2@a/mine?sentinel_pasword=hunter2",
        "redis-ring://u:hunter2@a,b",
    ] {
        let error = parse(url).err().unwrap_or_else(|| panic!("{url} was taken"));
        let told = format!("{error:?} {error} {:?}", error.inside());
        assert!(!told.contains("hunter"), "{url}: {told}");
        assert_eq!(error.hint_text(), Some("REDIS_URL"));
    }
}

#[test]
fn certificates_are_for_tls_and_must_be_certificates() {
    let with = |url: &str, ca: &str| {
        let tls = Tls { ca: Some(ca.into()), client: None };
        Address::parse(&Config { url: url.into(), timeout: Duration::from_millis(25), tls: Some(tls) }).err()
    };
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (url, ca, hint) in [
        ("redis://u:hunter2@h", "", "REDIS_URL"),
        ("redis-cluster://h", "", "REDIS_URL"),
        ("redis+unix:///s", "", "REDIS_URL"),
        ("rediss://u:hunter2@h", broken, "REDIS_TLS_CA"),
        ("rediss-cluster://u:hunter2@h", broken, "REDIS_TLS_CA"),
        ("rediss-sentinel://u:hunter2@h/mine", broken, "REDIS_TLS_CA"),
    ] {
        let error = with(url, ca).unwrap_or_else(|| panic!("{url} was taken"));
        assert_eq!(error.hint_text(), Some(hint), "{url}");
        assert!(!format!("{error:?}").contains("hunter"), "{error:?}");
    }
}
