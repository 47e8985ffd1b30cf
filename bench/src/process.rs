//! Processes of this program, and what they cost.

use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A process of this program that answers a line with a line.
pub(crate) struct Process {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Process {
    /// Starts this program with a command that says `ready` when it is, with these arguments.
    pub(crate) fn start(command: &str, args: Vec<String>) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?);
        child.arg(command).args(args);
        Self::of(child).with_context(|| format!("{command} did not start"))
    }

    /// Starts any program that says `ready` when it is.
    pub(crate) fn of(mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let answers = BufReader::new(child.stdout.take().context("no output")?);
        let mut process = Self { child, answers };
        ensure!(process.line()? == "ready", "it is not ready");
        Ok(process)
    }

    /// Says a line, and waits for the answer.
    pub(crate) fn ask(&mut self, question: &str) -> Result<String> {
        let input = self.child.stdin.as_mut().context("no input")?;
        writeln!(input, "{question}")?;
        input.flush()?;
        let answer = self.line()?;
        ensure!(!answer.is_empty(), "{question:.20}: no answer");
        Ok(answer)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its input ends, and so does it.
        drop(self.child.stdin.take());
        let _ended = self.child.wait();
    }
}

/// The next line that this process is told; `None` when it is to end.
pub(crate) async fn told() -> Result<Option<String>> {
    Ok(tokio::task::spawn_blocking(|| std::io::stdin().lines().next().transpose()).await??)
}

/// How long this process has kept processors busy (proc_pid_stat(5): `utime` and `stime`, in hundredths of a second).
pub(crate) fn processor() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name of the program, in brackets, may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("no figures")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(Duration::from_millis(10 * ticks.sum::<Result<u64, _>>()?))
}

/// Memory of this process from a moment on.
pub(crate) struct Memory {
    /// Kibibytes at that moment.
    idle_kib: u64,
}

impl Memory {
    /// From here on the kernel counts the peak anew (proc(5)).
    pub(crate) fn watch() -> Result<Self> {
        let idle_kib = figure("VmRSS")?;
        std::fs::write("/proc/self/clear_refs", "5")?;
        Ok(Self { idle_kib })
    }

    /// Kibibytes at that moment, and at most since then.
    pub(crate) fn peak(self) -> Result<(u64, u64)> {
        Ok((self.idle_kib, figure("VmHWM")?))
    }
}

/// A figure of this process's memory in kibibytes.
fn figure(name: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name)).context("no such figure")?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
}
