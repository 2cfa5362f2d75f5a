//! Acts on the steps that [`decide`] takes. Thin: what to do next is never decided here.

use cognito_reset_core::{
    action::port::Cognito,
    ledger::Identity,
    machine::decide::{Step, decide},
    panics::caught,
};
use jiff::Timestamp;

use crate::{
    controllers::request::{
        pass::Pass,
        performer::{Next, Performer},
    },
    kube::store::StoreError,
};

impl<C: Cognito> Performer<C> {
    /// Takes a request, or a record whose request is gone, as far as it goes at present.
    ///
    /// # Errors
    /// Where the API server does not answer or refuses; the caller tries again later. No error
    /// leaves a claim of this pass behind: from the claim to the record of its effect there is none.
    pub async fn run(&self, identity: Identity) -> Result<Next, StoreError> {
        let inside = self.turnstile.enter(&identity);
        let mut pass = Pass::new(self, identity, inside.is_none());
        loop {
            let step = decide(&pass.known.situation, Timestamp::now());
            match caught(pass.take(step)).await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(next))) => return Ok(next),
                Ok(Err(error)) => return Err(error),
                // What was claimed and surely not sent is settled as that.
                Err(panicked) => {
                    if !pass.known.give_back() {
                        return Err(panicked.into());
                    }
                }
            }
        }
    }
}

impl<C: Cognito> Pass<'_, C> {
    /// Takes one step; `Some` where it was the last one.
    async fn take(&mut self, step: Step) -> Result<Option<Next>, StoreError> {
        match step {
            Step::Gather => self.gather().await?,
            Step::AskBudget => self.ask_budget(),
            Step::LoadCredentials => self.load_credentials().await,
            Step::TakeSnapshot => self.take_snapshot().await,
            Step::Claim => self.claim().await?,
            Step::Send => self.send().await,
            Step::Probe => self.probe().await,
            Step::Settle(settlement) => self.settle(settlement).await?,
            Step::Close(evidence) => self.close(evidence).await?,
            Step::Remember(_) => self.remember().await?,
            Step::Tell => return Ok(self.tell_end().await?.then(|| self.done())),
            Step::Wait { reason, until } => return self.wait(reason, until).await,
            Step::Leave => return Ok(Some(self.done())),
        }
        Ok(None)
    }
}
