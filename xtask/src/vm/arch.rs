//! The architectures of guests: everything that differs between them, in one table.

use anyhow::{Result, bail};

use crate::host::packages::{Need, Probe, Purpose, need};

/// An architecture.
#[derive(Debug)]
pub struct Arch {
    /// Its name: Debian's or that of `uname -m`, and of the fragment kernel-configs/NAME.config.
    pub name: &'static str,
    /// What Debian calls it.
    pub debian: &'static str,
    /// What the kernel's makefiles call it (`ARCH=`).
    pub kbuild: &'static str,
    /// Its folder below arch/ in the kernel's tree.
    pub folder: &'static str,
    /// The target of `make` for the kernel that is booted, and the file that it makes.
    pub image: (&'static str, &'static str),
    /// What marks a file as its kernel's image, and where.
    pub magic: (usize, &'static [u8]),
    /// Beginning of the names of its tools on a host of another architecture (`CROSS_COMPILE=`).
    pub tools: &'static str,
    /// What such a host must have besides.
    cross: &'static [Need],
    /// Rust's name for it, with the C library that the init is linked with.
    pub triple: &'static str,
    /// Beginning of an ELF file: class and byte order; and the machine's number.
    pub elf: ([u8; 2], u16),
    /// The processors whose KVM runs it, as Rust calls them.
    pub kvm_on: &'static [&'static str],
    /// The program that emulates it.
    pub qemu: Need,
    /// Boards, the preferred one first.
    pub boards: &'static [Board],
    /// The module by which a shipped kernel finds the board's virtio devices.
    pub transport: &'static str,
    /// The processor that QEMU emulates. KVM has the host's.
    pub processor: &'static str,
    /// Words of the kernel's command line: its console, and how a guest ends.
    pub append: &'static str,
}

/// A board of QEMU.
#[derive(Debug)]
pub struct Board {
    /// QEMU's argument.
    pub machine: &'static str,
    /// How virtio devices are attached to it: what their names end in.
    pub bus: &'static str,
    /// Whether it boots only an uncompressed ELF file.
    pub wants_elf: bool,
}

/// Enters an ELF kernel at once, by PVH. With ACPI, it would describe its devices there only, and the lab's
/// kernels have no ACPI.
const MICROVM: Board = Board { machine: "microvm,acpi=off", bus: "device", wants_elf: true };
/// For what is compressed, or somebody else's: the board that every kernel knows.
const PC: Board = Board { machine: "pc", bus: "pci", wants_elf: false };

/// `HdrS`, of the setup header of Documentation/arch/x86/boot.rst. Both widths have it.
const X86_MAGIC: (usize, &[u8]) = (0x202, b"HdrS");

const LITTLE32: [u8; 2] = [1, 1];
const LITTLE64: [u8; 2] = [2, 1];
const BIG64: [u8; 2] = [2, 2];

/// Has its fast string instructions off, which are slow when emulated: a kernel that sees them clears and copies
/// byte by byte. `max` has the timestamp counter's features, which spare the kernel its calibration.
const X86_PROCESSOR: &str = "max,erms=off,fsrm=off";
/// `reboot=t` is the only way out of a microvm without ACPI. `no_timer_check`: on a busy host the timer's
/// interrupts come late, which the kernel's check takes for a broken timer.
const X86_APPEND: &str = "console=ttyS0 reboot=t tsc=reliable no_timer_check";

/// All of them.
pub const ALL: &[Arch] = &[
    Arch {
        name: "x86_64",
        debian: "amd64",
        kbuild: "x86_64",
        folder: "x86",
        image: ("vmlinux", "vmlinux"),
        magic: X86_MAGIC,
        tools: "x86_64-linux-gnu-",
        cross: &[
            need(Purpose::Program, Probe::Command("x86_64-linux-gnu-gcc"), "gcc-x86-64-linux-gnu"),
            need(Purpose::Program, Probe::File("usr/x86_64-linux-gnu/lib/libc.a"), "libc6-dev-amd64-cross"),
        ],
        triple: "x86_64-unknown-linux-gnu",
        elf: (LITTLE64, 62),
        kvm_on: &["x86_64"],
        qemu: need(Purpose::Qemu, Probe::Command("qemu-system-x86_64"), "qemu-system-x86"),
        boards: &[MICROVM, PC],
        transport: "virtio_pci",
        processor: X86_PROCESSOR,
        append: X86_APPEND,
    },
    Arch {
        name: "aarch64",
        debian: "arm64",
        kbuild: "arm64",
        folder: "arm64",
        image: ("Image", "arch/arm64/boot/Image"),
        magic: (0x38, b"ARM\x64"),
        tools: "aarch64-linux-gnu-",
        cross: &[
            need(Purpose::Program, Probe::Command("aarch64-linux-gnu-gcc"), "gcc-aarch64-linux-gnu"),
            need(Purpose::Program, Probe::File("usr/aarch64-linux-gnu/lib/libc.a"), "libc6-dev-arm64-cross"),
        ],
        triple: "aarch64-unknown-linux-gnu",
        elf: (LITTLE64, 183),
        kvm_on: &["aarch64"],
        qemu: need(Purpose::Qemu, Probe::Command("qemu-system-aarch64"), "qemu-system-arm"),
        boards: &[Board { machine: "virt,gic-version=max", bus: "device", wants_elf: false }],
        transport: "virtio_mmio",
        // What `max` has beyond it (pointer authentication, memory tags) is slow when emulated.
        processor: "cortex-a72",
        append: "console=ttyAMA0",
    },
    Arch {
        name: "s390x",
        debian: "s390x",
        kbuild: "s390",
        folder: "s390",
        image: ("bzImage", "arch/s390/boot/bzImage"),
        magic: (0x10008, b"S390EP"),
        tools: "s390x-linux-gnu-",
        cross: &[
            need(Purpose::Program, Probe::Command("s390x-linux-gnu-gcc"), "gcc-s390x-linux-gnu"),
            need(Purpose::Program, Probe::File("usr/s390x-linux-gnu/lib/libc.a"), "libc6-dev-s390x-cross"),
        ],
        triple: "s390x-unknown-linux-gnu",
        elf: (BIG64, 22),
        kvm_on: &["s390x"],
        qemu: need(Purpose::Qemu, Probe::Command("qemu-system-s390x"), "qemu-system-s390x|qemu-system-misc"),
        boards: &[Board { machine: "s390-ccw-virtio", bus: "ccw", wants_elf: false }],
        transport: "virtio_ccw",
        processor: "max",
        append: "console=ttysclp0",
    },
    Arch {
        name: "riscv64",
        debian: "riscv64",
        kbuild: "riscv",
        folder: "riscv",
        image: ("Image", "arch/riscv/boot/Image"),
        magic: (0x38, b"RSC\x05"),
        tools: "riscv64-linux-gnu-",
        cross: &[
            need(Purpose::Program, Probe::Command("riscv64-linux-gnu-gcc"), "gcc-riscv64-linux-gnu"),
            need(
                Purpose::Program,
                Probe::File("usr/riscv64-linux-gnu/lib/libc.a"),
                "libc6-dev-riscv64-cross",
            ),
        ],
        triple: "riscv64gc-unknown-linux-gnu",
        elf: (LITTLE64, 243),
        kvm_on: &["riscv64"],
        qemu: need(
            Purpose::Qemu,
            Probe::Command("qemu-system-riscv64"),
            "qemu-system-riscv|qemu-system-misc",
        ),
        boards: &[Board { machine: "virt", bus: "device", wants_elf: false }],
        transport: "virtio_mmio",
        processor: "rv64",
        // QEMU before 8.2 describes its processor by "riscv,isa" only, which 6.12 reads only if it is asked to.
        append: "console=ttyS0 riscv_isa_fallback",
    },
    Arch {
        name: "i386",
        debian: "i386",
        kbuild: "i386",
        folder: "x86",
        image: ("vmlinux", "vmlinux"),
        magic: X86_MAGIC,
        tools: "i686-linux-gnu-",
        cross: &[
            need(Purpose::Program, Probe::Command("i686-linux-gnu-gcc"), "gcc-i686-linux-gnu"),
            need(Purpose::Program, Probe::File("usr/i686-linux-gnu/lib/libc.a"), "libc6-dev-i386-cross"),
        ],
        triple: "i686-unknown-linux-gnu",
        elf: (LITTLE32, 3),
        kvm_on: &["x86", "x86_64"],
        qemu: need(Purpose::Qemu, Probe::Command("qemu-system-i386"), "qemu-system-x86"),
        boards: &[MICROVM, PC],
        transport: "virtio_pci",
        processor: X86_PROCESSOR,
        append: X86_APPEND,
    },
];

impl Arch {
    /// The architecture of this name.
    ///
    /// # Errors
    /// Unknown names: with those that are known.
    pub fn named(name: &str) -> Result<&'static Arch> {
        match ALL.iter().find(|arch| arch.name == name) {
            Some(arch) => Ok(arch),
            None => {
                let known: Vec<_> = ALL.iter().map(|arch| arch.name).collect();
                bail!("unknown architecture {name:?}; known architectures: {}", known.join(", "))
            }
        }
    }

    /// That of the host, which is the default; x86_64 where the host's has no row.
    pub fn of_host() -> &'static Arch {
        ALL.iter().find(|arch| arch.is_host()).unwrap_or(&ALL[0])
    }

    /// Whether it is the host's: its own compilers build for it.
    pub fn is_host(&self) -> bool {
        self.name == std::env::consts::ARCH
    }

    /// Whether the host's processor can run it, if KVM works.
    pub fn has_kvm_here(&self) -> bool {
        self.kvm_on.contains(&std::env::consts::ARCH)
    }

    /// Whether its processors have the timestamp counter.
    pub fn has_tsc(&self) -> bool {
        self.processor == X86_PROCESSOR
    }

    /// Debian's package of a version of gcc that runs here and compiles for it, such as `gcc-14-aarch64-linux-gnu`.
    pub fn cross_gcc(&self, version: &str) -> String {
        format!("gcc-{version}-{}", self.tools.trim_end_matches('-').replace('_', "-"))
    }

    /// The name of one of its tools, such as `gcc`.
    pub fn tool(&self, name: &str) -> String {
        if self.is_host() { name.to_owned() } else { format!("{}{name}", self.tools) }
    }

    /// What a host must have to build for it and to run it.
    pub fn needs(&self) -> Vec<Need> {
        let cross = if self.is_host() { &[] } else { self.cross };
        [self.qemu].into_iter().chain(cross.iter().copied()).collect()
    }

    /// A label with its name, unless it is that of most.
    pub fn label(&self, what: &str) -> String {
        if self.name == ALL[0].name { what.to_owned() } else { format!("{what} {}", self.name) }
    }
}
