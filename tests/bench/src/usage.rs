//! CPU time and memory of a process, as the kernel shows them.

use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

/// The memory of a process, in MiB.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// The highest resident size so far (`VmHWM`).
    pub peak: f64,
    /// The resident size now (`VmRSS`).
    pub resident: f64,
    /// The part of it that is not mapped from files, such as the program itself (`RssAnon`).
    pub anonymous: f64,
}

/// Returns the CPU time of a process in seconds, in user and kernel mode.
///
/// # Errors
/// Returns an error if the process has ended.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} has ended"))?;
    // The name of the program, in parentheses, may contain spaces.
    let (_, fields) = stat.rsplit_once(") ").context("the kernel's statistics have another format")?;
    let ticks = |index| fields.split(' ').nth(index).and_then(|field: &str| field.parse::<u64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("the kernel's statistics have another format")?;
    #[expect(clippy::cast_precision_loss, reason = "a number of ticks")]
    Ok((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Returns the memory of a process.
///
/// # Errors
/// Returns an error if the process has ended.
pub fn memory(pid: u32) -> Result<Memory> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} has ended"))?;
    let mebibytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        kibibytes.map(|kibibytes| kibibytes / 1024.0).with_context(|| format!("the kernel reports no {name}"))
    };
    Ok(Memory { peak: mebibytes("VmHWM")?, resident: mebibytes("VmRSS")?, anonymous: mebibytes("RssAnon")? })
}
