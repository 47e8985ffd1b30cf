//! What PostgreSQL writes in another way than SQLite: parameters, fields of JSON, full text, and the character NUL.

use std::borrow::Cow;

/// Stands before `0` for NUL, which PostgreSQL's text can't hold, and before `1` for itself. A character that Unicode keeps
/// out of text for ever, so that it hardly ever has to be doubled.
const ESCAPE: char = '\u{10FFFF}';

/// The longest term that PostgreSQL takes, in bytes. Longer ones are found by their beginning.
const MAX_TERM: usize = 2_000;

/// The last place that PostgreSQL tells from others.
const MAX_PLACE: usize = 16_383;

/// A statement as PostgreSQL reads it: `?1` becomes `$1`, and `fields ->> '$.name'` the field's text, ordered by its
/// bytes as the text of all columns is.
pub(super) fn translate(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() + 64);
    let mut rest = sql;
    while let Some(at) = rest.find(['?', 'f']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let field = rest.strip_prefix("fields ->> '$.").and_then(|field| field.split_once('\''));
        if let Some((name, after)) = field {
            out.push_str(&format!("((fields ->> '{name}') COLLATE \"C\")"));
            rest = after;
        } else if let Some(after) = rest.strip_prefix('?') {
            out.push('$');
            rest = after;
        } else {
            out.push('f');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

/// Terms of the model, which are words without marks, as the text of a tsvector.
pub(super) fn tsvector(terms: &str) -> String {
    let mut out = String::with_capacity(terms.len() * 2);
    for (place, term) in terms.split_whitespace().enumerate() {
        out.push_str(&format!("{}:{} ", lexeme(term), (place + 1).min(MAX_PLACE)));
    }
    out
}

/// A query of the model, `"oak"* AND "沈 阳"`, as the text of a tsquery: words by their beginning, phrases in order.
pub(super) fn tsquery(query: &str) -> String {
    let parts: Vec<String> = query
        .split(" AND ")
        .map(|part| match part.strip_suffix('*') {
            Some(word) => format!("{}:*", lexeme(word.trim_matches('"'))),
            None => {
                let terms: Vec<String> = part.trim_matches('"').split(' ').map(lexeme).collect();
                format!("({})", terms.join(" <-> "))
            }
        })
        .collect();
    parts.join(" & ")
}

fn lexeme(term: &str) -> String {
    let mut end = term.len().min(MAX_TERM);
    while !term.is_char_boundary(end) {
        end -= 1;
    }
    format!("'{}'", term[..end].replace('\\', "\\\\").replace('\'', "''"))
}

/// Text as PostgreSQL can hold it.
pub(super) fn text_to_database(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\0' => out.extend([ESCAPE, '0']),
            ESCAPE => out.extend([ESCAPE, '1']),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The text that was stored.
pub(super) fn text_from_database(stored: &str) -> Cow<'_, str> {
    unescape(stored, "\0")
}

/// JSON as PostgreSQL can hold it and look into: its strings may say `\u0000`.
pub(super) fn json_to_database(json: &str) -> Cow<'_, str> {
    if !json.contains("\\u0000") && !json.contains(ESCAPE) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    let mut rest = json;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("\\u0000") {
            out.extend([ESCAPE, '0']);
            rest = after;
        } else if c == '\\' {
            // A backslash and what it stands before, which may be another one.
            let taken = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
            out.push_str(&rest[..taken]);
            rest = &rest[taken..];
        } else {
            match c {
                ESCAPE => out.extend([ESCAPE, '1']),
                c => out.push(c),
            }
            rest = &rest[c.len_utf8()..];
        }
    }
    Cow::Owned(out)
}

/// The JSON that was stored.
pub(super) fn json_from_database(stored: &str) -> Cow<'_, str> {
    unescape(stored, "\\u0000")
}

fn unescape<'a>(stored: &'a str, nul: &str) -> Cow<'a, str> {
    if !stored.contains(ESCAPE) {
        return Cow::Borrowed(stored);
    }
    let mut out = String::with_capacity(stored.len());
    let mut chars = stored.chars();
    while let Some(c) = chars.next() {
        match c {
            ESCAPE if chars.next() == Some('0') => out.push_str(nul),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameters_and_fields_are_written_as_postgresql_reads_them() {
        assert_eq!(
            translate("SELECT f FROM t WHERE fields ->> '$.code' = ?1 AND flag = ?2"),
            "SELECT f FROM t WHERE ((fields ->> 'code') COLLATE \"C\") = $1 AND flag = $2"
        );
    }

    #[test]
    fn words_are_found_by_their_beginning_and_characters_in_order() {
        assert_eq!(tsquery("\"沈 阳\" AND \"oak\"*"), "('沈' <-> '阳') & 'oak':*");
        assert_eq!(tsvector("oak 沈 "), "'oak':1 '沈':2 ");
    }

    proptest! {
        #[test]
        fn any_text_comes_back_as_it_was(text in "([\\x00\\\\\"u0-1\u{10FFFF}]|\\PC){0,20}") {
            let stored = text_to_database(&text);
            prop_assert!(!stored.contains('\0'));
            prop_assert_eq!(text_from_database(&stored), text.as_str());
            let json = serde_json::to_string(&text).unwrap();
            let stored = json_to_database(&json);
            let inside: String = serde_json::from_str(&stored).unwrap();
            prop_assert!(!inside.contains('\0'));
            prop_assert_eq!(json_from_database(&stored), json.as_str());
        }
    }
}
