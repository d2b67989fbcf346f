//! What holds for every value, held for many that are made up: for tests.

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

/// Runs `test` on [`CASES`] values, the same ones in every run. Where it panics, the smallest value
/// that was found to bring this on is told.
pub(crate) fn for_all<S: Strategy>(values: &S, test: impl Fn(S::Value))
where
    S::Value: Debug,
{
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(7),
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(values, |value| {
        test(value);
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, value)) => panic!("{why}\nby {value:#?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// Some tenths of a second where a case takes a tenth of a millisecond.
const CASES: u32 = 1_000;
