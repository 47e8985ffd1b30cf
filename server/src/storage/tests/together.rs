//! Several instances on one database: two values of the storage, and threads.

use super::{Place, customer, id, put};
use crate::storage::{LogEntry, Notice, Storage, StorageError};
use crate::testkit::TestResult;
use roundsman_model::{Bucket, Seq};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

#[test]
fn what_is_read_is_of_one_moment() -> TestResult {
    for place in Place::both()? {
        let (one, two) = (place.open()?, place.open()?);
        put(one.as_ref(), &[customer(1, "A1", "One")])?;
        let tx = two.read()?;
        assert_eq!(tx.record_count("customer")?, 1);
        put(one.as_ref(), &[customer(2, "A2", "Two")])?;
        assert_eq!(tx.record_count("customer")?, 1, "the moment stands");
        assert!(tx.record("customer", id(2))?.is_none());
        drop(tx);
        assert_eq!(two.read()?.record_count("customer")?, 2);
    }
    Ok(())
}

#[test]
fn a_change_that_is_dropped_has_had_no_effect() -> TestResult {
    for place in Place::both()? {
        let storage = place.open()?;
        let mut tx = storage.write()?;
        tx.put_record(&customer(1, "A1", "One"), "one ")?;
        tx.append_log(&Bucket::territory("NJ"), "customer", id(1), LogEntry::Put)?;
        assert_eq!(tx.record_count("customer")?, 1, "the writer sees its own");
        drop(tx);
        let tx = storage.read()?;
        assert_eq!((tx.record_count("customer")?, tx.bucket_head(&Bucket::territory("NJ"))?), (0, Seq(0)));
    }
    Ok(())
}

#[test]
fn a_change_with_a_failed_step_is_never_half_committed() -> TestResult {
    for place in Place::both()? {
        let storage = place.open()?;
        put(storage.as_ref(), &[customer(1, "A1", "One")])?;
        let mut tx = storage.write()?;
        tx.put_record(&customer(2, "A2", "Two"), "two ")?;
        assert!(tx.put_record(&customer(3, "A1", "Three"), "three ").is_err());
        // Either the whole rest is committed or the commit says that it is not.
        let committed = tx.commit().is_ok();
        assert_eq!(storage.read()?.record("customer", id(2))?.is_some(), committed);
        put(storage.as_ref(), &[customer(4, "A4", "Four")])?;
    }
    Ok(())
}

#[test]
fn two_instances_never_write_at_a_time() -> TestResult {
    for place in Place::both()? {
        let (one, two) = (place.open()?, place.open()?);
        let tx = one.write()?;
        let (began, begun) = mpsc::channel();
        thread::scope(|scope| -> TestResult {
            scope.spawn(|| {
                let waited = two.write().is_ok();
                began.send(waited)
            });
            assert!(begun.recv_timeout(Duration::from_millis(300)).is_err(), "the other one waits");
            tx.commit()?;
            assert!(begun.recv_timeout(Duration::from_secs(20))?, "and goes on");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn writers_of_two_instances_leave_no_gap_in_a_log_and_no_reader_sees_one() -> TestResult {
    const EACH: u64 = 40;
    for place in Place::both()? {
        let instances = [place.open()?, place.open()?];
        let bucket = Bucket::territory("NJ");
        thread::scope(|scope| -> TestResult {
            let mut writers = Vec::new();
            for (n, instance) in instances.iter().enumerate() {
                let bucket = &bucket;
                writers.push(scope.spawn(move || -> Result<Vec<u64>, StorageError> {
                    let mut places = Vec::new();
                    for at in 0..EACH {
                        let mut tx = instance.write()?;
                        let record = customer(u128::from(at) * 2 + n as u128, &format!("{n}-{at}"), "x");
                        tx.put_record(&record, "x ")?;
                        let seq = tx.append_log(bucket, "customer", record.id, LogEntry::Put)?;
                        // Every fourth is taken back.
                        if at % 4 == 3 {
                            drop(tx);
                        } else {
                            tx.commit()?;
                            places.push(seq.0);
                        }
                    }
                    Ok(places)
                }));
            }
            for _ in 0..40 {
                let tx = instances[0].read()?;
                let rows = tx.log_after(&bucket, Seq(0), 1_000, usize::MAX)?;
                assert!(rows.iter().zip(1..).all(|(row, n)| row.seq.0 == n), "a reader saw a gap");
                assert_eq!(tx.bucket_head(&bucket)?.0, rows.len() as u64);
            }
            let mut all = Vec::new();
            for writer in writers {
                all.extend(writer.join().map_err(|_| "a writer panicked")??);
            }
            all.sort_unstable();
            assert_eq!(all, (1..=EACH * 2 * 3 / 4).collect::<Vec<_>>());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_commit_is_told_and_a_change_that_was_dropped_is_not() -> TestResult {
    for place in Place::both()? {
        let storage = place.open()?;
        told(storage.as_ref(), storage.as_ref())?;
    }
    let [_, place] = Place::both()?;
    told(place.open()?.as_ref(), place.open()?.as_ref())
}

fn told(writer: &dyn Storage, hearer: &dyn Storage) -> TestResult {
    let mut heard = hearer.subscribe();
    let mut tx = writer.write()?;
    tx.append_log(&Bucket::territory("lost"), "customer", id(1), LogEntry::Put)?;
    drop(tx);
    put(writer, &[customer(1, "A1", "One"), customer(2, "A2", "Two")])?;
    let mut tx = writer.write()?;
    tx.append_log(&Bucket("a 'bucket' of 店".into()), "customer", id(1), LogEntry::Put)?;
    tx.commit()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut next =
        || runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), heard.recv()).await });
    assert_eq!(next()??, Notice::Bucket(Bucket::territory("NJ")), "once, and not the one that was dropped");
    assert_eq!(next()??, Notice::Bucket(Bucket("a 'bucket' of 店".into())));
    Ok(())
}

#[test]
fn a_proof_is_new_to_all_instances_once() -> TestResult {
    let [file, postgres] = Place::both()?;
    assert_eq!(file.open()?.note_proof(&[1; 32], 1_000)?, None, "one instance remembers by itself");
    let (one, two) = (postgres.open()?, postgres.open()?);
    assert_eq!(one.note_proof(&[1; 32], 1_000_000)?, Some(true));
    assert_eq!(two.note_proof(&[1; 32], 1_000_001)?, Some(false));
    assert_eq!(two.note_proof(&[2; 32], 1_000_001)?, Some(true));
    let later = 1_000_000 + 10 * 60 * 1_000;
    assert_eq!(one.note_proof(&[3; 32], later)?, Some(true));
    assert_eq!(one.note_proof(&[1; 32], later)?, Some(true), "forgotten long after its nonce");
    Ok(())
}

#[test]
fn a_lost_connection_is_an_error_once_and_the_next_call_goes_on() -> TestResult {
    let [_, place] = Place::both()?;
    let (storage, other) = (place.open()?, place.open()?);
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE pid <> pg_backend_pid() AND datname = current_database()";
    put(storage.as_ref(), &[customer(1, "A1", "One")])?;
    assert_eq!(storage.read()?.record_count("customer")?, 1);

    let mut heard = storage.subscribe();
    let mut writing = storage.write()?;
    writing.put_record(&customer(2, "A2", "Two"), "two ")?;
    let reading = storage.read()?;
    place.tamper(cut)?;
    assert!(matches!(writing.record_count("customer"), Err(StorageError::Unreachable(_))));
    assert!(writing.commit().is_err());
    assert!(reading.record_count("customer").is_err());
    drop(reading);

    assert_eq!(storage.read()?.record_count("customer")?, 1);
    put(storage.as_ref(), &[customer(3, "A3", "Three")])?;
    // And connections that were cut while nobody used them cost nobody an error.
    place.tamper(cut)?;
    assert_eq!(storage.read()?.record_count("customer")?, 2);
    put(other.as_ref(), &[customer(4, "A4", "Four")])?;

    // Whoever waits for notices is told that some may be missing.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(20), async {
            while heard.recv().await.is_ok_and(|notice| notice != Notice::Anything) {}
        })
        .await
    })?;
    Ok(())
}
