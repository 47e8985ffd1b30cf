//! Empty databases of PostgreSQL, as the server's own tests make them.

#[path = "../../server/src/testkit/postgres.rs"]
mod maker;

use roundsman_server::Database;

/// A new, empty database. It goes away with the test process.
pub fn empty_database() -> Database {
    let address = maker::empty_database().expect("a database for the test");
    Database { url: address.as_str().into(), ca: None }
}
