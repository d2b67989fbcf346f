//! Small writes in one piece: `send` costs the kernel less than `writev`, which has to look at a
//! list of pieces first. A head and a short body are cheaper copied together than listed.

use std::io::IoSlice;

/// Room for what is gathered.
pub type Room = [u8; GATHER_MAX_BYTES];

/// The bytes of these slices in one piece: the only one that is not empty, or all of them copied
/// into `room` if they fit there. `None` if they are several and too long.
pub fn gathered<'a>(slices: &'a [IoSlice<'_>], room: &'a mut Room) -> Option<&'a [u8]> {
    let mut filled = slices.iter().filter(|slice| !slice.is_empty());
    let first = filled.next()?;
    if filled.next().is_none() {
        return Some(first);
    }
    let mut end = 0;
    for slice in slices {
        room.get_mut(end..end + slice.len())?.copy_from_slice(slice);
        end += slice.len();
    }
    room.get(..end)
}

/// A head and a body of 1 KiB: what is longer is worth the list.
const GATHER_MAX_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_pieces_become_one_and_long_ones_stay() {
        let long = vec![b'x'; GATHER_MAX_BYTES];
        for (claim, pieces, expected) in [
            ("nothing", &[][..], None),
            ("one piece, however long", &[&long[..]], Some(long.len())),
            ("one piece among empty ones", &[&b""[..], &long, b""], Some(long.len())),
            ("head and body", &[&b"head"[..], b"body"], Some(8)),
            ("too much to copy", &[&long[..], b"x"], None),
        ] {
            let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut room = [0; GATHER_MAX_BYTES];
            let found = gathered(&slices, &mut room);
            assert_eq!(found.map(<[u8]>::len), expected, "{claim}");
            assert!(found.is_none_or(|bytes| bytes == pieces.concat()), "{claim}");
        }
    }
}
