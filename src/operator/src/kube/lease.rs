//! Coordinates replicas with a Lease, which saves work: one replica works, and the others are on
//! standby.
//!
//! No guarantee depends on the Lease: the record decides which process may call Cognito, with any
//! number of leaders. Every write is guarded by the resourceVersion that was read. A holder has
//! expired if its Lease has not changed for its duration, by this process's monotonic clock. Two
//! clocks are never compared.

mod leadership;
mod observer;

use std::time::Duration;

use cognito_reset_core::{refusal::Refuser, watched_namespaces::WatchedNamespaces};
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};
use tracing::{debug, info, warn};
use uuid::Uuid;

pub(crate) use self::leadership::{Leadership, LeadershipMetric};
use self::observer::{Move, Observer};
use crate::kube::store::{StoreError, within};

/// The name of the Lease.
pub(crate) const NAME: &str = "cognito-reset-operator";

/// The annotation with the namespaces that the holder watches, which is absent if it watches all.
const WATCHED: &str = "cognito-reset.dev/watch-namespaces";

/// The interval at which a standby replica reads the Lease.
const LOOK: Duration = Duration::from_secs(1);

/// The number of renewals in the duration of the Lease.
const RENEWALS: u32 = 5;

/// The participation of one replica in the election.
pub(crate) struct Election {
    leases: Api<Lease>,
    observer: Observer,
    timeout: Duration,
    leadership: watch::Sender<Leadership>,
    /// The policy or webhook that rejects the Lease, if the last write was rejected.
    refuser: watch::Sender<Option<Refuser>>,
    /// Counts a rejected write.
    count_refusal: Box<dyn Fn(&Refuser) + Send + Sync>,
    /// The Lease as this replica last wrote it.
    held: Option<Lease>,
    /// The namespaces that this replica watches; `None` for all.
    watched: Option<String>,
    /// The other namespaces that the leader was last reported to watch.
    reported: Option<Option<String>>,
}

impl Election {
    /// Participates as `identity`, which is made unique for this process: a container that is
    /// restarted in its Pod is another holder.
    ///
    /// `duration` is the time after which a leader that has stopped renewing can be replaced.
    /// `api_timeout` is the timeout of every call to the API server. `count_refusal` is called for
    /// each rejected write.
    #[must_use]
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        identity: &str,
        duration: Duration,
        api_timeout: Duration,
        count_refusal: impl Fn(&Refuser) + Send + Sync + 'static,
    ) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            observer: Observer::new(format!("{identity}_{}", Uuid::new_v4()), duration),
            timeout: api_timeout.min(duration / RENEWALS),
            leadership: watch::Sender::new(Leadership::NoLeaderSeen),
            refuser: watch::Sender::new(None),
            count_refusal: Box::new(count_refusal),
            held: None,
            watched: None,
            reported: None,
        }
    }

    /// Names the namespaces that this replica watches, so that replicas with other ones notice it.
    #[must_use]
    pub(crate) fn watching(self, watched: &WatchedNamespaces) -> Self {
        Self { watched: watched.listed(), ..self }
    }

    /// Returns a receiver of the state of this replica.
    #[must_use]
    pub(crate) fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    /// Returns a receiver of the policy or webhook that rejects the Lease.
    #[must_use]
    pub(crate) fn refuser(&self) -> watch::Receiver<Option<Refuser>> {
        self.refuser.subscribe()
    }

    /// Waits as standby, leads and renews, until the Lease is lost after this replica held it.
    pub(crate) async fn run(&mut self) {
        loop {
            let begun = Instant::now();
            let end = self.observer.must_stop_at();
            let turn = self.turn(begun);
            let turned = match end {
                Some(end) => timeout_at(end, turn).await.unwrap_or(Move::Lost),
                None => turn.await,
            };
            if turned == Move::Lost {
                self.leadership.send_replace(Leadership::NoLeaderSeen);
                return;
            }
            let leadership = self.observer.leadership(Instant::now());
            self.leadership.send_if_modified(|current| std::mem::replace(current, leadership) != leadership);
            sleep(LOOK.min(self.observer.duration / RENEWALS)).await;
        }
    }

    /// Reads the Lease, or renews it if this replica holds it and a renewal is due.
    async fn turn(&mut self, begun: Instant) -> Move {
        if self.observer.renewed.is_some_and(|renewed| begun < renewed + self.observer.duration / RENEWALS) {
            return Move::Leave;
        }
        let current = match self.held.take() {
            Some(held) => Some(held),
            None => match within(self.timeout, self.leases.get_opt(NAME)).await {
                Ok(lease) => lease,
                Err(error) => {
                    warn!(lease = NAME, %error, "unable to read the Lease; retrying");
                    return Move::Leave;
                }
            },
        };
        let next = self.observer.see(current.as_ref(), begun);
        match next {
            Move::Take | Move::Renew => self.write(current, next, begun).await,
            // Another replica holds it, so nothing is written here.
            Move::Leave | Move::Lost => {
                self.not_refused();
                self.compare(current.as_ref());
            }
        }
        next
    }

    /// Reports a leader that watches other namespaces, once: while it leads, nobody handles the
    /// requests of the namespaces that only this replica watches.
    fn compare(&mut self, current: Option<&Lease>) {
        let theirs = current.map(watched_by).filter(|theirs| *theirs != self.watched);
        if let Some(theirs) = theirs.as_ref().filter(|theirs| self.reported.as_ref() != Some(theirs)) {
            warn!(
                lease = NAME,
                leader = theirs.as_deref().unwrap_or("all"),
                own = self.watched.as_deref().unwrap_or("all"),
                "the leader watches other namespaces than this replica, which handles nothing while it is on standby; unless this is a rollout, install operators of different namespaces in namespaces of their own"
            );
        }
        self.reported = theirs;
    }

    async fn write(&mut self, current: Option<Lease>, step: Move, begun: Instant) {
        let mut wanted = held_by(&self.observer.holder, self.observer.duration, current, step);
        name_watched(&mut wanted, self.watched.as_ref());
        let params = PostParams::default();
        let write = async {
            if wanted.metadata.resource_version.is_some() {
                self.leases.replace(NAME, &params, &wanted).await
            } else {
                self.leases.create(&params, &wanted).await
            }
        };
        match within(self.timeout, write).await {
            Ok(stored) => {
                if self.observer.renewed.replace(begun).is_none() {
                    info!(lease = NAME, holder = %self.observer.holder, "became the leader");
                }
                self.held = Some(stored);
                self.not_refused();
            }
            // Another replica was faster, or this is the response to an own write whose response
            // was lost. The next round reads the Lease.
            Err(error) if error.is_conflict() => {}
            Err(error) => self.not_written(&error),
        }
    }

    /// Reports a failed write. A rejection is counted at each try, and logged once per policy or
    /// webhook.
    fn not_written(&self, error: &StoreError) {
        let Some(refuser) = error.refuser() else {
            return warn!(lease = NAME, %error, "unable to write the Lease; retrying");
        };
        (self.count_refusal)(&refuser);
        if self.refuser.send_replace(Some(refuser.clone())).as_ref() == Some(&refuser) {
            debug!(lease = NAME, %error, "the API server still rejects the write of the Lease");
        } else {
            warn!(lease = NAME, %error, "the API server rejected the write of the Lease, without which this replica cannot lead; retrying");
        }
    }

    fn not_refused(&self) {
        self.refuser.send_if_modified(|refuser| refuser.take().is_some());
    }

    /// Returns the Lease that this replica holds. It is read if the response to a renewal was lost.
    async fn held(&mut self) -> Option<Lease> {
        if self.held.is_some() || self.observer.renewed.is_none() {
            return self.held.take();
        }
        let read = match within(self.timeout, self.leases.get_opt(NAME)).await {
            Ok(read) => read?,
            Err(error) => {
                warn!(lease = NAME, %error, "failed to read the Lease before its release; it will expire instead");
                return None;
            }
        };
        let holder = read.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref());
        (holder == Some(&self.observer.holder)).then_some(read)
    }

    /// Releases the Lease, so that another replica does not have to wait for it to expire.
    pub(crate) async fn release(mut self) {
        let Some(mut lease) = self.held().await else { return };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        match within(self.timeout, self.leases.replace(NAME, &PostParams::default(), &lease)).await {
            Ok(_) => info!(lease = NAME, "released the Lease"),
            Err(error) => {
                if let Some(refuser) = error.refuser() {
                    (self.count_refusal)(&refuser);
                }
                warn!(lease = NAME, %error, "failed to release the Lease; it will expire instead");
            }
        }
    }
}

/// Returns the namespaces that the holder of a Lease watches; `None` for all.
fn watched_by(lease: &Lease) -> Option<String> {
    lease.metadata.annotations.as_ref().and_then(|all| all.get(WATCHED)).cloned()
}

/// Writes into a Lease which namespaces its holder watches.
fn name_watched(lease: &mut Lease, watched: Option<&String>) {
    let annotations = lease.metadata.annotations.get_or_insert_default();
    match watched {
        Some(watched) => annotations.insert(WATCHED.to_owned(), watched.clone()),
        None => annotations.remove(WATCHED),
    };
}

/// Returns the Lease as this holder writes it. The times are for people and are never compared.
fn held_by(holder: &str, duration: Duration, current: Option<Lease>, step: Move) -> Lease {
    let now = MicroTime(Timestamp::now());
    let mut lease = current.unwrap_or_else(|| Lease {
        metadata: ObjectMeta { name: Some(NAME.into()), ..ObjectMeta::default() },
        ..Lease::default()
    });
    let before = lease.spec.take().unwrap_or_default();
    let taken = step == Move::Take;
    let transitions = before.lease_transitions.unwrap_or_default().saturating_add(i32::from(taken));
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(holder.into()),
        // The duration is rounded up, so that other replicas are never earlier than the holder
        // assumes.
        lease_duration_seconds: i32::try_from(duration.as_millis().div_ceil(1000)).ok(),
        acquire_time: if taken { Some(now.clone()) } else { before.acquire_time },
        renew_time: Some(now),
        lease_transitions: Some(transitions),
        ..before
    });
    lease
}

#[cfg(test)]
mod tests;
