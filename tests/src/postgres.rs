//! Empty databases of PostgreSQL, as the server's own tests make them.

#[path = "../../server/src/testkit/postgres.rs"]
mod maker;
#[path = "../../server/src/testkit/script.rs"]
mod script;

use roundsman_server::Database;

/// The same database once more, for another who opens it.
pub fn again(database: &Database) -> Database {
    Database { url: database.url.duplicate(), ca: None }
}

/// A new, empty database. It goes away with the test process.
pub fn empty_database() -> Database {
    let address = maker::empty_database().expect("a database for the test");
    Database { url: address.as_str().into(), ca: None }
}
