//! One tokio runtime for everything that must outlive a single test: scripted providers and their
//! connections. A `#[tokio::test]` ends its own runtime, and with it every task spawned there.

use axum::Router;
use axum::serve::ListenerExt;
use std::future::Future;
use std::sync::OnceLock;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

fn runtime() -> &'static Runtime {
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("background")
            .enable_all()
            .build()
            .expect("a tokio runtime")
    })
}

pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    runtime().spawn(future)
}

/// Runs `future` on the background runtime, so that the sockets it opens belong to that runtime.
pub async fn run<F>(future: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    spawn(future).await.expect("the background task panicked")
}

/// Serves `app` on a free port of the loopback: its origin, `http://127.0.0.1:port`, and the server to end.
pub async fn serve(app: Router) -> (String, JoinHandle<()>) {
    run(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("the bound address");
        let server = tokio::spawn(async move {
            // Small pieces go out as they are written, as those of a server at the other end of the world do.
            let listener = listener.tap_io(|connection| {
                connection.set_nodelay(true).expect("a connection that can be set");
            });
            axum::serve(listener, app).await.expect("the stand-in serves");
        });
        (format!("http://{address}"), server)
    })
    .await
}
