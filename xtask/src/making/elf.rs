//! What the head of an ELF file says: 32 or 64 bits, in either byte order.

use crate::vm::{Arch, arch};

/// Whether a file with this beginning is for an architecture.
pub fn is_for(arch: &Arch, head: &[u8]) -> bool {
    let (class, machine) = arch.elf;
    let machine = if class[1] == 2 { machine.to_be_bytes() } else { machine.to_le_bytes() };
    head.starts_with(b"\x7fELF") && head.get(4..6) == Some(&class) && head.get(18..20) == Some(&machine)
}

/// The architecture that it is for, for people.
pub fn name(head: &[u8]) -> String {
    match arch::ALL.iter().find(|arch| is_for(arch, head)) {
        Some(arch) => arch.name.to_owned(),
        None => match (head.get(18..20), head.get(5)) {
            (Some(&[high, low]), Some(2)) => format!("ELF machine {}", u16::from_be_bytes([high, low])),
            (Some(&[low, high]), _) => format!("ELF machine {}", u16::from_le_bytes([low, high])),
            _ => "cut short".to_owned(),
        },
    }
}

/// Whether it has a program header of type PT_INTERP; `None` when the headers are cut short.
pub fn has_interpreter(head: &[u8]) -> Option<bool> {
    const PT_INTERP: u64 = 3;
    let is_wide = *head.get(4)? == 2;
    let is_big = *head.get(5)? == 2;
    let number = |at: usize, size: usize| {
        let mut bytes = head.get(at..at.checked_add(size)?)?.to_vec();
        if !is_big {
            bytes.reverse();
        }
        Some(bytes.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte)))
    };
    // e_phoff, e_phentsize and e_phnum of Elf64_Ehdr and Elf32_Ehdr.
    let (from, size, count) = match is_wide {
        true => (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?),
        false => (number(0x1c, 4)?, number(0x2a, 2)?, number(0x2c, 2)?),
    };
    for header in 0..count {
        let at = from.checked_add(header * size)?;
        if number(usize::try_from(at).ok()?, 4)? == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_read_in_the_files_own_order() {
        let mut head = vec![0; 0x40];
        head[..6].copy_from_slice(b"\x7fELF\x02\x02");
        head[19] = 22;
        assert_eq!(name(&head), "s390x");
        head[5] = 1;
        assert_eq!(name(&head), "ELF machine 5632");
        assert!(!arch::ALL.iter().any(|arch| is_for(arch, &head)));
        assert_eq!(name(b"\x7fELF"), "cut short");
    }

    #[test]
    fn an_interpreter_is_found_in_each_class_and_order() {
        // e_phoff, e_phentsize and e_phnum: where each is, and its size.
        for (class, fields) in
            [(2, [(0x20, 8), (0x36, 2), (0x38, 2)]), (1, [(0x1c, 4), (0x2a, 2), (0x2c, 2)])]
        {
            for order in [1, 2] {
                let mut head = vec![0; 0x100];
                let mut put = |(at, size): (usize, usize), value: u8| {
                    head[if order == 2 { at + size - 1 } else { at }] = value;
                };
                put((4, 1), class);
                put((5, 1), order);
                for (field, value) in fields.into_iter().zip([0x40, 0x20, 2]) {
                    put(field, value);
                }
                put((0x40, 4), 1); // PT_LOAD
                put((0x60, 4), 6); // PT_PHDR
                assert_eq!(has_interpreter(&head), Some(false), "class {class}, order {order}");
                head[if order == 2 { 0x63 } else { 0x60 }] = 3;
                assert_eq!(has_interpreter(&head), Some(true), "class {class}, order {order}");
                assert_eq!(has_interpreter(&head[..0x50]), None, "class {class}, order {order}");
            }
        }
    }
}
