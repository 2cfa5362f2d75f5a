//! The testbed of the tests and the demonstration: a real control plane ([`ControlPlane`]), an
//! emulator of Cognito and STS ([`Moto`]), a proxy that injects faults and counts requests
//! ([`FaultProxy`]), and the operator among them ([`Operator`], started with the settings of
//! [`Deployment`]).
//!
//! Every server listens on 127.0.0.1, on ports of its own, and ends with the value that represents
//! it, also when a test panics or is killed.
#![forbid(unsafe_code)]

pub mod chaos;
mod connect_proxy;
mod control_plane;
mod deployment;
pub mod environment;
pub mod helm;
mod http_client;
mod kubectl;
mod moto;
mod node;
mod operator;
mod page;
mod pki;
mod pool;
mod port;
mod process;
mod prometheus;
mod proxy;
mod pseudo_terminal;
mod tls;
mod tools;
mod wait;

pub use connect_proxy::ConnectProxy;
pub use control_plane::{ControlPlane, Options};
pub use deployment::Deployment;
pub use kubectl::{Kubectl, KubectlResult};
pub use moto::{Cognito, Moto};
pub use node::Node;
pub use operator::{Operator, OperatorBuilder};
pub use page::{Fence, Page, Session};
pub use pool::{Lease, Pool};
pub use prometheus::{Prometheus, Series, Target};
pub use proxy::{Fault, FaultProxy, Held, Matcher, Pour, Recorded, Reply, ResetCount, Responder, Rule, Seen};
pub use pseudo_terminal::PseudoTerminal;
pub use tls::TlsFront;
pub use tools::Tools;
pub use wait::{Attempt, eventually};
