//! For tests: empty buckets of a server that speaks S3 and lives as long as the test process.

use super::script::Script;
use crate::attachments::S3;

static SCRIPT: Script = Script::new("s3");

/// A new, empty bucket.
pub(crate) fn empty_bucket() -> Result<S3, String> {
    let line = SCRIPT.make()?;
    let (address, bucket) = line
        .as_deref()
        .and_then(|line| line.split_once(' '))
        .ok_or("these tests need a server that speaks S3: run `scripts/s3 install`")?;
    Ok(S3 {
        bucket: bucket.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(address.to_owned()),
        access_key: "test".to_owned(),
        secret_key: "test".into(),
    })
}
