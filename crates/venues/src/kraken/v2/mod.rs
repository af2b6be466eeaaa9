//! WebSocket v2: objects by channel. [`fast`] reads the usual shapes, [`any_order`] trades in another order, [`exact`] the
//! rest.

pub mod any_order;
pub mod exact;
pub mod fast;
