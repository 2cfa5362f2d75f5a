//! The kubectl plugin against the real API server.

mod create;
mod explain;
mod installed;
mod manage;
mod watch;
