//! For tests: empty buckets of a server that speaks S3 and lives as long as the test process.

use crate::attachments::S3;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The script that makes buckets. It ends its server at the end of its input, that is when this process ends.
struct Maker {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _child: Child,
}

static MAKER: Mutex<Option<Maker>> = Mutex::new(None);

/// A new, empty bucket.
pub(crate) fn empty_bucket() -> Result<S3, String> {
    let mut maker = MAKER.lock().unwrap_or_else(PoisonError::into_inner);
    let started = match maker.take() {
        Some(started) => started,
        None => start()?,
    };
    let made = maker.insert(started);
    let mut line = String::new();
    let asked = made.input.write_all(b"new\n").and_then(|()| made.input.flush());
    let told = asked.and_then(|()| made.output.read_line(&mut line)).is_ok();
    match line.trim().split_once(' ').filter(|_| told) {
        Some((address, bucket)) => Ok(S3 {
            bucket: bucket.to_owned(),
            region: "us-east-1".to_owned(),
            endpoint: Some(address.to_owned()),
            access_key: "test".to_owned(),
            secret_key: "test".into(),
        }),
        None => {
            *maker = None;
            Err("these tests need a server that speaks S3: run `scripts/s3 install`".to_owned())
        }
    }
}

fn start() -> Result<Maker, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/s3");
    let mut child = Command::new(&script)
        .arg("each")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{} can't be run: {error}", script.display()))?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("scripts/s3 has no input".to_owned());
    };
    Ok(Maker { input, output: BufReader::new(output), _child: child })
}
