//! TLS with a private authority, and a user with few rights.

use std::path::{Path, PathBuf};
use std::time::Duration;

use overlay::cache::{Ledger, Redis, RedisConfig, RedisTls};
use overlay::domain::hex::encode_hex;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::lock::{Count, composite};
use super::redis::names;
use crate::harness::keys::Keys;
use crate::harness::node::{Node, until, words};
use crate::harness::{Setup, TestApp, connected, with_database};

/// An authority and a certificate for 127.0.0.1 that it signed.
pub(crate) struct Authority {
    pub(crate) ca: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let (root, leaf) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let ca = params.self_signed(&root).expect("signed").pem();
        let issuer = Issuer::new(params, root);
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
        let certificate = params.signed_by(&leaf, &issuer).expect("signed").pem();
        Self { ca, certificate, key: leaf.serialize_pem() }
    }

    /// Its certificate, the server's, and that one's key.
    pub(crate) fn write(&self, folder: &Path) -> [String; 3] {
        [("ca", &self.ca), ("certificate", &self.certificate), ("key", &self.key)].map(|(name, pem)| {
            let path = folder.join(name).with_extension("pem");
            std::fs::write(&path, pem).expect("a file");
            path.to_str().expect("text").to_owned()
        })
    }

    fn tls(&self) -> RedisTls {
        RedisTls {
            ca: Some(self.ca.clone().into()),
            client: Some((self.certificate.clone().into(), self.key.clone().into())),
        }
    }
}

/// A server that speaks TLS alone and wants to see a certificate.
async fn encrypted(authority: &Authority, more: &[&str]) -> Option<Node> {
    Node::start(|folder, port| {
        let ([ca, certificate, key], port) = (authority.write(folder), port.to_string());
        let tls = ["--port", "0", "--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let clients = ["--tls-ca-cert-file", &ca, "--tls-auth-clients", "yes", "--loglevel", "verbose"];
        [words(&tls), words(&clients), words(more)].concat()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_and_a_client_certificate_are_what_it_takes() {
    let (authority, other) = (Authority::new(), Authority::new());
    let Some(server) = encrypted(&authority, &[]).await else { return };
    let start = |tls: Option<RedisTls>| {
        let url = format!("rediss://{}", server.address());
        Redis::start(&RedisConfig { url, timeout: Duration::from_secs(2), tls }).expect("starts")
    };
    let redis = start(Some(authority.tls()));
    connected(&redis).await;
    redis.ping().await.expect("answers");
    let own = authority.tls();
    for (what, tls) in [
        ("the web's authorities", None),
        ("another authority", Some(RedisTls { ca: other.tls().ca, ..own.clone() })),
        ("no certificate", Some(RedisTls { client: None, ..own.clone() })),
        ("another authority's certificate", Some(RedisTls { client: other.tls().client, ..own.clone() })),
    ] {
        let refused = || server.log().matches("Error accepting a client connection").count();
        let before = refused();
        let redis = start(tls);
        until(what, async || refused() > before + 1).await;
        assert!(!redis.is_connected() && redis.ping().await.is_err(), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_lead_to_an_encrypted_cache() {
    let authority = Authority::new();
    let Some(server) = encrypted(&authority, &[]).await else { return };
    let folder = crate::harness::folder();
    with_database(async |database| {
        let [ca, certificate, key] = authority.write(&folder);
        let setup = Setup::seeded().redis(format!("rediss://{}", server.address()));
        let setup = setup.with("REDIS_TLS_CA", ca).with("REDIS_TLS_CERT", certificate).with("REDIS_TLS_KEY", key);
        let first = TestApp::start(&setup, database).await;
        first.settled().await;
        let shown = names(&first).await;
        let second = TestApp::start(&setup.with("CACHE_MEMORY_MB", "0"), database).await;
        second.settled().await;
        until("the entries are found", async || {
            let (again, statements) = second.statements(names(&second)).await;
            assert_eq!(again, shown);
            statements == 0
        })
        .await;
        first.stop().await;
        second.stop().await;
    })
    .await;
    std::fs::remove_dir_all(folder).expect("removed");
}

/// The line of the operator's guide that makes the user, with `password`.
pub(super) fn documented(password: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/OPERATIONS.md");
    let text = std::fs::read_to_string(path).expect("the guide");
    let line = text.lines().find(|l| l.starts_with("ACL SETUSER overlay")).expect("the guide's line");
    assert!(line.contains(">PASSWORD"), "{line}");
    line.replace("PASSWORD", password)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_user_may_do_all_that_is_done_and_nothing_else_is_tried() {
    let Some(server) = Node::plain(&[]).await else { return };
    let () = server.ask(&documented("s3cr@t/")).await;
    with_database(async |database| {
        let url = format!("redis://overlay:s3cr%40t%2F@{}", server.address());
        let setup = Setup::seeded().redis(url).with("CACHE_MEMORY_MB", "0");
        let app = TestApp::start(&setup, database).await;
        app.settled().await;
        let shown = names(&app).await;
        until("the entries are written", async || server.ask::<u64>("DBSIZE").await >= 23).await;
        let (again, statements) = app.statements(names(&app)).await;
        assert_eq!((again, statements), (shown, 0));
        let (built, ledger) = (Count::default(), Ledger::default());
        composite(&app.app.cache, &ledger, &built).await.expect("built");
        until("the lock is let go", async || server.ask::<u64>("EXISTS cache:bundle:lock:1").await == 0).await;
        until("the composite is written", async || server.ask::<u64>("EXISTS cache:bundle:1").await == 1).await;
        app.app.cache.forget(["cache:bundle:1".into()]);
        until("the composite is deleted", async || server.ask::<u64>("EXISTS cache:bundle:1").await == 0).await;
        assert_eq!(app.json("/health").await["cache"], "redis:ok");
        // Sessions are opened, used, listed and closed; documents are known by their hash.
        let keys = Keys::of(5);
        let opened = keys.graphql(&app, "mutation { openSession { sid session { sessionId } } }", Value::Null).await;
        let opened = &opened["data"]["openSession"];
        let sid = opened["sid"].as_str().expect("a session");
        let seen = app.post("{ viewer { sessions { sessionId } } }", Value::Null).bearer_auth(sid).send().await;
        let seen: Value = seen.expect("answer").json().await.expect("JSON");
        assert_eq!(seen["data"]["viewer"]["sessions"], json!([opened["session"]]));
        const CLOSE: &str = "mutation C($id: String!) { closeSession(input: {sessionId: $id}) { __typename } }";
        let closed = keys.graphql(&app, CLOSE, json!({"id": opened["session"]["sessionId"]})).await;
        assert!(closed.get("errors").is_none(), "{closed}");
        let hash = encode_hex(&Sha256::digest("{ __typename }"));
        let persisted = json!({"persistedQuery": {"version": 1, "sha256Hash": hash}});
        let asked = json!({"query": "{ __typename }", "extensions": persisted});
        let asked = app.http.post(format!("{}/graphql", app.url)).json(&asked).send().await.expect("answer");
        assert!(asked.status().is_success());
        assert_eq!(server.ask::<u64>(&format!("EXISTS ol:apq:{hash}")).await, 1);
        let redis = app.app.cache.redis().expect("is set");
        redis.count(vec![("a".to_owned(), 1), ("b".to_owned(), 2)]).await;
        assert_eq!(redis.popular(10).await, ["b", "a"]);
        // Redis keeps every refusal there.
        let refused: Vec<redis::Value> = server.ask("ACL LOG").await;
        assert!(refused.is_empty(), "{refused:?}");
        app.stop().await;
    })
    .await;
    // What it need not do, it may not.
    let client = redis::Client::open(format!("redis://overlay:s3cr%40t%2F@{}", server.address())).expect("a URL");
    let mut session = client.get_multiplexed_async_connection().await.expect("answers");
    for refused in
        ["KEYS *", "FLUSHALL", "CONFIG GET maxmemory", "MGET other:1", "SET other:1 x", "DEL cache:1", "SCAN 0"]
    {
        let mut words = refused.split(' ');
        let mut command = redis::cmd(words.next().expect("a word"));
        words.for_each(|word| {
            command.arg(word);
        });
        let answer = command.query_async::<redis::Value>(&mut session).await;
        let no_permission = redis::ErrorKind::Server(redis::ServerErrorKind::NoPerm);
        assert!(answer.is_err_and(|e| e.kind() == no_permission), "{refused}");
    }
}
