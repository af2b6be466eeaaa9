//! In steady state a frame costs no allocation: 10^5 frames through a plain stream and the decoder, counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use feed::transport::{Stream, wait, watch};
use feed::websocket::{Decoder, DecoderConfig, Deflate, Deflater, Encoder, Message, Role};

/// Counts the allocations of each thread by itself, so that the sending thread does not disturb.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|n| n.set(n.get() + 1));
}

// SAFETY: every call goes to the system allocator unchanged; counting touches only a const-initialised thread-local
// without a destructor, which itself never allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on as they are.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on as they are.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on as they are.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on as they are.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WARM_UP: usize = 2_000;
const MEASURED: usize = 100_000;

#[test]
fn a_hundred_thousand_frames_allocate_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("bound");
    let sender = thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("the reader");
        let (mut encoder, mut out) = (Encoder::server(), Vec::new());
        for number in 0..WARM_UP + MEASURED {
            // Every kind of frame that a healthy venue sends: short and 16-bit lengths, pings, fragments.
            match number % 16 {
                5 => encoder.ping(b"12345678", &mut out),
                11 => encoder.text_fragmented(&[b'f'; 900], 300, &mut out),
                _ => encoder.text_bytes(&[b'x'; 200][..number % 200], &mut out),
            }
            if out.len() > 16_384 {
                socket.write_all(&out).expect("the reader reads");
                out.clear();
            }
        }
        socket.write_all(&out).expect("the reader reads");
    });
    let mut stream = Stream::plain(TcpStream::connect(address).expect("the sender")).expect("a socket");
    let mut decoder = Decoder::new(DecoderConfig { buffer_bytes: 32 << 10, ..DecoderConfig::new(Role::Client) });
    let (mut encoder, mut pong) = (Encoder::client(fastrand::Rng::with_seed(3)), Vec::with_capacity(64));
    let (mut messages, mut before) = (0, 0);
    while messages < WARM_UP + MEASURED {
        while let Some(message) = decoder.next_message().expect("good frames") {
            messages += 1;
            if let Message::Ping(bytes) = message {
                pong.clear();
                encoder.pong(bytes, &mut pong);
            }
            if messages == WARM_UP {
                before = ALLOCATIONS.with(Cell::get);
            }
        }
        if messages == WARM_UP + MEASURED {
            break;
        }
        match decoder.fill(&mut stream) {
            Ok(read) => assert!(read > 0, "the sender left after {messages} messages"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut fds = [watch(&stream, stream.interest())];
                wait(&mut fds, Some(Duration::from_secs(20))).expect("poll");
            }
            Err(error) => panic!("reading: {error}"),
        }
    }
    let allocations = ALLOCATIONS.with(Cell::get) - before;
    assert!(before > 0, "the counter does not count");
    assert_eq!(allocations, 0);
    sender.join().expect("the sender");
}

#[test]
fn a_hundred_thousand_compressed_frames_allocate_nothing() {
    for alone in [false, true] {
        let terms = Deflate { server_no_context_takeover: alone, ..Deflate::default() };
        let (mut encoder, mut deflater) = (Encoder::server(), Deflater::server(&terms).expect("15 bits"));
        let config = DecoderConfig { deflate: Some(terms), buffer_bytes: 32 << 10, ..DecoderConfig::new(Role::Client) };
        let mut decoder = Decoder::new(config);
        let (mut out, mut before) = (Vec::with_capacity(1 << 16), 0);
        for number in 0..WARM_UP + MEASURED {
            if number == WARM_UP {
                before = ALLOCATIONS.with(Cell::get);
            }
            out.clear();
            let text = [b'a' + (number % 7) as u8; 300];
            encoder.text_deflated(&text[..number % 300], &mut deflater, &mut out);
            decoder.fill(&mut out.as_slice()).expect("room");
            match decoder.next_message().expect("good frames") {
                Some(Message::Text(read)) => assert_eq!(read, &text[..number % 300]),
                other => panic!("{other:?}"),
            }
        }
        assert!(before > 0, "the counter does not count");
        assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0, "each message alone: {alone}");
    }
}
