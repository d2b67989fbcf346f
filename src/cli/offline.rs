//! A gateway without listeners, for commands that ask what it would do.

use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::complain;
use crate::base::time;
use crate::config::{self, Config};
use crate::gateway::Gateway;
use crate::oauth::Plaintext;

/// The configuration at `path`, or its mistakes as the user reads them.
pub(super) fn config(path: &Path) -> Result<Config, String> {
    let loaded = config::load(path, Plaintext::Refused).map_err(|problems| problems.to_string())?;
    Ok(loaded.config)
}

/// A gateway by this configuration, and what it runs on.
pub(super) fn gateway(config: Config) -> Result<(Runtime, Gateway), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("the system gives no runtime: {error}"))?;
    let gateway = Gateway::onlooker(config, runtime.handle().clone());
    Ok((runtime, gateway.map_err(|error| error.to_string())?))
}

/// Waits until keys and endpoints of the authorization servers are known, or for so long that a
/// caller would be refused for their absence too.
pub(super) async fn known(gateway: &Gateway) {
    let begun = time::instant();
    let mut is_told = false;
    while let Some(server) = gateway.unready_servers().next()
        && begun.elapsed() < KNOWN_WITHIN
    {
        if !is_told && TOLD_AFTER < begun.elapsed() {
            is_told = true;
            complain(&format_args!("waiting for the keys of {server} ..."));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

const KNOWN_WITHIN: Duration = Duration::from_secs(10);
const TOLD_AFTER: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(5);
