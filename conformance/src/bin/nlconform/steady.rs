//! Writing to whatever standard output is, and reading from whatever standard input is: a partner that is late, or a
//! descriptor that does not block, costs nothing.

use std::io::{self, BufRead, ErrorKind, Write};
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
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait(out, PollFlags::POLLOUT)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a line, and waits as long as that takes. The last one may lack its end.
pub fn read_line<R: BufRead + AsFd>(from: &mut R) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    loop {
        match from.read_until(b'\n', &mut line) {
            Ok(_) => return Ok(line),
            // What has been read until then is in the line.
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait(from, PollFlags::POLLIN)?,
            Err(error) => return Err(error),
        }
    }
}

fn wait<F: AsFd>(file: &F, until: PollFlags) -> io::Result<()> {
    match poll(&mut [PollFd::new(file.as_fd(), until)], PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufReader, Read};
    use std::os::fd::BorrowedFd;
    use std::thread;
    use std::time::Duration;

    use nix::fcntl::OFlag;
    use nix::unistd::pipe2;

    use super::*;

    /// A reader with its descriptor, as standard input is.
    struct Input(BufReader<File>);

    impl AsFd for Input {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.get_ref().as_fd()
        }
    }

    impl Read for Input {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl BufRead for Input {
        fn fill_buf(&mut self) -> io::Result<&[u8]> {
            self.0.fill_buf()
        }

        fn consume(&mut self, amount: usize) {
            self.0.consume(amount);
        }
    }

    #[test]
    fn a_line_that_comes_late_and_in_parts_is_waited_for() {
        let (reading, writing) = pipe2(OFlag::O_NONBLOCK).unwrap();
        thread::scope(|scope| {
            let reader = scope.spawn(|| read_line(&mut Input(BufReader::new(File::from(reading)))));
            let mut writing = File::from(writing);
            for part in ["a re", "quest\nmore"] {
                thread::sleep(Duration::from_millis(20));
                writing.write_all(part.as_bytes()).unwrap();
            }
            assert_eq!(reader.join().unwrap().unwrap(), b"a request\n");
        });
    }

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
