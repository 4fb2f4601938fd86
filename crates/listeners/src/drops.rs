//! What the system had no room for, of the datagrams that came to a socket.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::PathBuf;

/// Datagrams that a socket lost. Linux tells them; elsewhere there are none.
pub(crate) struct Drops {
    /// The table that the socket stands in, and its number there.
    place: Option<(PathBuf, String)>,
    /// How many there were when it was last asked. The system's own number goes round.
    known: u32,
}

impl Drops {
    /// Of a socket of this process.
    pub(crate) fn of(socket: &UdpSocket) -> Self {
        Self { place: place(socket), known: 0 }
    }

    /// How many more there are than the last time.
    pub(crate) fn more(&mut self) -> u64 {
        let Some((table, inode)) = &self.place else { return 0 };
        let Some(now) = File::open(table).ok().and_then(|file| found(BufReader::new(file), inode)) else {
            return 0;
        };
        let more = now.wrapping_sub(self.known);
        self.known = now;
        u64::from(more)
    }
}

#[cfg(target_os = "linux")]
fn place(socket: &UdpSocket) -> Option<(PathBuf, String)> {
    use std::os::fd::AsRawFd;
    let table =
        if socket.local_addr().ok()?.is_ipv4() { "/proc/self/net/udp" } else { "/proc/self/net/udp6" };
    let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok()?;
    let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    Some((PathBuf::from(table), inode.to_owned()))
}

#[cfg(not(target_os = "linux"))]
fn place(_: &UdpSocket) -> Option<(PathBuf, String)> {
    None
}

/// The last column of a socket's row; its inode stands in the tenth.
fn found(table: impl BufRead, inode: &str) -> Option<u32> {
    let mut rows = table.lines().map_while(Result::ok);
    let row = rows.find(|row| row.split_ascii_whitespace().nth(9) == Some(inode))?;
    row.split_ascii_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
        1031: 0100007F:1FBD 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 77 2 0000000000000000 4294967290\n \
        1032: 0100007F:1FBE 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 78 2 0000000000000000 3\n";

    #[test]
    fn a_socket_has_one_row() {
        let found = |table: &str, inode| found(table.as_bytes(), inode);
        assert_eq!((found(TABLE, "77"), found(TABLE, "78")), (Some(4_294_967_290), Some(3)));
        assert_eq!((found(TABLE, "7"), found("", "77"), found("\n\n 77\n", "77")), (None, None, None));
    }

    #[test]
    fn the_number_goes_round() {
        let file = std::env::temp_dir().join(format!("metricsd-drops-{}", uuid::Uuid::new_v4()));
        let mut drops = Drops { place: Some((file.clone(), "77".to_owned())), known: 4_294_967_280 };
        std::fs::write(&file, TABLE).unwrap();
        assert_eq!((drops.more(), drops.more()), (10, 0));
        std::fs::write(&file, TABLE.replace("4294967290", "4")).unwrap();
        assert_eq!(drops.more(), 10);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(drops.more(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_not_received_is_counted() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = UdpSocket::bind(address) else { continue };
            socket2::SockRef::from(&socket).set_recv_buffer_size(64 << 10).unwrap();
            let mut drops = Drops::of(&socket);
            assert_eq!(drops.more(), 0);
            let sender = UdpSocket::bind(address).unwrap();
            let (to, sent) = (socket.local_addr().unwrap(), 2_000);
            for _ in 0..sent {
                sender.send_to(&[b'x'; 1_000], to).unwrap();
            }
            let mut received = 0;
            socket.set_nonblocking(true).unwrap();
            while socket.recv(&mut [0; 1_000]).is_ok() {
                received += 1;
            }
            assert!(received > 0 && received < sent, "{received}");
            assert_eq!(drops.more(), sent - received, "{address}");
            assert_eq!(drops.more(), 0);
        }
    }
}
