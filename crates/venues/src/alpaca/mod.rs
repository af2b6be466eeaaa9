//! Alpaca: US shares (v2) and crypto (v1beta3), market data as JSON or MessagePack. What is proven and what is not: see
//! this folder's README.

mod audit;
mod backfill;
mod books;
mod channels;
mod choices;
mod definitions;
mod exact;
mod fast;
mod float;
mod login;
mod machine;
mod map;
mod market;
mod messages;
mod msgpack;
mod packed;
mod pull;
mod recent;
mod spec;

pub use channels::CHANNELS;
pub use choices::Choices;
pub use spec::SPEC;

use crate::choices::refused;
use crate::{Credentials, MachineError, Settings, VenueMachine};
use choices::{Encoding, Feed};
use machine::{Alpaca, Line};
use map::{DAY_S, MINUTE_S};
use model::StreamKind;

/// The one symbol of the test stream.
const TEST_SYMBOL: &str = "FAKEPACA";

/// The path of the crypto stream.
const CRYPTO_PATH: &str = "/v1beta3/crypto/us";

/// The venue's symbols of each line, in the order given, each once.
fn split(settings: &Settings, choices: &Choices) -> Result<(Vec<String>, Vec<String>), MachineError> {
    let mut lines = (vec![], vec![]);
    for given in &settings.symbols {
        let symbol = definitions::venue_symbol(given);
        let pair = definitions::is_pair(&symbol);
        if !pair && (symbol == TEST_SYMBOL) != (choices.feed == Feed::Test) {
            let allowed = match choices.feed {
                Feed::Test => format!("{TEST_SYMBOL}, as feed = test has nothing else"),
                _ => format!("any share but {TEST_SYMBOL}, which feed = test alone has"),
            };
            return Err(refused(SPEC.venue, "symbols", given, allowed));
        }
        let line = if pair { &mut lines.1 } else { &mut lines.0 };
        if !line.contains(&symbol) {
            line.push(symbol);
        }
    }
    Ok(lines)
}

fn check(settings: &Settings) -> Result<(), MachineError> {
    let interval = settings.bar_interval_s;
    if settings.streams.contains(&StreamKind::Bar) && interval != MINUTE_S && interval != DAY_S {
        return Err(refused(SPEC.venue, "bar_interval_s", &interval.to_string(), format!("{MINUTE_S} or {DAY_S}")));
    }
    Ok(())
}

/// One machine, with the venue's own documented choices as key and value texts. Without symbols it reads any frame of
/// the venue, in either encoding.
pub fn machine(settings: &Settings, choices: &[(String, String)]) -> Result<Box<dyn VenueMachine>, MachineError> {
    let choices = Choices::read(SPEC.venue, choices)?;
    check(settings)?;
    let (line, wanted) = match split(settings, &choices)? {
        (shares, pairs) if pairs.is_empty() => (Line::Stocks, shares),
        (shares, pairs) if shares.is_empty() => (Line::Crypto, pairs),
        (shares, pairs) => {
            let both = format!("{} and {}", shares.join(" "), pairs.join(" "));
            return Err(refused(
                SPEC.venue,
                "symbols",
                &both,
                "shares or pairs: one connection has one kind".to_owned(),
            ));
        }
    };
    Ok(Box::new(Alpaca::new(settings, choices, line, wanted)))
}

/// A connection for shares and one for pairs, as the symbols need.
pub fn lines(settings: &Settings, choices: &[(String, String)]) -> Result<Vec<crate::Line>, MachineError> {
    let choices = Choices::read(SPEC.venue, choices)?;
    check(settings)?;
    let (shares, pairs) = split(settings, &choices)?;
    let missing = MachineError::NoCredentials { venue: SPEC.venue, variables: spec::CREDENTIALS };
    let keys = settings.credentials.as_ref().filter(|c| !c.key.is_empty() && !c.secret.is_empty()).ok_or(missing)?;
    let kinds = [
        ("stocks", format!("/v2/{}", choices.feed.path()), Line::Stocks, shares),
        ("crypto", CRYPTO_PATH.to_owned(), Line::Crypto, pairs),
    ];
    let needed = kinds.into_iter().filter(|(.., wanted)| !wanted.is_empty());
    Ok(needed.map(|(name, path, line, wanted)| connection(name, path, line, wanted, settings, choices, keys)).collect())
}

fn connection(
    name: &'static str,
    path: String,
    line: Line,
    wanted: Vec<String>,
    settings: &Settings,
    choices: Choices,
    keys: &Credentials,
) -> crate::Line {
    let packed = choices.encoding == Encoding::Msgpack;
    crate::Line {
        name,
        path,
        headers: packed.then(|| ("Content-Type", "application/msgpack".to_owned())).into_iter().collect(),
        rest_headers: vec![("APCA-API-KEY-ID", keys.key.clone()), ("APCA-API-SECRET-KEY", keys.secret.clone())],
        machine: Box::new(Alpaca::new(settings, choices, line, wanted)),
    }
}
