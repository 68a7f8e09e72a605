//! The ways to be wrong, each a switch on the command line. They show that the scenarios can fail.

use std::sync::LazyLock;

/// Switches, and what the adapter then does.
const WAYS: &[(&str, &str)] = &[
    ("ack-comes-first", "fails a subscription to process events whose acknowledgement comes after an event"),
    ("ack-tlvs-are-there", "dies where NLM_F_ACK_TLVS is set and no TLV is there"),
    ("acks-are-data", "hands acknowledgements over as messages"),
    ("any-ack", "takes each process event without data for the answer to its own subscription"),
    ("any-done", "takes each NLMSG_DONE for the end of the oldest request"),
    ("any-error", "takes each NLMSG_ERROR for the answer to the oldest request"),
    ("any-sender", "does not look at the sender, nor show it"),
    ("any-seq", "takes whatever comes next for the answer to the oldest request"),
    ("attributes-backwards", "hands attributes over in reverse order"),
    ("attributes-by-type", "keeps the last attribute of each type"),
    ("cache-misses", "does not ask again for a family that was not there"),
    ("close-deafens-all", "ends with one handle what the others receive"),
    ("close-forgets", "leaves calls that wait without an end when their handle is closed"),
    ("close-waits", "lets a close wait for the next event"),
    ("deadline-restarts", "lets each message that comes put off the deadline of what waits"),
    ("deaf-after-enobufs", "receives nothing any more after ENOBUFS"),
    ("dies-at-dump-intr", "dies of NLM_F_DUMP_INTR"),
    ("done-comes-alone", "looks for NLMSG_DONE only at the start of a datagram"),
    ("done-drops-its-datagram", "throws away what comes in the datagram of NLMSG_DONE"),
    ("done-has-an-error", "dies of an NLMSG_DONE or NLMSG_ERROR without payload"),
    ("done-is-again", "takes an NLMSG_DONE with EAGAIN, EINTR or ENOBUFS for no end"),
    ("done-is-done", "takes type NLMSG_DONE for the end in connector messages, too"),
    ("drains-before-requests", "throws away what has come before it sends a request"),
    ("drop-empty", "drops an answer without attributes"),
    ("drop-events", "drops notifications while a request waits"),
    ("drop-failed", "throws away the messages that came before an error"),
    ("drop-interrupted", "throws away the messages of an interrupted dump"),
    ("drop-last-record", "throws away the last message of a dump"),
    ("dumps-have-data", "waits for a first message before it takes NLMSG_DONE for the end"),
    ("end-at-ack", "takes the acknowledgement for the end, though data is still to come"),
    ("eagain-is-no-end", "takes an NLMSG_ERROR with EAGAIN for a sign that nothing is there yet"),
    ("eintr-is-an-error", "fails a call when a signal interrupts it"),
    ("empty-attributes-end", "takes an attribute without payload for the end of the attributes"),
    ("enobufs-for-ever", "reports ENOBUFS again at each event"),
    ("enobufs-is-an-end", "takes ENOBUFS for the end of an answer"),
    ("enobufs-is-an-error", "reports ENOBUFS as any other error"),
    ("enobufs-is-no-end", "takes an NLMSG_ERROR with ENOBUFS for a notification that was lost"),
    ("errors-answer-acks", "takes NLMSG_ERROR for an answer only where it has asked for an acknowledgement"),
    ("events-are-replies", "hands notifications over as messages of the request that waits"),
    ("events-of-port-0", "drops a notification with a port ID in its header"),
    ("events-twice", "hands each notification over twice"),
    ("families-are-what-comes", "takes a notification that has come for the answer about a family"),
    ("few-attributes", "reads 32 attributes of a message"),
    ("first-message-only", "reads the first message of each datagram"),
    ("groups-by-nl_groups", "takes notifications by nl_groups of the source address, which ends at group 32"),
    ("ignore-capped", "looks for TLVs behind the whole request where it is capped"),
    ("ignore-done-error", "takes NLMSG_DONE for success"),
    ("ignore-dump-intr", "does not look at NLM_F_DUMP_INTR, nor show it"),
    ("ignore-enobufs", "goes on after ENOBUFS as if nothing had happened"),
    ("ignore-error", "takes NLMSG_ERROR for success"),
    ("ignore-ext-ack", "does not read extended acks"),
    ("ignore-group", "takes messages with the sequence number of a request for its answer, multicast or not"),
    ("ignore-send-errors", "does not look whether a request was sent"),
    ("joins-succeed", "does not look whether joining a group has failed"),
    ("keep-ids", "keeps the ID of a family when it is asked for again"),
    ("keep-nla-flags", "takes NLA_F_NESTED for a part of the attribute's type"),
    ("keeps-interruptions", "reports each dump after an interrupted one as interrupted"),
    ("keeps-records", "hands the messages of a failed dump over with those of the next one"),
    ("keeps-texts", "reports the text of the latest extended ack with errors that have none"),
    ("known-attributes", "dies of an attribute that it does not know"),
    ("known-commands", "dies of a command above 20"),
    ("known-errno", "takes an error that libc has no name for for success"),
    ("known-flags", "drops data with a flag that it does not know"),
    ("known-flags-of-done", "drops an NLMSG_DONE with a flag that it does not know"),
    ("known-flags-of-events", "drops a notification with a flag that it does not know"),
    ("known-process-events", "dies of a process event that is no fork, exec or exit"),
    ("known-tlvs", "dies of a TLV that it does not know"),
    ("last-attribute-is-padded", "drops a last attribute without padding"),
    ("latest-event-only", "keeps one notification that nobody has asked for yet, the latest"),
    ("leaks-sockets", "closes no socket"),
    ("leaves-all-groups", "leaves all groups when it leaves one"),
    ("lose-groups", "reads the first group of a family only"),
    ("messages-touch", "looks for the next message where nlmsg_len ends, without padding"),
    ("multi-until-done", "hands over a notification with NLM_F_MULTI when its NLMSG_DONE comes"),
    ("negative-errno", "reports the errno as the kernel sends it, negative"),
    ("no-ack-after-reply", "leaves the acknowledgement of a request that was answered to the next request"),
    ("no-deadline", "waits forever"),
    ("no-events", "never hands over an event"),
    ("no-family-id", "reads no ID of a family"),
    ("no-leave", "does not leave groups"),
    ("no-nested-flag", "sends nests without NLA_F_NESTED"),
    ("no-nests", "does not look into nests"),
    ("noop-is-data", "hands NLMSG_NOOP over"),
    ("numbers-are-floats", "reads a u64 as a floating-point number"),
    ("numbers-of-16-bits", "compares the lower halves of sequence numbers"),
    ("numbers-of-31-bits", "cuts the highest bit of a u32 off"),
    ("one-group", "leaves a group when it joins the next one"),
    ("one-reply", "takes the first message of an answer for all of it"),
    ("parts-have-no-errors", "takes NLMSG_ERROR for no end where parts of a reply have come"),
    ("parts-are-replies", "takes the first message of a reply in parts for all of it"),
    ("port-is-pid", "binds each socket to its process ID"),
    ("replies-have-the-command", "drops a reply with another command than the request's"),
    ("replies-to-pid", "takes for an answer only what is addressed to its process ID"),
    ("replies-twice", "hands each message of an answer over twice"),
    ("retry-for-ever", "repeats a dump until it is not interrupted"),
    ("same-seq", "sends each request with the same sequence number"),
    ("shallow-nests", "does not look into nests in nests"),
    ("short-requests", "cuts the attributes of a request off after 8192 bytes"),
    ("short-texts", "dies of a text of more than 200 bytes"),
    ("short-times", "takes the time of a process event for 32 bits"),
    ("small-buffer", "receives into 8192 bytes, and does not look at MSG_TRUNC"),
    ("stop-at-dump-intr", "leaves the rest of an interrupted dump to the next request"),
    ("stop-at-first-datagram", "takes the first datagram of a dump for all of it"),
    ("strict-seq", "fails a request when a message with another sequence number comes"),
    ("texts-have-letters", "dies of a text of no letters"),
    ("trust-attributes", "dies of an attribute with a length that cannot be"),
    ("trust-generic-headers", "dies of a message that is too short for a generic netlink header"),
    ("trust-headers", "dies of a datagram that is shorter than a header"),
    ("trust-lengths", "dies of a message with a length that cannot be"),
    ("type-0-ends", "takes an attribute of type 0 for the end of the attributes"),
    ("unaligned-tlvs", "looks for TLVs behind the request, without its padding"),
    ("waits-for-an-ack", "waits for an acknowledgement though it asked for none"),
    ("warnings-are-errors", "reports an extended ack on success as an error"),
    ("wide-is-aligned", "dies of a u64 that is not aligned to 8"),
    ("young-events-first", "hands over the youngest notification first"),
];

static CHOSEN: LazyLock<Vec<String>> = LazyLock::new(|| std::env::args().skip(1).collect());

/// Whether the adapter is to be wrong in this way.
pub fn broken(way: &str) -> bool {
    debug_assert!(WAYS.iter().any(|(known, _)| *known == way), "{way} is in no list");
    CHOSEN.iter().any(|chosen| chosen.strip_prefix("--") == Some(way))
}

/// Ends the program where a switch is unknown.
pub fn check_switches() {
    let known = |chosen: &String| WAYS.iter().any(|(way, _)| chosen.strip_prefix("--") == Some(*way));
    if let Some(unknown) = CHOSEN.iter().find(|chosen| !known(chosen)) {
        eprintln!(
            "raw: unknown switch {unknown}; a client adapter without a switch is right, with one it is wrong:"
        );
        for (way, what) in WAYS {
            eprintln!("  --{way:26} {what}");
        }
        std::process::exit(2);
    }
}
