//! A proxy between the server and one of its stores, which can cut its connections, refuse new ones, or swallow what is sent.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the proxy does with what passes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Hands it on.
    Open,
    /// Keeps connections, and hands nothing on until it opens again.
    BlackHole,
    /// Ends every connection, and each new one at once.
    Cut,
    /// Ends every connection, and each new one after its first words, as a balancer does that has no server.
    HangUp,
}

/// Where it leads.
#[derive(Clone)]
pub(crate) enum Target {
    Unix(PathBuf),
    Tcp(String),
}

impl Target {
    /// The PostgreSQL of `url`.
    fn postgres(url: &str) -> Self {
        let parsed = url::Url::parse(url).expect("a URL");
        let folder = parsed.query_pairs().find(|(name, _)| name == "host").map(|(_, value)| value.into_owned());
        let port = parsed.port().unwrap_or(5432);
        match folder {
            Some(folder) => Self::Unix(PathBuf::from(folder).join(format!(".s.PGSQL.{port}"))),
            None => Self::Tcp(format!("{}:{port}", parsed.host_str().expect("a host"))),
        }
    }
}

/// A running proxy; dropping it ends it.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    mode: Arc<watch::Sender<Mode>>,
    target: Arc<watch::Sender<Target>>,
    asked: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(target: Target) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mode = Arc::new(watch::Sender::new(Mode::Open));
        let target = Arc::new(watch::Sender::new(target));
        let asked = Arc::<AtomicUsize>::default();
        let (modes, targets, count) = (mode.clone(), target.clone(), asked.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mode = *modes.borrow();
                match mode {
                    Mode::Cut => {}
                    Mode::HangUp => drop(tokio::spawn(hang_up(client))),
                    Mode::Open | Mode::BlackHole => {
                        tokio::spawn(connect(client, targets.borrow().clone(), modes.subscribe(), count.clone()));
                    }
                }
            }
        });
        Self { port, mode, target, asked, accepting }
    }

    /// Puts it before the PostgreSQL of `url`; answers the URL through it.
    pub(crate) async fn before_postgres(url: &str) -> (Self, String) {
        let proxy = Self::to(Target::postgres(url)).await;
        let mut through = url::Url::parse(url).expect("a URL");
        through.set_query(Some("sslmode=disable"));
        through.set_host(Some("127.0.0.1")).expect("a host");
        through.set_port(Some(proxy.port)).expect("a port");
        (proxy, through.to_string())
    }

    /// Puts it before the Redis of `url`; answers the URL through it.
    pub(crate) async fn before_redis(url: &str) -> (Self, String) {
        let path = url.split_once("://").map(|(_, path)| path.split('?').next().unwrap_or(path));
        let proxy = match path.filter(|_| url.contains("unix")) {
            Some(path) => Self::to(Target::Unix(path.into())).await,
            None => Self::to(Target::Tcp(path.expect("an address").trim_end_matches('/').to_owned())).await,
        };
        let through = format!("redis://127.0.0.1:{}", proxy.port);
        (proxy, through)
    }

    /// Leads new connections to the PostgreSQL of `url` from now on, as an address does that another machine takes over.
    pub(crate) fn turn_to_postgres(&self, url: &str) {
        self.target.send_replace(Target::postgres(url));
    }

    /// How many times something was sent to the store: the round trips, as long as each is waited for.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Mode::Cut);
        self.accepting.abort();
    }
}

/// Hears what is said first, and ends in order.
async fn hang_up(mut client: TcpStream) {
    let _heard = client.read(&mut [0; 64]).await;
    let _ended = client.shutdown().await;
}

async fn connect(client: TcpStream, target: Target, modes: watch::Receiver<Mode>, asked: Arc<AtomicUsize>) {
    let (from, to) = client.into_split();
    match target {
        Target::Unix(path) => {
            if let Ok(server) = UnixStream::connect(path).await {
                let (back, forth) = server.into_split();
                pump(from, forth, back, to, modes, &asked).await;
            }
        }
        Target::Tcp(address) => {
            if let Ok(server) = TcpStream::connect(address).await {
                let (back, forth) = server.into_split();
                pump(from, forth, back, to, modes, &asked).await;
            }
        }
    }
}

/// Both directions, until either ends or the proxy is cut.
async fn pump(
    from: impl AsyncRead + Unpin, forth: impl AsyncWrite + Unpin, back: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin, mut modes: watch::Receiver<Mode>, asked: &AtomicUsize,
) {
    let (cut, answered) = (modes.clone(), AtomicUsize::new(0));
    let is_cut = async move { modes.wait_for(|mode| matches!(mode, Mode::Cut | Mode::HangUp)).await.map(|_| ()) };
    tokio::select! {
        () = copy(from, forth, cut.clone(), asked) => {}
        () = copy(back, to, cut, &answered) => {}
        _either = is_cut => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut modes: watch::Receiver<Mode>,
    count: &AtomicUsize,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(size) = from.read(&mut buffer).await {
        if size == 0 || modes.wait_for(|mode| *mode != Mode::BlackHole).await.is_err() {
            return;
        }
        count.fetch_add(1, Ordering::SeqCst);
        if to.write_all(&buffer[..size]).await.is_err() {
            return;
        }
    }
}
