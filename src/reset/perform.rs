//! Acts on the steps that [`decide`] takes. Thin: what to do next is never decided here.

use jiff::Timestamp;

use super::{
    decide::{Step, decide},
    ledger::Identity,
    pass::Pass,
    performer::{Next, Performer},
    store::StoreError,
};
use crate::cognito::port::Cognito;

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
            match decide(&pass.known.situation, Timestamp::now()) {
                Step::Gather => pass.gather().await?,
                Step::AskBudget => pass.ask_budget(),
                Step::LoadCredentials => pass.load_credentials().await,
                Step::TakeSnapshot => pass.take_snapshot().await,
                Step::Claim => pass.claim().await?,
                Step::Send => pass.send().await,
                Step::Probe => pass.probe().await,
                Step::Settle(settlement) => pass.settle(settlement).await?,
                Step::Close(evidence) => pass.close(evidence).await?,
                Step::Remember(_) => pass.remember().await?,
                Step::Tell => {
                    if pass.tell_end().await? {
                        return Ok(pass.done());
                    }
                }
                Step::Wait { reason, until } => {
                    if let Some(next) = pass.wait(reason, until).await? {
                        return Ok(next);
                    }
                }
                Step::Leave => return Ok(pass.done()),
            }
        }
    }
}
