//! The chaos run and the load. A chaos run has two replicas of the release binary, with the
//! permissions and arguments of `deploy/`, on a real API server whose etcd waits for the disk. It
//! injects faults of every kind while requests come without a pause. The load is a given number of
//! requests while replicas are killed every few seconds.
//!
//! A cycle is one fault that has met something while requests were in flight. The faults follow
//! each other without waiting for what they broke to settle. At the end all faults stop, everything
//! has to become terminal, and every status and every record is compared with what Cognito's
//! emulator had accepted.
//!
//! The points at which replicas are killed could have been built into the operator, in a feature
//! that the release build does not have. Instead, a proxy holds the very request or reply that
//! bounds the point, and the replica is killed meanwhile. The points are the same, the killed
//! binary is the one that is shipped, and it has no code for it.

mod environment;
mod evidence;
mod faults;
mod inject;
mod judge;
mod observed;
mod processes;
mod random;
mod replica;
mod report;
mod responses;
mod server;
mod story;
mod traffic;
mod troubles;
mod verbs;
mod verdict;

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::time::{sleep, timeout};

pub use self::environment::Programs;
use self::{
    environment::Environment, evidence::Evidence, faults::Fault, inject::inject, observed::Observed, random::Random,
    report::Count, traffic::Traffic,
};

/// The number of faults that are injected at the same time.
const LANES: usize = 8;
/// The time with faults of every kind. It is followed by a time without those that end a replica,
/// and so on: an open claim is resolved by a replica that has seen it for 7 s, and if every replica
/// ended sooner, nothing would be left to break in the end.
const STORM: Duration = Duration::from_secs(14);
const CALM: Duration = Duration::from_secs(10);
/// The number of tries for a fault that met nothing.
const TRIES: usize = 3;
/// The number of rounds in which other faults replace those that met nothing at all.
const ROUNDS: usize = 4;
/// A fault that takes longer than this is stuck, and the run with it.
const FAULT_LIMIT: Duration = Duration::from_secs(180);
/// Everything has to become terminal within this time after the last fault.
const END_LIMIT: Duration = Duration::from_secs(180);
/// The age at which a request that passed the proxies is taken out of their journals. The latest
/// reply is 10 s late, so nothing about the request can change any more.
const DIGESTED: Duration = Duration::from_secs(30);
/// The time between two kills under load.
const KILL_EVERY: Duration = Duration::from_secs(3);

/// The kind of a chaos run.
#[derive(Clone, Debug)]
pub enum Mode {
    /// This number of faults of every kind.
    Faults(usize),
    /// This number of requests, while replicas are killed every few seconds.
    Load(usize),
}

/// A chaos run.
#[derive(Clone, Debug)]
pub struct ChaosRun {
    /// The kind of the run.
    pub mode: Mode,
    /// The seed of all random choices: the same seed gives the same faults in the same order.
    pub seed: u64,
    /// The file that the report is written to, besides standard output.
    pub report: Option<PathBuf>,
    /// The programs to start.
    pub programs: Programs,
}

impl ChaosRun {
    /// Runs it to its end.
    ///
    /// # Errors
    /// When a violation is found, after a report about it; or when it could not be carried out.
    pub async fn run(self) -> Result<()> {
        println!("seed {} (SEED={} repeats the order of the faults)", self.seed, self.seed);
        let environment = Arc::new(Environment::start(&self.programs).await?);
        println!("{}", environment.versions);
        let field = Arc::new(Field::of(&environment, &self.mode));
        let watching = tokio::spawn({
            let field = Arc::clone(&field);
            async move { field.look_on().await }
        });
        let outcome = tokio::select! {
            outcome = self.carry_out(&field) => outcome,
            ended = watching => match ended {
                Ok(Err(problem)) => Err(problem),
                Ok(Ok(())) => Err(anyhow::anyhow!("the onlookers have gone")),
                Err(problem) => Err(problem.into()),
            },
        };
        outcome?;
        let report = field.verdict(&self).await?;
        println!("\n{report}");
        if let Some(path) = &self.report {
            std::fs::write(path, report.to_string()).with_context(|| format!("failed to write {}", path.display()))?;
        }
        if !report.is_clean() {
            bail!("the promise was broken: see above (SEED={})", self.seed);
        }
        Ok(())
    }

    async fn carry_out(&self, field: &Arc<Field>) -> Result<()> {
        let mut random = Random::new(self.seed);
        let (mut for_traffic, total) = (
            random.fork(),
            match self.mode {
                Mode::Faults(_) => usize::MAX,
                Mode::Load(requests) => requests,
            },
        );
        field.environment.start_replicas(true).await?;
        let mut traffic = tokio::spawn({
            let (traffic, random) = (Arc::clone(&field.traffic), for_traffic.fork());
            async move { traffic.run(random, total).await }
        });
        tokio::select! {
            // Load ends by itself; anything else is an error of the testbed.
            ended = &mut traffic => return ended?,
            broken = self.break_things(field, &mut random) => broken?,
        }
        field.traffic.end();
        println!("{:>6.0} s  no further fault: waiting for everything to end", field.start.elapsed().as_secs_f64());
        match timeout(END_LIMIT, traffic).await {
            Ok(ended) => ended??,
            // The verdict finds the requests that have not ended.
            Err(_) => println!("not everything has ended within {END_LIMIT:?}"),
        }
        Ok(())
    }

    async fn break_things(&self, field: &Field, random: &mut Random) -> Result<()> {
        match self.mode {
            Mode::Faults(cycles) => {
                field.phase(cycles.div_ceil(2), random).await?;
                field.environment.start_replicas(false).await?;
                field.phase(cycles, random).await
            }
            Mode::Load(requests) => {
                field.kill_until(|| field.traffic.asked().len() >= requests / 2, random).await?;
                field.environment.start_replicas(false).await?;
                field.kill_until(|| field.traffic.asked().len() >= requests, random).await
            }
        }
    }
}

/// The servers and replicas of a run, and the notes about them.
struct Field {
    environment: Arc<Environment>,
    observed: Arc<Observed>,
    traffic: Arc<Traffic>,
    start: Instant,
    evidence: Mutex<Evidence>,
    counts: Mutex<BTreeMap<Fault, Count>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Field {
    fn of(environment: &Arc<Environment>, mode: &Mode) -> Self {
        let observed = Arc::new(Observed::default());
        let start = Instant::now();
        Self {
            environment: Arc::clone(environment),
            traffic: Traffic::new(environment, &observed, mode),
            observed,
            start,
            evidence: Mutex::new(Evidence::since(start)),
            counts: Mutex::default(),
        }
    }

    /// Runs beside the faults: watches, does the kubelet's part, and reads the proxies' journals.
    async fn look_on(&self) -> Result<()> {
        let [first, second] = &self.environment.replicas;
        let read = async {
            loop {
                if let Some(end) = Instant::now().checked_sub(DIGESTED) {
                    self.read_journals(end);
                }
                sleep(Duration::from_secs(2)).await;
            }
        };
        tokio::select! {
            ended = first.supervise() => ended,
            ended = second.supervise() => ended,
            () = self.observed.run(&self.environment.server) => Ok(()),
            () = read => Ok(()),
        }
    }

    fn read_journals(&self, end: Instant) {
        let mut evidence = lock(&self.evidence);
        self.environment.take_before(end).for_each(|(who, passed)| evidence.hear(who, &passed));
    }

    fn cycles(&self) -> usize {
        lock(&self.counts).values().map(|count| count.cycles).sum()
    }

    /// Runs cycles until there are `total`, with the Lease or without. A fault that meets nothing
    /// is no cycle: others replace it.
    async fn phase(&self, total: usize, random: &mut Random) -> Result<()> {
        for _ in 0..ROUNDS {
            let deck = Fault::deck(total.saturating_sub(self.cycles()), self.environment.leased(), random);
            let deck = Mutex::new(deck.into_iter().map(|fault| (fault, TRIES)).collect::<VecDeque<_>>());
            let lanes: [_; LANES] = std::array::from_fn(|_| self.lane(&deck, random.fork()));
            futures::future::try_join_all(lanes).await?;
        }
        ensure!(self.cycles() >= total, "too many faults have met nothing");
        Ok(())
    }

    async fn lane(&self, deck: &Mutex<VecDeque<(Fault, usize)>>, mut random: Random) -> Result<()> {
        loop {
            let Some((fault, tries)) = self.next(&mut lock(deck)) else {
                if lock(deck).is_empty() {
                    return Ok(());
                }
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let injecting = timeout(FAULT_LIMIT, inject(&self.environment, fault, &mut random));
            let met = injecting.await.with_context(|| format!("stuck: {fault:?}"))??;
            let met = met && self.traffic.in_flight() > 0;
            if !met && tries > 1 {
                lock(deck).push_back((fault, tries - 1));
            }
            self.count(fault, met);
            sleep(random.up_to(Duration::from_millis(200))).await;
        }
    }

    /// Returns the next fault that may be injected now.
    fn next(&self, deck: &mut VecDeque<(Fault, usize)>) -> Option<(Fault, usize)> {
        let storms = self.start.elapsed().as_millis() % (STORM + CALM).as_millis() < STORM.as_millis();
        let may = |fault: &Fault| (storms || !fault.is_disruptive()) && self.start.elapsed() >= fault.not_before();
        let index = deck.iter().position(|(fault, _)| may(fault))?;
        deck.remove(index)
    }

    fn count(&self, fault: Fault, met: bool) {
        let mut counts = lock(&self.counts);
        let count = counts.entry(fault).or_default();
        count.cycles += usize::from(met);
        count.missed += usize::from(!met);
        let cycles: usize = counts.values().map(|count| count.cycles).sum();
        if met && cycles.is_multiple_of(20) {
            let seconds = self.start.elapsed().as_secs_f64();
            println!("{seconds:>6.0} s  {cycles} cycles, {} requests", self.traffic.asked().len());
        }
    }

    /// Kills replicas, one after the other.
    async fn kill_until(&self, done: impl Fn() -> bool, random: &mut Random) -> Result<()> {
        while !done() {
            sleep(KILL_EVERY).await;
            let met = inject(&self.environment, Fault::Kill, random).await?;
            self.count(Fault::Kill, met);
            ensure!(self.start.elapsed() < Duration::from_secs(7200), "the load takes longer than two hours");
        }
        Ok(())
    }
}
