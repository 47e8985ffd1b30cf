//! What a passcode must be like: the rules of the organisation and of this device, shown to the person before and
//! while a new one is typed.

use super::passcode::{MIN_CHARACTERS, composed, steps_by};
use super::{Passcode, PasscodeError};
use chrono::NaiveDate;
use roundsman_protocol::policy::{PasscodeProfile, Policy};
use zeroize::Zeroizing;

/// Where keys are in files, a copy of the disk can be guessed at without a limit: the passcode alone must hold.
const MIN_WITHOUT_HARDWARE: usize = 10;

/// The least strength without hardware, of zxcvbn's 0 to 4: more than 10^8 guesses.
const MIN_STRENGTH: u8 = 3;

/// How many of the four classes of characters.
const CLASSES: usize = 3;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A passcode that has to be changed now and then lives so long.
const MAX_AGE_DAYS: i64 = 90;

/// Days before the end of a passcode's life from which a screen should warn.
const WARN_DAYS: i64 = 10;

/// One passcode in a line, in small letters: what leads the public lists of leaked passwords and PINs.
const COMMON: &str = include_str!("common_passcodes.txt");

/// What the rules hold a passcode to. Made by [`Client::passcode_rules`](crate::Client::passcode_rules).
///
/// ```
/// use roundsman_core::protocol::policy::Policy;
/// use roundsman_core::vault::{PasscodeError, PasscodeRules};
/// let rules = PasscodeRules::new(&Policy::default(), true, &["Ana Reyes"]);
/// assert_eq!(rules.check("241287"), [PasscodeError::Date]);
/// assert!(rules.check("831492").is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasscodeRules {
    /// The fewest characters. Digits alone will do.
    pub min_characters: usize,
    /// Whether it must be hard to guess for a computer too: the device has no secure hardware that counts attempts.
    pub strong: bool,
    /// How many of small letters, capitals, digits and others a passcode must have that is not of digits alone.
    pub classes: Option<usize>,
    /// After so many days it must be changed.
    pub max_age_days: Option<u32>,
    /// None of so many last ones may be used again.
    pub history: Option<usize>,
    /// Names and telephone numbers that it must not hold, in small letters.
    about: Vec<String>,
}

/// That a passcode is to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasscodeDue {
    /// Soon: the screen may say so.
    Warn {
        /// In so many days.
        days: u32,
    },
    /// Now: until it is changed the app opens nothing else.
    Now,
}

impl PasscodeRules {
    /// The rules of a policy, on a device with secure hardware for keys or without, for a person about whom these names
    /// and telephone numbers are known.
    pub fn new(policy: &Policy, hardware: bool, about: &[&str]) -> Self {
        let rotating = policy.passcode == PasscodeProfile::Rotating;
        Self {
            min_characters: if hardware { MIN_CHARACTERS } else { MIN_WITHOUT_HARDWARE },
            strong: !hardware,
            classes: rotating.then_some(CLASSES),
            max_age_days: rotating.then_some(MAX_AGE_DAYS as u32),
            history: rotating.then_some(5),
            about: about.iter().map(|known| composed(known).to_lowercase()).collect(),
        }
    }

    /// Every rule that what was typed breaks so far; none if it will do. For a screen to show while the person types. It
    /// can't tell whether it was used before: [`Client::change_passcode`](crate::Client::change_passcode) does.
    pub fn check(&self, typed: &str) -> Vec<PasscodeError> {
        let text = composed(typed);
        let small = small_letters(&text);
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let mut broken = Vec::new();
        let mut rule = |is_broken: bool, error| {
            if is_broken {
                broken.push(error);
            }
        };
        let short = text.chars().count() < self.min_characters;
        rule(short, PasscodeError::TooShort { least: self.min_characters });
        // One or two characters are a run of nothing yet.
        let enough = text.chars().nth(2).is_some();
        let same = enough && steps_by(&text, 0);
        let run = enough && !same && is_run(&text, digits);
        rule(same, PasscodeError::AllSame);
        rule(run, PasscodeError::Run);
        rule(enough && !same && !run && repeats(&text), PasscodeError::Repeated);
        rule(digits && is_date(&text), PasscodeError::Date);
        rule(COMMON.lines().any(|common| common == small.as_str()), PasscodeError::Common);
        rule(self.about.iter().any(|known| holds(&small, known)), PasscodeError::Personal);
        if let Some(least) = self.classes {
            rule(!digits && !text.is_empty() && classes(&text) < least, PasscodeError::FewClasses { least });
        }
        rule(self.strong && !short && strength(&text, &self.about) < MIN_STRENGTH, PasscodeError::Weak);
        broken
    }

    /// The first rule that a passcode breaks.
    pub(crate) fn judge(&self, passcode: &Passcode) -> Result<(), PasscodeError> {
        self.check(passcode.text()).into_iter().next().map_or(Ok(()), Err)
    }

    /// Whether a passcode of this age is too young to be due under any policy.
    pub(crate) fn young(set_ms: i64, now_ms: i64) -> bool {
        now_ms - set_ms < (MAX_AGE_DAYS - WARN_DAYS) * DAY_MS
    }

    /// Whether a passcode that was chosen at `set_ms` is to be changed at `now_ms`, or soon; both in milliseconds since
    /// 1970.
    pub fn due(&self, set_ms: i64, now_ms: i64) -> Option<PasscodeDue> {
        let days = i64::from(self.max_age_days?) - (now_ms - set_ms).div_euclid(DAY_MS);
        match days {
            ..=0 => Some(PasscodeDue::Now),
            1..=WARN_DAYS => Some(PasscodeDue::Warn { days: days as u32 }),
            _ => None,
        }
    }
}

fn small_letters(text: &str) -> Zeroizing<String> {
    // A small letter takes at most three times the room of its capital; a string that grows would leave copies.
    let mut small = Zeroizing::new(String::with_capacity(text.len() * 3));
    small.extend(text.chars().flat_map(char::to_lowercase));
    small
}

/// Steps of one for any characters, of any width for digits, where 0 follows 9.
fn is_run(text: &str, digits: bool) -> bool {
    let step = |step: u8| {
        text.bytes().zip(text.bytes().skip(1)).all(|(a, b)| (a + step + 10 - b).is_multiple_of(10))
    };
    if digits { (1..10).any(step) } else { steps_by(text, 1) || steps_by(text, -1) }
}

/// Whether it is a shorter part over and over, or made of two characters.
fn repeats(text: &str) -> bool {
    let count = text.chars().count();
    let over_and_over = |part: usize| text.chars().zip(text.chars().skip(part)).all(|(a, b)| a == b);
    let first = text.chars().next();
    let second = text.chars().find(|c| Some(*c) != first);
    let two = text.chars().all(|c| Some(c) == first || Some(c) == second);
    (count >= MIN_CHARACTERS && two) || (1..=count / 2).any(over_and_over)
}

/// Whether six or eight digits are a date, with the year first or last, the day before the month or after it.
fn is_date(digits: &str) -> bool {
    let number = |from, to| digits.get(from..to).and_then(|part: &str| part.parse().ok()).unwrap_or(0);
    let exists = |year: i32, month, day| {
        (1900..2100).contains(&year) && NaiveDate::from_ymd_opt(year, month, day).is_some()
    };
    let either = |year, a, b| exists(year, a, b) || exists(year, b, a);
    let (a, b, c) = (number(0, 2), number(2, 4), number(4, 6));
    match digits.len() {
        // A year of two digits may be of either century.
        6 => [1900, 2000].into_iter().any(|age| exists(age + a as i32, b, c) || either(age + c as i32, a, b)),
        8 => exists(number(0, 4) as i32, c, number(6, 8)) || either(number(4, 8) as i32, a, b),
        _ => false,
    }
}

/// Whether a passcode holds what is known: a part of a name, or a telephone number or a good part of one.
fn holds(small: &str, known: &str) -> bool {
    let mut number = Zeroizing::new(String::with_capacity(known.len()));
    number.extend(known.chars().filter(char::is_ascii_digit));
    if number.len() >= MIN_CHARACTERS {
        let mut typed = Zeroizing::new(String::with_capacity(small.len()));
        typed.extend(small.chars().filter(char::is_ascii_digit));
        return typed.len() >= MIN_CHARACTERS
            && (number.contains(typed.as_str()) || typed.contains(number.as_str()));
    }
    // Parts of two letters are in half of all words; a name of two Chinese characters is a name.
    let telling = |part: &&str| part.len() >= 3 && part.chars().nth(1).is_some();
    known.split(|c: char| !c.is_alphanumeric()).filter(telling).any(|part| small.contains(part))
}

/// How many of small letters, capitals, digits and others there are.
fn classes(text: &str) -> usize {
    let has = |class: fn(char) -> bool| usize::from(text.chars().any(class));
    has(char::is_lowercase)
        + has(char::is_uppercase)
        + has(|c| c.is_ascii_digit())
        + has(|c| !c.is_lowercase() && !c.is_uppercase() && !c.is_ascii_digit())
}

/// How hard it is to guess, from 0 to 4, as zxcvbn estimates it (Wheeler, USENIX Security 2016).
fn strength(text: &str, about: &[String]) -> u8 {
    let known: Vec<&str> = about.iter().flat_map(|known| known.split_whitespace()).collect();
    zxcvbn::zxcvbn(text, &known).score().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use PasscodeError as E;

    fn rules(profile: PasscodeProfile, hardware: bool) -> PasscodeRules {
        let policy = Policy { passcode: profile, ..Policy::default() };
        PasscodeRules::new(&policy, hardware, &["Ana Reyes", "张伟", "+1 (555) 014-7734"])
    }

    fn broken(hardware: bool, typed: &str) -> Vec<PasscodeError> {
        rules(PasscodeProfile::Rotating, hardware).check(typed)
    }

    #[test]
    fn six_digits_will_do_where_hardware_counts_the_attempts() {
        for typed in ["831492", "739146", "528371", "８３１４９２", "605914", "0407613"] {
            assert_eq!(broken(true, typed), [], "{typed}");
        }
        assert_eq!(broken(true, "83149"), [E::TooShort { least: 6 }]);
        assert_eq!(broken(true, ""), [E::TooShort { least: 6 }]);
    }

    #[test]
    fn without_hardware_a_passcode_must_be_long_and_strong() {
        for typed in ["copper Kayak 27", "red kayak 7", "8314926057", "🔑 clé 7 bleue"] {
            assert_eq!(broken(false, typed), [], "{typed}");
        }
        assert_eq!(broken(false, "831492"), [E::TooShort { least: 10 }]);
        for typed in ["Password!!!", "Qwerty12345!", "January 2019"] {
            assert_eq!(broken(false, typed), [E::Weak], "{typed}");
        }
    }

    #[test]
    fn what_everybody_tries_first_is_refused_each_with_its_reason() {
        for (typed, reason) in [
            ("777777", E::AllSame),
            ("654321", E::Run),
            ("890123", E::Run),
            ("135791", E::Run),
            ("147036", E::Run),
            ("831831", E::Repeated),
            ("272272", E::Repeated),
            ("8282828", E::Repeated),
            ("118811", E::Repeated),
            ("241287", E::Date),
            ("122487", E::Date),
            ("871224", E::Date),
            ("290200", E::Date),
            ("19871224", E::Date),
            ("24121987", E::Date),
            ("12241987", E::Date),
            ("147852", E::Common),
            ("159753", E::Common),
            ("520131", E::Common),
        ] {
            assert!(broken(true, typed).contains(&reason), "{typed}: {:?}", broken(true, typed));
        }
        // Near those, and none of them.
        for typed in ["654327", "831832", "451387", "320387", "99991332", "147853", "900013"] {
            assert_eq!(broken(true, typed), [], "{typed}");
        }
        assert_eq!(broken(true, "Trustno1"), [E::Common]);
    }

    #[test]
    fn a_passcode_is_not_made_of_what_is_known_of_its_user() {
        for typed in ["Reyes!831", "my ANA 831", "张伟 ab12", "550147", "15550147734", "0147734"] {
            assert!(broken(true, typed).contains(&E::Personal), "{typed}: {:?}", broken(true, typed));
        }
        for typed in ["Reye!8312", "张 wei 831", "147735"] {
            assert!(!broken(true, typed).contains(&E::Personal), "{typed}");
        }
        assert!(rules(PasscodeProfile::Nist, true).check("reyes 831 x").contains(&E::Personal));
    }

    #[test]
    fn three_of_four_classes_are_asked_for_in_the_one_school_and_not_in_the_other() {
        assert_eq!(broken(true, "kayakred"), [E::FewClasses { least: 3 }]);
        assert_eq!(broken(true, "kayak red"), [E::FewClasses { least: 3 }]);
        for typed in ["kayak red 7", "Kayak red", "KayakRed7"] {
            assert_eq!(broken(true, typed), [], "{typed}");
        }
        assert_eq!(rules(PasscodeProfile::Nist, true).check("kayak red"), []);
    }

    #[test]
    fn every_broken_rule_is_told_at_once() {
        assert_eq!(broken(true, "ana"), [E::TooShort { least: 6 }, E::Personal, E::FewClasses { least: 3 }]);
        assert_eq!(broken(false, "121212"), [E::TooShort { least: 10 }, E::Repeated, E::Date, E::Common]);
    }

    #[test]
    fn a_passcode_grows_old_in_the_one_school_and_not_in_the_other() {
        let due = |profile, days: i64| rules(profile, true).due(1_000, 1_000 + days * DAY_MS);
        let warn = |days| Some(PasscodeDue::Warn { days });
        for (age, expected) in
            [(0, None), (79, None), (80, warn(10)), (89, warn(1)), (90, Some(PasscodeDue::Now)), (-5, None)]
        {
            assert_eq!(due(PasscodeProfile::Rotating, age), expected, "{age}");
            assert_eq!(PasscodeRules::young(1_000, 1_000 + age * DAY_MS), expected.is_none(), "{age}");
        }
        assert_eq!(due(PasscodeProfile::Nist, 10_000), None);
    }

    #[test]
    fn the_list_of_common_ones_is_sorted_in_small_letters_and_of_use() {
        let lines: Vec<&str> = COMMON.lines().collect();
        assert!(lines.is_sorted_by(|a, b| a < b));
        assert!(lines.iter().all(|line| line.len() >= MIN_CHARACTERS && *line == line.to_lowercase()));
    }
}
