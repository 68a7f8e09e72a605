//! How a line of a kernel's log shows that something is wrong.

/// How a kernel begins to report trouble, beside [`LAST_WORDS`]: WARN() and BUG(), the sanitizers, RCU's checks,
/// the detectors of hangs, reference counts, lists and leaks, netlink_sock_destruct() and seq_read().
const SIGNS: [&str; 26] = [
    "Kernel panic",
    "kernel BUG at",
    "BUG:",
    "Oops:",
    "WARNING:",
    "general protection fault",
    "Unable to handle kernel",
    "divide error:",
    "invalid opcode:",
    "stack segment:",
    "KCSAN:",
    "KFENCE:",
    "UBSAN:",
    "ODEBUG:",
    "refcount_t:",
    "list_add corruption",
    "list_del corruption",
    "Bad page",
    "INFO: task",
    "INFO: possible",
    "INFO: rcu",
    "rcu: INFO",
    "suspicious RCU usage",
    "unreferenced object",
    "Freeing alive netlink socket",
    "buggy .next function",
];

/// Data races of a healthy kernel that KCSAN reports, as it names them: the two functions in the order of the alphabet,
/// or one and its offset. It does not see the other one where that is not netlink's: only netlink's files are instrumented
/// (kernel-configs/variants.toml).
const RACES: [&str; 2] = [
    // NL-BIND-028; docs/findings.md.
    "netlink_connect / sk_diag_fill",
    // pid_alive() asks whether a task has been reaped, while __change_pid() does that: an EXIT event then has no parent.
    "proc_exit_connector+",
];

/// Whether a line of a kernel's log is the beginning of a splat.
pub fn is_sign(line: &str) -> bool {
    (SIGNS.iter().any(|sign| line.contains(sign)) || is_last_word(line)) && !is_known_race(line)
}

/// Signs of checkers that report once and are silent from then on: KASAN, and lockdep (debug_locks_off()).
const LAST_WORDS: [&str; 16] = [
    "DEBUG_LOCKS_WARN_ON",
    "INFO: trying to register",
    "Invalid wait context",
    "KASAN:",
    "Nested lock was not taken",
    "bad contention detected",
    "bad unlock balance",
    "held lock freed",
    "inconsistent lock state",
    "lock held when returning",
    "lock order detected",
    "possible circular locking",
    "possible irq lock inversion",
    "possible recursive locking",
    "still has locks held",
    "turning off the locking correctness validator",
];

/// Whether after this line of a kernel's log one of its checkers does not watch any more.
pub fn is_last_word(line: &str) -> bool {
    LAST_WORDS.iter().any(|sign| line.contains(sign))
}

/// Orders in which a healthy kernel takes locks, by a bug that docs/findings.md reports, as lockdep says it.
const ORDERS: [&str; 1] = ["nl_table_lock --> clock-AF_NETLINK"];

/// Whether this sign in a log is lockdep's report of an order that is known.
pub fn is_known_order(line: &str, log: &str) -> bool {
    line.contains("lock order detected") && ORDERS.iter().any(|order| log.contains(order))
}

/// Functions of a healthy kernel that allocate what it loses, by a bug that docs/findings.md reports. Only cases
/// with the trait `loses` come to the bug; from others the same loss is news.
const LOSSES: [&str; 1] = [
    // CNP-CTL-013.
    "cn_proc_mcast_ctl",
];

/// Whether it is known that a healthy kernel loses this object, as kmemleak describes it.
pub fn is_known_loss(object: &str) -> bool {
    LOSSES.iter().any(|function| object.contains(function))
}

fn is_known_race(line: &str) -> bool {
    let Some((_, place)) = line.split_once("KCSAN: data-race in ") else { return false };
    RACES.iter().any(|race| place.starts_with(race))
}
