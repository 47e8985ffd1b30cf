//! What a sync costs on the line: requests, connections, and bytes of TCP payload with TLS, counted by a proxy between a
//! phone and its server.

use crate::line::{Event, Line};
use crate::office::{Office, Setting};
use crate::report::{Report, Table, median, thousands};
use crate::workload::Load;
use anyhow::{Context, Result, ensure};
use chrono::NaiveDate;
use roundsman_core::{Client, Config};
use roundsman_tests::proxy::Proxy;
use roundsman_tests::rig::{passcode, phone_config};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

/// Rows that others have changed, of which a phone is to hear.
const CHANGED: usize = 100;

/// How long nothing goes through until everything has.
const QUIET: Duration = Duration::from_millis(50);

/// What a phone syncs for.
#[derive(Clone, Copy)]
enum Case {
    Nothing,
    Visit,
    Changes,
}

const CASES: [(Case, &str); 3] = [
    (Case::Nothing, "nothing new"),
    (Case::Visit, "one visit out"),
    (Case::Changes, "100 changed customers in"),
];

/// What one sync took.
struct Cost {
    up: u64,
    down: u64,
    connections: u64,
    /// Of bodies alone, as the phone reports it.
    body_up: u64,
    body_down: u64,
}

pub(crate) async fn run(load: &Load, runs: usize) -> Result<Report> {
    ensure!(runs > 0, "at least one run");
    ensure!(load.customers >= CHANGED, "at least {CHANGED} customers");
    // The proxy must know the server's address, and the server the proxy's.
    let listen: SocketAddr = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let proxy = Proxy::start(listen).await;
    let setting = Setting { load: load.clone(), listen: Some(listen), public_url: Some(proxy.url()) };
    let mut office = tokio::task::block_in_place(|| Office::open(&setting))?;
    let folder = tempfile::tempdir()?;
    let line = Line::new();
    let config = Config { transport: Arc::new(line.clone()), ..phone_config(folder.path(), "phone") };
    let phone = Client::open(config)?;
    phone.enrol(&office.ticket()?, &passcode()).await?;
    phone.sync(&()).await?;
    let customer = phone.customers()?.list(None, 1)?.first().context("no customer")?.id;

    let mut report = Report::new(
        "Bytes on the wire",
        format!(
            "Payload of TCP, TLS 1.3 and HTTP/2 and all, of one sync of a phone with {}. Cold: a new connection without \
            anything to resume. Medians of {runs} runs.",
            load.about()
        ),
    );
    let head = ["", "connection", "requests", "bytes up", "bytes down", "of it bodies up", "bodies down"];
    let mut table = Table::new(head);
    for cold in [false, true] {
        for (case, what) in CASES {
            let mut costs = Vec::new();
            for _ in 0..runs {
                match case {
                    Case::Nothing => {}
                    Case::Visit => {
                        phone.visits()?.plan(customer, NaiveDate::default(), None)?;
                    }
                    Case::Changes => tokio::task::block_in_place(|| office.change(CHANGED))?,
                }
                if cold {
                    line.hang_up();
                }
                let cost = sync(&phone, &line, &proxy, case).await.context(what)?;
                ensure!(cost.connections == u64::from(cold), "{what}: {} connections", cost.connections);
                costs.push(cost);
            }
            let of = |figure: fn(&Cost) -> u64| {
                thousands(median(costs.iter().map(|cost| figure(cost) as f64).collect()) as u64)
            };
            table.row([
                what.to_owned(),
                if cold { "cold" } else { "warm" }.to_owned(),
                "1".to_owned(),
                of(|it| it.up),
                of(|it| it.down),
                of(|it| it.body_up),
                of(|it| it.body_down),
            ]);
        }
    }
    report.table(table);
    report.at_most("requests of a sync in the steady state", 1.0, 1.0, "HTTPS request");
    report.note("The run fails if any of these syncs makes more than one request.");
    Ok(report)
}

/// One sync, which must be one request and do what the case is about.
async fn sync(phone: &Client, line: &Line, proxy: &Proxy, case: Case) -> Result<Cost> {
    let (up, down) = quiet(proxy).await;
    let connections = proxy.connections();
    line.take();
    let report = phone.sync(&()).await?;
    let requests = line.take().iter().filter(|(_, event, _)| *event == Event::Sent).count();
    ensure!(requests == 1 && report.requests == 1, "{requests} requests, {} reported", report.requests);
    let done = match case {
        Case::Nothing => report.sent == 0 && report.received == 0,
        // One's own change comes back as the server has it.
        Case::Visit => report.sent == 1 && report.received <= 1,
        Case::Changes => report.sent == 0 && report.received == CHANGED as u64,
    };
    ensure!(done, "{} sent, {} received", report.sent, report.received);
    let (all_up, all_down) = quiet(proxy).await;
    Ok(Cost {
        up: all_up - up,
        down: all_down - down,
        connections: proxy.connections() - connections,
        body_up: report.bytes_up,
        body_down: report.bytes_down,
    })
}

/// The proxy's counts, once nothing more goes through.
async fn quiet(proxy: &Proxy) -> (u64, u64) {
    let mut last = proxy.bytes();
    loop {
        tokio::time::sleep(QUIET).await;
        let now = proxy.bytes();
        if now == last {
            return now;
        }
        last = now;
    }
}
