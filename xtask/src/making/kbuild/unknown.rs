//! What a kernel does not have that the probe uses, by name: in the messages of gcc or clang.

use std::collections::BTreeMap;

/// What comes before a name, and what is said of it. gcc's way first, then clang's.
const KINDS: [(&str, &str); 9] = [
    ("implicit declaration of function '", "no function of this name"),
    ("call to undeclared function '", "no function of this name"),
    ("no member named '", "no such member"),
    ("unknown type name '", "no such type"),
    ("use of undeclared identifier '", "no such name"),
    ("too few arguments to function '", "more arguments"),
    ("too many arguments to function '", "fewer arguments"),
    ("conflicting types for '", "another type"),
    ("storage size of '", "no such structure"),
];
/// The other order: the name comes first.
const UNDECLARED: &str = "' undeclared";

/// A line for each name that the kernel of a failed build has not, or has otherwise: with the place where it is
/// used first, as `FILE:LINE`. Empty if the messages name none.
pub fn names(log: &str) -> Vec<String> {
    let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for line in log.lines() {
        let line = line.replace(['‘', '’'], "'");
        let Some((place, message)) = line.split_once(" error: ") else { continue };
        if let Some(what) = what(message) {
            let uses = found.len();
            found.entry(what).or_insert_with(|| (file_and_line(place), uses));
        }
    }
    let mut lines: Vec<_> = found.into_iter().map(|(what, (place, at))| (at, what, place)).collect();
    lines.sort();
    lines.into_iter().map(|(_, what, place)| format!("  {what} ({place})")).collect()
}

/// The name, and what is said of it.
fn what(message: &str) -> Option<String> {
    if let Some(header) = message.strip_suffix(": No such file or directory") {
        return Some(format!("{header}: no such header"));
    }
    if let Some(header) = message.strip_suffix("' file not found") {
        return Some(format!("{}: no such header", header.trim_start_matches('\'')));
    }
    if let Some((name, _)) = message.strip_prefix('\'').and_then(|rest| rest.split_once(UNDECLARED)) {
        return Some(format!("{name}: no such name"));
    }
    let (rest, said) = KINDS.iter().find_map(|(before, said)| Some((message.split_once(before)?.1, said)))?;
    let name = rest.split('\'').next()?;
    // gcc names the structure before the member, clang after it.
    let others = [message.split('\'').nth(1), rest.split('\'').nth(2)];
    let owner = others.into_iter().flatten().find(|other| other.contains("struct "));
    Some(match owner {
        Some(owner) => format!("{name}: no such member of {}", owner.trim_start_matches("const ")),
        None => format!("{name}: {said}"),
    })
}

/// Of `/somewhere/guest/probe/compat.h:129:15:`.
fn file_and_line(place: &str) -> String {
    let mut parts = place.split(':');
    let file = parts.next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    format!("{file}:{}", parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_said_once_as_either_compiler_words_it() {
        let gcc = "In file included from x.c:1:\n\
            /p/compat.h:129:15: error: ‘struct genl_family’ has no member named ‘resv_start_op’\n\
            /p/compat.h:137:29: error: ‘const struct genl_family’ has no member named ‘bind’\n\
            /p/compat.h:130:15: error: ‘struct genl_family’ has no member named ‘resv_start_op’\n\
            /p/protocol.c:135:24: error: implicit declaration of function ‘netlink_kernel_create’; did you \
            mean ‘x’? [-Werror=implicit-function-declaration]\n\
            /p/a.c:1:10: fatal error: net/gone.h: No such file or directory\n\
            /p/a.c:2:3: error: ‘NL_CFG’ undeclared (first use in this function)\n\
            /p/a.c:3:3: error: too few arguments to function ‘genlmsg_multicast’\n";
        assert_eq!(
            names(gcc),
            [
                "  resv_start_op: no such member of struct genl_family (compat.h:129)",
                "  bind: no such member of struct genl_family (compat.h:137)",
                "  netlink_kernel_create: no function of this name (protocol.c:135)",
                "  net/gone.h: no such header (a.c:1)",
                "  NL_CFG: no such name (a.c:2)",
                "  genlmsg_multicast: more arguments (a.c:3)",
            ]
        );
        let clang = "/p/compat.h:129:15: error: no member named 'resv_start_op' in 'struct genl_family'\n\
            /p/a.c:4:3: error: call to undeclared function 'nla_policy_len'; ISO C99 [-Wimplicit]\n\
            /p/a.c:5:3: error: use of undeclared identifier 'NL_CFG'\n\
            /p/a.c:6:10: fatal error: 'net/gone.h' file not found\n";
        assert_eq!(
            names(clang),
            [
                "  resv_start_op: no such member of struct genl_family (compat.h:129)",
                "  nla_policy_len: no function of this name (a.c:4)",
                "  NL_CFG: no such name (a.c:5)",
                "  net/gone.h: no such header (a.c:6)",
            ]
        );
        assert!(names("make: *** error\n/p/a.c:1:2: error: expected ';'\n").is_empty());
    }
}
