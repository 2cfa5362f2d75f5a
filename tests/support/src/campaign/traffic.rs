//! Requests without a pause, each for a user of its own, so that what Cognito does for a user is what it does for a request.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use super::{
    observed::Observed,
    random::Random,
    server::{REQUESTS, Server},
    stage::{Stage, name_of},
};

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Story {
    /// Applied, and left alone.
    Plain,
    /// Deleted at its end and applied again; in half of the cases after the user has chosen a new password.
    Again,
    /// Deleted at some moment, in flight or not.
    Deleted,
    /// The same, and applied again at once.
    DeletedAndAgain,
    /// Created suspended, and released a little later.
    Suspended,
    /// For a user who does not exist.
    Nobody,
    /// To be skipped if the user already has to reset, and the user does not.
    Skip,
    /// The same, and the user does.
    SkipReset,
}

/// How often each is told, of a hundred.
const STORIES: [(Story, usize); 8] = [
    (Story::Plain, 48),
    (Story::Again, 12),
    (Story::Deleted, 6),
    (Story::DeletedAndAgain, 10),
    (Story::Suspended, 10),
    (Story::Nobody, 5),
    (Story::Skip, 5),
    (Story::SkipReset, 4),
];

/// A request that was made, for the user of the same name.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) story: Story,
}

/// What makes requests.
pub(super) struct Traffic {
    stage: Arc<Stage>,
    observed: Arc<Observed>,
    /// In flight at the most.
    most: usize,
    /// Between two new ones.
    pace: Duration,
    open: AtomicUsize,
    ending: AtomicBool,
    asked: Mutex<Vec<Asked>>,
}

impl Traffic {
    pub(super) fn new(stage: &Arc<Stage>, observed: &Arc<Observed>, most: usize, pace: Duration) -> Arc<Self> {
        Arc::new(Self {
            stage: Arc::clone(stage),
            observed: Arc::clone(observed),
            most,
            pace,
            open: AtomicUsize::new(0),
            ending: AtomicBool::new(false),
            asked: Mutex::default(),
        })
    }

    /// Requests that are in flight now.
    pub(super) fn in_flight(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// No further request is made from now on.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    /// All requests so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Makes requests until there are `total`, or until [`end`](Self::end), and waits until each has ended.
    pub(super) async fn run(self: &Arc<Self>, mut random: Random, total: usize) -> Result<()> {
        let mut tasks = JoinSet::new();
        while self.count() < total && !self.ending.load(Ordering::SeqCst) {
            while let Some(ended) = tasks.try_join_next() {
                ended??;
            }
            if self.in_flight() < self.most {
                self.open.fetch_add(1, Ordering::SeqCst);
                let asked = self.next(&mut random);
                let (this, random) = (Arc::clone(self), random.fork());
                tasks.spawn(async move {
                    let result = this.tell(&asked, random).await;
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
        let mut left = random.below(100);
        let mut story = Story::Plain;
        for (one, share) in STORIES {
            if left < share {
                story = one;
                break;
            }
            left -= share;
        }
        let kind = if random.percent(20) { "role" } else { "user" };
        let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = Asked { name: format!("{kind}-{:06}", all.len()), story };
        all.push(asked.clone());
        asked
    }

    async fn tell(&self, asked: &Asked, mut random: Random) -> Result<()> {
        let (users, pool, name) = (&self.stage.users, &self.stage.pool, &asked.name);
        if asked.story != Story::Nobody {
            users.create_user(pool, name).await?;
        }
        if asked.story == Story::SkipReset {
            users.reset(pool, name).await?;
        }
        let uid = self.create(asked).await?;
        match asked.story {
            Story::Plain | Story::Nobody | Story::Skip | Story::SkipReset => self.ended(name, &uid).await,
            Story::Again => {
                self.ended(name, &uid).await;
                if random.percent(50) {
                    users.confirm(pool, name).await?;
                }
                self.delete(name).await?;
                let uid = self.create(asked).await?;
                self.ended(name, &uid).await;
            }
            Story::Deleted | Story::DeletedAndAgain => {
                sleep(random.up_to(Duration::from_millis(400))).await;
                self.delete(name).await?;
                if asked.story == Story::DeletedAndAgain {
                    let uid = self.create(asked).await?;
                    self.ended(name, &uid).await;
                }
            }
            Story::Suspended => {
                sleep(random.up_to(Duration::from_millis(1500))).await;
                let release = json!({ "spec": { "suspend": false } });
                // It may have ended while it was suspended: by a clock that jumps a day, its deadline has passed.
                self.server().insist(Method::PATCH, &path(name), Some(&release), &[200, 422]).await?;
                self.ended(name, &uid).await;
            }
        }
        Ok(())
    }

    fn server(&self) -> &Server {
        &self.stage.server
    }

    /// Creates it, and gives its uid. A reply that was lost shows as 409 at the next try.
    async fn create(&self, asked: &Asked) -> Result<String> {
        let mut spec = json!({ "userPoolID": self.stage.pool, "username": asked.name });
        match asked.story {
            Story::Suspended => spec["suspend"] = true.into(),
            Story::Skip | Story::SkipReset => spec["ifResetRequired"] = "Skip".into(),
            Story::Plain | Story::Again | Story::Deleted | Story::DeletedAndAgain | Story::Nobody => {}
        }
        let body = json!({
            "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRequest",
            "metadata": { "name": asked.name, "namespace": "default" }, "spec": spec,
        });
        let (status, created) = self.server().insist(Method::POST, REQUESTS, Some(&body), &[201, 409]).await?;
        let object: Value = if status == 201 { created } else { self.server().get(&path(&asked.name)).await? };
        Ok(name_of(&object, "/metadata/uid"))
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.server().insist(Method::DELETE, &path(name), None, &[200, 404]).await?;
        Ok(())
    }

    /// Waits for its end, for as long as the campaign does: what never ends is found at its end.
    async fn ended(&self, name: &str, uid: &str) {
        while !self.observed.has_ended(name, uid) {
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn path(name: &str) -> String {
    format!("{REQUESTS}/{name}")
}
