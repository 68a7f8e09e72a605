//! Where the processors of a guest stand that sends nothing any more: the kernel's function, by its System.map.

use std::fs;
use std::path::Path;

/// What precedes the program counter in what QEMU's monitor shows of a processor: of x86 with 64 and 32 bits,
/// arm64, s390x, and riscv64.
const COUNTERS: [&str; 5] = ["RIP=", "EIP=", " PC=", " addr ", " pc "];
/// How many folders above an image its System.map may be.
const ABOVE: usize = 4;

/// One line for each processor in the output of `info registers -a`, if the kernel has its System.map.
pub fn in_words(registers: &str, kernel: &Path) -> Option<Vec<String>> {
    let map = kernel
        .ancestors()
        .skip(1)
        .take(ABOVE)
        .find_map(|folder| fs::read_to_string(folder.join("System.map")).ok())?;
    let text = functions(&map);
    let places = program_counters(registers).into_iter().enumerate();
    Some(places.map(|(cpu, address)| format!("processor {cpu} stands {}", place(&text, address))).collect())
}

fn program_counters(registers: &str) -> Vec<u64> {
    let counter = |line: &str| {
        let digits = COUNTERS.iter().find_map(|name| Some(line.split_once(name)?.1))?;
        u64::from_str_radix(digits.split_whitespace().next()?, 16).ok()
    };
    registers.lines().filter_map(counter).collect()
}

/// The kernel's functions by address.
fn functions(map: &str) -> Vec<(u64, &str)> {
    let mut functions: Vec<_> = map.lines().filter_map(function).collect();
    functions.sort_unstable();
    functions
}

/// Address and name, if the line of a System.map is about code.
fn function(line: &str) -> Option<(u64, &str)> {
    let mut words = line.split_whitespace();
    let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
    let address = u64::from_str_radix(address, 16).ok()?;
    kind.eq_ignore_ascii_case("t").then_some((address, name))
}

fn place(functions: &[(u64, &str)], address: u64) -> String {
    let end = functions.iter().find(|(_, name)| *name == "_etext").map_or(u64::MAX, |(end, _)| *end);
    let before = functions.partition_point(|(start, _)| *start <= address).checked_sub(1);
    match before.map(|before| functions[before]) {
        Some((start, name)) if address < end => format!("in {name}()+{:#x}", address - start),
        _ => format!("at {address:#x}, which is a module's or a program's"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "ffffffff81000000 T _stext\nffffffff81000000 T startup\nffffffff81000100 t genl_rcv_msg\n\
                       ffffffff81000200 T _etext\nffffffff82000000 D jiffies\n";

    #[test]
    fn processors_of_each_architecture_are_found() {
        let shown = [
            ("RAX=0 RBX=1\nRIP=ffffffff81000112 RFL=00000246 [---Z-P-]", 0xffff_ffff_8100_0112),
            ("EIP=c1000112 EFL=00000246", 0xc100_0112),
            (" PC=ffff800080012345 X00=0000000000000000", 0xffff_8000_8001_2345),
            (" pc       ffffffff80012346", 0xffff_ffff_8001_2346),
            ("PSW=mask 0404c00180000000 addr 0000000000123456 cc 00", 0x12_3456),
        ];
        for (registers, counter) in shown {
            assert_eq!(program_counters(registers), [counter], "{registers}");
        }
    }

    #[test]
    fn a_place_is_a_function_or_none_of_the_kernel() {
        let functions = functions(MAP);
        assert_eq!(place(&functions, 0xffff_ffff_8100_0112), "in genl_rcv_msg()+0x12");
        for address in [0x40_1000, 0xffff_ffff_8100_0200, 0xffff_ffff_c000_0000] {
            assert!(place(&functions, address).contains("a module's or a program's"), "{address:#x}");
        }
    }
}
