//! The older paths under `/v2` that some clients ask for the names of assets and for what they are worth.

use feed::websocket::handshake::RequestHead;
use serde_json::{Map, Value, json};

use super::assets;
use crate::http::Response;
use crate::market::Market;
use crate::text::push_padded;

/// Decimals of a rate.
const RATE_SCALE: u8 = 12;

/// Answers one request.
pub(super) fn answer(head: &RequestHead, market: &mut dyn Market) -> Response {
    let body = match head.path.as_str() {
        "/v2/currencies" => currencies(market, true),
        "/v2/currencies/crypto" => currencies(market, false),
        "/v2/exchange-rates" => rates(market),
        _ => {
            let body = json!({"errors": [{"id": "not_found", "message": "Not found"}]});
            return Response::json(404, body.to_string()).unknown();
        }
    };
    Response::json(200, json!({"data": body}).to_string())
}

fn currencies(market: &dyn Market, money: bool) -> Value {
    let list = assets(market.pairs()).into_iter().filter(|(_, is_money)| *is_money == money).enumerate();
    Value::from_iter(list.map(|(index, (name, _))| match money {
        true => json!({"id": name, "name": name, "min_size": "0.01"}),
        false => json!({"asset_id": name, "code": name, "name": name, "color": "#000000", "sort_index": 100 + index,
                        "exponent": 8, "type": "crypto", "address_regex": ""}),
    }))
}

/// How much of each asset a dollar buys, at the best bid.
fn rates(market: &mut dyn Market) -> Value {
    let mut rates = Map::from_iter([("USD".to_owned(), Value::from("1.0"))]);
    for at in 0..market.pairs().len() {
        let bid = market.book(at, 1).and_then(|view| view.bids.first().copied());
        let pair = &market.pairs()[at];
        if let Some(bid) = bid.filter(|bid| pair.quote == "USD" && bid.price.0 > 0) {
            let one = 10_i128.pow(u32::from(pair.price_scale) + u32::from(RATE_SCALE));
            let rate = i64::try_from(one / i128::from(bid.price.0)).unwrap_or(i64::MAX);
            let mut text = Vec::new();
            push_padded(rate, RATE_SCALE, &mut text);
            rates.insert(pair.base.clone(), Value::from(String::from_utf8_lossy(&text).into_owned()));
        }
    }
    json!({"currency": "USD", "rates": rates})
}
