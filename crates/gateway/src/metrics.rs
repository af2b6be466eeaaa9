//! What the gateway counts.

use telemetry::{Counter, Gauge, Registry};

/// The gateway's metrics.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) clients: Gauge,
    pub(crate) lines: Counter,
    pub(crate) overruns: Counter,
    pub(crate) untold: Counter,
}

impl Metrics {
    pub(crate) fn new(registry: Registry) -> Metrics {
        Metrics {
            clients: registry.gauge("ws_clients", "Streams that are open.", &[]),
            lines: registry.counter("ws_lines_total", "Lines sent to all streams.", &[]),
            overruns: registry.counter("ws_overruns_total", "Overruns told to streams that were too slow.", &[]),
            untold: registry.counter("ws_untold_total", "Records without a JSON form, such as undefined ones.", &[]),
            registry,
        }
    }

    /// How far one stream is behind; forgotten when dropped.
    pub(crate) fn lag(&self, client: u64) -> Lag {
        let client = client.to_string();
        let labels = [("client", client.as_str())];
        let gauge = self.registry.gauge("ws_lag_slots", "Ring slots of 64 bytes a stream is behind.", &labels);
        Lag { gauge, client, registry: self.registry.clone() }
    }
}

/// One stream's lag.
pub(crate) struct Lag {
    gauge: Gauge,
    client: String,
    registry: Registry,
}

impl Lag {
    pub(crate) fn set(&self, slots: Option<u64>) {
        if let Some(slots) = slots {
            self.gauge.set(i64::try_from(slots).unwrap_or(i64::MAX));
        }
    }
}

impl Drop for Lag {
    fn drop(&mut self) {
        self.registry.forget("client", &self.client);
    }
}
