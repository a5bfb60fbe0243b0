//! What is kept in Redis alone, until nobody asks for it any more. Unlike a cached value it cannot be read elsewhere, so who asks
//! is told when Redis does not answer: `None`.

use std::time::Duration;

use super::Redis;

fn ms(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl Redis {
    /// Keeps `value` under `key` for `ttl`.
    pub async fn hold(&self, key: &str, value: Vec<u8>, ttl: Duration) -> Option<()> {
        let set = redis::cmd("SET").arg(key).arg(value).arg("PX").arg(ms(ttl)).take();
        self.inner.patient("hold", set).await
    }

    /// The value of `key`, if there is one, which is kept for `ttl` from now.
    pub async fn touch(&self, key: &str, ttl: Duration) -> Option<Option<Vec<u8>>> {
        self.inner.patient("touch", redis::cmd("GETEX").arg(key).arg("PX").arg(ms(ttl)).take()).await
    }

    /// The value of `key`, if there is one.
    pub async fn look(&self, key: &str) -> Option<Option<Vec<u8>>> {
        self.inner.patient("look", redis::cmd("GET").arg(key).take()).await
    }

    /// Deletes `key`, and waits until it is gone.
    pub async fn release_now(&self, key: &str) -> Option<()> {
        self.inner.patient::<i64>("delete", redis::cmd("UNLINK").arg(key).take()).await.map(|_| ())
    }

    /// Puts `member` on the list `key`.
    pub async fn join(&self, key: &str, member: &str) -> Option<()> {
        self.inner.patient::<i64>("join", redis::cmd("SADD").arg(key).arg(member).take()).await.map(|_| ())
    }

    /// Takes `members` off the list `key`.
    pub async fn leave(&self, key: &str, members: &[String]) -> Option<()> {
        self.inner.patient::<i64>("leave", redis::cmd("SREM").arg(key).arg(members).take()).await.map(|_| ())
    }

    /// All that is on the list `key`.
    pub async fn members(&self, key: &str) -> Option<Vec<String>> {
        self.inner.patient("members", redis::cmd("SMEMBERS").arg(key).take()).await
    }
}
