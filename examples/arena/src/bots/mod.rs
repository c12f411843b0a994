//! Computer players.
pub mod brain;
