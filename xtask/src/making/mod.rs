//! All that must be made before something can boot: sources, kernels, modules, programs, images.

pub mod apt;
pub mod clients;
mod elf;
pub mod image;
pub mod kbuild;
pub mod lab;
pub mod preload;
pub mod program;
pub mod sandbox;
pub mod shipped;
pub mod source;
pub mod user;
