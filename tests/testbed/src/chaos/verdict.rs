//! The end of a run: all notes are put together, and judged.

use std::{collections::HashMap, time::Duration, time::Instant};

use anyhow::Result;
use serde_json::Value;

use super::{
    ChaosRun, Field, Mode,
    environment::name_of,
    evidence::Heard,
    judge::{Claim, Effect, Facts, Reported},
    lock,
    report::Report,
    server::{RECORDS, REQUESTS},
    story::Story,
    traffic::Asked,
};
use crate::eventually;

/// The number of requests with a violation that are shown in full.
const SHOWN: usize = 5;
/// The sweep resolves open claims whose request is gone: 7 s after they were seen, and 1 s more.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// The time by which the latest call, of 9 s, has arrived.
const LANDED: Duration = Duration::from_secs(15);

type Objects = HashMap<String, Value>;

impl Field {
    async fn objects(&self, path: &str, name: &str) -> Result<Objects> {
        let (all, _) = self.environment.server.list(path).await?;
        Ok(all.into_iter().map(|object| (name_of(&object, name), object)).collect())
    }

    /// Judges every request.
    pub(super) async fn verdict(&self, chaos: &ChaosRun) -> Result<Report> {
        let settled = async || {
            let records = self.objects(RECORDS, "/request/name").await?;
            let open = records.values().filter(|record| Effect::of(record).is_none()).count();
            anyhow::ensure!(open == 0, "{open} open claims");
            anyhow::Ok(())
        };
        // A claim that is still open afterwards is a violation, and reported as one.
        if let Err(problem) = eventually(SETTLE_LIMIT, "every claim to be settled", settled).await {
            println!("{problem:#}");
        }
        tokio::time::sleep(LANDED).await;
        let duration = self.start.elapsed();
        self.read_journals(Instant::now());
        let requests = self.objects(REQUESTS, "/metadata/name").await?;
        let records = self.objects(RECORDS, "/request/name").await?;
        let mut report = self.nothing_yet(chaos, duration);
        report.collected = lock(&self.evidence).collected();
        let mut shown = 0;
        for asked in self.traffic.asked() {
            let (request, record) = (requests.get(&asked.name), records.get(&asked.name));
            let heard = lock(&self.evidence).of(&asked.name);
            let mut facts = self.facts(&asked, &heard, request, record);
            if facts.resets() == 0 && asked.story != Story::Nobody {
                let status = self.environment.users.user_status(&self.environment.pool, &asked.name).await;
                facts.has_to_reset = status? == "RESET_REQUIRED";
            }
            let violations = facts.violations();
            count(&mut report, &facts);
            if !violations.is_empty() && shown < SHOWN {
                shown += 1;
                println!("\n--- {asked:?}");
                violations.iter().for_each(|violation| println!("VIOLATION: {violation}"));
                self.show(&asked.name, &heard, request, record);
            }
            violations.into_iter().for_each(|violation| *report.violations.entry(violation).or_default() += 1);
        }
        Ok(report)
    }

    fn nothing_yet(&self, chaos: &ChaosRun, duration: Duration) -> Report {
        let title = match chaos.mode {
            Mode::Faults(_) => "Chaos run: half with the lease, half without",
            Mode::Load(_) => "Load with kills: half with the lease, half without",
        };
        let mut report = Report {
            title: title.to_owned(),
            seed: chaos.seed,
            versions: self.environment.versions.clone(),
            duration,
            faults: lock(&self.counts).clone(),
            ..Report::default()
        };
        for replica in &self.environment.replicas {
            report.peak = report.peak.max(replica.peak());
            replica.exits().into_iter().for_each(|(status, count)| *report.exits.entry(status).or_default() += count);
        }
        report
    }

    fn facts(&self, asked: &Asked, heard: &Heard, request: Option<&Value>, record: Option<&Value>) -> Facts {
        let name = &asked.name;
        // A request that the operator has deleted counts as it was seen last.
        let seen = || self.observed.reported(name).filter(Reported::has_ended);
        let collected = || seen().or_else(|| heard_end(heard));
        let is_short_lived = asked.story == Story::ShortLived;
        // A request that has ended has its record, for as long as the request exists.
        let has_lost_record =
            request.map(Reported::of).is_some_and(|reported| reported.has_ended()) && record.is_none();
        let remembered = record.map(|record| name_of(record, "/notAfter")).filter(|expiry| !expiry.is_empty());
        Facts {
            reset_before: asked.story == Story::SkipReset,
            has_to_reset: false,
            calls: heard.calls.clone(),
            claims: heard.claims.clone(),
            stays: asked.stays,
            final_status: request.map(Reported::of).or_else(|| collected().filter(|_| is_short_lived)),
            record: record.map(Effect::of).or_else(|| self.observed.effect(name).map(Some)),
            went_back: self.observed.went_back(name),
            never_sent: asked.story.never_sent(),
            cut_short: has_lost_record
                || self.observed.record_was_cut_short(name)
                || (is_short_lived && self.observed.request_was_cut_short(name)),
            expires: asked.expires.clone().map(|expires| (expires, remembered)),
        }
    }

    fn show(&self, name: &str, heard: &Heard, request: Option<&Value>, record: Option<&Value>) {
        for (what, object) in [("request", request), ("record", record)] {
            let text = object.and_then(|object| serde_json::to_string_pretty(object).ok());
            println!("{what}: {}", text.as_deref().unwrap_or("none"));
        }
        println!("what passed the proxies:");
        heard.story.iter().for_each(|line| println!("  {line}"));
        let record = record.map(|record| name_of(record, "/metadata/name"));
        for replica in &self.environment.replicas {
            println!("log of {}:", replica.name);
            let log = replica.log();
            let about = |line: &&str| line.contains(name) || record.as_deref().is_some_and(|it| line.contains(it));
            log.lines().filter(about).for_each(|line| println!("  {line}"));
        }
    }
}

/// Returns the last end of a request that was stored.
fn heard_end(heard: &Heard) -> Option<Reported> {
    let end = |(_, claim): &(Duration, Claim)| match claim {
        Claim::Status(reported) if reported.has_ended() => Some(reported.clone()),
        Claim::Status(_) | Claim::Effect(_) => None,
    };
    heard.claims.iter().rev().find_map(end)
}

fn count(report: &mut Report, facts: &Facts) {
    report.requests += 1;
    report.calls += facts.calls.len();
    report.claims += facts.claims.len();
    *report.resets.entry(facts.resets()).or_default() += 1;
    if let Some(reported) = &facts.final_status {
        *report.outcomes.entry((reported.outcome.clone(), reported.reason.clone())).or_default() += 1;
    }
}
