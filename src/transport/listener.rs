//! The listener: takes connections, as many as there is room for, until the server stops.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::door::turned_away;
use super::drain::Phase;
use super::front::Front;
use super::wire::{Connection, HANDED_OVER};

/// Serves what comes to `listener` until the server stops; then waits for the requests that are under way.
/// A listener that fails to accept tries again.
pub async fn serve(mut listener: TcpListener, front: Front) {
    // Told from the start: beside the connections, how many of them went the long way.
    let connections = metrics::counter!("overlay_connections_total");
    metrics::counter!(HANDED_OVER).increment(0);
    let room = Arc::new(Semaphore::new(front.http().limits.connections));
    let watch = front.drain().watch();
    let welcome = |stream: TcpStream, peer: SocketAddr| {
        let Ok(room) = room.clone().try_acquire_owned() else {
            // Before anything is read: who has no room for more cannot afford to say so.
            return turned_away("connections");
        };
        // An answer is written at once: waiting for more would only delay it.
        let _as_it_is = stream.set_nodelay(true);
        connections.increment(1);
        let connection = Connection { stream, front: front.of(peer.ip()), watch: watch.clone() };
        tokio::spawn(async move {
            connection.run().await;
            drop(room);
        });
    };
    {
        let mut stop = pin!(watch.reached(Phase::Stopping));
        loop {
            tokio::select! {
                (stream, peer) = Listener::accept(&mut listener) => welcome(stream, peer),
                () = &mut stop => break,
            }
        }
    }
    // Who waits to be accepted is connected as far as it knows.
    if let Ok(waiting) = listener.into_std() {
        while let Ok((stream, peer)) = waiting.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            stream.into_iter().for_each(|stream| welcome(stream, peer));
        }
    }
    drop(watch);
    front.drain().unwatched().await;
}
