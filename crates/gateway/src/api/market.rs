//! The markets: what is traded where, in what state, the books as they are now, the trades of the last minutes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, Request};
use axum::http::Method;
use axum::response::Response;
use model::{UnixNanos, Venue};
use relay::table::BookTable;
use relay::{Client, ClientError, ClientOptions, Source, Start, Subscription};
use ring::Directory;
use ring::table::{Row, TableError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use wire::json::{Encoder, InstrumentLine, Line, StatusLine, TradeLine, decimal};
use wire::{TableLevel, TableSource};

use crate::access::{Role, Scope, needs};
use crate::error::ApiError;
use crate::limits::{REQUEST_BYTES_MAX, STREAMS_MAX};
use crate::routes::{Ask, Context, Nothing, Routes, blocking};
use crate::stream;

/// Levels a side that the tables hold.
const DEPTH_MAX: usize = 50;
/// Trades in one answer.
const TRADES_MAX: usize = 1000;
const TRADES_DEFAULT: usize = 100;
/// How far back recent trades are looked for.
const RECENT_S_MAX: u32 = 3600;
const RECENT_S_DEFAULT: u32 = 60;
/// How long a look through the rings may take; what was not reached by then is said.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// Looks through the rings at once: each takes a thread and a core.
const LOOKS_MAX: usize = 2;

pub(super) fn add(routes: &mut Routes) {
    let read = needs(Role::Viewer, Scope::Read);
    routes.json(Method::GET, "/v1/instruments", read, "Definitions of all instruments", instruments);
    routes.json(Method::GET, "/v1/venues", read, "The venues whose data is here, and how they are", venues);
    routes.json(Method::GET, "/v1/venues/{venue}/status", read, "Every state a venue's feed has told", status);
    routes.json(Method::GET, "/v1/tops", read, "Best bid and offer of all instruments, as they are now", tops);
    routes.json(Method::GET, "/v1/books/{venue}/{symbol}", read, "A book as it is now, at most 50 levels a side", book);
    routes.json(Method::GET, "/v1/trades/{venue}/{symbol}", read, "The last trades that the ring still holds", trades);
    let about = "The live stream: JSON over a WebSocket (docs/stream.md)";
    routes.socket("/v1/stream", needs(Role::Viewer, Scope::Stream), about, open_stream);
}

/// A permit for each look through the rings.
pub(crate) fn trades_at_once() -> Semaphore {
    Semaphore::new(LOOKS_MAX)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InstrumentsQuery {
    /// Only this venue's.
    venue: Option<String>,
    /// Only these: canonical or the venue's own spelling.
    symbol: Option<String>,
}

async fn instruments(
    context: Context,
    ask: Ask<Nothing, InstrumentsQuery, Nothing>,
) -> Result<Vec<InstrumentLine>, ApiError> {
    let InstrumentsQuery { venue, symbol } = ask.query;
    let wanted = |line: &&InstrumentLine| {
        venue.as_ref().is_none_or(|venue| *venue == line.venue)
            && symbol.as_ref().is_none_or(|symbol| {
                [&line.symbol, &line.venue_symbol].into_iter().any(|known| known.eq_ignore_ascii_case(symbol))
            })
    };
    Ok(context.shared.board.look().instruments.values().filter(wanted).cloned().collect())
}

/// A venue whose feed has run.
#[derive(Serialize, JsonSchema)]
struct VenueView {
    /// The venue.
    venue: String,
    /// Whether its data comes from an emulator.
    simulated: bool,
    /// The machine that wrote it.
    site: String,
    /// The build that wrote it.
    build: String,
    /// The run of its feed.
    epoch: u64,
    /// When the run began, ns since the Unix epoch.
    since_ns: u64,
    /// The state of its connection, the worst where there are several; `null` until one was told.
    connection: Option<String>,
    /// Instruments defined.
    instruments: usize,
    /// How many books are in which state.
    books: BTreeMap<String, usize>,
}

async fn venues(context: Context, _: Ask<Nothing, Nothing, Nothing>) -> Result<Vec<VenueView>, ApiError> {
    let known = context.shared.board.look();
    let view = |run: &wire::json::SessionStartLine| {
        let mut books = BTreeMap::new();
        for line in known.states_of(&run.venue).filter(|line| line.scope == "book") {
            *books.entry(line.state.clone()).or_default() += 1;
        }
        let connections = known.states_of(&run.venue).filter(|line| line.scope == "connection");
        VenueView {
            venue: run.venue.clone(),
            simulated: run.simulated,
            site: run.site.clone(),
            build: run.build.clone(),
            epoch: run.epoch,
            since_ns: run.ts_recv,
            connection: connections.map(|line| line.state.clone()).max_by_key(|state| state != "live"),
            instruments: known.instruments.values().filter(|line| line.venue == run.venue).count(),
            books,
        }
    };
    Ok(known.sessions.values().map(view).collect())
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct VenuePath {
    /// The venue.
    venue: String,
}

async fn status(context: Context, ask: Ask<VenuePath, Nothing, Nothing>) -> Result<Vec<StatusLine>, ApiError> {
    let venue = named(&ask.path.venue)?;
    Ok(context.shared.board.look().states_of(venue.name()).cloned().collect())
}

fn named(venue: &str) -> Result<Venue, ApiError> {
    let short: String = venue.chars().take(20).collect();
    venue.parse().map_err(|_| ApiError::not_found(format!("no venue is called {short:?}")))
}

/// The tables of latest values, opened as they are asked for.
pub(crate) struct Tables {
    directory: Option<Directory>,
    open: Mutex<BTreeMap<&'static str, BookTable>>,
}

impl Tables {
    /// Those beside the rings; none where records come over a socket.
    pub(crate) fn new(source: &Source) -> Tables {
        let directory = match source {
            Source::Rings(rings) | Source::RingsAndJournal { rings, .. } => Directory::open(rings).ok(),
            Source::Unix(_) | Source::Tcp(_) => None,
        };
        Tables { directory, open: Mutex::default() }
    }

    pub(crate) fn directory(&self) -> Option<&Directory> {
        self.directory.as_ref()
    }

    fn with<T>(&self, venue: Venue, ask: impl FnOnce(&mut BookTable) -> Result<T, TableError>) -> Result<T, ApiError> {
        let none =
            || ApiError::not_found(format!("there are no books of {venue} on this machine: its feed has not run"));
        let directory = self.directory.as_ref().ok_or_else(none)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let table = match open.get_mut(venue.name()) {
            Some(table) => table,
            None => {
                let table = BookTable::open(directory, venue).map_err(|error| match error {
                    TableError::NotFound { .. } => none(),
                    other => silent(venue, &other),
                })?;
                open.entry(venue.name()).or_insert(table)
            }
        };
        ask(table).map_err(|error| {
            // Another run may make another file.
            open.remove(venue.name());
            silent(venue, &error)
        })
    }
}

fn silent(venue: Venue, why: &TableError) -> ApiError {
    tracing::debug!(%venue, %why, "a table cannot be read");
    ApiError::unavailable(format!("nobody writes the books of {venue} at the moment"))
}

/// Best bid and offer.
#[derive(Serialize, JsonSchema)]
struct Top {
    /// The venue.
    venue: String,
    /// Canonical symbol.
    symbol: String,
    /// The book's state: only a `live` one is proven.
    state: String,
    /// Whether the data comes from an emulator.
    simulated: bool,
    /// Best bid price; `null` when there is none.
    bid: Option<String>,
    /// Its size.
    bid_size: Option<String>,
    /// Best ask price.
    ask: Option<String>,
    /// Its size.
    ask_size: Option<String>,
    /// ns since the Unix epoch, the venue's; 0 when it does not say.
    ts_event: u64,
    /// ns since the Unix epoch, ours.
    ts_recv: u64,
    /// The run of the feed.
    epoch: u64,
    /// The last record that it reflects.
    seq: u64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TopsQuery {
    /// Only this venue's.
    venue: Option<String>,
}

async fn tops(context: Context, ask: Ask<Nothing, TopsQuery, Nothing>) -> Result<Vec<Top>, ApiError> {
    let known: Vec<Venue> = match &ask.query.venue {
        Some(venue) => vec![named(venue)?],
        None => context.shared.board.look().sessions.keys().filter_map(|name| name.parse().ok()).collect(),
    };
    let asked_for_one = ask.query.venue.is_some();
    let (shared, now) = (context.shared.clone(), UnixNanos(context.shared.now_ns()));
    blocking(move || {
        let mut all = vec![];
        for venue in known {
            match shared.tables.with(venue, |table| tops_of(table, now)) {
                Ok(tops) => all.extend(tops),
                Err(error) if asked_for_one => return Err(error),
                // The others are told; /v1/system says what is wrong with this one.
                Err(_) => {}
            }
        }
        Ok(all)
    })
    .await?
}

fn tops_of(table: &mut BookTable, now: UnixNanos) -> Result<Vec<Top>, TableError> {
    let venue = table.venue().name();
    let listed = table.list(now)?;
    let mut all = Vec::with_capacity(listed.len());
    for one in listed.into_iter().filter(|one| !one.symbol.is_empty()) {
        let head = table.top(one.row, now)?;
        let (bid, ask) = (head.bid(), head.ask());
        all.push(Top {
            venue: venue.to_owned(),
            symbol: one.symbol,
            state: head.state().name().to_owned(),
            simulated: head.simulated != 0,
            bid: bid.map(|(price, _)| decimal(price.0, head.price_scale)),
            bid_size: bid.map(|(_, size)| decimal(size.0, head.size_scale)),
            ask: ask.map(|(price, _)| decimal(price.0, head.price_scale)),
            ask_size: ask.map(|(_, size)| decimal(size.0, head.size_scale)),
            ts_event: head.ts_event,
            ts_recv: head.ts_recv,
            epoch: head.epoch,
            seq: head.sequence,
        });
    }
    Ok(all)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InstrumentPath {
    /// The venue.
    venue: String,
    /// Canonical symbol or the venue's own; a slash is written %2F.
    symbol: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BookQuery {
    /// Levels a side, at most 50; left out: 50.
    depth: Option<usize>,
}

/// A book as it is now.
#[derive(Serialize, JsonSchema)]
struct BookView {
    /// The venue.
    venue: String,
    /// Canonical symbol.
    symbol: String,
    /// The venue's spelling.
    venue_symbol: String,
    /// `cold`, `syncing`, `live`, `suspect` or `halted`: only a `live` one is proven.
    state: String,
    /// Why it is in that state.
    reason: String,
    /// Since when, ns since the Unix epoch.
    since_ns: u64,
    /// Whether the data comes from an emulator.
    simulated: bool,
    /// `book`, or `quote` where there is a quote only, or `nothing`.
    source: String,
    /// The best bids, best first: price and size.
    bids: Vec<[String; 2]>,
    /// The best asks.
    asks: Vec<[String; 2]>,
    /// Bid levels of the whole book.
    bid_levels: u32,
    /// Ask levels of the whole book.
    ask_levels: u32,
    /// ns since the Unix epoch, the venue's; 0 when it does not say.
    ts_event: u64,
    /// ns since the Unix epoch, ours.
    ts_recv: u64,
    /// The run of the feed.
    epoch: u64,
    /// The last record that it reflects.
    seq: u64,
}

async fn book(context: Context, ask: Ask<InstrumentPath, BookQuery, Nothing>) -> Result<BookView, ApiError> {
    let InstrumentPath { venue, symbol } = ask.path;
    let venue = named(&venue)?;
    let depth = ask.query.depth.unwrap_or(DEPTH_MAX).min(DEPTH_MAX);
    let (shared, now) = (context.shared.clone(), UnixNanos(context.shared.now_ns()));
    let short: String = symbol.chars().take(64).collect();
    let found = blocking(move || {
        shared.tables.with(venue, |table| match table.find_symbol(&symbol, now)? {
            Some(row) => view(table, row, depth, now).map(Some),
            None => Ok(None),
        })
    });
    found.await??.ok_or_else(|| ApiError::not_found(format!("{venue} has no book of {short:?}")))
}

fn view(table: &mut BookTable, row: Row, depth: usize, now: UnixNanos) -> Result<BookView, TableError> {
    let venue = table.venue().name().to_owned();
    let whole = table.book(row, now)?;
    let head = &whole.head;
    let level = |level: &TableLevel| [decimal(level.price, head.price_scale), decimal(level.size, head.size_scale)];
    let source = match head.source() {
        TableSource::Nothing => "nothing",
        TableSource::Book => "book",
        TableSource::Quote => "quote",
    };
    Ok(BookView {
        venue,
        symbol: whole.symbol().to_owned(),
        venue_symbol: whole.venue_symbol().to_owned(),
        state: head.state().name().to_owned(),
        reason: head.reason().name().to_owned(),
        since_ns: head.since().0,
        simulated: head.simulated != 0,
        source: source.to_owned(),
        bids: whole.bids().iter().take(depth).map(level).collect(),
        asks: whole.asks().iter().take(depth).map(level).collect(),
        bid_levels: head.bids,
        ask_levels: head.asks,
        ts_event: head.ts_event,
        ts_recv: head.ts_recv,
        epoch: head.epoch,
        seq: head.sequence,
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TradesQuery {
    /// How many at most, up to 1000; left out: 100.
    limit: Option<usize>,
    /// How many seconds to look back, at most 3600; left out: 60.
    seconds: Option<u32>,
    /// Look through all that the ring holds instead.
    #[serde(default)]
    all: bool,
}

/// The last trades of an instrument.
#[derive(Serialize, JsonSchema)]
struct Trades {
    /// The oldest first.
    trades: Vec<TradeLine>,
    /// Whether these are all of the time looked back to: false when there were more than asked for, when the ring no longer
    /// holds the older ones, or when looking took too long.
    complete: bool,
}

async fn trades(context: Context, ask: Ask<InstrumentPath, TradesQuery, Nothing>) -> Result<Trades, ApiError> {
    let InstrumentPath { venue, symbol } = ask.path;
    let venue = named(&venue)?;
    let known = context.shared.board.look().knows(venue.name(), &symbol);
    if !known {
        let short: String = symbol.chars().take(64).collect();
        return Err(ApiError::not_found(format!("{venue} has no instrument {short:?}")));
    }
    let limit = ask.query.limit.unwrap_or(TRADES_DEFAULT).min(TRADES_MAX);
    let seconds = ask.query.seconds.unwrap_or(RECENT_S_DEFAULT).min(RECENT_S_MAX);
    let back = u64::from(seconds) * 1_000_000_000;
    let subscription = Subscription {
        venues: vec![venue],
        symbols: vec![symbol],
        types: vec!["trade".to_owned()],
        from: if ask.query.all { Start::Oldest } else { Start::Time(context.shared.now_ns().saturating_sub(back)) },
        ..Subscription::default()
    };
    let _turn = context.shared.looks.acquire().await.map_err(|error| ApiError::internal(&error))?;
    // What lies before the rings' time is history, not recent: a look through the journal could not end in time.
    let source = match &context.shared.source {
        Source::RingsAndJournal { rings, .. } => Source::Rings(rings.clone()),
        other => other.clone(),
    };
    blocking(move || recent(source, subscription, limit)).await?.map_err(|error| {
        tracing::debug!(%error, "recent trades");
        ApiError::unavailable(format!("the records of {venue} cannot be read at the moment"))
    })
}

/// Reads from the past up to now.
fn recent(source: Source, subscription: Subscription, limit: usize) -> Result<Trades, ClientError> {
    let mut client = Client::open(source, subscription, ClientOptions::default())?;
    let mut encoder = Encoder::new();
    let (mut last, mut complete) = (VecDeque::with_capacity(limit), true);
    let end = Instant::now() + LOOK_MAX;
    loop {
        let told = client.poll(|delivery, words| match encoder.push(delivery.envelope, words) {
            Ok(Some(Line::Trade(line))) => {
                if last.len() == limit {
                    last.pop_front();
                    complete = false;
                }
                if limit > 0 {
                    last.push_back(line);
                }
            }
            Ok(Some(Line::Overrun(_))) | Err(_) => complete = false,
            Ok(_) => {}
        })?;
        if told == 0 && client.lag().unwrap_or(0) == 0 {
            break;
        }
        if Instant::now() >= end {
            complete = false;
            break;
        }
    }
    Ok(Trades { trades: last.into(), complete })
}

async fn open_stream(context: Context, request: Request) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
        .await
        .map_err(|rejection| ApiError::of_status(rejection.status()))?;
    let Context { shared, caller, .. } = context;
    let caller = caller.ok_or_else(|| ApiError::unauthenticated("this needs a credential"))?;
    let Some(seat) = shared.seats.take() else {
        let full = format!("{STREAMS_MAX} streams are open, which is all there may be; close one");
        return Err(ApiError::unavailable(full));
    };
    let stopping = shared.stopping.subscribe();
    let client = shared.next_client();
    let serve = move |socket| async move {
        stream::serve(socket, &shared, Arc::new(caller), client, stopping).await;
        drop(seat);
    };
    Ok(upgrade.max_message_size(REQUEST_BYTES_MAX).max_frame_size(REQUEST_BYTES_MAX).on_upgrade(serve))
}
