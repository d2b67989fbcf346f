//! Chance, for what is to be spread or fresh: nothing that is secret.

use aws_lc_rs::rand;

/// A random byte, or zero where the system has none: what it spreads then happens at once, which
/// is a load and no fault.
pub fn byte() -> u8 {
    let mut byte = [0];
    let filled = rand::fill(&mut byte);
    let [byte] = byte;
    if filled.is_ok() { byte } else { 0 }
}

/// Sixteen random bytes; `None` where the system has none.
pub fn nonce() -> Option<[u8; 16]> {
    let mut nonce = [0; 16];
    rand::fill(&mut nonce).ok().map(|()| nonce)
}
