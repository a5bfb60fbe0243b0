//! Which of several media types a client would rather have (RFC 9110, sections 8.3.1 and 12.5.1).

/// The place in `offered` of the type that `accept` likes best: by its `q`, then by which it names first, then by which is
/// offered first. `None` when it takes none of them. Whoever says nothing takes anything.
pub(super) fn preferred(accept: &str, offered: &[&str]) -> Option<usize> {
    if accept.trim().is_empty() {
        return Some(0);
    }
    let liked = offered.iter().enumerate().filter_map(|(place, name)| {
        let (quality, named) = quality(accept, name)?;
        (quality > 0).then_some((u16::MAX - quality, named, place))
    });
    liked.min().map(|(_, _, place)| place)
}

/// How much a type is liked, thousandths, and where it is named, which is nowhere when a wildcard stands for it. The most
/// exact of what is said of it counts.
fn quality(accept: &str, wanted: &str) -> Option<(u16, usize)> {
    let family = wanted.split('/').next().unwrap_or_default();
    let mut best: Option<(u8, u16, usize)> = None;
    for (place, range) in accept.split(',').enumerate() {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let exactness = match name.split_once('/') {
            Some(("*", "*")) => 0,
            Some((of, "*")) if of.eq_ignore_ascii_case(family) => 1,
            _ if name.eq_ignore_ascii_case(wanted) => 2,
            _ => continue,
        };
        if best.is_none_or(|(other, ..)| exactness > other) {
            let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let named = if exactness == 2 { place } else { usize::MAX };
            best = Some((exactness, q.map_or(1_000, thousandths), named));
        }
    }
    best.map(|(_, quality, named)| (quality, named))
}

/// A weight; one that cannot be read counts as the highest.
fn thousandths(q: &str) -> u16 {
    match q.parse::<f32>() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
        Ok(q) if (0.0..=1.0).contains(&q) => (q * 1_000.0).round() as u16,
        _ => 1_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_liked_is_preferred() {
        const OFFERED: [&str; 2] = ["application/json", "application/graphql-response+json"];
        for (accept, place) in [
            ("", Some(0)),
            ("*/*", Some(0)),
            ("application/*", Some(0)),
            ("application/json", Some(0)),
            ("application/graphql-response+json", Some(1)),
            ("APPLICATION/GRAPHQL-RESPONSE+JSON", Some(1)),
            ("application/graphql-response+json; charset=utf-8, application/json;q=0.9", Some(1)),
            ("application/graphql-response+json;q=0.1, application/json;q=0.9", Some(0)),
            ("application/graphql-response+json, application/json", Some(1)),
            ("application/json, application/graphql-response+json", Some(0)),
            ("application/graphql-response+json;q=0, */*", Some(0)),
            ("application/json;q=0, */*;q=0.1", Some(1)),
            ("application/json;q=0", None),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some(0)),
            ("text/event-stream, application/graphql-response+json;q=0.5", Some(1)),
            ("text/html", None),
            ("application/xml, text/*", None),
            ("*/*;q=0", None),
            ("application/json;q=high", Some(0)),
        ] {
            assert_eq!(preferred(accept, &OFFERED), place, "{accept}");
        }
    }
}
