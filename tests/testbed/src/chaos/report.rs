//! The findings of a chaos run, as text that is Markdown too. Pure.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::Duration,
};

use super::{
    evidence::Collected,
    faults::Fault,
    judge::Violation,
    verbs::{Break, Verb},
};

/// The number of injections of a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// It met something: a cycle.
    pub(super) cycles: usize,
    /// It met nothing, and is not counted.
    pub(super) missed: usize,
}

/// The findings of a chaos run.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) title: String,
    pub(super) seed: u64,
    pub(super) versions: String,
    pub(super) duration: Duration,
    pub(super) faults: BTreeMap<Fault, Count>,
    pub(super) requests: usize,
    /// Requests by how often Cognito accepted a reset for them.
    pub(super) resets: BTreeMap<usize, usize>,
    /// Calls of AdminResetUserPassword that the replicas made.
    pub(super) calls: usize,
    /// Effects and statuses that were checked when they were stored.
    pub(super) claims: usize,
    /// The existing statuses by outcome and reason.
    pub(super) outcomes: BTreeMap<(String, String), usize>,
    pub(super) collected: Collected,
    pub(super) violations: BTreeMap<Violation, usize>,
    /// The number of ends of a replica that no fault caused directly, by exit status.
    pub(super) exits: BTreeMap<String, usize>,
    /// The peak memory of a replica, in KiB.
    pub(super) peak: u64,
}

/// Returns the largest probability of a violation in one cycle that is compatible, at 95 %, with
/// none in `cycles`.
fn upper_bound(cycles: usize) -> f64 {
    1.0 - 0.05_f64.powf(1.0 / cycles as f64)
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

impl Report {
    pub(super) fn cycles(&self) -> usize {
        self.faults.values().map(|count| count.cycles).sum()
    }

    /// Returns true if there was no violation and no panic.
    pub(super) fn is_clean(&self) -> bool {
        self.violations.is_empty() && !self.has_panicked()
    }

    /// Returns true if a replica ended with Rust's exit status of a panic.
    fn has_panicked(&self) -> bool {
        self.exits.keys().any(|status| status.contains("101"))
    }

    fn share(&self, outcome: &str) -> f64 {
        let all: usize = self.outcomes.values().sum();
        let of: usize = self.outcomes.iter().filter(|((it, _), _)| it == outcome).map(|(_, count)| count).sum();
        of as f64 / all.max(1) as f64
    }

    fn summary(&self, text: &mut String) -> fmt::Result {
        let count = |wanted: &dyn Fn(Violation) -> bool| -> usize {
            self.violations.iter().filter(|(violation, _)| wanted(**violation)).map(|(_, count)| count).sum()
        };
        let most = self.resets.keys().next_back().copied().unwrap_or_default();
        let seconds = self.duration.as_secs_f64();
        let rows = [
            ("cycles", self.cycles().to_string(), ""),
            ("requests", self.requests.to_string(), ""),
            ("largest number of resets of one request", most.to_string(), "1"),
            ("requests that never became terminal", count(&|it| it == Violation::NeverTerminal).to_string(), "0"),
            ("claims left open", count(&|it| it == Violation::ClaimLeftOpen).to_string(), "0"),
            ("wrong claims", count(&Violation::is_wrong_claim).to_string(), "0"),
            ("calls that the run lost track of", count(&|it| it == Violation::FateUnseen).to_string(), "0"),
            ("effects and statuses checked when stored", self.claims.to_string(), ""),
            ("calls of AdminResetUserPassword", self.calls.to_string(), ""),
            ("requests that the operator deleted by their time to live", self.collected.requests.to_string(), ""),
            ("records that the operator deleted by their retention", self.collected.records.to_string(), ""),
            ("share of Unknown", percent(self.share("Unknown")), ""),
            ("any violation in a cycle, 95 % upper bound", percent(upper_bound(self.cycles().max(1))), ""),
            ("duration", format!("{seconds:.0} s"), ""),
            ("requests a second", format!("{:.1}", self.requests as f64 / seconds.max(1.0)), ""),
            ("most memory of a replica", format!("{:.1} MiB", self.peak as f64 / 1024.0), ""),
            ("seed", self.seed.to_string(), ""),
        ];
        writeln!(text, "| | found | has to be |\n|---|---:|---:|")?;
        rows.iter().try_for_each(|(name, found, wanted)| writeln!(text, "| {name} | {found} | {wanted} |"))
    }

    fn violated(&self, text: &mut String) -> fmt::Result {
        if self.is_clean() {
            return Ok(());
        }
        writeln!(text, "\n**Violations:**\n")?;
        if self.has_panicked() {
            writeln!(text, "- a replica has panicked")?;
        }
        self.violations.iter().try_for_each(|(what, count)| writeln!(text, "- {count} × {what}"))
    }

    fn tables(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "\n## Requests by resets that Cognito accepted\n\n| resets | requests |\n|---:|---:|")?;
        self.resets.iter().try_for_each(|(resets, count)| writeln!(text, "| {resets} | {count} |"))?;
        writeln!(text, "\n## Standing requests by outcome\n\n| outcome | reason | requests |\n|---|---|---:|")?;
        for ((outcome, reason), count) in &self.outcomes {
            writeln!(text, "| {outcome} | {reason} | {count} |")?;
        }
        writeln!(text, "\n## Cycles by fault\n")?;
        writeln!(
            text,
            "The bound is the largest probability of a violation in one cycle of the fault that is compatible,"
        )?;
        writeln!(
            text,
            "at 95 %, with none in so many: 1 − 0.05^(1/n). A fault that met nothing is no cycle; a kill of"
        )?;
        writeln!(
            text,
            "kube-apiserver or etcd, or a cut of all connections, is one whenever requests are in flight.\n"
        )?;
        writeln!(text, "| fault | cycles | met nothing | bound |\n|---|---:|---:|---:|")?;
        for (row, count) in self.rows() {
            let bound = if count.cycles > 0 { percent(upper_bound(count.cycles)) } else { "–".to_owned() };
            writeln!(text, "| {row} | {} | {} | {bound} |", count.cycles, count.missed)?;
        }
        Ok(())
    }

    fn rows(&self) -> BTreeMap<String, Count> {
        let mut rows = BTreeMap::<_, Count>::new();
        for (fault, count) in &self.faults {
            let row = rows.entry(fault.row()).or_default();
            row.cycles += count.cycles;
            row.missed += count.missed;
        }
        rows
    }

    fn verbs(&self, text: &mut String) -> fmt::Result {
        if !self.faults.keys().any(|fault| matches!(fault, Fault::Api(..))) {
            return Ok(());
        }
        writeln!(text, "\n## Cycles by the API's verb\n")?;
        let heads: String = Break::ALL.iter().map(|how| format!(" {} |", how.name())).collect();
        writeln!(text, "| |{heads} met nothing |\n|---|{}", "---:|".repeat(Break::ALL.len() + 1))?;
        for verb in Verb::ALL {
            let mut missed = 0;
            let cells = Break::ALL.into_iter().map(|how| {
                let count = self.faults.get(&Fault::Api(verb, how)).copied().unwrap_or_default();
                missed += count.missed;
                if how.suits(verb) { format!(" {} |", count.cycles) } else { " – |".to_owned() }
            });
            let cells: String = cells.collect();
            writeln!(text, "| {} |{cells} {missed} |", verb.as_str())?;
        }
        Ok(())
    }

    fn ends(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "\n## Ends of a replica that no fault caused directly\n")?;
        if self.exits.is_empty() {
            return writeln!(text, "None.");
        }
        writeln!(
            text,
            "A replica that loses the lease, or does not find the API server at its start, ends and is started again.\n"
        )?;
        self.exits.iter().try_for_each(|(status, count)| writeln!(text, "- {status}: {count}"))
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "# {}\n\n{}.\n", self.title, self.versions)?;
        self.summary(text)?;
        self.violated(text)?;
        self.tables(text)?;
        self.verbs(text)?;
        self.ends(text)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text)?;
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::faults::Point;

    fn report() -> Report {
        let counts = [
            (Fault::KillAt(Point::AfterCall), Count { cycles: 40, missed: 2 }),
            (Fault::Api(Verb::CreateRecord, Break::LostAfter), Count { cycles: 59, missed: 3 }),
        ];
        Report {
            title: "A chaos run".into(),
            faults: counts.into(),
            requests: 500,
            resets: [(0, 100), (1, 400)].into(),
            outcomes: [
                (("Succeeded".into(), "ResetAccepted".into()), 450),
                (("Unknown".into(), "OutcomeUnknown".into()), 50),
            ]
            .into(),
            duration: Duration::from_secs(100),
            ..Report::default()
        }
    }

    #[test]
    fn the_bound_is_the_rule_of_three() {
        for (cycles, bound) in [(1, 0.95), (59, 0.0495), (300, 0.00994), (2000, 0.001_497)] {
            assert!((upper_bound(cycles) - bound).abs() < 0.0001, "{cycles}: {}", upper_bound(cycles));
        }
    }

    #[test]
    fn it_says_what_was_done_and_found() {
        let text = report().to_string();
        for line in [
            "| cycles | 99 |  |",
            "| largest number of resets of one request | 1 | 1 |",
            "| share of Unknown | 10.00 % |  |",
            "| requests a second | 5.0 |  |",
            "| SIGKILL: call made, reply not seen | 40 | 2 | 7.22 % |",
            "| API: reply lost after it was done | 59 | 3 | 4.95 % |",
            "| create record | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 59 | 0 | 3 |",
            "| watch grants | 0 | 0 | 0 | 0 | 0 | – | 0 | – | 0 | 0 |",
            "| 1 | 400 |",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\nis not in\n{text}");
        }
        assert!(report().is_clean() && !text.contains("Violations"));
    }

    #[test]
    fn a_violation_is_reported() {
        let mut violated = report();
        violated.violations = [(Violation::ResetTwice, 2)].into();
        assert!(!violated.is_clean());
        assert!(violated.to_string().contains("- 2 × Cognito accepted more than one reset"));
        let panicked = Report { exits: [("exit status: 101".to_owned(), 1)].into(), ..report() };
        assert!(!panicked.is_clean());
    }
}
