//! Search as people type: any word's beginning in any order, without accents or case, Chinese, Japanese and
//! Korean from one character, telephone numbers by any run of digits.
//!
//! Both sides of a search pass through here. [`index_text`] turns a record into space-separated terms for a
//! full-text index; [`query`] turns what was typed into an FTS5 expression over those terms
//! (<https://www.sqlite.org/fts5.html#full_text_query_syntax>).

use crate::{EntityDef, FieldDef, Fields, Search};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// The longest thing worth searching for, in characters.
const MAX_QUERY: usize = 200;

/// Folds text for comparison: compatibility forms, accents and case are taken away.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        // Most text of most phones, and none of it has anything but case to take away.
        return text.to_ascii_lowercase();
    }
    text.nfkd().filter(|c| !is_combining_mark(*c)).nfc().flat_map(char::to_lowercase).fold(
        String::with_capacity(text.len()),
        |mut folded, c| {
            match c {
                // Letters that Unicode does not decompose, though people type them plain.
                'ø' => folded.push('o'),
                'ł' => folded.push('l'),
                'đ' => folded.push('d'),
                'ı' => folded.push('i'),
                'ß' => folded.push_str("ss"),
                'æ' => folded.push_str("ae"),
                'œ' => folded.push_str("oe"),
                c => folded.push(c),
            }
            folded
        },
    )
}

/// The terms of a record for the index, each ending in a space.
pub fn index_text(def: &EntityDef, fields: &Fields) -> String {
    let mut terms = String::new();
    for field in def.fields {
        let Some(text) = fields.get(field.name).and_then(|value| value.as_text()) else { continue };
        match field.search {
            Search::No => {}
            Search::Words => {
                for run in runs(&fold(text)) {
                    run.write(&mut terms);
                }
            }
            Search::Digits => {
                let digits: String = text.chars().filter(char::is_ascii_digit).collect();
                // Every ending of the number, so that a prefix of one is any run of the number.
                for start in 0..digits.len() {
                    terms.push_str(&digits[start..]);
                    terms.push(' ');
                }
            }
        }
    }
    terms
}

/// An FTS5 expression for what was typed; `None` if it holds nothing to search for.
pub fn query(typed: &str) -> Option<String> {
    let typed: String = typed.chars().take(MAX_QUERY).collect();
    let parts: Vec<String> = runs(&fold(&typed)).into_iter().map(|run| run.query()).collect();
    (!parts.is_empty()).then(|| parts.join(" AND "))
}

/// The terms of a record for an index that is built on a phone: words once each, and digits three at a time, each
/// after a [`MARK`]. Every ending of a number would be a term of its own for almost every record, and the terms that
/// only one record has are what building an index takes its time over. [`gram_query`] asks such an index.
pub fn gram_text(def: &EntityDef, fields: &Fields) -> String {
    gram_terms(def, |_, field| fields.get(field.name).and_then(|value| value.as_text()))
}

/// The same, asking for the text of each field by its place.
pub fn gram_terms<'a>(def: &EntityDef, text: impl Fn(usize, &FieldDef) -> Option<&'a str>) -> String {
    let mut terms = String::new();
    let mut words = Vec::new();
    for (at, field) in def.fields.iter().enumerate().filter(|(_, field)| field.search != Search::No) {
        let Some(text) = text(at, field) else { continue };
        if field.search == Search::Digits {
            write_grams(text, &mut terms);
        } else {
            words.push(fold(text));
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for run in words.iter().flat_map(|folded| runs(folded)) {
        if let Run::Word(word) = run {
            if seen.contains(&word) {
                continue;
            }
            seen.push(word);
        }
        run.write(&mut terms);
    }
    terms
}

/// An FTS5 expression over the terms of [`gram_text`] for what was typed; `None` if it holds nothing to search for.
pub fn gram_query(typed: &str) -> Option<String> {
    let typed: String = typed.chars().take(MAX_QUERY).collect();
    gram_expression(runs(&fold(&typed)))
}

/// The same without the words of which only the first letter was typed, if there are such and others: nearly every record
/// has a word that begins with a given letter, and an index would gather them all. What it finds is to be looked at with
/// [`gram_holds`].
pub fn long_query(typed: &str) -> Option<String> {
    let typed: String = typed.chars().take(MAX_QUERY).collect();
    let folded = fold(&typed);
    let (short, long): (Vec<_>, Vec<_>) = runs(&folded)
        .into_iter()
        .partition(|run| matches!(run, Run::Word(word) if word.chars().count() == 1));
    if short.is_empty() { None } else { gram_expression(long) }
}

fn gram_expression(runs: Vec<Run<'_>>) -> Option<String> {
    let parts: Vec<String> = runs
        .into_iter()
        .map(|run| match run {
            Run::Word(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let number = match grams(digits) {
                    Some(grams) => format!("\"{}\"", grams.join(" ")),
                    None => format!("\"{MARK}{digits}\"*"),
                };
                format!("(\"{digits}\"* OR {number})")
            }
            run => run.query(),
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join(" AND "))
}

/// An FTS5 expression for a part of what [`gram_query`] finds: where a number ends with what was typed, or a word is just
/// that. `None` for anything but one or two digits: almost every record has these somewhere, and an index would gather
/// them all before it names the first.
pub fn few_query(typed: &str) -> Option<String> {
    let folded = fold(typed);
    match runs(&folded).as_slice() {
        [Run::Word(digits)] if digits.len() < GRAM && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(format!("(\"{digits}\" OR \"{MARK}{digits}\")"))
        }
        _ => None,
    }
}

/// Whether terms of [`gram_text`] hold everything that was typed, as an index of them would find it.
pub fn gram_holds(terms: &str, typed: &str) -> bool {
    let typed: String = typed.chars().take(MAX_QUERY).collect();
    let folded = fold(&typed);
    let runs = runs(&folded);
    let terms: Vec<&str> = terms.split(' ').collect();
    let begins = |beginning: &str| terms.iter().any(|term| term.starts_with(beginning));
    let follow =
        |phrase: &[String]| terms.windows(phrase.len()).any(|window| window.iter().eq(phrase.iter()));
    !runs.is_empty()
        && runs.iter().all(|run| match run {
            Run::Word(word) => {
                begins(word)
                    || word.bytes().all(|byte| byte.is_ascii_digit())
                        && match grams(word) {
                            Some(grams) => follow(&grams),
                            None => begins(&format!("{MARK}{word}")),
                        }
            }
            Run::Cjk(characters) => follow(&characters.chars().map(String::from).collect::<Vec<_>>()),
        })
}

/// The terms of a run of digits; nothing if it is less than one term.
fn grams(digits: &str) -> Option<Vec<String>> {
    let last = digits.len().checked_sub(GRAM)?;
    Some((0..=last).map(|at| format!("{MARK}{}", &digits[at..at + GRAM])).collect())
}

/// Stands before the digits of a telephone number, so that they are no word.
pub const MARK: char = '#';

/// Digits of one term.
const GRAM: usize = 3;

/// Writes three digits at a time, and what is left of the number at its end.
fn write_grams(text: &str, terms: &mut String) {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    for start in 0..digits.len() {
        terms.push(MARK);
        terms.push_str(&digits[start..(start + GRAM).min(digits.len())]);
        terms.push(' ');
    }
}

/// Letters that belong together.
enum Run<'a> {
    /// A word in a script that puts spaces between words.
    Word(&'a str),
    /// Characters that are each a term of their own.
    Cjk(&'a str),
}

impl Run<'_> {
    /// The expression that finds it.
    fn query(&self) -> String {
        match self {
            Run::Word(word) => format!("\"{word}\"*"),
            Run::Cjk(characters) => {
                let phrase: Vec<String> = characters.chars().map(String::from).collect();
                format!("\"{}\"", phrase.join(" "))
            }
        }
    }

    fn write(&self, terms: &mut String) {
        match self {
            Run::Word(word) => {
                terms.push_str(word);
                terms.push(' ');
            }
            Run::Cjk(characters) => {
                for c in characters.chars() {
                    terms.push(c);
                    terms.push(' ');
                }
            }
        }
    }
}

fn runs(folded: &str) -> Vec<Run<'_>> {
    let mut runs = Vec::new();
    let mut start = None;
    let mut close = |start: &mut Option<(usize, bool)>, end: usize| {
        if let Some((from, cjk)) = start.take() {
            let run = &folded[from..end];
            runs.push(if cjk { Run::Cjk(run) } else { Run::Word(run) });
        }
    };
    for (at, c) in folded.char_indices() {
        if !(c.is_ascii_alphanumeric() || (!c.is_ascii() && c.is_alphanumeric())) {
            close(&mut start, at);
            continue;
        }
        let cjk = !c.is_ascii() && is_cjk(c);
        if start.is_some_and(|(_, open)| open != cjk) {
            close(&mut start, at);
        }
        start.get_or_insert((at, cjk));
    }
    close(&mut start, folded.len());
    runs
}

/// Han, kana, hangul and bopomofo: scripts searched from one character.
fn is_cjk(c: char) -> bool {
    matches!(u32::from(c),
        0x1100..=0x11FF | 0x2E80..=0x2FDF | 0x3005..=0x3007 | 0x3040..=0x31FF | 0x3400..=0x4DBF
        | 0x4E00..=0x9FFF | 0xAC00..=0xD7AF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entity, customer::Customer};
    use proptest::prelude::*;

    fn terms(name: &str, value: &str) -> String {
        index_text(Customer::DEF, &Fields::from([(name.to_owned(), value.into())]))
    }

    #[test]
    fn accents_and_case_are_folded() {
        assert_eq!(fold("Crème BRÛLÉE Øl"), "creme brulee ol");
        assert_eq!(fold("ＡＢＣ１２"), "abc12");
    }

    #[test]
    fn chinese_is_indexed_by_the_character() {
        assert_eq!(terms("name", "沈阳店 A1"), "沈 阳 店 a1 ");
        assert_eq!(query("沈").as_deref(), Some("\"沈\""));
        assert_eq!(query("沈阳 oak").as_deref(), Some("\"沈 阳\" AND \"oak\"*"));
    }

    #[test]
    fn hangul_stays_in_syllables() {
        assert_eq!(terms("name", "서울"), "서 울 ");
    }

    #[test]
    fn a_phone_is_found_by_any_run_of_digits() {
        let terms = terms("phone", "+1 (732) 870-1133");
        for typed in ["7328701133", "1133", "870"] {
            assert!(terms.split(' ').any(|term| term.starts_with(typed)), "{typed}");
        }
    }

    #[test]
    fn on_a_phone_a_number_is_three_digits_at_a_time_and_a_word_is_there_once() {
        let fields = Fields::from([
            ("name".to_owned(), "Oak Street 12 Oak".into()),
            ("phone".to_owned(), "732-8701".into()),
            ("city".to_owned(), "沈沈 oak".into()),
        ]);
        let terms = gram_text(Customer::DEF, &fields);
        assert_eq!(terms, "#732 #328 #287 #870 #701 #01 #1 oak street 12 沈 沈 ");
        assert_eq!(gram_query("87").as_deref(), Some("(\"87\"* OR \"#87\"*)"));
        assert_eq!(few_query("87 ").as_deref(), Some("(\"87\" OR \"#87\")"));
        assert_eq!(long_query("oak s 870").as_deref(), Some("\"oak\"* AND (\"870\"* OR \"#870\")"));
        assert_eq!([long_query("oak st"), long_query("s"), long_query("")], [const { None }; 3]);
        assert_eq!([few_query("870"), few_query("8 7"), few_query("a"), few_query("")], [const { None }; 4]);
        assert_eq!(gram_query("8701 oak").as_deref(), Some("(\"8701\"* OR \"#870 #701\") AND \"oak\"*"));
        assert_eq!(gram_query(" #  "), None);
        for typed in ["87", "8701", "oa 732", "沈沈", "1", "STREET 1", "7328701"] {
            assert!(gram_holds(&terms, typed), "{typed}");
        }
        for typed in ["88", "8702", "reet", "沈沈沈", "oak 73201", "", "#"] {
            assert!(!gram_holds(&terms, typed), "{typed}");
        }
    }

    #[test]
    fn nothing_to_search_for_is_no_query() {
        assert_eq!(query(" -- ' \" * "), None);
    }

    proptest! {
        #[test]
        fn a_query_is_always_well_formed(typed in "\\PC*") {
            if let Some(query) = query(&typed) {
                prop_assert_eq!(query.matches('"').count() % 2, 0);
                let outside: String = query.split('"').step_by(2).collect();
                prop_assert!(outside.chars().all(|c| " AND*".contains(c)), "{}", outside);
            }
            if let Some(query) = gram_query(&typed) {
                prop_assert_eq!(query.matches('"').count() % 2, 0);
                let outside: String = query.split('"').step_by(2).collect();
                prop_assert!(outside.chars().all(|c| " ANDOR*()".contains(c)), "{}", outside);
            }
        }
    }
}
