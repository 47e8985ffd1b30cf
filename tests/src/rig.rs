//! A server with an organisation in it, and phones to enrol.

use roundsman_core::platform::{OsEntropy, SoftwareKeys};
use roundsman_core::vault::{KdfCost, Passcode};
use roundsman_core::{Client, Config};
use roundsman_model::{DeviceId, UserId};
use roundsman_server::admin::{Admin, ImportReport, Mapping, NewUser, TerritoryFrom};
use roundsman_server::{NewAdmin, Secret, Server};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// The first administrator's password.
pub const ADMIN_PASSWORD: &str = "correct horse battery staple";

/// Every phone's passcode.
pub const PASSCODE: &str = "copper Kayak 27";

/// A running server with one territory, `NJ`.
pub struct Rig {
    /// The server.
    pub server: Server,
    /// What the console would call.
    pub admin: Admin,
    /// The administrator.
    pub actor: UserId,
    /// Everything on disk: the server's and the phones' folders.
    pub disk: TempDir,
}

impl Rig {
    /// Starts a server on a free port with an empty database.
    pub async fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), None).await
    }

    /// Starts a server at this address, which phones reach by that one.
    pub async fn start_at(listen: SocketAddr, public_url: Option<String>) -> Self {
        let disk = tempfile::tempdir().expect("a temporary folder");
        let config =
            roundsman_server::Config { listen, public_url, ..server_config(&disk.path().join("server")) };
        let server = Server::start(config).await.expect("the server starts");
        let admin = server.admin();
        let actor = admin.users().expect("users").first().expect("the first administrator").id;
        Self { server, admin, actor, disk }
    }

    /// Imports customers from CSV text whose columns have the names of fields, into their own territories.
    pub fn import(&self, csv: &str) -> ImportReport {
        let headers: Vec<String> =
            csv.lines().next().unwrap_or_default().split(',').map(str::to_owned).collect();
        let mut mapping = Mapping::guess(&headers);
        mapping.territory = TerritoryFrom::Fixed("NJ".to_owned());
        self.admin
            .import_customers(self.actor, csv.as_bytes(), &mapping, &mut |_| {})
            .expect("the file can be read")
    }

    /// Imports `count` made-up customers named `Store 0`, `Store 1`, ….
    pub fn import_stores(&self, count: usize) {
        let mut csv = "code,name,address,city,phone,lat,lon\n".to_owned();
        for n in 0..count {
            csv.push_str(&format!("S{n},Store {n},{n} Ocean Ave,Long Branch,+1732555{n:04},40.3,-73.98\n"));
        }
        assert_eq!(self.import(&csv).created, count as u64);
    }

    /// Adds a rep for the territory `NJ`.
    pub fn rep(&self, name: &str) -> UserId {
        let user = NewUser {
            email: format!("{name}@example.com"),
            name: name.to_owned(),
            role: roundsman_model::Role::Rep,
            territories: vec!["NJ".to_owned()],
            password: None,
        };
        self.admin.add_user(self.actor, user).expect("the rep is added")
    }

    /// A fresh enrolment code for a rep.
    pub fn ticket(&self, rep: UserId) -> String {
        self.admin.issue_ticket(self.actor, rep).expect("a ticket").text
    }

    /// A phone that is not enrolled.
    pub fn phone(&self, name: &str) -> Client {
        Client::open(phone_config(&self.disk.path().join(name), name)).expect("the client opens")
    }

    /// A phone of a new rep, enrolled, synced and open.
    pub async fn enrolled(&self, name: &str) -> Client {
        let rep = self.rep(name);
        let phone = self.phone(name);
        phone.enrol(&self.ticket(rep), &passcode()).await.expect("the phone is enrolled");
        phone.sync(&()).await.expect("the first sync");
        phone
    }

    /// Wipes a device: proposed by the administrator, approved with the first approver's key, which the server does not
    /// hold.
    pub fn wipe(&self, device: DeviceId, reason: &str) {
        let proposal = self.admin.propose_wipe(self.actor, device, reason, false).expect("a proposal");
        let approver = &self.server.first_keys().expect("a first start").approver;
        let signature = proposal.sign(approver).expect("a signature");
        self.admin.approve_wipe(proposal.id, approver.id(), &signature).expect("the approval is taken");
    }

    /// The device with this name, as the console shows it.
    pub fn device(&self, name: &str) -> roundsman_server::admin::DeviceView {
        let devices = self.admin.devices().expect("devices");
        devices.into_iter().find(|device| device.name == name).expect("the device is listed")
    }
}

/// Every phone's passcode.
pub fn passcode() -> Passcode {
    Passcode::new(PASSCODE).expect("a passcode that the policy takes")
}

/// A server with an embedded database in `data`, on a free port, and its first administrator.
pub fn server_config(data: &Path) -> roundsman_server::Config {
    roundsman_server::Config {
        data_dir: data.to_owned(),
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
    }
}

/// A phone whose vault is in `folder/vault` and whose platform keys are in `folder/keys`, with the cheapest
/// passcode hashing that is allowed.
pub fn phone_config(folder: &Path, name: &str) -> Config {
    let keys = SoftwareKeys::new(folder.join("keys"), Arc::new(OsEntropy));
    Config {
        device_name: name.to_owned(),
        cost: Some(KdfCost::FLOOR),
        ..Config::new(folder.join("vault"), Arc::new(keys))
    }
}
