//! Two instances on one PostgreSQL, as a device meets them on the wire.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code, reason = "the kit is for one server; this uses its parts")]
mod kit;
#[path = "../src/testkit/postgres.rs"]
mod postgres;
#[path = "../src/testkit/script.rs"]
mod script;

use kit::{Phone, Rig, TestResult, client, enrolment, problem};
use reqwest::Response;
use roundsman_protocol::ErrorCode;
use roundsman_protocol::api::{Checkin, DeviceState, EnrolAnswer, TokenRequest, Tokens};
use roundsman_protocol::sync::Head;
use roundsman_server::{Config, Database, Server};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output};
use uuid::Uuid;

/// What devices know the instances by; nothing listens there.
const PUBLIC: &str = "https://localhost:1";

async fn start(data: &Path, database: &Database, listen: SocketAddr) -> TestResult<Server> {
    Ok(Server::start(Config {
        data_dir: data.to_owned(),
        database: Some(Database { url: database.url.duplicate(), ca: None }),
        listen,
        public_url: Some(PUBLIC.to_owned()),
        org_name: "Test".into(),
        anchors: None,
        attachments: roundsman_server::AttachmentConfig::default(),
        first_admin: None,
    })
    .await?)
}

/// Two instances, and where each listens.
struct Pair {
    rig: Rig,
    at: [String; 2],
    database: Database,
    _second: Server,
}

impl Pair {
    async fn start() -> TestResult<Self> {
        let dir = tempfile::tempdir()?;
        let database = Database { url: postgres::empty_database()?.as_str().into(), ca: None };
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let at = [free()?, free()?];
        let server = start(&one, &database, at[0]).await?;
        std::fs::create_dir(&two)?;
        for file in ["server.key", "tls.crt", "tls.key"] {
            std::fs::copy(one.join(file), two.join(file))?;
        }
        let second = start(&two, &database, at[1]).await?;
        let http = client(&one.join("tls.crt"))?;
        let rig = Rig { admin: server.admin(), server, http, dir };
        Ok(Self {
            rig,
            at: at.map(|address| format!("https://localhost:{}", address.port())),
            database,
            _second: second,
        })
    }

    async fn nonce(&self, instance: usize) -> TestResult<String> {
        let answer = self.rig.http.get(format!("{}/v1/root", self.at[instance])).send().await?;
        Ok(answer.headers().get("dpop-nonce").ok_or("no nonce")?.to_str()?.to_owned())
    }

    async fn post(
        &self,
        instance: usize,
        path: &str,
        proof: &str,
        token: Option<&str>,
        body: Vec<u8>,
    ) -> TestResult<Response> {
        let mut request =
            self.rig.http.post(format!("{}{path}", self.at[instance])).header("dpop", proof).body(body);
        if let Some(token) = token {
            request = request.header("authorization", format!("DPoP {token}"));
        }
        Ok(request.send().await?)
    }

    /// Posts to one instance with a nonce of the other.
    async fn crossed(
        &self,
        instance: usize,
        phone: &Phone,
        path: &str,
        token: Option<&str>,
        body: Vec<u8>,
    ) -> TestResult<Response> {
        let nonce = self.nonce(1 - instance).await?;
        let proof = phone.proof(&format!("{PUBLIC}{path}"), token, Some(&nonce))?;
        self.post(instance, path, &proof, token, body).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_works_on_the_shared_database() -> TestResult {
    let pair = Pair::start().await?;
    let run = |folder: &str, told: bool, args: &[&str]| -> TestResult<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roundsman-server"));
        command.args(args).arg("--data").arg(pair.rig.dir.path().join(folder));
        let command = if told {
            command.arg("--database").arg(pair.database.url.expose())
        } else {
            command.env("ROUNDSMAN_DATABASE", pair.database.url.expose())
        };
        Ok(command.output()?)
    };
    let user = ["user", "add", "--email", "ana@example.com", "--name", "Ana", "--territory", "A"];
    assert!(run("one", true, &user)?.status.success());
    let ticket = run("two", false, &["ticket", "--user", "ana@example.com"])?;
    assert!(ticket.status.success(), "{}", String::from_utf8_lossy(&ticket.stderr));
    assert_eq!(pair.rig.admin.users()?.len(), 2);
    let key = pair.rig.dir.path().join("one/keep-offline/rescue.key");
    let key = key.to_str().ok_or("path")?;
    assert!(run("two", false, &["rescue", "--key", key])?.status.success());
    assert!(run("two", true, &["rescue", "--key", key])?.status.success());
    // Another data folder has not the key, and makes none.
    let refused = run("three", true, &["devices"])?;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("put server.key back"));
    Ok(())
}

fn free() -> TestResult<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

fn report() -> Checkin {
    Checkin { unsent: Some(0), ..Checkin::of(DeviceState::Active, "0.1.0", 0) }
}

fn head() -> TestResult<Vec<u8>> {
    Ok(serde_json::to_vec(&Head {
        cursors: BTreeMap::new(),
        device: report(),
        differences: Vec::new(),
        own: None,
    })?)
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_nonces_of_the_one_hold_at_the_other() -> TestResult {
    let pair = Pair::start().await?;
    let phone = Phone::new()?;
    let ticket = pair.rig.ticket("ana", "A")?;
    let answer = pair.crossed(1, &phone, "/v1/enrol", None, enrolment(ticket.token)?).await?;
    let enrolled: EnrolAnswer = serde_json::from_slice(&answer.bytes().await?)?;
    let spent = pair.crossed(0, &phone, "/v1/enrol", None, enrolment(ticket.token)?).await?;
    assert_ne!(spent.status(), 200, "a ticket that the other instance took");

    let mut tokens = enrolled.tokens;
    for turn in 0..4 {
        let (here, there) = (turn % 2, 1 - turn % 2);
        let request = TokenRequest { refresh: tokens.refresh.clone(), request: Uuid::now_v7() };
        let body = serde_json::to_vec(&request)?;
        let answer = pair.crossed(here, &phone, "/v1/token", None, body.clone()).await?;
        let fresh: Tokens = serde_json::from_slice(&answer.bytes().await?)?;
        // The answer was lost, and the repeat meets the other instance: the same successor, no theft.
        let answer = pair.crossed(there, &phone, "/v1/token", None, body).await?;
        let repeated: Tokens = serde_json::from_slice(&answer.bytes().await?)?;
        assert_eq!(repeated.refresh, fresh.refresh);
        let answer = pair.crossed(there, &phone, "/v1/sync", Some(&fresh.access), head()?).await?;
        assert_eq!(answer.status(), 200, "turn {turn}");
        tokens = fresh;
    }
    assert!(pair.rig.admin.alerts(9)?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_the_one_took_is_refused_by_the_other() -> TestResult {
    let pair = Pair::start().await?;
    let phone = Phone::new()?;
    let ticket = pair.rig.ticket("ana", "A")?;
    assert_eq!(pair.crossed(0, &phone, "/v1/enrol", None, enrolment(ticket.token)?).await?.status(), 200);
    let path = "/v1/device/checkin";
    let proof = phone.proof(&format!("{PUBLIC}{path}"), None, Some(&pair.nonce(0).await?))?;
    let body = serde_json::to_vec(&report())?;
    assert_eq!(pair.post(0, path, &proof, None, body.clone()).await?.status(), 200);
    for instance in [1, 0] {
        let answer = pair.post(instance, path, &proof, None, body.clone()).await?;
        assert_eq!(problem(answer).await?.code, ErrorCode::ProofInvalid);
    }
    Ok(())
}
