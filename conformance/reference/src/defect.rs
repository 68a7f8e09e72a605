//! Deliberate defects. The suite tests itself with them: each case must fail on some bus with a defect
//! (tests/defects.rs). A real implementation needs none of this.

use nlconform::wire::attr::Attrs;

use super::kernel::Kernel;
use super::message::ExtAck;

macro_rules! defects {
    ($($name:ident: $what:literal,)+) => {
        /// One defect of a bus.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Defect {
            $(#[doc = $what] $name,)+
        }

        impl Defect {
            /// All of them.
            pub const ALL: &[Defect] = &[$(Defect::$name),+];

            /// The one of this name.
            ///
            /// # Errors
            /// There is none.
            pub fn named(name: &str) -> Result<Defect, String> {
                match name {
                    $(stringify!($name) => Ok(Defect::$name),)+
                    _ => Err(format!("there is no defect {name}; try one of {:?}", Defect::ALL)),
                }
            }
        }
    };
}

defects! {
    AckMissing: "Success is not acknowledged.",
    AckUnrequested: "Success is acknowledged without NLM_F_ACK.",
    AckWithoutPort: "An acknowledgement has port ID 0.",
    AckWithoutSequence: "An acknowledgement has sequence number 0.",
    AlwaysInterrupted: "Each message of a dump has NLM_F_DUMP_INTR.",
    AlwaysLiberal: "Attributes are validated as before Linux 5.2.",
    AlwaysListeners: "Each group has listeners.",
    AlwaysReadable: "poll() always reports POLLIN.",
    AlwaysStrict: "Attributes are validated strictly whatever the command's flags.",
    AnnouncementsNumbered: "The controller's announcements have sequence number 1.",
    AnswerFlagsLost: "A dump's answer_flags are not sent.",
    AnyAddressFamily: "The family of an address is not checked.",
    AnyDepth: "Nests may be nested to any depth.",
    AnyGroup: "Groups that do not exist are accepted.",
    AnyProtocol: "Any protocol can be opened.",
    AnyRoom: "getsockopt() of a boolean option accepts any length.",
    AnySize: "A datagram may be larger than the send buffer.",
    AnySocketType: "Any socket type can be opened.",
    AnythingIsRequest: "Messages without NLM_F_REQUEST are dispatched.",
    AttributesUnvalidated: "Attributes are not validated.",
    AutobindForgotten: "Neither send() nor connect() assigns a port ID.",
    BindErrorIgnored: "bind() ignores the error of a protocol's bind callback.",
    BoundsUnchecked: "Values, masks and functions of policies are not checked.",
    BufferMisreported: "SO_RCVBUF reports the largest number, whatever was set.",
    BusyForEver: "A dump that has ended still occupies the socket.",
    CallErrno: "System calls fail with EPROTO.",
    CapAckIgnored: "NETLINK_CAP_ACK does nothing.",
    CappedFlagMissing: "NLM_F_CAPPED is not set.",
    CommandFlagsUnreported: "The flags of commands are reported as 0.",
    CommandsUnchecked: "The command arrays of a family are not checked.",
    CongestionStays: "NETLINK_NO_ENOBUFS does not end congestion.",
    ConnectedHearsAll: "A connected socket accepts unicasts from any sender.",
    ControlTypesDispatched: "Message types below NLMSG_MIN_TYPE are dispatched.",
    CookieLost: "Cookies are not sent.",
    CopyAlwaysCapped: "An error never has the whole request.",
    CopyWithoutSequence: "The copy of the request's header lacks the sequence number.",
    DatagramsSplit: "Each message of a datagram from the kernel arrives alone.",
    DoneAlwaysZero: "NLMSG_DONE holds 0 whatever dumpit() returned.",
    DoneForgottenOnClose: "done() is not called when the socket is closed.",
    DoneMissing: "A dump ends without NLMSG_DONE.",
    DoneTwice: "done() is called twice.",
    DoneWithoutMulti: "NLMSG_DONE lacks NLM_F_MULTI.",
    DumpAcknowledged: "A dump is also acknowledged.",
    DumpNeverStarts: "A dump is accepted and never starts.",
    DuplicateNames: "A name can be registered twice.",
    EchoIgnored: "NLM_F_ECHO does nothing.",
    EchoTwice: "A requester that is a member gets its echo twice.",
    EmptyQueueIsLimited: "An empty queue accepts no more than its buffer.",
    EndedDumpUnreported: "A receive that finds no dump to continue reports nothing.",
    ErrorEndsBatch: "An error ends the datagram.",
    ErrorErrno: "Requests fail with EPROTO.",
    ErrorOnlyIfRequested: "An error is not reported without NLM_F_ACK.",
    ErrorStays: "The error of a socket is reported again and again.",
    EverythingNeedsPrivilege: "Every use of groups and connect() needs a capability.",
    ExclusionIgnored: "A multicast reaches its sender and the excluded port.",
    ExemptionsRefused: "No command may be exempt from validation.",
    ExtAckUnrequested: "Extended acknowledgements are sent without NETLINK_EXT_ACK.",
    FamilyCallbacksForgotten: "bind() and unbind() of families are not called.",
    FamilyHoldsModule: "Each family holds its module.",
    FewGroups: "A protocol has no more groups than it asked for.",
    FilterIgnored: "The filter of a multicast does nothing.",
    FirstAttributeOnly: "Only the first attribute is looked at.",
    FirstInstanceCounts: "If an attribute occurs twice, the first one counts.",
    FullBufferEndsDump: "EMSGSIZE with data in the buffer ends a dump.",
    FullLengthUnreported: "MSG_TRUNC does not return the whole length.",
    GroupIdsShifted: "The global IDs of groups are reported one too high.",
    GroupIgnored: "A multicast reaches members of other groups, and sockets without any.",
    GroupNamesUnchecked: "Groups may have any name.",
    GroupNamesUnique: "Groups of one name are refused.",
    GroupReportedUnrequested: "The group is reported without NETLINK_PKTINFO.",
    GroupsNotReused: "The global IDs of groups are not reused.",
    GroupsOffByOne: "NETLINK_ADD_MEMBERSHIP joins the next group.",
    GroupsUnreported: "The controller does not report the groups of a family.",
    GroupUnreported: "Neither the address nor NETLINK_PKTINFO reports the group.",
    HeadersTooLarge: "Headers need a byte more than they have.",
    HighestGroupUsed: "Of several groups in an address the highest is used.",
    IdAsRequested: "A family gets the ID that it asks for, or is refused.",
    IdReportedFirst: "The controller reports ID and name in this order.",
    IdsEndEarly: "IDs end at 1000.",
    IdsReused: "The lowest free ID is allocated.",
    IdsStartEarly: "IDs are allocated from 17 on.",
    InterruptionUnreported: "NLM_F_DUMP_INTR is not set.",
    JoinIgnored: "NETLINK_ADD_MEMBERSHIP does nothing.",
    JoinUntold: "NETLINK_ADD_MEMBERSHIP does not call the protocol's bind().",
    LeaveIgnored: "NETLINK_DROP_MEMBERSHIP does nothing.",
    LeaveNeedsMembership: "Only a member can leave a group.",
    LeftoverAccepted: "Bytes after the last attribute are accepted.",
    LengthsUnchecked: "Integers may have any length.",
    LengthUnreported: "getsockopt() reports the given length, getsockname() none.",
    LongAddressRefused: "An address may not be longer than a sockaddr_nl.",
    LongLengthAccepted: "nlmsg_len may exceed the datagram.",
    LongMessages: "Formatted messages are not truncated.",
    LossUnreported: "NETLINK_BROADCAST_ERROR does nothing.",
    MaskIgnored: "bind() joins no groups.",
    MemberNotBoundAgain: "bind() of a protocol is not called for a member.",
    MembershipsOutlive: "Memberships outlive the family.",
    MessageLost: "Messages are not sent.",
    MinimumIgnored: "min_dump_alloc does nothing.",
    MissingLost: "Missing attributes are not reported.",
    ModuleHeldForEver: "References to modules are never dropped.",
    ModuleNotHeld: "Nothing holds a module.",
    MulticastLost: "Multicasts do not arrive.",
    MulticastToOne: "A multicast reaches one member only.",
    NamesIgnoreCase: "Names that differ in case are the same.",
    NamesNeverFree: "A name can be registered once.",
    NameWithoutGroups: "getsockname() shows no groups.",
    NestedFlagUnchecked: "NLA_F_NESTED is ignored.",
    NestsUnchecked: "The contents of a nest are not validated.",
    NobodyIsSuccess: "A multicast without receivers succeeds.",
    NoCongestion: "An overrun does not stop later deliveries.",
    NothingAnnounced: "The controller announces nothing.",
    NothingReserved: "No ID and no group is reserved.",
    NotificationsUnnumbered: "Multicasts of families have sequence number 0.",
    NsidUnreadable: "NETLINK_LISTEN_ALL_NSID cannot be read.",
    OfferIgnored: "The buffer that a receive offered does not affect dumps.",
    OffsetLost: "Offsets are not sent.",
    OffsetOfSuccess: "Success has an offset, too.",
    OffsetShifted: "Offsets are counted from after the nlmsghdr.",
    OneBitIsDump: "One bit of NLM_F_DUMP requests a dump.",
    OptionsStick: "Options cannot be turned off.",
    OverrunEmptiesQueue: "An overrun discards the queue.",
    OverrunSilent: "An overrun is not reported.",
    OwnHeaderUnaligned: "Attributes start immediately after the family's own header.",
    PaddingNotSkipped: "The next message starts immediately after the one before.",
    ParallelIsSerial: "parallel_ops does nothing.",
    PeekStallsDump: "A peek does not continue a dump.",
    PeekTakes: "MSG_PEEK takes the datagram.",
    PeerShifted: "getpeername() reports the next port ID.",
    PolicyLost: "The violated policy is not reported.",
    PolicyOfLastUnreported: "The policy of the last attribute is not reported.",
    PortChosenTwice: "Sockets that let the bus choose share a port ID.",
    PortIgnored: "bind() chooses the port ID whatever is requested.",
    PortKeptAfterClose: "The port ID of a closed socket stays in use.",
    PortPerSend: "Each send chooses a port ID.",
    PortsLow: "Port IDs are chosen from 1 on.",
    PortsOfAllProtocols: "All protocols share their port IDs.",
    PortsShared: "A port ID can be bound twice.",
    PositiveIsSuccess: "A positive return value of a handler is success.",
    PostDoitForgotten: "post_doit() is not called.",
    PreDoitIgnored: "The return value of pre_doit() is ignored.",
    PrivilegesUnchecked: "No capability is required.",
    ProtocolsStay: "A protocol outlives its kernel socket.",
    ProtocolsUnchecked: "Any protocol can be created.",
    ProviderErrno: "Calls of kernel code fail with EPROTO.",
    QueueUnlimited: "Receive buffers are unlimited.",
    RebindAllowed: "A bound socket can be bound to another port ID.",
    RecordLost: "The record that did not fit is left out.",
    RecordsWithoutMulti: "Messages of a dump lack NLM_F_MULTI.",
    RegistrationDoesNotWait: "Registrations do not wait for requests.",
    ReleaseNotNotified: "The release of sockets is not notified.",
    ReplyWithoutSequence: "Replies have sequence number 0.",
    ReservedAlwaysChecked: "Reserved bits are refused below resv_start_op, too.",
    ReservedIgnored: "Reserved bits are accepted from resv_start_op on.",
    RoomUnchecked: "Headers need no room.",
    SecondBindAdds: "A second bind() keeps the groups of the first.",
    SecondDumpReplaces: "A second dump replaces the first.",
    SenderUnreported: "The sender's address has port ID 0.",
    SendNeverWaits: "Sending to a full socket fails at once.",
    SentAsController: "What kernel code sends for a family has the controller's ID.",
    SerialIsParallel: "Requests to families without parallel_ops are handled concurrently.",
    ShortAddressAccepted: "An address may be shorter than a sockaddr_nl.",
    ShortHeadersAccepted: "A request may be shorter than its headers.",
    ShortLengthAccepted: "nlmsg_len may be less than the header.",
    SplitPairsRefused: "No command may have two entries.",
    StrictCheckLate: "NETLINK_GET_STRICT_CHK affects a running dump.",
    StrictCheckLost: "NETLINK_GET_STRICT_CHK does nothing.",
    SuccessCopiesAll: "An acknowledgement of success has the whole request.",
    TlvFlagAlways: "NLM_F_ACK_TLVS is set without attributes.",
    TlvFlagMissing: "NLM_F_ACK_TLVS is not set.",
    TruncationUnreported: "MSG_TRUNC is not set.",
    TypeWrong: "SO_TYPE reports the other type.",
    UnbindForgotten: "unbind() of protocols is not called.",
    UnboundReleaseNotified: "The release of unbound sockets is notified, too.",
    UnknownAttributesAccepted: "Attributes beyond the policy are accepted.",
    UnregistrationUnbinds: "unbind() is called when the family is unregistered.",
    UnspecBinds: "connect(AF_UNSPEC) assigns a port ID.",
    UnspecifiedAccepted: "Attributes for which the policy has no entry are accepted.",
    ValueFromTheEnd: "The value of an option is its last 4 bytes.",
    VersionTruncated: "The controller reports 8 bits of a version.",
    WrongKeyCounts: "If both name and ID are given, the wrong one counts.",
}

impl Kernel {
    /// The attributes of an extended acknowledgement, less what the defect drops.
    pub fn spoil_tlvs(&self, extack: &ExtAck, status: i32) -> Attrs {
        let keep = |defect| !self.has(defect);
        let shift = if keep(Defect::OffsetShifted) { 0 } else { 16 };
        let reported = ExtAck {
            text: extack.text.clone().filter(|_| keep(Defect::MessageLost)),
            bad_attr: extack.bad_attr.filter(|_| keep(Defect::OffsetLost)).map(|at| at - shift),
            policy: extack.policy.clone().filter(|_| keep(Defect::PolicyLost)),
            cookie: extack.cookie.filter(|_| keep(Defect::CookieLost)),
            miss_type: extack.miss_type.filter(|_| keep(Defect::MissingLost)),
            miss_nest: extack.miss_nest.filter(|_| keep(Defect::MissingLost)).map(|at| at - shift),
        };
        reported.tlvs(self.setup, if keep(Defect::OffsetOfSuccess) { status } else { status.min(-1) })
    }
}
