//! The REST worker against small servers of our own: good answers, limits, refusals, silence, and a clean stop.

mod certificates;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use certificates::Authority;
use feed::rest::{
    Completion, Method, QUEUE_MAX, Request, Response, RestClient, RestConfig, RestError, RestFailure, SubmitError,
};
use feed::transport::{ConnectError, Interest, Stream, TlsClient, TlsOptions, TlsServer, Waker, wait, watch};
use feed::websocket::handshake::RequestHead;

const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    client: RestClient,
    waker: Arc<Waker>,
}

impl Rig {
    fn new(config: RestConfig, options: TlsOptions) -> Self {
        let waker = Arc::new(Waker::new().expect("an eventfd"));
        let tls = TlsClient::new(&options).expect("good roots");
        Self { client: RestClient::new(&tls, config, Arc::clone(&waker)).expect("a thread"), waker }
    }

    fn get(&self, id: u64, url: &str) {
        let headers = vec![("X-Key".to_owned(), "k".to_owned())];
        self.client
            .submit(Request { id, method: Method::Get, url: url.to_owned(), headers })
            .expect("room in the queue");
    }

    fn next(&self) -> Completion {
        loop {
            if let Some(completion) = self.client.poll() {
                return completion;
            }
            let ready = wait(&mut [watch(&*self.waker, Interest::Read)], Some(PATIENCE)).expect("poll");
            assert_eq!(ready, 1, "no answer came");
            self.waker.clear();
        }
    }

    fn fetch(&self, url: &str) -> Result<Response, RestError> {
        self.get(1, url);
        self.next().result
    }
}

fn read_head(socket: &mut TcpStream) -> Option<RequestHead> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        let read = socket.read(&mut piece).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&piece[..read]);
        if let Some(head) = RequestHead::parse(&bytes).expect("a good request") {
            return Some(head);
        }
    }
}

/// Answers each of `connections` connections with what `respond` says, one request each.
fn serve(connections: usize, respond: impl Fn(&RequestHead) -> Vec<u8> + Send + 'static) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    let server = thread::spawn(move || {
        for _ in 0..connections {
            let (mut socket, _) = listener.accept().expect("a client");
            let Some(head) = read_head(&mut socket) else { continue };
            // A client that has read enough hangs up; that is its right.
            let _ = socket.write_all(&respond(&head));
        }
    });
    (base, server)
}

fn respond(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[test]
fn an_answer_carries_id_status_headers_and_body() {
    let (base, server) = serve(3, |head| {
        assert_eq!((head.method.as_str(), head.path.as_str()), ("GET", "/api/v3/depth"));
        assert_eq!(head.header("x-key"), Some("k"));
        let body = format!("{{\"symbol\":\"{}\"}}", head.query_value("symbol").expect("a symbol"));
        respond("200 OK", "X-MBX-USED-WEIGHT-1M: 250\r\n", body.as_bytes())
    });
    let rig = Rig::new(RestConfig::default(), TlsOptions::default());
    for id in 0..3 {
        rig.get(id, &format!("{base}/api/v3/depth?symbol=S{id}"));
    }
    for id in 0..3 {
        let completion = rig.next();
        let response = completion.result.expect("an answer");
        assert_eq!((completion.id, response.status), (id, 200));
        assert_eq!(response.header("x-mbx-used-weight-1m"), Some("250"));
        assert_eq!(response.body, format!("{{\"symbol\":\"S{id}\"}}").into_bytes());
        assert_eq!(response.retry_after(), None);
    }
    server.join().expect("the server");
}

#[test]
fn a_429_is_an_answer_with_a_pause() {
    let (base, server) = serve(1, |_| respond("429 Too Many", "Retry-After: 30\r\n", b"{\"code\":-1003}"));
    let response = Rig::new(RestConfig::default(), TlsOptions::default()).fetch(&base).expect("an answer");
    assert_eq!((response.status, response.retry_after()), (429, Some(Duration::from_secs(30))));
    assert_eq!(response.body, b"{\"code\":-1003}");
    server.join().expect("the server");
}

#[test]
fn gzip_is_understood() {
    // "hello" through gzip, by hand: header, one stored deflate block, CRC32 and length.
    let body = [
        &[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 1, 5, 0, 0xFA, 0xFF][..],
        b"hello",
        &0x3610_A686_u32.to_le_bytes(),
        &5_u32.to_le_bytes(),
    ]
    .concat();
    let (base, server) = serve(1, move |head| {
        assert!(head.header("accept-encoding").is_some_and(|v| v.contains("gzip")));
        respond("200 OK", "Content-Encoding: gzip\r\n", &body)
    });
    let response = Rig::new(RestConfig::default(), TlsOptions::default()).fetch(&base).expect("an answer");
    assert_eq!(response.body, b"hello");
    server.join().expect("the server");
}

#[test]
fn a_huge_body_is_cut_off_whether_declared_or_not() {
    let config = RestConfig { body_bytes_max: 10_000, ..RestConfig::default() };
    let rig = Rig::new(config, TlsOptions::default());
    let endless = [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".as_slice(), &[b'x'; 500_000]].concat();
    for answer in [respond("200 OK", "", &[b'x'; 10_001]), endless] {
        let (base, server) = serve(1, move |_| answer.clone());
        let error = rig.fetch(&base).expect_err("too long");
        assert!(matches!(error.failure, RestFailure::BodyTooLong { max: 10_000 }), "{error}");
        server.join().expect("the server");
    }
    let (base, server) = serve(1, |_| respond("200 OK", "", &[b'x'; 10_000]));
    assert_eq!(rig.fetch(&base).expect("exactly the limit").body.len(), 10_000);
    server.join().expect("the server");
}

#[test]
fn silence_ends_in_a_timeout_that_names_the_request() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let url = format!("http://{}/slow?key=SECRET", listener.local_addr().expect("bound"));
    let config = RestConfig { timeout: Duration::from_millis(200), ..RestConfig::default() };
    let error = Rig::new(config, TlsOptions::default()).fetch(&url).expect_err("silence");
    assert!(matches!(error.failure, RestFailure::Timeout { .. }), "{error}");
    let text = error.to_string();
    assert!(text.starts_with("GET http://127.0.0.1:") && text.contains("/slow: no complete response"), "{text}");
    assert!(!text.contains("SECRET"), "{text}");
}

#[test]
fn a_redirect_is_told_and_not_followed() {
    let (base, server) = serve(1, |_| respond("302 Found", "Location: http://other.invalid/\r\n", b""));
    let error = Rig::new(RestConfig::default(), TlsOptions::default()).fetch(&base).expect_err("a redirect");
    assert!(
        matches!(&error.failure, RestFailure::Redirect { status: 302, location } if location == "http://other.invalid/"),
        "{error}"
    );
    server.join().expect("the server");
}

#[test]
fn trouble_on_the_way_has_its_own_sentences() {
    let rig = Rig::new(RestConfig::default(), TlsOptions::default());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    drop(listener);
    let refused = rig.fetch(&url).expect_err("nobody there");
    assert!(matches!(&refused.failure, RestFailure::Io(e) if e.kind() == ErrorKind::ConnectionRefused), "{refused}");
    let (base, server) = serve(1, |_| b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf".to_vec());
    let cut = rig.fetch(&base).expect_err("half a body");
    assert!(matches!(cut.failure, RestFailure::Io(_) | RestFailure::Http(_)), "{cut}");
    server.join().expect("the server");
    for url in ["ws://x/", "nonsense", "http://"] {
        let request = Request { id: 1, method: Method::Get, url: url.to_owned(), headers: vec![] };
        assert!(matches!(rig.client.submit(request), Err(SubmitError::Url(_))), "{url}");
    }
}

/// Answers one request over TLS.
fn serve_tls(tls: TlsServer) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let port = listener.local_addr().expect("bound").port();
    let server = thread::spawn(move || {
        let (socket, _) = listener.accept().expect("a client");
        let mut stream = Stream::accept(socket, Some(&tls)).expect("a socket");
        let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            wait(&mut [watch(&stream, stream.interest())], Some(PATIENCE)).expect("poll");
            match stream.read(&mut piece) {
                Ok(0) => return,
                Ok(read) => bytes.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
            if RequestHead::parse(&bytes).expect("a good request").is_some() {
                break;
            }
        }
        stream.send(&respond("200 OK", "", b"secret")).expect("sent");
        stream.shutdown();
    });
    (port, server)
}

#[test]
fn https_trusts_the_extra_roots_and_nobody_else() {
    let authority = Authority::new();
    let identity = authority.identity("localhost", false);
    let tls = TlsServer::from_pem(&identity.certificate, &identity.key).expect("a good identity");
    let trusting = Rig::new(RestConfig::default(), TlsOptions { extra_roots: vec![authority.root()] });
    let (port, server) = serve_tls(tls.clone());
    assert_eq!(trusting.fetch(&format!("https://localhost:{port}/")).expect("an answer").body, b"secret");
    server.join().expect("the server");
    let (port, server) = serve_tls(tls.clone());
    let error = trusting.fetch(&format!("https://127.0.0.1:{port}/")).expect_err("another name");
    assert!(matches!(error.failure, RestFailure::Connect(ConnectError::WrongName { .. })), "{error}");
    server.join().expect("the server");
    let (port, server) = serve_tls(tls);
    let strict = Rig::new(RestConfig::default(), TlsOptions::default());
    let error = strict.fetch(&format!("https://localhost:{port}/")).expect_err("an unknown issuer");
    assert!(matches!(error.failure, RestFailure::Connect(ConnectError::UnknownIssuer { .. })), "{error}");
    server.join().expect("the server");
}

#[test]
fn a_full_queue_refuses_and_dropping_the_client_interrupts_what_hangs() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let config = RestConfig { timeout: Duration::from_secs(3600), ..RestConfig::default() };
    let rig = Rig::new(config, TlsOptions::default());
    rig.get(0, &url);
    // The worker has the first request in hand once it connects; the queue is empty then.
    let (socket, _) = listener.accept().expect("the worker");
    for id in 0..QUEUE_MAX as u64 {
        rig.get(id, &url);
    }
    let request = Request { id: 9, method: Method::Get, url, headers: vec![] };
    assert!(matches!(rig.client.submit(request), Err(SubmitError::Full)));
    // Would hang for an hour if the request under way were not interrupted.
    drop(rig);
    drop(socket);
}
