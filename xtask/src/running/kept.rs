//! How much of what guests send the lab keeps.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};

/// The most bytes, of all guests of a run together: reports, counters and findings are kept until its end, 100 KiB and
/// more of each case of the suite.
pub const MOST: usize = 256 << 20;

/// Bytes that were kept so far. Guests that run side by side share it.
#[derive(Debug, Default)]
pub struct Kept(AtomicUsize);

impl Kept {
    /// Counts these bytes of `what`.
    ///
    /// # Errors
    /// When there have been too many.
    pub fn take(&self, bytes: usize, what: &str) -> Result<()> {
        if self.0.fetch_add(bytes, Ordering::Relaxed) + bytes > MOST {
            bail!(
                "given up: more than {} MiB of {what} came from guests; the suite itself never sends that much",
                MOST >> 20
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_guests_send_has_an_end_for_all_of_them_together() {
        let kept = Kept::default();
        kept.take(MOST - 1, "reports").unwrap();
        kept.take(1, "counters").unwrap();
        let error = kept.take(1, "findings").unwrap_err().to_string();
        assert!(error.contains("256 MiB of findings"), "{error}");
    }
}
