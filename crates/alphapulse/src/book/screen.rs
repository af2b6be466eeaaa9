//! The ladder in a terminal: bids left, asks right, best at the top, cumulative size as bars beneath the numbers. Made for
//! 80 columns and 24 lines; what is larger shows more levels, what is smaller fewer.
//!
//! A book that is not live is drawn without its colours and says so in its first line; when nobody writes it any
//! more the last picture stays, under the words why.

use super::picture::{Level, Picture, clock_time, fixed, short, total};
use super::source::Source;
use super::text::{extent, summary, who};
use anyhow::Context;
use model::BookState;
use ratatui::{
    DefaultTerminal, Frame,
    buffer::Buffer,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    layout::Rect,
    style::{Color, Modifier, Style, Stylize},
    text::{Line, Span},
    widgets::{Paragraph, Widget},
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Lines that are no levels: three of words, one of titles, one of keys.
const WORDS_ABOVE: u16 = 4;
const WORDS_BELOW: u16 = 1;
const KEYS: &str = "q: quit";

/// What there is to draw.
#[derive(Default)]
pub struct Shown {
    pub picture: Option<Picture>,
    /// Why there is no newer one.
    pub trouble: Option<String>,
}

/// Draws until it is asked to end.
pub fn show(terminal: &mut DefaultTerminal, source: &mut Source, rate: u8, stop: &AtomicBool) -> anyhow::Result<()> {
    let step = Duration::from_secs(1) / u32::from(rate);
    let mut shown = Shown::default();
    while !stop.load(Ordering::Acquire) {
        let begun = Instant::now();
        match source.look(super::now()) {
            Ok(picture) => shown = Shown { picture: Some(picture), trouble: None },
            Err(why) => shown.trouble = Some(why.to_string()),
        }
        terminal.draw(|frame| draw(frame, &shown)).context("the terminal cannot be written")?;
        while event::poll(step.saturating_sub(begun.elapsed())).context("the terminal cannot be read")? {
            if is_end(&event::read().context("the terminal cannot be read")?) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn is_end(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press && (control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

/// One frame.
pub fn draw(frame: &mut Frame<'_>, shown: &Shown) {
    let area = frame.area();
    let Some(picture) = &shown.picture else {
        let words = shown.trouble.as_deref().unwrap_or("nothing was read yet");
        return frame.render_widget(Paragraph::new(words.red()), area);
    };
    let believed = picture.is_live() && shown.trouble.is_none();
    let lines = [
        title(picture, shown.trouble.is_some()),
        age(picture, shown),
        Line::from(summary(picture)),
        if picture.parts.is_empty() { titles(area.width) } else { parts(picture) },
    ];
    for (n, line) in (0u16..).zip(lines) {
        if n < area.height {
            frame.render_widget(line, Rect { y: area.y + n, height: 1, ..area });
        }
    }
    let levels = area.height.saturating_sub(WORDS_ABOVE + WORDS_BELOW);
    let ladder = Rect { y: area.y + WORDS_ABOVE.min(area.height), height: levels, ..area };
    if picture.parts.is_empty() {
        frame.render_widget(Ladder { picture, believed }, ladder);
    } else {
        merged(frame, picture, believed, ladder);
    }
    if area.height > WORDS_ABOVE {
        // How deep it is each venue's book says; here there is room for their records.
        let depth = if picture.parts.is_empty() { format!("    {}", extent(picture)) } else { String::new() };
        let words = format!("{KEYS}{depth}    {}", records(picture));
        frame.render_widget(Line::from(words).dim(), Rect { y: area.bottom() - 1, height: 1, ..area });
    }
}

/// Which record the picture reflects, of each venue its own.
fn records(p: &Picture) -> String {
    if let Some((epoch, sequence)) = p.record {
        return format!("epoch {epoch} sequence {sequence}");
    }
    let own: Vec<String> = p.parts.iter().map(|part| format!("{} {}", part.venue, part.record.1)).collect();
    own.join(" · ")
}

fn title(p: &Picture, gone: bool) -> Line<'static> {
    let colour = match p.state {
        _ if gone => Color::Red,
        BookState::Live => Color::Green,
        BookState::Syncing => Color::Yellow,
        BookState::Cold => Color::DarkGray,
        BookState::Suspect | BookState::Halted => Color::Red,
    };
    let state = if gone { "GONE".to_owned() } else { p.state.name().to_uppercase() };
    let badge = Style::new().fg(Color::Black).bg(colour).add_modifier(Modifier::BOLD);
    let mut spans = vec![
        Span::from(format!("{} ", p.symbol)).bold(),
        Span::from(format!("{} ({})  ", p.place, p.venue_symbol)),
        Span::styled(format!(" {state} "), badge),
        Span::from(format!(" {} since {} UTC ", p.reason, clock_time(p.since))),
    ];
    if p.simulated {
        spans.push(Span::from(" SIMULATED ").reversed());
    }
    Line::from(spans)
}

fn age(p: &Picture, shown: &Shown) -> Line<'static> {
    if let Some(trouble) = &shown.trouble {
        return Line::from(trouble.clone()).red();
    }
    let age = p.age().map_or_else(|| "nothing told yet".to_owned(), |age| format!("age {}", short(age)));
    let held = format!("in this state for {}", short(p.now.since(p.since)));
    let (held, warning) = match p.left_out() {
        _ if !p.is_live() => (held, "    NOT LIVE: these prices are what was known last".to_owned()),
        // Who is missing is worth more than for how long all others were there.
        Some(who) => (String::new(), format!("LEFT OUT: {who}")),
        None => (held, String::new()),
    };
    Line::from(vec![Span::from(format!("{age}    {held}")), Span::from(warning).red()])
}

/// Whose books a consolidated one is made of.
fn parts(p: &Picture) -> Line<'static> {
    let mut spans = vec![];
    for one in &p.parts {
        if !spans.is_empty() {
            spans.push(Span::from(" · "));
        }
        spans.push(match one.state {
            BookState::Live => Span::from(format!("{} live {}", one.venue, short(p.now.since(one.ts_recv)))),
            state => Span::from(format!("{} {} left out", one.venue, state.name().to_uppercase())).red(),
        });
    }
    Line::from(spans)
}

/// A consolidated book: asks above bids, each with who has how much.
fn merged(frame: &mut Frame<'_>, p: &Picture, believed: bool, area: Rect) {
    let above = usize::from(area.height / 2);
    let below = usize::from(area.height) - above;
    let decimals = p.price_decimals();
    let line = |level: &Level, colour: Color| {
        let price = fit(fixed(p.price(level.price), decimals), 12);
        let words = format!("{price:>12} {:>14}  ", fit(p.size(level.size).to_string(), 14));
        let colour = if believed { colour } else { Color::DarkGray };
        Line::from(vec![Span::from(words).fg(colour), Span::from(who(p, level))])
    };
    let asks = p.asks.iter().take(above).map(|level| line(level, Color::Red));
    let bids = p.bids.iter().take(below).map(|level| line(level, Color::Green));
    let place = |y: usize| Rect { y: area.y + y as u16, height: 1, ..area };
    for (n, line) in asks.enumerate() {
        frame.render_widget(line, place(above - 1 - n));
    }
    for (n, line) in bids.enumerate() {
        frame.render_widget(line, place(above + n));
    }
}

fn titles(width: u16) -> Line<'static> {
    let [sum, size, price] = columns(width);
    Line::from(format!(
        "{:>sum$} {:>size$} {:>price$}  {:<price$} {:<size$} {:<sum$}",
        "sum", "size", "bid", "ask", "size", "sum"
    ))
    .underlined()
}

/// Widths of sum, size and price on each side.
fn columns(width: u16) -> [usize; 3] {
    let side = usize::from(width).saturating_sub(2) / 2;
    // Two blanks between three columns; prices are the longest.
    let price = (side.saturating_sub(2) * 2 / 5).max(1);
    let rest = side.saturating_sub(2).saturating_sub(price);
    [rest / 2, rest - rest / 2, price]
}

/// The levels.
struct Ladder<'a> {
    picture: &'a Picture,
    believed: bool,
}

impl Widget for Ladder<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Ladder { picture: p, believed } = self;
        let rows = usize::from(area.height);
        // One scale for both sides, so that bars can be compared.
        let largest = total(&p.bids, rows).max(total(&p.asks, rows)).max(1);
        let widths = columns(area.width);
        let side_width: usize = widths.iter().sum::<usize>() + 2;
        let size_decimals = [&p.bids, &p.asks]
            .into_iter()
            .flat_map(|side| side.iter().take(rows))
            .map(|level| p.size(level.size).decimals())
            .max()
            .unwrap_or(0);
        let cells = Cells { p, widths, decimals: (p.price_decimals(), size_decimals) };
        for (is_bid, levels) in [(true, &p.bids), (false, &p.asks)] {
            let mut sum = 0;
            for (y, level) in (area.y..area.bottom()).zip(levels) {
                sum += level.size;
                let text = cells.row(level, sum, is_bid);
                let bar = (sum * side_width as i128 / largest) as usize;
                let colour = match (believed, is_bid) {
                    (false, _) => Color::DarkGray,
                    (true, true) => Color::Green,
                    (true, false) => Color::Red,
                };
                let start = if is_bid { area.x } else { area.x + side_width as u16 + 2 };
                for (n, character) in text.chars().take(side_width).enumerate() {
                    // Bars grow away from the touch, which is in the middle.
                    let covered = if is_bid { n >= side_width - bar.min(side_width) } else { n < bar };
                    let style = Style::new().fg(if covered { Color::White } else { colour });
                    let style = if covered { style.bg(dark(colour)) } else { style };
                    if let Some(cell) = buffer.cell_mut((start + n as u16, y)) {
                        cell.set_char(character).set_style(style);
                    }
                }
            }
        }
    }
}

fn dark(colour: Color) -> Color {
    match colour {
        Color::Green => Color::Indexed(22),
        Color::Red => Color::Indexed(52),
        _ => Color::Indexed(236),
    }
}

struct Cells<'a> {
    p: &'a Picture,
    widths: [usize; 3],
    /// Of prices and of sizes.
    decimals: (u8, u8),
}

impl Cells<'_> {
    fn row(&self, level: &Level, sum: i128, is_bid: bool) -> String {
        let [sums, sizes, prices] = self.widths;
        let price = fit(fixed(self.p.price(level.price), self.decimals.0), prices);
        let size = fit(fixed(self.p.size(level.size), self.decimals.1), sizes);
        let sum = fit(fixed(self.p.size(sum), self.decimals.1), sums);
        if is_bid {
            format!("{sum:>sums$} {size:>sizes$} {price:>prices$}")
        } else {
            format!("{price:<prices$} {size:<sizes$} {sum:<sums$}")
        }
    }
}

/// Digits behind the point give way first; a number whose whole part does not fit is not shown as another.
fn fit(number: String, width: usize) -> String {
    if number.len() <= width {
        return number;
    }
    let whole = number.find('.').unwrap_or(number.len());
    match width {
        width if width > whole + 1 => number[..width].to_owned(),
        width if width >= whole => number[..whole].to_owned(),
        _ => "#".repeat(width),
    }
}
