//! `cargo xtask cache`: lists and prunes the cache.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use humansize::{BINARY, format_size};

use super::Ended;
use crate::host::cache::{Cache, Listing};

/// Arguments of `cargo xtask cache`.
#[derive(Debug, Args)]
pub struct CacheArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Remove what is not in use
    Prune {
        /// Only what has not been used for this many days
        #[arg(
            long,
            value_name = "DAYS",
            required_unless_present = "all",
            value_parser = clap::value_parser!(u32).range(1..)
        )]
        older_than: Option<u32>,
        /// Everything
        #[arg(long, conflicts_with = "older_than")]
        all: bool,
    },
}

/// Lists the cache, or prunes it and lists what was removed.
pub fn cache(args: &CacheArgs) -> Result<Ended> {
    let cache = Cache::open()?;
    match args.action {
        None => {
            println!("{}", cache.root().display());
            show(&cache.list()?);
        }
        Some(Action::Prune { older_than, .. }) => {
            let days = u64::from(older_than.unwrap_or(0));
            let removed = cache.prune(Duration::from_secs(days * 24 * 60 * 60))?;
            show(&removed);
            let size: u64 = removed.iter().map(|listing| listing.size).sum();
            println!("removed {}", format_size(size, BINARY));
        }
    }
    Ok(Ended::Well)
}

fn show(listings: &[Listing]) {
    for listing in listings {
        let label = listing.label.as_deref().unwrap_or("unfinished");
        let idle = listing.used.elapsed().unwrap_or_default().as_secs();
        let idle = match idle / 3600 {
            0 => "now".to_owned(),
            hours @ 1..48 => format!("{hours} h ago"),
            hours => format!("{} days ago", hours / 24),
        };
        println!("{:<10} {:>10} {idle:>14} {label}", listing.kind, format_size(listing.size, BINARY));
    }
}
