//! Reads the user before the claim, and after a call without a clear response.

use cognito_reset_api::{UserStatus, conditions::WaitReason};

use crate::{
    action::port::{ReadError, SessionFailure, User},
    ledger,
    machine::{
        At, BUSY_WAIT, Command, Machine, Note, Phase,
        state::{Credentials, ReadReason, Request, Snapshot},
    },
};

/// The maximum number of times that the pause between two probes is doubled.
const MOST_DOUBLINGS: u32 = 8;

impl<S: Clone> Machine<S> {
    /// Reads the user before the claim, by this command.
    pub(super) fn take_snapshot(&mut self, read: impl FnOnce(S) -> Command<S>) -> Option<Command<S>> {
        let Some(session) = self.session.clone() else {
            self.facts.state.credentials = Credentials::NotLoaded;
            return None;
        };
        self.phase = Phase::TakingSnapshot;
        Some(read(session))
    }

    pub(super) fn snapshot(&mut self, read: Result<User, ReadError>, at: At<'_>) -> Option<Command<S>> {
        match read {
            Ok(user) => {
                let unknown = user.status == UserStatus::Unknown;
                self.missing = unknown.then(|| "Cognito returned no known state".to_owned());
                self.facts.snapshot(Ok(user), self.slowly(at));
            }
            Err(error) if error.refuses_credentials() && !self.credentials_reloaded => {
                self.notes.push(Note::UserUnreadable(error));
                self.credentials_reloaded = true;
                self.session = None;
                self.facts.state.credentials = Credentials::NotLoaded;
            }
            Err(error) => {
                self.missing = Some(error.word().to_owned());
                self.facts.snapshot(Err(&error), self.slowly(at));
                self.notes.push(Note::UserUnreadable(error));
                let needed = |request: &Request| matches!(request, Request::Pending(it) if it.needs_user());
                match self.facts.state.before {
                    Snapshot::NoResponse { reason: reason @ ReadReason::Unreachable, .. } => {
                        self.unavailable(reason.into())
                    }
                    _ if needed(&self.facts.state.request) => self.unavailable(WaitReason::UserStateUnreadable),
                    _ => {}
                }
            }
        }
        None
    }

    /// Waits for the reconcile that works on the same user, by the same or another spelling. The
    /// user is read again afterwards, because that reconcile may change the state.
    pub(super) fn user_is_busy(&mut self, at: At<'_>) -> Option<Command<S>> {
        self.facts.state.user_busy = Some(at.after(BUSY_WAIT));
        None
    }

    /// Begins a probe: the first one at once, each further one after a pause.
    pub(super) fn probe(&mut self) -> Option<Command<S>> {
        let Some(doublings) = self.probed.checked_sub(1) else { return self.probe_now() };
        self.phase = Phase::BetweenProbes;
        Some(Command::Sleep(self.settings.probe_pause.saturating_mul(1 << doublings.min(MOST_DOUBLINGS))))
    }

    pub(super) fn probe_now(&mut self) -> Option<Command<S>> {
        self.probed = self.probed.saturating_add(1);
        if let Some(session) = self.session.clone() {
            return Some(self.read_user_again(session));
        }
        let Some(access) = self.access_of_attempt() else {
            self.facts.probed(None);
            return None;
        };
        self.phase = Phase::LoadingProbeCredentials;
        Some(Command::LoadCredentials(access))
    }

    fn read_user_again(&mut self, session: S) -> Command<S> {
        self.phase = Phase::Probing;
        let last = self.facts.record.as_deref().and_then(ledger::last);
        Command::GetUser { session, after: last.map(|last| last.id.clone()) }
    }

    pub(super) fn probe_credentials(&mut self, loaded: Result<S, SessionFailure>) -> Option<Command<S>> {
        match loaded {
            Ok(session) => {
                self.session = Some(session.clone());
                Some(self.read_user_again(session))
            }
            Err(failure) => {
                let role = self.access_of_attempt().is_some_and(|access| access.role.is_some());
                self.note_credentials(failure, role);
                self.facts.probed(None);
                None
            }
        }
    }

    pub(super) fn probed(&mut self, read: Result<User, ReadError>) -> Option<Command<S>> {
        let seen = match read {
            Ok(user) if self.facts.may_be_of_the_record(&user) => Some(user.status),
            // Another user has the name or alias by now, and that user's state shows nothing.
            Ok(_) => None,
            Err(error) => {
                if error.refuses_credentials() {
                    self.session = None;
                }
                self.notes.push(Note::UserUnreadable(error));
                None
            }
        };
        self.facts.probed(seen);
        None
    }
}
