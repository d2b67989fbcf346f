//! Arguments, then [`scopegate`], then an exit code.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Under load most allocations are small and short-lived and free on another thread than they
/// were made on; this allocator is made for that.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    scopegate::cli::main()
}
