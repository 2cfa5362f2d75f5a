//! What the tests and the demonstration run against: a real control plane ([`ControlPlane`]), an emulator of Cognito and
//! STS ([`Moto`]), a proxy that breaks things and counts ([`FaultProxy`]), and the operator among them ([`Operator`],
//! started as [`Deployment`] says).
//!
//! Everything listens on 127.0.0.1, on ports of its own, and ends with the value that stands for it, also when a test
//! panics or is killed.
#![forbid(unsafe_code)]

pub mod campaign;
mod connect_proxy;
mod control_plane;
mod deployment;
pub mod environment;
mod http_client;
mod kubectl;
mod moto;
mod operator;
mod pki;
mod pool;
mod process;
mod proxy;
mod tls;
mod tools;
mod wait;

pub use connect_proxy::ConnectProxy;
pub use control_plane::{ControlPlane, Options};
pub use deployment::Deployment;
pub use kubectl::{Kubectl, KubectlResult};
pub use moto::{Cognito, Moto};
pub use operator::{Operator, OperatorBuilder};
pub use pool::{Lease, Pool};
pub use proxy::{Fault, FaultProxy, Held, Matcher, Pour, Recorded, Reply, ResetCount, Rule, Seen};
pub use tls::TlsFront;
pub use tools::Tools;
pub use wait::{Attempt, eventually};
