//! What the crates hand over, as the adapter's messages and ends.

use std::fmt::Debug;

use adapter::{Call, End, Message};
use futures::{Stream, StreamExt};
use genetlink::GenetlinkError;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};

pub fn failed(error: &GenetlinkError) -> End {
    match error {
        GenetlinkError::NetlinkError(error) => End::system(error),
        other => End::library(other),
    }
}

/// Tells the call of a message.
pub fn tell<T>(
    call: &Call,
    message: NetlinkMessage<T>,
    sender: Option<u32>,
    shown: fn(&T) -> Result<Message, String>,
) -> Result<(), End> {
    let header = message.header;
    let (kind, flags, seq) = (Some(header.message_type), Some(header.flags), Some(header.sequence_number));
    match &message.payload {
        NetlinkPayload::InnerMessage(inner) => {
            let shown = shown(inner).map_err(|words| End::Library { words })?;
            call.message(Message { kind, flags, seq, sender, ..shown });
        }
        NetlinkPayload::Error(error) if error.code.is_some() => return Err(End::errno(-error.raw_code())),
        NetlinkPayload::Overrun(_) => return Err(End::Overrun),
        _ => {}
    }
    Ok(())
}

pub async fn collect<T, E: Debug>(
    answer: impl Stream<Item = Result<NetlinkMessage<T>, E>>,
    shown: fn(&T) -> Result<Message, String>,
    call: &Call,
) -> Result<(), End> {
    let mut answer = std::pin::pin!(answer);
    let mut end = Ok(());
    while let Some(item) = answer.next().await {
        let told =
            item.map_err(|error| End::library(&error)).and_then(|message| tell(call, message, None, shown));
        end = told.and(end);
    }
    end
}
