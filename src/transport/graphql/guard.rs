//! A look at a query's bytes before the parser sees them.
//!
//! The parser calls itself for each nested list or object, and no limit of its own stops it before the stack ends, which
//! ends the process: three kilobytes are enough. So nesting is counted first, in one pass without allocation.

/// Largest document, bytes: the parser takes as long for a byte of a comment or a text as for any other.
const MAX_BYTES: usize = 64 << 10;

/// Deepest nesting of brackets of any kind.
const MAX_NESTING: usize = 64;

/// Most tokens, comments among them.
const MAX_TOKENS: usize = 2_000;

/// Longest name or number, bytes: a suggestion for a name that is not known is looked for among all that are, and takes its
/// length times theirs.
const MAX_WORD: usize = 200;

/// Whether a document may be parsed: its brackets nest no deeper than [`MAX_NESTING`], and it has no more than
/// [`MAX_TOKENS`], none of them a longer word than [`MAX_WORD`].
///
/// # Errors
/// Why not.
pub(super) fn check(query: &str) -> Result<(), String> {
    let bytes = query.as_bytes();
    let (mut at, mut depth, mut tokens) = (0, 0usize, 0usize);
    if bytes.len() > MAX_BYTES {
        return Err(format!("the document is larger than {MAX_BYTES} bytes: send what is long as variables"));
    }
    while let Some(byte) = bytes.get(at) {
        at += 1;
        tokens += 1;
        match byte {
            b'{' | b'[' | b'(' => {
                depth += 1;
                if depth > MAX_NESTING {
                    return Err(format!("the document nests deeper than {MAX_NESTING} levels"));
                }
            }
            // More closing than opening is the parser's to refuse.
            b'}' | b']' | b')' => depth = depth.saturating_sub(1),
            // Counted: to skip one takes the parser as long as to read a name.
            b'#' => at += bytes[at..].iter().take_while(|b| !matches!(b, b'\n' | b'\r')).count(),
            b'"' => {
                let is_block = bytes[at..].starts_with(b"\"\"");
                let end = if is_block { block_string_end(bytes, at + 2) } else { string_end(bytes, at) };
                at = end.ok_or("the document has a string without an end")?;
            }
            b' ' | b'\t' | b'\n' | b'\r' | b',' => tokens -= 1,
            b'.' if bytes[at..].starts_with(b"..") => at += 2,
            b if is_of_number(*b) || is_of_name(*b) => {
                let is_of = if is_of_name(*b) && !b.is_ascii_digit() { is_of_name } else { is_of_number };
                let word = bytes[at..].iter().take_while(|b| is_of(**b)).count();
                if word >= MAX_WORD {
                    return Err(format!("the document has a name or a number of more than {MAX_WORD} bytes"));
                }
                at += word;
            }
            _ => {}
        }
        if tokens > MAX_TOKENS {
            return Err(format!("the document has more than {MAX_TOKENS} tokens"));
        }
    }
    Ok(())
}

/// What names are made of, and what can stand nowhere.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+')
}

/// The place after a string's closing quote, if it has one on its line.
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\\' => at += 1,
            b'"' => return Some(at),
            b'\n' | b'\r' => return None,
            _ => {}
        }
    }
    None
}

/// The place after a block string's closing quotes, if it has any.
fn block_string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    while at < bytes.len() {
        if bytes[at..].starts_with(b"\\\"\"\"") {
            at += 4;
        } else if bytes[at..].starts_with(b"\"\"\"") {
            return Some(at + 3);
        } else {
            at += 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nests_sanely(query: &str) -> bool {
        !check(query).is_err_and(|why| why.contains("nests"))
    }

    #[test]
    fn tokens_are_counted_as_they_are_written() {
        let counts = |text: &str, tokens: usize| {
            let copies = 2_000 / tokens;
            assert!(check(&text.repeat(copies)).is_ok(), "{text:?}");
            assert!(check(&text.repeat(copies + 1)).is_err(), "{text:?}");
        };
        for (text, tokens) in [
            ("a ", 1),
            ("a,,\n", 1),
            ("a#b c d\n", 2),
            ("\"a b { c\" ", 1),
            ("\"\"\"a \" b\"\"\" ", 1),
            ("a:-1.5e+3 ", 3),
            ("{a} ", 3),
            ("a...b ", 3),
            ("$a!=[1] ", 7),
        ] {
            counts(text, tokens);
        }
        assert!(check(&"a".repeat(200)).is_ok() && check(&"a".repeat(201)).is_err());
        assert!(check(&"1".repeat(200)).is_ok() && check(&"1".repeat(201)).is_err());
        let long = format!("{{ a(x: \"{}\") }}", "many words ".repeat(5_000));
        assert!(check(&long).is_ok(), "a long text is one token");
    }

    #[test]
    fn nesting_is_counted_outside_of_strings_and_comments_only() {
        let deep = |open: &str, n: usize| format!("{{ a(x: {}", open.repeat(n));
        assert!(nests_sanely(&deep("[", 62)));
        assert!(!nests_sanely(&deep("[", 63)));
        assert!(!nests_sanely(&deep("{a:", 100)));
        assert!(!nests_sanely(&deep("[", 60_000)));
        let many = "[".repeat(100);
        for quoted in [
            format!("\"{many}\""),
            format!("\"\\\"{many}\""),
            format!("\"\"\"\\\"\"\" \" {many}\"\"\""),
            format!("#{many}\n"),
        ] {
            assert!(check(&quoted).is_ok(), "{quoted}");
            assert!(!nests_sanely(&format!("{quoted}{many}")), "{quoted}");
        }
    }

    /// The parser reads a block string without an end as an empty string, and goes on with what seems to be inside.
    #[test]
    fn a_string_without_an_end_hides_nothing() {
        let many = "{a:".repeat(100);
        for text in [
            format!("\"{many}"),
            format!("\"\n{many}\""),
            format!("\"{many}\\\""),
            format!("\"{}", "\\".repeat(99)),
            format!("\"\"\" \",{many}"),
            format!("\"\"\"\"{many}"),
            format!("\"\"\"\\\"\"\"\"{many}"),
        ] {
            let told = check(&format!("{{ a(x: [{text}")).expect_err("no end");
            assert!(told.contains("without an end"), "{text}: {told}");
        }
        assert!(check(&format!("\"\"\"{many}\"\"\" \"\" \"\"")).is_ok());
    }

    #[test]
    fn a_document_has_a_size() {
        assert!(check(&" ".repeat(MAX_BYTES)).is_ok() && check(&" ".repeat(MAX_BYTES + 1)).is_err());
    }
}
