//! Modules that a call requests.

use std::time::{Duration, Instant};

use super::bus::WAIT;
use super::threads::joined;
use crate::outcome::{Failure, Outcome};
use crate::port::ModuleRequests;

/// How often to check whether a call has returned without a module being requested.
const GLANCE: Duration = Duration::from_millis(2);

/// Makes a call. If it requests a module, does something `meanwhile`, then refuses the module. Returns what
/// the call returned, and whether a module was requested.
///
/// # Errors
/// That of `meanwhile`.
pub fn while_requesting<T: Send>(
    requests: &dyn ModuleRequests,
    call: impl FnOnce() -> T + Send,
    meanwhile: impl FnOnce() -> Outcome,
) -> Result<(T, bool), Failure> {
    let mut meanwhile = Some(meanwhile);
    let deadline = Instant::now() + WAIT;
    std::thread::scope(|scope| {
        // The caller waits for the module.
        let call = scope.spawn(call);
        let mut result = Ok(());
        while !call.is_finished() && Instant::now() < deadline {
            if !requests.wait(GLANCE) {
                continue;
            }
            result = meanwhile.take().map_or(Ok(()), |meanwhile| meanwhile());
            break;
        }
        requests.refuse()?;
        let returned = joined(call);
        result.map(|()| (returned, meanwhile.is_none()))
    })
}
