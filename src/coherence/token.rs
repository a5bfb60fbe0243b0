//! How fresh a read must be, and the token that names a write.

use std::fmt;

use super::clock::Epoch;

/// `<epoch>.<xid>`: names a committed write; a read that carries it is at least as fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// The stretch of history the write belongs to.
    pub epoch: Epoch,
    /// The write's transaction id.
    pub xid: u64,
}

impl Token {
    fn parse(text: &str) -> Option<Self> {
        let (epoch, xid) = text.split_once('.')?;
        let digits = !xid.is_empty() && xid.bytes().all(|b| b.is_ascii_digit());
        Some(Self { epoch: Epoch::parse(epoch)?, xid: digits.then(|| xid.parse().ok()).flatten()? })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.xid)
    }
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// As fresh as this process's feed: at most one poll interval behind.
    #[default]
    Bounded,
    /// At least as fresh as the write the token names.
    AtLeast(Token),
    /// Linearizable: includes every commit acknowledged before the request arrived.
    Strong,
}

impl Consistency {
    /// The accepted forms, for error messages.
    pub const FORMS: &str = "`bounded`, `strong`, or a token `<32 hex digits>.<transaction id>` as a write answered it";

    /// Reads the value of the `Overlay-Consistency` header.
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "bounded" => Some(Self::Bounded),
            "strong" => Some(Self::Strong),
            token => Token::parse(token).map(Self::AtLeast),
        }
    }
}

impl fmt::Display for Consistency {
    /// The form that [`Consistency::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bounded => f.write_str("bounded"),
            Self::Strong => f.write_str("strong"),
            Self::AtLeast(token) => token.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let token = Token { epoch: Epoch::new("a", "b", "c"), xid: 42 };
        assert_eq!(Consistency::parse(&token.to_string()), Some(Consistency::AtLeast(token)));
        assert_eq!(Consistency::parse(" strong "), Some(Consistency::Strong));
        assert_eq!(Consistency::parse("bounded"), Some(Consistency::Bounded));
        for bad in ["", "Strong", "1.2", "00000000000000000000000000000000.", "00000000000000000000000000000000.-1"] {
            assert_eq!(Consistency::parse(bad), None, "{bad}");
        }
    }
}
