//! A SOCKS proxy (4, 4a, 5 with and without a password) that tells what it was asked. Connects to 127.0.0.1 only, whatever
//! the address that it is asked for.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;

use super::raw::{Conn, RawServer};
use super::watched::Watched;

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub version: u8,
    /// Of SOCKS 4 and 5; empty if there was none.
    pub user: String,
    pub password: String,
    /// A name if the proxy is to resolve it, an address otherwise.
    pub host: String,
    pub port: u16,
}

pub struct Socks {
    raw: RawServer,
    log: Arc<Watched<Vec<Asked>>>,
}

impl Socks {
    /// One that lets everybody through, or, with SOCKS 5, who knows user and password.
    pub fn start(credentials: Option<(&'static str, &'static str)>) -> Self {
        let log = Arc::new(Watched::new(Vec::new()));
        let raw = RawServer::start({
            let log = Arc::clone(&log);
            move |conn, _, _| drop(serve(conn, credentials, &log))
        });
        Self { raw, log }
    }

    pub fn port(&self) -> u16 {
        self.raw.addr().port()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.log.read(Clone::clone)
    }
}

fn serve(mut conn: Conn, credentials: Option<(&str, &str)>, log: &Watched<Vec<Asked>>) -> io::Result<()> {
    let asked = match byte(&mut conn)? {
        4 => version4(&mut conn)?,
        5 => match version5(&mut conn, credentials)? {
            Some(asked) => asked,
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    let (version, port) = (asked.version, asked.port);
    log.update(|log| log.push(asked));
    let target = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    let reply: &[u8] = match (version, target.is_ok()) {
        (4, true) => &[0, 90, 0, 0, 0, 0, 0, 0],
        (4, false) => &[0, 91, 0, 0, 0, 0, 0, 0],
        (_, true) => &[5, 0, 0, 1, 127, 0, 0, 1, 0, 0],
        // RFC 1928 6: connection refused.
        (_, false) => &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0],
    };
    conn.write_all(reply)?;
    if let Ok(target) = target {
        relay(&conn, &target)?;
    }
    Ok(())
}

/// The request of SOCKS 4, and of 4a: there an address 0.0.0.x says that a name follows.
fn version4(conn: &mut Conn) -> io::Result<Asked> {
    let mut head = [0; 7];
    conn.read_exact(&mut head)?;
    let user = until_nul(conn)?;
    let host = if head[3..6] == [0, 0, 0] && head[6] != 0 {
        until_nul(conn)?
    } else {
        Ipv4Addr::new(head[3], head[4], head[5], head[6]).to_string()
    };
    let port = u16::from_be_bytes([head[1], head[2]]);
    Ok(Asked { version: 4, user, password: String::new(), host, port })
}

/// RFC 1928, and RFC 1929 for the password.
fn version5(conn: &mut Conn, credentials: Option<(&str, &str)>) -> io::Result<Option<Asked>> {
    let methods = counted(conn)?;
    let method = if credentials.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        conn.write_all(&[5, 0xff])?;
        return Ok(None);
    }
    conn.write_all(&[5, method])?;
    let (mut user, mut password) = (String::new(), String::new());
    if let Some((right_user, right_password)) = credentials {
        byte(conn)?;
        user = String::from_utf8_lossy(&counted(conn)?).into_owned();
        password = String::from_utf8_lossy(&counted(conn)?).into_owned();
        let known = user == right_user && password == right_password;
        conn.write_all(&[1, u8::from(!known)])?;
        if !known {
            return Ok(None);
        }
    }
    let mut head = [0; 4];
    conn.read_exact(&mut head)?;
    let host = match head[3] {
        1 => {
            let mut address = [0; 4];
            conn.read_exact(&mut address)?;
            Ipv4Addr::from(address).to_string()
        }
        4 => {
            let mut address = [0; 16];
            conn.read_exact(&mut address)?;
            Ipv6Addr::from(address).to_string()
        }
        _ => String::from_utf8_lossy(&counted(conn)?).into_owned(),
    };
    let mut port = [0; 2];
    conn.read_exact(&mut port)?;
    Ok(Some(Asked { version: 5, user, password, host, port: u16::from_be_bytes(port) }))
}

/// Copies both ways until both sides have ended.
fn relay(client: &TcpStream, target: &TcpStream) -> io::Result<()> {
    let copy = |mut from: &TcpStream, mut to: &TcpStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    thread::scope(|scope| {
        scope.spawn(|| copy(target, client));
        copy(client, target);
    });
    Ok(())
}

fn byte(conn: &mut Conn) -> io::Result<u8> {
    let mut one = [0];
    conn.read_exact(&mut one)?;
    Ok(one[0])
}

/// Bytes after their number.
fn counted(conn: &mut Conn) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; byte(conn)?.into()];
    conn.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn until_nul(conn: &mut Conn) -> io::Result<String> {
    let mut text = Vec::new();
    loop {
        match byte(conn)? {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            other => text.push(other),
        }
    }
}
