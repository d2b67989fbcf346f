//! Chance, for what is only to be spread: nothing that is secret or must be unique.

use aws_lc_rs::rand;

/// A random byte, or zero where the system has none: what it spreads then happens at once, which
/// is a load and no fault.
pub fn byte() -> u8 {
    let mut byte = [0];
    let filled = rand::fill(&mut byte);
    let [byte] = byte;
    if filled.is_ok() { byte } else { 0 }
}
