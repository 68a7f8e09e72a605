//! Ways to be wrong. The suite tests itself with them: each case must fail on some bus that has one
//! (conformance/tests/defects.rs). An implementation of one's own needs none of this.

use nlconform::wire::attr::Attrs;

use super::kernel::Kernel;
use super::message::ExtAck;

macro_rules! defects {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// One thing that is wrong with a bus.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Defect {
            $($(#[$doc])* $name,)+
        }

        impl Defect {
            /// All of them.
            pub const ALL: &[Defect] = &[$(Defect::$name),+];
        }
    };
}

defects! {
    /// Success is not acknowledged.
    AckMissing,
    /// Success is acknowledged though nobody asked.
    AckUnasked,
    /// An acknowledgement has port ID 0.
    AckWithoutPort,
    /// An acknowledgement has sequence number 0.
    AckWithoutSequence,
    /// Each message of a dump says that it was interrupted.
    AlwaysInterrupted,
    /// Attributes are validated as before Linux 5.2.
    AlwaysLiberal,
    /// Each group has listeners.
    AlwaysListeners,
    /// poll() says that there is something.
    AlwaysReadable,
    /// Attributes are validated strictly whatever the command says.
    AlwaysStrict,
    /// The controller's announcements have sequence number 1.
    AnnouncementsNumbered,
    /// A dump's answer_flags are not sent.
    AnswerFlagsLost,
    /// The family of an address is not looked at.
    AnyAddressFamily,
    /// Nests may be as deep as they like.
    AnyDepth,
    /// Groups that do not exist are accepted.
    AnyGroup,
    /// Each protocol can be opened.
    AnyProtocol,
    /// getsockopt() of a switch takes any length.
    AnyRoom,
    /// A datagram may be larger than the send buffer.
    AnySize,
    /// Each type of socket can be opened.
    AnySocketType,
    /// What has no NLM_F_REQUEST is dispatched.
    AnythingIsRequest,
    /// What is wrong with attributes does not matter.
    AttributesUnvalidated,
    /// Neither send() nor connect() bind a socket.
    AutobindForgotten,
    /// What a protocol's bind() says does not matter to bind().
    BindErrorIgnored,
    /// Values, masks and functions of policies are not checked.
    BoundsUnchecked,
    /// A dump that has ended keeps the socket.
    BusyForEver,
    /// System calls fail with EPROTO.
    CallErrno,
    /// NETLINK_CAP_ACK does nothing.
    CapAckIgnored,
    /// NLM_F_CAPPED is not set.
    CappedFlagMissing,
    /// The flags of commands are told as 0.
    CommandFlagsUntold,
    /// The command arrays of a family are not checked.
    CommandsUnchecked,
    /// NETLINK_NO_ENOBUFS does not end a congestion.
    CongestionStays,
    /// A connected socket takes unicasts from anybody.
    ConnectedHearsAll,
    /// Message types below NLMSG_MIN_TYPE are dispatched.
    ControlTypesRefused,
    /// Cookies are not sent.
    CookieLost,
    /// A refusal never has the whole request.
    CopyAlwaysCapped,
    /// The copy of the request's header lacks what it had there.
    CopyWithoutSequence,
    /// MSG_TRUNC is not set.
    CutUntold,
    /// NLMSG_DONE says 0 whatever dumpit() returned.
    DoneAlwaysZero,
    /// done() is not called when the socket is closed.
    DoneForgottenOnClose,
    /// A dump ends without NLMSG_DONE.
    DoneMissing,
    /// An extended acknowledgement behind NLMSG_DONE needs no room.
    DoneOverflows,
    /// done() is called twice.
    DoneTwice,
    /// NLMSG_DONE lacks NLM_F_MULTI.
    DoneWithoutMulti,
    /// A dump is acknowledged too.
    DumpAcknowledged,
    /// A dump is accepted and never begins.
    DumpNeverBegins,
    /// A name can be registered twice.
    DuplicateNames,
    /// NLM_F_ECHO does nothing.
    EchoIgnored,
    /// A requester that is a member gets its echo twice.
    EchoTwice,
    /// An empty queue takes no more than its buffer.
    EmptyQueueHasEnd,
    /// unbind() is called when the family goes.
    EndOfFamilyUnbinds,
    /// A receive that finds no dump to go on with says nothing.
    EndedDumpUntold,
    /// The error of a socket is told again and again.
    ErrorStays,
    /// A multicast reaches its sender and the port left out.
    ExclusionIgnored,
    /// No command may do without validation.
    ExemptionsRefused,
    /// Extended acknowledgements are sent without NETLINK_EXT_ACK.
    ExtAckUnasked,
    /// Each family holds its module.
    FamilyHoldsModule,
    /// bind() and unbind() of families are not called.
    FamilyNotToldOfMembers,
    /// A protocol has no more groups than it asked for.
    FewGroups,
    /// The filter of a multicast does nothing.
    FilterIgnored,
    /// Only the first attribute is looked at.
    FirstAttributeOnly,
    /// Of an attribute that comes twice the first one counts.
    FirstInstanceCounts,
    /// EMSGSIZE with data in the buffer ends a dump.
    FullBufferEndsDump,
    /// MSG_TRUNC does not ask for the whole length.
    FullLengthUntold,
    /// The group is given without NETLINK_PKTINFO.
    GroupGivenUnasked,
    /// The global ids of groups are told one too high.
    GroupIdsShifted,
    /// Groups may have any name.
    GroupNamesUnchecked,
    /// Groups of one name are refused.
    GroupNamesUnique,
    /// Neither address nor NETLINK_PKTINFO tell the group.
    GroupUntold,
    /// The global ids of groups are not handed out again.
    GroupsNotReused,
    /// NETLINK_ADD_MEMBERSHIP joins the next group.
    GroupsOffByOne,
    /// The controller does not tell the groups of a family.
    GroupsUntold,
    /// Headers need a byte more than they have.
    HeadersTooLarge,
    /// Of several groups in an address the highest is meant.
    HighestGroupMeant,
    /// A family gets the id that it asks for, or is refused.
    IdAsAsked,
    /// Ids end at 1000.
    IdsEndEarly,
    /// The lowest free id is handed out.
    IdsReused,
    /// The controller tells id and name in this order.
    IdToldFirst,
    /// Ids are handed out from 17 on.
    IdsStartEarly,
    /// NLM_F_DUMP_INTR is not set.
    InterruptionUntold,
    /// NETLINK_ADD_MEMBERSHIP does nothing.
    JoinIgnored,
    /// NETLINK_DROP_MEMBERSHIP does nothing.
    LeaveIgnored,
    /// Only a member can leave a group.
    LeaveNeedsMembership,
    /// Bytes behind the last attribute are accepted.
    LeftoverTaken,
    /// getsockopt() reports the length that was given, getsockname() none.
    LengthUntold,
    /// Integers may have any length.
    LengthsUnchecked,
    /// An address may not be longer than a sockaddr_nl.
    LongAddressRefused,
    /// A message may claim to be longer than the datagram.
    LongLengthTaken,
    /// Formatted messages are not cut.
    LongTexts,
    /// NETLINK_BROADCAST_ERROR does nothing.
    LossUntold,
    /// bind() joins no groups.
    MaskIgnored,
    /// bind() of a protocol is not called for who is a member.
    MemberNotBoundAgain,
    /// Memberships outlive the family.
    MembershipsOutlive,
    /// min_dump_alloc does nothing.
    MinimumIgnored,
    /// Missing attributes are not told.
    MissingLost,
    /// References to modules are never given back.
    ModuleHeldForEver,
    /// Nothing holds a module.
    ModuleNotHeld,
    /// Multicasts do not arrive.
    MulticastLost,
    /// A multicast reaches one member only.
    MulticastToOne,
    /// getsockname() shows no groups.
    NameWithoutGroups,
    /// Names that differ in case are the same.
    NamesIgnoreCase,
    /// A name can be registered once.
    NamesNeverFree,
    /// NLA_F_NESTED does not matter.
    NestedFlagUnchecked,
    /// What is in a nest is not validated.
    NestsUnchecked,
    /// An overrun does not hold back what comes later.
    NoCongestion,
    /// A multicast to nobody succeeds.
    NobodyIsSuccess,
    /// The controller announces nothing.
    NothingAnnounced,
    /// Each use of groups and connect() needs a capability.
    NothingIsFree,
    /// No id and no group is reserved.
    NothingReserved,
    /// Multicasts of families have sequence number 0.
    NotificationsUnnumbered,
    /// NETLINK_LISTEN_ALL_NSID cannot be read.
    NsidUnreadable,
    /// The room that a receive offered does not matter to dumps.
    OfferIgnored,
    /// Offsets are not sent.
    OffsetLost,
    /// Success has an offset as well.
    OffsetOfSuccess,
    /// Offsets are counted from behind the nlmsghdr.
    OffsetShifted,
    /// One bit of NLM_F_DUMP asks for a dump.
    OneBitIsDump,
    /// Options cannot be switched off.
    OptionsStick,
    /// An overrun loses what was queued.
    OverrunEmptiesQueue,
    /// An overrun is not told.
    OverrunSilent,
    /// Attributes start right behind the family's own header.
    OwnHeaderUnaligned,
    /// The next message starts right behind the one before.
    PaddingNotSkipped,
    /// parallel_ops does nothing.
    ParallelIsSerial,
    /// A peek does not go on with a dump.
    PeekStallsDump,
    /// MSG_PEEK takes the datagram.
    PeekTakes,
    /// getpeername() gives the next port ID.
    PeerShifted,
    /// The violated policy is not told.
    PolicyLost,
    /// The policy of the last attribute is not told.
    PolicyOfLastUntold,
    /// Sockets that let the bus choose share a port ID.
    PortChosenTwice,
    /// bind() chooses the port ID whatever is asked for.
    PortIgnored,
    /// The port ID of a closed socket stays taken.
    PortKeptAfterClose,
    /// Each send chooses a port ID.
    PortPerSend,
    /// Port IDs are chosen from 1 on.
    PortsLow,
    /// All protocols share their port IDs.
    PortsOfAllProtocols,
    /// A port ID can be bound twice.
    PortsShared,
    /// A positive number that a handler returns is success.
    PositiveIsSuccess,
    /// post_doit() is not called.
    PostDoitForgotten,
    /// What pre_doit() returns does not matter.
    PreDoitIgnored,
    /// Nobody needs a capability.
    PrivilegesUnchecked,
    /// A protocol outlives its kernel socket.
    ProtocolsStay,
    /// Each protocol can be created.
    ProtocolsUnchecked,
    /// Calls of kernel code fail with EPROTO.
    ProviderErrno,
    /// Receive buffers have no end.
    QueueWithoutEnd,
    /// A bound socket can be bound to another port ID.
    RebindAllowed,
    /// The record that did not fit is left out.
    RecordLost,
    /// Messages of a dump lack NLM_F_MULTI.
    RecordsWithoutMulti,
    /// A refusal ends the datagram.
    RefusalEndsBatch,
    /// Requests are refused with EPROTO.
    RefusalErrno,
    /// A refusal is not reported without NLM_F_ACK.
    RefusalOnlyIfAsked,
    /// Registrations do not wait for requests.
    RegistrationDoesNotWait,
    /// The end of sockets is not told.
    ReleaseUntold,
    /// Replies have sequence number 0.
    ReplyWithoutSequence,
    /// Reserved bits are refused below resv_start_op too.
    ReservedAlwaysChecked,
    /// Reserved bits are accepted from resv_start_op on.
    ReservedIgnored,
    /// Headers need no room.
    RoomUnchecked,
    /// A second bind() keeps the groups of the first.
    SecondBindAdds,
    /// A second dump takes the place of the first.
    SecondDumpReplaces,
    /// Sending to a full socket fails at once.
    SendNeverWaits,
    /// The sender's address has port ID 0.
    SenderUntold,
    /// What kernel code sends for a family has the controller's id.
    SentAsController,
    /// Families without parallel_ops are served side by side.
    SerialIsParallel,
    /// An address may be shorter than a sockaddr_nl.
    ShortAddressTaken,
    /// A request may be shorter than its headers.
    ShortHeadersTaken,
    /// A message may claim to be shorter than its header.
    ShortLengthTaken,
    /// netlink_set_err() counts nobody.
    SparedUncounted,
    /// No command may have two entries.
    SplitPairsRefused,
    /// NETLINK_GET_STRICT_CHK matters during a dump.
    StrictCheckLate,
    /// NETLINK_GET_STRICT_CHK does nothing.
    StrictCheckLost,
    /// An acknowledgement of success has the whole request.
    SuccessCopiesAll,
    /// Texts are not sent.
    TextLost,
    /// NLM_F_ACK_TLVS is set without attributes.
    TlvFlagAlways,
    /// NLM_F_ACK_TLVS is not set.
    TlvFlagMissing,
    /// SO_TYPE gives the other type.
    TypeWrong,
    /// unbind() of protocols is not called.
    UnbindForgotten,
    /// The end of unbound sockets is told too.
    UnboundReleaseTold,
    /// Attributes beyond the policy are accepted.
    UnknownAttributesTaken,
    /// connect(AF_UNSPEC) binds a socket.
    UnspecBinds,
    /// Attributes of which the policy says nothing are accepted.
    UnspecifiedTaken,
    /// The value of an option is its last 4 bytes.
    ValueFromTheEnd,
    /// The controller tells 8 bits of a version.
    VersionCut,
    /// Where name and id are given the wrong one counts.
    WrongKeyCounts,
}

impl Kernel {
    /// The attributes of an extended acknowledgement, less what this bus forgets of them.
    pub fn spoil_tlvs(&self, extack: &ExtAck, status: i32) -> Attrs {
        let keep = |defect| !self.has(defect);
        let shift = if keep(Defect::OffsetShifted) { 0 } else { 16 };
        let told = ExtAck {
            text: extack.text.clone().filter(|_| keep(Defect::TextLost)),
            bad_attr: extack.bad_attr.filter(|_| keep(Defect::OffsetLost)).map(|at| at - shift),
            policy: extack.policy.clone().filter(|_| keep(Defect::PolicyLost)),
            cookie: extack.cookie.filter(|_| keep(Defect::CookieLost)),
            miss_type: extack.miss_type.filter(|_| keep(Defect::MissingLost)),
            miss_nest: extack.miss_nest.filter(|_| keep(Defect::MissingLost)).map(|at| at - shift),
        };
        told.tlvs(if keep(Defect::OffsetOfSuccess) { status } else { status.min(-1) })
    }
}
