//! One Alpaca stream: greeting, login, subscriptions that add up, data in arrays.
//!
//! What the venue does not document is a choice here: a connection is closed after errors 402, 404, 406 and 409; with
//! keys in the upgrade's headers the login follows the greeting at once; a symbol that nobody trades stays silent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use feed::websocket::handshake::RequestHead;
use model::UnixNanos;
use serde_json::{Map, Value, json};

use super::{Endpoint, msgpack, topic_name};
use crate::connection::{Close, Desk, Heard, Protocol as ConnectionProtocol};
use crate::market::TopicId;
use crate::options::{Account, Limits};
use crate::outgoing::Dress;

/// All symbols of an endpoint.
const ALL: &str = "*";
/// Channels that come with `trades` and cannot be asked for.
const AUTOMATIC: [&str; 2] = ["corrections", "cancelErrors"];

/// Which connection holds the one session of an endpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions(Arc<Mutex<BTreeMap<Endpoint, u64>>>);

impl Sessions {
    /// Takes the session of an endpoint; `false` while another connection holds it.
    fn take(&self, endpoint: Endpoint, number: u64) -> bool {
        let mut held = self.0.lock().expect("no holder of this lock panics");
        *held.entry(endpoint).or_insert(number) == number
    }

    fn leave(&self, endpoint: Endpoint, number: u64) {
        let mut held = self.0.lock().expect("no holder of this lock panics");
        held.retain(|known, holder| *known != endpoint || *holder != number);
    }
}

pub(crate) struct Protocol {
    endpoint: Endpoint,
    number: u64,
    account: Account,
    sessions: Sessions,
    msgpack: bool,
    /// Key and secret of the upgrade's headers.
    from_headers: Option<(String, String)>,
    authenticated: bool,
    deadline: UnixNanos,
    /// How the connection ends, once an error says that it does.
    ending: Option<Close>,
    /// Symbols by channel, as asked for.
    subscriptions: BTreeMap<&'static str, Vec<String>>,
}

/// An error frame of the venue.
type Refused = (u16, &'static str);

const INVALID: Refused = (400, "invalid syntax");

impl Protocol {
    /// The protocol spoken at a path, if one is.
    pub(crate) fn at(
        head: &RequestHead,
        number: u64,
        account: &Account,
        sessions: &Sessions,
        limits: &Limits,
        now: UnixNanos,
    ) -> Option<Box<dyn ConnectionProtocol>> {
        let endpoint = Endpoint::at(&head.path)?;
        let content = head.header("Content-Type").unwrap_or_default();
        let from_headers = head.header("APCA-API-KEY-ID").zip(head.header("APCA-API-SECRET-KEY"));
        Some(Box::new(Protocol {
            endpoint,
            number,
            account: account.clone(),
            sessions: sessions.clone(),
            msgpack: content.eq_ignore_ascii_case("application/msgpack"),
            from_headers: from_headers.map(|(key, secret)| (key.to_owned(), secret.to_owned())),
            authenticated: false,
            deadline: now.after(limits.auth_within),
            ending: None,
            subscriptions: BTreeMap::new(),
        }))
    }

    fn request(&mut self, request: &Value, desk: &mut Desk<'_>) -> Result<(), Refused> {
        let text = |name: &str| request[name].as_str().unwrap_or_default();
        match text("action") {
            "auth" => self.login(text("key"), text("secret"), desk),
            "subscribe" | "unsubscribe" if !self.authenticated => Err((401, "not authenticated")),
            action @ ("subscribe" | "unsubscribe") => self.change(action == "subscribe", request, desk),
            _ => Err(INVALID),
        }
    }

    fn login(&mut self, key: &str, secret: &str, desk: &mut Desk<'_>) -> Result<(), Refused> {
        if self.authenticated {
            return Err((403, "already authenticated"));
        }
        let is_token = matches!(key, "oauth" | "access_token");
        if !is_token && key != self.account.key || secret != self.account.secret {
            return Err((402, "auth failed"));
        }
        if self.endpoint == Endpoint::Sip && !self.account.sip {
            return Err((409, "insufficient subscription"));
        }
        if !self.sessions.take(self.endpoint, self.number) {
            return Err((406, "connection limit exceeded"));
        }
        self.authenticated = true;
        desk.say("[{\"T\":\"success\",\"msg\":\"authenticated\"}]");
        Ok(())
    }

    fn change(&mut self, subscribes: bool, request: &Value, desk: &mut Desk<'_>) -> Result<(), Refused> {
        let mut subscriptions = self.subscriptions.clone();
        for (name, symbols) in request.as_object().ok_or(INVALID)?.iter().filter(|(name, _)| *name != "action") {
            let offered = |channel: &&&str| **channel == name.as_str() && !AUTOMATIC.contains(*channel);
            let channel = self.endpoint.channels().iter().find(offered).copied();
            let channel = channel.ok_or((410, "invalid subscribe action for this feed"))?;
            let list = subscriptions.entry(channel).or_default();
            for symbol in symbols.as_array().ok_or(INVALID)? {
                let symbol = symbol.as_str().filter(|symbol| self.is_formed(symbol)).ok_or(INVALID)?;
                list.retain(|known| known != symbol);
                if subscribes {
                    list.push(symbol.to_owned());
                }
            }
        }
        if subscribes && self.exceeds(&subscriptions) {
            return Err((405, "symbol limit exceeded"));
        }
        self.subscriptions = subscriptions;
        let snapshots = self.follow(desk);
        self.acknowledge(desk);
        snapshots.iter().for_each(|(topic, frame)| desk.snapshot(*topic, frame));
        Ok(())
    }

    fn is_formed(&self, symbol: &str) -> bool {
        let word = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'.')
        };
        symbol == ALL
            || match self.endpoint {
                Endpoint::Crypto => symbol.split_once('/').is_some_and(|(base, quote)| word(base) && word(quote)),
                _ => word(symbol),
            }
    }

    /// Whether trades and quotes name more symbols than the plan has; `*` names all.
    fn exceeds(&self, subscriptions: &BTreeMap<&'static str, Vec<String>>) -> bool {
        let Some(most) = self.account.symbols_max else { return false };
        let lists = ["trades", "quotes"].iter().filter_map(|channel| subscriptions.get(channel));
        let named: Vec<&String> = lists.flatten().collect();
        named.len() > most || named.iter().any(|symbol| *symbol == ALL)
    }

    /// Makes the connection's topics those of its subscriptions, and gives the snapshots of new ones.
    fn follow(&mut self, desk: &mut Desk<'_>) -> Vec<(TopicId, Vec<u8>)> {
        let symbols: Vec<String> = desk.market().pairs().iter().map(|pair| pair.symbol.clone()).collect();
        let mut wanted = BTreeSet::new();
        for (channel, asked) in &self.subscriptions {
            let everything = asked.iter().any(|symbol| symbol == ALL);
            let carried = symbols.iter().filter(|symbol| self.endpoint.carries(symbol));
            for symbol in carried.filter(|symbol| everything || asked.contains(symbol)) {
                let with = if *channel == "trades" { &AUTOMATIC[..] } else { &[] };
                for channel in std::iter::once(channel).chain(with) {
                    wanted.extend(desk.market().topic(&topic_name(self.endpoint, channel, symbol)));
                }
            }
        }
        let mut snapshots = Vec::new();
        let topics = desk.market().topics().len() as TopicId;
        for topic in 0..topics {
            match (wanted.contains(&topic), desk.is_subscribed(topic)) {
                (true, false) => snapshots.extend(desk.subscribe(topic).map(|frame| (topic, frame))),
                (false, true) => drop(desk.unsubscribe(topic)),
                _ => {}
            }
        }
        snapshots
    }

    fn acknowledge(&self, desk: &mut Desk<'_>) {
        let none = Vec::new();
        let trades = self.subscriptions.get("trades").unwrap_or(&none);
        let channels = self.endpoint.channels().iter().map(|channel| {
            let automatic = AUTOMATIC.contains(channel);
            let list = if automatic { trades } else { self.subscriptions.get(channel).unwrap_or(&none) };
            format!(",\"{channel}\":{}", json!(list))
        });
        desk.say(&format!("[{{\"T\":\"subscription\"{}}}]", channels.collect::<String>()));
    }

    fn handle(&mut self, request: Option<Value>, desk: &mut Desk<'_>) {
        let request = request.unwrap_or(Value::Object(Map::new()));
        if let Err(refused) = self.request(&request, desk) {
            self.refuse(refused, desk);
        }
    }

    fn refuse(&mut self, (code, msg): Refused, desk: &mut Desk<'_>) {
        desk.say(&format!("[{{\"T\":\"error\",\"code\":{code},\"msg\":\"{msg}\"}}]"));
        if matches!(code, 402 | 404 | 406 | 409) {
            self.ending = Some(Close { code: 1008, reason: msg });
        }
    }
}

impl ConnectionProtocol for Protocol {
    fn open(&mut self, desk: &mut Desk<'_>) {
        desk.out.dress = Dress::Batched { msgpack: self.msgpack };
        desk.say("[{\"T\":\"success\",\"msg\":\"connected\"}]");
        if let Some((key, secret)) = self.from_headers.take()
            && let Err(refused) = self.login(&key, &secret, desk)
        {
            self.refuse(refused, desk);
        }
    }

    fn heard(&mut self, _: Heard, _: UnixNanos) -> Option<Close> {
        None
    }

    fn text(&mut self, text: &[u8], desk: &mut Desk<'_>) {
        self.handle(serde_json::from_slice(text).ok(), desk);
    }

    fn binary(&mut self, bytes: &[u8], desk: &mut Desk<'_>) -> Option<Close> {
        self.handle(msgpack::read(bytes), desk);
        None
    }

    fn turn(&mut self, desk: &mut Desk<'_>) -> Option<Close> {
        if !self.authenticated && self.ending.is_none() && desk.now >= self.deadline {
            self.refuse((404, "auth timeout"), desk);
        }
        self.ending.clone()
    }

    fn next_timer(&self) -> UnixNanos {
        match (&self.ending, self.authenticated) {
            (Some(_), _) => UnixNanos::ZERO,
            (None, true) => UnixNanos(u64::MAX),
            (None, false) => self.deadline,
        }
    }
}

impl Drop for Protocol {
    fn drop(&mut self) {
        self.sessions.leave(self.endpoint, self.number);
    }
}
