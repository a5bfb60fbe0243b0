//! Redis: its address, and the certificates that go with it.

use std::time::Duration;

use super::parse::Reader;
use crate::cache::{RedisConfig, RedisTls};

pub(super) fn redis(r: &mut Reader<'_>, timeout: Duration) -> Option<RedisConfig> {
    let certificate = "-----BEGIN CERTIFICATE-----";
    let ca = r.pem("REDIS_TLS_CA", certificate);
    let client = match (r.pem("REDIS_TLS_CERT", certificate), r.pem("REDIS_TLS_KEY", "PRIVATE KEY-----")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        _ => {
            let both = ["REDIS_TLS_CERT", "REDIS_TLS_KEY"];
            if both.iter().filter(|name| r.text(name).is_some()).count() == 1 {
                r.fault_because("REDIS_TLS_KEY", "REDIS_TLS_CERT and REDIS_TLS_KEY are set together".into());
            }
            None
        }
    };
    let tls = (ca.is_some() || client.is_some()).then_some(RedisTls { ca, client });
    let config = RedisConfig { url: r.text("REDIS_URL")?, timeout, tls };
    if let Err(why) = config.check() {
        let name = if why.hint_text() == Some("REDIS_TLS_CA") { "REDIS_TLS_CA" } else { "REDIS_URL" };
        r.fault_because(name, why.message().to_owned());
    }
    Some(config)
}
