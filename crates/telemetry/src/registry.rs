//! The metrics of a process and their rendering in the Prometheus text format.

use crate::Histogram;
use std::{
    fmt::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

/// A number that only grows.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds to it.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
    /// Sets it to what another counter shows.
    #[inline]
    pub fn set(&self, total: u64) {
        self.0.store(total, Relaxed);
    }
    /// What it shows.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Sets it.
    #[inline]
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }
    /// What it shows.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

enum Value {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Arc<Histogram>),
}

struct Metric {
    name: &'static str,
    help: &'static str,
    labels: String,
    value: Value,
}

/// The metrics of one process. Registering locks; counting does not.
#[derive(Clone, Default)]
pub struct Registry {
    metrics: Arc<Mutex<Vec<Metric>>>,
}

/// Upper bounds of the buckets shown of a histogram, in microseconds.
const BOUNDS_US: [u64; 16] =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000, 1_000_000, 10_000_000];

impl Registry {
    /// No metrics.
    pub fn new() -> Registry {
        Registry::default()
    }

    fn add(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)], value: Value) {
        let escape = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escape(v))).collect::<Vec<_>>().join(",");
        let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        // The same name and labels again replace the old ones: a client that reconnects is counted anew.
        metrics.retain(|m| m.name != name || m.labels != labels);
        let at = metrics.iter().rposition(|m| m.name == name).map_or(metrics.len(), |i| i + 1);
        metrics.insert(at, Metric { name, help, labels, value });
    }

    /// A counter; by convention its name ends in `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Counter {
        let c = Counter::default();
        self.add(name, help, labels, Value::Counter(c.clone()));
        c
    }

    /// A gauge.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Gauge {
        let g = Gauge::default();
        self.add(name, help, labels, Value::Gauge(g.clone()));
        g
    }

    /// A histogram of nanoseconds, shown in microseconds; by convention its name ends in `_us`.
    pub fn histogram(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Arc<Histogram> {
        let h = Arc::new(Histogram::new());
        self.add(name, help, labels, Value::Histogram(h.clone()));
        h
    }

    /// Forgets every metric that carries this label.
    pub fn forget(&self, label: &str, value: &str) {
        let needle = format!("{label}=\"{value}\"");
        let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        metrics.retain(|m| !m.labels.split(',').any(|l| l == needle));
    }

    /// All metrics in the Prometheus text format, version 0.0.4.
    pub fn render(&self) -> String {
        let metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        let mut last = "";
        for m in metrics.iter() {
            if m.name != last {
                let kind = match m.value {
                    Value::Counter(_) => "counter",
                    Value::Gauge(_) => "gauge",
                    Value::Histogram(_) => "histogram",
                };
                let _ = writeln!(out, "# HELP {} {}\n# TYPE {} {kind}", m.name, m.help, m.name);
                last = m.name;
            }
            let braced = |extra: &str| match (m.labels.is_empty(), extra.is_empty()) {
                (true, true) => String::new(),
                (false, true) => format!("{{{}}}", m.labels),
                (true, false) => format!("{{{extra}}}"),
                (false, false) => format!("{{{},{extra}}}", m.labels),
            };
            let _ = match &m.value {
                Value::Counter(c) => writeln!(out, "{}{} {}", m.name, braced(""), c.get()),
                Value::Gauge(g) => writeln!(out, "{}{} {}", m.name, braced(""), g.get()),
                Value::Histogram(h) => {
                    for us in BOUNDS_US {
                        let le = format!("le=\"{us}\"");
                        let _ = writeln!(out, "{}_bucket{} {}", m.name, braced(&le), h.count_to(us * 1000));
                    }
                    let count = h.count();
                    let _ = writeln!(out, "{}_bucket{} {count}", m.name, braced("le=\"+Inf\""));
                    let _ = writeln!(out, "{}_sum{} {}", m.name, braced(""), h.sum() as f64 / 1000.0);
                    writeln!(out, "{}_count{} {count}", m.name, braced(""))
                }
            };
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let r = Registry::new();
        let a = r.counter("trades_total", "Trades told.", &[("venue", "kraken")]);
        let h = r.histogram("hop_us", "A hop.", &[("venue", "kraken")]);
        let b = r.counter("trades_total", "Trades told.", &[("venue", "bin\"ance")]);
        a.add(3);
        b.add(4);
        h.record(1_500);
        h.record(3_000_000);
        r.gauge("lag", "Records behind.", &[]).set(-1);
        let text = r.render();
        assert!(text.starts_with(
            "# HELP trades_total Trades told.\n# TYPE trades_total counter\n\
             trades_total{venue=\"kraken\"} 3\ntrades_total{venue=\"bin\\\"ance\"} 4\n"
        ));
        assert!(text.contains("hop_us_bucket{venue=\"kraken\",le=\"2\"} 1\n"), "{text}");
        assert!(text.contains("hop_us_bucket{venue=\"kraken\",le=\"+Inf\"} 2\n"));
        assert!(text.contains("hop_us_sum{venue=\"kraken\"} 3001.5\n"));
        assert!(text.ends_with("lag -1\n"));
        r.forget("venue", "kraken");
        assert!(!r.render().contains("kraken"));
    }
}
