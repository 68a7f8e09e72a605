//! Requests that are answered late, in another thread: nothing has come of one when its send returns.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use nix::errno::Errno;

use super::credentials::act_from_now_on;
use super::input;
use super::kernel::Kernel;
use super::message::{Input, Sender, Sent};
use super::setup::LATE;

/// Hands a datagram over to the thread that serves its socket, which keeps their order. The thread ends
/// with the socket.
pub fn receive(kernel: &Arc<Kernel>, input: Input, sender: Sender, bytes: &[u8]) -> Result<(), Errno> {
    let request = Sent { input, sender, bytes: bytes.to_vec() };
    let mut state = kernel.state();
    let queue = &mut state.sock(sender.socket)?.late;
    let queue = queue.get_or_insert_with(|| serve(kernel.clone()));
    queue.send(request).map_err(|_| Errno::ENOMEM)
}

fn serve(kernel: Arc<Kernel>) -> mpsc::Sender<Sent> {
    let (queue, requests) = mpsc::channel::<Sent>();
    thread::spawn(move || {
        for request in requests {
            thread::sleep(LATE);
            act_from_now_on(request.sender.who);
            input::receive(&kernel, &request.input, request.sender, &request.bytes);
        }
    });
    queue
}
