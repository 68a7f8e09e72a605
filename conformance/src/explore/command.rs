//! The command `explore`: of the stand-alone runner, and of the reference implementation, which is its model.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use humantime::parse_duration;
use nix::libc;
use nix::unistd::{AccessFlags, access};

use super::call::{Call, Kind, Part, Piece};
use super::campaign::{Campaign, News, Summary};
use super::seen::{Observed, Seen};
use super::system::{System, watch};
use super::{Features, Finding, Fresh, Side};
use crate::adapters::json::{Adapter, START};
use crate::event::Identity;
use crate::isolate::set_apart;
use crate::port::Target;
use crate::port::capability::Capability;
use crate::spec::Profile;
use crate::text;
use crate::wire::genl::{self, CTRL_CMD_GETFAMILY, GENL_ID_CTRL};
use crate::wire::message::{Message, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE};

/// Arguments that say what to explore, and for how long.
#[derive(Debug, Clone, Args)]
pub struct ExploreArgs {
    /// Decides on the sequences [default: from the clock]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Number of the first sequence of the seed
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..1 << 62))]
    pub first: u64,
    /// Sequences to make
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..1 << 62))]
    pub sequences: u64,
    /// Begin no new sequence after this time, such as 10m
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    pub time: Option<Duration>,
    /// Stop after this many kinds of differences
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub differences: u64,
    /// Make calls of users only, none of kernel code
    #[arg(long)]
    pub users_only: bool,
    /// Keep a file of each difference in this folder, for --replay
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Make the calls of a file that was kept, instead of random ones
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "sequences", "first", "time"])]
    pub replay: Option<PathBuf>,
}

/// A time such as `10m`.
fn some_time(words: &str) -> Result<Duration, String> {
    match parse_duration(words) {
        Ok(Duration::ZERO) => Err("nothing can be made in no time".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(format!("{error}; a time is one such as 30s, 10m or 2h")),
    }
}

/// The targets of a command.
#[derive(Debug, Clone, Args)]
pub struct TargetArgs {
    /// Explore what this adapter gives access to, a command that speaks the protocol of docs/adapter.md, instead
    /// of this system
    #[arg(long, value_name = "COMMAND")]
    pub adapter: Option<String>,
    /// Explore this system in the network namespace that this process is in: for a guest where nothing else runs
    #[arg(long, conflicts_with = "adapter", hide = true)]
    pub here: bool,
}

/// A side, and what it is.
pub struct Explored {
    /// The side.
    pub side: Box<dyn Side>,
    /// What it offers.
    pub identity: Identity,
}

impl Explored {
    /// The system that this process runs on. Unless it may stay `here`, this process gets a network namespace of
    /// its own, where the connector is not.
    pub fn system(here: bool) -> Explored {
        set_apart(!here);
        let system = System::new();
        let mut identity = system.target().identity().clone();
        if !here {
            let fact = "only the initial network namespace has it (cn_init())";
            identity.capabilities.insert(Capability::Connector.to_string(), Some(fact.into()));
        }
        Explored { side: Box::new(system), identity }
    }

    /// What an adapter gives access to. Each sequence starts one.
    ///
    /// # Errors
    /// See [`Adapter::new`].
    pub fn adapter(command: &str) -> Result<Explored, String> {
        let argv: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let identity = Adapter::new(argv.clone(), START)?.identity().clone();
        let name = identity.title();
        let make = move || -> Box<dyn Target> {
            match Adapter::new(argv.clone(), START) {
                Ok(adapter) => Box::new(adapter),
                Err(why) => crate::port::Died::now(why),
            }
        };
        Ok(Explored { side: Box::new(Fresh { name, make }), identity })
    }

    /// A target that is made anew for each sequence, such as a model.
    pub fn fresh(name: &str, make: impl Fn() -> Box<dyn Target> + 'static) -> Explored {
        let identity = make().identity().clone();
        Explored { side: Box::new(Fresh { name: name.to_owned(), make }), identity }
    }
}

impl TargetArgs {
    /// What is to be explored.
    ///
    /// # Errors
    /// The adapter does not start.
    pub fn open(&self) -> Result<Explored, String> {
        self.adapter.as_deref().map_or_else(|| Ok(Explored::system(self.here)), Explored::adapter)
    }
}

/// Explores; returns whether no difference was found.
///
/// # Errors
/// A file cannot be read or written.
pub fn explore(
    args: &ExploreArgs,
    form: Form,
    mut one: Explored,
    mut other: Explored,
) -> Result<bool, String> {
    let profile = profile(&other.identity);
    if let Some(file) = &args.replay {
        return replay(file, &mut one, &mut other, profile, form);
    }
    let mut features = Features::of(&one.identity, &other.identity);
    let asks = asks_for_families();
    if ![&mut one.side, &mut other.side].into_iter().all(|side| lists_at_once(&side.observe(&asks, None))) {
        features = features.without_lists();
    }
    let campaign = Campaign {
        seed: args.seed(),
        first: args.first,
        sequences: args.sequences,
        time: args.time,
        differences: args.differences as usize,
        features: if args.users_only { features.of_users_only() } else { features },
    };
    args.prepare_keep()?;
    let (seed, at) = (campaign.seed, Arc::new(AtomicU64::new(campaign.first)));
    let number = at.clone();
    watch(move || format!("--seed {seed} --first {} --sequences 1", number.load(Relaxed)));
    let (mut failure, mut found) = (None, false);
    let summary = campaign.run(one.side.as_mut(), other.side.as_mut(), &mut |news| {
        if let News::Started { number, .. } = &news {
            at.store(*number, Relaxed);
        }
        found |= matches!(news, News::Found(_));
        if let Err(why) = tell(args, form, &news, profile) {
            failure.get_or_insert(why);
        }
    });
    if form == Form::Text {
        println!("{}", in_words(campaign.seed, &summary));
    }
    failure.map_or(Ok(!found), Err)
}

/// Asks for the list of families.
pub fn asks_for_families() -> Vec<Call> {
    let socket = 0;
    let request = Part::Message {
        kind: Kind::Number(GENL_ID_CTRL),
        flags: NLM_F_REQUEST | NLM_F_DUMP,
        seq: 1,
        portid: 0,
        payload: vec![Piece::Bytes(genl::header(CTRL_CMD_GETFAMILY, 2).to_vec())],
        claims: None,
    };
    vec![
        Call::Open { socket, kind: libc::SOCK_RAW, protocol: libc::NETLINK_GENERIC },
        Call::Send { socket, to: None, flags: 0, messages: vec![request] },
        Call::Receive { socket, room: 1 << 16, flags: 0 },
    ]
}

/// Whether one datagram, of what was shown when asked for it, holds all families and the end of the list.
pub fn lists_at_once(shown: &Observed) -> bool {
    let ends = |message: &Message| message.kind == NLMSG_DONE;
    // Nothing is received where there is no generic netlink, and no list either.
    match shown.seen.get(2) {
        Some(Seen::Received(list)) => Message::decode_all(&list.bytes).0.last().is_some_and(ends),
        _ => true,
    }
}

/// How a command shows what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// Each [`News`] as a line of JSON.
    Json,
}

impl ExploreArgs {
    /// The seed.
    pub fn seed(&self) -> u64 {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        self.seed.unwrap_or_else(clock)
    }

    /// Makes sure that differences can be kept, if that is asked for, before any is found.
    ///
    /// # Errors
    /// The folder cannot be made or written to.
    pub fn prepare_keep(&self) -> Result<(), String> {
        let Some(folder) = &self.keep else { return Ok(()) };
        let wrong = |error: io::Error| format!("cannot keep files in {}: {error}", folder.display());
        fs::create_dir_all(folder).map_err(wrong)?;
        access(folder, AccessFlags::W_OK).map_err(|errno| wrong(errno.into()))
    }

    /// Shows a difference to people, and keeps it if that is asked for.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn show(&self, finding: &Finding, profile: Profile) -> Result<(), String> {
        print!("{}", finding.explain(profile));
        match &self.keep {
            Some(folder) => println!("kept as {}\n", finding.keep(folder)?.display()),
            None => println!("--keep DIR keeps a file of it\n"),
        }
        Ok(())
    }

    /// Mentions a difference that did not show again, and keeps it if that is asked for.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn mention(&self, finding: &Finding) -> Result<(), String> {
        eprintln!("{}", finding.mention());
        self.keep.as_ref().map_or(Ok(()), |folder| finding.keep(folder).map(|_| ()))
    }
}

fn tell(args: &ExploreArgs, form: Form, news: &News, profile: Profile) -> Result<(), String> {
    match (form, news) {
        (Form::Json, news) => write_line(news),
        (Form::Text, News::Found(finding)) => args.show(finding, profile),
        (Form::Text, News::Unsteady(finding)) => args.mention(finding),
        (Form::Text, News::Cut { number, fact }) => {
            eprintln!("{}", cut_short(*number, fact));
            Ok(())
        }
        (Form::Text, _) => Ok(()),
    }
}

fn write_line(news: &News) -> Result<(), String> {
    let line = serde_json::to_string(news).map_err(|error| error.to_string())?;
    writeln!(std::io::stdout(), "{line}").map_err(|error| format!("writing: {error}"))
}

/// Makes the calls of each of the sequences in a file on one side, and writes what they show, as lines of JSON.
///
/// # Errors
/// The file is none of sequences.
pub fn observe_each(file: &Path, mut explored: Explored) -> Result<(), String> {
    let text = text::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let sequences: Vec<Vec<Call>> =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let of = file.display().to_string();
    watch(move || of.clone());
    for (number, calls) in (0..).zip(&sequences) {
        write_line(&News::Started { number, calls: calls.len() as u64 })?;
        write_line(&News::Observed { number, observed: explored.side.observe(calls, None) })?;
    }
    write_line(&News::Ended(Summary::default()))
}

/// [`News::Cut`] in one line.
pub fn cut_short(number: u64, fact: &str) -> String {
    format!("sequence {number} is compared only up to a call that one side cannot make: {fact}")
}

/// A campaign in one line.
pub fn in_words(seed: u64, summary: &Summary) -> String {
    let Summary { sequences, calls, differing, unsteady, cut, millis } = summary;
    let rate = sequences.saturating_mul(60_000) / (*millis).max(1);
    format!(
        "seed {seed}: {sequences} sequences of {calls} calls in {:.1} s ({rate} a minute), {differing} with a \
         difference ({unsteady} not again), {cut} cut short",
        *millis as f64 / 1000.0
    )
}

fn replay(
    file: &Path,
    one: &mut Explored,
    other: &mut Explored,
    profile: Profile,
    form: Form,
) -> Result<bool, String> {
    let kept = Finding::read(file)?;
    let sides = [one.side.name(), other.side.name()];
    let first = one.side.observe(&kept.calls, None);
    let second = other.side.observe(&kept.calls, Some(&first));
    let finding = Finding { sides, observed: Box::new([first, second]), ..kept };
    let same = finding.difference().is_none();
    match form {
        Form::Json => write_line(&News::Found(Box::new(finding)))?,
        Form::Text => print!("{}", finding.explain(profile)),
    }
    Ok(same)
}

/// The profile whose requirements are nearest.
pub fn profile(identity: &Identity) -> Profile {
    identity.version.parse().map_or_else(|_| Profile::newest(), Profile::nearest)
}
