//! Makes requests without a pause, each for a user of its own, so that Cognito's calls for a user
//! are those for a request.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use http::Method;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    Mode,
    environment::{Environment, GUEST, RETENTION, name_of},
    observed::Observed,
    random::Random,
    server::{REQUESTS, Server},
    story::{Story, Terms},
};

/// The longest time between the first and the second application of a request. No record is older
/// than its request. The retention therefore keeps the record until the request exists again.
const APPLIED_AGAIN: Duration = Duration::from_secs(20);
/// A part of the retention that stays free, for a creation whose reply was lost, and for clocks of
/// whole seconds.
const LANDS: Duration = Duration::from_secs(20);
const _: () = assert!(APPLIED_AGAIN.as_secs() + LANDS.as_secs() < RETENTION.as_secs());

/// The time between two changes of the grant of guests.
const FLAP: Duration = Duration::from_millis(1500);

/// A request that was made, for the user of the same name.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) story: Story,
    /// True if it was not deleted for good.
    pub(super) stays: bool,
    /// The expiry that it was applied again with.
    pub(super) expires: Option<String>,
}

/// Makes the requests.
pub(super) struct Traffic {
    environment: Arc<Environment>,
    observed: Arc<Observed>,
    /// The greatest number in flight.
    most: usize,
    /// The time between two new requests.
    pace: Duration,
    /// True if the grant of guests goes and comes back.
    flaps: bool,
    open: AtomicUsize,
    ending: AtomicBool,
    asked: Mutex<Vec<Asked>>,
}

impl Traffic {
    pub(super) fn new(environment: &Arc<Environment>, observed: &Arc<Observed>, mode: &Mode) -> Arc<Self> {
        let (most, pace, flaps) = match mode {
            Mode::Faults(_) => (200, Duration::from_millis(100), true),
            Mode::Load(_) => (400, Duration::from_millis(5), false),
        };
        Arc::new(Self {
            environment: Arc::clone(environment),
            observed: Arc::clone(observed),
            most,
            pace,
            flaps,
            open: AtomicUsize::new(0),
            ending: AtomicBool::new(false),
            asked: Mutex::default(),
        })
    }

    /// Returns the number of requests that are in flight now.
    pub(super) fn in_flight(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Makes no further request from now on.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    /// Returns all requests so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    fn amend(&self, name: &str, change: impl FnOnce(&mut Asked)) {
        let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = all.iter_mut().find(|asked| asked.name == name) {
            change(asked);
        }
    }

    /// Makes requests until there are `total`, or until [`end`](Self::end), and waits until each
    /// has ended.
    pub(super) async fn run(self: &Arc<Self>, mut random: Random, total: usize) -> Result<()> {
        let flapping = self.flap(random.fork());
        tokio::try_join!(self.make(random, total), flapping)?;
        Ok(())
    }

    /// Takes the grant of guests away and brings it back, or suspends and releases it, until the
    /// end.
    async fn flap(&self, mut random: Random) -> Result<()> {
        while self.flaps && !self.is_ending() {
            let (environment, taken) = (&self.environment, random.percent(20));
            for there in [false, true] {
                sleep(random.up_to(FLAP)).await;
                if taken { environment.grant_guests(there).await? } else { environment.suspend_guests(!there).await? }
            }
        }
        Ok(())
    }

    async fn make(self: &Arc<Self>, mut random: Random, total: usize) -> Result<()> {
        let mut tasks = JoinSet::new();
        while self.count() < total && !self.is_ending() {
            while let Some(ended) = tasks.try_join_next() {
                ended??;
            }
            if self.in_flight() < self.most {
                self.open.fetch_add(1, Ordering::SeqCst);
                let asked = self.next(&mut random);
                let (this, random) = (Arc::clone(self), random.fork());
                tasks.spawn(async move {
                    let result = this.play(&asked, random).await;
                    this.open.fetch_sub(1, Ordering::SeqCst);
                    result
                });
            }
            sleep(self.pace).await;
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    }

    fn next(&self, random: &mut Random) -> Asked {
        let story = Story::any(random);
        let kind = *random.pick(&["role", "role", GUEST, "user", "user", "user", "user", "user", "user", "user"]);
        let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, stays) = (format!("{kind}-{:06}", all.len()), story != Story::Deleted);
        let asked = Asked { name, story, stays, expires: None };
        all.push(asked.clone());
        asked
    }

    async fn play(&self, asked: &Asked, mut random: Random) -> Result<()> {
        let (users, pool, name) = (&self.environment.users, &self.environment.pool, &asked.name);
        if asked.story != Story::Nobody {
            users.create_user(pool, name).await?;
        }
        if asked.story == Story::SkipReset {
            users.reset(pool, name).await?;
        }
        let first = Instant::now();
        let uid = self.create(asked, Terms::first(&mut random)).await?;
        match asked.story {
            Story::Plain | Story::Nobody | Story::Skip | Story::SkipReset | Story::Expired | Story::Late => {
                self.ended(asked, &uid).await?;
            }
            Story::Again | Story::Expiring => {
                self.ended(asked, &uid).await?;
                if random.percent(50) {
                    users.confirm(pool, name).await?;
                }
                if first.elapsed() < APPLIED_AGAIN {
                    self.delete(name).await?;
                    self.apply_again(asked, first).await?;
                }
            }
            Story::Deleted => {
                sleep(random.up_to(Duration::from_millis(400))).await;
                self.delete(name).await?;
            }
            Story::DeletedAndAgain => {
                sleep(random.up_to(Duration::from_millis(400))).await;
                self.delete(name).await?;
                self.apply_again(asked, first).await?;
            }
            Story::Suspended => {
                sleep(random.up_to(Duration::from_millis(1500))).await;
                let release = json!({ "spec": { "suspend": false } });
                // It may have ended while it was suspended: its deadline passes when a clock jumps
                // a day.
                self.server().insist(Method::PATCH, &path(name), Some(&release), &[200, 422]).await?;
                self.ended(asked, &uid).await?;
            }
            Story::ShortLived => {
                self.ended(asked, &uid).await?;
                self.collected(name, first).await?;
                if random.percent(50) && !self.stands(name).await? {
                    self.apply_again(asked, first).await?;
                }
            }
        }
        Ok(())
    }

    fn server(&self) -> &Server {
        &self.environment.server
    }

    /// Creates the request, and returns its uid. A creation whose reply was lost returns 409 at the
    /// next try.
    async fn create(&self, asked: &Asked, terms: Terms) -> Result<String> {
        let body = self.body(asked, terms);
        let (status, created) = self.server().insist(Method::POST, REQUESTS, Some(&body), &[201, 409]).await?;
        let object: Value = if status == 201 { created } else { self.server().get(&path(&asked.name)).await? };
        Ok(name_of(&object, "/metadata/uid"))
    }

    /// Creates the request again and waits for its end. It is left deleted if its record may not be
    /// kept for so long.
    async fn apply_again(&self, asked: &Asked, first: Instant) -> Result<()> {
        let (name, until) = (&asked.name, first + APPLIED_AGAIN);
        let body = self.body(asked, Terms::AGAIN);
        let created = async {
            ensure!(Instant::now() < until, "too late");
            self.server().insist_until(until, Method::POST, REQUESTS, Some(&body), &[201, 409]).await
        };
        // A creation at the very end whose reply was lost may have succeeded all the same.
        if created.await.is_err() && !self.stands(name).await? {
            self.amend(name, |asked| asked.stays = false);
            return Ok(());
        }
        let expires = body.pointer("/spec/notAfter").and_then(Value::as_str).map(str::to_owned);
        self.amend(name, |asked| asked.expires = expires);
        let (_, object) = self.server().insist(Method::GET, &path(name), None, &[200, 404]).await?;
        self.ended(asked, &name_of(&object, "/metadata/uid")).await
    }

    fn body(&self, asked: &Asked, terms: Terms) -> Value {
        let mut spec = json!({ "userPoolID": self.environment.pool, "username": asked.name });
        asked.story.complete(&mut spec, terms);
        json!({
            "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRequest",
            "metadata": { "name": asked.name, "namespace": "default" }, "spec": spec,
        })
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.server().insist(Method::DELETE, &path(name), None, &[200, 404]).await?;
        Ok(())
    }

    async fn stands(&self, name: &str) -> Result<bool> {
        Ok(self.server().insist(Method::GET, &path(name), None, &[200, 404]).await?.0 == 200)
    }

    /// Waits for its end, for as long as the run does: the verdict finds a request that never
    /// ends.
    async fn ended(&self, asked: &Asked, uid: &str) -> Result<()> {
        let is_short_lived = asked.story == Story::ShortLived;
        while !self.observed.has_ended(&asked.name, uid) {
            // It may have been deleted between two events of the watch.
            if is_short_lived && !self.stands(&asked.name).await? {
                break;
            }
            sleep(Duration::from_millis(if is_short_lived { 500 } else { 50 })).await;
        }
        Ok(())
    }

    /// Waits for a while until its time to live deletes it: a clock that jumped may have delayed
    /// that.
    async fn collected(&self, name: &str, first: Instant) -> Result<()> {
        while first.elapsed() < APPLIED_AGAIN && self.stands(name).await? {
            sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }
}

fn path(name: &str) -> String {
    format!("{REQUESTS}/{name}")
}
