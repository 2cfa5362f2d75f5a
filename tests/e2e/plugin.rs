//! The kubectl plugin against the real API server.

mod create;
mod doctor;
