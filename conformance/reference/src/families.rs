//! The families of generic netlink: their IDs, names, groups and commands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nix::errno::Errno;
use nlconform::port::provider::{self, DONT_VALIDATE_DUMP, Op, OpKind};
use nlconform::wire::align;
use nlconform::wire::genl::{
    GENL_CMD_CAP_DO, GENL_CMD_CAP_DUMP, GENL_ID_CTRL, GENL_MAX_ID, GENL_NAMSIZ, GENL_START_ALLOC,
};
use nlconform::wire::message::Message;

use super::defect::Defect;
use super::session::Object;
use super::setup::Setup;

/// `GENL_ID_VFS_DQUOT` and `GENL_ID_PMCRAID`: IDs and groups that are reserved for two families by name.
const RESERVED: [(&str, u16); 2] = [("VFS_DQUOT", 17), ("pmcraid", 18)];
/// The family whose group has a fixed ID, and that ID.
const DROP_MONITOR: (&str, u32) = ("NET_DM", 1);
/// The family that describes families.
pub const CONTROLLER: &str = "nlctrl";
/// The number of groups grows in such steps.
const STEP: usize = 64;

/// A registered family.
pub struct Family {
    /// Its registration.
    pub spec: provider::Family,
    /// Its callbacks; the controller has none of a provider.
    pub object: Option<Arc<Object>>,
    /// Its id.
    pub id: u16,
    /// Global id of its first group.
    pub first_group: u32,
    setup: Setup,
}

/// How a command's attributes are parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Not at all.
    Unparsed,
    /// There must be none.
    RejectAll,
    /// By the policy with this index, up to this type.
    Policy(usize, u16),
    /// Only by their types, up to this one.
    Types(u16),
}

/// One command's do or dump.
#[derive(Debug, Clone, Copy)]
pub struct Command<'f> {
    /// Its entry.
    pub op: &'f Op,
    /// How its attributes are parsed.
    pub rules: Rules,
}

impl Family {
    /// The headers of one of its messages, with room for its own header.
    pub fn message(&self, cmd: u8, flags: u16) -> Message {
        let own = align(self.hdrsize());
        Message::new(self.id).with(flags).bytes(&[cmd, self.spec.version as u8, 0, 0]).bytes(&vec![0; own])
    }

    /// Bytes of its own header.
    pub fn hdrsize(&self) -> usize {
        self.spec.hdrsize as usize
    }

    /// Global id of the group with this index.
    pub fn group(&self, index: u32) -> Option<u32> {
        ((index as usize) < self.spec.groups.len()).then_some(self.first_group + index)
    }

    /// The numbers of its commands, in the order in which they are reported.
    pub fn commands(&self) -> Vec<u8> {
        let mut commands = Vec::new();
        for kind in [OpKind::Full, OpKind::Small, OpKind::Split] {
            for op in self.spec.ops.iter().filter(|op| op.kind == kind) {
                if commands.last() != Some(&op.cmd) || kind != OpKind::Split {
                    commands.push(op.cmd);
                }
            }
        }
        commands
    }

    /// The do or dump of the command with this number (`GENL_CMD_CAP_DO`, `GENL_CMD_CAP_DUMP`).
    pub fn command(&self, cmd: u8, ask: u8) -> Option<Command<'_>> {
        let op = self.spec.ops.iter().find(|op| op.cmd == cmd && can(op) & ask != 0)?;
        Some(Command { op, rules: self.rules(op, ask) })
    }

    /// How the controller says that a command's attributes are parsed: that a split op without a policy rejects
    /// all (`genl_op_fill_in_reject_policy_split()`), which was not so before 7.2; and formerly that a dump
    /// has a policy which it is exempt from, even one for no attributes.
    pub fn listed_rules(&self, cmd: u8, ask: u8) -> Option<Rules> {
        let command = self.command(cmd, ask)?;
        let (policy, maxattr) = self.policy(command.op);
        Some(match policy {
            None if command.op.kind == OpKind::Split => Rules::RejectAll,
            None if self.lists_exempt() && self.rejects_all(command.op) => Rules::RejectAll,
            Some(policy) if self.lists_exempt() => Rules::Policy(policy as usize, maxattr as u16),
            _ => command.rules,
        })
    }

    /// Whether the controller reports the policy of a dump that is exempt from it (GENL-CTRL-041).
    pub fn lists_exempt(&self) -> bool {
        self.setup.value("GENL-CTRL-041", "unvalidated")
    }

    /// Whether a command without a policy rejects all attributes (`genl_op_fill_in_reject_policy()`).
    fn rejects_all(&self, op: &Op) -> bool {
        u32::from(op.cmd) >= self.spec.resv_start_op && self.setup.value("GENL-CTRL-006", "reserved")
    }

    /// The policy of a command, and its highest attribute type.
    fn policy(&self, op: &Op) -> (Option<u32>, u32) {
        match op.kind {
            OpKind::Split => (op.policy, op.maxattr),
            OpKind::Small => (self.spec.policy, self.spec.maxattr),
            OpKind::Full if op.maxattr == 0 => (op.policy.or(self.spec.policy), self.spec.maxattr),
            OpKind::Full => (op.policy.or(self.spec.policy), op.maxattr),
        }
    }

    fn rules(&self, op: &Op, ask: u8) -> Rules {
        let (policy, maxattr) = self.policy(op);
        let unvalidated = ask == GENL_CMD_CAP_DUMP && op.validate & DONT_VALIDATE_DUMP != 0;
        match policy {
            _ if unvalidated && op.kind != OpKind::Split => Rules::Unparsed,
            Some(_) if maxattr == 0 => Rules::Unparsed,
            Some(policy) => Rules::Policy(policy as usize, maxattr as u16),
            None if op.kind == OpKind::Split => {
                let accepted = self.setup.value::<Result<(), Errno>>("GENL-ATT-026", "result").is_ok();
                if accepted { Rules::Unparsed } else { Rules::RejectAll }
            }
            None if self.rejects_all(op) => Rules::RejectAll,
            None if maxattr > 0 && self.setup.value("GENL-ATT-027", "parsed") => Rules::Types(maxattr as u16),
            None => Rules::Unparsed,
        }
    }
}

/// The capabilities of an entry.
pub fn can(op: &Op) -> u8 {
    match op.kind {
        OpKind::Split => op.flags & (GENL_CMD_CAP_DO | GENL_CMD_CAP_DUMP),
        _ => (u8::from(op.doit) * GENL_CMD_CAP_DO) | (u8::from(op.dumpit) * GENL_CMD_CAP_DUMP),
    }
}

/// All families.
pub struct Families {
    by_id: BTreeMap<u16, Arc<Family>>,
    next_id: u16,
    /// The global IDs of groups that are in use.
    groups: Vec<bool>,
    /// Names that a family has had. Only a defect needs them.
    names_used: BTreeSet<String>,
    setup: Setup,
}

impl Families {
    /// None yet.
    pub fn new(setup: Setup) -> Families {
        let mut groups = vec![false; STEP];
        for id in [0, 1, 16, 17, 18] {
            groups[id] = true;
        }
        Families {
            by_id: BTreeMap::new(),
            next_id: GENL_START_ALLOC,
            groups,
            names_used: BTreeSet::new(),
            setup,
        }
    }

    /// The number of groups that can be joined.
    pub fn room(&self) -> u32 {
        self.groups.len() as u32
    }

    /// By id, ascending.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Family>> {
        self.by_id.values()
    }

    /// The family with this id.
    pub fn by_id(&self, id: u16) -> Option<&Arc<Family>> {
        self.by_id.get(&id)
    }

    /// The family of this name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<Family>> {
        let careless = self.setup.defect == Some(Defect::NamesIgnoreCase);
        let same = |family: &&Arc<Family>| {
            family.spec.name == name || (careless && family.spec.name.eq_ignore_ascii_case(name))
        };
        self.all().find(same)
    }

    /// The family that has the group with this global id, and the group's index there.
    pub fn of_group(&self, group: u32) -> Option<(&Arc<Family>, usize)> {
        self.all().find_map(|family| {
            let index = group.checked_sub(family.first_group)? as usize;
            (index < family.spec.groups.len()).then_some((family, index))
        })
    }

    /// Registers a family: `genl_register_family()` without its locks and announcements.
    pub fn register(
        &mut self,
        spec: provider::Family,
        object: Option<Arc<Object>>,
    ) -> Result<Arc<Family>, Errno> {
        let has = |defect| self.setup.defect == Some(defect);
        if !has(Defect::CommandsUnchecked) {
            check_commands(&spec, self.setup)?;
        }
        let exempt = spec.ops.iter().any(|op| op.validate != 0);
        let split_in_two = spec.ops.windows(2).any(|pair| pair[0].cmd == pair[1].cmd);
        let made_by_provider = object.is_some();
        if made_by_provider
            && (has(Defect::ExemptionsRefused) && exempt || has(Defect::SplitPairsRefused) && split_in_two)
        {
            return Err(Errno::EINVAL);
        }
        if has(Defect::NamesNeverFree) && self.names_used.contains(&spec.name) {
            return Err(Errno::EEXIST);
        }
        self.names_used.insert(spec.name.clone());
        if self.by_name(&spec.name).is_some() && !has(Defect::DuplicateNames) {
            return Err(Errno::EEXIST);
        }
        let id = self.choose_id(&spec)?;
        let first_group = self.choose_groups(&spec, id)?;
        let family = Arc::new(Family { spec, object, id, first_group, setup: self.setup });
        self.by_id.insert(id, family.clone());
        Ok(family)
    }

    fn choose_id(&mut self, spec: &provider::Family) -> Result<u16, Errno> {
        let has = |defect| self.setup.defect == Some(defect);
        let (first, last) = match RESERVED.iter().find(|(name, _)| *name == spec.name) {
            Some((_, id)) if !has(Defect::NothingReserved) => (*id, *id),
            _ if object_is_controller(spec) => (GENL_ID_CTRL, GENL_ID_CTRL),
            _ => (GENL_START_ALLOC, GENL_MAX_ID),
        };
        let mut next = self.next_id.max(first);
        if has(Defect::IdsReused) {
            next = first;
        }
        if has(Defect::IdAsRequested) && spec.id > 0 {
            next = u16::try_from(spec.id).ok().filter(|id| *id <= last).ok_or(Errno::EINVAL)?;
            if self.by_id.contains_key(&next) {
                return Err(Errno::EEXIST);
            }
        }
        if has(Defect::IdsStartEarly) && first == GENL_START_ALLOC {
            next = next.max(GENL_START_ALLOC) - 2;
        }
        let last = if has(Defect::IdsEndEarly) { last.min(1000) } else { last };
        let mut candidates = (next..=last).chain(first..next.min(last + 1));
        let id = candidates.find(|id| !self.by_id.contains_key(id)).ok_or(Errno::ENOSPC)?;
        self.next_id = id + 1;
        Ok(id)
    }

    fn choose_groups(&mut self, spec: &provider::Family, id: u16) -> Result<u32, Errno> {
        let has = |defect| self.setup.defect == Some(defect);
        let named = |name: &str| !name.is_empty() && name.len() < GENL_NAMSIZ;
        if !spec.groups.iter().all(|group| named(&group.name)) && !has(Defect::GroupNamesUnchecked) {
            return Err(Errno::EINVAL);
        }
        let taken =
            |name: &str| self.all().flat_map(|other| &other.spec.groups).any(|group| group.name == name);
        if has(Defect::GroupNamesUnique) && spec.groups.iter().any(|group| taken(&group.name)) {
            return Err(Errno::EINVAL);
        }
        let fixed = match () {
            () if spec.name == DROP_MONITOR.0 => Some(DROP_MONITOR.1),
            () if [GENL_ID_CTRL, 17, 18].contains(&id) && !has(Defect::NothingReserved) => Some(id.into()),
            () => None,
        };
        let wanted = spec.groups.len();
        let first = fixed.map_or_else(|| self.gap(wanted), |first| first as usize);
        while self.groups.len() < first + wanted {
            self.groups.extend([false; STEP]);
        }
        // A fixed group is not reserved again: once it was freed, others may have it too.
        if fixed.is_none() {
            self.groups[first..first + wanted].fill(true);
        }
        Ok(first as u32 + u32::from(has(Defect::GroupIdsShifted)))
    }

    /// The lowest gap for this many groups; it may reach beyond the end.
    fn gap(&self, wanted: usize) -> usize {
        let lowest = if self.setup.defect == Some(Defect::GroupsNotReused) { self.groups.len() } else { 0 };
        let free = |first: usize| self.groups.iter().skip(first).take(wanted.max(1)).all(|taken| !taken);
        (lowest..).find(|first| free(*first)).unwrap_or_default()
    }

    /// Removes a family and frees its groups, except that of the drop monitor.
    pub fn unregister(&mut self, family: &Family) -> Result<(), Errno> {
        self.by_id.remove(&family.id).ok_or(Errno::ENOENT)?;
        if family.spec.name != DROP_MONITOR.0 {
            let first = family.first_group as usize;
            let last = (first + family.spec.groups.len()).min(self.groups.len());
            self.groups[first..last].fill(false);
        }
        Ok(())
    }
}

fn object_is_controller(spec: &provider::Family) -> bool {
    spec.name == CONTROLLER
}

/// Whether the command arrays are valid (`genl_validate_ops()`).
fn check_commands(spec: &provider::Family, setup: Setup) -> Result<(), Errno> {
    let checked = setup.value::<Result<(), Errno>>("GENL-REG-018", "reserved").is_err();
    let reserved = |op: &Op| checked && u32::from(op.cmd) >= spec.resv_start_op && op.validate != 0;
    let of = |kind| spec.ops.iter().filter(move |op| op.kind == kind);
    let whole = || of(OpKind::Full).chain(of(OpKind::Small));
    let fails = spec.missing_array.is_some()
        || whole().any(|op| can(op) == 0)
        || spec.ops.iter().any(reserved)
        || of(OpKind::Split).any(|op| can(op).count_ones() != 1);
    let twice = |op: &Op| spec.ops.iter().filter(|other| other.cmd == op.cmd).count() > 1;
    let split: Vec<&Op> = of(OpKind::Split).collect();
    let unsorted = split.windows(2).any(|pair| {
        let order = |op: &Op| (op.cmd, can(op));
        let kinds = GENL_CMD_CAP_DO | GENL_CMD_CAP_DUMP;
        let differ =
            (pair[0].flags ^ pair[1].flags) & !kinds != 0 || pair[0].internal_flags != pair[1].internal_flags;
        order(pair[0]) >= order(pair[1]) || (pair[0].cmd == pair[1].cmd && differ)
    });
    let mixed = split.iter().any(|op| whole().any(|other| other.cmd == op.cmd));
    match fails || whole().any(twice) || unsorted || mixed {
        true => Err(Errno::EINVAL),
        false => Ok(()),
    }
}
