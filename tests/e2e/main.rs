//! The operator among real servers, one module for each capability.
//!
//! Each test leases a control plane from [`testbed::Pool`] and creates a user pool of its own, so
//! that no test depends on another. Any test runs by its name alone: `cargo test --workspace --test
//! e2e NAME`.
#![allow(clippy::indexing_slicing, reason = "of JSON, which returns null")]

mod accepted_values;
mod approval;
mod at_most_once;
mod audit;
mod aws;
mod aws_responses;
mod book;
mod broken_installations;
mod chart;
mod confirmation;
mod crds;
mod etcd_restore;
mod gitops;
mod hardening;
mod holds;
mod iam;
mod identity;
mod image;
mod invalid_objects;
mod lease;
mod logs;
mod malicious_input;
mod network;
mod observability;
mod one_user;
mod permissions;
mod plugin;
mod preconditions;
mod privacy;
mod recovery;
mod refused_writes;
mod retention;
mod retention_load;
mod sequences;
mod skew;
mod startup;
mod turns;
mod two_people;
mod upgrade;
mod user_state_source;
mod watch_namespaces;
