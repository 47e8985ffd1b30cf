//! A real server with made-up data for tests in other languages.
//!
//! Starts in a temporary folder on a free port and prints `{"url": …}`. Then it obeys lines on standard input and
//! answers each with one line of JSON, `{"error": …}` if it failed:
//!
//! - `ticket` issues an enrolment code for the rep: `{"ticket": …}`;
//! - `compare` has digits compared from now on: `{"done": …}`;
//! - `digits` tells those of the device that waits: `{"digits": …}`; `confirm` confirms them: `{"done": …}`;
//! - `lock NAME`, `unlock NAME`, `wipe NAME` command the device of that name: `{"done": …}`;
//! - `status NAME` tells how it stands for the administrator: `{"status": …}`;
//! - `rescued NAME` opens the unsent work that the device of that name has handed over, takes it into the records and
//!   says how many changes there were: `{"rescued": …}`;
//! - `rooted allow`, `rooted warn`, `rooted lock` say in the policy what follows from a rooted phone, and
//!   `biometrics on`, `biometrics off` whether biometrics open a vault: `{"done": …}`;
//! - `lease DAYS` lets devices stay away so long, with no wipe after it: `{"done": …}`;
//! - `stop`, or the end of the input, stops the server and removes the folder.

use anyhow::{Context, Result, bail};
use roundsman_model::{DeviceId, Role, UserId};
use roundsman_protocol::lease::Lease;
use roundsman_protocol::policy::Policy;
use roundsman_protocol::posture::Verdict;
use roundsman_server::admin::{Admin, EnrolmentView, LeaseTerms, Mapping, NewUser, TerritoryFrom};
use roundsman_server::keyfile::KeyFile;
use roundsman_server::{Config, NewAdmin, Secret, Server};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::spawn_blocking;

const ADMIN_PASSWORD: &str = "correct horse battery staple";
const TERRITORY: &str = "NJ";
const CUSTOMERS: &str = "\
code,name,address,city,phone,lat,lon
S1,Café Lumière,1 Ocean Ave,Long Branch,+17325550101,40.3000,-73.9800
S2,Corner Grocery,2 Ocean Ave,Long Branch,+17325550102,40.3010,-73.9801
S3,沈記 Noodles,3 Ocean Ave,Long Branch,+17325550103,40.3020,-73.9802
S4,Harbor Pharmacy,4 Pier Rd,Deal,+17325550104,40.2500,-73.9900
S5,Boardwalk Deli,5 Pier Rd,Deal,+17325550105,40.2510,-73.9901
";

/// What the lines on standard input act on.
#[derive(Clone)]
struct Stage {
    admin: Admin,
    rep: UserId,
    approver: Arc<KeyFile>,
    rescue: Arc<KeyFile>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(Config {
        data_dir: folder.path().to_owned(),
        database: None,
        listen: ([127, 0, 0, 1], 0).into(),
        public_url: None,
        org_name: "Garden State Snacks".to_owned(),
        anchors: None,
        attachments: roundsman_server::AttachmentConfig::default(),
        first_admin: Some(NewAdmin {
            email: "ada@example.com".to_owned(),
            name: "Ada".to_owned(),
            password: Secret::from(ADMIN_PASSWORD),
        }),
    })
    .await?;
    let admin = server.admin();
    let keys = server.first_keys().context("the folder is new")?;
    let (approver, rescue) = (Arc::new(keys.approver.duplicate()), Arc::new(keys.rescue.duplicate()));
    let stage = spawn_blocking(|| Stage::set(admin, approver, rescue)).await??;
    say(&json!({ "url": server.url() }))?;

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if line == "stop" {
            break;
        }
        let stage = stage.clone();
        let answer = spawn_blocking(move || stage.obey(&line)).await?;
        say(&answer.unwrap_or_else(|error| json!({ "error": format!("{error:#}") })))?;
    }
    server.stop().await;
    Ok(())
}

impl Stage {
    /// Brings in the customers and the rep.
    fn set(admin: Admin, approver: Arc<KeyFile>, rescue: Arc<KeyFile>) -> Result<Self> {
        let header: Vec<String> =
            CUSTOMERS.lines().next().unwrap_or_default().split(',').map(str::to_owned).collect();
        let mapping =
            Mapping { territory: TerritoryFrom::Fixed(TERRITORY.to_owned()), ..Mapping::guess(&header) };
        let report = admin.import_customers(Admin::OPERATOR, CUSTOMERS.as_bytes(), &mapping, &mut |_| {})?;
        if !report.rejected.is_empty() {
            bail!("customers were rejected: {:?}", report.rejected);
        }
        let rep = NewUser {
            email: "ana@example.com".to_owned(),
            name: "Ana".to_owned(),
            role: Role::Rep,
            territories: vec![TERRITORY.to_owned()],
            password: None,
        };
        let rep = admin.add_user(Admin::OPERATOR, rep)?;
        Ok(Self { admin, rep, approver, rescue })
    }

    fn obey(&self, line: &str) -> Result<Value> {
        let (word, name) = line.split_once(' ').unwrap_or((line, ""));
        let Self { admin, rep, approver, rescue } = self;
        match word {
            "ticket" => return Ok(json!({ "ticket": admin.issue_ticket(Admin::OPERATOR, *rep)?.text })),
            "status" => {
                let device = admin.device(self.device(name)?)?.context("the device is gone")?;
                return Ok(json!({ "status": format!("{:?}", device.view.state) }));
            }
            "rescued" => {
                let device = self.device(name)?;
                admin.open_rescue(Admin::OPERATOR, &*rescue.opening_key()?)?;
                let taken = admin.take_all_rescued(Admin::OPERATOR, device)?;
                if !taken.refused.is_empty() {
                    bail!("some of it was refused: {:?}", taken.refused);
                }
                return Ok(json!({ "rescued": taken.applied.to_string() }));
            }
            "rooted" => {
                let mut policy = admin.policy()?;
                policy.posture.rooted = match name {
                    "allow" => Verdict::Allow,
                    "warn" => Verdict::Warn,
                    "lock" => Verdict::Lock,
                    other => bail!("there is no verdict {other}"),
                };
                admin.set_policy(Admin::OPERATOR, policy)?;
            }
            "lease" => {
                let seconds = name.parse::<u32>()?.saturating_mul(Lease::DAY_S);
                let terms = LeaseTerms { warn_after_s: seconds, lock_after_s: seconds, wipe_after_s: None };
                admin.set_lease_terms(Admin::OPERATOR, terms)?;
            }
            "biometrics" => {
                let policy = Policy { biometrics: name == "on", ..admin.policy()? };
                admin.set_policy(Admin::OPERATOR, policy)?;
            }
            "compare" => admin.set_confirms_enrolments(Admin::OPERATOR, true)?,
            "digits" => {
                let digits = self.waiting()?.digits.context("it shows no digits yet")?;
                return Ok(json!({ "digits": digits.to_string() }));
            }
            "confirm" => admin.confirm_enrolment(Admin::OPERATOR, self.waiting()?.id)?,
            "lock" => admin.lock(Admin::OPERATOR, self.device(name)?, "a test")?,
            "unlock" => admin.unlock(Admin::OPERATOR, self.device(name)?)?,
            "wipe" => {
                let wipe = admin.propose_wipe(Admin::OPERATOR, self.device(name)?, "a test", false)?;
                admin.approve_wipe(wipe.id, approver.id(), &wipe.sign(approver)?)?;
            }
            other => bail!("there is no command {other}"),
        }
        Ok(json!({ "done": word }))
    }

    fn waiting(&self) -> Result<EnrolmentView> {
        self.admin.waiting_enrolments()?.pop().context("no device waits")
    }

    fn device(&self, name: &str) -> Result<DeviceId> {
        let devices = self.admin.devices()?;
        let device = devices.into_iter().find(|device| device.name == name);
        Ok(device.with_context(|| format!("there is no device {name}"))?.id)
    }
}

fn say(answer: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}")?;
    Ok(out.flush()?)
}
