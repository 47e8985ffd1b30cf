//! `roundsman-server`: runs the server, and does an administrator's work on the server's own machine.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "what the commands answer goes to the terminal")]

mod cli;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use roundsman_model::Role;
use roundsman_protocol::posture::Verdict;
use roundsman_server::admin::{DeviceView, Mapping, NewUser, TerritoryFrom, UserView};
use roundsman_server::{Admin, Config, Database, NewAdmin, Secret, Server};
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

/// The Roundsman sync server and administrator's console.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  \
    roundsman-server serve --data /var/lib/roundsman --public-url https://crm.example:8443\n  \
    roundsman-server user add --data /var/lib/roundsman --email ana@example.com --name Ana --territory NJ\n  \
    roundsman-server ticket --data /var/lib/roundsman --user ana@example.com"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the server until it is interrupted. The first start makes its keys, certificate and administrator.
    #[command(after_help = "Examples:\n  \
        roundsman-server serve --data ./data\n  \
        roundsman-server serve --data /var/lib/roundsman --listen 0.0.0.0:8443 \\\n    \
        --public-url https://crm.example:8443 --org \"Example Foods\"\n  \
        ROUNDSMAN_DATABASE=postgres://crm@db.example/crm roundsman-server serve --data ./data --database-ca db-ca.pem\n\n\
        The database's key is kept in DATA/server.key; set ROUNDSMAN_DB_KEY (64 hex digits) to keep it elsewhere.\n\
        Put your own certificate into DATA/tls.crt and DATA/tls.key (PEM) before the first start.\n\
        Set ROUNDSMAN_ADMIN_PASSWORD to choose the first administrator's password.")]
    Serve(Serve),
    /// Users of the system.
    #[command(subcommand)]
    User(UserCommand),
    /// Issues a ticket for one user's device and shows it as a QR code. It holds for 15 minutes, once.
    #[command(after_help = "Example:\n  roundsman-server ticket --data ./data --user ana@example.com")]
    Ticket {
        #[command(flatten)]
        data: Data,
        /// The user's email.
        #[arg(long)]
        user: String,
    },
    /// Devices that wait for somebody to compare digits.
    #[command(subcommand)]
    Enrolments(cli::enrolments::EnrolmentsCommand),
    /// Brings customers in from a CSV file with a header line. Columns are guessed from their names.
    #[command(after_help = "Examples:\n  \
        roundsman-server import --data ./data stores.csv --territory-column region\n  \
        roundsman-server import --data ./data stores.csv --territory NJ --only region=NJ --column name=store_name")]
    Import(Import),
    /// Lists the devices, the latest heard first.
    #[command(after_help = "Example:\n  roundsman-server devices --data ./data")]
    Devices(Data),
    /// Opens unsent work that devices handed over, and decides what to take of it.
    #[command(after_help = "Examples:\n  \
        roundsman-server rescue --data ./data --key /media/usb/rescue.key\n  \
        roundsman-server rescue list --data ./data\n  \
        roundsman-server rescue take --data ./data --all")]
    Rescue(cli::rescue::Rescue),
    /// Checks everything that the server keeps, beside the running server: the database, what every bucket adds up to, the
    /// logs, the audit chains, and the content of attachments. Mends nothing.
    ///
    /// Ends with an error if something is wrong. What is wrong is named by its kind, its bucket and its id. The
    /// console shows an alert for each kind, until somebody has seen it or a later check does not find it any more.
    /// That is all that is written; with --no-alerts nothing is.
    #[command(after_help = "Examples:\n  \
        roundsman-server verify --data ./data\n  \
        roundsman-server verify --data ./data --contents\n  \
        roundsman-server verify --data ./copy --no-alerts\n  \
        ROUNDSMAN_DATABASE=postgres://crm@db.example/crm roundsman-server verify --data ./data --s3-bucket photos")]
    Verify(cli::verify::Verify),
    /// The devices' audit logs.
    #[command(subcommand)]
    Audit(cli::audit::AuditCommand),
    /// Copies of the devices' release shares, for the day when the server has lost its own.
    #[command(subcommand)]
    Escrow(cli::escrow::EscrowCommand),
    /// Locks a device, or all of them at once: nothing is lost, and `unlock` undoes it.
    #[command(after_help = "Examples:\n  \
        roundsman-server lock --data ./data --device 0198c1f2-… --reason \"left in a taxi\"\n  \
        roundsman-server lock --data ./data --all --reason \"break-in at the office\"")]
    Lock(cli::locks::Lock),
    /// Lets a locked device open again, or all that were locked at once.
    #[command(after_help = "Examples:\n  \
        roundsman-server unlock --data ./data --device 0198c1f2-…\n  \
        roundsman-server unlock --data ./data --all")]
    Unlock(cli::locks::Unlock),
    /// Proposes to wipe a device. Nothing happens to it until approvers sign.
    #[command(after_help = "Example:\n  \
        roundsman-server wipe --data ./data --device 0198c1f2-… --reason \"stolen from the car\"")]
    Wipe(cli::wipes::Propose),
    /// Shows the wipes that wait for approval, and signs them with an approver's key file.
    #[command(after_help = "Examples:\n  \
        roundsman-server approve --data ./data --key /media/ana/approver-ana.key\n  \
        roundsman-server approve --data ./data --key approver-ana.key --wipe 0198c1f2-… --yes")]
    Approve(cli::wipes::Approve),
    /// Keys of people who approve wipes.
    #[command(subcommand)]
    Approver(cli::wipes::ApproverCommand),
    /// Which keys the organisation trusts. Changes are signed with the root key.
    #[command(subcommand)]
    Root(cli::roots::RootCommand),
    /// The rules that devices keep, and how long they may stay away.
    #[command(subcommand)]
    Policy(cli::policy::PolicyCommand),
    /// Lists the alerts, or notes that one was seen.
    #[command(after_help = "Examples:\n  roundsman-server alerts --data ./data\n  \
        roundsman-server alerts --data ./data --seen 0198c1f2-…")]
    Alerts(cli::wipes::Alerts),
    /// To be run once after a backup of the data folder was put back, before the server starts: takes every device's
    /// next report as it comes, in place of taking the devices for copies.
    #[command(after_help = "Example:\n  roundsman-server after-restore --data ./data")]
    AfterRestore(Data),
    /// Shows the pins that devices trust: the certificate's key, then the spare.
    #[command(after_help = "Example:\n  roundsman-server pin --data ./data")]
    Pin(Data),
}

#[derive(Args)]
struct Data {
    /// The server's data folder.
    #[arg(long = "data", value_name = "DIR")]
    dir: PathBuf,
    /// The PostgreSQL that instances share: postgres://user:password@host:5432/name [env: ROUNDSMAN_DATABASE]. Without
    /// it: a file in the data folder
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Certificates (PEM) of those who sign the database server's, for one on another machine [env:
    /// ROUNDSMAN_DATABASE_CA]
    #[arg(long, value_name = "FILE")]
    database_ca: Option<PathBuf>,
}

impl Data {
    fn database(&self) -> Option<Database> {
        let told = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let url = self.database.clone().or_else(|| told("ROUNDSMAN_DATABASE")?.into_string().ok())?;
        let ca = self.database_ca.clone().or_else(|| told("ROUNDSMAN_DATABASE_CA").map(PathBuf::from));
        Some(Database { url: Secret::new(url), ca })
    }

    /// What an administrator can do with this data.
    fn admin(&self) -> Result<Admin> {
        Ok(Admin::open_on(&self.dir, self.database().as_ref())?)
    }
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    data: Data,
    /// Where to listen.
    #[arg(long, default_value = "0.0.0.0:8443")]
    listen: SocketAddr,
    /// The address by which devices reach the server: https://host:port, without a path.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Where to write the signed end of the audit log once a day: a folder on storage that can be written once. Default:
    /// DATA/anchors
    #[arg(long, value_name = "DIR")]
    anchors: Option<PathBuf>,
    #[command(flatten)]
    attachments: cli::attachments::AttachmentArgs,
    /// The organisation's name, at the first start.
    #[arg(long, default_value = "My organisation")]
    org: String,
    /// The first administrator's email, at the first start.
    #[arg(long, default_value = "admin@localhost")]
    admin_email: String,
}

#[derive(Subcommand)]
enum UserCommand {
    /// Adds a user. An administrator gets a second factor, which is shown once.
    #[command(after_help = "Examples:\n  \
        roundsman-server user add --data ./data --email ana@example.com --name Ana --territory NJ --territory NY\n  \
        ROUNDSMAN_PASSWORD=… roundsman-server user add --data ./data --email bo@example.com --name Bo --role admin")]
    Add {
        #[command(flatten)]
        data: Data,
        /// The email to sign in with.
        #[arg(long)]
        email: String,
        /// The name to show.
        #[arg(long)]
        name: String,
        /// What the person is.
        #[arg(long, value_enum, default_value = "rep")]
        role: RoleName,
        /// The code of a territory; may be repeated.
        #[arg(long = "territory", value_name = "CODE")]
        territories: Vec<String>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    /// Visits stores.
    Rep,
    /// Runs the system; the password is taken from ROUNDSMAN_PASSWORD.
    Admin,
}

#[derive(Args)]
struct Import {
    #[command(flatten)]
    data: Data,
    /// The CSV file.
    file: PathBuf,
    /// The column with the territory's code.
    #[arg(long, value_name = "COLUMN", conflicts_with = "territory")]
    territory_column: Option<String>,
    /// One territory for every row.
    #[arg(long, value_name = "CODE")]
    territory: Option<String>,
    /// Which column holds a field, where the guess is wrong; may be repeated.
    #[arg(long = "column", value_name = "FIELD=COLUMN", value_parser = pair)]
    columns: Vec<(String, String)>,
    /// Takes only the rows with this value in this column.
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = pair)]
    only: Option<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (left, right) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((left.to_owned(), right.to_owned()))
}

fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    match Cli::parse().command {
        Command::Serve(args) => serve(args),
        Command::User(UserCommand::Add { data, email, name, role, territories }) => {
            add_user(&data, email, name, role, territories)
        }
        Command::Ticket { data, user } => ticket(&data, &user),
        Command::Enrolments(command) => cli::enrolments::run(command),
        Command::Import(args) => import(&args),
        Command::Devices(data) => devices(&data),
        Command::Rescue(args) => cli::rescue::run(args),
        Command::Verify(args) => cli::verify::run(args),
        Command::Audit(command) => cli::audit::run(command),
        Command::Escrow(command) => cli::escrow::run(command),
        Command::Pin(data) => pin(&data),
        Command::Wipe(args) => cli::wipes::propose(&args),
        Command::Lock(args) => cli::locks::lock(&args),
        Command::Unlock(args) => cli::locks::unlock(&args),
        Command::Approve(args) => cli::wipes::approve(&args),
        Command::Approver(command) => cli::wipes::approver(&command),
        Command::Root(command) => cli::roots::run(command),
        Command::Policy(command) => cli::policy::run(command),
        Command::Alerts(args) => cli::wipes::alerts(&args),
        Command::AfterRestore(data) => after_restore(&data),
    }
}

#[tokio::main]
async fn serve(args: Serve) -> Result<()> {
    let password = std::env::var("ROUNDSMAN_ADMIN_PASSWORD").ok().filter(|password| !password.is_empty());
    let password = password.map(Secret::new);
    let config = Config {
        database: args.data.database(),
        data_dir: args.data.dir,
        listen: args.listen,
        public_url: args.public_url,
        org_name: args.org,
        anchors: args.anchors,
        attachments: args.attachments.config()?,
        first_admin: password.map(|password| NewAdmin {
            email: args.admin_email,
            name: "Administrator".to_owned(),
            password,
        }),
    };
    let server = Server::start(config).await?;
    println!("Listening: {}\nConsole:   {}/console\nPin:       {}", server.url(), server.url(), server.pin());
    if let Some(first) = server.first_admin() {
        println!(
            "\nThe first administrator. This is shown once: write it down.\n  Email:         {}",
            first.email
        );
        if let Some(password) = &first.password {
            println!("  Password:      {}", password.expose());
        }
        println!("  Second factor: {}\n\nScan it with an authenticator app:\n", first.totp_secret);
        println!("{}", qr(&first.totp_url)?);
        println!(
            "Keep DATA/tls-spare.key in a safe place off this machine: it replaces a lost certificate key.\n\n\
             Move the folder DATA/keep-offline off this machine now, and keep a copy of each file elsewhere:"
        );
    }
    if let Some(keys) = server.first_keys() {
        println!(
            "  {}   root.key       says who approves wipes and which keys devices trust",
            keys.root.id()
        );
        println!(
            "  {}   approver-*.key approves wipes; it is {}'s",
            keys.approver.id(),
            keys.approver.name()
        );
        println!("  {}   rescue.key     opens unsent work of locked and wiped devices", keys.rescue.id());
        println!("  {}   recovery.key   unlocks devices if this server is lost", keys.recovery.id());
    }
    interrupted().await?;
    println!("Stopping.");
    server.stop().await;
    Ok(())
}

async fn interrupted() -> Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            asked = tokio::signal::ctrl_c() => asked?,
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}

fn add_user(
    data: &Data,
    email: String,
    name: String,
    role: RoleName,
    territories: Vec<String>,
) -> Result<()> {
    let admin = data.admin()?;
    let role = match role {
        RoleName::Rep => Role::Rep,
        RoleName::Admin => Role::Admin,
    };
    let password = std::env::var("ROUNDSMAN_PASSWORD").ok().map(Secret::new).filter(|_| role == Role::Admin);
    let id = admin.add_user(Admin::OPERATOR, NewUser { email, name, role, territories, password })?;
    println!("Added user {id}.");
    if role == Role::Admin {
        let factor = admin.reset_second_factor(Admin::OPERATOR, id)?;
        println!("Second factor, shown once: {}\n\n{}", factor.secret, qr(&factor.url)?);
    }
    Ok(())
}

fn ticket(data: &Data, email: &str) -> Result<()> {
    let admin = data.admin()?;
    let user = find(&admin, email)?;
    let ticket = admin.issue_ticket(Admin::OPERATOR, user.id)?;
    println!("{}\n{}\n", qr(&ticket.text)?, ticket.text);
    println!("For {}, one device, until {} UTC.", user.name, ticket.expires_at.format("%H:%M"));
    Ok(())
}

fn find(admin: &Admin, email: &str) -> Result<UserView> {
    let email = email.to_lowercase();
    let Some(user) = admin.users()?.into_iter().find(|user| user.email == email) else {
        bail!("there is no user with this email; add one with `user add`");
    };
    Ok(user)
}

fn qr(text: &str) -> Result<String> {
    Ok(QrCode::new(text)?.render::<Dense1x2>().build())
}

fn import(args: &Import) -> Result<()> {
    let admin = args.data.admin()?;
    let open = || File::open(&args.file).with_context(|| format!("{} can't be read", args.file.display()));
    let headers: Vec<String> =
        csv::Reader::from_reader(open()?).headers()?.iter().map(str::to_owned).collect();
    let mut mapping = Mapping::guess(&headers);
    mapping.columns.extend(args.columns.iter().cloned());
    mapping.filter.clone_from(&args.only);
    if let Some(column) = &args.territory_column {
        mapping.territory = TerritoryFrom::Column(column.clone());
    } else if let Some(code) = &args.territory {
        mapping.territory = TerritoryFrom::Fixed(code.clone());
    }
    let mut stderr = std::io::stderr();
    let shows = stderr.is_terminal();
    let report = admin.import_customers(Admin::OPERATOR, open()?, &mapping, &mut |read| {
        if shows {
            // Progress is a courtesy: a closed terminal must not stop the import.
            let _closed = write!(stderr, "\r{read} rows");
        }
    })?;
    if shows {
        let _closed = write!(stderr, "\r");
    }
    for row in &report.rejected {
        let column = row.column.as_ref().map(|column| format!(", column {column}")).unwrap_or_default();
        println!("line {}{column}: {}", row.row, row.reason);
    }
    println!(
        "{} rows: {} created, {} updated, {} unchanged, {} left out",
        report.read,
        report.created,
        report.updated,
        report.unchanged,
        report.rejected.len()
    );
    Ok(())
}

fn devices(data: &Data) -> Result<()> {
    let devices = data.admin()?.devices()?;
    if devices.is_empty() {
        println!("No device is enrolled yet; see `ticket`.");
        return Ok(());
    }
    let row = |device: DeviceView| {
        let seen =
            device.last_seen.map_or_else(|| "never".to_owned(), |at| at.format("%Y-%m-%d %H:%M").to_string());
        let refused = device.posture.is_some_and(|posture| posture.verdict == Verdict::Lock);
        let state = format!("{}{}", device.state.words(), if refused { ", phone refused" } else { "" });
        let id = device.id.to_string();
        vec![id, state, device.name, device.user_name, device.platform, seen, device.unsent.to_string()]
    };
    let rows: Vec<_> = devices.into_iter().map(row).collect();
    cli::table(&["device", "state", "name", "rep", "platform", "last seen (UTC)", "unsent"], 1, &rows);
    Ok(())
}

fn after_restore(data: &Data) -> Result<()> {
    data.admin()?.trust_turns_anew(Admin::OPERATOR)?;
    println!("Every device's next report is taken as it comes.");
    Ok(())
}

fn pin(data: &Data) -> Result<()> {
    for pin in data.admin()?.pins() {
        println!("{pin}");
    }
    Ok(())
}
