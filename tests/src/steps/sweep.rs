//! Records the steps of every scenario, and plays scenarios again with faults.

use super::judge::Case;
use super::phone::Phone;
use super::scenarios::Scenario;
use super::shim::{Ended, Fault, Shim};
use anyhow::{Context, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A scenario, the phone that it starts from, and its steps.
pub struct Recorded {
    /// The scenario.
    pub scenario: &'static Scenario,
    /// The phone, which stays as it is: each run has a copy.
    pub template: Phone,
    /// The names of its steps, in their order.
    pub steps: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl Recorded {
    /// Starts a copy of the phone again, after it promised this, and judges it. A panic is a verdict too.
    fn judge(&self, phone: &Phone, said: &[String]) -> Verdict {
        let case = Case { phone, before: &self.template, said };
        match catch_unwind(AssertUnwindSafe(|| (self.scenario.judge)(&case))) {
            Ok(Ok(word)) => Verdict::Legal(word),
            Ok(Err(error)) => Verdict::Broken(format!("{error:#}")),
            Err(_) => Verdict::Broken("a panic".to_owned()),
        }
    }

    /// The name of a step, by its number from 1.
    pub fn name(&self, number: usize) -> &str {
        self.steps.get(number - 1).map_or("", String::as_str)
    }

    /// The steps by their names.
    pub fn points(&self) -> BTreeMap<&str, Vec<usize>> {
        let mut points: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (n, name) in self.steps.iter().enumerate() {
            points.entry(name).or_default().push(n + 1);
        }
        points
    }
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The phone is in a legal state.
    Legal(&'static str),
    /// It is not.
    Broken(String),
}

/// Some scenarios, recorded.
pub struct Sweep {
    shim: Shim,
    home: TempDir,
    /// The scenarios.
    pub recorded: Vec<Recorded>,
}

impl Sweep {
    /// Makes each scenario's phone and records its steps. `program` is the binary `steps`.
    ///
    /// # Errors
    /// A scenario does not work without faults, or the library can't be built.
    pub fn record(program: &str, scenarios: &[&'static Scenario]) -> anyhow::Result<Self> {
        let home = scratch()?;
        // The library compares paths, so that they must be the ones that the system has.
        let folder = fs::canonicalize(home.path())?;
        let shim = Shim::build(&folder, program)?;
        let made = parallel(scenarios, |scenario| record(&shim, scenario, &folder));
        let (mut recorded, mut faults) = (Vec::new(), Vec::new());
        for made in made {
            match made {
                Ok(made) => recorded.push(made),
                Err(error) => faults.push(format!("{error:#}")),
            }
        }
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(Self { shim, home, recorded })
    }

    /// Plays a scenario with a fault, starts the phone again on a good disk, and judges it.
    pub fn play(&self, recorded: &Recorded, fault: Fault) -> Verdict {
        let outcome = self.try_play(recorded, fault);
        outcome.unwrap_or_else(|error| Verdict::Broken(format!("{error:#}")))
    }

    fn try_play(&self, recorded: &Recorded, fault: Fault) -> anyhow::Result<Verdict> {
        let folder = tempfile::tempdir_in(fs::canonicalize(self.home.path())?)?;
        let phone = recorded.template.copy_to(folder.path())?;
        let ended = self.shim.run(&phone, recorded.scenario.name, folder.path(), fault)?;
        Ok(recorded.judge(&phone, &ended.said))
    }

    /// Plays a scenario, kills it after this time, starts the phone again and judges it. Also says how many promises
    /// were made.
    pub fn kill(&self, recorded: &Recorded, after: Duration) -> (Verdict, usize) {
        let outcome = self.try_kill(recorded, after);
        outcome.unwrap_or_else(|error| (Verdict::Broken(format!("{error:#}")), 0))
    }

    fn try_kill(&self, recorded: &Recorded, after: Duration) -> anyhow::Result<(Verdict, usize)> {
        let folder = tempfile::tempdir_in(fs::canonicalize(self.home.path())?)?;
        let phone = recorded.template.copy_to(folder.path())?;
        let said = self.shim.kill(recorded.scenario.name, folder.path(), after)?;
        Ok((recorded.judge(&phone, &said), said.len()))
    }
}

/// A folder for phones. In memory if there is such a place: the power is cut by the library, so that real syncs would
/// only cost time.
///
/// # Errors
/// There is no place for it.
pub fn scratch() -> std::io::Result<TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

fn record(shim: &Shim, scenario: &'static Scenario, folder: &Path) -> anyhow::Result<Recorded> {
    let place = |end: &str| folder.join(format!("{}{end}", scenario.name.replace(' ', "-")));
    let template = Phone::at(&place(""));
    fs::create_dir_all(place(""))?;
    let mut said = Vec::new();
    (scenario.start)(&template, &mut |line| {
        said.push(line);
        Ok(())
    })
    .with_context(|| format!("{}: the phone can't be made", scenario.name))?;
    template.promise(&said)?;
    let phone = template.copy_to(&place(".recorded"))?;
    let began = Instant::now();
    let Ended { said, steps, done, why } =
        shim.run(&phone, scenario.name, &place(".recorded"), Fault::default())?;
    let took = began.elapsed();
    ensure!(done && !said.is_empty(), "{}: fails without a fault: {why}", scenario.name);
    let recorded = Recorded { scenario, template, steps, took };
    match recorded.judge(&phone, &said) {
        Verdict::Legal(_) => Ok(recorded),
        Verdict::Broken(why) => anyhow::bail!("{}: {why}, without a fault", scenario.name),
    }
}

/// Does something with each item, on as many threads as there are cores. The results are in the items' order.
pub fn parallel<'a, T: Sync, R: Send>(items: &'a [T], work: impl Fn(&'a T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some((n, item)) = {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    items.get(n).map(|item| (n, item))
                } {
                    let result = work(item);
                    done.lock().expect("no panic while it is held").insert(n, result);
                }
            });
        }
    });
    done.into_inner().expect("no panic while it is held").into_values().collect()
}
