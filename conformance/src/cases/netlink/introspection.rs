//! What /proc, sock_diag and taps show about sockets.

mod diag;
mod many;
mod proc;
mod references;
mod taps;

use crate::cases::cases;

cases! {
    + diag;
    + many;
    + proc;
    + references;
    + taps;
}
