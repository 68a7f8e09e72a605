//! What /proc, sock_diag and taps show about sockets.

mod diag;
mod proc;
mod taps;

use crate::cases::cases;

cases! {
    + diag;
    + proc;
    + taps;
}
