//! The program as a process, against a stand-in for the API server.

mod cluster;
mod colour;
mod completion;
mod export;
mod standin;
