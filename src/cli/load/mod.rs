//! `scopegate load`: from arguments to a plan, from a summary to results and an exit code.

mod arguments;
mod interrupt;
mod made;
mod output;
mod plan;
mod self_test;

use std::ops::ControlFlow;
use std::process::ExitCode;

use self::interrupt::Interrupt;
use super::{MISTAKE, NO, complain};
use crate::load::live::Live;
use crate::load::report::Report;
use crate::load::{self, LoadError, Plan, Summary, expect};

pub(super) use arguments::{LOAD_EXAMPLE, LoadArguments};

/// Runs it until it ends or Ctrl-C.
pub(super) fn load(arguments: &LoadArguments) -> ExitCode {
    if arguments.self_test {
        return self_test::self_test(arguments);
    }
    let plan = match plan::plan(arguments) {
        Ok(plan) => plan,
        Err(mistake) => {
            complain(&mistake);
            return ExitCode::from(MISTAKE);
        }
    };
    match drive(&plan) {
        Ok(summary) => conclude(arguments, &plan, &summary),
        Err(error) => {
            complain(&error);
            complain(&format!("  = {}", advice(&error)));
            ExitCode::from(NO)
        }
    }
}

/// Drives the target, tells how it stands meanwhile, and ends early on Ctrl-C.
pub(super) fn drive(plan: &Plan) -> Result<Summary, LoadError> {
    let (interrupt, mut live) = (Interrupt::listen(), Live::new());
    let summary = load::drive(plan, |progress| {
        live.tell(progress);
        if interrupt.came() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    live.end();
    summary
}

/// Writes the results where they were asked for, and answers with the expectations.
fn conclude(arguments: &LoadArguments, plan: &Plan, summary: &Summary) -> ExitCode {
    let verdicts = expect::judge(summary, &arguments.output.expect);
    let report = Report { plan, summary, verdicts };
    let written = output::write(&arguments.output, &report);
    let broken = report.verdicts.iter().filter(|verdict| !verdict.holds);
    let broken = broken.inspect(|verdict| complain(&format!("expected {verdict}"))).count();
    if summary.answers() == 0 {
        complain(&"no request was answered");
    }
    match written {
        Err(mistake) => {
            complain(&mistake);
            ExitCode::from(MISTAKE)
        }
        Ok(()) if broken > 0 || summary.answers() == 0 => ExitCode::from(NO),
        Ok(()) => ExitCode::SUCCESS,
    }
}

/// What to do about a run that could not begin.
const fn advice(error: &LoadError) -> &'static str {
    match error {
        LoadError::Unresolved(_) => "check the host in --url",
        LoadError::Unreachable(load::Failure::Tls, _) => {
            "name the certificate to trust with --ca, or measure without checking it: --insecure"
        }
        LoadError::Unreachable(..) => "start what listens there, or name another --url",
        LoadError::Trust(_) => "name a good certificate with --ca",
        LoadError::ProtocolNotAgreed => "add --http2, or leave it out",
        LoadError::Threads(_) => "name fewer --threads",
    }
}
