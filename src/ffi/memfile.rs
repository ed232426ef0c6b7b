//! Files in memory, for a library that reads secrets from files only. Nothing here touches a disk.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
#[cfg(target_os = "linux")]
use std::os::fd::FromRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

/// A file without a place in the file system; gone when it is dropped.
pub(crate) struct MemoryFile {
    file: File,
    serial: u32,
}

impl MemoryFile {
    /// A file with that content.
    pub(crate) fn new(content: &[u8]) -> io::Result<Self> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let mut file = create()?;
        file.write_all(content)?;
        Ok(Self { file, serial: SERIAL.fetch_add(1, Ordering::Relaxed) })
    }

    /// A path under which this process can open the file, and which no other file of it ever has.
    ///
    /// libcurl takes connections with the same path of a certificate for connections of the same client. The number of a
    /// descriptor is used again, so the path carries a serial number as well, in the form of slashes and dots.
    pub(crate) fn path(&self) -> String {
        let serial: String = (0..u32::BITS).map(|bit| if self.serial >> bit & 1 == 1 { "./" } else { "/" }).collect();
        format!("/proc/self/fd/{serial}{}", self.file.as_raw_fd())
    }
}

#[cfg(target_os = "linux")]
fn create() -> io::Result<File> {
    // SAFETY: the name ends with a NUL; the result is a new descriptor or -1.
    let descriptor = unsafe { libc::memfd_create(c"marmot".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: memfd_create just made it and nobody else knows it.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

#[cfg(not(target_os = "linux"))]
fn create() -> io::Result<File> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "files in memory need Linux"))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_memory_can_be_read_again_and_again_by_a_path_of_its_own() {
        let first = MemoryFile::new(b"one").unwrap();
        let path = first.path();
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        drop(first);
        let second = MemoryFile::new(b"two").unwrap();
        assert_ne!(second.path(), path, "even where the descriptor is the same");
        assert_eq!(std::fs::read(second.path()).unwrap(), b"two");
    }
}
