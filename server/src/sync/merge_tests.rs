//! What sync promises about edits that meet: sets and sums, removals, conflicts, moves, other versions.

use super::tests::{outcomes, rejected, rows, value, visit};
use crate::testkit::{Org, Phone, TestResult};
use roundsman_model::{Fields, RuleError, UserId, Value};
use roundsman_protocol::sync::{Change, Frame, Mutation, Outcome, Row};
use uuid::Uuid;

/// An organisation with one customer and two reps' phones.
struct Pair {
    org: Org,
    store: Uuid,
    ana: Phone,
    bo: Phone,
    ana_id: UserId,
}

fn pair() -> TestResult<Pair> {
    let org = Org::new()?;
    let store = org.customer("1", "Corner Shop", "A")?;
    let (ana_id, bo_id) = (org.rep("ana", &["A"])?, org.rep("bo", &["A"])?);
    let (ana, bo) = (org.phone(ana_id)?, org.phone(bo_id)?);
    Ok(Pair { org, store, ana, bo, ana_id })
}

/// The same change, made over these values.
fn over(change: Mutation, was: &[(&str, Value)]) -> Mutation {
    let was: Fields = was.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Mutation { was, ..change }
}

fn words(words: &[&str]) -> Value {
    Value::set(words.iter().map(|word| (*word).to_owned()))
}

fn collisions(frames: &[Frame]) -> Vec<&Row> {
    rows(frames).into_iter().filter(|row| row.entity == "collision").collect()
}

fn reason(frames: &[Frame]) -> Option<RuleError> {
    outcomes(frames).first().and_then(rejected).cloned()
}

/// Two names meet: Late, which is Bo's, stands.
fn collide(pair: &mut Pair) -> TestResult<Uuid> {
    let early = pair.ana.put("customer", pair.store, 1, &[("name", "Early".into())]);
    pair.org.wait(chrono::TimeDelta::seconds(1));
    let late = pair.bo.put("customer", pair.store, 1, &[("name", "Late".into())]);
    pair.bo.sync(&[late])?;
    let frames = pair.ana.sync(&[early])?;
    let found = collisions(&frames);
    let [row] = found.as_slice() else { return Err(format!("{found:?}").into()) };
    assert_eq!(value(row, "lost"), Some("\"Early\"".into()), "its author has it at once");
    assert_eq!(value(row, "loser"), Some(Value::Text(pair.ana_id.to_string())));
    Ok(row.id)
}

#[test]
fn amounts_of_two_phones_add_up_and_a_repeat_counts_once() -> TestResult {
    let mut pair = pair()?;
    let three = pair.ana.put("customer", pair.store, 1, &[("samples", Value::Int(3))]);
    let five = over(
        pair.bo.put("customer", pair.store, 1, &[("samples", Value::Int(15))]),
        &[("samples", Value::Int(10))],
    );
    for _ in 0..3 {
        pair.ana.sync(std::slice::from_ref(&three))?;
        pair.bo.sync(std::slice::from_ref(&five))?;
    }
    assert_eq!(pair.org.admin.customer(pair.store)?.and_then(|customer| customer.samples), Some(8));
    assert!(pair.org.admin.conflicts(9)?.is_empty());
    Ok(())
}

#[test]
fn words_that_two_phones_add_to_a_set_are_all_there() -> TestResult {
    let mut pair = pair()?;
    let first = pair.ana.put("customer", pair.store, 1, &[("tags", words(&["promo", "late"]))]);
    pair.ana.sync(&[first])?;
    // Bo never saw Ana's words, and adds one of them as well.
    let second = pair.bo.put("customer", pair.store, 1, &[("tags", words(&["dog", "late"]))]);
    pair.bo.sync(&[second])?;
    let tags = |org: &Org, store| org.admin.customer(store).map(|found| found.map(|found| found.tags));
    let all = ["dog", "late", "promo"].map(str::to_owned).to_vec();
    assert_eq!(tags(&pair.org, pair.store)?, Some(all.clone()));
    // Ana takes both of hers away without having seen that Bo wants one too.
    let third = over(
        pair.ana.put("customer", pair.store, 2, &[("tags", Value::Null)]),
        &[("tags", words(&["late", "promo"]))],
    );
    pair.ana.sync(&[third])?;
    assert_eq!(tags(&pair.org, pair.store)?, Some(all[..2].to_vec()));
    Ok(())
}

#[test]
fn notes_that_are_too_long_together_are_kept_beside_and_the_customer_can_still_be_read() -> TestResult {
    let mut pair = pair()?;
    let (long, other) = ("a".repeat(3_000), "b".repeat(3_000));
    let first = pair.ana.put("customer", pair.store, 1, &[("notes", long.as_str().into())]);
    let second = pair.bo.put("customer", pair.store, 1, &[("notes", other.as_str().into())]);
    pair.ana.sync(&[first])?;
    pair.bo.sync(&[second])?;
    assert_eq!(pair.org.admin.customer(pair.store)?.and_then(|customer| customer.notes), Some(long));
    assert_eq!(pair.org.admin.conflicts(9)?.first().map(|kept| kept.lost.clone()), Some(other.into()));
    let next = pair.ana.put("customer", pair.store, 2, &[("city", "Town".into())]);
    assert_eq!(reason(&pair.ana.sync(&[next])?), None);
    Ok(())
}

#[test]
fn notes_of_two_phones_outlive_what_either_writes_on_before_it_has_seen_the_others() -> TestResult {
    let mut pair = pair()?;
    let hers = pair.ana.put("customer", pair.store, 1, &[("notes", "Ana".into())]);
    pair.ana.sync(&[hers])?;
    // Bo writes twice before anything comes down to him.
    let his = pair.bo.put("customer", pair.store, 1, &[("notes", "Bo".into())]);
    let more = pair.bo.put("customer", pair.store, 1, &[("notes", "Bo\nand more".into())]);
    pair.bo.sync(&[his, more])?;
    let notes =
        |pair: &Pair| pair.org.admin.customer(pair.store).map(|found| found.and_then(|one| one.notes));
    assert_eq!(notes(&pair)?.as_deref(), Some("Ana\nBo\nand more"));
    // Whoever has seen all of it replaces all of it.
    let tidy = pair.bo.put("customer", pair.store, 4, &[("notes", "Both were here".into())]);
    pair.bo.sync(&[tidy])?;
    assert_eq!(notes(&pair)?.as_deref(), Some("Both were here"));
    Ok(())
}

#[test]
fn another_customers_code_is_said_to_be_taken() -> TestResult {
    let mut pair = pair()?;
    pair.org.customer("2", "Other", "A")?;
    let change = pair.ana.put("customer", pair.store, 1, &[("code", "2".into())]);
    assert_eq!(reason(&pair.ana.sync(&[change])?), Some(RuleError::Taken { field: "code".into() }));
    Ok(())
}

#[test]
fn a_conflict_reaches_every_phone_and_leaves_them_all_once_one_settles_it() -> TestResult {
    let mut pair = pair()?;
    let id = collide(&mut pair)?;
    let frames = pair.bo.sync(&[])?;
    assert_eq!(collisions(&frames).len(), 1, "the winner hears of it too");
    // A settlement that is refused settles nothing.
    let mut bad = pair.ana.put("customer", pair.store, 2, &[("name", Value::Null)]);
    bad.settles = vec![id];
    assert!(reason(&pair.ana.sync(&[bad])?).is_some());
    assert_eq!(pair.org.admin.conflicts(9)?.len(), 1);
    // Nor does one under another record.
    let other = pair.org.customer("2", "Other", "A")?;
    let mut wrong = pair.ana.put("customer", other, 1, &[("city", "Town".into())]);
    wrong.settles = vec![id];
    pair.ana.sync(&[wrong])?;
    assert_eq!(pair.org.admin.conflicts(9)?.len(), 1);

    let mut mine = pair.ana.put("customer", pair.store, 2, &[("name", "Early".into())]);
    mine.settles = vec![id];
    let frames = pair.ana.sync(&[mine])?;
    assert!(collisions(&frames).iter().all(|row| row.id == id && row.fields.is_none()));
    let frames = pair.bo.sync(&[])?;
    assert!(matches!(collisions(&frames).as_slice(), [row] if row.fields.is_none()));
    assert_eq!(pair.org.admin.customer(pair.store)?.map(|found| found.name).as_deref(), Some("Early"));
    assert!(pair.org.admin.conflicts(9)?.is_empty());
    Ok(())
}

#[test]
fn a_conflict_is_dismissed_by_a_change_of_nothing_and_no_phone_makes_or_removes_one() -> TestResult {
    let mut pair = pair()?;
    let id = collide(&mut pair)?;
    let forged = [
        pair.ana.put("collision", Uuid::now_v7(), 0, &[("field", "name".into())]),
        pair.ana.put("collision", id, 1, &[("lost", "x".into())]),
        pair.ana.delete("collision", id),
    ];
    for outcome in outcomes(&pair.ana.sync(&forged)?) {
        assert_eq!(rejected(&outcome), Some(&RuleError::NotAllowed));
    }
    let mut nothing = pair.bo.put("customer", pair.store, 2, &[]);
    nothing.settles = vec![id];
    let answer = outcomes(&pair.bo.sync(&[nothing])?);
    assert!(matches!(answer.as_slice(), [Outcome::Applied { rev, .. }] if rev.0 == 2), "no new version");
    assert!(pair.org.admin.conflicts(9)?.is_empty());
    Ok(())
}

#[test]
fn a_conflict_moves_with_its_record_and_is_gone_where_the_record_is() -> TestResult {
    let mut pair = pair()?;
    let id = collide(&mut pair)?;
    let mut there = pair.org.phone(pair.org.rep("cy", &["B"])?)?;
    there.sync(&[])?;
    for (home, away) in [("B", "A"), ("A", "B")] {
        pair.org.customer("1", "Corner Shop", home)?;
        let (here, other) =
            if home == "B" { (&mut there, &mut pair.ana) } else { (&mut pair.ana, &mut there) };
        let gone = other.sync(&[])?;
        assert!(rows(&gone).iter().all(|row| row.fields.is_none()) && rows(&gone).len() == 2, "left {away}");
        let came = here.sync(&[])?;
        let ids: Vec<Uuid> =
            rows(&came).iter().filter(|row| row.fields.is_some()).map(|row| row.id).collect();
        assert!(ids.contains(&id) && ids.contains(&pair.store), "came to {home}");
    }
    Ok(())
}

#[test]
fn an_edit_of_a_removed_customer_says_so_and_is_taken_once_it_is_restored() -> TestResult {
    let mut pair = pair()?;
    let planned = visit(&mut pair.ana, pair.ana_id.0, pair.store, &[]);
    pair.ana.sync(std::slice::from_ref(&planned))?;
    pair.org.admin.remove_customer(pair.org.boss, pair.store)?;
    let late = pair.bo.put("customer", pair.store, 1, &[("city", "Town".into())]);
    assert_eq!(reason(&pair.bo.sync(&[late])?), Some(RuleError::Removed));
    // Its visits stay, and go on.
    let note = pair.ana.put("visit", planned.record, 1, &[("next_step", "ask why".into())]);
    let frames = pair.ana.sync(&[note])?;
    assert_eq!(reason(&frames), None);
    assert!(rows(&frames).iter().any(|row| row.id == pair.store && row.fields.is_none()));
    // A rep may not, an administrator may, from a phone too.
    let try_it = Mutation { change: Change::Restore, ..pair.bo.put("customer", pair.store, 0, &[]) };
    assert_eq!(reason(&pair.bo.sync(&[try_it])?), Some(RuleError::NotAllowed));
    pair.org.admin.set_territories(pair.org.boss, pair.org.boss, vec!["A".into()])?;
    let mut boss = pair.org.phone(pair.org.boss)?;
    let back = Mutation { change: Change::Restore, ..boss.put("customer", pair.store, 0, &[]) };
    let answer = outcomes(&boss.sync(std::slice::from_ref(&back))?);
    assert!(matches!(answer.as_slice(), [Outcome::Applied { rev, .. }] if rev.0 == 3), "{answer:?}");
    assert_eq!(outcomes(&boss.sync(&[back])?), answer, "a repeat is the same");
    let again = pair.bo.put("customer", pair.store, 1, &[("city", "Town".into())]);
    let frames = pair.bo.sync(&[again])?;
    assert_eq!(reason(&frames), None);
    let row = rows(&frames).into_iter().find(|row| row.id == pair.store).ok_or("row")?;
    assert_eq!((value(row, "name"), value(row, "city")), (Some("Corner Shop".into()), Some("Town".into())));
    Ok(())
}

#[test]
fn two_who_remove_the_same_both_have_their_way_and_who_was_too_late_to_restore_is_told() -> TestResult {
    let mut pair = pair()?;
    let planned = visit(&mut pair.ana, pair.ana_id.0, pair.store, &[]);
    let mut second = pair.org.phone(pair.ana_id)?;
    pair.ana.sync(std::slice::from_ref(&planned))?;
    let first = pair.ana.delete("visit", planned.record);
    let also = second.delete("visit", planned.record);
    let answer = outcomes(&pair.ana.sync(&[first])?);
    assert_eq!(outcomes(&second.sync(&[also])?), answer);
    let theirs = pair.bo.delete("visit", planned.record);
    assert_eq!(reason(&pair.bo.sync(&[theirs])?), Some(RuleError::NotAllowed));
    // Another one took its code meanwhile.
    pair.org.admin.remove_customer(pair.org.boss, pair.store)?;
    pair.org.customer("1", "New Shop", "A")?;
    let refused = pair.org.admin.restore_customer(pair.org.boss, pair.store);
    assert!(matches!(refused, Err(crate::AdminError::Rule(RuleError::Taken { .. }))), "{refused:?}");
    // After three months nothing is left of it.
    pair.org.wait(chrono::TimeDelta::days(91));
    crate::upkeep::once(&pair.org.app, std::path::Path::new("/nowhere/at/all"))?;
    assert!(pair.org.admin.removed_customers(9)?.is_empty());
    assert!(matches!(
        pair.org.admin.restore_customer(pair.org.boss, pair.store),
        Err(crate::AdminError::NotFound)
    ));
    Ok(())
}

#[test]
fn work_about_a_territory_that_was_taken_away_is_refused_visibly_and_taken_when_it_comes_back() -> TestResult
{
    let mut pair = pair()?;
    pair.ana.sync(&[])?;
    let made = pair.ana.put("customer", pair.store, 1, &[("city", "Town".into())]);
    pair.org.admin.set_territories(pair.org.boss, pair.ana_id, vec!["B".into()])?;
    let frames = pair.ana.sync(&[made])?;
    assert_eq!(reason(&frames), Some(RuleError::NoSuchRecord));
    assert_eq!(pair.org.stored(&pair.ana)?.unsent, 1, "the phone still has it, and the console knows");
    pair.org.admin.set_territories(pair.org.boss, pair.ana_id, vec!["A".into()])?;
    let again = pair.ana.put("customer", pair.store, 1, &[("city", "Town".into())]);
    assert_eq!(reason(&pair.ana.sync(&[again])?), None);
    assert_eq!(pair.org.admin.customer(pair.store)?.and_then(|found| found.city).as_deref(), Some("Town"));
    Ok(())
}

#[test]
fn an_older_phones_edit_wipes_nothing_it_does_not_know() -> TestResult {
    let mut pair = pair()?;
    let newer = pair.ana.put(
        "customer",
        pair.store,
        1,
        &[("tags", words(&["promo"])), ("samples", Value::Int(4)), ("name", "Newer".into())],
    );
    pair.ana.sync(&[newer])?;
    // As it was written before there were sets, sums and settlements.
    let seen = pair.bo.put("customer", pair.store, 2, &[("name", "Older".into())]);
    let json = serde_json::to_string(&seen)?;
    assert!(!json.contains("was") && !json.contains("settles"));
    pair.bo.sync(&[serde_json::from_str(&json)?])?;
    let now = pair.org.admin.customer(pair.store)?.ok_or("customer")?;
    assert_eq!((now.name.as_str(), now.tags, now.samples), ("Older", vec!["promo".to_owned()], Some(4)));
    Ok(())
}

#[test]
fn a_newer_phones_change_is_refused_whole_and_the_next_one_goes_on() -> TestResult {
    let mut pair = pair()?;
    let changes = [
        pair.ana.put("customer", pair.store, 1, &[("city", "Town".into()), ("loyalty_tier", "gold".into())]),
        Mutation {
            change: serde_json::from_str("\"transmogrify\"")?,
            ..pair.ana.put("customer", pair.store, 1, &[("city", "Town".into())])
        },
        pair.ana.put("customer", pair.store, 1, &[("region", "NJ".into())]),
    ];
    let answer = outcomes(&pair.ana.sync(&changes)?);
    let unknown = RuleError::UnknownField { field: "loyalty_tier".into() };
    let reasons: Vec<Option<&RuleError>> = answer.iter().map(rejected).collect();
    assert_eq!(reasons, [Some(&unknown), Some(&RuleError::Other), None]);
    let now = pair.org.admin.customer(pair.store)?.ok_or("customer")?;
    assert_eq!((now.city, now.region.as_deref()), (None, Some("NJ")));
    Ok(())
}
