//! The connections that are open: so many, and among them those that ask for nothing make room for those that come.
//!
//! Whoever opens thousands of connections and says nothing loses the oldest of them for each new one, so a client that asks
//! as soon as it is connected is always served. Streams have left the lobby: their number has a limit of its own.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use telemetry::{Counter, Gauge, Registry};
use tokio::sync::Notify;

use crate::limits::{ADDRESS_MAX, CONNECTIONS_MAX, IDLE_MAX};

#[derive(Default)]
struct Inside {
    next: u64,
    /// Those that wait for a request, the longest first.
    idle: BTreeMap<u64, Arc<Seen>>,
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One connection as the lobby sees it.
struct Seen {
    address: IpAddr,
    cut: Notify,
    /// It is counted no more.
    out: Mutex<bool>,
}

/// The connections that are open.
pub(crate) struct Lobby {
    inside: Mutex<Inside>,
    open: Gauge,
    cut: Counter,
    turned_away: Counter,
}

/// A connection's place, given back when dropped.
pub(crate) struct Ticket {
    lobby: Arc<Lobby>,
    seen: Arc<Seen>,
    place: Mutex<Option<u64>>,
}

/// A request is being answered; the connection is idle again when this is dropped.
pub(crate) struct Busy(Arc<Ticket>);

impl Lobby {
    pub(crate) fn new(registry: &Registry) -> Arc<Lobby> {
        let cut = registry.counter("http_idle_cut_total", "Connections cut, idle, to make room for others.", &[]);
        let turned_away = registry.counter("http_turned_away_total", "Connections refused for want of room.", &[]);
        let open = registry.gauge("http_connections", "Connections that are open, streams not counted.", &[]);
        Arc::new(Lobby { inside: Mutex::default(), open, cut, turned_away })
    }

    /// A place for a connection; `None` when everybody inside is being served.
    pub(crate) fn enter(self: &Arc<Lobby>, address: IpAddr) -> Option<Arc<Ticket>> {
        let mut inside = self.inside();
        let others = inside.by_address.get(&address).copied().unwrap_or(0);
        if !address.is_loopback() && others >= ADDRESS_MAX {
            self.turned_away.add(1);
            return None;
        }
        if inside.idle.len() >= IDLE_MAX || inside.total >= CONNECTIONS_MAX {
            match inside.idle.pop_first() {
                Some((_, seen)) => {
                    seen.cut.notify_one();
                    inside.leave(&seen);
                    self.cut.add(1);
                }
                None => {
                    self.turned_away.add(1);
                    return None;
                }
            }
        }
        let seen = Arc::new(Seen { address, cut: Notify::new(), out: Mutex::new(false) });
        inside.total += 1;
        *inside.by_address.entry(address).or_default() += 1;
        let place = inside.wait(seen.clone());
        self.open.set(inside.total as i64);
        Some(Arc::new(Ticket { lobby: self.clone(), seen, place: Mutex::new(Some(place)) }))
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn wait(&mut self, seen: Arc<Seen>) -> u64 {
        self.next += 1;
        self.idle.insert(self.next, seen);
        self.next
    }

    fn leave(&mut self, seen: &Seen) {
        let mut out = seen.out.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *out, true) {
            return;
        }
        self.total -= 1;
        if let Some(count) = self.by_address.get_mut(&seen.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&seen.address);
            }
        }
    }
}

impl Ticket {
    /// Returns when the connection is to be cut.
    pub(crate) async fn cut(&self) {
        self.seen.cut.notified().await;
    }

    /// A request has come.
    pub(crate) fn busy(self: &Arc<Ticket>) -> Busy {
        let mut inside = self.lobby.inside();
        if let Some(place) = self.place().take() {
            inside.idle.remove(&place);
        }
        Busy(self.clone())
    }

    fn place(&self) -> MutexGuard<'_, Option<u64>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut inside = self.0.lobby.inside();
        let mut place = self.0.place();
        if place.is_none() {
            *place = Some(inside.wait(self.0.seen.clone()));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut inside = self.lobby.inside();
        if let Some(place) = self.place().take() {
            inside.idle.remove(&place);
        }
        inside.leave(&self.seen);
        self.lobby.open.set(inside.total as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn is_cut(ticket: &Ticket) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            tokio::select! { biased; () = ticket.cut() => true, () = std::future::ready(()) => false }
        })
    }

    #[test]
    fn the_longest_idle_makes_room_and_the_busy_stay() {
        let lobby = Lobby::new(&Registry::new());
        let mut tickets: Vec<_> = (0..IDLE_MAX).map(|_| lobby.enter(HERE).expect("room")).collect();
        let busy = tickets[0].busy();
        let new = lobby.enter(HERE).expect("room: one of the idle has become busy");
        assert!(!is_cut(&tickets[1]));
        tickets.push(lobby.enter(HERE).expect("room is made"));
        assert!(is_cut(&tickets[1]) && !is_cut(&tickets[0]) && !is_cut(&tickets[2]) && !is_cut(&new));
        drop(busy);
        for _ in 0..IDLE_MAX - 1 {
            tickets.push(lobby.enter(HERE).expect("room is made"));
        }
        assert!(!is_cut(&tickets[0]), "what was just served is the youngest of the idle");
        drop((tickets, new));
        let inside = lobby.inside();
        assert_eq!((inside.total, inside.idle.len(), inside.by_address.len()), (0, 0, 0));
    }

    #[test]
    fn when_all_are_served_nobody_enters_and_one_address_takes_no_more_than_its_share() {
        let lobby = Lobby::new(&Registry::new());
        let tickets: Vec<_> =
            (0..CONNECTIONS_MAX).map(|_| lobby.enter(HERE).expect("room")).map(|t| (t.busy(), t)).collect();
        assert!(lobby.enter(HERE).is_none());
        drop(tickets);
        let tickets: Vec<_> = (0..ADDRESS_MAX).map(|_| lobby.enter(THERE).expect("room")).collect();
        assert!(lobby.enter(THERE).is_none() && lobby.enter(HERE).is_some());
        drop(tickets);
        assert!(lobby.enter(THERE).is_some());
    }
}
