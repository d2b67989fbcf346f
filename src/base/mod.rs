//! What every floor above stands on: time, chance, secrets, addresses, digests.

pub mod certificate;
pub mod digest;
pub mod gather;
pub mod net;
pub mod per_thread;
#[cfg(test)]
pub(crate) mod property;
pub mod random;
pub mod secret;
pub mod time;
