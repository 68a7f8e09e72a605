//! The ioctl ABI of /dev/nlprobe. `cargo xtask abi` makes nlprobe.rs from guest/probe/nlprobe.h, with the
//! header's own names for constants; here is what its lists become. A test asks a C compiler.
#![allow(dead_code)] // it is whole, even where the adapter uses less

use std::marker::PhantomData;
use std::mem::size_of;

use nix::libc;
use nix::{request_code_none, request_code_read, request_code_readwrite, request_code_write};

/// Constants of the header by their C types.
macro_rules! constants {
    ($($type:ty { $($name:ident = $value:expr),* $(,)? })*) => {
        $($(pub const $name: $type = $value;)*)*

        /// Name and value of each.
        #[cfg(test)]
        pub const CONSTANTS: &[(&str, i64)] = &[$($((stringify!($name), $name as i64)),*),*];
    };
}

/// Data that the kernel reads and writes as bytes.
///
/// # Safety
/// Each pattern of bytes must be a valid value, and the type must have no padding.
pub unsafe trait Plain: Copy + Default {
    /// The bytes of this value.
    fn bytes_mut(&mut self) -> &mut [u8] {
        let len = size_of::<Self>();
        // SAFETY: there is no padding, and whatever is written is a valid value.
        unsafe { std::slice::from_raw_parts_mut((&raw mut *self).cast(), len) }
    }

    /// The value at the beginning of these bytes, if they are enough.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut value = Self::default();
        value.bytes_mut().copy_from_slice(bytes.get(..size_of::<Self>())?);
        Some(value)
    }
}

/// Structures of the header. Their fields are integers, bytes, and structures of these.
macro_rules! structures {
    ($($c_name:ident as $name:ident { $($field:ident: $type:ty),* $(,)? })*) => {
        $(
            #[repr(C)]
            #[derive(Debug, Clone, Copy, Default, PartialEq)]
            pub struct $name { $(pub $field: $type),* }

            const _: () = assert!(0 $(+ size_of::<$type>())* == size_of::<$name>());

            // SAFETY: integers take each pattern of bytes; there is no padding, as asserted above.
            unsafe impl Plain for $name {}
        )*

        /// Each structure: its C name, its size, and its fields with their offsets and sizes.
        #[cfg(test)]
        pub const LAYOUTS: &[(&str, usize, &[(&str, usize, usize)])] = &[
            $((stringify!($c_name), size_of::<$name>(), &[
                $((stringify!($field), std::mem::offset_of!($name, $field), size_of::<$type>())),*
            ])),*
        ];
    };
}

// SAFETY: an integer.
unsafe impl Plain for u32 {}
// SAFETY: no bytes at all.
unsafe impl Plain for () {}

/// An ioctl that takes a `T`.
pub struct Ioctl<T> {
    pub name: &'static str,
    pub code: libc::Ioctl,
    argument: PhantomData<T>,
}

impl<T> Ioctl<T> {
    const fn new(name: &'static str, code: libc::Ioctl) -> Self {
        Ioctl { name, code, argument: PhantomData }
    }

    const fn none(name: &'static str, nr: u8) -> Self {
        Self::new(name, request_code_none!(NLPROBE_IOC, nr))
    }

    const fn read(name: &'static str, nr: u8) -> Self {
        Self::new(name, request_code_read!(NLPROBE_IOC, nr, size_of::<T>()))
    }

    const fn write(name: &'static str, nr: u8) -> Self {
        Self::new(name, request_code_write!(NLPROBE_IOC, nr, size_of::<T>()))
    }

    const fn both(name: &'static str, nr: u8) -> Self {
        Self::new(name, request_code_readwrite!(NLPROBE_IOC, nr, size_of::<T>()))
    }
}

macro_rules! ioctls {
    ($($name:ident: $type:ty = $direction:ident $nr:literal;)*) => {
        $(pub const $name: Ioctl<$type> = Ioctl::$direction(stringify!($name), $nr);)*

        /// Name and number of each.
        pub const IOCTLS: &[(&str, libc::Ioctl)] = &[$((stringify!($name), $name.code)),*];
    };
}

mod nlprobe;
pub use nlprobe::*;

#[cfg(test)]
#[path = "abi_tests.rs"]
mod tests;
