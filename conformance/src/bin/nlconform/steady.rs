//! Writing to whatever standard output is: a reader that is late, or a descriptor that does not block, costs
//! nothing.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Writes all of it, and waits as long as that takes.
pub fn write_all<W: Write + AsFd>(out: &mut W, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(taken) => bytes = &bytes[taken..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                match poll(&mut [PollFd::new(out.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::thread;

    use nix::fcntl::OFlag;
    use nix::unistd::pipe2;

    use super::*;

    #[test]
    fn a_pipe_that_is_full_is_waited_for() {
        let (reading, writing) = pipe2(OFlag::O_NONBLOCK).unwrap();
        let bytes = vec![7; 1 << 20];
        thread::scope(|scope| {
            let writer = scope.spawn(|| write_all(&mut File::from(writing), &bytes));
            let (mut reading, mut got) = (File::from(reading), 0);
            let mut chunk = [0; 4096];
            while got < 1 << 20 {
                match reading.read(&mut chunk) {
                    Ok(taken) => got += taken,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            writer.join().unwrap().unwrap();
        });
    }
}
