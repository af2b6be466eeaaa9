//! What clients of the stream say and what they are answered, as JSON texts.

use std::time::Duration;

use relay::Subscription;
use serde::Serialize;
use serde_json::{Map, Value};

/// A request, with the client's own number for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) id: Option<u64>,
    pub(crate) op: Op,
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Subscribe(Subscription),
    Unsubscribe,
    Ping,
}

/// Why a request makes no sense, and to whom to say so.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadRequest {
    pub(crate) id: Option<u64>,
    pub(crate) message: String,
}

/// Reads a request.
pub(crate) fn read(text: &str) -> Result<Request, BadRequest> {
    let nameless = |message: String| BadRequest { id: None, message };
    let mut fields: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| nameless(format!("a request is one JSON object, and this is not: {error}")))?;
    let id = match fields.remove("id") {
        None | Some(Value::Null) => None,
        Some(id) => {
            Some(id.as_u64().ok_or_else(|| nameless(format!("id {id} is not a whole number from 0 to 2^64 - 1")))?)
        }
    };
    let op = read_op(fields).map_err(|message| BadRequest { id, message })?;
    Ok(Request { id, op })
}

fn read_op(mut fields: Map<String, Value>) -> Result<Op, String> {
    const OPS: &str = "the ops are subscribe, unsubscribe and ping";
    let op = fields.remove("op").ok_or_else(|| format!("the request has no op; {OPS}"))?;
    let plain = |op: Op| match fields.keys().next() {
        Some(extra) => Err(format!("unknown field {extra:?}: this op takes none but id")),
        None => Ok(op),
    };
    match op.as_str() {
        Some("unsubscribe") => plain(Op::Unsubscribe),
        Some("ping") => plain(Op::Ping),
        Some("subscribe") => {
            let subscription: Subscription =
                serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())?;
            subscription.check().map_err(|error| error.to_string())?;
            Ok(Op::Subscribe(subscription))
        }
        _ => Err(format!("no op is called {op}; {OPS}")),
    }
}

/// What a client is answered.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Answer {
    Subscribed { id: Option<u64>, unknown_symbols: Vec<String>, warnings: Vec<String> },
    Unsubscribed { id: Option<u64> },
    Pong { id: Option<u64> },
    Error { id: Option<u64>, message: String },
}

impl Answer {
    pub(crate) fn too_many(id: Option<u64>, wait: Duration) -> Answer {
        let seconds = wait.as_secs_f64();
        Answer::Error { id, message: format!("too many requests; ask again in {seconds:.1} s") }
    }

    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts always become JSON")
    }
}

impl From<BadRequest> for Answer {
    fn from(bad: BadRequest) -> Answer {
        Answer::Error { id: bad.id, message: bad.message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Venue;
    use relay::{Slow, Start};

    #[test]
    fn requests_are_read() {
        let text = r#"{"op":"subscribe","id":7,"venues":["kraken"],"symbols":["BTC-USD"],"types":["trade"],"from":"oldest","slow":"disconnect"}"#;
        let subscription = Subscription {
            venues: vec![Venue::Kraken],
            symbols: vec!["BTC-USD".into()],
            types: vec!["trade".into()],
            from: Start::Oldest,
            slow: Slow::Disconnect,
            heartbeats: false,
            ..Subscription::default()
        };
        assert_eq!(read(text), Ok(Request { id: Some(7), op: Op::Subscribe(subscription) }));
        let all = Request { id: None, op: Op::Subscribe(Subscription::default()) };
        assert_eq!(read(r#"{"op":"subscribe"}"#), Ok(all));
        assert_eq!(read(r#"{"op":"ping","id":0}"#), Ok(Request { id: Some(0), op: Op::Ping }));
        assert_eq!(read(r#"{"id":null,"op":"unsubscribe"}"#), Ok(Request { id: None, op: Op::Unsubscribe }));
    }

    #[test]
    fn bad_requests_are_refused_by_name_and_to_their_id() {
        for (text, id, words) in [
            ("", None, "one JSON object"),
            ("[1]", None, "one JSON object"),
            (r#"{"op":"ping"} x"#, None, "one JSON object"),
            (r#"{"id":"a","op":"ping"}"#, None, "whole number"),
            (r#"{"id":-1,"op":"ping"}"#, None, "whole number"),
            (r#"{"id":3}"#, Some(3), "no op"),
            (r#"{"id":3,"op":"subscrib"}"#, Some(3), "subscrib"),
            (r#"{"id":3,"op":7}"#, Some(3), "7"),
            (r#"{"id":3,"op":"ping","loud":true}"#, Some(3), "loud"),
            (r#"{"id":3,"op":"subscribe","venues":["krakn"]}"#, Some(3), "krakn"),
            (r#"{"id":3,"op":"subscribe","types":["trades"]}"#, Some(3), "trades"),
            (r#"{"id":3,"op":"subscribe","symbol":"BTC-USD"}"#, Some(3), "symbol"),
            (r#"{"id":3,"op":"subscribe","from":{"time":"noon"}}"#, Some(3), "noon"),
        ] {
            let bad = read(text).expect_err(text);
            assert_eq!(bad.id, id, "{text}");
            assert!(bad.message.contains(words), "{text}: {}", bad.message);
        }
    }

    #[test]
    fn answers_look_like_lines() {
        let text = |answer: Answer| answer.text();
        assert_eq!(
            text(Answer::Subscribed { id: Some(1), unknown_symbols: vec!["X".into()], warnings: vec![] }),
            r#"{"type":"subscribed","id":1,"unknown_symbols":["X"],"warnings":[]}"#
        );
        assert_eq!(text(Answer::Unsubscribed { id: None }), r#"{"type":"unsubscribed","id":null}"#);
        assert_eq!(
            text(Answer::too_many(Some(2), Duration::from_millis(330))),
            r#"{"type":"error","id":2,"message":"too many requests; ask again in 0.3 s"}"#
        );
    }
}
