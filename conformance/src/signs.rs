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

/// Whether a line of a kernel's log is the beginning of a splat.
pub fn is_sign(line: &str) -> bool {
    SIGNS.iter().any(|sign| line.contains(sign)) || is_last_word(line)
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
