//! Time.

use chrono::{DateTime, Local, Offset, Utc};
use std::sync::OnceLock;
use std::time::Duration;
use uuid::Uuid;

/// Tells the time. An implementation for tests may tell any.
pub trait Clock: Send + Sync {
    /// The wall clock's time.
    fn now(&self) -> DateTime<Utc>;

    /// Minutes east of UTC of the device's zone.
    fn zone_min(&self) -> i32;

    /// The time since the device was started, which nobody can set. `None` where it can't be told.
    fn boot(&self) -> Option<BootTime> {
        None
    }
}

/// A moment, counted from a start of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootTime {
    /// Tells this start from others.
    pub boot: Uuid,
    /// Time since then, sleep included.
    pub elapsed: Duration,
}

/// The machine's own clock and zone.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn zone_min(&self) -> i32 {
        Local::now().offset().fix().local_minus_utc() / 60
    }

    /// On Linux, where the kernel tells both without a system call of its own. Elsewhere the host app provides it.
    fn boot(&self) -> Option<BootTime> {
        // The same for as long as this process runs.
        static BOOT: OnceLock<Option<Uuid>> = OnceLock::new();
        let boot = *BOOT.get_or_init(|| {
            let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
            Uuid::parse_str(boot.trim()).ok()
        });
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        let seconds: f64 = uptime.split(' ').next()?.parse().ok()?;
        Some(BootTime { boot: boot?, elapsed: Duration::try_from_secs_f64(seconds).ok()? })
    }
}
