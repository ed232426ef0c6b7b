//! Ports of 127.0.0.1 at which nobody listens yet, and which nobody else is given in the meantime.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

/// How often a program is started at other ports, if it does not get those: one is kept for a minute, and then somebody else
/// may have it.
pub(super) const ATTEMPTS: usize = 5;

/// Different ports for programs that bind them within a minute. Until somebody does, connecting to one is refused.
pub fn free_ports(n: usize) -> io::Result<Vec<u16>> {
    let listeners = (0..n).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<io::Result<Vec<_>>>()?;
    listeners.iter().map(reserve).collect()
}

/// As [`free_ports`], of one.
///
/// # Panics
///
/// If the loopback has no free port.
pub fn free_port() -> u16 {
    free_ports(1).expect("the loopback has a free port")[0]
}

/// The end of a connection that closes first waits in TIME-WAIT for a minute (RFC 9293, section 3.6.1). For so long the
/// system gives its port to nobody who asks for any; who names the port gets it, with `SO_REUSEADDR`, which servers set.
fn reserve(listener: &TcpListener) -> io::Result<u16> {
    let address = listener.local_addr()?;
    let client = TcpStream::connect(address)?;
    let (server, _) = listener.accept()?;
    drop(server);
    drop(client);
    Ok(address.port())
}

#[test]
fn nobody_else_is_given_a_free_port() {
    let free = free_ports(50).unwrap();
    for _ in 0..5000 {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!free.contains(&other.local_addr().unwrap().port()));
    }
    for port in free {
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
}
