//! For tests: empty databases of PostgreSQL, on a server that lives as long as the test process.

use super::script::Script;

static SCRIPT: Script = Script::new("postgres");

/// The address of a new, empty database.
pub(crate) fn empty_database() -> Result<String, String> {
    SCRIPT.make()?.ok_or_else(|| {
        "these tests need PostgreSQL: install Debian's package postgresql, and see that \
         `scripts/postgres start` works; or name a server in ROUNDSMAN_TEST_POSTGRES"
            .to_owned()
    })
}
