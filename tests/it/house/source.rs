//! Reading Rust well enough to see what a file imports: comments and literals are blanked, `use` trees are spread out,
//! and every path is resolved to the module it names. No macro is expanded: what one hides, this does not see.

use std::collections::{BTreeMap, BTreeSet};

/// A source file: its path from the top level, and its text.
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A module (or an item in it) of the crate in `src/`; no segment for the crate's root.
    Ours(Vec<String>),
    /// Another crate, or a name that is none of ours.
    Foreign(Vec<String>),
}

/// A path as it is used.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) line: usize,
    pub(super) target: Target,
}

/// A file that was read.
pub(super) struct Source {
    /// The text with comments and literals blanked; of the same length.
    pub(super) code: String,
    /// Its place in the crate in `src/`; `None` for a file of another crate. `main.rs` is `["main"]`.
    pub(super) module: Option<Vec<String>>,
    /// Byte ranges that only tests compile.
    tests: Vec<(usize, usize)>,
    /// Byte ranges of modules written inside the file.
    inner: Vec<(usize, usize, String)>,
}

impl Source {
    pub(super) fn read(file: &File) -> Self {
        let code = blanked(&file.text);
        let tests = test_ranges(&code);
        let inner = inner_modules(&code);
        Self { module: module_of(&file.path), tests, inner, code }
    }

    pub(super) fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    pub(super) fn is_test(&self, at: usize) -> bool {
        self.tests.iter().any(|(from, to)| (*from..*to).contains(&at))
    }

    /// Files that the file declares for tests alone, as module names beside its own.
    pub(super) fn test_modules(&self) -> Vec<String> {
        let declared = |(from, to): &(usize, usize)| {
            let item = self.code[*from..*to].trim_end();
            let item = item[item.find(']')? + 1..].trim_start().strip_suffix(';')?;
            item.rsplit_once("mod ").map(|(_, name)| name.trim().to_owned())
        };
        self.tests.iter().filter_map(declared).collect()
    }

    /// Everything the file names by a path, resolved. `modules` are all modules of the crate.
    pub(super) fn imports(&self, modules: &BTreeSet<Vec<String>>) -> Vec<Import> {
        let mut paths = Vec::new();
        let mut aliases = BTreeMap::new();
        let mut rest = self.code.clone();
        for (from, to) in use_items(&self.code) {
            let from_tree = from + 3;
            for (at, path, alias) in spread(&self.code[from_tree..to]) {
                let target = self.resolve(&path, from, modules, &BTreeMap::new());
                aliases.insert(alias, target.clone());
                paths.push(Import { line: self.line(from_tree + at), target });
            }
            rest.replace_range(from..to, &blank(&rest[from..to]));
        }
        for (at, path) in inline_paths(&rest) {
            let target = self.resolve(&path, at, modules, &aliases);
            paths.push(Import { line: self.line(at), target });
        }
        paths
    }

    fn resolve(
        &self, path: &[String], at: usize, modules: &BTreeSet<Vec<String>>, aliases: &BTreeMap<String, Target>,
    ) -> Target {
        let Some(own) = &self.module else { return Target::Foreign(path.to_vec()) };
        let mut here = if own == &["main"] { Vec::new() } else { own.clone() };
        here.extend(self.inner.iter().filter(|(from, to, _)| (*from..*to).contains(&at)).map(|(.., n)| n.clone()));
        let mut rest = path;
        let mut base = match path[0].as_str() {
            "crate" | "$crate" => Vec::new(),
            // The binary and the tests call the library by its name.
            "overlay" => Vec::new(),
            "self" => here,
            "super" => {
                while rest.first().is_some_and(|s| s == "super") {
                    here.pop();
                    rest = &rest[1..];
                }
                here.extend_from_slice(rest);
                return Target::Ours(here);
            }
            first => {
                let mut child = here;
                child.push(first.to_owned());
                return match aliases.get(first) {
                    _ if modules.contains(&child) => Target::Ours([&child[..], &path[1..]].concat()),
                    Some(Target::Ours(base)) => Target::Ours([&base[..], &path[1..]].concat()),
                    Some(Target::Foreign(base)) => Target::Foreign([&base[..], &path[1..]].concat()),
                    None => Target::Foreign(path.to_vec()),
                };
            }
        };
        base.extend_from_slice(&rest[1..]);
        Target::Ours(base)
    }
}

/// The module that a file in `src/` is.
pub(super) fn module_of(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let mut segments: Vec<String> = path.split('/').map(str::to_owned).collect();
    if segments.last().is_some_and(|s| s == "mod" || s == "lib") {
        segments.pop();
    }
    Some(segments)
}

fn blank(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { "\n".to_owned() } else { " ".repeat(c.len_utf8()) }).collect()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The text with comments, strings and characters blanked.
pub(super) fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let begins_word = at == 0 || !is_word(bytes[at - 1]);
        let end = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if begins_word && let Some(length) = raw_string(rest) {
            length
        } else if rest.starts_with('"') {
            string(rest)
        } else if rest.starts_with('\'') {
            character(rest)
        } else {
            0
        };
        if end == 0 {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..length]);
            at += length;
        } else {
            out.push_str(&blank(&rest[..end]));
            at += end;
        }
    }
    out
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r')).or_else(|| rest.strip_prefix("cr"))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].strip_prefix('"')?;
    let begin = rest.len() - after.len() + hashes + 1;
    let close = format!("\"{}", "#".repeat(hashes));
    Some(rest[begin..].find(&close).map_or(rest.len(), |found| begin + found + close.len()))
}

fn string(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a character literal; 0 for a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest[1..].chars();
    match chars.next() {
        Some('\\') => rest[2..].char_indices().skip(1).find(|(_, c)| *c == '\'').map_or(rest.len(), |(at, _)| at + 3),
        Some(c) if chars.next() == Some('\'') => 2 + c.len_utf8(),
        _ => 0,
    }
}

/// The end of the item that begins at `at`: after its `;`, or after the brace that closes its body.
fn item_end(code: &str, at: usize) -> usize {
    let mut depth = 0usize;
    for (offset, byte) in code[at..].bytes().enumerate() {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && byte == b'}' {
                    return at + offset + 1;
                }
            }
            b';' if depth == 0 => return at + offset + 1,
            _ => {}
        }
    }
    code.len()
}

fn test_ranges(code: &str) -> Vec<(usize, usize)> {
    let attributes = ["#[cfg(test)]", "#[cfg(all(test,"];
    let mut ranges = Vec::new();
    for attribute in attributes {
        for (from, _) in code.match_indices(attribute) {
            let after = from + code[from..].find(']').map_or(0, |at| at + 1);
            ranges.push((from, item_end(code, after)));
        }
    }
    ranges
}

/// Places where `word` stands alone.
pub(super) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        (*at == 0 || !is_word(bytes[at - 1])) && bytes.get(at + word.len()).is_none_or(|b| !is_word(*b))
    })
}

fn inner_modules(code: &str) -> Vec<(usize, usize, String)> {
    let modules = words(code, "mod").filter_map(|at| {
        let rest = code[at + 3..].trim_start();
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        rest[name.len()..].trim_start().starts_with('{').then(|| (at, item_end(code, at), name))
    });
    modules.collect()
}

fn use_items(code: &str) -> Vec<(usize, usize)> {
    let ends = |at: usize| code[at..].find(';').map(|end| (at, at + end));
    // `use<'a>` in a type is no import.
    words(code, "use").filter(|at| !code[at + 3..].trim_start().starts_with('<')).filter_map(ends).collect()
}

/// The paths of a `use` tree, each with its offset and the name it gets here.
fn spread(tree: &str) -> Vec<(usize, Vec<String>, String)> {
    let mut out = Vec::new();
    branch(tree, 0, &[], &mut out);
    out
}

fn branch(tree: &str, offset: usize, prefix: &[String], out: &mut Vec<(usize, Vec<String>, String)>) {
    let (stem, group) = match tree.find('{') {
        Some(open) => (&tree[..open], Some(open)),
        None => (tree, None),
    };
    let (stem, alias) = match stem.split_once(" as ") {
        Some((stem, alias)) => (stem, Some(alias.trim().to_owned())),
        None => (stem, None),
    };
    let segments = stem.split("::").map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned);
    let mut path = prefix.to_vec();
    // `{self}` names the group's own module.
    path.extend(segments.filter(|s| prefix.is_empty() || s != "self"));
    if let Some(open) = group {
        let close = tree.rfind('}').unwrap_or(tree.len());
        let (mut depth, mut begin) = (0usize, open + 1);
        for (at, byte) in tree.bytes().enumerate().take(close).skip(open + 1).chain([(close, b',')]) {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                b',' if depth == 0 => {
                    if !tree[begin..at].trim().is_empty() {
                        branch(&tree[begin..at], offset + begin, &path, out);
                    }
                    begin = at + 1;
                }
                _ => {}
            }
        }
    } else if let Some(last) = path.last().cloned() {
        let lead = tree.len() - tree.trim_start().len();
        out.push((offset + lead, path, alias.unwrap_or(last)));
    }
}

/// `a::b` and longer, wherever they stand.
fn inline_paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let bytes = code.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !is_word(bytes[at]) || bytes[at].is_ascii_digit() || (at > 0 && is_word(bytes[at - 1])) {
            at += 1;
            continue;
        }
        let begin = at;
        let mut path = Vec::new();
        loop {
            let end = at + bytes[at..].iter().take_while(|b| is_word(**b)).count();
            path.push(code[at..end].to_owned());
            at = end;
            if !code[at..].starts_with("::") || !bytes.get(at + 2).is_some_and(|b| is_word(*b)) {
                break;
            }
            at += 2;
        }
        // What follows another path's generics (`Vec::<T>::new`) is no path of its own.
        if path.len() > 1 && !code[..begin].ends_with(">::") {
            out.push((begin, path));
        }
    }
    out
}
