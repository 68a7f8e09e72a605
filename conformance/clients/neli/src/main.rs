//! neli, the crate.
//!
//! A handle is one `NlRouter`, which has no deadlines, but may be called by several threads. Multicasts are what it
//! iterates over, in a thread of their own. Extended acks are read as in neli's example extack.

mod messages;

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use adapter::{Call, End, Family, Greeting, Handle, Options, Question, serve};
use messages::{Generic, Item, asked, collect, failed, generic, item, raw};
use neli::consts::nl::NlmF;
use neli::consts::socket::NlFamily;
use neli::nl::NlPayload;
use neli::router::synchronous::NlRouter;
use neli::types::Buffer;
use neli::utils::Groups;

struct Router {
    router: Mutex<Option<Arc<NlRouter>>>,
    events: Mutex<Receiver<Item>>,
}

impl Router {
    /// The router, which a close takes away.
    fn router(&self) -> Result<Arc<NlRouter>, End> {
        self.router.lock().expect("nobody panics with it").clone().ok_or_else(|| End::library(&"closed"))
    }
}

impl Handle for Router {
    fn open(protocol: i32, options: &Options) -> Result<(Router, Vec<&'static str>), String> {
        let (router, mut multicasts) = NlRouter::connect(NlFamily::from(protocol), None, Groups::empty())
            .map_err(|error| error.to_string())?;
        if options.ext_ack {
            router.enable_ext_ack(true).map_err(|error| error.to_string())?;
        }
        let (sender, events) = channel();
        thread::spawn(move || {
            let mut next = || match protocol {
                16 => multicasts.next().map(|handed| item(handed, generic)),
                _ => multicasts.next_typed::<u16, Buffer>().map(|handed| item(handed, raw)),
            };
            while next().is_some_and(|event| sender.send(event).is_ok()) {}
        });
        let router = Mutex::new(Some(Arc::new(router)));
        Ok((Router { router, events: Mutex::new(events) }, options.among(&["cap_ack", "buffer"])))
    }

    fn resolve(&self, family: &str) -> Result<Family, End> {
        let id = self.router()?.resolve_genl_family(family).map_err(|error| failed(&error))?;
        Ok(Family { id, groups: None })
    }

    fn request(&self, question: &Question, call: &Call) -> Result<(), End> {
        let (router, flags) = (self.router()?, NlmF::from_bits_retain(question.flags()));
        if question.family.is_none() {
            let payload = NlPayload::Payload(Buffer::from(question.payload.clone()));
            let answer = router.send::<_, _, u16, Buffer>(question.kind, flags, payload);
            drop(router);
            return collect(answer, raw, call);
        }
        let payload = NlPayload::Payload(asked(question));
        let answer = router.send::<_, _, u16, Generic>(question.kind, flags, payload);
        // A close drops the last one, though the answer is still waited for.
        drop(router);
        collect(answer, generic, call)
    }

    fn set_membership(&self, group: u32, joins: bool) -> Result<(), End> {
        let (router, group) = (self.router()?, Groups::new_groups(&[group]));
        let set =
            if joins { router.add_mcast_membership(group) } else { router.drop_mcast_membership(group) };
        set.map_err(|error| failed(&error))
    }

    fn next_event(&self, call: &Call) -> Result<(), End> {
        // Its thread ends when the router has been dropped.
        let event = self.events.lock().expect("nobody panics with it").recv_timeout(call.left());
        event.unwrap_or(Err(End::Timeout))?.into_iter().for_each(|message| call.message(message));
        Ok(())
    }

    fn close(&self) {
        self.router.lock().expect("nobody panics with it").take();
    }
}

fn main() {
    serve::<Router>(&Greeting {
        name: "neli",
        version: "0.7.5",
        hidden: &["sender"],
        own_code: &["threads, for deadlines"],
        lacks: &[
            (
                "connector",
                Some(
                    "its router matches answers by sequence numbers, which those of the connector do not repeat",
                ),
            ),
            ("proc-events", Some("its router has none; they need its socket and a loop of the caller's")),
            ("warnings", Some("the extended ack of a success is not parsed")),
            ("options", Some("its router has no option for NETLINK_CAP_ACK")),
            ("receive-buffer", Some("its router does not pass on the size of its socket's buffer")),
        ],
    });
}
