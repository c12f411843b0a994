//! Being written.
#![allow(dead_code)]
mod limits;
mod matchmaking;
mod rooms;
mod rendezvous;
pub mod registry;
mod stun;
