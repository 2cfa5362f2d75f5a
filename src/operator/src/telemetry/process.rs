//! Measures the memory and the CPU time of this process, under the names that all clients of
//! Prometheus use.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// The number of clock ticks in a second in `/proc`. It is part of Linux's interface to programs on
/// x86-64 and arm64, regardless of the kernel's own rate.
const TICKS_PER_SECOND: f64 = 100.0;

/// This process. Only Linux shows its measures; elsewhere they are absent.
#[derive(Debug)]
pub(crate) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().and_then(|text| resident_bytes(&text)) {
            let (name, help) = ("process_resident_memory", "Resident memory of the operator's process");
            let gauge = encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?;
            ConstGauge::new(bytes).encode(gauge)?;
        }
        if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().and_then(|text| cpu_seconds(&text)) {
            let (name, help) = ("process_cpu", "CPU time of the operator's process, in user and system mode");
            let counter = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Counter)?;
            ConstCounter::new(seconds).encode(counter)?;
        }
        Ok(())
    }
}

/// Parses the resident memory in `/proc/self/status`.
fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<i64>().ok()?.checked_mul(1024)
}

/// Parses the CPU time in `/proc/self/stat`. The name of the program, in parentheses, may contain
/// blanks and parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut after_name = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || after_name.next()?.parse::<u32>().ok().map(f64::from);
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_cpu_time_are_read_from_proc() {
        let status = "Name:\toperator\nVmHWM:\t    9000 kB\nVmRSS:\t    8192 kB\nRssAnon:\t 1 kB\n";
        assert_eq!(resident_bytes(status), Some(8_388_608));
        assert_eq!([resident_bytes("VmRSS:\t 12 pages\n"), resident_bytes("")], [None, None]);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 900 0 12 0 250 50 0 0 20 0 2 0 100 9000 2048 18446744073709551615";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!([cpu_seconds("7 (a) S 1 7"), cpu_seconds("7 a S")], [None, None]);
    }
}
