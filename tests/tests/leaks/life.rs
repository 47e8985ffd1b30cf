//! The life of a phone: an organisation's server, the phone in a process of its own, and looks at every file of both.

use super::texts::Texts;
use roundsman_model::DeviceId;
use roundsman_server::admin::DeviceView;
use roundsman_tests::canary::{Canary, Leak, Scan, files, scan};
use roundsman_tests::rig::{PASSCODE, Rig};
use roundsman_tests::told::{Order, Said, Told};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The first passcode.
pub(crate) const OLD: &str = PASSCODE;

/// The passcode that it is changed to.
pub(crate) const NEW: &str = "blue Heron 31";

/// A passcode that is typed and wrong.
pub(crate) const WRONG: &str = "gold Piano 51";

/// What the rep's name is called among the texts.
const REP: &str = "name of the rep";

/// A line of the table.
struct Row {
    point: String,
    looks: usize,
    /// Files of the vault, of the keystore, beside them, and of the server.
    files: [usize; 4],
    bytes: u64,
    found: Vec<Leak>,
}

/// A phone, and what was found on it so far.
pub(crate) struct Life {
    /// The server.
    pub(crate) rig: Rig,
    /// What was typed.
    pub(crate) texts: Texts,
    /// What its owner calls the phone.
    pub(crate) device: String,
    /// Whether the phone has left its organisation: not even the rep's name may be there.
    pub(crate) buried: bool,
    folder: PathBuf,
    told: Option<Told>,
    tokens: BTreeSet<String>,
    table: Vec<Row>,
}

impl Life {
    /// A server with customers, and a phone that is not started.
    pub(crate) async fn begin(leaky: bool) -> Self {
        let (rig, mut texts) = (Rig::start().await, Texts::default());
        rig.import(&texts.csv());
        for passcode in [OLD, NEW, WRONG] {
            texts.known("passcode", passcode);
        }
        let (device, folder) = (texts.add("name of the phone"), rig.disk.path().join("phone"));
        texts.add(REP);
        let mut life = Self {
            rig,
            texts,
            device,
            buried: false,
            folder,
            told: None,
            tokens: BTreeSet::new(),
            table: vec![],
        };
        life.start(leaky);
        life
    }

    fn start(&mut self, leaky: bool) {
        self.told = Some(Told::start(env!("CARGO_BIN_EXE_told"), &self.folder, leaky).unwrap());
    }

    /// Kills the phone's process; another begins.
    pub(crate) fn kill(&mut self) {
        self.tokens.extend(self.told.take().unwrap().kill().unwrap());
        self.start(false);
    }

    /// A copy of the phone as it lies there.
    pub(crate) fn copy(&self, name: &str) -> PathBuf {
        let to = self.rig.disk.path().join(name);
        for file in files(&self.folder) {
            let target = to.join(file.strip_prefix(&self.folder).unwrap());
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::copy(file, target).unwrap();
        }
        to
    }

    /// Ends the phone's process and begins one on another phone.
    pub(crate) fn move_to(&mut self, folder: &Path) {
        self.tokens.extend(self.told.take().unwrap().end().unwrap());
        folder.clone_into(&mut self.folder);
        self.buried = false;
        self.start(false);
    }

    /// Tells the phone something; what it says.
    pub(crate) fn tell(&mut self, order: &Order) -> Said {
        self.told.as_mut().unwrap().tell(order).unwrap()
    }

    /// Tells the phone something, after which it must be in this state; what it counted.
    pub(crate) fn done(&mut self, state: &str, order: &Order) -> u64 {
        match self.tell(order) {
            Said::Done { state: now, count } if now == state => count,
            other => panic!("{order:?} does not end in {state}: {other:?}"),
        }
    }

    /// The order to join with a fresh code.
    pub(crate) fn enrolment(&mut self, passcode: &str) -> Order {
        let name = self.texts.of(REP).remove(0);
        let users = self.rig.admin.users().unwrap();
        let known = users.iter().find(|user| user.name == name).map(|user| user.id);
        let ticket = self.rig.ticket(known.unwrap_or_else(|| self.rig.rep(&name)));
        self.texts.known("enrolment code", &ticket);
        Order::Enrol { ticket, passcode: passcode.to_owned() }
    }

    /// The phone, as the console shows it.
    pub(crate) fn view(&self) -> DeviceView {
        self.rig.device(&self.device)
    }

    /// The notes that the office gets from what was sealed on a phone.
    pub(crate) fn rescued(&self, device: DeviceId) -> BTreeSet<String> {
        let key = self.rig.server.first_keys().unwrap().rescue.opening_key().unwrap();
        self.rig.admin.open_rescue(self.rig.actor, &key).unwrap();
        self.rig.admin.take_all_rescued(self.rig.actor, device).unwrap();
        let visits = self.rig.admin.recent_visits(1_000).unwrap();
        visits.into_iter().filter_map(|visit| visit.notes).collect()
    }

    /// The names of the files in one of the phone's folders; the one that keeps other processes out is not among them.
    pub(crate) fn files(&self, folder: &str) -> BTreeSet<String> {
        let files = files(&self.folder.join(folder)).into_iter();
        let names = files.map(|file| file.file_name().unwrap().to_str().unwrap().to_owned());
        names.filter(|name| name != "in-use").collect()
    }

    /// Whether there is a file in the vault whose name ends so.
    pub(crate) fn has(&self, end: &str) -> bool {
        self.files("vault").iter().any(|name| name.ends_with(end))
    }

    /// Whether this file of the phone has nothing in it.
    pub(crate) fn is_empty(&self, file: &str) -> bool {
        std::fs::metadata(self.folder.join(file)).unwrap().len() == 0
    }

    /// Everything that must not be readable, the tokens that the phone was given included.
    pub(crate) fn canaries(&self) -> Vec<Canary> {
        let told = self.told.iter().flat_map(|told| &told.tokens);
        let tokens = self.tokens.iter().chain(told).enumerate();
        let tokens = tokens.map(|(n, text)| Canary { what: format!("token ({n})"), text: text.clone() });
        self.texts.canaries().into_iter().chain(tokens).collect()
    }

    /// Looks at every file, the server's included.
    pub(crate) fn scan(&self) -> Scan {
        scan(self.rig.disk.path(), &self.canaries()).unwrap()
    }

    /// Looks at every file of the phone.
    fn scan_phone(&self) -> Scan {
        scan(&self.folder, &self.canaries()).unwrap()
    }

    /// Looks at every file at this point of the phone's life, and notes what is found.
    pub(crate) fn look(&mut self, point: &str) {
        self.table.push(Row {
            point: point.to_owned(),
            looks: 0,
            files: [0; 4],
            bytes: 0,
            found: Vec::new(),
        });
        self.note(self.scan());
    }

    fn note(&mut self, Scan { files, bytes, leaks }: Scan) {
        let (folder, server) = (&self.folder, self.rig.disk.path().join("server"));
        let places = [folder.join("vault"), folder.join("keys"), folder.join("home"), server];
        let counts = places.map(|place| files.iter().filter(|file| file.starts_with(&place)).count());
        let found = leaks.into_iter().filter(|leak| !self.may_be_read(leak)).collect::<Vec<_>>();
        let row = self.table.last_mut().unwrap();
        row.looks += 1;
        row.bytes += bytes;
        row.files = std::array::from_fn(|n| row.files[n].max(counts[n]));
        row.found.extend(found);
    }

    /// The control file names the rep, for the screen that asks for the passcode; until the phone leaves.
    fn may_be_read(&self, leak: &Leak) -> bool {
        let control = ["control.a", "control.b", "control.a.new", "control.b.new"];
        let in_control = control.iter().any(|name| leak.file.ends_with(Path::new("vault").join(name)));
        let buried = self.buried && leak.file.starts_with(&self.folder);
        leak.canary.what.starts_with(REP) && in_control && !buried
    }

    /// Looks at every file once, and at the phone's before each step at which it stops, until it stands before the one
    /// that `until` names, or has done what it was told.
    pub(crate) fn look_at_steps(&mut self, point: &str, mut said: Said, until: &str) -> Said {
        self.look(point);
        while let Said::Stopped(step) = &said
            && step != until
        {
            said = self.told.as_mut().unwrap().go_on().unwrap();
            self.note(self.scan_phone());
        }
        said
    }

    /// Prints the table. Nothing may have been found.
    pub(crate) fn report(&self) {
        assert!(self.canaries().len() >= 60 && self.table.len() >= 10, "too little was looked at");
        println!("{} canaries\n", self.canaries().len());
        println!("{:<52}  looks  vault  keys  beside  server      bytes  found", "point of the phone's life");
        for Row { point, looks, files: [vault, keys, beside, server], bytes, found } in &self.table {
            let found = found.len();
            println!(
                "{point:<52}  {looks:>5}  {vault:>5}  {keys:>4}  {beside:>6}  {server:>6}  {bytes:>9}  {found:>5}"
            );
        }
        self.clean();
    }

    /// Nothing was found so far.
    pub(crate) fn clean(&self) {
        let found = self.table.iter().flat_map(|row| row.found.iter().map(|leak| (&row.point, leak)));
        let found: Vec<_> = found.collect();
        let first: Vec<_> = found.iter().take(20).collect();
        assert!(found.is_empty(), "{} leaks, the first of them: {first:#?}", found.len());
    }
}
