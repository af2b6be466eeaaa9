//! One list of behaviours that every venue's machine must pass, whatever its protocol. `docs/adding-a-venue.md` tells
//! what each is for; a new venue brings a [`conformance::case::Case`] and one line here.
#![allow(clippy::unwrap_used)]

mod conformance {
    pub mod alpaca;
    pub mod behaviours;
    pub mod binance;
    pub mod case;
    pub mod coinbase_advanced;
    pub mod coinbase_exchange;
    pub mod kraken;
    pub mod kraken_v1;
    pub mod missed;
    pub mod reader;
    pub mod world;

    /// Every behaviour by its name.
    pub mod all {
        pub use super::{behaviours::*, missed::*};
    }
}

macro_rules! suite {
    ($venue:ident, $case:ty: $($behaviour:ident),+ $(,)?) => {
        mod $venue {
            $(#[test] fn $behaviour() { crate::conformance::all::$behaviour::<$case>(); })+
        }
    };
    ($venue:ident, $case:ty) => {
        suite!($venue, $case:
            definitions_then_snapshot_then_changes,
            updates_before_the_snapshot_are_not_lost,
            a_gap_in_the_book_is_told_and_mended,
            one_bad_symbol_leaves_the_others_alone,
            an_unknown_symbol_is_refused_by_name,
            a_repeated_trade_is_told_once,
            a_jump_of_trade_ids_is_a_gap,
            a_mute_stream_is_stale,
            a_silent_socket_is_given_up,
            a_reconnect_drops_repeats_and_tells_the_gap,
            a_restart_goes_on_where_the_last_run_ended,
            a_bad_frame_costs_nothing_else,
            unknown_types_and_fields_are_passed_over,
            more_decimals_are_a_new_version,
            a_refresh_repeats_definition_state_and_book,
            a_book_that_many_ask_for_is_told_once_and_again_in_time,
            a_late_joiner_holds_the_same_book,
            the_same_inputs_give_the_same_bytes,
            hostile_bytes_change_nothing,
        );
    };
}

/// What venues do beside that serve old trades over REST.
macro_rules! missed_trades {
    ($module:ident, $case:ty) => {
        suite!($module, $case:
            missed_trades_are_fetched_and_told_late,
            a_restart_in_the_middle_of_a_backfill_goes_on,
            what_rest_no_longer_serves_stays_a_gap,
        );
    };
}

suite!(alpaca, crate::conformance::alpaca::Alpaca);
suite!(binance, crate::conformance::binance::Binance);
suite!(coinbase_advanced, crate::conformance::coinbase_advanced::CoinbaseAdvanced);
suite!(coinbase_exchange, crate::conformance::coinbase_exchange::CoinbaseExchange<false>);
suite!(kraken, crate::conformance::kraken::Kraken);
suite!(kraken_v1, crate::conformance::kraken_v1::KrakenV1);

suite!(kraken_v1_missed_trades, crate::conformance::kraken_v1::KrakenV1:
    what_a_cut_and_a_restart_hide_is_fetched_by_time,
);
missed_trades!(binance_missed_trades, crate::conformance::binance::Binance);
missed_trades!(coinbase_exchange_missed_trades, crate::conformance::coinbase_exchange::CoinbaseExchange<true>);
missed_trades!(coinbase_advanced_missed_trades, crate::conformance::coinbase_advanced::CoinbaseAdvanced);
missed_trades!(kraken_missed_trades, crate::conformance::kraken::Kraken);
