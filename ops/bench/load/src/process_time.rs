//! Processor time of a process, from the kernel's own books.

use std::time::Duration;

/// The kernel counts in hundredths of a second on every Linux that this runs on.
const TICK_MS: u64 = 10;
/// User and system time, counted from the field after the command's name.
const USER_FIELD: usize = 11;
const SYSTEM_FIELD: usize = 12;

/// User and system time of all threads of process `pid` (`self` for our own); `None` where it cannot be read.
pub fn of(pid: &str) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may hold spaces and brackets; nothing after it does.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let ticks = ticks(USER_FIELD)?.saturating_add(ticks(SYSTEM_FIELD)?);
    Some(Duration::from_millis(ticks.saturating_mul(TICK_MS)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn our_own_time_can_be_read() {
        assert!(super::of("self").is_some());
        assert!(super::of("none").is_none());
    }
}
