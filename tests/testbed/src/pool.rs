//! A pool of control planes that tests lease, one after the other.
//!
//! Starting a control plane uses the whole machine for seconds, and most tests only create some
//! objects in it. A pool therefore has a maximum, regardless of what its tests ask for. When a
//! lease ends, its control plane is cleaned: [`Baseline`] compares everything in etcd with the
//! state after the start, and puts back what differs. A control plane is stopped and replaced if it
//! cannot be cleaned, if it was started with special options, or if it was borrowed mutably,
//! because its servers may have been killed.
//!
//! One thread with its own runtime owns the pool. The runtime of a test ends with the test, and
//! would stop to watch its child processes. A process that ends does not drop what this thread
//! owns; the watchdog of each server then stops it.

mod baseline;
mod definitions;
mod in_effect;

use std::{
    collections::VecDeque,
    io::Write as _,
    ops::{Deref, DerefMut},
    sync::{Arc, OnceLock},
    thread,
};

use anyhow::{Context, Error, Result};
use tokio::{
    runtime,
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    task::{LocalSet, spawn_local},
};

use self::baseline::Baseline;
use crate::{ControlPlane, Moto, Options, Tools};

/// The maximum number of control planes of a process at a time. A test mostly waits, so two cores
/// are enough for four of them. One more is being cleaned, or is kept for tests with its options.
const MOST: usize = 5;

/// The control planes of this process.
#[derive(Debug)]
pub struct Pool {
    messages: UnboundedSender<Message>,
}

/// A control plane for one test. It returns to the pool when it is dropped, also if the test
/// panics.
///
/// A mutable borrow can kill and restart its servers. The control plane is not used again after
/// that.
#[derive(Debug)]
pub struct Lease {
    // The value is only taken out when the lease is dropped.
    plane: Option<Plane>,
    messages: UnboundedSender<Message>,
}

/// A control plane, and its state before the first lease.
#[derive(Debug)]
struct Plane {
    cluster: Box<ControlPlane>,
    baseline: Baseline,
    /// True if another test can lease it.
    reusable: bool,
}

#[derive(Debug)]
enum Message {
    Wanted(Wanted),
    Returned(Plane),
    /// A control plane was started or cleaned.
    Ready(Plane, Option<Wanted>),
    /// A control plane could not be started.
    Failed(Error, Wanted),
    /// A control plane was stopped.
    Ended,
    Emulator(oneshot::Sender<Result<Arc<Moto>>>),
}

#[derive(Debug)]
struct Wanted {
    options: Options,
    reply: oneshot::Sender<Result<Plane>>,
}

impl Pool {
    /// The pool of this process.
    pub fn of_this_process() -> &'static Self {
        static POOL: OnceLock<Pool> = OnceLock::new();
        POOL.get_or_init(|| Self::of_at_most(MOST))
    }

    /// A pool of its own, with at most this number of control planes at a time.
    #[must_use]
    pub fn of_at_most(most: usize) -> Self {
        let (messages, received) = unbounded_channel();
        let owner = Owner { most, idle: Vec::new(), alive: 0, wanted: VecDeque::new(), messages: messages.clone() };
        thread::spawn(move || {
            // Without a runtime every lease fails: the pool has ended.
            if let Ok(runtime) = runtime::Builder::new_current_thread().enable_all().build() {
                LocalSet::new().block_on(&runtime, owner.serve(received));
            }
        });
        Self { messages }
    }

    /// Leases a control plane that was started with these options, in its state after the start.
    /// Waits for one if all are in use.
    ///
    /// # Errors
    /// If one cannot be started.
    pub async fn lease(&self, options: Options) -> Result<Lease> {
        let (reply, plane) = oneshot::channel();
        let messages = self.messages.clone();
        messages.send(Message::Wanted(Wanted { options, reply })).ok().context("the pool has ended")?;
        let plane = plane.await.context("the pool has ended")??;
        Ok(Lease { plane: Some(plane), messages })
    }

    /// The emulator of Cognito that all tests of this process share. Each test creates a user pool
    /// of its own.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn emulator(&self) -> Result<Arc<Moto>> {
        let (reply, moto) = oneshot::channel();
        self.messages.send(Message::Emulator(reply)).ok().context("the pool has ended")?;
        moto.await.context("the pool has ended")?
    }
}

impl Lease {
    /// Has the control plane replaced when the lease ends. After a test that stores many megabytes,
    /// this takes less time than cleaning it.
    pub fn is_used_up(&mut self) {
        self.plane.as_mut().expect("it is there until the lease is dropped").reusable = false;
    }
}

impl Deref for Lease {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        &self.plane.as_ref().expect("it is there until the lease is dropped").cluster
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut ControlPlane {
        let plane = self.plane.as_mut().expect("it is there until the lease is dropped");
        plane.reusable = false;
        &mut plane.cluster
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(plane) = self.plane.take() {
            // If the pool has ended, the control plane is stopped here.
            let _ = self.messages.send(Message::Returned(plane));
        }
    }
}

/// The state of the pool, in its thread.
struct Owner {
    /// The maximum of `alive`.
    most: usize,
    /// Those that no test uses, the one that is idle longest first.
    idle: Vec<Plane>,
    /// The number of control planes: leased, idle, being started, cleaned or stopped.
    alive: usize,
    wanted: VecDeque<Wanted>,
    messages: UnboundedSender<Message>,
}

impl Owner {
    async fn serve(mut self, mut received: UnboundedReceiver<Message>) {
        let mut emulator = None;
        // The channel stays open, because `self` has a sender.
        while let Some(message) = received.recv().await {
            match message {
                Message::Wanted(wanted) => self.wanted.push_back(wanted),
                Message::Returned(plane) => self.clean(plane, None),
                Message::Ready(plane, wanted) => self.hand_over(plane, wanted),
                Message::Failed(problem, wanted) => {
                    self.alive -= 1;
                    // A test that was cancelled does not receive its lease; the same applies below.
                    let _ = wanted.reply.send(Err(problem));
                }
                Message::Ended => self.alive -= 1,
                Message::Emulator(reply) => {
                    let _ = reply.send(shared(&mut emulator).await);
                }
            }
            self.serve_the_next();
        }
    }

    /// Serves the waiting tests in their order.
    fn serve_the_next(&mut self) {
        while let Some(Wanted { options, .. }) = self.wanted.front() {
            let fitting = self.idle.iter().position(|plane| plane.cluster.options() == options);
            if let Some(fitting) = fitting {
                let plane = self.idle.remove(fitting);
                let wanted = self.wanted.pop_front();
                self.clean(plane, wanted);
            } else if self.alive < self.most {
                self.alive += 1;
                if let Some(wanted) = self.wanted.pop_front() {
                    self.start(wanted);
                }
            } else {
                if !self.idle.is_empty() {
                    // The next test is served when the one that was idle longest has stopped.
                    let other = self.idle.remove(0);
                    self.end(other);
                }
                return;
            }
        }
    }

    fn start(&self, wanted: Wanted) {
        let messages = self.messages.clone();
        spawn_local(async move {
            let message = match Plane::start(wanted.options.clone()).await {
                Ok(plane) => Message::Ready(plane, Some(wanted)),
                Err(problem) => Message::Failed(problem, wanted),
            };
            let _ = messages.send(message);
        });
    }

    /// Cleans a control plane when it returns, and again before the next lease: a write that was in
    /// flight may have arrived in between.
    fn clean(&self, mut plane: Plane, wanted: Option<Wanted>) {
        let messages = self.messages.clone();
        spawn_local(async move {
            let problem = if plane.reusable { plane.baseline.restore(&plane.cluster).await.err() } else { None };
            if plane.reusable && problem.is_none() {
                let _ = messages.send(Message::Ready(plane, wanted));
                return;
            }
            if let Some(problem) = problem {
                // A macro's output would be captured by libtest for one of the tests.
                let _ = writeln!(std::io::stderr(), "pool: a control plane is replaced: {problem:#}");
            }
            if let Some(wanted) = wanted {
                // This message is sent before `Ended`, which makes room for it.
                let _ = messages.send(Message::Wanted(wanted));
            }
            end(plane, &messages).await;
        });
    }

    fn hand_over(&mut self, plane: Plane, wanted: Option<Wanted>) {
        let unused = match wanted {
            Some(wanted) => wanted.reply.send(Ok(plane)).err().and_then(Result::ok),
            None => Some(plane),
        };
        self.idle.extend(unused);
    }

    fn end(&self, plane: Plane) {
        let messages = self.messages.clone();
        spawn_local(async move { end(plane, &messages).await });
    }
}

/// Stops a control plane, and reports it when its servers are gone.
async fn end(plane: Plane, messages: &UnboundedSender<Message>) {
    // A panic in this task was printed.
    let _ = tokio::task::spawn_blocking(|| drop(plane)).await;
    let _ = messages.send(Message::Ended);
}

impl Plane {
    async fn start(options: Options) -> Result<Self> {
        let reusable = options.is_common();
        let cluster = Box::new(ControlPlane::start(&Tools::locate().await?, options).await?);
        let baseline = if reusable { Baseline::of(&cluster).await? } else { Baseline::default() };
        Ok(Self { cluster, baseline, reusable })
    }
}

/// Returns the emulator, or a new one if it does not respond.
async fn shared(emulator: &mut Option<Arc<Moto>>) -> Result<Arc<Moto>> {
    if let Some(moto) = emulator
        && moto.is_alive().await
    {
        return Ok(Arc::clone(moto));
    }
    Ok(Arc::clone(emulator.insert(Arc::new(Moto::start(&Tools::locate().await?).await?))))
}
